"""What came of a pruning: a failure never looks like a success."""

from __future__ import annotations

from napari_topiary.checkpoint import Checkpoint

HARDLY = 0.25
"""Below this share of the quality before, a network finds hardly anything."""
NEAR = 0.02
"""Shares of weights closer than this are what was asked for."""


def pruning_problems(
    before: Checkpoint, after: Checkpoint, share: float
) -> tuple[str, ...]:
    """Return what a person should know about a pruned network; mostly nothing.

    Parameters
    ----------
    before, after
        The checkpoint that was pruned, and what became of it, judged if there were
        images.
    share
        Of the unpruned network's weights that was to be removed.
    """
    found = []
    if after.sparsity < share - NEAR:
        found.append(
            f"{after.sparsity:.1%} of the weights are gone instead of {share:.1%}."
        )
    quality, name = after.metrics.get("quality"), after.metrics.get("quality_name")
    if quality is None:
        return tuple(found)
    whole = float(before.metrics.get("quality") or 0.0)
    known = whole > 0 and before.metrics.get("quality_name") == name
    floor = HARDLY * whole if known else 0.05
    if float(quality) <= floor:
        held = after.metrics.get("held_out") or "what was held back"
        was = f" ({whole:.2f} before)" if known else ""
        found.append(
            f"The pruned network finds hardly anything any more: {name} "
            f"{float(quality):.2f}{was} on {held}. Remove less, or fine-tune it longer."
        )
    return tuple(found)
