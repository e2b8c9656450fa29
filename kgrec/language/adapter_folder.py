"""An adapter's folder: written whole, with the checkpoints of a run that is not done."""

import json
import logging
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgrec.bundle.folder import WAIT_S, FolderKind, check_folder, write_folder
from kgrec.errors import TextError
from kgrec.text.adapter import ADAPTER_FILE, CONFIG_FILE, WEIGHTS_FILE, is_named_file, name_files

if TYPE_CHECKING:
    from peft import PeftModel

CHECKPOINTS = "checkpoints"
_KIND = FolderKind("adapter", ADAPTER_FILE, is_named_file, TextError, leftovers=(CHECKPOINTS,))


def save_adapter(
    tuned: "PeftModel | None", described: Mapping[str, Any], path: Path, *, wait_s: float = WAIT_S
) -> None:
    """Writes an adapter's folder, in place of an adapter in it.

    Processes that save to one folder take turns; processes that read it find the old adapter or the new one, whole.

    Args:
        tuned: the tuned network; None: validation kept none, and only the description is written.
        described: the content of `ADAPTER_FILE`, to which the names of the other files are added.
        path: the folder.
        wait_s: how long to wait while another process writes there, in seconds.

    Raises:
        TextError: the folder cannot be written, or another process is still writing it.
    """
    files: dict[str, bytes] = {}
    names: dict[str, str] = {}
    if tuned is not None:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            tuned.save_pretrained(folder, save_embedding_layers=False)
            config, weights = ((Path(folder) / name).read_bytes() for name in (CONFIG_FILE, WEIGHTS_FILE))
        names = name_files(config, weights)
        files = {names[CONFIG_FILE]: config, names[WEIGHTS_FILE]: weights}
    manifest = json.dumps({**described, "files": names}, indent=1, ensure_ascii=False) + "\n"
    write_folder(path, manifest.encode(), files, _KIND, wait_s)


def check_adapter_folder(path: Path) -> None:
    """Checks that an adapter may be written to a folder: it is new, empty, an adapter's or left by an interrupted run.

    Raises:
        TextError: it holds something else, is a file, or cannot be read.
    """
    check_folder(path, _KIND)


def remove_checkpoints(path: Path) -> None:
    """Removes the checkpoints from an adapter's folder once its run is done."""
    try:
        shutil.rmtree(path / CHECKPOINTS)
    except OSError as error:
        logging.getLogger(__name__).warning(
            "cannot remove the checkpoints in %s: %s; delete them by hand", path / CHECKPOINTS, error
        )
