"""The manifest that napari reads is valid and says what is there."""

from __future__ import annotations

import dataclasses
import inspect
from importlib import import_module
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from napari.layers import Image
from npe2 import PluginManifest

import napari_topiary
from napari_topiary._napari.reader import get_reader
from napari_topiary._napari.workbench import Workbench
from napari_topiary.io.annotation_formats import readable_tables
from napari_topiary.io.formats import image_formats
from napari_topiary.io.images import write_image

PACKAGED = Path(napari_topiary.__file__).with_name("napari.yaml")
ROOT = Path(__file__).parents[1] / "napari.yaml"
MANIFEST = PluginManifest.from_file(PACKAGED)
COMMANDS = {command.id: command for command in MANIFEST.contributions.commands}
WIDGETS = [widget.command for widget in MANIFEST.contributions.widgets]
SAMPLES = [sample.key for sample in MANIFEST.contributions.sample_data]


def target(command_id: str) -> object:
    """Return the class or function that a command names."""
    module, name = COMMANDS[command_id].python_name.split(":")
    return getattr(import_module(module), name)


def test_the_installed_plugin_is_this_manifest():
    found = PluginManifest.from_distribution("napari-topiary")
    assert found.name == "napari-topiary"
    assert found.contributions == MANIFEST.contributions
    MANIFEST.validate_imports()


def test_the_manifest_at_the_root_is_the_packaged_one():
    text = ROOT.read_text(encoding="utf-8")
    if text.strip() == "src/napari_topiary/napari.yaml":  # a link that became text
        text = (ROOT.parent / text.strip()).read_text(encoding="utf-8")
    assert text == PACKAGED.read_text(encoding="utf-8")


def test_categories_are_ones_that_napari_knows():
    assert [str(category) for category in MANIFEST.categories] == [
        "Segmentation",
        "Annotation",
    ]


@pytest.mark.parametrize("command_id", COMMANDS)
def test_every_command_can_be_imported(command_id):
    assert callable(target(command_id))


def test_every_command_is_used():
    used = set(WIDGETS)
    used |= {sample.command for sample in MANIFEST.contributions.sample_data}
    used |= {reader.command for reader in MANIFEST.contributions.readers}
    assert used == set(COMMANDS)


@pytest.mark.parametrize("command_id", WIDGETS)
def test_every_widget_gets_by_with_the_viewer(command_id):
    from napari._qt._qplugins._qnpe2 import _get_widget_viewer_param

    widget = target(command_id)
    parameter = _get_widget_viewer_param(widget, command_id)
    assert parameter, "napari would not hand this widget its viewer"
    inspect.signature(widget).bind(**{parameter: None})


def test_the_workbench_is_not_called_like_the_plugin_again():
    """napari shows "Workbench (Topiary)"."""
    names = [one.display_name for one in MANIFEST.contributions.widgets]
    assert names[0] == "Workbench" and "Topiary" not in names


def test_menu_entries_are_where_napari_lets_plugins_in():
    from napari._app_model.constants import MenuId

    allowed = {str(menu.value) for menu in MenuId.contributables()}
    assert set(MANIFEST.contributions.menus) <= allowed


@pytest.mark.parametrize("key", SAMPLES)
def test_a_sample_comes_with_its_truth_on_the_same_grid(key):
    (sample,) = (s for s in MANIFEST.contributions.sample_data if s.key == key)
    image, *truth = target(sample.command)()
    data, meta, kind = image
    assert kind == "image"
    assert data.dtype == np.uint8
    assert meta["metadata"]["topiary_sample"] == key
    assert truth
    for _, other, _ in truth:
        for name in ("scale", "units", "axis_labels"):
            assert tuple(other[name]) == tuple(meta[name]), name
    assert len({other["name"] for _, other, _ in [image, *truth]}) == 1 + len(truth)


def test_every_sample_folder_is_offered():
    folder = napari_topiary.sample_folder()
    names = {path.parent.name for path in folder.glob("*/dataset.json")}
    assert names == set(SAMPLES)


def test_sample_data_is_small_and_says_where_it_is_from():
    folder = napari_topiary.sample_folder()
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert total < 15e6
    origin = (folder / "README.md").read_text(encoding="utf-8")
    for name in SAMPLES:
        assert f"## {name}\n" in origin


def declared() -> dict[str, object]:
    """Defaults of the settings in the manifest."""
    return {
        key: setting.default
        for group in MANIFEST.contributions.configurations.values()
        for key, setting in group.properties.items()
    }


def test_settings_default_to_what_the_code_does_without_them():
    from napari_topiary._napari.state import Preferences

    assert declared() == dataclasses.asdict(Preferences())
    train = napari_topiary.TrainConfig()
    assert declared()["minutes"] == train.minutes
    assert declared()["preset"] == train.preset
    assert declared()["device"] == train.device


def test_settings_offer_every_preset():
    from napari_topiary.networks import networks

    training = MANIFEST.contributions.configurations["training"]
    assert set(training.properties["preset"].enum) == set(networks["unet"].presets)


def test_a_changed_setting_is_read_back(plugin_settings, npe2pm):
    from napari.settings import get_plugin_settings

    from napari_topiary._napari.state import Preferences, preferences

    assert preferences() == Preferences()  # the plugin is not registered
    npe2pm.register(MANIFEST)
    assert preferences() == Preferences()
    get_plugin_settings("napari-topiary").training.minutes = 3.0
    assert preferences().minutes == 3.0


def test_open_sample_puts_image_and_truth_on_one_grid(make_napari_viewer, npe2pm):
    npe2pm.register(MANIFEST)
    viewer = make_napari_viewer(show=False)
    viewer.open_sample("napari-topiary", "virus_phil")
    viewer.open_sample("napari-topiary", "apoferritin")
    names = [layer.name for layer in viewer.layers]
    assert names[-2:] == ["apo_030502", "apo_030502 points"]
    image, points = list(viewer.layers)[-2:]
    assert [str(unit) for unit in points.units] == ["nanometer"] * 2
    inside = np.asarray(image.data.shape) > points.data
    assert inside.all()
    assert len(points.data) == 151


def test_napari_opens_every_ending_of_the_microscopes_formats():
    (reader,) = MANIFEST.contributions.readers
    patterns = set(reader.filename_patterns)
    for name in ("mrc", "microscopes"):
        plain = set(image_formats[name].suffixes) - {".gz", ".bz2"}
        assert {f"*{suffix}" for suffix in plain} <= patterns
    assert {"*.mrc.gz", "*.mrc.bz2"} <= patterns


def test_napari_opens_annotation_files_that_it_does_not_know_itself():
    (reader,) = MANIFEST.contributions.readers
    own = {f"*{suffix}" for suffix in readable_tables()} - {"*.csv", "*.tsv"}
    assert own <= set(reader.filename_patterns)
    assert "*.csv" not in reader.filename_patterns  # napari reads its own
    assert reader.accepts_directories


def test_a_dropped_annotation_file_lies_on_its_image(
    make_napari_viewer, npe2pm, tmp_path
):
    npe2pm.register(MANIFEST)
    viewer = make_napari_viewer(show=False)
    shared = {"scale": (2.0, 2.0), "units": ("nm", "nm")}
    viewer.add_image(np.zeros((40, 50)), name="mic_1", **shared)
    viewer.add_image(np.zeros((40, 50)), name="other")
    (tmp_path / "mic_1.box").write_text("10\t20\t8\t8\n30\t5\t8\t8\n")
    viewer.open(str(tmp_path / "mic_1.box"), plugin="napari-topiary")
    layer = viewer.layers[-1]
    assert layer.name == "mic_1 points"
    np.testing.assert_allclose(layer.scale, 2.0)
    np.testing.assert_allclose(sorted(layer.data.tolist()), [[9, 34], [24, 14]])
    (tmp_path / "notes.xml").write_bytes(b"nothing of the kind")
    assert get_reader(str(tmp_path / "notes.xml")) is None


def test_a_dropped_folder_opens_as_project_or_images(
    make_napari_viewer, npe2pm, tmp_path
):
    npe2pm.register(MANIFEST)
    assert get_reader(str(tmp_path)) is None
    for name in "ab":
        write_image(tmp_path / f"{name}.tif", np.eye(9, dtype=np.uint8)[None], scale=3)
    viewer = make_napari_viewer(show=False)
    viewer.open(str(tmp_path), plugin="napari-topiary")
    assert [layer.name for layer in viewer.layers] == ["a", "b"]
    np.testing.assert_allclose(viewer.layers[0].scale, 3.0)
    folder = napari_topiary.sample_folder() / "apoferritin"
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Workbench, "open_folder", lambda _, path: asked.append(path))
        viewer.open(str(folder), plugin="napari-topiary")
    assert asked == [folder]
    assert len(viewer.layers) == 2


def test_a_dropped_mrc_stack_becomes_a_layer_with_its_pixel_size(tmp_path):
    stack = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    with mrcfile.new(tmp_path / "tilt.st") as file:
        file.set_data(stack)
        file.voxel_size = 4.6
    ((data, meta, kind),) = get_reader("tilt.st")(str(tmp_path / "tilt.st"))
    np.testing.assert_array_equal(data, stack)
    assert (kind, meta["name"], meta["units"]) == ("image", "tilt", ("nm",) * 3)
    np.testing.assert_allclose(meta["scale"], 0.46)
    viewer_layer = Image(data, **meta)
    assert viewer_layer.ndim == 3
