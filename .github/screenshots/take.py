"""Take the pictures of the README anew: every page once, and the story as an animation.

Run from the top of the repository, on a screen or a virtual one, with nothing else
running: `.ci/with-screen .venv/bin/python .github/screenshots/take.py`.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import napari
from PIL import Image
from qtpy.QtCore import QBuffer
from qtpy.QtWidgets import QApplication, QPushButton, QWidget

from napari_topiary._napari.prune.panel import CompressionSlider
from napari_topiary._napari.workbench import open_workbench

ANIMATED_WIDTH = 960
FRAME_MS = 150
"""A frame stays this long; one that is to be read, as long as `Story.keep` says."""


class Story:
    """A window that is photographed while somebody works in it."""

    def __init__(self, folder: Path, size: tuple[int, int], theme: str) -> None:
        self.folder = folder
        self.viewer = napari.Viewer(show=True)
        self.viewer.theme = theme
        self.window = self.viewer.window._qt_window
        self.size = size
        self.workbench = open_workbench(self.viewer)
        self.frames: list[Image.Image] = []
        self.durations: list[int] = []
        self.live(1)

    def live(self, seconds: float, *, film: bool = False) -> None:
        """Let the window live so long; `film` keeps a frame at every step."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.window.resize(*self.size)
            step = min(end, time.monotonic() + FRAME_MS / 1000)
            while time.monotonic() < step:
                QApplication.processEvents()
                time.sleep(0.005)
            if film:
                self.keep(FRAME_MS)

    def until(self, done: Callable[[], bool], seconds: float) -> None:
        """Let the window live until something is true, at most so long."""
        end = time.monotonic() + seconds
        while not done() and time.monotonic() < end:
            self.live(0.3)

    def picture(self) -> Image.Image:
        """Return the window as it is."""
        buffer = QBuffer()
        buffer.open(QBuffer.OpenModeFlag.WriteOnly)
        self.window.grab().save(buffer, "PNG")
        return Image.open(BytesIO(buffer.data().data())).convert("RGB")

    def keep(self, milliseconds: int) -> None:
        """Add the window as it is to the animation."""
        shown = self.picture()
        height = round(shown.height * ANIMATED_WIDTH / shown.width)
        self.frames.append(shown.resize((ANIMATED_WIDTH, height), Image.LANCZOS))
        self.durations.append(milliseconds)

    def page(self, title: str, wait_s: float) -> QWidget:
        """Turn to a page."""
        self.workbench.show_page(title)
        self.live(wait_s)
        return self.workbench.page(title)

    def photograph(self, name: str, milliseconds: int = 1500) -> None:
        """Save the window as it is as the picture of a page."""
        self.picture().save(self.folder / f"{name}.png", optimize=True)
        self.keep(milliseconds)

    def press(self, page: QWidget, words: str) -> None:
        """Press the button of a page that begins with some words."""
        for button in page.findChildren(QPushButton):
            named = button.text().replace("&", "")
            if named.startswith(words) and button.isVisible() and button.isEnabled():
                button.click()
                return
        raise SystemExit(f"There is no button “{words}” that can be pressed.")

    def animate(self) -> None:
        """Write the animation."""
        first, *others = self.frames
        first.save(
            self.folder / "story.webp",
            save_all=True,
            append_images=others,
            duration=self.durations,
            loop=0,
            quality=55,
            method=4,
        )


def tell(story: Story) -> None:
    """From a sample to two networks held side by side."""
    runner = story.workbench.runner
    story.workbench.open_sample("apoferritin")
    story.live(6)
    story.photograph("data")
    story.page("Annotate", 2)
    story.photograph("annotate")
    train = story.page("Train", 6)
    train.form.time.amount.setValue(0.5)
    story.press(train, "Train")
    story.live(6)
    for _ in range(14):
        story.live(1.5)
        story.keep(2 * FRAME_MS)
    story.until(lambda: not train.training, 120)
    story.live(4)
    story.photograph("train")
    prune = story.page("Prune", 8)
    slider = prune.findChild(CompressionSlider)
    for percent in (10, 25, 40, 50, 60, 70, 80):
        slider.number.setValue(float(percent))
        story.live(1.2)
        story.keep(2 * FRAME_MS)
    story.live(12)
    story.keep(1500)
    story.press(prune, "Fine-tune")
    story.live(3)
    for _ in range(8):
        story.live(2)
        story.keep(2 * FRAME_MS)
    story.until(lambda: not runner.running, 120)
    story.live(8)
    story.photograph("prune")
    story.press(story.page("Predict", 3), "Predict")
    story.until(lambda: not runner.running, 60)
    story.live(4)
    story.photograph("predict")
    compare = story.page("Compare", 4)
    story.until(lambda: not runner.running, 90)  # what was pruned is compared at once
    if compare.match is None:
        story.press(compare, "Compare")
        story.until(lambda: not runner.running, 90)
    story.live(6)
    story.photograph("compare", 2000)
    story.animate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--size", type=int, nargs=2, default=(1280, 800))
    parser.add_argument("--theme", choices=("dark", "light"), default="dark")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    tell(Story(given.out, tuple(given.size), given.theme))
    os._exit(0)  # nothing of this is to be saved or asked about


if __name__ == "__main__":
    main()
