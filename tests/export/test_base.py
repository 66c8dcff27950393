"""What holds for every format: refused first, checked, and nothing half-written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_topiary.errors import TopiaryError
from napari_topiary.export import (
    Exported,
    ExportFormat,
    export_formats,
    export_network,
    export_target,
)
from napari_topiary.export import base as base_module
from napari_topiary.export.base import Exportable
from napari_topiary.export.description import before, description
from napari_topiary.networks.base import in_shares
from napari_topiary.normalisation import Normalisation
from napari_topiary.types import Progress, Stop, run


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A format that writes three bytes in two steps."""

    def make(model):
        if (yield Progress(1, 2, "Halfway")) is Stop:
            return None
        return Exported(model=model, content=b"abc", checks=())

    there = dict(export_formats._things)
    there["plain"] = ExportFormat(make=make, title="Plain", ending=".plain")
    monkeypatch.setattr(export_formats, "_things", there)


def test_what_is_answered_is_a_share_of_each_class_then_values(small):
    model = Exportable.of(small("nuclei"))
    image = model.probes()[1]
    answer = model.answer(image)
    assert model.maps == ["background", "virion", "distance"]
    assert answer.shape == (2, 3, *image.shape[2:])
    assert np.allclose(answer[:, :2].sum(axis=1), 1, atol=1e-6)
    with torch.inference_mode():
        wanted = in_shares(model.network, model.network(torch.from_numpy(image)))
    assert np.array_equal(answer, wanted.numpy())


def test_the_words_say_what_to_do_before_and_after(small):
    fixed = Normalisation(per_image=False, mean=100, std=20, low=10, high=200)
    about = description(Exportable.of(small(normalisation=fixed)))
    assert about["working_pixel_size_nm"] == 3.0
    assert about["stride"] == 4
    text = " ".join(about["before"] + about["after"])
    for words in ("3 nm per pixel", "to -2.125 and its 99th to 2.625", "0.40"):
        assert words in text
    alone = " ".join(before(Exportable.of(small())))
    assert "its 1st and 99th percentile" in alone


def test_classifiers_of_patches_answer_images_in_one_piece(small):
    model = Exportable.of(small("dcnn"))
    image = model.probes()[1]
    with torch.inference_mode():
        wanted = model.network(torch.from_numpy(image)).softmax(dim=1)
    assert np.allclose(model.answer(image), wanted.numpy(), atol=1e-6)
    assert model.stride == 8


def test_networks_without_a_way_over_a_whole_image_are_refused(small):
    with pytest.raises(TopiaryError, match="each pixel anew"):
        Exportable.of(small("dccn"))


def test_a_conversion_that_answers_otherwise_is_refused(small):
    model = Exportable.of(small())
    assert model.largest_difference(model.answer) == 0
    with pytest.raises(TopiaryError, match="nothing was written"):
        model.largest_difference(lambda images: model.answer(images) + 0.01)
    with pytest.raises(TopiaryError, match="nothing was written"):
        model.largest_difference(lambda images: model.answer(images)[:, :, 1:])


def test_formats_names_and_missing_packages_are_sentences(monkeypatch):
    with pytest.raises(TopiaryError, match="'keras': choose onnx"):
        export_target(Path("a.keras"), "keras")
    with pytest.raises(TopiaryError, match=r"end in \.onnx"):
        export_target(Path("a.zip"), "onnx")
    monkeypatch.setattr(base_module, "find_spec", lambda name: None)
    with pytest.raises(TopiaryError, match="pip install onnx"):
        export_target(Path("a.onnx"), "onnx")


def test_a_persons_file_stays(small, plain, tmp_path):
    path = tmp_path / "a.plain"
    path.write_text("mine")
    with pytest.raises(TopiaryError, match="was not written by Topiary"):
        run(export_network(small(), path, "plain"))
    assert path.read_text() == "mine"
    run(export_network(small(), path, "plain", overwrite=True))
    assert path.read_bytes() == b"abc"


def test_a_dead_network_is_not_shared_silently(small, plain, tmp_path):
    alive = small()
    assert run(export_network(alive, tmp_path / "a.plain", "plain")).notes == ()
    state = {name: tensor * 0 for name, tensor in alive.state.items()}
    dead = alive.replaced(state=state)
    (note,) = run(export_network(dead, tmp_path / "b.plain", "plain")).notes
    assert "the same answer to whatever it is shown" in note


def test_stopped_nothing_is_written(small, plain, tmp_path):
    for after in (0, 1):
        said = iter([False] * after + [True] * 9)
        job = export_network(small(), tmp_path / "a.plain", "plain")
        assert run(job, None, lambda said=said: next(said)) is None
    assert not list(tmp_path.iterdir())
