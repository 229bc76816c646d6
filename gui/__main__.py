"""`python -m gui`: start the desktop."""

import sys

from gui.application import main

if __name__ == "__main__":
    sys.exit(main())
