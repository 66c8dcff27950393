"""Images of any size: read, predicted and written part by part."""
