"""Everything that runs a network over images, and what becomes of its answer."""
