"""Adding images to the project: from files and layers; pixel sizes by scale bars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtWidgets import QHBoxLayout, QLineEdit, QWidget

from napari_topiary._napari.canvas.layers import (
    current_image_name,
    image_layer,
    layer_for,
    put_layer,
    remove_layer,
)
from napari_topiary._napari.canvas.shown_image import large_image_of
from napari_topiary._napari.data.intake import (
    Incoming,
    LayerSource,
    Refused,
    Stack,
    layer_source,
    nm_per_pixel,
    read_files,
    with_channels,
    without_banner,
)
from napari_topiary._napari.jobs.runner import in_background
from napari_topiary._napari.state import state_of
from napari_topiary._napari.widgets.look import filled
from napari_topiary._napari.widgets.page import button, label
from napari_topiary.errors import TopiaryError
from napari_topiary.io.pixel_size import pixel_size_of_bar
from napari_topiary.session import ImageEntry
from napari_topiary.words import plural

if TYPE_CHECKING:
    from napari.layers import Image as ImageLayer

    from napari_topiary._napari.data.page import DataPage
    from napari_topiary.io.large_images import LargeImage
    from napari_topiary.session import Session

KEY = "scale bar"

_FEW_SLICES = 20
Found = Incoming | Stack | Refused


class ScaleBar(QWidget):
    """A row that is shown while a scale bar is measured."""

    def __init__(self, page: DataPage) -> None:
        super().__init__()
        self.page = page
        self.name: str | None = None
        self.length = QLineEdit()
        self.length.setPlaceholderText("500 nm")
        self.length.setToolTip("As it is written beside the bar, with its unit.")
        self.length.returnPressed.connect(self.take)
        self.set_button = button(
            "Set", "Compute the pixel size from the line and its length.", self.take
        )
        filled(
            QHBoxLayout(self),
            label("Its length"),
            (self.length, 1),
            self.set_button,
            button("Cancel", "Leave the pixel size as it is.", self.end),
            spacing=None,
        )
        self.hide()

    def begin(self) -> None:
        """Let the person draw a line along the bar."""
        page = self.page
        name = current_image_name(page.viewer, page.session)
        image = None if name is None else image_layer(page.viewer, name)
        if image is None:
            return
        self.end()
        self.name = name
        layer = put_layer(
            page.viewer,
            (KEY, name),
            [],
            "shapes",
            like=image,
            name="Scale bar",
            edge_color="red",
            edge_width=2,
        )
        page.viewer.layers.selection.active = layer
        layer.mode = "add_line"
        self.length.clear()
        self.show()
        page.bar_button.hide()
        page.say("Draw a line from one end of the scale bar to the other.")

    def take(self) -> None:
        """Set the pixel size by the last line that was drawn."""
        page, name = self.page, self.name
        layer = None if name is None else layer_for(page.viewer, (KEY, name))
        if name not in page.session.images or layer is None or not len(layer.data):
            page.refuse("Draw a line along the scale bar first.")
            return
        ends = np.asarray(layer.data[-1])[[0, -1], -2:]
        try:
            size = pixel_size_of_bar(
                float(np.linalg.norm(ends[1] - ends[0])), self.length.text()
            )
        except TopiaryError as reason:
            page.refuse(str(reason))
            return
        self.end()
        page.session.set_scale(name, size)
        page.say(f"The pixels of {name} are {size:g} nm.")

    def end(self) -> None:
        """Take the line and this row away."""
        self.hide()
        self.page.bar_button.show()
        if self.name is not None:
            remove_layer(self.page.viewer, (KEY, self.name))
        self.name = None


class Adder:
    """Brings images into the session of a page."""

    def __init__(self, page: DataPage) -> None:
        self.page = page
        self._questions: list[Callable[[], None]] = []

    def forget(self) -> None:
        """Ask nothing more: another project is open."""
        self._questions.clear()

    def add_files(self, paths: Sequence[Path]) -> None:
        """Read image files in the background and add them."""
        self.page.projects.leave_recovery()
        self.page.say(f"Reading {plural(len(paths), 'file')}…")
        in_background(
            lambda: read_files(paths),
            title="Reading the images",
            on_result=self.take,
            on_error=self.page.refuse,
            owner=self.page,
        )

    def use_layer(
        self,
        layer: ImageLayer,
        *,
        every: bool | None = None,
        all_of_it: bool | None = None,
    ) -> None:
        """Add what an image layer of the user shows."""
        large = large_image_of(layer)
        if large is not None and all_of_it is None:
            self._ask_how_much(layer, large)
            return
        try:
            if large is not None and all_of_it:
                size, path = nm_per_pixel(layer), large.path
                one = Incoming(layer.name, large, size, path, large.notes)
                self.take([one], layer=layer)
                return
            source = layer_source(layer, self.page.viewer.dims.current_step)
        except TopiaryError as reason:
            self.page.refuse(str(reason))
            return
        if source.n_slices > 1 and every is None:
            self._ask_which_slices(layer, source)
            return
        is_whole = source.n_slices == 1 and source.window is None
        whole = layer if is_whole else None

        def taken(found: Found) -> None:
            if isinstance(found, Stack):
                self.take(found.slices)
            else:
                self.take([found], layer=whole)

        self.page.say(f"Reading {source.name}…")
        in_background(
            lambda: source.read(every=bool(every)),
            title="Reading the layer",
            on_result=taken,
            on_error=self.page.refuse,
            owner=self.page,
        )

    def _ask_how_much(self, layer: ImageLayer, large: LargeImage) -> None:
        _, height, width = large.shape
        self.page.offer.show_choice(
            f"{layer.name} has {width:,} × {height:,} pixels: of all of it only "
            "what is needed is read. What is on the screen can become an image of "
            "its own, on which areas can be painted.",
            {
                "Add all of it": lambda: self.use_layer(layer, all_of_it=True),
                "Add what is on the screen": lambda: self.use_layer(
                    layer, all_of_it=False
                ),
                "Cancel": lambda: None,
            },
        )

    def _ask_which_slices(self, layer: ImageLayer, source: LayerSource) -> None:
        self.page.offer.show_choice(
            f"{source.name} is a stack of {source.n_slices} slices; networks here "
            "look at one image at a time.",
            {
                "Add the slice shown": lambda: self.use_layer(layer, every=False),
                "Add every slice": lambda: self.use_layer(layer, every=True),
                "Cancel": lambda: None,
            },
        )

    def take(self, found: Sequence[Found], *, layer: ImageLayer | None = None) -> None:
        """Add what was read; stacks and colour among grey are asked about."""
        self.page.projects.leave_recovery()
        images = [one for one in found if isinstance(one, Incoming)]
        session = self.page.session
        channels = _channels(session) or (images[0].image.shape[0] if images else 0)
        fitting = [one for one in images if one.image.shape[0] == channels]
        banners = [one for one in fitting if one.rows is not None]
        fitting = [one for one in fitting if one.rows is None]
        others = [one for one in images if one.image.shape[0] != channels]
        for one in found:
            if isinstance(one, Stack):
                self._questions.append(lambda stack=one: self._ask_slices(stack))
        if banners:
            self._questions.append(lambda: self._ask_banner(banners, layer))
        if others:
            self._questions.append(lambda: self._ask_channels(others, channels))
        self._tell(fitting, [one for one in found if isinstance(one, Refused)])
        self._add(fitting, layer)
        self._next_question()

    def _add(self, images: Sequence[Incoming], layer: ImageLayer | None = None) -> None:
        if not images:
            return
        state = state_of(self.page.viewer)
        state.brought = layer  # before the image is announced, so that none is made
        first, *_ = self.page.session.add_images(
            [ImageEntry(one.name, one.image, one.scale, one.path) for one in images]
        )
        self.page.open_image(first.name)
        state.brought = None

    def _tell(self, added: Sequence[Incoming], refused: Sequence[Refused]) -> None:
        notes = list(dict.fromkeys(note for one in added for note in one.notes))
        if refused:
            sentences = [one.sentence for one in refused[:3]]
            if len(refused) > 3:
                sentences.append(f"And {len(refused) - 3} more were refused.")
            self.page.refuse("\n".join(sentences))
        elif added:
            words = f"Added {plural(len(added), 'image')}."
            self.page.say(" ".join([words, *notes]))
        else:
            self.page.say("")

    # -- questions ------------------------------------------------------------------

    def _next_question(self) -> None:
        if self._questions and not self.page.offer.isVisibleTo(
            self.page.offer.parent()
        ):
            self._questions.pop(0)()

    def _then(self, do: Callable[[], object]) -> Callable[[], None]:
        def answer() -> None:
            do()
            self._next_question()

        return answer

    def _ask_slices(self, stack: Stack) -> None:
        count = len(stack.slices)
        steps = {f"All {count}": 1}
        if count > _FEW_SLICES:
            steps = {"Every 10th": 10} | steps
        steps["The middle one"] = 0
        self.page.offer.show_choice(
            f"{stack.name} is a stack of {count} slices; networks here look at one "
            "image at a time. Add its slices as single images?",
            {
                text: self._then(lambda step=step: self.take(stack.picked(step)))
                for text, step in steps.items()
            }
            | {"None": self._then(lambda: None)},
        )

    def _ask_banner(self, images: list[Incoming], layer: ImageLayer | None) -> None:
        which = images[0].name if len(images) == 1 else f"{len(images)} of the images"
        verb = "has" if len(images) == 1 else "have"
        whole = [replace(one, rows=None) for one in images]
        cut = [without_banner(one) for one in images]
        self.page.offer.show_choice(
            f"{which} {verb} an information banner of the microscope. Networks pass it "
            "over either way.",
            {
                "Cut it off": self._then(lambda: self.take(cut)),
                "Keep it": self._then(lambda: self.take(whole, layer=layer)),
            },
        )

    def _ask_channels(self, images: list[Incoming], channels: int) -> None:
        converted = [with_channels(one, channels) for one in images]
        ready = [one for one in converted if one is not None]
        which = images[0].name if len(images) == 1 else f"{len(images)} of the images"
        verb = "is" if len(images) == 1 else "are"
        given, wanted = _colour_words(images[0].image.shape[0]), _colour_words(channels)
        sentence = (
            f"{which} {verb} {given}, but the images of this project are {wanted}."
        )
        if len(ready) < len(images):
            kind = "grey" if images[0].image.shape[0] == 1 else "such"
            self.page.refuse(
                f"{sentence} Open {kind} images in a project of their own."
            )
            self._next_question()
            return
        convert = "Convert to grey" if channels == 1 else f"Make {wanted}"
        self.page.offer.show_choice(
            sentence,
            {
                convert: self._then(lambda: self.take(ready)),
                "Leave out": self._then(lambda: self.page.say("")),
            },
        )


def _channels(session: Session) -> int | None:
    for entry in session.images.values():
        return int(entry.image.shape[0])
    return None


def _colour_words(channels: int) -> str:
    return {1: "grey", 3: "in colour"}.get(channels, f"of {channels} channels")
