"""The demo without a window: the whole story on sample data, as pictures."""

from napari_topiary.story.telling import StoryConfig, tell

__all__ = ["StoryConfig", "tell"]
