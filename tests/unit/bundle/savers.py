"""Processes that save bundles: a script that forks them, since they are killed at every step or save at once.

It does what the lines of its input say, each a JSON list of a function's name and arguments, and answers with a line:
"done", or what went wrong.
"""

import itertools
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from kgrec.bundle import load_bundle, save_bundle

CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir"}  # audit events of what changes a folder
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def kill_before(n: int) -> None:
    """Has this process killed before the step n, from 0: anything that changes a file or a folder, or flushes one."""
    steps = itertools.count()

    def step() -> None:
        if next(steps) == n:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(event: str, args: tuple[object, ...]) -> None:
        if event in CHANGES or (event == "open" and isinstance(args[2], int) and args[2] & WRITES):
            step()

    flush = os.fsync

    def flush_or_stop(file: int) -> None:
        step()
        flush(file)

    os.fsync = flush_or_stop
    sys.addaudithook(watch)


def fork(work: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return pid


def wait_for(pid: int) -> int:
    """The exit code of a process, or less than 0 the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def save_and_be_killed(out: str, new: str, old: str | None) -> str:
    """Saves the bundle `new` to out/0, out/1, ..., killed before its first, second, ... step, until it is not killed.

    Each folder holds the bundle `old` before, or is new.
    """
    bundle = load_bundle(Path(new))
    for n in itertools.count():
        folder = Path(out, str(n))
        if old is not None:
            shutil.copytree(old, folder)

        def work(n: int = n, folder: Path = folder) -> None:
            kill_before(n)
            save_bundle(bundle, folder)

        code = wait_for(fork(work))
        if code != -signal.SIGKILL:
            break
    return "done" if code == 0 else f"the saver that was to be killed before step {n} ended with {code}"


def save_at_once(out: str, n_times: int, paths: list[str]) -> str:
    """One process for each of the bundles saves it to one folder, several times; its time counts them."""

    def work(path: str) -> None:
        bundle = load_bundle(Path(path))
        for n in range(n_times):
            save_bundle(replace(bundle, trained_at=bundle.trained_at + n), Path(out))

    codes = [wait_for(pid) for pid in [fork(lambda path=path: work(path)) for path in paths]]
    return f"the savers ended with {codes}" if any(codes) else "done"


if __name__ == "__main__":
    for line in sys.stdin:
        name, *args = json.loads(line)
        print({"killed": save_and_be_killed, "at once": save_at_once}[name](*args), flush=True)
