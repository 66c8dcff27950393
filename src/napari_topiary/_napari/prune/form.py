"""What is pruned and in which order: the form, and the search where one is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import (
    QBoxLayout,
    QButtonGroup,
    QLabel,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from napari_topiary._napari.jobs.runner import ButtonWords, JobButton
from napari_topiary._napari.prune.view import Ready, planning
from napari_topiary._napari.state import preferences
from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.checkpoint_choice import combo, fill
from napari_topiary._napari.widgets.look import filled
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig
from napari_topiary.jobs.training import TrainingData
from napari_topiary.pruning import criteria, criteria_for
from napari_topiary.types import Job

if TYPE_CHECKING:
    from napari_topiary._napari.jobs.runner import JobRunner
    from napari_topiary.session import Session

KINDS = {
    "filters": (
        "Filters — smaller and faster",
        "Whole filters (maps) are taken out of the network. It then really has fewer "
        "weights,\nneeds fewer operations and less memory, is faster, and its file is "
        "smaller.",
    ),
    "weights": (
        "Weights — smaller file",
        "Single weights are set to zero, wherever they are. The file gets smaller, "
        "because zeros are\nnot stored; the network computes as much as before and is "
        "not faster. In exchange it loses\nless quality for the same number of "
        "weights.",
    ),
}
SCOPES = {
    "global": (
        "network-wide",
        "All layers are ranked together: layers that matter little lose more.",
    ),
    "layer": ("layer-wise", "Every layer loses the same share."),
}

Chosen = tuple[Checkpoint, PruneConfig]
WORDS = ButtonWords(
    "Try all filters",
    "Trying filters",
    "Leaves out one filter after the other and measures how much more the network is "
    "wrong on your\nannotated images (the training loss); those that cost least go "
    "first.",
    "Stop and use what is known",
)
HINT = (
    "Every filter is tried out on your annotated images. This may take some minutes; "
    "then the slider moves as fast as ever."
)
NO_SAMPLES = (
    "This needs annotated images, to see on them what each filter is worth: annotate "
    "one, or rank by L1 norm."
)
STOPPED = (
    "The search was stopped: filters that were not tried stay. Try again to rank all."
)
NOTHING_FOUND = (
    "The search was stopped before a single filter had a place in the order: try again "
    "and give it more time, or rank by L1 norm."
)
MOST_KEPT = 8
"""So many orders are remembered; each keeps its network."""
NARROW = 330
"""Pixels of the page below which two lists side by side cannot be read."""


class PruneForm(QWidget):
    """Everything that decides the order in which things are removed."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.checkpoint = combo("Which network to prune. It is never changed itself.")
        self.criterion = combo("Which of them go first.")
        self.scope = combo("What is ranked against what.")
        self.kinds: dict[str, QRadioButton] = {}
        group = QButtonGroup(self)
        choices = QVBoxLayout()
        choices.setSpacing(3)
        for kind, (text, tip) in KINDS.items():
            one = QRadioButton(text)
            one.setToolTip(tip)
            group.addButton(one)
            choices.addWidget(one)
            self.kinds[kind] = one
        self.kinds["filters"].setChecked(True)
        for scope, (text, _tip) in SCOPES.items():
            self.scope.addItem(text, scope)
        self.scope.setToolTip("\n".join(f"{t}: {tip}" for t, tip in SCOPES.values()))
        self._pair = pair = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        filled(pair, (self.criterion, 4), (self.scope, 5), spacing=None)
        rows = look.rows(self, spacing=5)
        rows.addRow("Network", self.checkpoint)
        rows.addRow("Remove", choices)
        order = QLabel("Rank by")
        order.setToolTip("Which go first, and what is ranked against what.")
        rows.addRow(order, pair)
        self._fill_criteria()
        group.buttonToggled.connect(self._on_kind)
        for box in (self.checkpoint, self.criterion, self.scope):
            box.activated.connect(self._on_choice)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """On a narrow page the two lists stand below one another, to be read."""
        super().resizeEvent(event)
        way = QBoxLayout.Direction
        narrow = self.width() < NARROW
        self._pair.setDirection(way.TopToBottom if narrow else way.LeftToRight)

    @property
    def kind(self) -> str:
        """The kind of pruning: "filters" or "weights"."""
        return next(kind for kind, one in self.kinds.items() if one.isChecked())

    @property
    def name(self) -> str | None:
        """Name of the checkpoint to prune, None if there is none."""
        return self.checkpoint.currentText() or None

    def config(self, share: float) -> PruneConfig:
        """What is chosen, as the value that pruning takes."""
        return PruneConfig(
            kind=self.kind,
            criterion=self.criterion.currentData(),
            scope=self.scope.currentData(),
            remove=share,
        )

    def set_names(self, names: Iterable[str], chosen: str | None) -> None:
        """Offer checkpoints, without saying that the user chose."""
        fill(self.checkpoint, names, chosen)

    def _fill_criteria(self) -> None:
        tips = []
        with QSignalBlocker(self.criterion):
            self.criterion.clear()
            for name in criteria_for(self.kind):
                self.criterion.addItem(criteria[name].title, name)
                tips.append(f"{criteria[name].title}: {criteria[name].tip}")
        self.criterion.setToolTip("\n".join(tips))

    def _on_kind(self, _button: object, checked: bool) -> None:
        if checked:
            self._fill_criteria()
            self.changed.emit()

    def _on_choice(self, _index: int) -> None:
        self.changed.emit()


def is_searched(config: PruneConfig) -> bool:
    """Whether ranking by this criterion takes minutes instead of a moment."""
    return criteria[config.criterion].search is not None


class SearchRow(QWidget):
    """Searches for an order, and remembers those that were found."""

    found = Signal()
    problem = Signal(str)

    def __init__(
        self, session: Session, runner: JobRunner, chosen: Callable[[], Chosen | None]
    ) -> None:
        super().__init__()
        self.session, self._chosen = session, chosen
        self.wanted = False
        self._known: dict[Chosen, Ready] = {}
        self._searched: Chosen | None = None
        self.hint = look.paragraph(HINT, role="hint")
        self.button = JobButton(runner, self._make, WORDS)
        look.emphasize(self.button)
        filled(QVBoxLayout(self), self.hint, self.button, spacing=4)
        self.button.result.connect(self._on_result)
        self.button.problem.connect(self.problem)
        self.hide()

    def known(self, chosen: Chosen) -> Ready | None:
        """The order that was found before, None if there is none."""
        return self._known.get(chosen)

    def show_state(self, *, ready: bool) -> None:
        """Say what has to be done before the slider works."""
        chosen = self._chosen()
        searched = chosen is not None and is_searched(chosen[1])
        self.wanted = searched and not ready
        unfinished = searched and ready and self._is_stopped(chosen)
        possible = bool(self.session.samples())
        self.setVisible(self.wanted or unfinished)
        self.hint.setText(STOPPED if unfinished else HINT if possible else NO_SAMPLES)
        look.set_role(self.hint, "hint" if possible else "problem")
        self.button.setVisible(possible)
        self.button.show_state(possible=possible)

    def _is_stopped(self, chosen: Chosen) -> bool:
        ready = self._known.get(chosen)
        search = None if ready is None else getattr(ready.plan, "search", None)
        return search is not None and search.stopped

    def _make(self) -> Callable[[], Job[Ready]] | None:
        chosen = self._searched = self._chosen()
        if chosen is None:
            return None
        training_data = TrainingData.of(self.session)
        colours = dict(self.session.colours)
        device = preferences().device
        return lambda: planning(*chosen, training_data, colours, device=device)

    def _on_result(self, ready: Ready) -> None:
        if self._searched is None:
            return
        search = getattr(ready.plan, "search", None)
        if search is not None and search.stopped and not len(ready.plan):
            self.problem.emit(NOTHING_FOUND)
            return
        while len(self._known) >= MOST_KEPT:
            del self._known[next(iter(self._known))]
        self._known[self._searched] = ready
        self.found.emit()
