"""What only Linux has is taken away, and the real code runs without it, as on macOS and Windows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from shop import train_shop

from kgrec.bundle import save_bundle

ONLY_POSIX = """
fork forkpty posix_fallocate posix_fadvise posix_spawn mkfifo mknod geteuid getuid getgid seteuid chown fchmod sync
sched_getaffinity getloadavg statvfs sysconf killpg
"""

WITHOUT_POSIX = """
import importlib, os, pkgutil, sys
from pathlib import Path

import numpy as np

import graph_schema, kgrec, loaders

def import_all():
    return [
        importlib.import_module(found.name)
        for package in ("graph_schema", "loaders", "kgrec")
        for found in pkgutil.walk_packages(importlib.import_module(package).__path__, package + ".")
        if not found.name.endswith("__main__")
    ]

import_all()  # other libraries are imported as they are
import platform, filelock
platform.node()
for name in [name for name in sys.modules if name.partition(".")[0] in ("graph_schema", "loaders", "kgrec")]:
    del sys.modules[name]
sys.platform = "win32"
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
for name in sys.argv[3].split():
    if hasattr(os, name):
        delattr(os, name)
open_file = os.open

def open_no_folder(path, *args, **kwargs):
    if Path(path).is_dir() and "dir_fd" not in kwargs:
        raise PermissionError(13, "Permission denied", str(path))
    return open_file(path, *args, **kwargs)

os.open = open_no_folder
assert len(import_all()) > 100

import kgrec.bundle, kgrec.text.adapter, kgrec.language.adapter_folder, kgrec.store.lock, kgrec.text.array_file
folder, bundle = Path(sys.argv[1]), Path(sys.argv[2])
for _ in range(2):
    kgrec.bundle.save_bundle(kgrec.bundle.load_bundle(bundle), folder / "bundle")
assert kgrec.bundle.load_bundle(folder / "bundle").trained_at == kgrec.bundle.load_bundle(bundle).trained_at
described = {"version": kgrec.text.adapter.ADAPTER_VERSION, "base_revision": "0", "kept": False}
kgrec.language.adapter_folder.save_adapter(None, described, folder / "adapter")
assert kgrec.text.adapter.read_adapter(folder / "adapter")["kept"] is False
kgrec.store.lock.FileLock(folder / "store.db", "write").close()
kgrec.store.lock.FileLock(folder / "store.db", "read").close()

class Encoder:
    name, dim, revision, computation = "ones", 4, "ones", "ones"
    def encode(self, texts, on_texts=None):
        return np.full((len(texts), 4), 0.5, np.float32)

(folder / "texts.csv").write_text("text\\nheat\\nspeed\\n", encoding="utf-8")
encode = kgrec.text.array_file.encode_to_file
assert encode(Encoder(), folder / "texts.csv", "text", folder / "v.npy", folder / "cache") == 0
assert np.load(folder / "v.npy").tolist() == [[0.5] * 4] * 2
print("done")
"""


@pytest.mark.slow
def test_everything_is_imported_saved_and_encoded_without_posix(tmp_path: Path) -> None:
    save_bundle(train_shop(), tmp_path / "trained")
    command = [sys.executable, "-c", WITHOUT_POSIX, str(tmp_path), str(tmp_path / "trained"), ONLY_POSIX]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


UNICODE_ON_A_PIPE = """
import sys
from kgrec.cli.app import app, main

@app.command()
def speak() -> None:
    print("七人の侍 ≥ 1")

sys.argv = ["kgrec", "speak"]
main()
"""


def test_output_is_utf8_where_the_system_is_not() -> None:
    command = [sys.executable, "-c", UNICODE_ON_A_PIPE]
    environment = os.environ | {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode("utf-8").strip() == "七人の侍 ≥ 1"
