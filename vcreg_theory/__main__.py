"""``python -m vcreg_theory``: train the suites, and check a record against its weights."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
