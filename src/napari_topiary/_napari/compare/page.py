"""The Compare page: two networks, or a network and the truth, on the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QCheckBox, QFormLayout, QLabel

from napari_topiary._napari.canvas.layers import current_image_name, image_layer
from napari_topiary._napari.compare.comparing import (
    TRUTH,
    Match,
    Side,
    Subject,
    comparing,
)
from napari_topiary._napari.compare.legend import ComparisonLegend
from napari_topiary._napari.compare.metrics_table import MetricsTable
from napari_topiary._napari.compare.mode_bar import FLIP_KEY, ModeBar
from napari_topiary._napari.compare.said_before import SaidBefore
from napari_topiary._napari.compare.view import ComparisonView
from napari_topiary._napari.drawing.drawing import drawing_of
from napari_topiary._napari.jobs.latest import at_end_of
from napari_topiary._napari.widgets import look, words
from napari_topiary._napari.widgets.checkpoint_choice import combo, fill
from napari_topiary._napari.widgets.keys import Keys
from napari_topiary._napari.widgets.page import Page, button, row

if TYPE_CHECKING:
    import napari.viewer

    from napari_topiary._napari.jobs.runner import JobRunner
    from napari_topiary.session import Session

NO_IMAGE = "Open an image on the <b>Data</b> page first."
NO_NETWORK = (
    "<b>Train a network first.</b> Then see here what it finds and misses, and what "
    "pruning changes."
)
RUN, STOP, STOPPING = "Compare", "Stop", "Stopping…"
AT = {
    "best": "each one's own best threshold",
    "common": "0.5 for both",
    "learned": "the thresholds they learned",
}
AT_TIP = (
    "At which probability something counts as found. Pruning makes a network less sure "
    "before it\ncosts quality: at its own best threshold (from what is marked on this "
    "image; as learned where\nnothing is) it may still find everything."
)
PREVIOUS_KEY, NEXT_KEY = ",", "."


class ComparePage(Page):
    """Choose A and B, see on the image where they differ."""

    title = "Compare"

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        session: Session | None = None,
        runner: JobRunner | None = None,
    ) -> None:
        super().__init__(viewer, session, runner)
        self.match: Match | None = None
        self.comparing = False
        self.place = -1
        self._chosen = False
        self._said = SaidBefore(self.session)
        self.view = ComparisonView(viewer)
        self._make_choice()
        self._make_result()
        self.body.addStretch(1)
        self.keys = Keys(
            viewer,
            {
                FLIP_KEY: self.view.flicker.flip,
                PREVIOUS_KEY: self.previous,
                NEXT_KEY: self.next,
            },
        )
        self._connect()
        self.refresh()

    # -- widgets ------------------------------------------------------------------

    def _make_choice(self) -> None:
        self.a = combo("What was: for instance the network before pruning.")
        self.b = combo("What is: for instance the pruned network.")
        rows = QFormLayout()
        rows.setHorizontalSpacing(10)
        rows.setVerticalSpacing(6)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        rows.addRow("A", self.a)
        rows.addRow("B", self.b)
        self.at = combo(AT_TIP)
        for key, text in AT.items():
            self.at.addItem(text, key)
        rows.addRow("Read at", self.at)
        self.run_button = button(RUN, "", self.on_run, primary=True)
        self.swap_button = button("Swap", "A becomes B, and B becomes A.", self.swap)
        self.body.addLayout(rows)
        line = row(self.run_button, self.swap_button)
        line.setStretch(0, 1)
        self.body.addLayout(line)

    def _make_result(self) -> None:
        self.modes = ModeBar(self.view)
        self.legend = ComparisonLegend()
        self.things_switch = QCheckBox("Mark kept, lost, gained")
        self.things_switch.setToolTip("Mark every particle or object on the image.")
        self.things_switch.setChecked(True)
        self.labels_switch = QCheckBox("Other labels")
        self.labels_switch.setToolTip("Outline where the two paint different labels.")
        self.previous_button = button(
            "‹ Previous",
            f"Go back one disagreement (key {PREVIOUS_KEY}).",
            self.previous,
        )
        self.next_button = button(
            "Next ›", f"Go to the next disagreement, the worst first (key {NEXT_KEY}).",
            self.next,
        )  # fmt: skip
        self.place_label = QLabel("")
        self.metrics = MetricsTable()
        self.notes = look.paragraph("", role="hint")
        self.body.addWidget(self.modes)
        self.body.addLayout(row(self.things_switch, self.labels_switch, 1))
        self.body.addWidget(self.legend)
        self.body.addLayout(
            row(self.previous_button, self.next_button, self.place_label, 1)
        )
        self.body.addWidget(self.metrics)
        self.body.addWidget(self.notes)

    def _connect(self) -> None:
        session = self.session
        self.a.activated.connect(self._on_choice)
        self.b.activated.connect(self._on_choice)
        self.at.activated.connect(self._on_choice)
        self.modes.changed.connect(self._show_legend)
        self.things_switch.toggled.connect(self.view.show_things)
        self.labels_switch.toggled.connect(self.view.show_labels)
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
        """Draw the comparison again."""
        self.refresh()
        self._draw()

    def showEvent(self, event: Any) -> None:
        """Keys act while the page is in front."""
        super().showEvent(event)
        self.keys.bind()

    def hideEvent(self, event: Any) -> None:
        """Leave the viewer as it was before."""
        super().hideEvent(event)
        if not event.spontaneous():
            self.keys.free()
            self.view.close()

    # -- showing ------------------------------------------------------------------

    def refresh(self, *_: object) -> None:
        """Follow what the session has now."""
        session = self.session
        names = list(session.checkpoints)
        if not session.images:
            self.show_empty(NO_IMAGE)
        else:
            self.show_empty("" if names else NO_NETWORK)
        self._fill(names)
        self._said.forget_what_is_gone()
        if self.match is not None and not self._is_current(self.match):
            self._forget()
        self._show_result()

    def _fill(self, names: list[str]) -> None:
        a = self.a.currentText() if self._chosen else ""
        b = self.b.currentText() if self._chosen else ""
        offered = [*names, TRUTH] if names else []
        first, second = proposed(self.session)
        fill(self.a, offered, a if a in offered else first)
        fill(self.b, offered, b if b in offered else second)

    def _is_current(self, match: Match) -> bool:
        """Whether the image, the networks and the marks are still what they were."""
        subject = self._subject()
        if subject is None or subject.image is not match.subject.image:
            return False
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
        self.match, self.place = None, -1
        self.view.close()

    def _show_result(self) -> None:
        match = self.match
        for widget in (self.modes, self.legend, self.things_switch, self.labels_switch):
            widget.setVisible(match is not None)
        for widget in (self.previous_button, self.next_button, self.place_label):
            widget.setVisible(match is not None)
        self.notes.setVisible(match is not None and bool(match.notes))
        if match is None:
            self.metrics.show_metrics(None, "")
        else:
            truth = "ab"[[s.checkpoint for s in match.sides].index(None)] if any(
                s.checkpoint is None for s in match.sides
            ) else ""  # fmt: skip
            comparison = match.comparison
            self.metrics.show_metrics(
                comparison.metrics, comparison.task.kind, truth=truth
            )
            self.things_switch.setVisible(comparison.task.kind != "segment")
            self.notes.setText(" ".join(match.notes))
        self._show_legend()
        self._show_place()
        self._refresh_buttons()

    def _show_legend(self) -> None:
        if self.match is not None:
            shown = self.view.limit if self.view.mode == "difference" else None
            self.legend.show_comparison(self.match.comparison, difference=shown)

    def _draw(self) -> None:
        if self.match is not None and self.isVisible():
            self.view.open(self.match, self.session.colours)
            self.modes.renew()
            self._show_legend()

    def _refresh_buttons(self, *_: object) -> None:
        a, b = self.a.currentText(), self.b.currentText()
        busy = self.runner.running and not self.comparing
        ready = bool(self.session.images) and bool(a) and a != b
        self.run_button.setText(STOP if self.comparing else RUN)
        self.run_button.setEnabled(self.comparing or (ready and not busy))
        tip = "Run both on the image that is shown, and hold them against each other."
        if a and a == b:
            tip = "A and B are the same: choose another one for B."
        elif busy:
            tip = f"{self.runner.title} is still running."
        self.run_button.setToolTip(tip)
        self.swap_button.setEnabled(bool(a) and not self.comparing)
        fresh = self.match is None or (a, b) != self._compared()
        look.emphasize(self.run_button, fresh or self.comparing)

    def _compared(self) -> tuple[str, str] | None:
        if self.match is None:
            return None
        return self.match.sides[0].name, self.match.sides[1].name

    # -- choosing and running -----------------------------------------------------

    def _subject(self) -> Subject | None:
        name = current_image_name(self.viewer, self.session)
        if name is None:
            return None
        entry = self.session.images[name]
        marked = self.session.annotations.get(name, ())
        return Subject(name, entry.image, entry.scale, marked)

    def _on_choice(self, _index: int = 0) -> None:
        self.say("")
        self._chosen = True
        self._refresh_buttons()
        if (
            self.match is not None
            and self.run_button.isEnabled()
            and not self.comparing
        ):
            self.compare()

    def _on_drawing(self) -> None:
        """Another image may be shown now."""
        if self.match is not None and not self._is_current(self.match):
            self._forget()
            self._show_result()

    def swap(self) -> None:
        """Exchange A and B."""
        a, b = self.a.currentIndex(), self.b.currentIndex()
        for box, index in ((self.a, b), (self.b, a)):
            with QSignalBlocker(box):
                box.setCurrentIndex(index)
        self._on_choice()

    def on_run(self) -> None:
        """Start, or stop."""
        if self.comparing:
            self.run_button.setText(STOPPING)
            self.run_button.setEnabled(False)
            self.runner.stop()
            return
        self.compare()

    def compare(self) -> None:
        """Run what is not known yet, and compare."""
        subject = self._subject()
        if subject is None:
            self.refuse("No image is shown: choose one on the Data page first.")
            return
        if image_layer(self.viewer, subject.name) is None:
            drawing_of(self.viewer).show(subject.name)
        a, b = (self._side(box.currentText(), subject) for box in (self.a, self.b))
        at = self.at.currentData()
        self.say("")
        begun = self.runner.start(
            lambda: comparing(subject, a, b, at=at),
            title="Comparing",
            on_result=self._on_match,
            on_error=self.refuse,
        )
        if not begun:
            self.refuse(self.runner.busy_sentence)
            return
        self.comparing = self._chosen = True
        self.runner.finished.connect(self._on_end)
        self._refresh_buttons()

    def _side(self, name: str, subject: Subject) -> Side:
        checkpoint = self.session.checkpoints.get(name)
        if checkpoint is None:
            return Side(TRUTH, None)
        return Side(name, checkpoint, self._said.about(subject, checkpoint))

    def _on_match(self, match: Match | None) -> None:
        if match is None:
            self.say("Stopped before both networks had looked at the image.")
            return
        for side, prediction in zip(match.sides, (match.a, match.b), strict=True):
            if side.checkpoint is not None:
                self._said.keep(match.subject, side.checkpoint, prediction)
        if not self._is_current(match):
            self.say("The project changed meanwhile: compare again.")
            return
        self.match, self.place = match, -1
        kind = match.comparison.task.kind
        with QSignalBlocker(self.labels_switch):
            self.labels_switch.setChecked(kind != "detect")
        self.view.labels = kind != "detect"
        self._draw()
        self._show_result()

    def _on_end(self) -> None:
        self.runner.finished.disconnect(self._on_end)
        self.comparing = False
        self._refresh_buttons()

    # -- disagreements ------------------------------------------------------------

    def next(self) -> None:
        """Show the next disagreement, the worst first."""
        self._go(1)

    def previous(self) -> None:
        """Show the disagreement before."""
        self._go(-1)

    def _go(self, step: int) -> None:
        if self.match is None or not self.match.comparison.places:
            return
        places = self.match.comparison.places
        self.place = 0 if self.place < 0 else (self.place + step) % len(places)
        self.view.look_at(places[self.place])
        self._show_place()

    def _show_place(self) -> None:
        places = self.match.comparison.places if self.match is not None else ()
        for one in (self.previous_button, self.next_button):
            one.setEnabled(bool(places))
        if not places:
            self.place_label.setText("They agree everywhere.")
        elif self.place < 0:
            self.place_label.setText(words.plural(len(places), "disagreement"))
        else:
            what = places[self.place].what
            self.place_label.setText(f"{self.place + 1} of {len(places)}: {what}")


def proposed(session: Session) -> tuple[str | None, str | None]:
    """A and B that are worth comparing first.

    Parameters
    ----------
    session
        Its newest pruned network is held against the one that it was pruned from; a
        single network against what is marked.
    """
    names = list(session.checkpoints)
    if not names:
        return None, None
    if len(names) == 1:
        return TRUTH, names[0]
    pruned = [name for name in names if session.checkpoints[name].pruning]
    second = pruned[-1] if pruned else names[-1]
    size = session.checkpoints[second].unpruned_parameters
    whole = [
        name
        for name in names
        if not session.checkpoints[name].pruning
        and session.checkpoints[name].unpruned_parameters == size
        and name != second
    ]
    others = [name for name in names if name != second]
    return (whole or others)[0], second
