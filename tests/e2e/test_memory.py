"""The memory of requests, changes, saves and exports does not grow with items x items or users x items."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "large_catalogue.py"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the address space of a process")
def test_100_000_items_and_users_are_served_in_3_gb(tmp_path: Path) -> None:
    for step in ("make", "serve"):
        done = subprocess.run(
            [sys.executable, str(SCRIPT), step, str(tmp_path / "bundle")],
            # Arrow's own allocator reserves 1 GB of addresses that it does not use.
            env={**os.environ, "PYTHONPATH": str(SCRIPT.parents[1]), "ARROW_DEFAULT_MEMORY_POOL": "system"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
