"""What a file of another program marks on images, and the register of such formats.

A new format is one new file in this folder with `@annotation_formats.register("name")`
on a class; it is found by itself. One that is written too has a method `write`, one
that programs draw into the files of images a method `inside`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_topiary.errors import TopiaryError
from napari_topiary.io.plain_files import check_plain_file, refusing_damage
from napari_topiary.registry import Registry

Places = NDArray[np.float64]
"""`(n, 2)` y, x."""
Unit = Literal["pixel", "nm", "fraction"]
HEAD_BYTES = 4096
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
CORNER = 0.5
"""Where programs count from the corner of the first pixel, its middle is at 0.5."""


@dataclass(frozen=True, eq=False)
class DrawnArea:
    """An outlined or painted area."""

    #: Outlines, `(v, 2)` y, x of each, pixel centres at integers; what lies in an even
    #: number of them is a hole
    rings: tuple[Places, ...]
    name: str = ""  #: Class; empty if the file names none
    mask: NDArray[np.bool_] | None = None  #: `(y, x)` bool instead of outlines


@dataclass(frozen=True, eq=False, kw_only=True)
class Marks:
    """What a file marks on one image."""

    places: Places  #: `(n, 2)` y, x of centres, pixel centres at integers
    classes: tuple[str, ...]  #: Class of each place; empty text if the file names none
    scores: tuple[float, ...] | None = None  #: Of each place, None if there are none
    #: Half a side of the box around each place in pixels, None if there is none
    radius: tuple[float, ...] | None = None
    #: `lines`, `line_classes`: `(v, 2)` y, x of each line, and its class
    lines: tuple[Places, ...] = ()
    line_classes: tuple[str, ...] = ()
    areas: tuple[DrawnArea, ...] = ()  #: Outlined or painted areas
    #: Name of the image in the file; empty if the file is about one image and does not
    #: name it
    image: str = ""
    #: What places and lines are in: pixels, nm, or fractions of height and width
    unit: Unit = "pixel"
    #: nm per pixel that the file gives for the image, None if it does not
    scale: float | None = None
    #: `(y, x)` of the image by what the file says, None if it does not
    shape: tuple[int, int] | None = None
    #: Which slice of a stack it is about, from 0; None where the file does not say
    slice: int | None = None

    def __len__(self) -> int:
        """Count what is marked."""
        return len(self.places) + len(self.lines) + len(self.areas)

    @property
    def image_file(self) -> str:
        """Name of the image without folders, with an ending if it is given one."""
        path = unicodedata.normalize("NFC", self.image.replace("\\", "/"))
        name = PurePosixPath(path).name
        # Slices of a stack are written 000001@name.mrcs.
        return name.rpartition("@")[2]

    @property
    def image_stem(self) -> str:
        """Name of the image without folders and what seems to be an ending."""
        name = self.image_file
        stem, dot, ending = name.rpartition(".")
        known = dot and 1 <= len(ending) <= 5 and not ending.isdigit()
        stem = stem if known else name
        return stem[:-4] if stem.lower().endswith(".ome") else stem


def marks(
    places: Sequence[Sequence[float]] | Places = (),
    classes: Sequence[str] | str = "",
    **others: object,
) -> Marks:
    """Return marks, one class for all or one for each.

    Parameters
    ----------
    places
        `(n, 2)` y, x.
    classes
        One name, or one for each.
    **others
        What `Marks` has besides.
    """
    where = np.asarray(places, dtype=np.float64).reshape(-1, 2)
    names = (classes,) * len(where) if isinstance(classes, str) else tuple(classes)
    return Marks(places=where, classes=names, **others)  # type: ignore[arg-type]


class Collector:
    """Gathers what a file marks on one image, one thing after the other."""

    def __init__(self) -> None:
        self._places, self._classes = list[Any](), list[str]()
        self._lines, self._line_classes = list[Places](), list[str]()
        self.areas = list[DrawnArea]()

    def add_places(self, places: Sequence[Any] | Places, name: str) -> None:
        """Add centres `(n, 2)` y, x of one class."""
        self._places += list(places)
        self._classes += [name] * len(places)

    def add_line(self, path: Places, name: str) -> None:
        """Add a line `(v, 2)` y, x."""
        self._lines.append(path)
        self._line_classes.append(name)

    def add_area(
        self, rings: Iterable[Places], name: str, mask: NDArray[np.bool_] | None = None
    ) -> None:
        """Add an outlined area, or a painted one."""
        self.areas.append(DrawnArea(tuple(rings), name, mask))

    def marks(self, **others: object) -> Marks:
        """Return all of it, with `others` that `Marks` has."""
        return marks(
            self._places,
            self._classes,
            lines=tuple(self._lines),
            line_classes=tuple(self._line_classes),
            areas=tuple(self.areas),
            **others,
        )


class AnnotationFormat(Protocol):
    """Reads one format of annotation files."""

    title: ClassVar[str]
    """What people call it."""
    details: ClassVar[str]
    """Which kinds of it are read."""
    marks: ClassVar[str]
    """What is taken from it."""
    suffixes: ClassVar[tuple[str, ...]]
    """File name endings in lower case, with the dot."""

    @staticmethod
    def fits(head: bytes) -> bool:
        """Whether a file with one of the endings begins like one of this format."""
        ...

    @staticmethod
    def read(path: Path) -> list[Marks]:
        """Read what is marked, for each image that the file is about."""
        ...


class WritingFormat(AnnotationFormat, Protocol):
    """Writes a format too."""

    ending: ClassVar[str]
    """What the name of a written file ends in, behind that of the image."""
    only_places: ClassVar[bool]
    """Whether outlines of areas cannot be written."""
    names_classes: ClassVar[bool]
    """Whether the class of each mark is kept."""

    @staticmethod
    def write(path: Path, marked: Marks) -> None:
        """Write what is marked on one image."""
        ...


annotation_formats: Registry[type[AnnotationFormat]] = Registry("annotation format")
"""Every format of annotation files by name."""


def readable_tables() -> tuple[str, ...]:
    """Return the endings of files that may hold annotations, with the dot."""
    formats = (annotation_formats[name] for name in annotation_formats)
    return tuple(sorted({suffix for one in formats for suffix in one.suffixes}))


def writing_formats() -> dict[str, type[WritingFormat]]:
    """Return the formats that can be written, by name."""
    found: dict[str, Any] = {n: annotation_formats[n] for n in annotation_formats}
    return {name: one for name, one in found.items() if hasattr(one, "write")}


_ELSEWHERE = (
    (
        r'"shape_attributes"|"_via_|\bregion_shape_attributes\b',
        "the VGG Image Annotator",
        "export the annotations in its COCO format",
    ),
    (
        r"\bEncodedPixels\b",
        "the Data Science Bowl",
        "take the masks of the same set, a PNG for each object",
    ),
    (r'"boxes"\s*:', "EMAN2", "write the boxes as .box in e2boxer"),
    (r'^\s*\[.*"image_id"', "COCO results", "give COCO with its list of images"),
    (r"<ASAP_", "ASAP", "open it in QuPath and export GeoJSON"),
    (r"<annotations>.*<image\b", "CVAT", "export it as COCO 1.0"),
    (r"<ndpviewstate", "NDP.view", "open it in QuPath and export GeoJSON"),
    (r"<annotation>", "Pascal VOC", "convert it to COCO"),
    (r"<TrackMate", "TrackMate", "export its label image, or the spots as y and x"),
    (r"<CellCounter", "Fiji's Cell Counter", "press Measure there and save the table"),
    (r"^NUMPY", "numpy or Cellpose", "save masks as PNG or TIFF"),
    (
        r"^\d+ [01]\.\d+ [01]\.\d+ [01]\.\d+ [01]\.\d+\s",
        "YOLO",
        "convert it to COCO, which has pixels",
    ),
    (r"^IMODV", "IMOD", "write its points with model2point"),
)
"""How files of other programs begin, whose they are, and what helps."""


def format_of(path: Path) -> str:
    """Return the name of the format that a file has, by its ending and beginning.

    Raises
    ------
    TopiaryError
        With a sentence if there is none.
    """
    check_plain_file(path, "annotation file")
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    alike = [
        name
        for name in annotation_formats
        if path.suffix.lower() in annotation_formats[name].suffixes
    ]
    for name in alike:
        if annotation_formats[name].fits(head):
            return name
    text = head_text(head)
    for pattern, whose, cure in _ELSEWHERE:
        if re.search(pattern, text, re.DOTALL):
            raise TopiaryError(
                f"{path.name} has annotations of {whose}, which cannot be read here: "
                f"{cure}."
            )
    known = ", ".join(annotation_formats[n].title for n in alike or annotation_formats)
    raise TopiaryError(
        f"{path.name} is no annotation file that is known here: it could be {known}, "
        "but does not begin like one."
    )


def read_marks(path: Path) -> list[Marks]:
    """Read what a file of another program marks, for each image that it is about.

    Raises
    ------
    TopiaryError
        With a sentence if it cannot be read.
    """
    reader = annotation_formats[format_of(path)]
    with refusing_damage(
        path.name,
        f"{path.name} cannot be read as {reader.title} ({{reason}}): export it again.",
    ):
        return reader.read(path)


def marks_inside(path: Path) -> tuple[str, list[Marks]]:
    """Return what programs have drawn into the file of an image, and in which format.

    Raises
    ------
    TopiaryError
        With a sentence if it cannot be read.
    """
    with refusing_damage(
        path.name, f"what is drawn in {path.name} cannot be read ({{reason}})."
    ):
        for name in annotation_formats:
            reader: Any = annotation_formats[name]
            found = reader.inside(path) if hasattr(reader, "inside") else []
            if any(map(len, found)):
                return name, found
    return "", []


def is_text(head: bytes) -> bool:
    """Whether a file begins as text does, in whatever encoding."""
    return b"\0" not in head or head.startswith(_UTF_16)


def head_text(head: bytes) -> str:
    """Return the beginning of a text file in whatever encoding it has."""
    if head.startswith(_UTF_16):
        return head[: len(head) // 2 * 2].decode("utf-16", errors="ignore")
    return head.decode("utf-8-sig", errors="ignore")


def row_words(line: str) -> list[str]:
    """Return the numbers of a line without names, which may have decimal commas."""
    words = line.replace(";", " ").split()
    if len(words) > 1 and not any(w.startswith(",") or w[-1] == "," for w in words):
        return [word.replace(",", ".") for word in words]
    return line.replace(",", " ").replace(";", " ").split()


def stated_shape(height: object, width: object) -> tuple[int, int] | None:
    """Return the size of an image as a file has it; None if it says nothing of use."""
    if isinstance(height, int) and isinstance(width, int) and min(height, width) > 0:
        return height, width
    return None


def number(text: object, where: str) -> float:
    """Return a finite number, or a sentence about where there is none."""
    try:
        value = float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        value = float("nan")
    if not np.isfinite(value):
        raise TopiaryError(
            f"{where} has {str(text)[:40]!r} where a number has to be: correct or "
            "delete it."
        )
    return value


def check_one_slice(slices: Iterable[object], file: str) -> None:
    """Refuse what is marked on several slices of a stack where one image is wanted.

    Parameters
    ----------
    slices
        That of each mark, as the file has it.
    file
        Its name, for the sentence.
    """
    known = {str(one).strip().lower() for one in slices} - {"", "<na>", "nan", "none"}
    if len(known) > 1:
        raise TopiaryError(
            f"{file} marks {len(known)} slices of a stack, but single images are "
            "imported: save each slice, and what is marked on it, as files of their "
            "own."
        )


def by_image(names: Sequence[str]) -> dict[str, list[int]]:
    """Return the rows of a table for each image that it names, in the file's order."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        rows.setdefault(name, []).append(row)
    return rows
