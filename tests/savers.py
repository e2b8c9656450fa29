"""A script that forks saving processes, which are killed at every step or save at the same time.

Each line of its input is a JSON list of a function's name and arguments; it answers each with a line: "done", or what
went wrong.
"""

import itertools
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from kgrec.bundle import load_bundle, save_bundle
from kgrec.language.adapter_folder import save_adapter
from kgrec.text.adapter import ADAPTER_VERSION

CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir"}  # audit events of changes to a folder
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def kill_before(n: int) -> None:
    """Kills this process before step n, from 0; a step changes or flushes a file or folder."""
    steps = itertools.count()

    def step() -> None:
        if next(steps) == n:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(event: str, args: tuple[object, ...]) -> None:
        if args and str(args[0]).startswith(tempfile.gettempdir()):
            return  # files that peft writes first
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
    """The exit code of a process; negative for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def make_adapter(number: int) -> tuple[Any, dict[str, Any]]:
    """A network of one tuned layer whose weights are all `number`, and the description of its adapter."""
    import torch
    from peft import LoraConfig, get_peft_model

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(4, 4)

    tuned: Any = get_peft_model(Network(), LoraConfig(r=2, target_modules=["linear"]))  # type: ignore[arg-type]
    with torch.no_grad():
        for weight in tuned.parameters():
            weight.fill_(number)
    return tuned, {"version": ADAPTER_VERSION, "base_revision": str(number), "kept": True}


def prepare(kind: str, what: str | int) -> Callable[[Path, int], object]:
    """A function that saves a bundle, read from a folder, or an adapter of a number; it counts its saves."""
    if kind == "bundle":
        bundle = load_bundle(Path(what))
        return lambda folder, n: save_bundle(replace(bundle, trained_at=bundle.trained_at + n), folder)
    tuned, described = make_adapter(int(what))
    return lambda folder, n: save_adapter(tuned, described | {"n": n}, folder)


def save_and_be_killed(kind: str, out: str, new: str | int, old: str | None) -> str:
    """Saves to out/0, out/1, ..., killed before the first, second, ... step, until a save is not killed.

    Each folder is a copy of the folder `old`, or is new.
    """
    save = prepare(kind, new)
    tempfile.tempdir = str(Path(out, "temporary"))
    Path(tempfile.tempdir).mkdir()
    for n in itertools.count():
        folder = Path(out, str(n))
        if old is not None:
            shutil.copytree(old, folder)

        def work(n: int = n, folder: Path = folder) -> None:
            kill_before(n)
            save(folder, 0)

        code = wait_for(fork(work))
        if code != -signal.SIGKILL:
            break
    return "done" if code == 0 else f"the saver that was to be killed before step {n} ended with {code}"


def save_at_once(kind: str, out: str, n_times: int, sources: list[str | int]) -> str:
    """Saves each source to one folder, several times, in a process for each."""

    def work(save: Callable[[Path, int], object]) -> None:
        for n in range(n_times):
            save(Path(out), n)

    saves = [prepare(kind, source) for source in sources]
    codes = [wait_for(pid) for pid in [fork(lambda save=save: work(save)) for save in saves]]
    return f"the savers ended with {codes}" if any(codes) else "done"


if __name__ == "__main__":
    for line in sys.stdin:
        name, *args = json.loads(line)
        print({"killed": save_and_be_killed, "at once": save_at_once}[name](*args), flush=True)
