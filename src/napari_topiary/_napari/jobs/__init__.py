"""Jobs in napari's worker threads."""
