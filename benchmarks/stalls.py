"""How long the window stands still: what a person feels when they press something.

    .ci/with-screen python benchmarks/stalls.py [--only WORD] [--huge SIDE] [--large]

A timer ticks every 4 ms in the window's own thread. Printed is, for each action, the
longest pause between two ticks from the moment of the action until the window has
settled, and how much of that pause its thread was computing: on a busy machine the
first counts what others did as well, the second does not.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import napari
import numpy as np
import zarr
from numpy.typing import NDArray
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_topiary._napari.workbench import open_workbench
from napari_topiary.annotations import Labels, Points
from napari_topiary.session import ImageEntry, contents
from napari_topiary.types import BACKGROUND, Detections, Prediction, Task

TICK_MS = 4
MARKS, IMAGES, SIDE = 10_000, 200, 8192
TASK = Task("detect", (BACKGROUND, "virion"), radius_nm={"virion": 20.0})


class Heart:
    """Beats in the window's thread, and remembers the longest pause."""

    def __init__(self) -> None:
        self.longest, self.computing = 0.0, 0.0
        self._last = (time.perf_counter(), time.thread_time())
        self._timer = QTimer()
        self._timer.timeout.connect(self._beat)
        self._timer.start(TICK_MS)

    def _beat(self) -> None:
        now = (time.perf_counter(), time.thread_time())
        pause = now[0] - self._last[0]
        if pause > self.longest:
            self.longest, self.computing = pause, now[1] - self._last[1]
        self._last = now

    def restart(self) -> None:
        """Forget what was."""
        self.longest, self.computing = 0.0, 0.0
        self._last = (time.perf_counter(), time.thread_time())


class Window:
    """A window with the workbench, and a heart that is listened to."""

    def __init__(self, only: str) -> None:
        self.only = only
        self.viewer = napari.Viewer(show=True)
        self.viewer.window._qt_window.resize(1280, 800)
        self.workbench = open_workbench(self.viewer)
        self.session, self.heart = self.workbench.session, Heart()
        self.live(8)  # what is loaded in the background is there

    def live(self, seconds: float, until: Callable[[], bool] | None = None) -> None:
        """Let the window live so long, or until something is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not (until and until()):
            QApplication.processEvents()
            time.sleep(0.001)

    @contextmanager
    def measured(self, what: str, settle_s: float = 2.5) -> Iterator[None]:
        """Print the longest pause of what is done inside, and shortly after."""
        self.live(1.0)
        self.heart.restart()
        yield
        self.live(settle_s)
        heart = self.heart
        if self.only in what:
            print(f"| {what} | {heart.longest:.2f} | {heart.computing:.2f} |")


def marks(number: int, side: int) -> Points:
    """A mark at each of these places."""
    return Points(places(number, side), ("virion",) * number)


def places(number: int, side: int) -> NDArray[np.float64]:
    """Places `(n, 2)` on a grid, each a little off it."""
    across = int(np.ceil(number**0.5))
    at = (np.indices((across, across)).reshape(2, -1).T[:number] + 0.5) * side / across
    at += np.random.default_rng(0).normal(0, 3, at.shape)
    return at.clip(0, side - 1)


def found(number: int, side: int) -> Prediction:
    """Detections near the marks, half of them a radius off."""
    rng = np.random.default_rng(1)
    places = marks(number, side).coordinates + rng.normal(0, 15, (number, 2))
    probability = rng.random((2, side // 8, side // 8), dtype=np.float32)
    return Prediction(
        probability=probability,
        shape=(side, side),
        task=TASK,
        scale=1.0,
        labels=np.zeros((side, side), np.uint8),
        detections=Detections(
            places.clip(0, side - 1), np.ones(number, np.int64), rng.random(number)
        ),
    )


def many_marks(window: Window) -> None:
    """Ten thousand marks, and as many particles found."""
    session = window.session
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (1, SIDE, SIDE), dtype=np.uint8)
    with window.measured(f"an image of {SIDE}² added"):
        session.add_image(ImageEntry("large", image, 1.0))
        session.set_task(TASK)
    with window.measured(f"{MARKS:,} marks shown"):
        session.set_annotations("large", (marks(MARKS, SIDE),))
    with window.measured("Annotate visited, with these marks"):
        page = window.workbench.show_page("Annotate")
    with window.measured(f"{MARKS:,} particles found, Annotate in front"):
        session.set_prediction("large", found(MARKS, SIDE))
    with window.measured("an answer to the first question of the review"):
        page.review.accept()
    page.pick_tool("point")
    with window.measured("one more mark"):
        page.drawing.layer("points").add(np.array([[50.0, 60.0]]))
    with window.measured("undo"):
        page.drawing.step("undo")
    with window.measured(f"a class renamed, {MARKS:,} marks"):
        session.rename_class("virion", "phage")
    with window.measured(f"a class added, {MARKS:,} marks"):
        contents.add_class(session, "dirt", "large")
    with window.measured("another theme"):
        window.viewer.theme = "light"
    window.viewer.theme = "dark"
    with window.measured("from Annotate to Data"):
        window.workbench.show_page("Data")
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "marks.csv"
        rows = np.c_[np.arange(MARKS), places(MARKS, SIDE)]
        head = "index,axis-0,axis-1"
        np.savetxt(table, rows, "%.1f", ",", header=head, comments="")
        with window.measured(f"{MARKS:,} points of a table opened in napari"):
            window.viewer.open(table, plugin="napari")
    page = window.workbench.show_page("Annotate")
    window.viewer.layers.selection.active = window.viewer.layers[-1]
    with window.measured("these taken as marks"):
        page.layer_button.click()


def painted(window: Window) -> None:
    """Two large images on which everything is painted, and a stroke."""
    session, rng = window.session, np.random.default_rng(0)
    cells = np.arange(1, 1 + 128 * 128, dtype=np.int32).reshape(128, 128)
    session.set_task(Task("instances", (BACKGROUND, "nucleus")))
    labels = np.kron(cells, np.ones((SIDE // 128, SIDE // 128), np.int32))
    for number, name in enumerate(("one", "other")):
        image = rng.integers(0, 255, (1, SIDE, SIDE), dtype=np.uint8)
        session.add_image(ImageEntry(name, image, 1.0))
        session.set_annotations(name, (Labels(np.roll(labels, 9 * number, 0), True),))
    data: Any = window.workbench.show_page("Data")
    data.open_image("one")
    with window.measured(f"{SIDE}², painted: to the other image"):
        data.open_image("other")
    page: Any = window.workbench.show_page("Annotate")
    with window.measured("Paint pressed"):
        page.tools.buttons["paint"].click()
    with window.measured(f"a stroke on {SIDE}²"):
        page.drawing.layer("labels").paint((4000, 4000), 3)
    with window.measured(f"{SIDE}², painted: to the first image, Annotate in front"):
        page.drawing.show("one")


def many_images(window: Window) -> None:
    """Two hundred images added, and the next one of the list."""
    rng = np.random.default_rng(0)
    entries = [
        ImageEntry(f"slice {n:03}", rng.integers(0, 255, (1, 250, 250), np.uint8), 1.0)
        for n in range(IMAGES)
    ]
    window.workbench.show_page("Data")
    with window.measured(f"{IMAGES} images added"):
        window.session.add_images(entries)
    data = window.workbench.page("Data")
    for name in ("slice 000", "slice 001"):
        data.open_image(name)
    with window.measured("the next image of the list"):
        data.open_image("slice 002")


def first_visits(window: Window) -> None:
    """Every page for the first time, with a sample open."""
    window.workbench.open_sample("apoferritin")
    window.live(6)
    for title in ("Annotate", "Train", "Prune", "Predict", "Compare"):
        with window.measured(f"first visit of {title}"):
            window.workbench.show_page(title)


def training(window: Window) -> None:
    """A running training with its live preview, and what follows."""
    workbench = window.workbench
    page = workbench.show_page("Train")
    window.live(4)
    page.form.time.amount.setValue(0.3)
    with window.measured("Train pressed", 1.0):
        page.train_button.click()
    with window.measured("a running training with its preview", 0.1):
        window.live(15)
    with window.measured("the training ends", 3.0):
        window.live(60, until=lambda: not page.training)
    prune = workbench.show_page("Prune")
    window.live(15, until=lambda: prune.live.ready is not None)
    window.live(8)
    with window.measured("the slider of Prune moved five times"):
        for share in (30.0, 50.0, 60.0, 70.0, 80.0):
            prune.slider.number.setValue(share)
            window.live(0.6)
    prune.keep("small")
    window.live(30, until=lambda: len(window.session.checkpoints) > 1)


def predicting(window: Window) -> None:
    """One image predicted, the threshold moved."""
    page = window.workbench.show_page("Predict")
    window.live(2)
    with window.measured("one image predicted", 4.0):
        page.on_run()
        window.live(30, until=lambda: not page.predicting)
    with window.measured("the threshold moved five times"):
        for threshold in (0.2, 0.3, 0.5, 0.6, 0.7):
            page.form.threshold.setValue(threshold)
            window.live(0.4)


def comparing(window: Window) -> None:
    """The modes of Compare, one after the other."""
    page = window.workbench.show_page("Compare")
    window.live(2)
    page.compare()
    window.live(60, until=lambda: page.match is not None)
    window.live(3)
    for mode in ("side", "difference", "flicker", "curtain"):
        with window.measured(f"Compare: to {mode}"):
            page.result.modes.buttons[mode].click()
    with window.measured("Compare left"):
        window.workbench.show_page("Predict")


def huge(window: Window, side: int) -> None:
    """An image that is never read whole: opened, moved, on the screen of Data."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "slide.zarr"
        array = zarr.create_array(
            file, shape=(side, side), chunks=(1024, 1024), dtype="uint8", fill_value=90
        )
        array[:4096, :4096] = np.random.default_rng(0).integers(0, 255, (4096, 4096))
        window.workbench.show_page("Data")
        with window.measured(f"an image of {side:,}² opened in napari", 8.0):
            window.viewer.open(file, plugin="napari-topiary")
        with window.measured("moved and zoomed in it"):
            for zoom in (0.05, 0.2, 1.0):
                window.viewer.scene.camera.zoom = zoom
                window.viewer.scene.camera.center = (0, 2000, 2000)
                window.live(0.8)


STORY = (first_visits, training, predicting, comparing, many_images)
"""One after the other: each goes on with what the one before has left."""
APART = (many_marks, painted)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="lines with this in them")
    parser.add_argument("--huge", type=int, default=40_000, help="side of the largest")
    parser.add_argument("--large", action="store_true", help="only large images")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["NAPARI_TOPIARY_HOME"] = home
        print("| action | longest pause, s | of it computing, s |\n| --- | --- | --- |")
        window = Window(options.only)
        for part in () if options.large else STORY:
            part(window)
        for part in APART:
            window.session.clear(keep_checkpoints=False)
            window.viewer.layers.clear()
            part(window)
        window.session.clear(keep_checkpoints=False)
        huge(window, options.huge)
    os._exit(0)  # nothing of this is to be saved or asked about


if __name__ == "__main__":
    main()
