"""Recommends from a bundle: `kgrec recommend` with the same arguments."""

import sys

from kgrec.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "recommend")
    main()
