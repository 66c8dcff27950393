"""The real images that come with the plugin."""

from __future__ import annotations

from pathlib import Path

from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import Dataset, read_dataset

_PACKAGE = Path(__file__).resolve().parents[1]


def sample_folder() -> Path:
    """Return the folder `sample_data`: in an installed package, or in a checkout."""
    for folder in (_PACKAGE / "sample_data", _PACKAGE.parents[1] / "sample_data"):
        if folder.is_dir():
            return folder
    raise TopiaryError(
        "The sample images are not installed: install napari-topiary again from its "
        "wheel, or run it from a complete checkout."
    )


def sample_names() -> tuple[str, ...]:
    """Names of the sample datasets."""
    return tuple(sorted(f.parent.name for f in sample_folder().glob("*/dataset.json")))


def sample_dataset(name: str) -> Dataset:
    """Return a sample dataset.

    Parameters
    ----------
    name
        One of `sample_names`.

    Raises
    ------
    TopiaryError
        With a sentence that names the known ones.
    """
    if name not in sample_names():
        raise TopiaryError(
            f"There is no sample called {name!r}: the samples are "
            f"{', '.join(sample_names())}."
        )
    return read_dataset(sample_folder() / name)
