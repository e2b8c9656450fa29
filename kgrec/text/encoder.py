"""TextEncoder: texts -> unit vectors by a language model, each distinct text once, in batches of like length."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from kgrec.config import TrainConfig
from kgrec.errors import TextError
from kgrec.text.adapter import Adapter
from kgrec.text.batching import (
    CPU_TOKENS_PER_BATCH,
    CUDA_TOKENS_PER_BATCH,
    batch_rows,
    count_streams,
    run_batches,
    split_texts,
)
from kgrec.text.language_model import Embed, LanguageModel, Precision, load_language_model
from kgrec.text.pooling import Pooling

if TYPE_CHECKING:
    from torch import Tensor

Backend = Literal["torch", "openvino"]
OnTexts = Callable[[int, int], None]  # called with (texts encoded so far, texts to encode)

LEAST_COSINE = 0.9995  # to fp32 on the probes: with a margin over the .999 that every text must reach
_EAGER_TOKENS = 512  # up to here attention written out in matrix products beats the fused kernel in bf16 on a CPU
_NORM_TOLERANCE = 1e-2
_PROBES = (
    "heat",
    "a film about two friends",
    "七人の侍, Amélie, Жизнь 1984!",
    "A young programmer finds that the world around him is not what it seems, and has to choose. " * 8,
)

_LOG = logging.getLogger(__name__)


class Encoder(Protocol):
    """The contract of a text encoder; `tests/contracts/test_text_encoder.py` checks it.

    Attributes:
        name: the name to show to people.
        dim: the width of its vectors.
        revision: a content hash of the model: vectors of equal revisions agree to a cosine of .999 on any machine,
            whatever else is encoded in the same call.
        computation: whatever else changes the last digits of a vector: backend, precision, device, library versions,
            the number of tokens read. Cached vectors are shared only where revision and computation are equal.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def dim(self) -> int: ...  # noqa: D102
    @property
    def revision(self) -> str: ...  # noqa: D102
    @property
    def computation(self) -> str: ...  # noqa: D102

    def encode(self, texts: Sequence[str], on_texts: OnTexts | None = None) -> NDArray[np.float32]:
        """Encodes texts to unit vectors.

        Args:
            texts: n texts, none of them blank.
            on_texts: called with (distinct texts encoded so far, distinct texts to encode).

        Returns:
            Float32 (n, dim), rows of length 1 in the order of the texts; equal texts have equal rows.

        Raises:
            TextError: a text is blank or is not a text, or a vector is not finite.
        """
        ...


class TextEncoder:
    """A language model as an `Encoder`; `load_encoder` makes one.

    Attributes:
        name: of the language model.
        dim: the width of its vectors.
        revision: see `Encoder`.
        computation: see `Encoder`.
        precision: of its computations.

    Args:
        model: the language model.
        embed: tokens and mask from `LanguageModel.pad` -> vectors.
        precision: what `embed` computes in.
        backend: what `embed` computes by.
    """

    def __init__(self, model: LanguageModel, embed: Embed, precision: Precision, backend: Backend = "torch") -> None:
        self._model = model
        self._embed = embed
        self.name = model.name
        self.dim = model.dim
        self.revision = model.revision
        self.precision = precision
        self.computation = _describe_computation(model, precision, backend)
        on_cpu = model.device.type == "cpu"
        self._tokens_per_batch = CPU_TOKENS_PER_BATCH if on_cpu else CUDA_TOKENS_PER_BATCH
        self._streams = count_streams() if on_cpu else 1

    def encode(self, texts: Sequence[str], on_texts: OnTexts | None = None) -> NDArray[np.float32]:
        """Encodes texts to unit vectors, each distinct text once; see `Encoder.encode`."""
        check_texts(texts)
        # Longest first: batches hold texts of like length, and one that is too big for the memory fails at once.
        distinct = sorted(set(texts), key=lambda text: (-len(text), text))
        vectors = np.empty((len(distinct), self.dim), dtype=np.float32)
        done = 0
        for chunk in split_texts(distinct):
            vectors[done : done + len(chunk)] = self._encode(chunk)
            done += len(chunk)
            if on_texts is not None:
                on_texts(done, len(distinct))
        row = {text: i for i, text in enumerate(distinct)}
        return vectors[[row[text] for text in texts]] if texts else vectors

    def _encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        tokens = self._model.tokenize(texts)
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)

        def embed(rows: list[int]) -> None:
            vectors[rows] = self._embed(*self._model.pad([tokens[row] for row in rows]))

        lengths = [len(row) for row in tokens]
        run_batches(embed, batch_rows(lengths, self._tokens_per_batch, self._streams), self._streams)
        bad = np.flatnonzero(~are_unit(vectors))
        if bad.size:
            raise TextError(
                f"the text encoder {self.name!r} gave no unit vector for {bad.size} of {len(texts)} texts, the first "
                f"{texts[bad[0]][:80]!r}; expected finite vectors of length 1: its weights are damaged, copy or "
                f"download it again or use another"
            )
        return vectors


def load_encoder(
    name: str | None = None,
    device: str = "cpu",
    *,
    adapter: Path | Adapter | None = None,
    pooling: Pooling | None = None,
    prefix: str | None = None,
    backend: Backend = "torch",
    precision: Precision | None = None,
    trust_remote_code: bool = False,
) -> TextEncoder:
    """Loads a text encoder.

    Args:
        name: a folder with a sentence-transformers or a transformers model, or its name on the model hub; None is
            the default model, all-MiniLM-L6-v2.
        device: the torch device to encode on.
        adapter: an adapter for this model, or the folder that `kgrec adapt` wrote it to.
        pooling: which tokens a vector is made of; None: the adapter's or the model folder's choice.
        prefix: put before each text, as an instruction; None: the adapter's or the model folder's choice.
        backend: "torch", or "openvino", which is faster on CPUs and needs the extra `kgrec[openvino]`.
        precision: int8 ("openvino" alone), bf16 or fp32; None: the fastest that the device supports and that keeps
            the model's vectors within a cosine of .9995 of fp32.
        trust_remote_code: whether Python code in the model's folder may run.

    Returns:
        The encoder.

    Raises:
        TextError: no such folder or model, the hub cannot be reached, the model's files are incomplete or do not fit,
            the extra is not installed, or the requested precision is too coarse for the model.
    """

    def load() -> LanguageModel:
        return load_language_model(
            name, device=device, adapter=adapter, pooling=pooling, prefix=prefix, trust_remote_code=trust_remote_code
        )

    make_embed: Callable[[LanguageModel, Precision], Embed] = _compute_in
    if backend == "openvino":
        from kgrec.text.openvino import compile_model, find_openvino

        find_openvino(device)  # now, not when the model is loaded
        make_embed = partial(compile_model, bf16=has_bf16(device), streams=count_streams(), probes=_PROBES)
    elif precision == "int8":
        raise TextError(
            "int8 needs the backend 'openvino', got 'torch': choose that backend, or leave the precision out"
        )
    model = load()
    plain = TextEncoder(model, _compute_in(model, "fp32"), "fp32")
    exact = plain.encode(_PROBES)  # raises where weights are damaged
    for wanted in _list_precisions(backend, device) if precision is None else (precision,):
        if wanted == "fp32" and backend == "torch":
            return plain
        encoder = TextEncoder(model, make_embed(model, wanted), wanted, backend)
        try:
            worst = float((encoder.encode(_PROBES) * exact).sum(axis=1).min())
        except TextError:
            worst = float("nan")
        if worst >= LEAST_COSINE:
            return encoder
        _LOG.info("the text encoder %s is off in %s by %s: cosine %.4f", model.name, wanted, backend, worst)
        if backend == "torch":  # its weights were rounded in place
            model = load()
            plain = TextEncoder(model, _compute_in(model, "fp32"), "fp32")
    raise TextError(
        f"the text encoder {model.name!r} in {wanted} by {backend} is off: cosine {worst:.4f} to fp32 by torch, "
        f"expected {LEAST_COSINE} or more: leave the precision out, or use torch"
    )


def _describe_computation(model: LanguageModel, precision: Precision, backend: Backend) -> str:
    import torch

    device = model.device
    unit = device.type
    if device.type == "cpu":
        unit += f" {torch.backends.cpu.get_cpu_capability()}"
    elif device.type == "cuda":
        unit += f" {torch.cuda.get_device_name(device)}"
    libraries = [f"{name} {version(name)}" for name in dict.fromkeys(["torch", "transformers", backend])]
    mode = f"float32 matmul {torch.get_float32_matmul_precision()}"
    return ", ".join([backend, precision, unit, mode, f"{model.max_tokens} tokens", *libraries])


def _list_precisions(backend: Backend, device: str) -> list[Precision]:
    """What to compute in, the fastest first."""
    found: list[Precision] = ["bf16", "fp32"] if has_bf16(device) else ["fp32"]
    return ["int8", *found] if backend == "openvino" and has_int8() else found


def load_config_encoder(config: TrainConfig, adapter: Adapter | None = None) -> TextEncoder:
    """Loads the text encoder that a training's settings name, on CUDA where there is one; see `load_encoder`.

    Args:
        config: the settings.
        adapter: an adapter in memory; None: the one that the settings name, if any.
    """
    import torch

    return load_encoder(
        config.encoder,
        config.device or ("cuda" if torch.cuda.is_available() and config.encoder_backend == "torch" else "cpu"),
        adapter=Path(config.adapter) if adapter is None and config.adapter is not None else adapter,
        pooling=config.encoder_pooling,
        prefix=config.encoder_prefix,
        backend=config.encoder_backend,
    )


def has_bf16(device: str) -> bool:
    """Whether a device has bf16 matrix instructions; without them bf16 is slower than fp32."""
    import torch

    if torch.device(device).type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    can = torch.cpu.get_capabilities() if torch.device(device).type == "cpu" else {}
    return bool(can.get("amx_bf16") or can.get("avx512_bf16"))


def has_int8() -> bool:
    """Whether int8 is the CPU's fastest matrix arithmetic; with amx, bf16 is as fast."""
    import torch

    can = torch.cpu.get_capabilities()
    return bool((can.get("avx512_vnni") or can.get("avx_vnni")) and not can.get("amx_bf16"))


def _compute_in(model: LanguageModel, precision: Precision) -> Embed:
    """Embedding by torch; for bf16 the model's weights are rounded in place."""
    import torch

    if precision == "bf16":
        model.network.to(torch.bfloat16)
        if model.device.type == "cpu" and model.max_tokens <= _EAGER_TOKENS:
            model.network.set_attn_implementation("eager")  # type: ignore[operator]

    def embed(ids: "Tensor", mask: "Tensor") -> NDArray[np.float32]:
        with torch.inference_mode():
            vectors: NDArray[np.float32] = model.embed_padded(ids, mask).cpu().numpy()
        return vectors

    return embed


def are_unit(vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which rows of `vectors` (n, dim) have length 1, bool (n,); zeros and NaN do not."""
    return np.asarray(np.abs(np.linalg.norm(vectors, axis=1) - 1.0) < _NORM_TOLERANCE)


def check_texts(texts: Sequence[str]) -> None:
    """Checks that every text can be encoded.

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
