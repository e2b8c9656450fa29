"""A process that forks savers, controlled by lines of text; see `savers.py`."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SAVERS = Path(__file__).with_name("savers.py")


@contextmanager
def start_savers() -> Iterator[subprocess.Popen[str]]:
    """Starts the process; skips the test where fork is missing."""
    if not hasattr(os, "fork"):
        pytest.skip("the savers are forked")
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # a forked process has no other thread
    with subprocess.Popen(
        [sys.executable, SAVERS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | one_thread
    ) as started:
        ask(started, "at once", "bundle", "", 0, [])
        assert answer(started) == "done"  # it has imported its modules
        yield started
        assert started.stdin is not None
        started.stdin.close()


def ask(savers: subprocess.Popen[str], *request: object) -> None:
    assert savers.stdin is not None
    savers.stdin.write(json.dumps(request, default=str) + "\n")
    savers.stdin.flush()


def is_at_work(savers: subprocess.Popen[str]) -> bool:
    return not select.select([savers.stdout], [], [], 0)[0]


def answer(savers: subprocess.Popen[str]) -> str:
    assert savers.stdout is not None
    return savers.stdout.readline().strip()
