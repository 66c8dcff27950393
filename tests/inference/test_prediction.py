"""Prediction end to end, with a network whose answer is known."""

import numpy as np
import pytest
import torch
from torch import nn

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import DetectConfig, PredictConfig
from napari_topiary.data.working_grid import working_factor_for
from napari_topiary.errors import TopiaryError
from napari_topiary.inference.network_input import as_channels
from napari_topiary.inference.predict import predict
from napari_topiary.networks import build_network
from napari_topiary.networks.base import Network
from napari_topiary.normalisation import Normalisation
from napari_topiary.postprocessing.interpret import (
    PostProcessing,
    interpret,
)
from napari_topiary.types import Progress, Stop, Task, run


class Bright(Network):
    """Says "foreground" where the first channel is above 0.5, without doubt."""

    stride, halo, output_layers = 4, 3, ("none",)

    def __init__(self, n_classes: int = 2) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.weight = nn.Parameter(torch.tensor(20.0))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        rest = [torch.zeros_like(image[:, :1])] * (self.n_classes - 1)
        return torch.cat([self.weight * (0.5 - image[:, :1]) * 2, *rest], dim=1)


def checkpoint(task: Task, **changes: object) -> Checkpoint:
    sizes = {"base": 2, "multiplier": 1.0, "levels": 1}
    values: dict[str, object] = {"normalisation": Normalisation(kind="none"), **changes}
    channels = values.pop("in_channels", 1)
    network = build_network("unet", sizes, channels, len(task.classes))
    return Checkpoint(
        network="unet",
        sizes=sizes,
        in_channels=channels,
        task=task,
        state=network.state_dict(),
        **values,
    )


DETECT = Task("detect", ("background", "virus"), radius_nm={"virus": 24.0})


def picture(shape, centres, radius):
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    image = np.zeros(shape, np.float32)
    for y, x in centres:
        image[np.hypot(yy - y, xx - x) <= 0.75 * radius] = 1
    return image[None]


TRUTH = np.array([[40.0, 30.0], [60.5, 90.25], [100, 60]])


@pytest.mark.parametrize("scale", [2.0, 1.0, 4.0])
def test_coordinates_and_labels_come_back_in_pixels_of_the_image(scale):
    """Trained at 2 nm, seen at 4 nm: whatever the image's own pixel size."""
    made = checkpoint(DETECT, pixel_size_nm=2.0, working_factor=2.0)
    truth = (TRUTH + 0.5) * 2.0 / scale - 0.5
    shape = (int(256 / scale), int(260 / scale))
    image = picture(shape, truth, 24.0 / scale)
    found = run(predict(image, made, scale=scale, network=Bright()))
    assert found.shape == found.labels.shape == shape
    assert found.probability.shape == (2, 64, 65)
    gaps = np.linalg.norm(found.detections.coordinates[:, None] - truth, axis=2)
    assert len(found.detections) == 3
    assert gaps.min(axis=0).max() * scale < 1.5
    agree = (found.labels == image[0]).mean()
    assert agree > 0.99
    assert found.scale == scale and found.done is None
    assert bool(found.notes) == (scale != 2.0)
    assert all("rescaled" in note for note in found.notes)


def test_unknown_pixel_size_is_said():
    made = checkpoint(DETECT, pixel_size_nm=2.0)
    factor, notes = working_factor_for(made, None)
    assert factor == 1.0 and "not known" in notes[0]
    assert working_factor_for(checkpoint(DETECT, working_factor=3.0), 5.0) == (3.0, [])


def test_image_far_too_coarse():
    with pytest.raises(TopiaryError, match="too coarse"):
        working_factor_for(checkpoint(DETECT, pixel_size_nm=1.0), 100.0)


def test_stop_keeps_what_is_done():
    made = checkpoint(DETECT, pixel_size_nm=2.0)
    image = picture((128, 130), TRUTH, 12.0)
    seen: list[Progress] = []
    found = run(
        predict(image, made, PredictConfig(tile=32), scale=2.0, network=Bright()),
        seen.append,
        should_stop=lambda: len(seen) == 16,
    )
    assert len(seen) == 16
    assert seen[-1].eta_s is not None and 0 < seen[-1].fraction < 1
    assert found.done is not None and 0 < found.done.mean() < 1
    assert any("Stopped" in note for note in found.notes)
    assert (found.labels[~found.done] == 0).all()
    # Two of the three particles lie in the part that is done.
    assert len(found.detections) == 2


def test_job_accepts_stop_by_send():
    job = predict(
        picture((64, 64), [(20, 20)], 8.0),
        checkpoint(DETECT, pixel_size_nm=3.0),
        PredictConfig(tile=32),
        scale=3.0,
        network=Bright(),
    )
    next(job)
    with pytest.raises(StopIteration) as end:
        job.send(Stop)
    assert end.value.value.done is not None


def test_threshold_and_spacing_live():
    made = checkpoint(DETECT, pixel_size_nm=2.0, thresholds={"virus": 0.6})
    map_ = 0.7 * picture((64, 64), [(20, 15), (20, 35)], 12.0)
    probability = np.concatenate([1 - map_, map_]).astype(np.float32)

    def count(**settings):
        config = DetectConfig(**settings)
        labels, found = interpret(probability, (64, 64), checkpoint=made, config=config)
        return len(found), int(labels.max())

    assert count() == (2, 1)
    assert count(threshold=0.8) == (0, 0)
    assert count(spacing=2.0) == (1, 1)
    assert PostProcessing.of(made).thresholds == {"virus": 0.6}
    assert PostProcessing.of(made).radius_px == {"virus": 12.0}


def test_reading_anew_equals_predicting_with_the_setting():
    made = checkpoint(DETECT, pixel_size_nm=2.0)
    image = picture((64, 64), [(20, 20), (40, 44)], 12.0) * 0.52
    strict = DetectConfig(threshold=0.9)
    first = run(predict(image, made, scale=2.0, network=Bright()))
    again = PostProcessing.of(made, strict).read(first)
    whole = run(
        predict(image, made, PredictConfig(detect=strict), scale=2.0, network=Bright())
    )
    assert len(first.detections) == 2 and len(again.detections) == 0
    assert np.array_equal(again.labels, whole.labels)


def test_filament_classes_come_from_the_checkpoint():
    task = Task("detect", ("background", "ebola"), radius_nm={"ebola": 8.0})
    made = checkpoint(
        task, pixel_size_nm=2.0, annotations_summary={"line_classes": ["ebola"]}
    )
    image = np.zeros((1, 64, 96), np.float32)
    image[0, 29:36, 10:80] = 1
    found = run(predict(image, made, scale=2.0, network=Bright())).detections
    assert len(found) == 0 and len(found.lines) == 1
    assert found.lines[0][:, 0] == pytest.approx(32, abs=1)


def test_instances():
    task = Task("instances", ("background", "nucleus"))
    image = picture((64, 64), [(20, 20), (45, 45)], 12.0)
    image[0, 2, 60] = 1
    config = PredictConfig(detect=DetectConfig(min_size_px=5))
    made = checkpoint(task, working_factor=2.0)
    found = run(predict(image, made, config, network=Bright()))
    assert found.labels.shape == (64, 64)
    assert np.unique(found.labels).tolist() == [0, 1, 2]
    assert found.labels[20, 20] != found.labels[45, 45]
    assert len(found.detections) == 0


def test_segment_drops_specks():
    task = Task("segment", ("background", "membrane"))
    image = picture((64, 64), [(30, 30)], 12.0)
    image[0, 3, 3] = 1
    made = checkpoint(task)
    whole = run(predict(image, made, network=Bright()))
    config = PredictConfig(detect=DetectConfig(min_size_px=4))
    clean = run(predict(image, made, config, network=Bright()))
    assert (whole.labels[3, 3], clean.labels[3, 3]) == (1, 0)
    assert clean.labels[30, 30] == 1


def test_checkpoint_builds_its_own_network():
    task = Task("segment", ("background", "a", "b"))
    made = checkpoint(task, in_channels=3, provenance={"name": "mine"})
    image = np.random.default_rng(0).integers(0, 255, (3, 33, 41)).astype(np.uint8)
    found = run(predict(image, made))
    assert found.probability.shape == (3, 33, 41)
    assert found.probability.sum(axis=0) == pytest.approx(1.0, abs=1e-5)
    assert found.checkpoint == "mine"


GREY = checkpoint(DETECT)
STACK = np.random.default_rng(0).random((40, 16, 16))


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (STACK, "slice by slice"),
        (STACK[:3], "convert the image to grey"),
        (STACK[None], "dimensions"),
        (np.random.default_rng(0).random((16, 16, 3)), "last axis"),
        (np.zeros((1, 0, 8)), "empty"),
    ],
)
def test_refused_images(image, words):
    with pytest.raises(TopiaryError, match=words):
        run(predict(image, GREY))


@pytest.mark.parametrize("value", [0, 7, np.nan])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_blank_image_has_an_empty_result_and_a_note(value, channels):
    made = checkpoint(DETECT, in_channels=channels, pixel_size_nm=2.0)
    found = run(predict(np.full((1, 24, 30), value), made, scale=2.0, network=Bright()))
    assert len(found.detections) == 0 and not found.labels.any()
    assert (found.probability[0] == 1).all() and found.done is None
    assert found.probability.shape == (2, 24, 30)
    assert "nothing to see" in found.notes[0]


def test_margins_and_pixels_without_a_number_are_empty():
    made = checkpoint(DETECT, pixel_size_nm=2.0, normalisation=Normalisation())
    rng = np.random.default_rng(0)
    image = picture((96, 100), [(30, 30)], 12.0) + rng.normal(0, 0.02, (96, 100))
    image[:, 60, 5:9] = np.nan
    alone = run(predict(image, made, scale=2.0, network=Bright()))
    wide = np.full((1, 96, 150), 9.0)
    wide[..., :100] = image
    found = run(predict(wide, made, scale=2.0, network=Bright()))
    assert len(found.detections) == len(alone.detections) == 1
    kept = found.probability[..., :98]
    np.testing.assert_allclose(kept, alone.probability[..., :98], atol=1e-3)
    assert (found.probability[0, :, 100:] == 1).all()
    assert (found.probability[0, 60, 5:9] == 1).all()
    assert any("33% of this image carries no image" in note for note in found.notes)


def test_a_window_looks_like_the_whole():
    made = checkpoint(DETECT, pixel_size_nm=2.0, normalisation=Normalisation())
    image = picture((128, 160), [(30, 30), (90, 100)], 12.0)
    image[..., 80:] += 5
    whole = run(predict(image, made, scale=2.0))
    part = run(predict(image, made, scale=2.0, window=(20, 100, 60, 140)))
    inside = np.s_[:, 20:100, 60:140]
    np.testing.assert_allclose(
        part.probability[inside], whole.probability[inside], atol=1e-5
    )
    assert part.done.sum() == 80 * 80


def test_the_negative_of_the_negative_is_the_image():
    made = checkpoint(DETECT, pixel_size_nm=2.0, normalisation=Normalisation())
    image = picture((64, 64), [(30, 30)], 12.0) * 200 + 20
    negative = (255 - image).astype(np.uint8)
    there = run(predict(image, made, scale=2.0, network=Bright()))
    back = run(
        predict(negative, made, PredictConfig(invert=True), scale=2.0, network=Bright())
    )
    np.testing.assert_allclose(back.probability, there.probability, atol=1e-4)
    assert len(back.detections) == 1


def test_grey_for_a_colour_network():
    with pytest.raises(TopiaryError, match="convert the image to colour"):
        run(predict(STACK[0], checkpoint(DETECT, in_channels=3)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float64, bool])
def test_every_number_type_is_welcome(dtype):
    image = (picture((32, 32), [(16, 16)], 12.0) > 0).astype(dtype)
    found = run(predict(image, checkpoint(DETECT, pixel_size_nm=2.0), network=Bright()))
    assert len(found.detections) == 1


def test_bad_form():
    with pytest.raises(TopiaryError, match="Tile 8 is not possible"):
        run(predict(STACK[:1], GREY, PredictConfig(tile=8)))


def test_as_channels():
    colour = np.stack([np.full((2, 2), v, np.uint8) for v in (100, 50, 200)])
    grey = as_channels(colour, 1)
    assert grey.dtype == np.uint8 and grey.shape == (1, 2, 2)
    assert grey[0, 0, 0] == round(21.25 + 0.7154 * 50 + 0.0721 * 200)
    assert np.array_equal(as_channels(grey, 3), np.repeat(grey, 3, axis=0))
    clear = np.concatenate([colour, colour[:1]])
    assert np.array_equal(as_channels(clear, 3), colour)
    assert as_channels(colour, 3) is colour
    with pytest.raises(TopiaryError, match="5 channels"):
        as_channels(np.zeros((5, 2, 2)), 1)
