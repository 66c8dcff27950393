"""Whatever a library raises in the window: a sentence, what was made is kept."""

from __future__ import annotations

import errno

import pytest
import torch

pytest.importorskip("qtpy")

from napari_topiary._napari.compare.page import ComparePage
from napari_topiary._napari.drawing.drawing import drawing_of
from napari_topiary._napari.predict.page import PredictPage
from napari_topiary._napari.prune import live_pruning
from napari_topiary._napari.prune.page import PrunePage
from napari_topiary._napari.train.page import TRAIN, TrainPage
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import TrainConfig
from napari_topiary.data import hold_out
from napari_topiary.evaluation import validator
from napari_topiary.jobs import comparing, predicting
from napari_topiary.jobs import pruning as pruning_jobs
from napari_topiary.jobs import training as training_jobs
from napari_topiary.jobs.training import TrainingData
from napari_topiary.pruning import PruningPlan
from napari_topiary.session import Session
from napari_topiary.training import fit, loop, trainer
from napari_topiary.types import run

SIZES = {"base": 4, "levels": 1}
ERRORS = {
    "numpy": (lambda: MemoryError("Unable to allocate 8 GiB"), "memory"),
    "torch": (lambda: torch.OutOfMemoryError("CUDA out of memory"), "memory"),
    "the disk": (lambda: OSError(errno.ENOSPC, "No space left"), "No space left"),
    "a library": (lambda: RuntimeError("made up"), "made up"),
}


@pytest.fixture
def failing(monkeypatch):
    """Let a function raise from its n-th call on; returns how to mend it."""

    def arrange(place, name, kind, after=0):
        whole, seen, is_on = getattr(place, name), [0], [True]

        def function(*given, **named):
            seen[0] += 1
            if is_on[0] and seen[0] > after:
                raise ERRORS[kind][0]()
            return whole(*given, **named)

        monkeypatch.setattr(place, name, function)
        return lambda: is_on.__setitem__(0, False)

    return arrange


@pytest.fixture(scope="module")
def grown():
    """Networks by the data they learned from: one training for all tests."""
    return {}


@pytest.fixture
def trained(session, grown, monkeypatch):
    """The session with a small trained network."""
    monkeypatch.setattr(hold_out, "FEWEST", 4)
    if not grown:
        config = TrainConfig(sizes=SIZES, minutes=None, epochs=2, device="cpu")
        samples = TrainingData.of(session).samples
        grown["net"] = run(fit(samples, config, task=session.task))
    session.add_checkpoint("net", grown["net"])
    return session


def opened(viewer, session, kind):
    page = kind(viewer, session)
    viewer.window.add_dock_widget(page, name=kind.__name__)
    drawing_of(viewer).show("grid 0")
    page.activated()
    return page


@pytest.fixture
def train_page(viewer, session, until, monkeypatch):
    monkeypatch.setattr(hold_out, "FEWEST", 4)
    page = opened(viewer, session, TrainPage)
    form = page.form.network.finer.sizes_form
    for name, value in SIZES.items():
        form.widgets[name].value = value
    page.form.time.unit.setCurrentText("passes")
    page.form.time.amount.setValue(3)
    page.activated()
    until(lambda: not page._checks.busy)
    return page


def train(page, until):
    until(page.train_button.isEnabled)
    page.train_button.click()
    until(lambda: not page.training and not page.runner.running)


TRAINING = [
    (trainer.Trainer, "_learn", 1, "torch"),
    (validator.Validator, "validate", 1, "a library"),
    (loop, "_with_figures", 0, "numpy"),
]


@pytest.mark.parametrize(("place", "name", "after", "kind"), TRAINING)
def test_a_training_keeps_what_it_learned(
    train_page, session, until, failing, place, name, after, kind
):
    failing(place, name, kind, after)
    train(train_page, until)
    (made,) = session.checkpoints.values()
    assert made.parameters > 0
    assert ERRORS[kind][1] in train_page.card.details.text()
    assert train_page.train_button.text() == TRAIN
    assert train_page.train_button.isEnabled()


def test_a_training_that_cannot_begin_says_why(train_page, session, until, failing):
    mend = failing(training_jobs, "fit", "the disk")
    train(train_page, until)
    assert ERRORS["the disk"][1] in train_page.message.text()
    assert not session.checkpoints
    mend()
    train(train_page, until)
    assert len(session.checkpoints) == 1


def test_a_full_disk_on_the_way_loses_no_training(train_page, session, until, failing):
    failing(Checkpoint, "save", "the disk")
    train(train_page, until)
    assert len(session.checkpoints) == 1


def test_predict_says_it_and_goes_on(viewer, trained, until, failing):
    page = opened(viewer, trained, PredictPage)
    mend = failing(predicting, "predict", "numpy")
    for answered in (False, True):
        page.on_run()
        until(lambda: not page.predicting and not page.runner.running)
        assert (ERRORS["numpy"][1] in page.message.text()) != answered
        assert bool(page.results) == answered
        assert page.run.button.isEnabled()
        mend()


def test_compare_says_it_and_goes_on(viewer, trained, until, failing):
    page = opened(viewer, trained, ComparePage)
    mend = failing(comparing, "predict", "torch")
    for answered in (False, True):
        page.compare()
        until(lambda: not page.comparing and not page.runner.running)
        assert (ERRORS["torch"][1] in page.message.text()) != answered
        assert (page.match is not None) == answered
        assert page.choice.run_button.isEnabled()
        mend()


@pytest.fixture
def prune_page(viewer, trained, until, monkeypatch):
    monkeypatch.setattr(pruning_jobs, "SIDE", 32)
    monkeypatch.setattr(pruning_jobs, "ROUNDS", 1)
    monkeypatch.setattr(live_pruning, "REST_MS", 30)
    page = opened(viewer, trained, PrunePage)
    until(lambda: page.live.ready is not None, 30)
    page.slider.number.setValue(50)
    return page


def keep(page, until):
    page.panel.keep_row.keep()
    until(lambda: not page.maker.busy)


def test_keeping_a_pruned_network_says_it_and_goes_on(
    prune_page, trained, until, failing
):
    mend = failing(PruningPlan, "checkpoint_at", "a library")
    keep(prune_page, until)
    assert ERRORS["a library"][1] in prune_page.message.text()
    assert len(trained.checkpoints) == 1
    mend()
    keep(prune_page, until)
    assert len(trained.checkpoints) == 2


def test_a_pruned_network_that_cannot_be_judged_is_kept(
    prune_page, trained, until, failing
):
    failing(pruning_jobs, "recalibrate", "the disk")
    keep(prune_page, until)
    assert len(trained.checkpoints) == 2
    assert ERRORS["the disk"][1] in prune_page.message.text()


def test_fine_tuning_keeps_what_it_learned(prune_page, trained, until, failing):
    failing(trainer.Trainer, "_learn", "numpy", 3)
    prune_page.panel.tune.minutes.setValue(0.1)
    prune_page.fine_tuning.toggle()
    until(lambda: not prune_page.fine_tuning.running and not prune_page.runner.running)
    assert len(trained.checkpoints) == 2
    assert ERRORS["numpy"][1] in prune_page.message.text()
    assert prune_page.panel.tune.button.isEnabled()


def test_a_save_without_room_is_said_and_done_later(session, tmp_path, failing, until):
    from napari_topiary._napari.saving import Saver

    saver, said = Saver(session, lambda: None), []
    saver.problem.connect(said.append)
    mend = failing(Session, "save", "the disk")
    saver.save(tmp_path / "p")
    until(lambda: saver._writing is None)
    assert "No space left" in said[0]
    mend()
    saver.save(tmp_path / "p")
    until(lambda: saver._writing is None)
    assert set(Session.open(tmp_path / "p").images) == set(session.images)
