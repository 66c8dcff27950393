"""What is drawn on the image, kept the same in layers and session, with undo."""
