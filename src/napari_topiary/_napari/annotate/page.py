"""The Annotate page: mark what is to be found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QHBoxLayout

from napari_topiary._napari.annotate.areas import Advice, AreaSuggestions
from napari_topiary._napari.annotate.classes import KEYS, ClassTable
from napari_topiary._napari.annotate.cleaning import CleanUp, ObjectEdits
from napari_topiary._napari.annotate.review import ACCEPT_KEY, REJECT_KEY, Review
from napari_topiary._napari.annotate.tools import (
    FIRST,
    ToolBox,
    active_tool,
    give_selected,
    hint_about,
    take_tool,
    tools,
    usable_layer,
    use_layer,
)
from napari_topiary._napari.canvas.turns import turns_of
from napari_topiary._napari.drawing.drawing import drawing_of
from napari_topiary._napari.state import unwrap
from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.look import filled
from napari_topiary._napari.widgets.page import Keys, Offer, Page, button
from napari_topiary.annotations import annotation_kinds
from napari_topiary.errors import TopiaryError
from napari_topiary.session import contents
from napari_topiary.words import plural

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Layer

    from napari_topiary.session.history import Direction

_EMPTY = "Open an image on the <b>Data</b> page first; then mark here what it shows."
_NO_CLASS = "<b>What are you looking for?</b> Type its name below and add it; then "
_THEN = {
    "detect": "click the particles in the image.",
    "segment": "paint it in the image.",
    "instances": "paint each of them in the image.",
}


class AnnotatePage(Page):
    """Classes, tools, undo, suggestions and review for the image that is shown."""

    title = "Annotate"

    def build(self) -> None:
        """Fill the page."""
        self.drawing = drawing_of(self.viewer)
        self.tool = ""
        self._image = self.drawing.name
        self.areas, self.advice = AreaSuggestions(self.drawing), Advice()
        self.offer = Offer()
        self.classes = ClassTable(self.session)
        self.section("What is to be found").addWidget(self.classes)
        self._make_tools()
        self.body.addWidget(self.offer)
        self.area_offer = Offer()
        self.body.addWidget(self.area_offer)
        self.review = Review(self.drawing)
        self.body.addWidget(self.review)
        self.clean_up = CleanUp(self.drawing)
        self.body.addWidget(self.clean_up)
        self.edits = ObjectEdits(self.drawing, lambda: self.tool)
        self.summary = look.paragraph("", role="hint")
        self.body.addWidget(self.summary)
        self.whole_button = button(
            "Finish the whole image",
            "Everything on this image is marked: no areas are needed, and all marks "
            "teach.",
            self.areas.finish_all,
        )
        self.around_button = button(
            "Finish around the marks",
            "Only the part of this image that your marks lie in is marked completely: "
            "nothing is known of the rest.",
            self.areas.finish_around_marks,
        )
        self.body.addWidget(self.whole_button)
        self.body.addWidget(self.around_button)
        self.body.addStretch(1)
        self.keys = Keys(self.viewer, self._key_actions())
        self._connect()
        self.refresh()

    # -- widgets ------------------------------------------------------------------

    def _make_tools(self) -> None:
        layout = self.section("Tools")
        self.tools = ToolBox()
        self.hint = look.paragraph("", role="hint")
        self.undo_button = button(
            "Undo", "Take the last step back (Ctrl+Z).", self._undo
        )
        self.redo_button = button(
            "Redo", "Do it again (Ctrl+Y or Ctrl+Shift+Z).", self._redo
        )
        self.flat_button = button(
            "Back to 2-D", "Show one image again, to draw on it.", self._flatten
        )
        self.suggest_button = button(
            "Suggest next area",
            "Frame the part of this image from which a network would learn the most "
            "(key G).",
            self._suggest,
        )
        steps = filled(
            QHBoxLayout(),
            (self.undo_button, 2),
            (self.redo_button, 2),
            (self.suggest_button, 3),
        )
        self.layer_button = button(
            "Use the selected layer",
            "Make the points, shapes or labels of the layer that is selected in "
            "napari's layer list part of this project.",
            self._on_own_layer,
        )
        layout.addWidget(self.tools)
        layout.addWidget(self.hint)
        layout.addWidget(self.flat_button)
        layout.addLayout(steps)
        layout.addWidget(self.layer_button)

    def _connect(self) -> None:
        self.classes.picked.connect(self._on_class)
        self.classes.kind_changed.connect(self._on_kind)
        self.classes.refused.connect(self.refuse)
        self.classes.removing.connect(self._ask_remove)
        self.classes.changing.connect(self.drawing.gather)
        self.classes.named.connect(self._give_keys_to_canvas)
        self.tools.picked.connect(self.pick_tool)
        self.areas.changed.connect(self._on_area)
        for part in (self.review, self.clean_up, self.edits):
            part.said.connect(self.say)
        self.review.replacing.connect(self._ask_take_labels)
        self.drawing.changed.connect(self._on_drawing)
        self.drawing.problem.connect(self.refuse)
        self.drawing.lost.connect(self._ask_lost)
        session = self.session
        viewer = unwrap(self.viewer)
        for signal in (
            session.task_changed,
            session.images_changed,
            session.scale_changed,
            session.predictions_changed,
            viewer.layers.selection.events.active,
            viewer.dims.events.ndisplay,
        ):
            self.listen(signal, self.refresh)

    def _key_actions(self) -> dict[str, object]:
        actions: dict[str, object] = {
            key: lambda number=number: self._on_class_key(number)
            for number, key in enumerate(KEYS)
        }
        actions |= {
            tool.key: lambda name=name: self._on_tool_key(name)
            for name, tool in tools().items()
        }
        return actions | {
            "G": self._suggest,
            ACCEPT_KEY: self.review.accept,
            REJECT_KEY: self.review.reject,
            "Control-Z": self._undo,
            "Control-Shift-Z": self._redo,
            "Control-Y": self._redo,  # napari's own: change to 3-D
        }

    # -- showing ------------------------------------------------------------------

    def activated(self) -> None:
        """Show the project as it is now; a first name can be typed at once."""
        self.refresh()
        self.review.arrive()
        if self.session.images and len(self.session.task.classes) == 1:
            self.classes.new_name.setFocus()

    def hideEvent(self, event: Any) -> None:
        """Leave what is being asked or tried."""
        super().hideEvent(event)
        if not event.spontaneous():
            self.review.leave()
            self.clean_up.leave()

    def refresh(self, *_: object) -> None:
        """Show classes, tools and counts as they are now."""
        session, name = self.session, self.drawing.name
        has_class = len(session.task.classes) > 1
        if not session.images:
            self.show_empty(_EMPTY)
        else:
            self.show_empty("" if has_class else _NO_CLASS + _THEN[session.task.kind])
        self.classes.refresh(name)
        if self.drawing.class_name not in session.task.classes and has_class:
            self.drawing.aim(self.classes.current)
        self._refresh_tools()
        self.review.refresh()
        self.clean_up.refresh()
        turns_of(self.viewer).take("advice", [self._show_advice])
        has_areas = self.drawing.of_kind("regions") is not None
        self.whole_button.setVisible(has_areas)
        self.around_button.setVisible(self.areas.has_marks and not has_areas)

    def _show_advice(self) -> None:
        name = self.drawing.name
        if isalive(self):
            words = "" if name is None else self.advice.of(self.session, name)
            self.summary.setText(words)

    def _refresh_tools(self) -> None:
        drawing, kind = self.drawing, self.session.task.kind
        flat = unwrap(self.viewer).dims.ndisplay == 2
        there = drawing.name is not None and len(self.session.task.classes) > 1
        ready = there and flat
        active = active_tool(drawing, self.tool) if ready else ""
        self.tools.refresh(kind, active, enabled=ready)
        nothing = ready and not self.session.annotations.get(drawing.name or "")
        for name, made in self.tools.buttons.items():
            look.emphasize(made, nothing and not active and name == FIRST[kind])
        hint, is_problem = hint_about(drawing, active, flat=flat)
        self.hint.setText(hint if there else "")
        self.hint.setVisible(there)
        look.set_role(self.hint, "problem" if is_problem else "hint")
        self.flat_button.setVisible(there and not flat)
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
        tool = active_tool(self.drawing)
        if tool in ("", "negative") and self.drawing.name is not None:
            self.pick_tool(FIRST[self.session.task.kind])
        self.refresh()

    def _on_class_key(self, number: int) -> None:
        names = list(self.classes.rows)
        if number < len(names):
            self.classes.pick(names[number])

    def _ask_remove(self, name: str) -> None:
        number = contents.marks_of(self.session, name)
        self.offer.show_choice(
            f"{name} is marked {plural(number, 'time')} in this project; these marks "
            "would go with it.",
            {
                "Keep it": lambda: None,
                f"Remove {name}": lambda: self._remove_class(name),
            },
        )

    def _remove_class(self, name: str) -> None:
        self.drawing.gather()
        self.session.remove_class(name)

    def _give_keys_to_canvas(self) -> None:
        """Let keys act on the image again, after something was typed."""
        canvas = self.window().findChild(QOpenGLWidget)
        if canvas is not None:
            canvas.setFocus()

    # -- tools --------------------------------------------------------------------

    def _on_tool_key(self, name: str) -> None:
        if self.tools.buttons[name].isVisibleTo(self):
            self.pick_tool(name)

    def _flatten(self) -> None:
        unwrap(self.viewer).dims.ndisplay = 2

    def _undo(self) -> None:
        self._step("undo")

    def _redo(self) -> None:
        self._step("redo")

    def _step(self, direction: Direction) -> None:
        """Take a step, and look at the question that it opens again."""
        self.say("")  # what was said last is undone, or was about something else
        before = self.review.ringed
        self.drawing.step(direction)
        if self.review.ringed != before:
            self.review.look_at_current()

    def pick_tool(self, name: str) -> None:
        """Put a tool into the hand."""
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
            fits = self.tool and self.session.task.kind in tools()[self.tool].tasks
            # Go on with the same tool on the next image.
            self.pick_tool(self.tool if fits else "")
            self.refresh()
            self.review.arrive()
        self.refresh()

    def _ask_lost(self, kind: str) -> None:
        """Offer to bring back what a deleted layer showed."""
        if kind == "image" and self.drawing.name in self.session.images:
            self.offer.show_choice(
                "The layer with the image was deleted, but the project still has it.",
                {"Show it again": lambda: self.drawing.show(self.drawing.name or "")},
            )
            return
        if self.tool and tools()[self.tool].kind == kind:
            self.tool = ""
        what = annotation_kinds[kind].title
        self.offer.show_choice(
            f"The layer “{what}” was deleted, but what it showed is kept.",
            {
                "Show it again": lambda: self.drawing.ensure(kind),
                "Delete it for good": lambda: self.drawing.forget(kind),
            },
        )

    # -- areas --------------------------------------------------------------------

    def _suggest(self) -> None:
        """Frame the next area, with what marks it in the hand."""
        if self.areas.suggest() is not None and len(self.session.task.classes) > 1:
            self.pick_tool(FIRST[self.session.task.kind])

    def _on_area(self) -> None:
        if self.areas.area is None:
            self.area_offer.close_offer()
        else:
            self.area_offer.show_choice(
                "Mark everything inside the frame, then take it as finished.",
                {
                    "It is finished": self.areas.finish,
                    "Another one": self._suggest,
                    "Cancel": self.areas.give_up,
                },
                problem=False,
            )
        self.refresh()
