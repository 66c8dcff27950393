"""What the story leaves behind to be read, by people and by programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_topiary.io.atomic import writing
from napari_topiary.io.targets import signed


def write_page(
    folder: Path, story: Mapping[str, Any], sentences: Sequence[str]
) -> None:
    """Write `story.json` and a `README.md` that shows the pictures.

    Parameters
    ----------
    folder
        Where the pictures are.
    story
        Ready for JSON; names its `pictures`.
    sentences
        What happened, a paragraph each.
    """
    with writing(folder / "story.json") as beside:
        text = json.dumps(signed(story), indent=1, ensure_ascii=False)
        beside.write_text(text + "\n", encoding="utf-8")
    shown = [f"![{name}]({name})" for name in story["pictures"]]
    parts = ["# Training and pruning on sample data", *sentences, *shown]
    with writing(folder / "README.md") as beside:
        beside.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
