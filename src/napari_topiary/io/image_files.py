"""Which image files are meant, and what the names of their results begin with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path

from napari_topiary.errors import TopiaryError
from napari_topiary.io.formats import elsewhere
from napari_topiary.io.images import is_image, readable_suffixes
from napari_topiary.io.own_files import written_by_topiary
from napari_topiary.io.pairing import image_name, visible_files, whole_images
from napari_topiary.io.plain_files import can_be_listed

RESULTS = ("_probability", "_labels")
SUMMARY = "summary.csv"
"""What was counted in each image, beside the results."""


def result_stem(path: Path) -> str:
    """Return what the names of an image's results begin with.

    Parameters
    ----------
    path
        The image; of one that lies in a zarr folder (`x.zarr/0`), `x_0`.
    """
    outer = _zarr_around(path)
    if outer is None:
        return image_name(path)
    return "_".join((image_name(outer), *path.relative_to(outer).parts))


def shown_name(path: Path) -> str:
    """Return what an image is called: of one in a zarr folder, `x.zarr/0`."""
    outer = _zarr_around(path)
    return path.name if outer is None else path.relative_to(outer.parent).as_posix()


def _zarr_around(path: Path) -> Path | None:
    outer = [place for place in path.parents if place.suffix.lower() == ".zarr"]
    return outer[-1] if outer and path.is_dir() else None


def image_files(given: Sequence[Path]) -> list[Path]:
    """Return the image files that are meant, those in folders included."""
    suffixes = readable_suffixes()
    found: list[Path] = []
    for path in _spelled_out(given):
        if path.is_dir() and not is_image(path):
            inside = [
                file
                for file in visible_files(path)
                if is_image(file) and not _is_result(file)
            ]
            if not inside:
                deeper = [f.name for f in visible_files(path) if _has_images(f)]
                hint = f" Its folder {deeper[0]} does: give that." if deeper else ""
                hint = hint or _advice(visible_files(path))
                raise TopiaryError(
                    f"The folder {path} holds no image that can be read "
                    f"({', '.join(suffixes)}).{hint}"
                )
            found += inside
        elif not path.exists():
            raise TopiaryError(f"There is no image {path}: check the name.")
        else:
            found.append(path)
    found, _ = whole_images(dict.fromkeys(found))
    # Some systems know no difference between A.tif and a.tif.
    stems = Counter(result_stem(path).casefold() for path in found)
    twin, count = stems.most_common(1)[0]
    if count > 1:
        twins = [path for path in found if result_stem(path).casefold() == twin]
        raise TopiaryError(
            f"{count} images are called {twin!r} ({shown_name(twins[0])} and "
            f"{shown_name(twins[1])}), so their results would have the same names: "
            f"give one kind of them (such as *{twins[0].suffix}), or predict them one "
            "by one into different folders."
        )
    return found


def _spelled_out(given: Sequence[Path]) -> Iterator[Path]:
    """Files of `*.tif`, which the shells of Windows leave to programs."""
    for path in given:
        found = [] if path.exists() else sorted(glob(str(path)))
        yield from map(Path, found) if found else (path,)


def passed_over(given: Sequence[Path]) -> list[str]:
    """Return a sentence about what lies in the folders given and is no image."""
    sentences = []
    for folder in given:
        if not folder.is_dir() or is_image(folder):
            continue
        others = [file for file in visible_files(folder) if not is_image(file)]
        folders = [file.name for file in others if _has_images(file)]
        if folders:
            sentences.append(
                f"{folder.name}: images in its {_folders(folders)} are left out; give "
                "those as well if they are wanted."
            )
        sentences += whole_images(filter(is_image, visible_files(folder)))[1]
        closed = [f.name for f in others if f.is_dir() and not can_be_listed(f)]
        if closed:
            sentences.append(
                f"{folder.name}: its {_folders(closed)} cannot be looked into, for "
                "lack of rights, and is left out."
            )
        files = [f.name for f in others if f.is_file() and not written_by_topiary(f)]
        if files:
            more = f" and {len(files) - 1} more" if len(files) > 1 else ""
            sentences.append(
                f"{folder.name}: {files[0]}{more} left out, no image that can be read "
                f"({', '.join(readable_suffixes())}).{_advice(others)}"
            )
    return sentences


def _advice(files: Sequence[Path]) -> str:
    """What helps with the first file of a kind that is known, behind a sentence."""
    said = next(filter(None, map(elsewhere, files)), "")
    return said and f" {said}"


def _folders(names: Sequence[str]) -> str:
    return f"folder {names[0]}" if len(names) == 1 else f"folders {', '.join(names)}"


def _has_images(path: Path) -> bool:
    return (
        path.is_dir()
        and can_be_listed(path)
        and any(is_image(file) and not _is_result(file) for file in visible_files(path))
    )


def _is_result(path: Path) -> bool:
    """Whether a file was written by an earlier prediction into the same folder."""
    return path.stem.endswith(RESULTS) and written_by_topiary(path)
