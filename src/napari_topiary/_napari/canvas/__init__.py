"""Topiary's layers on napari's canvas: found again and updated in place."""
