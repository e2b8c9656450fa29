"""TextEncoder: texts -> unit vectors by a language model, each distinct text once, in batches of like length."""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from kgrec.config import TrainConfig
from kgrec.errors import TextError
from kgrec.text.language_model import Embed, LanguageModel, Pooling, Precision, load_language_model

if TYPE_CHECKING:
    from torch import Tensor

Backend = Literal["torch", "openvino"]
OnTexts = Callable[[int, int], None]  # called with (texts encoded so far, texts to encode)

TEXTS_PER_CALL, CHARACTERS_PER_CALL = 4096, 500_000  # how often progress is told: some seconds of a CPU's work
CPU_TOKENS_PER_BATCH = 1024  # more leave a CPU's cache, fewer do not fill its matrix units
CUDA_TOKENS_PER_BATCH = 65536
_LEAST_TOKENS = 512  # of a batch: smaller ones are all overhead
_MOST_STREAMS = 8  # Python's share of a batch is not worked at side by side
LEAST_COSINE = 0.9995  # to fp32 on the probes: a margin over the .999 that every text shall have
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
    """What kgrec needs of a text encoder; `tests/contracts/test_text_encoder.py` holds every encoder to it.

    Attributes:
        name: how a person names it.
        dim: the width of its vectors.
        revision: a content hash: equal revisions give vectors alike to a cosine of .999, whatever the machine, and
            whatever else is encoded with a text.
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
        name, dim, revision: of the language model.
        precision: what it computes in.

    Args:
        model: the language model.
        embed: tokens and mask as `LanguageModel.pad` gives them -> vectors.
        precision: what `embed` computes in.
    """

    def __init__(self, model: LanguageModel, embed: Embed, precision: Precision) -> None:
        self._model = model
        self._embed = embed
        self.name = model.name
        self.dim = model.dim
        self.revision = model.revision
        self.precision = precision
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

        _run(embed, _batch([len(row) for row in tokens], self._tokens_per_batch, self._streams), self._streams)
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
    adapter: Path | None = None,
    pooling: Pooling | None = None,
    prefix: str | None = None,
    backend: Backend = "torch",
    precision: Precision | None = None,
    trust_remote_code: bool = False,
) -> TextEncoder:
    """Loads a text encoder.

    Args:
        name: a folder with a sentence-transformers or a transformers model, or its name on the model hub; None is the
            default, see `load_language_model`.
        device: the torch device to encode on.
        adapter: a folder that `kgrec adapt` wrote, for this model.
        pooling: which tokens a vector is made of; None: as the adapter or the model's folder says.
        prefix: put before each text, as an instruction; None: as the adapter or the model's folder says.
        backend: "torch", or "openvino", which is faster on CPUs and needs the extra `kgrec[openvino]`.
        precision: None: the fastest that the device computes in and the model's vectors bear, int8 ("openvino" alone),
            bf16 or fp32.
        trust_remote_code: whether the folder may bring Python code of its own that is run.

    Raises:
        TextError: no such folder or model, the hub cannot be reached, the model's files are incomplete or do not fit,
            the extra is not installed, or the model does not bear the precision that is asked for.
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
            "int8 is for the backend 'openvino', got 'torch': name that backend, or leave the precision out"
        )
    model = load()
    plain = TextEncoder(model, _compute_in(model, "fp32"), "fp32")
    exact = plain.encode(_PROBES)  # also tells of damaged weights
    for wanted in _list_precisions(backend, device) if precision is None else (precision,):
        if wanted == "fp32" and backend == "torch":
            return plain
        encoder = TextEncoder(model, make_embed(model, wanted), wanted)
        try:
            worst = float((encoder.encode(_PROBES) * exact).sum(axis=1).min())
        except TextError:
            worst = float("nan")
        if worst >= LEAST_COSINE:
            return encoder
        _LOG.info("the text encoder %s is off in %s by %s: cosine %.4f", model.name, wanted, backend, worst)
        if backend == "torch":  # its weights were rounded where they are
            model = load()
            plain = TextEncoder(model, _compute_in(model, "fp32"), "fp32")
    raise TextError(
        f"the text encoder {model.name!r} in {wanted} by {backend} is off: cosine {worst:.4f} to fp32 by torch, "
        f"expected {LEAST_COSINE} or more: leave the precision to kgrec, or use torch"
    )


def _list_precisions(backend: Backend, device: str) -> list[Precision]:
    """What to compute in, the fastest first."""
    found: list[Precision] = ["bf16", "fp32"] if has_bf16(device) else ["fp32"]
    return ["int8", *found] if backend == "openvino" and has_int8() else found


def load_config_encoder(config: TrainConfig) -> TextEncoder:
    """Loads the text encoder that a training's settings name, onto CUDA where it is there; see `load_encoder`."""
    import torch

    return load_encoder(
        config.encoder,
        config.device or ("cuda" if torch.cuda.is_available() and config.encoder_backend == "torch" else "cpu"),
        adapter=None if config.adapter is None else Path(config.adapter),
        pooling=config.encoder_pooling,
        prefix=config.encoder_prefix,
        backend=config.encoder_backend,
    )


def has_bf16(device: str) -> bool:
    """Whether a device multiplies matrices in bf16 by instructions of its own: without, bf16 is slower than fp32."""
    import torch

    if torch.device(device).type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    can = torch.cpu.get_capabilities() if torch.device(device).type == "cpu" else {}
    return bool(can.get("amx_bf16") or can.get("avx512_bf16"))


def has_int8() -> bool:
    """Whether the CPU multiplies matrices in int8 faster than in anything else; with amx its bf16 is as fast."""
    import torch

    can = torch.cpu.get_capabilities()
    return bool((can.get("avx512_vnni") or can.get("avx_vnni")) and not can.get("amx_bf16"))


def count_streams() -> int:
    """How many batches a CPU works at side by side: a thread for each batch beats all threads at one batch."""
    import torch

    return min(torch.get_num_threads(), _MOST_STREAMS)


def split_texts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Splits texts into chunks after each of which progress is told, and what is there may be kept."""
    start = size = 0
    for end, text in enumerate(texts):
        size += len(text)
        if end > start and (size > CHARACTERS_PER_CALL or end - start == TEXTS_PER_CALL):
            yield texts[start:end]
            start, size = end, len(text)
    if start < len(texts):
        yield texts[start:]


def _batch(lengths: Sequence[int], tokens_per_batch: int, streams: int) -> list[list[int]]:
    """Rows of texts in batches of like length, longest first; no stream is left without work if it can be helped.

    A batch ends when it is full, or half full and the next text shorter: less is padded.
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    budget = min(tokens_per_batch, max(sum(lengths) // (2 * streams), _LEAST_TOKENS))
    batches: list[list[int]] = []
    longest = size = 0
    for row in order:
        if not batches or size + longest > budget or (2 * size >= budget and lengths[row] < longest):
            batches.append([])
            longest, size = lengths[row], 0
        batches[-1].append(row)
        size += longest
    return batches


def _run(embed: Callable[[list[int]], None], batches: list[list[int]], streams: int) -> None:
    """Embeds batches, some side by side."""
    import torch

    if streams == 1 or len(batches) == 1:
        for rows in batches:
            embed(rows)
        return
    n_threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(streams, initializer=torch.set_num_threads, initargs=(max(1, n_threads // streams),))
    try:
        for _ in pool.map(embed, batches):
            pass
    finally:
        pool.shutdown(cancel_futures=True)  # after an interrupt too, which need not wait for the rest
        torch.set_num_threads(n_threads)  # threads made later take what was set last


def _compute_in(model: LanguageModel, precision: Precision) -> Embed:
    """Embedding by torch; in bf16 the model's weights are rounded where they are."""
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
