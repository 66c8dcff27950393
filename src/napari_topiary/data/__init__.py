"""What training learns from: images on the working grid, patches, losses."""
