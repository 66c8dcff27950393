"""A project in memory and on disk: nothing is lost, and damage is named."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_topiary.annotations import Centerlines, Labels, Points, Regions
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import read_dataset, sample_dataset
from napari_topiary.io.images import write_image
from napari_topiary.io.own_files import user_folder
from napari_topiary.networks import build_network, count_parameters, resolve_sizes
from napari_topiary.session import (
    ImageEntry,
    Session,
    forget_recovery,
    recoverable_projects,
)
from napari_topiary.session.contents import add_class
from napari_topiary.types import Task

TASK = Task("detect", ("background", "virion", "filament"), {"virion": 12.0})
NO_PROCESS = 2**31 - 2
BOX = np.array([[1.0, 1], [1, 20], [20, 20], [20, 1]])


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_TOPIARY_HOME", str(tmp_path / "home"))


def picture(seed=0, size=32):
    return np.random.default_rng(seed).integers(0, 255, (1, size, size), np.uint8)


def some_points(n=3, name="virion"):
    places = np.random.default_rng(n).uniform(2, 28, (n, 2))
    return Points(places, (name,) * n)


def a_checkpoint(seed=0):
    sizes = resolve_sizes("unet", "tiny")
    network = build_network("unet", sizes, 1, 3)
    state = {k: v + 0.01 * seed for k, v in network.state_dict().items()}
    return Checkpoint(
        network="unet",
        sizes=sizes,
        in_channels=1,
        task=TASK,
        state=state,
        unpruned_parameters=count_parameters(network),
    )


def a_session():
    session = Session()
    session.set_task(TASK)
    session.add_image(ImageEntry("one", picture(1), 2.5))
    session.add_image(ImageEntry("two", picture(2), None))
    session.add_image(ImageEntry("three", picture(3), 4.0))
    path = Centerlines((np.array([[1.5, 2], [9, 20], [25, 28]]),), ("filament",))
    session.set_annotations("one", [some_points(4), path])
    session.set_annotations("two", [some_points(2), Regions((BOX,), ("polygon",))])
    return session


def listen(session):
    heard = []

    def note(name):
        return lambda *args: heard.append((name, *args))

    for name in (
        "images_changed",
        "task_changed",
        "annotations_changed",
        "scale_changed",
        "checkpoints_changed",
        "active_checkpoint_changed",
        "saved",
    ):
        getattr(session, name).connect(note(name))
    return heard


def test_every_change_is_announced_once():
    session = a_session()
    heard = listen(session)
    session.set_scale("two", 3.0)
    session.set_scale("two", 3.0)
    session.set_annotations("two", [some_points(2)])
    session.set_annotations("two", [some_points(2)])
    session.add_checkpoint("first", a_checkpoint())
    session.remove_image("three")
    assert heard == [
        ("scale_changed", "two"),
        ("annotations_changed", "two"),
        ("checkpoints_changed",),
        ("active_checkpoint_changed",),
        ("images_changed",),
    ]


def test_only_annotated_images_are_learned_from_and_held_out_ones_are_not():
    session = a_session()
    assert [s.name for s in session.samples()] == ["one", "two"]
    assert session.hold_out() == ()
    session.set_split({"train": ["one"], "val": ["two", "three"], "test": []})
    assert [s.name for s in session.samples()] == ["one"]
    assert [s.name for s in session.hold_out()] == ["two"]
    assert session.unannotated() == ()
    session.add_image(ImageEntry("new", picture()))  # it is in no part of the split
    assert [s.name for s in session.unannotated()] == ["new"]
    session.set_annotations("new", [some_points(2)])
    assert [s.name for s in session.samples()] == ["one", "new"]
    session.set_annotations("one", [Points(np.zeros((0, 2)), ())])
    assert [s.name for s in session.samples()] == ["new"]
    sample = session.sample("two")
    assert sample.scale is None
    assert sample.annotations[0] == some_points(2)


def test_names_stay_unique_and_fit_for_files():
    session = Session()
    names = [
        session.add_image(ImageEntry(name, picture())).name
        for name in ("a/b:c", "a_b_c", "A_B_C", "", "virus 3 [x]")
    ]
    assert names == ["a_b_c", "a_b_c 2", "A_B_C 3", "image", "virus 3 [x]"]
    session.add_checkpoint("pruned", a_checkpoint())
    assert session.unique_checkpoint_name("pruned") == "pruned 2"
    assert session.unique_checkpoint_name("other") == "other"


def test_classes_are_renamed_everywhere_and_keep_their_colours():
    session = a_session()
    colours = session.colours
    assert len(set(colours.values())) == 3
    session.rename_class("virion", "capsid")
    assert session.task.classes == ("background", "capsid", "filament")
    assert session.task.radius_nm == {"capsid": 12.0}
    assert session.annotations["one"][0].classes == ("capsid",) * 4
    assert session.annotations["one"][1].classes == ("filament",)
    assert session.colours["capsid"] == colours["virion"]
    session.set_task(Task("detect", ("background", "filament", "rod")))
    assert session.colours["filament"] == colours["filament"]
    assert session.colours["rod"] != colours["filament"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: s.add_image(ImageEntry("x", np.zeros((4, 4)))), "one slice"),
        (lambda s: s.remove_image("nothing"), "no image called 'nothing'"),
        (
            lambda s: s.set_scale("one", -1.0),
            "of -1 is not possible: give a number from 0.001",
        ),
        (
            lambda s: s.set_scale("one", float("nan")),
            "of nan is not possible: give a number from",
        ),
        (lambda s: s.set_task(Task("detect", ("virus",))), "first class"),
        (lambda s: s.set_task(Task("detect", ("background", "a", "a"))), "same name"),
        (lambda s: s.rename_class("background", "x"), "no class 'background'"),
        (lambda s: s.rename_class("virion", "filament"), "taken"),
        (lambda s: s.set_colour("virion", "red"), "not a colour"),
        (lambda s: s.activate("nothing"), "no checkpoint called 'nothing'"),
        (lambda s: s.remove_checkpoint("nothing"), "no checkpoint called 'nothing'"),
        (lambda s: s.save(), "no folder yet"),
    ],
)
def test_what_cannot_be_is_a_sentence_and_changes_nothing(change, sentence):
    session = a_session()
    before = dict(session.images), session.task, dict(session.colours)
    with pytest.raises(TopiaryError, match=sentence):
        change(session)
    assert (dict(session.images), session.task, dict(session.colours)) == before


def test_a_saved_project_comes_back_equal(tmp_path):
    session = a_session()
    session.add_checkpoint("trained", a_checkpoint(1))
    session.add_checkpoint("pruned 80 %", a_checkpoint(2), activate=False)
    session.set_colour("virion", "#ff0000")
    session.set_split({"train": ["one"], "val": ["two"]})
    folder = session.save(tmp_path / "project")
    assert not session.changed
    assert session.name == "project"

    again = Session.open(folder)
    assert again.notes == ()
    assert again.folder == folder
    assert again.name == session.name
    assert again.task == session.task
    assert again.colours == session.colours
    assert again.split == session.split
    assert set(again.images) == set(session.images)
    for name, entry in session.images.items():
        assert np.array_equal(again.images[name].image, entry.image)
        assert again.images[name].scale == entry.scale
        drawn = {a.kind: a for a in session.annotations.get(name, ())}
        assert {a.kind: a for a in again.annotations.get(name, ())} == drawn
    assert list(again.checkpoints) == ["trained", "pruned 80 %"]
    assert again.active_checkpoint == "trained"
    for name, checkpoint in session.checkpoints.items():
        assert again.checkpoints[name].hash == checkpoint.hash
    assert not again.changed


def test_what_is_saved_is_a_dataset(tmp_path):
    session = a_session()
    session.set_scale("two", 2.5)
    session.set_scale("three", 2.5)
    dataset = read_dataset(session.save(tmp_path / "project"))
    assert dataset.scale == 2.5
    assert dataset.task == TASK
    assert dataset.samples["one"].annotations[1] == some_points(4)
    assert dataset.samples["three"].annotations == ()


def test_saving_writes_only_what_changed(tmp_path):
    session = a_session()
    session.add_checkpoint("trained", a_checkpoint(1))
    folder = session.save(tmp_path / "project")
    untouched = [
        folder / "images" / "one.tif",
        folder / "points" / "two.csv",
        folder / "checkpoints" / "trained.safetensors",
    ]
    before = [file.stat().st_mtime_ns for file in untouched]
    session.set_annotations("one", [some_points(7)])
    assert session.autosave() == folder
    assert [file.stat().st_mtime_ns for file in untouched] == before
    assert not (folder / "centerlines" / "one.csv").exists()
    assert len(Session.open(folder).annotations["one"][0]) == 7
    assert session.autosave() is None


def test_what_is_taken_out_is_set_aside_and_checkpoints_go(tmp_path):
    session = a_session()
    session.add_checkpoint("a", a_checkpoint(1))
    session.add_checkpoint("b", a_checkpoint(2))
    folder = session.save(tmp_path / "project")
    session.remove_image("one")
    session.remove_checkpoint("b")
    assert session.active_checkpoint == "a"
    session.save()
    again = Session.open(folder)
    assert set(again.images) == {"two", "three"}
    assert list(again.checkpoints) == ["a"]
    assert (folder / "removed" / "images" / "one.tif").is_file()
    assert (folder / "removed" / "points" / "one.csv").is_file()
    assert set(read_dataset(folder).samples) == {"two", "three"}


def test_an_image_may_return_under_the_name_of_a_removed_one(tmp_path):
    session = a_session()
    folder = session.save(tmp_path / "project")
    session.remove_image("one")
    session.add_image(ImageEntry("one", picture(9), 1.0))
    session.save()
    assert np.array_equal(Session.open(folder).images["one"].image, picture(9))


def crashed(folder):
    """Make an unsaved project one of a program that is no more."""
    moment, _, number = folder.name.rsplit("-", 2)
    return folder.rename(folder.with_name(f"{moment}-{NO_PROCESS}-{number}"))


def test_an_unsaved_project_is_kept_for_recovery_until_it_is_saved(tmp_path):
    session = a_session()
    kept = session.autosave()
    assert kept is not None
    assert kept.is_relative_to(user_folder())
    assert session.folder is None
    assert recoverable_projects() == ()  # its window is still open

    left = crashed(kept)
    (found,) = recoverable_projects()  # at once
    assert found.folder == left
    assert found.name == "Untitled"
    assert found.images == ("one", "two", "three")

    nothing = Session()  # neither images nor networks: not worth a question
    nothing.set_task(session.task)
    crashed(nothing.autosave())
    assert recoverable_projects() == (found,)

    rescued = Session.open(left)
    assert recoverable_projects() == ()  # it belongs to this window now
    assert rescued.folder is None
    assert rescued.changed
    assert rescued.annotations["one"][0] in session.annotations["one"]
    own = rescued.autosave()
    rescued.save(tmp_path / "project")
    assert not own.exists()
    assert not left.exists()
    assert len(Session.open(tmp_path / "project").annotations["one"]) == 2


def test_only_unsaved_projects_can_be_deleted(tmp_path):
    folder = a_session().save(tmp_path / "project")
    with pytest.raises(TopiaryError, match="left alone"):
        forget_recovery(folder)
    assert (folder / "dataset.json").is_file()


def test_a_sample_is_never_written_to():
    dataset = sample_dataset("virus_phil")
    session = Session()
    session.load_dataset(dataset)
    assert session.folder is None
    assert session.autosave() is None
    session.set_scale("ebola", 1.0)
    kept = session.autosave()
    assert kept is not None
    assert kept != dataset.root
    assert Session.open(kept).images["ebola"].scale == 1.0
    assert Session.open(kept).images["adenovirus"].scale is None


def test_a_copy_is_saved_elsewhere_while_work_goes_on(tmp_path):
    session = a_session()
    folder = session.save(tmp_path / "project")
    session.set_annotations("one", [some_points(5)])
    copy = session.frozen()
    session.set_annotations("two", [some_points(6)])
    copy.autosave()
    session.settle(copy)
    assert session.changed
    assert len(Session.open(folder).annotations["one"][0]) == 5
    assert len(Session.open(folder).annotations["two"][0]) == 2
    session.autosave()
    assert len(Session.open(folder).annotations["two"][0]) == 6


def damaged(folder, what):
    if what == "dataset.json":
        (folder / what).write_text("{", encoding="utf-8")
    elif what == "session.json":
        (folder / what).write_text("[]", encoding="utf-8")
    elif what == "an image":
        (folder / "images" / "one.tif").write_bytes(b"II*\0nonsense")
    elif what == "a table":
        (folder / "points" / "one.csv").write_text("a,b\n1\n", encoding="utf-8")
    elif what == "a checkpoint":
        file = folder / "checkpoints" / "trained.safetensors"
        file.write_bytes(file.read_bytes()[:200])
    elif what == "a missing checkpoint":
        (folder / "checkpoints" / "trained.safetensors").unlink()
    elif what == "the wrong labels":
        (folder / "labels").mkdir()
        write_image(folder / "labels" / "one.tif", np.ones((3, 3), np.uint8))


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("dataset.json", "session.json"),
        ("session.json", "session.json is damaged"),
        ("an image", "one.tif"),
        ("a table", "points/one.csv"),
        ("a checkpoint", "trained.safetensors"),
        ("a missing checkpoint", "'trained' is missing"),
        ("the wrong labels", "same size"),
    ],
)
def test_a_damaged_project_opens_as_far_as_it_is_sound(tmp_path, what, words):
    session = a_session()
    session.add_checkpoint("trained", a_checkpoint(1))
    session.add_checkpoint("other", a_checkpoint(2))
    folder = session.save(tmp_path / "project")
    damaged(folder, what)
    again = Session.open(folder)
    assert len(again.notes) == 1
    assert words in again.notes[0]
    assert again.task == TASK
    assert "two" in again.annotations
    assert "other" in again.checkpoints
    # What could not be read is not overwritten by what is missing in memory.
    before = {f: f.read_bytes() for f in folder.rglob("*") if f.parent != folder}
    again.set_scale("two", 7.0)
    again.autosave()
    assert {f: f.read_bytes() for f in before} == before


def test_a_folder_that_is_no_project_is_refused(tmp_path):
    with pytest.raises(TopiaryError, match=r"dataset\.json"):
        Session.open(tmp_path)
    with pytest.raises(TopiaryError, match="no dataset folder"):
        Session.open(tmp_path / "missing")


def test_an_empty_project_opens_again(tmp_path):
    folder = Session().save(tmp_path / "project")
    again = Session.open(folder)
    assert again.images == {}
    assert again.task.classes == ("background",)


def test_saving_where_nothing_can_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    session = a_session()
    with pytest.raises(TopiaryError, match="another folder"):
        session.save(tmp_path / "file")
    assert session.folder is None
    assert session.changed


def test_the_state_file_is_plain_json(tmp_path):
    session = a_session()
    session.set_annotations("three", [Labels(np.ones((32, 32), np.uint8))])
    folder = session.save(tmp_path / "project")
    state = json.loads((folder / "session.json").read_text(encoding="utf-8"))
    assert state["scales"] == {"one": 2.5, "two": None, "three": 4.0}
    assert state["classes"] == list(TASK.classes)


def test_a_class_is_added_with_its_radius_in_one_change():
    """Each change draws all marks anew: half a second for 10,000 of them."""
    session, heard = Session(), []
    session.add_image(ImageEntry("a", np.zeros((1, 80, 80), np.uint8), 2.0))
    session.task_changed.connect(lambda *_: heard.append(session.task))
    assert add_class(session, " virion ", "a") == "virion"
    assert heard == [session.task] and session.task.radius("virion", 2.0) == 2.0
