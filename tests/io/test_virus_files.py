"""The public virus images' side files, written to their description and damaged."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from napari_topiary.annotations import Centerlines, Points, build_target
from napari_topiary.cli import main
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import read_dataset
from napari_topiary.io.importing.virus_files import read_positions, read_tags
from napari_topiary.io.importing.virus_folder import (
    DIAMETER_NM,
    import_virus_folder,
    nominal_radius,
)
from napari_topiary.types import Stop, run

HEAD = "image file\nversion 1\nx;y in pixels\n"


def positions_text(*particles):
    """Particles as lists of (x, y)."""
    records = ["\n".join(f"{x};{y}" for x, y in points) for points in particles]
    return HEAD + "\nparticleposition\n".join(records) + "\n"


def tags_text(height=60, width=80, x="0,49", y="0,49"):
    rows = [f"Height;{height}", f"Width;{width}", "Bits;16", "Date;2009", "kV;80"]
    return "\n".join([*rows, f"XpixelSize;{x}", f"YpixelSize;{y}"]) + "\n"


def write_image(folder, name, *, particles, tags=None, shape=(60, 80), image=None):
    """One image of a class folder with its side files, as the set has them."""
    for sub in ("particle_positions", "tags"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(name))
    if image is None:
        image = rng.integers(0, 4000, shape).astype(np.uint16)
    tifffile.imwrite(folder / f"{name}.tif", image)
    text = positions_text(*particles)
    (folder / "particle_positions" / f"{name}_particlepositions.txt").write_text(text)
    if tags is not None:
        (folder / "tags" / f"{name}.tif_tags.csv").write_text(tags)
    return image


@pytest.fixture
def raw(tmp_path):
    """Three parts, two classes; one file name occurs in both."""
    root = tmp_path / "context_virus_RAW"
    rota, ebola = [(20, 30)], [(5, 8), (30, 20), (60, 40)]
    write_image(
        root / "train" / "Rotavirus",
        "a",
        particles=[rota, [(50.5, 10)]],
        tags=tags_text(),
    )
    write_image(
        root / "train" / "Ebola", "b", particles=[ebola], tags=tags_text(x="1", y="1")
    )
    write_image(
        root / "validation" / "Ebola", "c", particles=[ebola, rota], tags=tags_text()
    )
    write_image(root / "test" / "Rotavirus", "d", particles=[rota], tags=tags_text())
    write_image(root / "test" / "Ebola", "d", particles=[ebola], tags=tags_text())
    return root


def test_positions_are_centres_and_lines_in_y_x(tmp_path):
    file = tmp_path / "i_particlepositions.txt"
    file.write_text(positions_text([(12, 34)], [(1, 2), (3, 4), (5, 6.5)], [(7, 8)]))
    found = read_positions(file)
    assert found.centres.tolist() == [[34, 12], [8, 7]]
    assert [line.tolist() for line in found.lines] == [[[2, 1], [4, 3], [6.5, 5]]]


@pytest.mark.parametrize(
    ("text", "centres"),
    [
        (HEAD, []),
        (HEAD + "particleposition\n3;4\nparticleposition\n", [[4, 3]]),
        (HEAD.replace("\n", "\r\n") + "3,5;4,25\r\n\r\n", [[4.25, 3.5]]),
        ("\ufeff" + HEAD + "ParticlePosition\n 3 ; 4 ;\n", [[4, 3]]),
    ],
)
def test_positions_in_all_spellings(tmp_path, text, centres):
    file = tmp_path / "i_particlepositions.txt"
    file.write_bytes(text.encode())
    assert read_positions(file).centres.tolist() == centres


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("one\ntwo\n", "ends within its heading of 3 lines"),
        (HEAD + "3;4\nfive\n", "line 5: 'five' is not a position"),
        (HEAD + "3;4;5\n", "line 4: '3;4;5' is not a position"),
        (HEAD + "3;nan\n", "not a position"),
        (HEAD + "3;\n", "not a position"),
        ("\0\0\0", "not a text file"),
    ],
)
def test_damaged_positions_are_refused_with_their_line(tmp_path, text, words):
    file = tmp_path / "i_particlepositions.txt"
    file.write_bytes(text.encode())
    with pytest.raises(TopiaryError, match=words):
        read_positions(file)


def test_tags_give_shape_and_pixel_size(tmp_path):
    file = tmp_path / "i.tif_tags.csv"
    file.write_text(tags_text(1376, 1032, "0,4902", "0,4902"), encoding="latin-1")
    tags = read_tags(file)
    assert tags.shape == (1376, 1032)
    assert tags.scale == pytest.approx(0.4902)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "row 1 is missing"),
        (tags_text(height="tall"), "row 1 says 'Height;tall'"),
        (tags_text(x="0"), "row 6 says"),
        (tags_text(x="1", y="2"), "1 x 2 nm, but only square"),
        (tags_text(height="60,5"), "60.5 x 80 pixels large"),
        ("\n".join(tags_text().splitlines()[:6]), "row 7 is missing"),
    ],
)
def test_damaged_tags_are_refused_with_their_row(tmp_path, text, words):
    file = tmp_path / "i.tif_tags.csv"
    file.write_text(text)
    with pytest.raises(TopiaryError, match=words):
        read_tags(file)


def test_a_folder_becomes_a_dataset(raw, tmp_path):
    made = run(import_virus_folder(raw, tmp_path / "out"))
    read = read_dataset(tmp_path / "out")
    assert made.task == read.task
    assert read.task.classes == ("background", "Ebola", "Rotavirus")
    assert read.task.radius_nm == {"Ebola": 40.0, "Rotavirus": 37.5}
    assert read.split == {
        "test": ("Ebola_d", "Rotavirus_d"),
        "train": ("b", "a"),
        "val": ("c",),
    }
    a, b, c = (read.samples[name] for name in "abc")
    assert (a.scale, b.scale) == (0.49, 1.0)
    assert a.annotations == (
        Points(np.array([[30.0, 20], [10, 50.5]]), ("Rotavirus",) * 2),
    )
    line = np.array([[8.0, 5], [20, 30], [40, 60]])
    assert b.annotations == (Centerlines((line,), ("Ebola",)),)
    assert {drawn.kind for drawn in c.annotations} == {"points", "centerlines"}
    pixels = tifffile.imread(raw / "train" / "Rotavirus" / "a.tif")
    assert np.array_equal(a.image[0], pixels)
    target = build_target(b.annotations, (60, 80), task=read.task, scale=b.scale)
    assert target.classes[20, 30] == 1


def test_one_class_folder_is_enough_and_tags_may_be_missing(tmp_path):
    folder = tmp_path / "Orf"
    write_image(folder, "x", particles=[[(10, 10)], [(500, 10)], [(500, 1), (600, 1)]])
    notes = []
    job = import_virus_folder(folder, tmp_path / "out")
    made = run(job, lambda p: notes.append(getattr(p.report, "note", "")))
    assert made.parts == {"train": ("x",)}
    sample = made.samples["x"]
    assert sample.scale is None
    assert len(sample.annotations[0]) == 1
    assert any("no tags" in note for note in notes)
    assert any(note.startswith("2 particles lie outside") for note in notes)


def test_of_several_channels_one_is_taken(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3)).astype(np.uint8)
    write_image(tmp_path / "Orf", "x", particles=[[(10, 10)]], image=image)
    for channel in (1, 3):
        job = import_virus_folder(
            tmp_path / "Orf", tmp_path / str(channel), channel=channel
        )
        found = run(job).samples["x"].image
        assert np.array_equal(found[0], image[..., channel - 1])
    with pytest.raises(TopiaryError, match="3 channels, so channel 4"):
        run(import_virus_folder(tmp_path / "Orf", tmp_path / "o", channel=4))


def test_images_without_positions_are_counted(tmp_path):
    write_image(tmp_path / "Orf", "x", particles=[[(10, 10)]])
    tifffile.imwrite(tmp_path / "Orf" / "y.tif", np.zeros((8, 8), np.uint8))
    first = next(import_virus_folder(tmp_path / "Orf", tmp_path / "out"))
    assert first.report.note == "1 images have no file of positions: left out."


def test_stop_leaves_a_dataset_of_the_images_so_far(raw, tmp_path):
    job = import_virus_folder(raw, tmp_path / "out")
    next(job)
    with pytest.raises(StopIteration) as end:
        job.send(Stop)
    assert len(end.value.value.samples) == 1
    assert len(read_dataset(tmp_path / "out").samples) == 1


def test_tags_of_another_image_and_unknown_classes_are_refused(raw, tmp_path):
    with pytest.raises(TopiaryError, match="no class 'Pox'"):
        run(import_virus_folder(raw, tmp_path / "o", radius_nm={"Pox": 3.0}))
    folder = tmp_path / "Martian"
    write_image(folder, "x", particles=[[(1, 1)]], tags=tags_text(61, 80))
    with pytest.raises(TopiaryError, match="--radius Martian=40"):
        run(import_virus_folder(folder, tmp_path / "o"))
    with pytest.raises(TopiaryError, match="do not belong together"):
        run(import_virus_folder(folder, tmp_path / "o", radius_nm={"Martian": 9.0}))
    with pytest.raises(TopiaryError, match="holds no TIFF image"):
        run(import_virus_folder(tmp_path / "Martian" / "tags", tmp_path / "o"))


def test_usual_sizes():
    assert nominal_radius("Rift Valley") == 47.5
    assert nominal_radius("InfluenzaVirus") == nominal_radius("Influenza") == 50.0
    assert nominal_radius("Noro") == 17.5
    assert nominal_radius("Martian") is None
    assert all(15 <= diameter <= 300 for diameter in DIAMETER_NM.values())


def test_the_command_line_imports(raw, tmp_path, capsys):
    out, file = tmp_path / "out", tmp_path / "result.json"
    arguments = ["import", str(raw), "--out", str(out), "--radius", "Ebola=45"]
    assert main([*arguments, "--json", str(file)]) == 0
    result = json.loads(file.read_text(encoding="utf-8"))
    assert result["parts"] == {"test": 2, "train": 2, "val": 1}
    assert result["radius_nm"] == {"Ebola": 45.0, "Rotavirus": 37.5}
    assert "check them against your images" in capsys.readouterr().out
    new = ["--out", str(tmp_path / "new")]
    for bad, words in (
        (["import", str(tmp_path / "none"), *new], "no folder"),
        (["import", str(raw), *new, "--radius", "Ebola=x"], "write CLASS=NM"),
        (arguments, "is there already and was not written by Topiary"),
    ):
        assert main(bad) == 2
        assert words in capsys.readouterr().err
