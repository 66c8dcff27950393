"""The Data page: which images, how large their pixels are, and the project itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari.layers import Image as ImageLayer
from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QCheckBox, QFileDialog, QHBoxLayout, QMenu, QPushButton

from napari_topiary._napari.canvas.layers import current_image_name, key_of
from napari_topiary._napari.canvas.shown_image import hide_foreign
from napari_topiary._napari.data.adding import Adder, ScaleBar
from napari_topiary._napari.data.gallery import Gallery, is_held_out
from napari_topiary._napari.data.importing import FolderImport
from napari_topiary._napari.data.intake import is_painted
from napari_topiary._napari.data.networks import NetworkList
from napari_topiary._napari.data.projects import SAMPLE, Projects, moment
from napari_topiary._napari.drawing.drawing import drawing_of
from napari_topiary._napari.state import unwrap
from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.form import LengthField
from napari_topiary._napari.widgets.page import Offer, Page, button, label
from napari_topiary.io.images import readable_suffixes

if TYPE_CHECKING:
    from napari.layers import Layer

_EMPTY = (
    "<b>Start here.</b> Open one of the sample projects, or add images of your own: "
    "TIFF, MRC, DM3, DM4, PNG and others, or a layer that is open in napari."
)


class DataPage(Page):
    """Images of the project: add, open, give them a pixel size, keep some aside."""

    title = "Data"

    def build(self) -> None:
        """Fill the page."""
        self.drawing = drawing_of(self.viewer)
        self._seen: list[Layer] = []
        self.offer = Offer()
        self.projects = Projects(self)
        self.adder = Adder(self)
        self.importing = FolderImport(self)
        self._make_buttons()
        self.body.addWidget(self.offer)
        self.gallery = Gallery(self.session)
        self.gallery.opened.connect(self.open_image)
        self.body.addWidget(self.gallery, 1)
        self._make_details()
        self.networks = NetworkList(self)
        self.body.addWidget(self.networks)
        self.body.addStretch(0)
        for signal in (
            self.session.images_changed,
            self.session.scale_changed,
        ):
            self.listen(signal, self.refresh)
        # Said of each image where a project is opened: of two hundred, 200 times.
        self.listen(self.session.annotations_changed, self.gallery.refresh_row)
        self.listen(self.session.checkpoints_changed, self.refresh)
        self.listen(self.session.saved, self._show_back)
        self.listen(unwrap(self.viewer).layers.selection.events.active, self.refresh)
        self.drawing.changed.connect(self.refresh)
        layers = unwrap(self.viewer).layers
        self.listen(layers.events.inserted, self._on_inserted)
        self.refresh()
        if not self.session.images:
            self.projects.offer_recovery()
        self._take_samples()

    # -- widgets ------------------------------------------------------------------

    def _make_buttons(self) -> None:
        self._make_menus()
        self.add_button = button(
            "Add images…", "Add image files to this project.", self.choose_files
        )
        self.layer_button = button(
            "Use the selected layer",
            "Add the image layer that is selected in napari's layer list.",
            self.use_selected_layer,
        )
        self.import_button = button(
            "Import folder…",
            "Pair the images of any folder with annotations of other programs (masks,\n"
            "CSV, STAR, BOX, QuPath, ImageJ ...); the table is shown first.",
            self.importing.choose,
        )
        self.save_button = button(
            "Save project…",
            "Save images, marks and networks in a folder of a new name. From then on "
            "every change is saved there by itself.",
            self.projects.choose_and_save,
        )
        for pair in (
            (self.sample_button, self.add_button),
            (self.open_button, self.save_button),
            (self.import_button, self.back_button),
        ):
            line = QHBoxLayout()
            line.setSpacing(6)
            for one in pair:
                line.addWidget(one, 1)
            self.body.addLayout(line)
        self.body.addWidget(self.layer_button)  # in a line it would leave a gap

    def _make_menus(self) -> None:
        """Buttons with a list: samples, projects, earlier versions."""
        self.sample_button = QPushButton("Open sample")
        self.sample_button.setToolTip(
            "Real micrographs with marks of an expert, to try everything out."
        )
        menu = QMenu(self.sample_button)
        self.sample_actions = {}
        for name, title in self.projects.samples():
            # In a menu a single & underlines the letter after it.
            action = menu.addAction(title.replace("&", "&&"))
            action.triggered.connect(
                lambda _=False, one=name: self.projects.open_sample(one)
            )
            self.sample_actions[name] = action
        self.sample_button.setMenu(menu)
        self.open_button = QPushButton("Project")
        self.open_button.setToolTip(
            "Begin a new project, or open one: a folder that was saved before, or any "
            "dataset folder."
        )
        self.open_menu = QMenu(self.open_button)
        self.open_menu.setToolTipsVisible(True)
        self.open_menu.aboutToShow.connect(
            lambda: self.projects.list_projects(self.open_menu)
        )
        self.open_button.setMenu(self.open_menu)
        self.back_button = QPushButton("Earlier versions")
        self.back_button.setToolTip(
            "Every save keeps what was there before: go back to it. What you have now "
            "is kept in the same way."
        )
        self.back_menu = QMenu(self.back_button)
        self.back_menu.aboutToShow.connect(self._list_versions)
        self.back_button.setMenu(self.back_menu)

    def _make_details(self) -> None:
        layout, self.details = look.card()
        self.scale_field = LengthField(
            "nm/px",
            "Size of one pixel on the specimen. With it, sizes are in nm and a network "
            "works at other magnifications too.",
        )
        self.scale_field.valueChanged.connect(self._on_scale)
        self.all_scales_button = button(
            "For all",
            "Give every image of the project this pixel size.",
            self._on_all_scales,
        )
        self.bar_button = button(
            "Pixel size by the scale bar…",
            "Find the pixel size by the scale bar in the image: draw a line along it\n"
            "and type its length.",
            lambda: self.scale_bar.begin(),
        )
        self.scale_bar = ScaleBar(self)
        self.hold_out = QCheckBox("Keep aside to judge on")
        self.hold_out.setToolTip(
            "Networks never learn from this image; it shows how well they do on "
            "something new.\nIt needs complete marks too."
        )
        self.hold_out.clicked.connect(self._on_hold_out)
        self.remove_button = button(
            "Remove", "Take this image out of the project.", self._on_remove
        )
        for line in (
            (label("Pixel size"), self.scale_field, self.all_scales_button),
            (self.bar_button, self.scale_bar),
            (self.hold_out, self.remove_button),
        ):
            row = QHBoxLayout()
            for one in line:
                row.addWidget(one, int(one in (self.scale_field, self.hold_out)))
            layout.addLayout(row)
        self.body.addWidget(self.details)

    # -- showing ------------------------------------------------------------------

    def activated(self) -> None:
        """Show the project as it is now."""
        self.refresh()
        self.projects.renew()

    def refresh(self, *_: object) -> None:
        """Show the images, and what can be done next."""
        session = self.session
        self.show_empty("" if session.images else _EMPTY)
        candidate = self._candidate() is not None
        look.emphasize(self.sample_button, not session.images and not candidate)
        current = current_image_name(self.viewer, session)
        self.gallery.setVisible(bool(session.images))
        self.gallery.refresh(current)
        self.save_button.setEnabled(bool(session.images))
        self.layer_button.setVisible(candidate)
        look.emphasize(self.layer_button, candidate)
        self.networks.refresh()
        self._show_back()
        if self.scale_bar.name not in (None, current):
            self.scale_bar.end()  # another image is worked on
        self.details.setVisible(current is not None)
        if current is None:
            return
        self.scale_field.show_value(session.images[current].scale)
        self.hold_out.setChecked(is_held_out(session, current))
        self.all_scales_button.setVisible(len(session.images) > 1)

    def open_image(self, name: str) -> None:
        """Work on one of the images from now on: its layers are shown."""
        self.drawing.show(name)
        self.refresh()

    def on_other_project(self) -> None:
        """Another project was opened: what was asked was about the one before."""
        super().on_other_project()
        self.offer.close_offer()
        self.scale_bar.end()
        self.adder.forget()

    def _on_inserted(self, _event: object) -> None:
        # Later: napari opens the image and what is drawn on it one after the other.
        QTimer.singleShot(0, self._on_foreign)

    def _on_foreign(self) -> None:
        """Layers that are not ours: a sample is opened, an image does not cover."""
        if not isalive(self):
            return
        self._take_samples()
        self._take_first()
        hidden = hide_foreign(self.viewer)
        if hidden and is_painted(unwrap(self.viewer.layers[hidden[-1]])):
            self.say(
                f"{hidden[-1]} is hidden. If it is a picture of labels: right-click it "
                "in the layer list, Convert to Labels; then Annotate has Use the "
                "selected layer. Or Import folder… takes images and labels together."
            )
        elif hidden:
            self.say(
                f"{hidden[-1]} is hidden, so that it does not cover the image that is "
                "worked on. Use the selected layer makes it one of the project's; its "
                "eye in the layer list shows it."
            )

    def _take_first(self) -> None:
        """Images that are opened while this page waits for some are what it waits for.

        Where there are images already, or a question is open, the user is asked.
        """
        asked = self.offer.isVisible() and not self.projects.offers_recovery
        if self.session.images or not self.isVisible() or asked:
            return
        opened = [
            layer
            for layer in map(unwrap, unwrap(self.viewer).layers)
            if isinstance(layer, ImageLayer) and key_of(self.viewer, layer) is None
            if not layer.metadata.get(SAMPLE)
        ]
        flat = [layer for layer in opened if layer.ndim == 2]
        for layer in flat or opened[:1]:  # of a stack it is asked what is meant
            self.adder.use_layer(layer)

    def _take_samples(self) -> None:
        """Open a sample that napari's menu opened as a project with all its images."""
        found = [
            layer
            for layer in unwrap(self.viewer).layers
            if layer.metadata.get(SAMPLE) and key_of(self.viewer, layer) is None
        ]
        new = [layer for layer in found if layer not in self._seen]
        self._seen = found
        if new:
            name = str(new[-1].metadata[SAMPLE])
            same = [layer for layer in found if layer.metadata[SAMPLE] == name]
            self.projects.open_sample(name, instead_of=same)

    def _show_back(self) -> None:
        self.back_button.setVisible(self.session.home is not None)

    def _list_versions(self) -> None:
        """Offer what the project was before its last saves."""
        self.back_menu.clear()
        for version in self.session.versions():
            action = self.back_menu.addAction(f"Before {moment(version.saved)}")
            action.triggered.connect(
                lambda _=False, one=version: self.projects.go_back(one)
            )
        if self.back_menu.isEmpty():
            self.back_menu.addAction("None yet").setEnabled(False)

    # -- adding -------------------------------------------------------------------

    def choose_files(self) -> None:
        """Ask for image files and add them."""
        patterns = " ".join(f"*{suffix}" for suffix in readable_suffixes())
        paths, _ = QFileDialog.getOpenFileNames(
            self, "Add images", "", f"Images ({patterns});;All files (*)"
        )
        if paths:
            self.adder.add_files([Path(path) for path in paths])

    def use_selected_layer(self) -> None:
        """Add the image layer that is selected in napari."""
        layer = self._candidate()
        if layer is None:
            self.refuse("Select an image layer in napari's layer list first.")
            return
        self.adder.use_layer(layer)

    def _candidate(self) -> ImageLayer | None:
        """The selected layer if it is an image of the user's own."""
        layer = unwrap(self.viewer.layers.selection.active)
        is_own = isinstance(layer, ImageLayer) and key_of(self.viewer, layer) is None
        return layer if is_own else None

    # -- the open image -------------------------------------------------------------

    def _on_scale(self, value: float) -> None:
        name = current_image_name(self.viewer, self.session)
        if name is not None:
            self.session.set_scale(name, value or None)

    def _on_all_scales(self) -> None:
        for name in list(self.session.images):
            self.session.set_scale(name, self.scale_field.value() or None)

    def _on_hold_out(self, kept_aside: bool) -> None:
        name = current_image_name(self.viewer, self.session)
        if name is None:
            return
        split = {
            part: tuple(one for one in names if one != name)
            for part, names in self.session.split.items()
        }
        part = "val" if kept_aside else "train"
        if not split:
            rest = tuple(one for one in self.session.images if one != name)
            split = {"train": rest, "val": ()}
        split[part] = (*split.get(part, ()), name)
        self.session.set_split(split)

    def _on_remove(self) -> None:
        name = current_image_name(self.viewer, self.session)
        if name is None:
            return
        if not self.session.annotations.get(name):
            self.session.remove_image(name)
            return
        self.offer.show_choice(
            f"{name} has marks, which would be lost with it.",
            {
                "Keep it": lambda: None,
                "Remove it all the same": lambda: self.session.remove_image(name),
            },
        )
