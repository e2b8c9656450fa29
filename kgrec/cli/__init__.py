"""The command line: thin commands over the library; every error is one message and exit code 2."""

# in this order `kgrec --help` lists their commands
from kgrec.cli import catalogue, adaptation, training, tuning, ablation, answers, encoding, publishing  # noqa: F401, I001
from kgrec.cli.app import app, main, run_guarded

__all__ = ["app", "main", "run_guarded"]
