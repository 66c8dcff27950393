"""What is new is one file, also in the window: offered there, drawn with, computed."""

from __future__ import annotations

from functools import partial
from importlib import import_module

import numpy as np
import pytest
import torch

pytest.importorskip("qtpy")

from napari_topiary import Labels, Task
from napari_topiary._napari.annotate.page import AnnotatePage
from napari_topiary._napari.canvas.shown_image import show_image
from napari_topiary._napari.data.gallery import status_words
from napari_topiary._napari.predict import page as predict_page
from napari_topiary._napari.prune.page import PrunePage
from napari_topiary._napari.state import unwrap
from napari_topiary._napari.train.page import TrainPage
from napari_topiary.annotations import annotation_kinds
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.cli import main
from napari_topiary.config import PredictConfig
from napari_topiary.inference.backends import backends
from napari_topiary.networks import build_network, count_parameters, networks
from napari_topiary.pruning import criteria
from napari_topiary.session import Session
from napari_topiary.types import BACKGROUND


@pytest.fixture
def grown(session: Session, task: Task) -> Checkpoint:
    """A network with random weights, in the project."""
    torch.manual_seed(0)
    sizes = {"base": 4, "levels": 1}
    network = build_network("unet", sizes, 1, len(task.classes))
    made = Checkpoint(
        network="unet",
        sizes=sizes,
        in_channels=1,
        task=task,
        state={name: one.clone() for name, one in network.state_dict().items()},
        pixel_size_nm=2.0,
        unpruned_parameters=count_parameters(network),
    )
    session.add_checkpoint("grown", made)
    return made


def test_a_kind_of_annotation_is_drawn(new_file, viewer, session, tmp_path):
    new_file(import_module("napari_topiary.annotations"), annotation_kinds, "boxes")
    session.set_annotations("grid 0", ())
    session.set_task(Task("segment", (BACKGROUND, "virion")))
    page = AnnotatePage(viewer, session)
    viewer.window.add_dock_widget(page, name="Annotate")
    page.drawing.show("grid 0")
    page.tools.buttons["box"].click()
    layer = unwrap(viewer.layers.selection.active)
    assert layer.name == "grid 0 · boxes" and str(layer.mode) == "add_rectangle"
    assert page.hint.text() == "Drag a box around a thing."
    layer.add(np.array([[10.0, 20], [10, 40], [30, 40], [30, 20]]))
    (drawn,) = session.annotations["grid 0"]
    assert drawn.corners == ((10, 20, 30, 40),) and drawn.classes == ("virion",)
    assert status_words(session, "grid 0") == "1 boxed"
    assert page.classes.rows["virion"].count.text() == "✓"
    page.drawing.step("undo")
    assert not session.annotations.get("grid 0") and len(layer.data) == 0
    page.drawing.step("redo")
    session.save(tmp_path / "project")
    again = Session.open(tmp_path / "project")
    assert again.annotations["grid 0"] == (drawn,)


def test_a_network_is_trained(new_file, viewer, session, monkeypatch, until):
    new_file(import_module("napari_topiary.networks"), networks, "two_layers")
    painted = np.zeros((96, 96), int)
    painted[20:60, 20:60] = 1
    session.set_task(Task("segment", (BACKGROUND, "virion")))
    session.set_annotations("grid 0", (Labels(painted),))
    show_image(viewer, session, "grid 0")
    page = TrainPage(viewer, session)
    viewer.window.add_dock_widget(page, name="Train")
    page.activated()
    box = page.form.network.network
    box.setCurrentIndex(box.findText("Two layers: for a try"))
    box.activated.emit(box.currentIndex())
    page.form.network.finer.sizes_form.widgets["maps"].value = 3
    page.form.time.unit.setCurrentText("passes")
    page.form.time.amount.setValue(1)
    until(lambda: not page._checks.busy)
    page.train_button.click()
    until(lambda: bool(session.checkpoints) and not page.runner.running)
    (made,) = session.checkpoints.values()
    assert made.network == "two_layers" and dict(made.sizes) == {"maps": 3}


def test_a_criterion_prunes(new_file, viewer, session, grown, until):
    new_file(import_module("napari_topiary.pruning.criteria"), criteria, "first")
    show_image(viewer, session, "grid 0")
    page = PrunePage(viewer, session)
    viewer.window.add_dock_widget(page, name="Prune")
    page.activated()
    box = page.form.criterion
    box.setCurrentIndex(box.findText("their place"))
    assert "The first filter of a layer goes first." in box.toolTip()
    box.activated.emit(box.currentIndex())
    until(lambda: page.live.ready is not None)
    plan = page.live.ready.plan
    assert plan.config.criterion == "first"
    for group in {group for group, _ in plan.steps}:
        gone = [channel for own, channel in plan.steps if own == group]
        assert gone == list(range(len(gone)))
    page.slider.number.setValue(50)
    assert plan.statistics(0.5).share >= 0.5


def test_a_back_end_predicts(
    new_file, viewer, session, grown, until, monkeypatch, trained, tmp_path
):
    new_file(import_module("napari_topiary.inference.backends"), backends, "counted")
    counted = backends["counted"].make.__self__
    chosen = partial(PredictConfig, backend="counted")  # the page leaves it to Topiary
    monkeypatch.setattr(predict_page, "PredictConfig", chosen)
    page = predict_page.PredictPage(viewer, session)
    viewer.window.add_dock_widget(page, name="Predict")
    show_image(viewer, session, "grid 0")
    page.on_run()
    until(lambda: not page.predicting)
    assert "grid 0" in page.results and counted.tiles == 1
    image = trained / "data" / "images" / "m1.tif"
    words = ["predict", str(trained / "net.safetensors"), str(image)]
    out = ["--out", str(tmp_path / "out"), "--backend", "counted"]
    assert main([*words, *out]) == 0 and counted.tiles == 2
