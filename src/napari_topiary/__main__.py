"""`python -m napari_topiary` is the command `napari-topiary`."""

import sys

from napari_topiary.cli import main

if __name__ == "__main__":
    sys.exit(main())
