"""Saving a project is one act, whenever the program is killed; and it can be undone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_topiary.annotations import Labels, Points
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import read_dataset
from napari_topiary.io.folder_changes import changing, complete_changes
from napari_topiary.io.large_images import LargeImage, open_lazily
from napari_topiary.io.pairing import visible_files
from napari_topiary.session import ImageEntry, OpenMark, Session
from napari_topiary.types import Task

TASK = Task("detect", ("background", "virus"), {}, {"virus": 3.0})


def picture(seed=0):
    return np.random.default_rng(seed).integers(0, 255, (1, 24, 24), np.uint8)


def marks(*places, name="virus"):
    return Points(np.array(places, float), (name,) * len(places))


def project(folder):
    session = Session()
    session.set_task(TASK)
    for name in ("a", "b", "c"):
        session.add_image(ImageEntry(name, picture(ord(name)), 2.0))
        session.set_annotations(name, [marks((3, 4), (5, 6))])
    session.set_annotations("c", [Labels(np.eye(24, dtype=np.uint8))])
    session.save(folder)
    return session


def state(folder):
    """What a project says, when opened in a window."""
    session = Session.open(folder)
    assert session.notes == ()
    drawn = {
        name: {a.kind: a for a in annotations}
        for name, annotations in session.annotations.items()
    }
    return session.task, set(session.images), drawn


KILLED_WHILE_SAVING = """
import os, shutil, signal, sys
import numpy as np
from napari_topiary.annotations import Points
from napari_topiary.io.pairing import visible_files
from napari_topiary.session import ImageEntry, OpenMark, Session

WRITES = ("os.rename", "os.link", "os.remove", "os.mkdir")

def save_changes(session, folder, at):
    session.rename_class("virus", "capsid")
    session.set_annotations("c", [Points(np.ones((1, 2)), ("capsid",))])
    session.remove_image("b")
    session.add_image(ImageEntry("d", np.ones((1, 8, 8), np.uint8), 2.0))
    steps = []
    def hook(event, arguments):
        writes = event in WRITES or (event == "open" and (arguments[2] or 0) & 3)
        if writes and str(arguments[0]).startswith(folder):
            steps.append(event)
            if len(steps) == at:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    session.save()

step, status = 0, 1
while status:
    # Each step of one and the same save, in a process of its own.
    step += 1
    folder = sys.argv[1] + f" {step}"
    shutil.copytree(sys.argv[1], folder)
    session = Session.open(folder)
    child = os.fork()
    if child == 0:
        save_changes(session, folder, step)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
print(step)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Needs processes that can fork.")
def test_killed_at_any_step_the_project_is_the_old_or_the_new_one(tmp_path):
    home = tmp_path / "p"
    project(home)
    old = state(home)
    script = tmp_path / "killed.py"
    script.write_text(KILLED_WHILE_SAVING, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, script, home], capture_output=True, text=True, check=True
    )
    last = int(done.stdout)
    new = state(Path(f"{home} {last}"))
    assert new[0].classes == ("background", "capsid")
    assert new[1] == {"a", "c", "d"}
    assert last > 20
    seen = []
    for step in range(1, last):
        folder = Path(f"{home} {step}")
        names = set(read_dataset(folder).samples)  # as the command line does
        found = state(folder)
        assert names == found[1]
        assert found in (old, new)
        seen.append(found == new)
        assert not [f for f in folder.rglob("*") if f.name.startswith(".")]
    # One moment decides.
    assert seen == sorted(seen)
    assert True in seen
    assert False in seen


def test_a_save_that_fails_changes_nothing_and_is_taken_up_again(tmp_path, monkeypatch):
    from napari_topiary.session import project as writing

    session = project(tmp_path / "p")
    before = state(tmp_path / "p")
    session.rename_class("virus", "capsid")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(writing, "write_description", full)
        with pytest.raises(TopiaryError, match="No space left"):
            session.save()
    assert session.changed
    assert state(tmp_path / "p") == before
    session.save()
    assert state(tmp_path / "p")[0].classes == ("background", "capsid")


def test_half_written_files_are_cleaned_and_never_networks(tmp_path):
    project(tmp_path / "p")
    rest = [
        tmp_path / "p" / "checkpoints" / ".part-0a1b2c3d-net.safetensors",
        tmp_path / "p" / "points" / f".part-{2**31 - 2}-0a1b2c3d-a.csv",
    ]
    alive = tmp_path / "p" / "points" / f".part-{os.getpid()}-0a1b2c3d-a.csv"
    for file in (*rest, alive):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"half")
    session = Session.open(tmp_path / "p")
    assert session.checkpoints == {}
    assert not any(file.exists() for file in rest)
    assert alive.exists()


def test_what_another_program_is_saving_is_left_to_it(tmp_path):
    with changing(tmp_path) as change:
        change.new("a.txt").write_text("new")
        complete_changes(tmp_path)  # by a window that opens the folder meanwhile
        assert not (tmp_path / "a.txt").exists()
    assert (tmp_path / "a.txt").read_text() == "new"
    assert [f.name for f in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("name", ["../outside.txt", "/outside.txt", "a/../../x", ""])
def test_a_list_of_changes_reaches_nothing_outside_of_its_folder(tmp_path, name):
    stage = tmp_path / "p" / f".saving-{2**31 - 2}-00"
    (stage / "new").mkdir(parents=True)
    (tmp_path / "outside.txt").write_text("mine")
    content = {"keep": {}, "move": {}, "put": [], "remove": [name]}
    (stage / "changes.json").write_text(json.dumps(content))
    with pytest.raises(TopiaryError, match="cannot be completed"):
        complete_changes(tmp_path / "p")
    assert (tmp_path / "outside.txt").read_text() == "mine"


def test_a_save_can_be_undone_and_that_too(tmp_path):
    session = project(tmp_path / "p")
    first = state(tmp_path / "p")
    assert session.versions() == ()
    session.set_annotations("a", [marks((1, 1))])
    session.remove_image("b")
    session.save()
    second = state(tmp_path / "p")
    session.rename_class("virus", "capsid")
    session.set_annotations("c", ())
    session.save()
    third = state(tmp_path / "p")

    session.go_back()
    assert state(tmp_path / "p") == second
    assert session.task == TASK
    session.go_back()  # what was undone last is undone
    assert state(tmp_path / "p") == third
    session.go_back(session.versions()[-1])
    assert state(tmp_path / "p") == first
    assert len(session.annotations["a"][0]) == 2
    assert not session.changed


def test_what_was_not_saved_yet_is_a_version_too_before_one_goes_back(tmp_path):
    session = project(tmp_path / "p")
    session.set_annotations("a", [marks((1, 1))])
    session.save()
    session.set_annotations("a", [marks((2, 2), (3, 3), (4, 4))])
    session.go_back()
    assert session.annotations["a"] == (marks((3, 4), (5, 6)),)
    session.go_back()
    assert len(session.annotations["a"][0]) == 3


def test_saves_that_nobody_asked_for_are_one_version(tmp_path):
    session = project(tmp_path / "p")
    for count in range(1, 5):
        session.set_annotations("a", [marks(*[(1, 1)] * count)])
        session.autosave()
    assert len(session.versions()) == 1
    session.go_back()
    assert len(session.annotations["a"][0]) == 2


def test_only_the_newest_versions_stay(tmp_path):
    session = project(tmp_path / "p")
    for count in range(1, 25):
        session.set_annotations("a", [marks(*[(1, 1)] * count)])
        session.save()
    assert len(session.versions()) == 20
    session.go_back(session.versions()[-1])
    assert len(session.annotations["a"][0]) == 4


def test_a_project_that_was_never_saved_has_nothing_to_undo():
    with pytest.raises(TopiaryError, match="nothing to undo"):
        Session().go_back()


@pytest.fixture
def with_slide(tmp_path, monkeypatch):
    """A project with an image that stays where it is, beside the project."""
    monkeypatch.setattr("napari_topiary.io.large_images.LARGE", 100)
    monkeypatch.setattr("napari_topiary.io.large_images.WHOLE_PIXELS", 100)
    home = tmp_path / "home"
    home.mkdir()
    tifffile.imwrite(home / "slide.tif", picture()[0], tile=(16, 16))
    session = Session()
    session.set_task(TASK)
    image = open_lazily(home / "slide.tif")
    session.add_image(ImageEntry("slide", image, 2.0, home / "slide.tif"))
    session.add_image(ImageEntry("small", picture(1)[:, :9, :9], 2.0))
    session.set_annotations("slide", [marks((3, 4), (5, 6))])
    session.save(home / "project")
    return home


def test_a_large_image_is_not_copied_and_moves_with_the_project(with_slide, tmp_path):
    about = json.loads((with_slide / "project" / "dataset.json").read_text())
    assert about["images_elsewhere"] == {"slide": "../slide.tif"}
    with_slide.rename(tmp_path / "moved")
    session = Session.open(tmp_path / "moved" / "project")
    assert session.notes == ()
    assert isinstance(session.images["slide"].image, LargeImage)
    dataset = read_dataset(tmp_path / "moved" / "project")
    assert dataset.samples["slide"].excerpt is not None
    # Taken out of the project it is forgotten, and stays.
    session.remove_image("slide")
    session.save()
    assert list(Session.open(tmp_path / "moved" / "project").images) == ["small"]
    assert (tmp_path / "moved" / "slide.tif").is_file()


def test_a_large_image_that_is_gone_is_named_and_its_marks_stay(with_slide):
    (with_slide / "slide.tif").rename(with_slide / "elsewhere.tif")
    session = Session.open(with_slide / "project")
    assert list(session.images) == ["small"]
    assert "slide is not where it was" in session.notes[0]
    session.set_annotations("small", [marks((3, 4))])
    session.save()
    (with_slide / "elsewhere.tif").rename(with_slide / "slide.tif")
    again = Session.open(with_slide / "project")
    assert again.notes == ()
    assert len(again.annotations["slide"][0]) == 2


def test_a_project_saved_elsewhere_points_to_the_same_image(with_slide, tmp_path):
    session = Session.open(with_slide / "project")
    session.save(tmp_path / "other" / "project")
    again = Session.open(tmp_path / "other" / "project")
    assert again.images["slide"].path.samefile(with_slide / "slide.tif")


def test_a_project_that_is_moved_while_it_is_open_is_written_wholly_anew(tmp_path):
    session = project(tmp_path / "mine")
    before = state(tmp_path / "mine")
    (tmp_path / "mine").rename(tmp_path / "other")
    session.set_annotations("a", [marks((7, 8))])
    session.autosave()
    _, images, drawn = state(tmp_path / "mine")
    assert images == {"a", "b", "c"} and drawn["a"]["points"] == marks((7, 8))
    assert state(tmp_path / "other") == before


def test_unsaved_work_whose_folder_was_cleared_away_is_written_wholly_anew():
    session = Session()
    session.set_task(TASK)
    session.add_image(ImageEntry("a", picture(), 2.0))
    shutil.rmtree(session.autosave())
    session.set_annotations("a", [marks((7, 8))])
    _, images, drawn = state(session.autosave())
    assert images == {"a"} and drawn["a"]["points"] == marks((7, 8))


def test_windows_that_have_a_project_open_know_of_one_another(tmp_path):
    folder, copy = tmp_path / "p", tmp_path / "copy"
    folder.mkdir()
    first, second = OpenMark(), OpenMark()
    assert first.note(folder) == 0
    assert (second.note(folder), first.note(folder)) == (1, 1)
    shutil.copytree(folder, copy)
    assert OpenMark().note(copy) == 0  # nobody has opened the copy
    second.drop()
    assert first.note(folder) == 0
    # A program that was killed has left its mark, and so has another computer.
    (mark,) = folder.glob(".open-*")
    _, computer, pid, _ = mark.name.split("-")
    for name in (f".open-{computer}-999999999-1", f".open-z{computer[1:]}-{pid}-1"):
        (folder / name).write_text(str(folder.resolve()))
    os.utime(folder / name, (0, 0))
    assert first.note(folder) == 0
    assert list(folder.glob(".open-*")) == [mark]
    assert visible_files(folder) == []  # what a data set would see


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        (("points/b.csv",), ["points/b is missing"]),
        (("labels/c.tif",), ["labels/c is missing"]),
        (("images/b.tif",), ["The image 'b' is missing"]),
        (("images/b.tif", "points/b.csv"), ["The image 'b' is missing"]),
        (
            ("points/a.csv", "points/b.csv"),
            ["points/a is missing", "points/b is missing"],
        ),
    ],
)
def test_a_copy_that_lacks_files_says_which(tmp_path, gone, words):
    project(tmp_path / "p")
    copy = tmp_path / "elsewhere" / "renamed"
    shutil.copytree(tmp_path / "p", copy)
    assert state(copy) == state(tmp_path / "p")
    for name in gone:
        (copy / name).unlink()
    session = Session.open(copy)
    said = [note for note in session.notes if "is missing" in note]
    assert len(said) == len(words)
    for note, start in zip(said, words, strict=True):
        assert note.startswith(start)
    session.set_annotations("c", (marks((4, 4)),))
    session.save()
    assert not any("is missing" in note for note in Session.open(copy).notes)
