"""The charts of the story: how training went, and what pruning costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.story.charts import Axes, Line, save_chart

BLUE, ORANGE, GREEN = "#2060c0", "#d06000", "#008060"


def training_chart(path: Path, checkpoint: Checkpoint) -> None:
    """Draw the loss of a training and the quality on what it held out.

    Parameters
    ----------
    path
        A `.png` file.
    checkpoint
        What came of the training; its metrics hold the curves.
    """
    metrics = checkpoint.metrics
    name = str(metrics.get("quality_name", "quality"))
    seen = metrics.get("quality_curve", ())
    save_chart(
        path,
        [
            Line("loss", metrics.get("loss_curve", ()), ORANGE),
            Line(f"{name} on images it does not learn from", seen, BLUE, marks=True),
        ],
        Axes("Training", "seconds"),
    )


def tradeoff_chart(
    path: Path, once: Sequence[tuple[float, float]], pruned: Checkpoint
) -> None:
    """Draw quality against the share of the weights removed.

    Parameters
    ----------
    path
        A `.png` file.
    once
        `(share, quality)` of positions of the slider, without fine-tuning.
    pruned
        What was pruned and fine-tuned.
    """
    tuned = (100 * pruned.sparsity, float(pruned.metrics.get("quality", 0.0)))
    name = str(pruned.metrics.get("quality_name", "Quality"))
    points = [(100 * share, quality) for share, quality in once]
    save_chart(
        path,
        [
            Line("pruned only", points, ORANGE, marks=True),
            Line("pruned and fine-tuned", [tuned], GREEN, marks=True),
        ],
        Axes(f"{name} against size", "% of the weights removed", (0.0, 1.0)),
    )
