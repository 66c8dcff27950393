"""An image predicted part by part has the result of one predicted at once."""

import numpy as np
import pytest
import torch
import zarr
from scipy import ndimage as ndi
from torch import nn

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import DetectConfig, PredictConfig
from napari_topiary.inference.engine import Engine
from napari_topiary.inference.large import finding, running, writing
from napari_topiary.inference.large.finding import MapsSoFar
from napari_topiary.inference.large.measuring import predict_window
from napari_topiary.inference.large.running import predict_large
from napari_topiary.inference.large.writing import ResultFiles
from napari_topiary.inference.measures import objects_table, summary_rows
from napari_topiary.inference.predict import predict
from napari_topiary.io.formats import RawImage
from napari_topiary.io.images import read_image
from napari_topiary.io.large_images import LargeImage
from napari_topiary.networks import build_network
from napari_topiary.networks.base import Network
from napari_topiary.normalisation import Normalisation
from napari_topiary.types import Task, run

SHAPE = (250, 330)
DETECT = Task("detect", ("background", "virus"), radius_px={"virus": 6.0})
UNKNOWN = Task("detect", ("background", "virus"))
LINES = Task("detect", ("background", "tube"), radius_px={"tube": 3.0})
SEGMENT = Task("segment", ("background", "light", "bright"))
OBJECTS = Task("instances", ("background", "cell"))


class Levels(Network):
    """Says how bright the image is, seen through a window of 5 pixels."""

    stride, halo, output_layers = 4, 2, ("none",)

    def __init__(self, classes: int, regressions: int = 0) -> None:
        super().__init__()
        self.classes, self.regressions = classes, regressions
        self.weight = nn.Parameter(torch.ones(1, 1, 5, 5) / 25)
        self.runs = 0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.runs += 1
        mean = torch.conv2d(image[:, :1], self.weight, padding=2)
        maps = [4 * (mean - 0.8 * index) for index in range(self.classes)]
        maps[0] = torch.zeros_like(mean)
        return torch.cat([*maps, *[mean / 3] * self.regressions], dim=1)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(running, "SIDE", 96)
    monkeypatch.setattr(running, "SMALLEST_SIDE", 64)
    monkeypatch.setattr(finding, "MARGIN", 16)
    monkeypatch.setattr(writing, "BLOCK", 128)


def a_checkpoint(task, **changes):
    sizes = {"base": 2, "multiplier": 1.0, "levels": 1}
    network = build_network("unet", sizes, 1, len(task.classes))
    summary = {"line_classes": ["tube"]} if task is LINES else {}
    return Checkpoint(
        network="unet",
        sizes=sizes,
        in_channels=1,
        task=task,
        state=network.state_dict(),
        annotations_summary=summary,
        **changes,
    )


@pytest.fixture(scope="module")
def blobs():
    """Smooth grey blobs of many sizes, some that touch; a margin of zeros."""
    rng = np.random.default_rng(7)
    values = ndi.gaussian_filter(rng.normal(size=SHAPE), 4)
    image = np.rint(40 * values / values.std() + 120).clip(1, 255).astype(np.uint8)
    image[:70] = 0
    return image[None]


def at_once(image, checkpoint, network, **changes):
    config = PredictConfig(tile=32, device="cpu", **changes)
    return run(predict(image, checkpoint, config, scale=2.0, network=network))


def in_parts(*arguments, stop=None, **changes):
    return run(a_job(*arguments, **changes), should_stop=stop)


def a_job(
    image,
    checkpoint,
    network,
    folder,
    *,
    stored="float16",
    first=None,
    keep=False,
    **changes,
):
    config = PredictConfig(tile=32, device="cpu", **changes)
    large = LargeImage(raw=RawImage(image, "cyx", 2.0))
    return predict_large(
        large,
        checkpoint,
        config,
        scale=2.0,
        engine=Engine(network, "cpu"),
        into=ResultFiles(
            folder=folder, stem="big", measure=True, stored=stored, keep=keep
        ),
        first=first,
    )


def maps(folder):
    return [
        np.asarray(zarr.open_array(folder / f"big_{what}.zarr" / "0"))
        for what in ("probability", "labels")
    ]


def same_objects(one, other):
    """Whether two label images are the same up to the numbers."""
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1).T
    return all(len(set(column)) == len(pairs) for column in pairs.T.tolist())


@pytest.mark.parametrize(
    ("task", "factor"),
    [
        (DETECT, 1.0),
        (DETECT, 1.7),
        (UNKNOWN, 1.0),
        (LINES, 1.0),
        (SEGMENT, 1.7),
        (SEGMENT, 0.8),
        (OBJECTS, 1.0),
        (OBJECTS, 1.7),
        (OBJECTS, 0.8),
    ],
)
def test_results_are_those_of_the_whole(blobs, tmp_path, task, factor):
    checkpoint = a_checkpoint(task, pixel_size_nm=2.0, working_factor=factor)
    network = Levels(len(task.classes), regressions=int(task is OBJECTS))
    detect = DetectConfig(min_size_px=30, largest_hole_px=12)
    whole = at_once(blobs, checkpoint, network, detect=detect)
    parts = in_parts(blobs, checkpoint, network, tmp_path, detect=detect)
    probability, labels = maps(tmp_path)

    assert parts.complete
    assert not list(tmp_path.glob(".unfinished*"))
    np.testing.assert_allclose(
        probability, resized(whole, probability.shape), atol=2e-3
    )
    if task is OBJECTS:
        assert whole.labels.max() > 20
        assert same_objects(whole.labels, labels)
    else:
        assert (labels != whole.labels).mean() < 1e-4
    found = parts.found.detections
    assert len(found) == len(whole.detections)
    near = np.lexsort(found.coordinates.T), np.lexsort(whole.detections.coordinates.T)
    np.testing.assert_allclose(
        found.coordinates[near[0]], whole.detections.coordinates[near[1]], atol=1e-3
    )
    np.testing.assert_allclose(found.score, whole.detections.score, atol=1e-5)
    assert len(found.lines) == len(whole.detections.lines)
    assert sorted(map(len, found.lines)) == sorted(map(len, whole.detections.lines))
    for row, other in zip(
        summary_rows("x", parts.found), summary_rows("x", whole), strict=True
    ):
        assert list(row) == list(other)
        for name, value in row.items():
            exact = isinstance(value, (str, bool, type(None)))
            wanted = other[name] if exact else pytest.approx(other[name], rel=2e-4)
            assert value == wanted


@pytest.mark.parametrize("task", [SEGMENT, OBJECTS])
def test_each_area_is_measured_once(blobs, tmp_path, task):
    checkpoint = a_checkpoint(task)
    network = Levels(len(task.classes), regressions=int(task is OBJECTS))
    whole = objects_table(at_once(blobs, checkpoint, network), blobs)
    parts = objects_table(in_parts(blobs, checkpoint, network, tmp_path).found)
    assert len(parts["area_px"]) == len(whole["area_px"]) > 20
    for table in (parts, whole):
        order = np.lexsort((np.round(table["axis-1"], 3), np.round(table["axis-0"], 3)))
        for name, values in table.items():
            table[name] = [values[index] for index in order]
    for name in set(whole) - {"object", "kind", "class"}:
        assert parts[name] == pytest.approx(whole[name], rel=1e-3, abs=1e-3), name
    assert parts["class"] == whole["class"]


def resized(prediction, shape):
    from napari_topiary.data.working_grid import to_original

    return to_original(prediction.probability, shape[1:])


def test_objects_of_touching_cells_without_a_distance_map(blobs, tmp_path):
    checkpoint = a_checkpoint(OBJECTS)
    whole = at_once(blobs, checkpoint, Levels(2))
    in_parts(blobs, checkpoint, Levels(2), tmp_path)
    assert same_objects(whole.labels, maps(tmp_path)[1])


def test_one_object_over_all_blocks_is_one(tmp_path):
    image = np.full((1, 300, 300), 10, np.uint8)
    image[:, 150:160, 5:295] = image[:, 5:295, 150:160] = 250
    checkpoint = a_checkpoint(OBJECTS, normalisation=Normalisation(kind="zscore"))
    parts = in_parts(image, checkpoint, Levels(2, regressions=1), tmp_path)
    whole = at_once(image, checkpoint, Levels(2, regressions=1))
    assert parts.found.counts[1] == whole.labels.max()


def test_after_stop_the_same_call_goes_on(blobs, tmp_path):
    checkpoint, network = a_checkpoint(SEGMENT), Levels(3)
    turns = iter(range(1000))
    part = in_parts(blobs, checkpoint, network, tmp_path, stop=lambda: next(turns) > 12)
    assert not part.complete
    assert "goes on from there" in part.notes[-1]
    assert zarr.open_group(tmp_path / "big_labels.zarr").attrs["complete"] is False
    first = network.runs
    done = in_parts(blobs, checkpoint, network, tmp_path)
    again = network.runs - first
    assert done.complete
    fresh = Levels(3)
    in_parts(blobs, checkpoint, fresh, tmp_path)
    assert 0 < again < fresh.runs - 2
    assert zarr.open_group(tmp_path / "big_labels.zarr").attrs["complete"] is True


@pytest.mark.parametrize(
    ("task", "factor"), [(SEGMENT, 1.7), (OBJECTS, 1.0), (UNKNOWN, 0.8), (LINES, 1.0)]
)
def test_after_stop_only_what_was_looked_at_is_read(
    blobs, tmp_path, monkeypatch, task, factor
):
    checkpoint = a_checkpoint(task, working_factor=factor)
    windows, read = [], finding.StoredMaps.read

    def counted(kept, window, classes):
        windows.append(window)
        return read(kept, window, classes)

    monkeypatch.setattr(finding.StoredMaps, "read", counted)

    def stopped(folder):
        turns, network = iter(range(1000)), Levels(len(task.classes))
        windows.clear()
        made = in_parts(
            blobs, checkpoint, network, folder, stop=lambda: next(turns) > 6
        )
        assert not made.complete
        return made.found, maps(folder), len(windows)

    found, written, reads = stopped(tmp_path / "seen")
    monkeypatch.setattr(finding.StoredMaps, "is_seen", lambda *_: True)
    all_found, all_written, all_reads = stopped(tmp_path / "all")
    assert reads < all_reads
    assert (found.counts, found.covered) == (all_found.counts, all_found.covered)
    for one, other in zip(written, all_written, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(found.areas.sums, all_found.areas.sums)


def test_what_was_done_when_the_program_was_killed_is_kept(blobs, tmp_path):
    checkpoint, network = a_checkpoint(SEGMENT), Levels(3)
    job = a_job(blobs, checkpoint, network, tmp_path)
    for _ in range(12):
        next(job)
    job.close()
    with (tmp_path / ".unfinished-big" / "done.txt").open("a") as file:
        file.write("\n1")
    first = network.runs
    assert in_parts(blobs, checkpoint, network, tmp_path).complete
    whole = at_once(blobs, checkpoint, Levels(3))
    assert (maps(tmp_path)[1] != whole.labels).mean() < 1e-4
    fresh = Levels(3)
    in_parts(blobs, checkpoint, fresh, tmp_path)
    assert 0 < network.runs - first < fresh.runs - 2


def test_other_settings_begin_anew(blobs, tmp_path):
    checkpoint, network = a_checkpoint(SEGMENT), Levels(3)
    turns = iter(range(1000))
    in_parts(blobs, checkpoint, network, tmp_path, stop=lambda: next(turns) > 12)
    in_parts(blobs, checkpoint, network, tmp_path, invert=True)
    whole = at_once(blobs, checkpoint, network, invert=True)
    assert (maps(tmp_path)[1] != whole.labels).mean() < 1e-4


def test_empty_blocks_are_skipped(blobs, tmp_path):
    network = Levels(3)
    image = np.pad(blobs, ((0, 0), (200, 0), (0, 0)))
    in_parts(image, a_checkpoint(SEGMENT), network, tmp_path / "a")
    less = Levels(3)
    in_parts(blobs, a_checkpoint(SEGMENT), less, tmp_path / "b")
    assert network.runs <= less.runs + 14  # one row of blocks more at most


def test_results_open_as_ome_zarr_with_their_pixel_size(blobs, tmp_path):
    in_parts(blobs, a_checkpoint(SEGMENT), Levels(3), tmp_path)
    labels = read_image(tmp_path / "big_labels.zarr")
    assert labels.scale == 2.0
    assert labels.data.dtype == np.uint8
    assert read_image(tmp_path / "big_probability.zarr").data.shape == (3, *SHAPE)


def test_probabilities_in_a_byte(blobs, tmp_path):
    in_parts(blobs, a_checkpoint(SEGMENT), Levels(3), tmp_path, stored="uint8")
    probability, _ = maps(tmp_path)
    whole = at_once(blobs, a_checkpoint(SEGMENT), Levels(3))
    assert probability.dtype == np.uint8
    np.testing.assert_allclose(
        probability / 255, resized(whole, probability.shape), atol=0.003
    )


def test_a_dead_network_says_so(blobs, tmp_path):
    network = Levels(3)
    torch.nn.init.zeros_(network.weight)
    parts = in_parts(blobs, a_checkpoint(SEGMENT), network, tmp_path)
    assert "same answer everywhere" in parts.problems[0]


def test_a_blank_image_has_an_empty_result(tmp_path):
    image = np.full((1, 200, 200), 7, np.uint8)
    parts = in_parts(image, a_checkpoint(DETECT), Levels(2), tmp_path)
    assert parts.complete
    assert "nothing to see" in parts.notes[0]
    assert not maps(tmp_path)[1].any()


@pytest.mark.parametrize(("task", "factor"), [(DETECT, 1.0), (OBJECTS, 1.7)])
def test_a_part_has_the_result_of_the_whole(blobs, task, factor):
    checkpoint = a_checkpoint(task, pixel_size_nm=2.0, working_factor=factor)
    network = Levels(len(task.classes), regressions=int(task is OBJECTS))
    whole = at_once(blobs, checkpoint, network)
    job = predict_window(
        LargeImage(raw=RawImage(blobs, "cyx", 2.0)),
        checkpoint,
        PredictConfig(tile=32, device="cpu"),
        scale=2.0,
        window=(100, 191, 37, 203),
        engine=Engine(network, "cpu"),
    )
    part = run(job)
    grid = np.array(whole.probability.shape[1:])
    top, left = np.rint(np.array(part.corner) * grid / np.array(SHAPE)).astype(int)
    height, width = part.probability.shape[1:]
    known = whole.probability[:, top : top + height, left : left + width]
    np.testing.assert_allclose(part.probability, known, atol=1e-5)
    assert np.abs(np.array(part.corner) - (100, 37)).max() <= factor
    if task is DETECT:
        places = part.detections.coordinates + np.array(part.corner)
        inner = places[((places > (112, 49)) & (places < (179, 191))).all(axis=1)]
        assert len(inner)
        apart = np.abs(inner[:, None] - whole.detections.coordinates[None])
        assert apart.max(axis=2).min(axis=1).max() < 0.5


def test_what_is_looked_at_is_looked_at_first_and_shown(blobs, tmp_path):
    network = Levels(2)
    job = a_job(
        blobs, a_checkpoint(DETECT), network, tmp_path, first=(230, 250, 300, 330)
    )
    said = [one.report for one in job if isinstance(one.report, MapsSoFar)]
    assert len(said) > 3
    assert len({id(one) for one in said}) == 1
    kept = said[0].kept
    lines = (line.split() for line in kept_order(tmp_path, blobs, network))
    corner = [(int(line[0]), int(line[1])) for line in lines if line]
    assert corner[0] == max(kept.blocks())


def kept_order(tmp_path, blobs, network):
    """Blocks in the order that they were done in, of a run that is kept."""
    folder = tmp_path / "kept"
    folder.mkdir()
    in_parts(
        blobs,
        a_checkpoint(DETECT),
        network,
        folder,
        first=(230, 250, 300, 330),
        keep=True,
    )
    done = folder / ".unfinished-big" / "done.txt"
    return done.read_text(encoding="utf-8").splitlines()


def test_what_is_kept_is_read_anew_without_the_network(blobs, tmp_path, monkeypatch):
    monkeypatch.setattr(finding, "SHOWN", 100)
    network = Levels(2)
    checkpoint = a_checkpoint(DETECT)
    low = DetectConfig(threshold=0.3)
    first = in_parts(blobs, checkpoint, network, tmp_path, keep=True, detect=low)
    ran, network.runs = network.runs, 0
    assert ran
    high = DetectConfig(threshold=0.9)
    second = in_parts(blobs, checkpoint, network, tmp_path, keep=True, detect=high)
    assert len(second.found.detections) < len(first.found.detections)
    looked = network.runs  # only the question of the contrast
    assert looked < ran / 2
    for one in (first.so_far, second.so_far):
        step = one.step
        assert step > 1
        whole = np.asarray(one.kept.maps)
        np.testing.assert_array_equal(one.thin, whole[:, ::step, ::step])


def test_labels_are_a_label_group_of_the_probability(blobs, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_topiary.io.ome_zarr.SMALLEST", 100)
    in_parts(blobs, a_checkpoint(SEGMENT), Levels(3), tmp_path)
    root = zarr.open_group(str(tmp_path / "big_probability.zarr"), mode="r")
    assert root["labels"].attrs["ome"] == {"version": "0.5", "labels": ["found"]}
    about = root["labels/found"].attrs["ome"]
    assert about["image-label"] == {"source": {"image": "../../"}}
    (image,) = about["multiscales"]
    assert [axis["name"] for axis in image["axes"]] == ["y", "x"]
    levels = [root["labels/found"][one["path"]] for one in image["datasets"]]
    _, labels = maps(tmp_path)
    np.testing.assert_array_equal(levels[0], labels)
    assert levels[0].dtype == labels.dtype == np.uint8
    assert len(levels) == len(root.attrs["ome"]["multiscales"][0]["datasets"]) > 1
