"""How far a search is, in multiplications, and how long it will take."""

from __future__ import annotations

import time

from napari_topiary.types import Progress


class Clock:
    """Counts work that is done.

    Parameters
    ----------
    total
        Work in all, in the unit that is counted.
    """

    def __init__(self, total: float) -> None:
        self._total, self._done = total, 0.0
        self._begun = time.monotonic()

    def after(self, work: float, message: str) -> Progress:
        """Count some more work, and say how far it is.

        Parameters
        ----------
        work
            Done since.
        message
            What is being done.
        """
        self._done = min(self._total, self._done + work)
        spent = time.monotonic() - self._begun
        left = spent * (self._total - self._done) / self._done if self._done else None
        return Progress(self._done, self._total, message, left)
