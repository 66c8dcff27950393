"""The Compare page: two networks, or a network and the truth, on the image."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker

from napari_topiary._napari.canvas.layers import current_image_name, image_layer
from napari_topiary._napari.canvas.shown_image import visible_window
from napari_topiary._napari.compare.controls import FLIP_KEY, ChoicePanel, proposed
from napari_topiary._napari.compare.report_row import ReportRow
from napari_topiary._napari.compare.result_panel import (
    NEXT_KEY,
    PREVIOUS_KEY,
    ResultPanel,
)
from napari_topiary._napari.compare.view import ComparisonView
from napari_topiary._napari.drawing.drawing import drawing_of
from napari_topiary._napari.jobs.latest import at_end_of
from napari_topiary._napari.state import preferences
from napari_topiary._napari.widgets.page import NO_IMAGE, NOT_SHOWN, Keys, Page
from napari_topiary.jobs.comparing import (
    LARGEST_SIDE,
    TRUTH,
    KnownPredictions,
    Match,
    Side,
    comparing,
)
from napari_topiary.jobs.predicting import ProjectImage
from napari_topiary.types import middle_of

if TYPE_CHECKING:
    from napari_topiary.checkpoint import Checkpoint

AT_ONCE = 4_000_000
"""Pixels of an image that two networks look at without being asked."""
NO_NETWORK = (
    "<b>Train a network first.</b> Then see here what it finds and misses, and what "
    "pruning changes."
)


class ComparePage(Page):
    """Choose A and B, see on the image where they differ."""

    title = "Compare"

    def build(self) -> None:
        """Fill the page."""
        self.match: Match | None = None
        self.comparing = False
        self._begun: tuple[str, str] | None = None
        self._known = KnownPredictions(self.session)
        self.view = ComparisonView(self.viewer)
        self.choice = ChoicePanel()
        self.result = ResultPanel(self.view)
        self.body.addWidget(self.choice)
        self.body.addWidget(self.result)
        self.report = ReportRow(self.session, self.runner, self._networks)
        self.body.addWidget(self.report)
        self.body.addStretch(1)
        self.keys = Keys(
            self.viewer,
            {
                FLIP_KEY: self.view.flicker.flip,
                PREVIOUS_KEY: self.result.previous,
                NEXT_KEY: self.result.next,
            },
        )
        self._connect()
        self.refresh()

    def _connect(self) -> None:
        session = self.session
        self.choice.chosen.connect(self._on_choice)
        self.choice.pressed.connect(self.on_run)
        self.choice.stopped.connect(self.stop)
        self.report.said.connect(lambda text, bad: self.say(text, problem=bad))
        for signal in (
            session.checkpoints_changed,
            session.images_changed,
            session.scale_changed,
            session.annotations_changed,
            session.task_changed,
        ):
            self.listen(signal, self.refresh)
        drawing_of(self.viewer).changed.connect(self._on_drawing)
        self.runner.started.connect(self._refresh_buttons)
        self.runner.finished.connect(self._refresh_buttons)
        at_end_of(self, self.keys.free, self.view.close)

    # -- coming and going ---------------------------------------------------------

    def activated(self) -> None:
        """Draw the comparison again; a pruned network is compared at once."""
        self.refresh()
        self._draw()
        if self.match is None and self._is_obvious():
            self.compare()

    def _is_obvious(self) -> bool:
        """Whether it is clear what is compared, and that it does not take long."""
        subject, pair = self._subject(), self.choice.names
        pruned = self.session.checkpoints.get(pair[1])
        if subject is None or pruned is None or not pruned.pruning:
            return False
        free = not (self.choice.touched or self.runner.running or self.comparing)
        free = free and pair != self._begun  # stopped or forgotten: a person asks
        small = math.prod(subject.image.shape[1:]) <= AT_ONCE
        return free and small and pair == proposed(self.session)

    def hideEvent(self, event: Any) -> None:
        """Leave the viewer as it was before."""
        super().hideEvent(event)
        if not event.spontaneous():
            self.view.close()

    # -- showing ------------------------------------------------------------------

    def refresh(self, *_: object) -> None:
        """Follow what the session has now."""
        session = self.session
        if not session.images:
            self.show_empty(NO_IMAGE)
        else:
            self.show_empty("" if session.checkpoints else NO_NETWORK)
        self.choice.offer(session)
        self._known.forget_gone()
        if self.match is not None and not self._is_current(self.match):
            self._forget()
        self._show_result()

    def _is_current(self, match: Match) -> bool:
        """Whether the image, the networks and the marks are still what they were."""
        subject = self._subject()
        if subject is None or subject.image is not match.subject.image:
            return False
        if self.choice.names != tuple(side.name for side in match.sides):
            return False  # a newer network is proposed now
        if (subject.name, subject.scale) != (match.subject.name, match.subject.scale):
            return False
        if subject.annotations is not match.subject.annotations:
            return False
        return all(
            side.checkpoint is None
            or self.session.checkpoints.get(side.name) is side.checkpoint
            for side in match.sides
        )

    def _forget(self) -> None:
        self.match = None
        self.view.close()

    def _networks(self) -> dict[str, Checkpoint]:
        """The networks that are chosen; not the marks."""
        known = self.session.checkpoints
        return {name: known[name] for name in self.choice.names if name in known}

    def _show_result(self) -> None:
        self.result.show_match(self.match)
        both = self.match is not None and len(self._networks()) == 2
        self.report.setVisible(both)
        self._refresh_buttons()

    def _draw(self) -> None:
        if self.match is not None and self.isVisible():
            self.view.open(self.match, self.session.colours)
            self.result.renew()

    def _refresh_buttons(self, *_: object) -> None:
        busy = self.runner.running and not self.comparing
        self.choice.show_state(
            comparing=self.comparing,
            ready=bool(self.session.images),
            fresh=self.match is None,
            busy=self.runner.title if busy else "",
        )

    # -- choosing and running -----------------------------------------------------

    def _subject(self) -> ProjectImage | None:
        name = current_image_name(self.viewer, self.session)
        if name is None:
            return None
        entry = self.session.images[name]
        marked = self.session.annotations.get(name, ())
        return ProjectImage(
            name=name, image=entry.image, scale=entry.scale, annotations=marked
        )

    def _on_choice(self) -> None:
        """Show at once what is known already; what has to run waits for the button."""
        self.say("")
        if self.match is not None and not self.comparing:
            self._forget()
            self._show_result()
            if self._is_known():
                self.compare()
        self._refresh_buttons()

    def _is_known(self) -> bool:
        """Whether no network has to run for what is chosen."""
        subject = self._subject()
        if subject is None or self.runner.running or len({*self.choice.names}) < 2:
            return False
        sides = (self._side(name, subject) for name in self.choice.names)
        return all(one.checkpoint is None or one.known is not None for one in sides)

    def _on_drawing(self) -> None:
        """Another image may be shown now."""
        if self.match is not None and not self._is_current(self.match):
            self._forget()
            self._show_result()

    def on_run(self) -> None:
        """Start, unless it runs."""
        if not self.comparing:
            self.compare()

    def stop(self) -> None:
        """End what runs."""
        if self.comparing:
            self.choice.show_stopping()
            self.runner.stop()

    def compare(self) -> None:
        """Run what is not known yet, and compare."""
        subject = self._subject()
        if subject is None:
            self.refuse(NOT_SHOWN)
            return
        layer = image_layer(self.viewer, subject.name)
        if layer is None:
            drawing_of(self.viewer).show(subject.name)
        elif self.choice.visible_only.isChecked() or subject.is_large:
            window = visible_window(layer, subject.image.shape[1:])
            window = middle_of(window, LARGEST_SIDE) if subject.is_large else window
            subject = replace(subject, window=window)
        a, b = (self._side(name, subject) for name in self.choice.names)
        at, device = self.choice.at.currentData(), preferences().device
        self.say("")
        begun = self.runner.start(
            lambda: comparing(subject, a, b, at=at, device=device),
            title="Comparing",
            on_result=self._on_match,
            on_error=self.refuse,
        )
        if not begun:
            self.refuse(self.runner.busy_sentence)
            return
        self.comparing, self._begun = True, (a.name, b.name)
        self.runner.finished.connect(self._on_end)
        self._refresh_buttons()

    def _side(self, name: str, subject: ProjectImage) -> Side:
        checkpoint = self.session.checkpoints.get(name)
        if checkpoint is None:
            return Side(TRUTH, None)
        return Side(name, checkpoint, self._known.about(subject, checkpoint))

    def _on_match(self, match: Match | None) -> None:
        if match is None:
            self.say("Stopped before both networks had looked at the image.")
            return
        for side, prediction in zip(match.sides, (match.a, match.b), strict=True):
            if side.checkpoint is not None:
                self._known.keep(match.subject, side.checkpoint, prediction)
        if not self._is_current(match):
            self.say("The project changed meanwhile: compare again.")
            return
        self.match = match
        paints = match.comparison.task.kind != "detect"
        with QSignalBlocker(self.result.labels_switch):
            self.result.labels_switch.setChecked(paints)
        self.view.labels = paints
        self._show_result()
        self._draw()

    def _on_end(self) -> None:
        self.runner.finished.disconnect(self._on_end)
        self.comparing = False
        self._refresh_buttons()
        if self.match is None and self.isVisible() and self._is_obvious():
            self.compare()  # a newer network came meanwhile
