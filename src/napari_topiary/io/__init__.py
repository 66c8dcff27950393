"""Files: images with their pixel size, tables, and dataset folders."""
