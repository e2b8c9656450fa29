"""Loads a catalogue into a store: `kgrec load` with the same arguments."""

import sys

from kgrec.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "load")
    main()
