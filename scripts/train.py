"""Trains on a catalogue and writes a bundle: `kgrec train` with the same arguments."""

import sys

from kgrec.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "train")
    main()
