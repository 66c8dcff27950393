"""The Annotate page: mark what is to be found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QHBoxLayout

from napari_topiary._napari.annotate import class_edits
from napari_topiary._napari.annotate.advice import advice
from napari_topiary._napari.annotate.areas import Areas
from napari_topiary._napari.annotate.classes import KEYS, NEGATIVE_KEY, ClassTable
from napari_topiary._napari.annotate.hand import give_selected, take_tool, tool_in_hand
from napari_topiary._napari.annotate.own_layers import usable_layer, use_layer
from napari_topiary._napari.annotate.review import ACCEPT_KEY, REJECT_KEY, Review
from napari_topiary._napari.annotate.tools import TOOLS, ToolBox
from napari_topiary._napari.drawing import marks
from napari_topiary._napari.drawing.drawing import drawing_of
from napari_topiary._napari.state import unwrap
from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.keys import Keys
from napari_topiary._napari.widgets.offer import Offer
from napari_topiary._napari.widgets.page import Page, button
from napari_topiary._napari.widgets.words import plural
from napari_topiary.annotations import marks_outside
from napari_topiary.errors import TopiaryError

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari.viewer
    from napari.layers import Layer

    from napari_topiary._napari.jobs.runner import JobRunner
    from napari_topiary.session import Session

_EMPTY = "Open an image on the <b>Data</b> page first; then mark here what it shows."
_NO_CLASS = (
    "<b>What are you looking for?</b> Type its name below and add it; then click the "
    "particles in the image."
)


class AnnotatePage(Page):
    """Classes, tools, undo, suggestions and review for the image that is shown."""

    title = "Annotate"

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        session: Session | None = None,
        runner: JobRunner | None = None,
    ) -> None:
        super().__init__(viewer, session, runner)
        self.drawing = drawing_of(viewer)
        self.tool = ""
        self._image = self.drawing.name
        self.areas = Areas(self.drawing)
        self.offer = Offer()
        self._make_classes()
        self._make_tools()
        self.body.addWidget(self.offer)
        self.area_offer = Offer()
        self.body.addWidget(self.area_offer)
        self.review = Review(self.drawing)
        self.body.addWidget(self.review)
        self.summary = look.paragraph("", role="hint")
        self.body.addWidget(self.summary)
        self.whole_button = button(
            "Finish the whole image",
            "Everything on this image is marked: no areas are needed, and all marks "
            "teach.",
            self.areas.finish_all,
        )
        self.body.addWidget(self.whole_button)
        self.body.addStretch(1)
        self.keys = Keys(viewer, self._key_actions())
        self._connect()
        self.refresh()

    # -- widgets ------------------------------------------------------------------

    def _make_classes(self) -> None:
        layout = self.section("What is to be found")
        self.classes = ClassTable(self.session)
        layout.addWidget(self.classes)

    def _make_tools(self) -> None:
        layout = self.section("Tools")
        self.tools = ToolBox()
        self.hint = look.paragraph("", role="hint")
        self.undo_button = button(
            "Undo", "Take the last step back (Ctrl+Z).", self.drawing.undo
        )
        self.redo_button = button(
            "Redo", "Do it again (Ctrl+Y or Ctrl+Shift+Z).", self.drawing.redo
        )
        self.suggest_button = button(
            "Suggest next area",
            "Frame the part of this image from which a network would learn the most "
            "(key G).",
            self.areas.suggest,
        )
        steps = QHBoxLayout()
        steps.setSpacing(6)
        steps.addWidget(self.undo_button, 2)
        steps.addWidget(self.redo_button, 2)
        steps.addWidget(self.suggest_button, 3)
        self.layer_button = button(
            "Use the selected layer",
            "Make the points, shapes or labels of the layer that is selected in "
            "napari's layer list part of this project.",
            self._on_own_layer,
        )
        layout.addWidget(self.tools)
        layout.addWidget(self.hint)
        layout.addLayout(steps)
        layout.addWidget(self.layer_button)

    def _connect(self) -> None:
        self.classes.picked.connect(self._on_class)
        self.classes.kind_changed.connect(self._on_kind)
        self.classes.refused.connect(self.refuse)
        self.classes.removing.connect(self._ask_remove)
        self.tools.picked.connect(self.pick_tool)
        self.areas.changed.connect(self._on_area)
        self.review.said.connect(self.say)
        self.review.replacing.connect(self._ask_take_labels)
        self.drawing.changed.connect(self._on_drawing)
        self.drawing.problem.connect(self.refuse)
        self.drawing.lost.connect(self._ask_lost)
        session = self.session
        for signal in (session.task_changed, session.images_changed):
            self.listen(signal, self.refresh)
        self.listen(session.scale_changed, self.refresh)
        self.listen(session.predictions_changed, self.refresh)
        self.listen(unwrap(self.viewer).layers.selection.events.active, self.refresh)

    def _key_actions(self) -> dict[str, object]:
        actions: dict[str, object] = {
            key: lambda number=number: self._on_class_key(number)
            for number, key in enumerate(KEYS)
        }
        return actions | {
            NEGATIVE_KEY: lambda: self.pick_tool("negative"),
            "G": self.areas.suggest,
            ACCEPT_KEY: self.review.accept,
            REJECT_KEY: self.review.reject,
            "Control-Z": self.drawing.undo,
            "Control-Shift-Z": self.drawing.redo,
            "Control-Y": self.drawing.redo,  # napari's own: change to 3-D
        }

    # -- showing ------------------------------------------------------------------

    def activated(self) -> None:
        """Show the project as it is now."""
        self.refresh()

    def showEvent(self, event: Any) -> None:
        """Keys act while the page is in front."""
        super().showEvent(event)
        self.keys.bind()

    def hideEvent(self, event: Any) -> None:
        """Other pages may want the same keys."""
        super().hideEvent(event)
        self.keys.free()

    def refresh(self, *_: object) -> None:
        """Show classes, tools and counts as they are now."""
        session, name = self.session, self.drawing.name
        has_class = len(session.task.classes) > 1
        if not session.images:
            self.show_empty(_EMPTY)
        else:
            self.show_empty("" if has_class else _NO_CLASS)
        self.classes.refresh(name)
        if self.drawing.class_name not in session.task.classes and has_class:
            self.drawing.aim(self.classes.current)
        self._refresh_tools()
        self.review.refresh()
        self.summary.setText("" if name is None else advice(session, name))
        self.whole_button.setVisible(marks_outside(self.drawing.drawn)[0] > 0)

    def _refresh_tools(self) -> None:
        drawing = self.drawing
        ready = drawing.name is not None and len(self.session.task.classes) > 1
        in_hand = tool_in_hand(drawing) if ready else ""
        self.tools.refresh(self.session.task.kind, in_hand, enabled=ready)
        nothing = ready and not self.session.annotations.get(drawing.name or "")
        first = "point" if self.session.task.kind == "detect" else "paint"
        for name, made in self.tools.buttons.items():
            look.emphasize(made, nothing and not in_hand and name == first)
        hint = TOOLS[in_hand].hint if in_hand else "Choose a tool, then click."
        self.hint.setText(hint if ready else "")
        self.hint.setVisible(ready)
        self.undo_button.setEnabled(drawing.can("undo"))
        self.redo_button.setEnabled(drawing.can("redo"))
        self.suggest_button.setEnabled(ready)
        self.layer_button.setVisible(usable_layer(drawing) is not None)

    # -- classes ------------------------------------------------------------------

    def _on_kind(self) -> None:
        self.pick_tool("")

    def _on_class(self, name: str) -> None:
        """Draw a class; marks that are selected become of this class."""
        if give_selected(self.drawing, name):
            return
        self.drawing.aim(name)
        tool = tool_in_hand(self.drawing)
        if tool in ("", "negative") and self.drawing.name is not None:
            first = "point" if self.session.task.kind == "detect" else "paint"
            self.pick_tool(first)
        self.refresh()

    def _on_class_key(self, number: int) -> None:
        names = list(self.classes.rows)
        if number < len(names):
            self.classes.pick(names[number])

    def _ask_remove(self, name: str) -> None:
        number = class_edits.marks_of(self.session, name)
        self.offer.show_choice(
            f"{name} is marked {plural(number, 'time')} in this project; these marks "
            "would go with it.",
            {
                "Keep it": lambda: None,
                f"Remove {name}": lambda: class_edits.remove_class(self.session, name),
            },
        )

    # -- tools --------------------------------------------------------------------

    def pick_tool(self, name: str) -> None:
        """Put a tool into the hand.

        Parameters
        ----------
        name
            A key of `TOOLS`; empty puts all away.
        """
        self.tool = name
        if name and self.drawing.name is not None and self.classes.current:
            take_tool(self.drawing, name, self.classes.current)
        self.refresh()

    def _on_own_layer(self) -> None:
        layer = usable_layer(self.drawing)
        if layer is None:
            return
        self.drawing.gather()
        if layer._type_string == "labels" and self.drawing.of_kind("labels"):
            self._ask_replace(
                f"the labels of {layer.name}", lambda: self._use_layer(layer)
            )
        else:
            self._use_layer(layer)

    def _use_layer(self, layer: Layer) -> None:
        try:
            self.say(use_layer(self.drawing, layer, self.classes.current))
        except TopiaryError as reason:
            self.refuse(str(reason))

    def _ask_take_labels(self) -> None:
        self._ask_replace(
            "what the network painted", lambda: self.review.take_labels(replace=True)
        )

    def _ask_replace(self, what: str, replace: Callable[[], object]) -> None:
        """Ask before all that is painted gives way to something else."""
        self.offer.show_choice(
            f"This image is painted already; {what} would take the place of all of it.",
            {"Keep what is painted": lambda: None, "Replace it": replace},
        )

    def _on_drawing(self) -> None:
        if self.drawing.name != self._image:
            self._image = self.drawing.name
            self.offer.close_offer()
            fits = self.tool and self.session.task.kind in TOOLS[self.tool].tasks
            # Go on with the same tool on the next image.
            self.pick_tool(self.tool if fits else "")
        self.refresh()

    def _ask_lost(self, kind: str) -> None:
        """Offer to bring back what a deleted layer showed."""
        if self.tool and TOOLS[self.tool].kind == kind:
            self.tool = ""
        what = marks.TITLES[kind]
        self.offer.show_choice(
            f"The layer with the {what} was deleted, but what it showed is kept.",
            {
                "Show it again": lambda: self.drawing.ensure(kind),
                "Delete it for good": lambda: self.drawing.forget(kind),
            },
        )

    # -- areas --------------------------------------------------------------------

    def _on_area(self) -> None:
        if self.areas.area is None:
            self.area_offer.close_offer()
        else:
            self.area_offer.show_choice(
                "Mark everything inside the frame, then take it as finished.",
                {
                    "It is finished": self.areas.finish,
                    "Another one": self.areas.suggest,
                    "Cancel": self.areas.give_up,
                },
                problem=False,
            )
        self.refresh()
