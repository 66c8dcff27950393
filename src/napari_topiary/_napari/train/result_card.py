"""What came out of a training, in two lines."""

from __future__ import annotations

from qtpy.QtWidgets import QFrame, QVBoxLayout

from napari_topiary._napari.status import duration
from napari_topiary._napari.widgets import look, words
from napari_topiary.checkpoint import Checkpoint


class ResultCard(QFrame):
    """Quality on what was held back, size and time; hidden until there is a result."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("role", "card")
        self.headline = look.paragraph("", role="title")
        self.details = look.paragraph("", role="hint")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.setSpacing(3)
        layout.addWidget(self.headline)
        layout.addWidget(self.details)
        self.hide()

    def show_result(self, name: str, checkpoint: Checkpoint) -> None:
        """Show a checkpoint that was just made.

        Parameters
        ----------
        name
            That it was kept under.
        checkpoint
            With its metrics and provenance.
        """
        self.headline.setText(headline(checkpoint))
        self.headline.setToolTip(_explained(checkpoint))
        parts = [f"Kept as “{name}”", f"{words.count(checkpoint.parameters)} weights"]
        seconds = checkpoint.provenance.get("seconds")
        if seconds:
            took = duration(float(seconds)).replace(" ", words.THIN)
            parts.append(f"in {took}")
        problems = " ".join(checkpoint.provenance.get("problems", ()))
        self.details.setText("\n".join(filter(None, (problems, " · ".join(parts)))))
        self.show()


def headline(checkpoint: Checkpoint) -> str:
    """The quality of a checkpoint in a few words.

    Parameters
    ----------
    checkpoint
        With the metrics that training gave it.
    """
    metrics = checkpoint.metrics
    value = metrics.get("quality")
    if value is None:
        return "Trained; there is nothing to judge on, so its quality is not known."
    figure = f"{metrics.get('quality_name', 'quality')} {words.quality(float(value))}"
    if metrics.get("interval"):
        n, (low, high) = int(metrics["n_objects"]), metrics["interval"]
        many = str(metrics["counted"])
        one = many.removesuffix("es" if many == "patches" else "s")
        figure += (
            f" on {words.plural(n, one, many)} "
            f"({words.quality(low)} to {words.quality(high)}),"
        )
    held = str(metrics.get("held_out") or "")
    if held == "a part of the image":
        return f"{figure} on a part of the image that it has not seen"
    return f"{figure} on {held or 'areas'} that it has not seen"


def _explained(checkpoint: Checkpoint) -> str:
    text = {
        "F1": "F1 is 1 when every particle was found and nothing else was; 0.9 means "
        "about one mistake in ten.",
        "Dice": "Dice is 1 when the areas agree exactly with what was drawn, and 0 "
        "when they do not overlap.",
        "PQ": "PQ (panoptic quality) is 1 when every object was found with its exact "
        "outline; objects that are missed, invented, cut or fused take from it.",
    }.get(str(checkpoint.metrics.get("quality_name")), "")
    per_class = checkpoint.metrics.get("per_class") or {}
    if len(per_class) > 1:
        each = [f"{name} {words.quality(value)}" for name, value in per_class.items()]
        text += "\n" + ", ".join(each)
    return text
