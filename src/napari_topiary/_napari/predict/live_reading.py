"""What was predicted, read anew whenever a slider moves; the network does not run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal

from napari_topiary._napari.jobs.latest import Latest
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import DetectConfig
from napari_topiary.jobs.predicting import ProjectImage, rereading, rereading_all
from napari_topiary.session import Session
from napari_topiary.types import Prediction

REST_MS = 250
"""The sliders rest when they have not moved for this long."""
TITLE = "Reading the probability"


@dataclass(frozen=True)
class Result:
    """A prediction with what it came from, and how it was read."""

    wanted: ProjectImage
    network: str
    checkpoint: Checkpoint
    prediction: Prediction
    config: DetectConfig


class LiveReading(QObject):
    """Keeps the results of all images, and reads them as the sliders say.

    The shown image follows at once, off the main thread and never more than one
    reading behind; all others follow when the sliders rest.

    Parameters
    ----------
    session
        Gets every reading that is left when the sliders rest.
    settings
        Returns what the sliders say.

    Signals
    -------
    read(str, bool)
        The result of this image was read anew, with its labels or without.
    problem(str)
        It could not be.
    """

    read = Signal(str, bool)
    problem = Signal(str)

    def __init__(
        self,
        session: Session,
        settings: Callable[[], DetectConfig],
        network: Callable[[], Checkpoint | None],
    ) -> None:
        super().__init__()
        self.session, self._settings, self._network = session, settings, network
        self.results: dict[str, Result] = {}
        self._shown = Latest(finish_current=True)
        self._all = Latest()
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(REST_MS)
        self._rest.timeout.connect(self._read_all)

    @property
    def busy(self) -> bool:
        """Whether a reading runs or is about to."""
        return self._shown.busy or self._all.busy or self._rest.isActive()

    def close(self) -> None:
        """End for good, without waiting."""
        if isalive(self._rest):  # not so at the very end of the program
            self._rest.stop()
        self._shown.close()
        self._all.close()

    def keep(self, result: Result) -> None:
        """Remember a new result.

        Parameters
        ----------
        result
            Of an image of the session.
        """
        self.results[result.wanted.name] = result
        self.session.set_prediction(result.wanted.name, result.prediction)

    def forget_outdated(self) -> list[str]:
        """Forget results whose image is gone or has another pixel size; names them."""
        gone = [n for n, one in self.results.items() if not self.suits(one.wanted)]
        for name in gone:
            del self.results[name]
        return gone

    def is_current(self, name: str | None) -> bool:
        """Whether an image has a result, and it is the chosen network's."""
        result = self.results.get(name or "")
        return result is not None and result.checkpoint is self._network()

    def suits(self, wanted: ProjectImage) -> bool:
        """Whether an image is still what it was when it was predicted.

        Parameters
        ----------
        wanted
            What was predicted.
        """
        entry = self.session.images.get(wanted.name)
        if entry is None or entry.image is not wanted.image:
            return False
        return entry.scale == wanted.scale

    def renew(self, shown: str | None, *, labels: bool) -> None:
        """Read anew, because a slider was moved.

        Parameters
        ----------
        shown
            Name of the image that follows at once.
        labels
            Whether its labels are wanted at once too.
        """
        result = self.results.get(shown or "")
        if result is not None and self.is_current(shown):
            config = self._settings()
            self._shown.ask(
                lambda: rereading(
                    result.prediction, result.checkpoint, config, labels=labels
                ),
                title=TITLE,
                on_result=lambda one: self._take(
                    {result.wanted.name: one}, config, labels=labels
                ),
                on_error=self.problem.emit,
            )
        self.rest()

    def rest(self) -> None:
        """Read all images in full as soon as the sliders rest."""
        self._rest.start()

    def _read_all(self) -> None:
        known = {
            name: (one.prediction, one.checkpoint)
            for name, one in self.results.items()
            if self.is_current(name)
        }
        if not known:
            return
        config = self._settings()
        self._all.ask(
            lambda: rereading_all(known, config),
            title=TITLE,
            on_result=lambda read: self._take_all(read, config),
            on_error=self.problem.emit,
        )

    def _take_all(self, read: dict[str, Prediction], config: DetectConfig) -> None:
        for name in self._take(read, config, labels=True):
            self.session.set_prediction(name, self.results[name].prediction)

    def _take(
        self, read: dict[str, Prediction], config: DetectConfig, *, labels: bool
    ) -> list[str]:
        """Keep readings, except of what was predicted anew or is gone."""
        taken = []
        for name, one in read.items():
            known = self.results.get(name)
            if known is None or known.prediction.probability is not one.probability:
                continue
            self.results[name] = replace(known, prediction=one, config=config)
            taken.append(name)
            self.read.emit(name, labels)
        return taken
