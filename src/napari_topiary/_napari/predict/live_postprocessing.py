"""What was predicted, read anew whenever a slider moves; the network does not run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal

from napari_topiary._napari.jobs.latest import Latest, later
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import DetectConfig
from napari_topiary.inference.large.writing import LargePrediction
from napari_topiary.inference.measures import Counted
from napari_topiary.jobs.predicting import (
    ProjectImage,
    postprocess_again,
    postprocess_all,
)
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
    prediction: Prediction | LargePrediction
    config: DetectConfig

    @property
    def at_hand(self) -> Prediction | None:
        """The prediction, unless it lies in files, as that of a large image does."""
        found = self.prediction
        return None if isinstance(found, LargePrediction) else found

    @property
    def counted(self) -> Prediction | Counted:
        """What can be counted."""
        found = self.prediction
        return found.found if isinstance(found, LargePrediction) else found

    @property
    def is_part(self) -> bool:
        """Whether only a part of the image was looked at."""
        found = self.prediction
        if isinstance(found, LargePrediction):
            return not found.complete
        return found.done is not None


def for_review(found: Prediction | LargePrediction) -> Prediction | None:
    """Return a prediction whose particles can be judged one by one, as on the image."""
    if isinstance(found, Prediction) and found.corner is None:
        return found
    counted = found.found if isinstance(found, LargePrediction) else found
    if counted.task.kind != "detect":
        return None
    corner = (0.0, 0.0)
    if isinstance(found, Prediction) and found.corner is not None:
        corner = found.corner
    detections = counted.detections
    return Prediction(
        probability=np.zeros((len(counted.task.classes), 1, 1), np.float32),
        shape=counted.shape,
        task=counted.task,
        scale=counted.scale,
        labels=np.zeros((1, 1), np.uint8),
        detections=replace(
            detections,
            coordinates=detections.coordinates + np.array(corner),
            lines=tuple(line + np.array(corner) for line in detections.lines),
        ),
        checkpoint=counted.checkpoint,
        corner=(0.0, 0.0),
    )


class LivePostProcessing(QObject):
    """Keeps the results of all images, and reads them as the sliders say.

    The shown image follows at once, off the main thread and never more than one
    post-processing behind; all others follow when the sliders rest.
    """

    #: The result of this image was read anew, with its labels or without
    read = Signal(str, bool)
    problem = Signal(str)  #: It could not be

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
        self._rest = later(self, REST_MS, self._read_all)

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
        """Remember a new result."""
        self.results[result.wanted.name] = result
        reviewed = for_review(result.prediction)
        self.session.set_prediction(result.wanted.name, reviewed)

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
        """Whether an image is still what it was when it was predicted."""
        entry = self.session.images.get(wanted.name)
        if entry is None or entry.image is not wanted.image:
            return False
        return entry.scale == wanted.scale

    def renew(self, shown: str | None, *, labels: bool) -> None:
        """Read anew, because a slider was moved."""
        result = self.results.get(shown or "")
        at_hand = None if result is None else result.at_hand
        if result is not None and at_hand is not None and self.is_current(shown):
            config = self._settings()
            self._shown.ask(
                lambda: postprocess_again(
                    at_hand, result.checkpoint, config, labels=labels
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
            name: (one.at_hand, one.checkpoint)
            for name, one in self.results.items()
            if one.at_hand is not None and self.is_current(name)
        }
        if not known:
            return
        config = self._settings()
        self._all.ask(
            lambda: postprocess_all(known, config),
            title=TITLE,
            on_result=lambda read: self._take_all(read, config),
            on_error=self.problem.emit,
        )

    def _take_all(self, read: dict[str, Prediction], config: DetectConfig) -> None:
        for name in self._take(read, config, labels=True):
            reviewed = for_review(self.results[name].prediction)
            self.session.set_prediction(name, reviewed)

    def _take(
        self, read: dict[str, Prediction], config: DetectConfig, *, labels: bool
    ) -> list[str]:
        """Keep readings, except of what was predicted anew or is gone."""
        taken = []
        for name, one in read.items():
            known = self.results.get(name)
            if known is None or known.at_hand is None:
                continue
            if known.at_hand.probability is not one.probability:
                continue
            self.results[name] = replace(known, prediction=one, config=config)
            taken.append(name)
            self.read.emit(name, labels)
        return taken
