"""Evaluates on a catalogue and writes a report: `kgrec evaluate` with the same arguments."""

import sys

from kgrec.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "evaluate")
    main()
