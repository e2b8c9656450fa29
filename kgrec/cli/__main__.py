"""Runs the command line: `python -m kgrec.cli`."""

from kgrec.cli import main

main()
