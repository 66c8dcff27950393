"""What networks said about images before, so that none is run twice for the same."""

from __future__ import annotations

from dataclasses import dataclass

from napari_topiary._napari.compare.comparing import Subject
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.session import Session
from napari_topiary.types import Prediction

MOST = 12
"""Older predictions than this many are forgotten."""


@dataclass(frozen=True)
class _Said:
    subject: Subject
    checkpoint: Checkpoint
    prediction: Prediction


class SaidBefore:
    """Predictions of checkpoints of a session on its images.

    Parameters
    ----------
    session
        Whatever leaves it is forgotten.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._said: list[_Said] = []

    def about(self, subject: Subject, checkpoint: Checkpoint) -> Prediction | None:
        """Return what a checkpoint said about all of an image, None if nothing yet.

        Parameters
        ----------
        subject
            The image.
        checkpoint
            The network.
        """
        for one in self._said:
            if (
                one.checkpoint is checkpoint
                and one.subject.image is subject.image
                and one.subject.scale == subject.scale
            ):
                return one.prediction
        return None

    def keep(
        self, subject: Subject, checkpoint: Checkpoint, prediction: Prediction
    ) -> None:
        """Remember a prediction, unless it is only a part.

        Parameters
        ----------
        subject, checkpoint, prediction
            What was said by whom about what.
        """
        if prediction.done is None and self.about(subject, checkpoint) is None:
            self._said = [*self._said, _Said(subject, checkpoint, prediction)][-MOST:]

    def forget_what_is_gone(self) -> None:
        """Forget images and checkpoints that have left the session."""
        images = [entry.image for entry in self._session.images.values()]
        networks = list(self._session.checkpoints.values())
        self._said = [
            one
            for one in self._said
            if any(one.subject.image is image for image in images)
            and any(one.checkpoint is network for network in networks)
        ]
