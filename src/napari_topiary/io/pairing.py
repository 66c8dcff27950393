"""Which files of a dataset folder belong together, by their names.

The name of an image is that of its file without the ending (`cells.ome.tif` is
`cells`), and a stack is its slices; what is drawn has the same name, in whatever case.
Labels may also end
in `_masks` and the like, as other programs write them. What an operating system leaves
behind is passed over; whatever else lies about and is not used is named.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from napari_topiary.annotations import annotation_kinds
from napari_topiary.errors import TopiaryError
from napari_topiary.io.annotation_formats import readable_tables
from napari_topiary.io.formats import elsewhere
from napari_topiary.io.formats.tiff import first_file_of
from napari_topiary.io.images import count_slices, is_image, readable_suffixes
from napari_topiary.io.plain_files import DESCRIPTION, read_json
from napari_topiary.io.stacks import Slice, slices_in

_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f\ud800-\udfff]')
_DEVICES = frozenset(
    ["con", "prn", "aux", "nul"]
    + [f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10)]
)
_LONGEST = 180
"""Bytes of a name: with what is put before and behind it, a file name takes 255."""
_LEFT_BEHIND = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})
OF_LABELS = re.compile(
    r"^(masks?|labels?|seg|gt)[ _.-](?=.)|"
    r"[ _.-](cp_masks?|masks?|labels?|labell?ed|seg|segm|segmented|segmentation|gt|"
    r"ground[ _-]?truth|annotations?|annot|instances?|objects|binary|manual1?|"
    r"simple[ _-]segmentation|object[ _-](identities|predictions)|"
    r"(label|mask)[ _-]?image)$",
    re.I,
)
OF_TABLES = re.compile(
    r"^(roiset|rois?|results?|points?|picks|coords?|particles)[ _.-](?=.)|"
    r"[ _.-](autopick|manualpick|picks?|picked|coords?|coordinates|points?|boxes|"
    r"particles|particlepositions|positions|annotations?|labels?|rois?|roiset|topaz|"
    r"results?|table|spots|centers|centres|centroids|detections|objects|features|"
    r"extract|box|helix|helices|helix_coords|filaments?|segments?)$",
    re.I,
)
OF_IMAGES = re.compile(r"[ _.-](img|image|raw|0000)$", re.I)
"""Also the first channel of nnU-Net."""
LABEL_FOLDERS = frozenset(
    "label labels mask masks annotation annotations seg segs segmentation "
    "segmentations gt groundtruth ground_truth ground-truth truth target targets "
    "labelled labelstr labelsts".split()
)
"""Folders that hold label images in the data of other programs."""
TABLE = ".csv"
PACKED = (".gz", ".bz2")
ELSEWHERE = "images_elsewhere"


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """The files of a dataset folder."""

    #: Image files by the name of the image, in alphabetical order; of a stack, the same
    #: file for each slice
    images: dict[str, Path]
    #: For each kind of annotation, its files by the name of the image or the stack
    drawn: dict[str, dict[str, Path]]
    #: Sentences about files of which one cannot know which is meant; none of them is in
    #: `images` or `drawn`
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  #: Sentences about what is not used
    #: For each kind, files that are not used and the name of the image that they are
    #: for, which may not be there
    unused: dict[str, tuple[tuple[str, Path], ...]] = field(default_factory=dict)
    #: Those images that are slices of a stack, by name
    slices: dict[str, Slice] = field(default_factory=dict)
    #: Images that do not lie in the folder, as its description names them
    elsewhere: dict[str, str] = field(default_factory=dict)

    @property
    def stacks(self) -> dict[str, tuple[str, ...]]:
        """Names of the slices of each stack."""
        found: dict[str, tuple[str, ...]] = {}
        for name, one in self.slices.items():
            found[one.stack] = (*found.get(one.stack, ()), name)
        return found

    def all_of(self, kind: str, name: str) -> tuple[Path, ...]:
        """Return every file of one kind that has the name of an image, twins too.

        The file of a stack is not that of its slices; files elsewhere are none of the
        folder's.

        Parameters
        ----------
        kind
            Of annotation, or `images`.
        name
            Of the image, which need not be there.
        """
        files = self.images if kind == "images" else self.drawn.get(kind, {})
        is_own = name in files
        if kind == "images":
            is_own &= name not in self.slices and name not in self.elsewhere
        found = [files[name]] if is_own else []
        others = self.unused.get(kind, ())
        return (*found, *(f for n, f in others if n.casefold() == name.casefold()))

    def of(self, name: str) -> dict[str, Path]:
        """Return what is drawn on an image: a file for each kind that there is."""
        return {
            kind: files[name] for kind, files in self.drawn.items() if name in files
        }


def pair_files(folder: str | os.PathLike[str]) -> Pairing:
    """Find the images of a dataset folder and what is drawn on each."""
    root = Path(folder)
    files, problems, notes, twins = _images_in(root)
    elsewhere = {n: p for n, p in images_elsewhere(root).items() if n not in files}
    for name, where in elsewhere.items():
        path = root / where
        if path.exists():
            files[name] = path
        else:
            notes.append(
                f"The image {name} is not where it was ({path}): put it back, or write "
                f"its new place into {root.name}/{DESCRIPTION}; what is drawn on it is "
                "kept."
            )
    slices = slices_in(files)
    images = _with_slices(files, slices)
    # What is drawn may be for a whole stack, or for one slice of it.
    names = {**files, **images}
    drawn, unused = {}, {"images": twins}
    for kind in annotation_kinds:
        table = annotation_kinds[kind].storage == "table"
        suffixes = (TABLE,) if table else readable_suffixes()
        found, others = _split(_files_of(root, kind), suffixes)
        what = "table (.csv)" if table else f"label image ({', '.join(suffixes)})"
        foreign = any(path.suffix.lower() in readable_tables() for path in others)
        hint = " (napari-topiary import takes over those of other programs)"
        notes += _unused(kind, others, f"no {what}{hint if foreign else ''}")
        pairs = [(_owner(path, names, masks=not table), path) for path in found]
        lost = [path for owner, path in pairs if owner is None]
        if lost:
            notes.append(
                f"{kind}/{_first(lost)} belongs to no image in images: left out; its "
                "name has to be that of an image."
            )
        drawn[kind], sentences, twins = _unlike(
            (owner, path) for owner, path in pairs if owner
        )
        problems += sentences
        unused[kind] = (*twins, *((image_name(path), path) for path in lost))
    notes += _like_labels(root)
    return Pairing(
        images=images,
        drawn=drawn,
        problems=tuple(problems),
        notes=tuple(notes),
        unused=unused,
        slices=slices,
        elsewhere=elsewhere,
    )


def images_elsewhere(root: Path) -> dict[str, str]:
    """Return the images of a dataset that lie elsewhere; empty where none is named.

    Parameters
    ----------
    root
        The dataset folder, which need not exist.
    """
    try:
        content = read_json(root / DESCRIPTION)
    except TopiaryError:
        return {}
    found = content.get(ELSEWHERE) if isinstance(content, dict) else None
    if not isinstance(found, dict):
        return {}
    return {name: path for name, path in found.items() if isinstance(path, str)}


def _with_slices(
    files: Mapping[str, Path], slices: Mapping[str, Slice]
) -> dict[str, Path]:
    """Put the slices of stacks where the stacks are."""
    images = {}
    for name, path in files.items():
        if count_slices(path) == 1:
            images[name] = path
        images |= {n: path for n, one in slices.items() if one.stack == name}
    return images


def _images_in(
    root: Path,
) -> tuple[dict[str, Path], list[str], list[str], tuple[tuple[str, Path], ...]]:
    """Return the images by name, problems, notes, and those with a twin."""
    found, others = _split(_files_of(root, "images"), readable_suffixes())
    found, parts = whole_images(found)
    notes = _unused("images", others, f"no image ({', '.join(readable_suffixes())})")
    names = {image_name(path) for path in found}
    masks = [path for path in found if _base(image_name(path), names) is not None]
    notes += parts
    if masks:
        notes.append(
            f"images/{_first(masks)} looks like the labels of another image: left out; "
            "move it into labels."
        )
    images, problems, twins = _unlike(
        (image_name(path), path) for path in found if path not in masks
    )
    return images, problems, notes, twins


def whole_images(paths: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """Leave out the files of an image that another one stands for, with a sentence.

    Parameters
    ----------
    paths
        Image files; those of an OME-TIFF over several are all of it, each.
    """
    given = list(paths)
    known = {path.absolute() for path in given}
    whole, notes = list[Path](), list[str]()
    for path in given:
        first = None if path.is_dir() else first_file_of(path)
        if first is None or first.absolute() not in known:
            whole.append(path)
        else:
            notes.append(f"{path.name} belongs to the image in {first.name}.")
    return whole, notes


def place_of(file: Path) -> str:
    """Return where a file of a dataset folder lies in it."""
    return f"{file.parent.name}/{file.name}"


def _files_of(root: Path, folder: str) -> list[Path]:
    """What lies in `images`, `labels`, `points` ..., in whatever case it is written."""
    homes = [p for p in visible_files(root) if p.name.casefold() == folder]
    return [path for home in homes for path in visible_files(home)]


def _like_labels(root: Path) -> list[str]:
    """A note for each folder that would be `labels` in other programs."""
    return [
        f"{path.name}: left out; a dataset has label images in a folder 'labels': "
        "rename it, or let napari-topiary import pair the files."
        for path in visible_files(root)
        if path.is_dir()
        and path.name.casefold() in LABEL_FOLDERS - set(annotation_kinds)
        and _split(visible_files(path), readable_suffixes())[0]
    ]


def image_name(path: Path) -> str:
    """Return the name of the image in a file: without `.tif`, `.ome.tif`, `.mrc.gz`.

    A table may have the ending of its image before its own: `a.mrc.star` is for `a`.

    Parameters
    ----------
    path
        The file; what cannot be in a name everywhere becomes `_`.
    """
    stem, suffixes = path.stem, readable_suffixes()
    ending = path.suffix.lower()
    has_two = ending in PACKED or (ending and ending not in suffixes)
    if has_two and Path(stem).suffix.lower() in suffixes:
        stem = Path(stem).stem
    is_ome = stem.lower().endswith(".ome") and len(stem) > 4
    return safe_name(stem[:-4] if is_ome else stem)


def safe_name(name: str) -> str:
    """Return the nearest name that can be a file's on every system.

    Parameters
    ----------
    name
        Any text; bytes of a file name that mean nothing become `_` too.
    """
    # macOS and old servers take "ö" for two letters, which look like one.
    name = unicodedata.normalize("NFC", name)
    safe = _UNSAFE.sub("_", name).strip()[:_LONGEST]  # a letter is a byte or more
    while safe != (inner := safe.strip().strip(".")) or len(inner.encode()) > _LONGEST:
        safe = inner if len(inner.encode()) <= _LONGEST else inner[:-1]
    return f"{safe}_" if safe.lower() in _DEVICES else safe or "image"


def unused_name(base: str, is_taken: Callable[[str], bool], *, joint: str = "-") -> str:
    """Return a name that is not taken: the one given, or with a number."""
    number, name = 1, base
    while is_taken(name):
        number += 1
        name = f"{base}{joint}{number}"
    return name


def visible_files(folder: Path) -> list[Path]:
    """Return what lies in a folder, in alphabetical order.

    Hidden files and those that operating systems leave behind are not among it.
    """
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if path.name[0] != "." and path.name.lower() not in _LEFT_BEHIND
    )


def _split(
    paths: Iterable[Path], suffixes: tuple[str, ...]
) -> tuple[list[Path], list[Path]]:
    """Files with one of the endings, and others."""
    good, others = list[Path](), list[Path]()
    for path in paths:
        fits = path.suffix.lower() in suffixes
        fits = fits and (is_image(path) or not path.is_dir())
        (good if fits else others).append(path)
    return good, others


def _owner(path: Path, images: Mapping[str, Path], *, masks: bool) -> str | None:
    """The image that a file belongs to."""
    name = image_name(path)
    wanted_names = [name, (OF_LABELS if masks else OF_TABLES).sub("", name)]
    if Path(name).suffix.lower() in readable_suffixes():
        wanted_names.append(image_name(Path(name)))  # a.tif.csv
    for wanted in wanted_names:
        if wanted in images:
            return wanted
        alike = [
            image
            for image in images
            if wanted.casefold()
            in (image.casefold(), OF_IMAGES.sub("", image).casefold())
        ]
        if len(alike) == 1:
            return alike[0]
    return None


def _base(name: str, names: set[str]) -> str | None:
    """The image of which `name` are the masks by its name."""
    base = OF_LABELS.sub("", name)
    return base if base != name and base in names else None


def _unlike(
    pairs: Iterable[tuple[str, Path]],
) -> tuple[dict[str, Path], list[str], tuple[tuple[str, Path], ...]]:
    """One file for each name, sentences about names that have several, and those."""
    by_name: defaultdict[str, list[Path]] = defaultdict(list)
    for name, path in pairs:
        by_name[name].append(path)
    several = {name: paths for name, paths in by_name.items() if len(paths) > 1}
    sentences = [
        f"{paths[0].parent.name}: {' and '.join(path.name for path in paths)} have the "
        f"same name {name!r}: keep one of them here, or rename the other."
        for name, paths in several.items()
    ]
    single = {n: paths[0] for n, paths in by_name.items() if n not in several}
    twins = tuple((name, path) for name, paths in several.items() for path in paths)
    return single, sentences, twins


def _unused(folder: str, paths: list[Path], why: str) -> list[str]:
    if not paths:
        return []
    if all(path.is_dir() for path in paths):
        why = "a folder" if len(paths) == 1 else "folders"
    paths = sorted(paths, key=lambda path: not elsewhere(path))
    if advice := elsewhere(paths[0]):  # the list of endings helps nobody, then
        return [f"{folder}/{_first(paths)}: left out. {advice}"]
    return [f"{folder}/{_first(paths)}: left out, {why}."]


def _first(paths: list[Path]) -> str:
    more = f" (and {len(paths) - 1} more)" if len(paths) > 1 else ""
    return f"{paths[0].name}{more}"
