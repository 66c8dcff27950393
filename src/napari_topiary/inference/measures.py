"""What was found, measured: a row for each thing, and for each image and class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_topiary.annotations import Table
from napari_topiary.annotations.label_images import EIGHT
from napari_topiary.data.working_grid import to_original
from napari_topiary.postprocessing import line_lengths
from napari_topiary.types import Detections, Image, LabelImage, Prediction, Task

OBJECT_COLUMNS = (
    "object", "kind", "class", "score", "axis-0", "axis-1", "y_nm", "x_nm",
    "area_px", "area_nm2", "diameter_px", "diameter_nm", "length_px", "length_nm",
    "mean_intensity",
)  # fmt: skip
SUMMARY_COLUMNS = (
    "image", "class", "count", "density_per_um2", "lines", "lines_length_nm",
    "covered_share", "area_px", "area_um2", "pixel_size_nm", "complete",
    "threshold", "network",
)  # fmt: skip
NM2_PER_UM2 = 1e6


def objects_table(
    prediction: Prediction | Counted, image: Image | None = None
) -> Table:
    """Measure everything that was found in one image.

    Particles have a place and a score: how large each is was not measured but learned,
    so area and diameter are empty. Areas and objects have their area, the diameter of
    a disc of that area, and the long axis of the ellipse that is spread as they are;
    filaments have their length. What is in nm is empty where the pixel size is unknown.

    Parameters
    ----------
    prediction
        Of the image.
    image
        `(c, y, x)`, for the mean intensity (of all channels); None = left empty.

    Returns
    -------
    Table
        `OBJECT_COLUMNS`, one row for each particle, filament, object or connected area
        of a class; `object` is the number in the labels of a task of objects.
    """
    grey = None if image is None else np.asarray(image, dtype=np.float64).mean(axis=0)
    if prediction.task.kind == "detect":
        rows = _found_rows(prediction, grey)
    elif isinstance(prediction, Prediction):
        rows = _area_rows(prediction, grey)
    else:
        rows = _summed_rows(prediction.areas, prediction.task)
    scale = prediction.scale
    for row in rows:
        if scale is not None:
            row["y_nm"], row["x_nm"] = row["axis-0"] * scale, row["axis-1"] * scale
            for name, unit, power in (
                ("area", "nm2", 2), ("diameter", "nm", 1), ("length", "nm", 1)
            ):  # fmt: skip
                if row.get(f"{name}_px") is not None:
                    row[f"{name}_{unit}"] = row[f"{name}_px"] * scale**power
    return {name: [_short(row.get(name)) for row in rows] for name in OBJECT_COLUMNS}


@dataclass(frozen=True, eq=False)
class Areas:
    """What was summed over the pixels of areas or objects."""

    #: `(n, 9)`: their number, then `pixel_figures`
    sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 9)))
    class_index: tuple[int, ...] = ()  #: `(n,)`


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What was found in an image of any size, without its maps."""

    shape: tuple[int, int]  #: `(y, x)` of the image in pixels
    task: Task  #: Kind and classes
    scale: float | None  #: nm per pixel, None if unknown
    detections: Detections  #: In pixels of the image
    counts: Mapping[int, int]  #: By class index: particles, objects, or connected areas
    covered: Mapping[int, int]  #: By class index: pixels of the labels
    looked_at: float  #: Share of the image that the network has looked at
    checkpoint: str  #: Name or hash of what made it
    #: Sums over the pixels of its objects or areas, where they were wanted
    areas: Areas = field(default_factory=Areas)


def summary_rows(
    name: str,
    prediction: Prediction | Counted,
    *,
    thresholds: Mapping[str, float] | None = None,
    network: str = "",
) -> list[dict[str, Any]]:
    """Count what was found in one image, a row for each class.

    Parameters
    ----------
    name
        Of the image.
    prediction
        Of it.
    thresholds
        By class: where its probability was read.
    network
        How the network is called; empty = as the prediction calls it.

    Returns
    -------
    list
        Each with `SUMMARY_COLUMNS`. Densities are per µm² of what the network has
        looked at, and None where the pixel size is unknown.
    """
    counted = prediction if isinstance(prediction, Counted) else counts_of(prediction)
    found, task, scale = counted.detections, counted.task, counted.scale
    lengths = line_lengths(found.lines)
    area = counted.looked_at * counted.shape[0] * counted.shape[1]
    um2 = None if scale is None else area * scale**2 / NM2_PER_UM2
    rows = []
    for index, class_name in enumerate(task.classes[1:], start=1):
        lines = found.line_class == index
        count, covered = counted.counts[index], counted.covered[index]
        length = float(lengths[lines].sum()) if lines.any() else None
        row = {
            "image": name,
            "class": class_name,
            "count": count,
            "density_per_um2": count / um2 if um2 else None,
            "lines": int(lines.sum()) if task.kind == "detect" else None,
            "lines_length_nm": length * scale if length and scale else None,
            "covered_share": covered / area if area else None,
            "area_px": round(area),
            "area_um2": um2,
            "pixel_size_nm": scale,
            "complete": counted.looked_at == 1,
            "threshold": (thresholds or {}).get(class_name),
            "network": network or counted.checkpoint,
        }
        rows.append({column: _short(value) for column, value in row.items()})
    return rows


def counts_of(prediction: Prediction) -> Counted:
    """Count what was found in one image."""
    task, labels = prediction.task, prediction.labels
    counts, covered = dict[int, int](), dict[int, int]()
    for index in range(1, len(task.classes)):
        own = labels > 0 if task.kind == "instances" else labels == index
        covered[index] = int(own.sum())
        if task.kind == "detect":
            counts[index] = int((prediction.detections.class_index == index).sum())
        elif task.kind == "instances":
            counts[index] = int(np.count_nonzero(np.bincount(labels.ravel())[1:]))
        else:
            counts[index] = int(ndi.label(own, structure=EIGHT)[1])
    return Counted(
        shape=prediction.shape,
        task=task,
        scale=prediction.scale,
        detections=prediction.detections,
        counts=counts,
        covered=covered,
        looked_at=1.0 if prediction.done is None else float(prediction.done.mean()),
        checkpoint=prediction.checkpoint,
    )


def numbered_areas(prediction: Prediction) -> tuple[LabelImage, list[int]]:
    """Return areas or objects as numbers 1..n, and the class index of each.

    Parameters
    ----------
    prediction
        Of a task that paints; connected pixels of one class are one area.
    """
    labels = prediction.labels
    if prediction.task.kind == "instances":
        return labels, [1] * int(labels.max(initial=0))
    numbers, classes = np.zeros(labels.shape, dtype=np.int32), list[int]()
    for index in range(1, len(prediction.task.classes)):
        areas, count = ndi.label(labels == index, structure=EIGHT)
        np.copyto(numbers, areas + len(classes), where=areas > 0)
        classes += [index] * count
    return numbers, classes


def _found_rows(
    prediction: Prediction | Counted, grey: NDArray[np.float64] | None
) -> list[dict[str, Any]]:
    """Rows of particles and filaments."""
    found, task = prediction.detections, prediction.task
    rows = []
    for place, index, score in zip(
        found.coordinates, found.class_index, found.score, strict=True
    ):
        name = task.classes[index]
        radius = task.radius(name, prediction.scale)
        rows.append(
            {
                "kind": "particle", "class": name, "score": score,
                "axis-0": place[0], "axis-1": place[1],
                "mean_intensity": _disc_mean(grey, place, radius),
            }
        )  # fmt: skip
    for line, index, score, length in zip(
        found.lines,
        found.line_class,
        found.line_score,
        line_lengths(found.lines),
        strict=True,
    ):
        middle = line[len(line) // 2]
        rows.append(
            {
                "kind": "filament", "class": task.classes[index], "score": score,
                "axis-0": middle[0], "axis-1": middle[1], "length_px": length,
                "mean_intensity": _at_places(grey, line),
            }
        )  # fmt: skip
    for number, row in enumerate(rows, start=1):
        row["object"] = number
    return rows


def _area_rows(
    prediction: Prediction, grey: NDArray[np.float64] | None
) -> list[dict[str, Any]]:
    """Rows of areas or objects, all measured in one pass over their pixels."""
    numbers, classes = numbered_areas(prediction)
    y, x = np.nonzero(numbers)
    index = numbers[y, x] - 1
    count = len(classes)

    def total(values: NDArray[Any]) -> NDArray[np.float64]:
        sums = np.bincount(index, weights=values, minlength=count)
        return sums.astype(np.float64)

    size = np.bincount(index, minlength=count).astype(np.float64)
    safe = np.maximum(size, 1)
    middle_y, middle_x = total(y) / safe, total(x) / safe
    off_y, off_x = y - middle_y[index], x - middle_x[index]
    # Each pixel is a square, and not a point: 1/12 is how far one is spread.
    yy, xx = total(off_y**2) / safe + 1 / 12, total(off_x**2) / safe + 1 / 12
    xy = total(off_y * off_x) / safe
    probability = to_original(prediction.probability, prediction.shape)
    of_pixel = np.asarray(classes, dtype=np.intp)[index]
    score = total(probability[of_pixel, y, x]) / safe
    bright = np.full(count, np.nan)
    if grey is not None:
        values = grey[y, x]
        known = np.isfinite(values)
        bright = _mean_known(total(np.where(known, values, 0)), total(known))
    figures = (size, middle_y, middle_x, yy, xx, xy, score, bright)
    return _figure_rows(figures, classes, prediction.task)


def _summed_rows(areas: Areas, task: Task) -> list[dict[str, Any]]:
    """Rows of areas or objects that were summed block by block."""
    size, y, x, yy, xx, xy, score, bright, known = areas.sums.T
    safe = np.maximum(size, 1)
    y, x = y / safe, x / safe
    spread = (yy / safe - y**2 + 1 / 12, xx / safe - x**2 + 1 / 12, xy / safe - y * x)
    figures = (size, y, x, *spread, score / safe, _mean_known(bright, known))
    return _figure_rows(figures, areas.class_index, task)


def pixel_figures(
    y: NDArray[Any],
    x: NDArray[Any],
    probability: NDArray[Any],
    grey: NDArray[Any] | None,
) -> tuple[NDArray[np.float64], ...]:
    """Return what is summed over the pixels of an area; their number comes first.

    Parameters
    ----------
    y, x
        `(n,)` where they are.
    probability
        `(n,)` of their class.
    grey
        `(n,)` their brightness; None = not wanted.
    """
    y, x = y.astype(np.float64), x.astype(np.float64)
    if grey is None:
        grey = np.full(len(y), np.nan)
    known = np.isfinite(grey)
    bright = np.where(known, grey, 0).astype(np.float64)
    score = probability.astype(np.float64)
    return y, x, y * y, x * x, y * x, score, bright, known.astype(np.float64)


def _mean_known(total: NDArray[np.float64], known: NDArray[Any]) -> NDArray[np.float64]:
    """Mean brightness of the pixels that have one; else not a number."""
    nothing = np.full(len(total), np.nan)
    return np.asarray(np.divide(total, known, out=nothing, where=known > 0))


def _figure_rows(
    figures: tuple[NDArray[np.float64], ...], classes: Sequence[int], task: Task
) -> list[dict[str, Any]]:
    """Rows of areas: pixels, middle, spread along the axes, score and brightness."""
    size, y, x, yy, xx, xy, score, bright = figures
    long = 4 * np.sqrt((yy + xx) / 2 + np.sqrt(((yy - xx) / 2) ** 2 + xy**2))
    return [
        {
            "object": i + 1,
            "kind": "object" if task.kind == "instances" else "area",
            "class": task.classes[classes[i]],
            "score": score[i],
            "axis-0": y[i],
            "axis-1": x[i],
            "area_px": size[i],
            "diameter_px": 2 * np.sqrt(size[i] / np.pi),
            "length_px": long[i],
            "mean_intensity": None if np.isnan(bright[i]) else bright[i],
        }
        for i in range(len(size))
        if size[i]
    ]


def _disc_mean(
    grey: NDArray[np.float64] | None, place: NDArray[np.float64], radius: float | None
) -> float | None:
    """Mean of an image in a disc, as far as it lies in the image."""
    if grey is None:
        return None
    reach = max(radius or 0.0, 0.5)
    low = np.clip(np.ceil(place - reach), 0, np.array(grey.shape) - 1).astype(int)
    high = np.clip(np.floor(place + reach), low, np.array(grey.shape) - 1).astype(int)
    y, x = np.mgrid[low[0] : high[0] + 1, low[1] : high[1] + 1]
    inside = np.hypot(y - place[0], x - place[1]) <= reach
    return _mean(grey[y, x][inside] if inside.any() else grey[y, x].ravel())


def _at_places(
    grey: NDArray[np.float64] | None, places: NDArray[np.float64]
) -> float | None:
    if grey is None:
        return None
    y, x = np.clip(np.rint(places).astype(int), 0, np.array(grey.shape) - 1).T
    return _mean(grey[y, x])


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.mean(known)) if len(known) else None


def _short(value: Any) -> Any:
    """Numbers in so many digits as mean something, nothing for what is not known."""
    if isinstance(value, float | np.floating):
        return float(f"{float(value):.7g}") if np.isfinite(value) else None
    return value
