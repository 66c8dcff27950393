"""The card of the Prune page: what the position of the slider costs and gains."""

from __future__ import annotations

from napari_topiary._napari.prune.before_after import BeforeAfter, Row
from napari_topiary._napari.prune.resting import Speeds
from napari_topiary._napari.prune.view import Look
from napari_topiary._napari.widgets import words
from napari_topiary.evaluation.quality import Quality
from napari_topiary.pruning import PlanStatistics

ROWS = (
    Row(
        "weights", "Weights", "Numbers that the network has learned; zeros not counted."
    ),
    Row(
        "file", "File", "Size of the saved checkpoint. Weights at zero are not stored."
    ),
    Row(
        "macs",
        "MACs / pixel",
        "Multiplications for each pixel that the network reads. Only removing filters "
        "lowers it.",
    ),
    Row(
        "speed",
        "Time / Mpx",
        "Measured on this computer, both networks in turns: the time for one megapixel "
        "(a million pixels)\nof your image, shrunk to the pixel size that the network "
        "reads. Weights that are zero are computed like all others.",
    ),
    Row(
        "memory",
        "Memory",
        "Of all layers' results, for one megapixel (a million pixels) of your image.",
    ),
    Row(
        "agreement",
        "Same pixels",
        "Share of the visible pixels that get the same answer as before pruning, each "
        "network at its own\nbest threshold. Where most is background, even a useless "
        "network scores high: look at the\nimage, and at the quality below.",
    ),
    Row(
        "same",
        "Found again",
        "Of the particles that the unpruned network finds in the visible area, those "
        "that are still found.",
    ),
    Row(
        "quality",
        "Quality",
        "On annotated areas that it has not learned from, each network at its own best "
        "threshold.",
    ),
    Row(
        "common",
        "… at 0.5",
        "Both networks at a threshold of 0.5. Pruning shifts how sure a network is "
        "before it costs quality:\nwhat falls only here comes back with another "
        "threshold, or with a short fine-tuning.",
    ),
)


class PruneCard(BeforeAfter):
    """Before and after pruning."""

    def __init__(self) -> None:
        super().__init__(ROWS)
        self._before: PlanStatistics | None = None
        self._area = 1.0

    def set_network(self, before: PlanStatistics, factor: float) -> None:
        """Show the network as it is before the slider moves.

        Parameters
        ----------
        before
            Statistics of the first position.
        factor
            Image pixels per pixel that the network reads, to one side.
        """
        self.forget()
        self._before, self._area = before, factor**2
        self.set_row("weights", before=words.count(before.nonzero))
        self.set_row("file", before=words.file_size(before.file_bytes))
        self.set_row("macs", before=words.count(before.macs_per_pixel))
        self.set_row("memory", before=self._memory(before))
        self.show_statistics(before)

    def show_statistics(self, after: PlanStatistics) -> None:
        """Show what can be counted.

        Parameters
        ----------
        after
            Statistics of the present position.
        """
        before = self._before
        if before is None:
            return
        for key, one, other, text in (
            ("weights", before.nonzero, after.nonzero, words.count),
            ("file", before.file_bytes, after.file_bytes, words.file_size),
            ("macs", before.macs_per_pixel, after.macs_per_pixel, words.count),
        ):
            self.set_row(key, after=text(other), **_divided(one, other))
        change = _divided(before.memory_per_megapixel, after.memory_per_megapixel)
        self.set_row("memory", after=self._memory(after), **change)

    def forget(self) -> None:
        """Show nothing, because there is no plan."""
        self._before = None
        for row in ROWS:
            self.set_row(row.key, before=words.NONE, after=words.NONE, change="")

    def wait(self) -> None:
        """Mark what has to be measured again, because the slider was moved."""
        for key in ("speed", "quality", "common"):
            self.fade(key)

    def show_look(self, look: Look, *, particles: bool) -> None:
        """Show what was seen in the visible area.

        Parameters
        ----------
        look
            At the present position.
        particles
            Whether the network finds particles.
        """
        self.set_row(
            "agreement", before=words.percent(1.0), after=words.percent(look.agreement)
        )
        self.show_row("same", particles)
        if look.same is not None:
            same, before, after = look.same
            extra = after - same
            self.set_row(
                "same",
                before=f"{before}",
                after=f"{same}",
                change=f"+ {extra} new" if extra else "",
            )

    def show_speeds(self, speeds: Speeds) -> None:
        """Show what was measured.

        Parameters
        ----------
        speeds
            Of both networks.
        """
        texts = [
            words.milliseconds(value / self._area)
            for value in (speeds.before, speeds.after)
        ]
        change = _divided(speeds.before, speeds.after)
        if change["role"] == "good":
            times = words.ratio(speeds.before / speeds.after)
            change["change"] = f"{times}× faster"
        self.set_row("speed", before=texts[0], after=texts[1], **change)
        self.fade("speed", on=False)

    def show_quality(self, before: Quality | None, after: Quality | None) -> None:
        """Show how good both are on the hold-out.

        Parameters
        ----------
        before, after
            None where there is nothing to judge on, or not yet.
        """
        known = before is not None
        self.set_title("quality", f"{before.name}, unseen" if known else "Quality")
        for key, figure in (("quality", "value"), ("common", "at_common")):
            one, other = getattr(before, figure, None), getattr(after, figure, None)
            if one is not None:
                self.set_row(key, before=words.quality(one, 3))
            if one is not None and other is not None:
                self.set_row(
                    key, after=words.quality(other, 3), **_difference(one, other)
                )
                self.fade(key, on=False)

    def _memory(self, statistics: PlanStatistics) -> str:
        return words.file_size(statistics.memory_per_megapixel / self._area)


def _difference(before: float, after: float) -> dict[str, str]:
    """By how much a figure has changed, in words and colour."""
    change = round(after - before, 3) or 0.0
    text = f"{change:+.3f}".replace("-", "−") if change else "same"
    role = "hint" if not change else "good" if change >= -0.01 else "problem"
    return {"change": text, "role": role}


def _divided(before: float, after: float) -> dict[str, str]:
    """How many times less, in words and colour."""
    factor = before / max(after, 1e-9)
    if factor < 1.05:
        return {"change": "same" if factor > 0.95 else "", "role": "hint"}
    return {"change": f"÷ {words.ratio(factor)}", "role": "good"}
