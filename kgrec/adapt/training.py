"""The loop: batches of texts, the objectives' gradients, looks at validation, checkpoints to go on from."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from scipy.sparse import csr_array
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from kgrec.adapt.frozen_layers import FrozenStates, compute_frozen_states
from kgrec.adapt.objectives import autoencode, contrast, distil, fit_temperature, tell_relations
from kgrec.adapt.text_graph import TextGraph
from kgrec.adapt.tuning import weaken
from kgrec.config import AdaptConfig, BackboneConfig
from kgrec.errors import TextError
from kgrec.model.ials import fit_ials
from kgrec.questions.splits import Likes
from kgrec.text.encoder import CUDA_TOKENS_PER_BATCH, has_bf16
from kgrec.text.language_model import LanguageModel
from kgrec.training.logging import OnMetric

if TYPE_CHECKING:
    from peft import PeftModel

_TEACHER_DIM = 64
_MOST_USERS = 2048  # of a step of the autoencoder
_CPU_CHUNK_TOKENS = 2048  # embedded at once: more leave a CPU's cache
_WARMUP_STEPS = 10
_LEAST_RATE = 0.05  # of the learning rate, at the end
_LARGEST_GRADIENT = 1.0
_WEIGHT_DECAY = 0.01
_CHECKPOINT_STEPS = 10
_FORMAT = "1"


@dataclass(frozen=True)
class Look:
    """What validation saw after some steps."""

    step: int
    quality: float


@dataclass(frozen=True)
class Progress:
    """How far a training got.

    Attributes:
        step: steps done.
        looks: at validation, the first before any step.
        best: of these; the tuned weights are brought back to it at the end.
        done: whether it is over.
        strength: the share of the change that was taken.
    """

    step: int
    looks: tuple[Look, ...]
    best: Look
    done: bool = False
    strength: float = 1.0


def embed_texts(model: LanguageModel, tokens: Sequence[list[int]], frozen: FrozenStates | None = None) -> Tensor:
    """Embeds texts in chunks of like length: float32 (n, dim), gradients flow; `frozen`: what is known of them."""
    chunks, parts = _chunk(tokens, model.device), []
    for rows in chunks:
        with autocast(model.device), nullcontext() if frozen is None else frozen.select(rows).standing_in():
            parts.append(model.embed([tokens[row] for row in rows]))
    order = torch.from_numpy(np.concatenate(chunks)).to(parts[0].device)
    return torch.cat(parts)[order.argsort()]


def _chunk(tokens: Sequence[list[int]], device: torch.device) -> list[NDArray[np.int64]]:
    """Rows of like length that are embedded at once."""
    lengths = np.array([len(row) for row in tokens])
    order = np.argsort(lengths, kind="stable")
    most = CUDA_TOKENS_PER_BATCH if device.type == "cuda" else _CPU_CHUNK_TOKENS
    chunks, start = [], 0
    while start < len(order):
        padded = lengths[order[start:]] * np.arange(1, len(order) - start + 1)  # tokens of a chunk that ends here
        end = start + max(int(np.searchsorted(padded, most, "right")), 1)
        chunks.append(order[start:end])
        start = end
    return chunks


def autocast(device: torch.device) -> Any:
    """The arithmetic of training: bfloat16 where the device has it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=has_bf16(device.type))


@contextmanager
def training_attention(network: nn.Module) -> Iterator[None]:
    """Attention that can be trained through while it is open.

    Plain on a CPU, where it is the faster one with gradients. On CUDA any but cuDNN's, whose backward pass gives NaN
    for masked texts of 64 tokens, our default, once all their logits are low (pytorch issue 196678).
    """
    config: Any = network.config
    before: Any = config._attn_implementation
    set_attention: Any = getattr(network, "set_attn_implementation", None)
    if set_attention is not None and next(network.parameters()).device.type == "cpu":
        set_attention("eager")
    try:
        with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]):
            yield
    finally:
        if set_attention is not None:
            set_attention(before)


def train(
    model: LanguageModel,
    tuned: "PeftModel",
    graph: TextGraph,
    likes: Likes,
    config: AdaptConfig,
    look: Callable[[LanguageModel], float],
    checkpoint: Path,
    *,
    fingerprint: str,
    on_step: Callable[[int, int], None] | None = None,
    on_metric: OnMetric | None = None,
) -> Progress:
    """Trains the tuned weights until the steps are over or validation sees no more gain; then back to the best.

    Every step draws its batch by (seed, step), so a training that was interrupted goes on from its checkpoint as if
    nothing had happened.

    Args:
        model: the language model; its network is the tuned one.
        tuned: the network, from `tune_few`.
        graph: the texts.
        likes: what is learned from.
        config: the settings.
        look: validation: the quality of a model's vectors.
        checkpoint: a file; what is there is gone on from if it is of the same run.
        fingerprint: of the run.
        on_step: called with (steps done, steps in all).
        on_metric: called with (name, value, step).

    Raises:
        TextError: the gradient is not finite any more.
    """
    from peft.helpers import disable_input_dtype_casting

    casts = has_bf16(model.device.type) and config.method in {"lora", "adalora"}  # the others know no such switch
    batches = _Batches.of(model, graph, likes, config).fit_temperatures(model, on_metric)  # of the model as it was
    teller = nn.Linear(2 * model.dim, len(graph.relations) + 1)
    nn.init.zeros_(teller.weight)
    nn.init.zeros_(teller.bias)
    teller.to(model.device)
    weights = {name: p for name, p in tuned.named_parameters() if p.requires_grad}
    trained = [*weights.values(), *teller.parameters()]
    optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=_WEIGHT_DECAY)
    state = _State(weights, teller, optimizer, tuned, {})
    allocate: Any = getattr(tuned.base_model, "update_and_allocate", None)
    progress = state.load(checkpoint, fingerprint)
    if progress is None:
        first = Look(0, look(model))
        progress = Progress(0, (first,), first)
        state.keep_best()
    while not progress.done:
        step = progress.step
        rate = _schedule(step, config.steps)
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * rate
        with disable_input_dtype_casting(tuned) if casts else nullcontext():  # autocast does what is needed
            losses = batches.compute_losses(model, teller, np.random.default_rng([config.seed, 2, step]))
        _check_gradient(float(torch.nn.utils.clip_grad_norm_(trained, _LARGEST_GRADIENT)), step, losses)
        optimizer.step()
        if allocate is not None:  # AdaLoRA moves its ranks to where they count
            allocate(step)
        optimizer.zero_grad()
        if on_metric is not None:
            for name, loss in losses.items():
                on_metric(f"loss/{name}", loss, step)
        step += 1
        progress = replace(progress, step=step)
        if step % config.validate_every == 0 or step == config.steps:
            seen = Look(step, look(model))
            looks = (*progress.looks, seen)
            best = max(looks, key=lambda one: one.quality)  # the first of equals
            if best is seen:
                state.keep_best()
            if on_metric is not None:
                on_metric("validation/quality", seen.quality, step)
            since = sum(one.step > best.step for one in looks)
            progress = Progress(step, looks, best, step >= config.steps or since >= config.patience)
        if progress.done or step % _CHECKPOINT_STEPS == 0:
            state.save(checkpoint, progress, fingerprint)
        if on_step is not None:
            on_step(step, config.steps)
    state.restore_best()
    return progress if progress.best.step == 0 else _choose_strength(model, tuned, state, config, look, progress)


def _check_gradient(norm: float, step: int, losses: dict[str, float]) -> None:
    """Stops before a step that would leave weights, and a checkpoint of them, that are no numbers."""
    if not math.isfinite(norm):
        raise TextError(
            f"the gradient is not finite after {step} steps: losses {losses}; expected numbers: "
            f"set a lower learning_rate"
        )


def _choose_strength(
    model: LanguageModel,
    tuned: "PeftModel",
    state: "_State",
    config: AdaptConfig,
    look: Callable[[LanguageModel], float],
    progress: Progress,
) -> Progress:
    """Takes the share of the change that validation likes best."""
    found = {1.0: progress.best.quality}
    for strength in config.strengths if config.method != "prefix" else ():
        if strength not in found:
            state.restore_best()
            weaken(tuned, strength)
            found[strength] = look(model)
    chosen = max(found, key=lambda strength: found[strength])
    state.restore_best()
    weaken(tuned, chosen)
    return replace(progress, best=Look(progress.best.step, found[chosen]), strength=chosen)


def _schedule(step: int, steps: int) -> float:
    """A warm-up, then a cosine from 1 to the least rate."""
    fallen = 0.5 * (1 + math.cos(math.pi * step / steps))
    return min((step + 1) / _WARMUP_STEPS, 1.0) * (_LEAST_RATE + (1 - _LEAST_RATE) * fallen)


@dataclass(frozen=True)
class _State:
    """All that a step changes."""

    weights: dict[str, nn.Parameter]
    teller: nn.Linear
    optimizer: torch.optim.Optimizer
    tuned: "PeftModel"
    best: dict[str, Tensor]

    def keep_best(self) -> None:
        self.best.update({name: weight.detach().clone() for name, weight in self.weights.items()})

    def restore_best(self) -> None:
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(self.best[name])

    def _allocator(self) -> Any:
        return getattr(self.tuned.base_model, "rankallocator", None)

    def save(self, file: Path, progress: Progress, fingerprint: str) -> None:
        """Writes a checkpoint; one that is there is replaced when it is whole."""
        tensors = {f"weight {name}": weight.detach() for name, weight in self.weights.items()}
        tensors |= {f"best {name}": weight for name, weight in self.best.items()}
        tensors |= {f"teller {name}": weight for name, weight in self.teller.state_dict().items()}
        for number, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"moment {number} {name}": value for name, value in moments.items()}
        allocator = self._allocator()
        for what in ("ipt", "exp_avg_ipt", "exp_avg_unc") if allocator is not None else ():
            tensors |= {f"{what} {name}": value for name, value in getattr(allocator, what).items()}
        about: Any = self.tuned.active_peft_config
        told = {
            "format": _FORMAT,
            "fingerprint": fingerprint,
            "progress": json.dumps(asdict(progress)),
            "ranks": json.dumps(getattr(about, "rank_pattern", None)),
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        written = file.with_suffix(".writing")
        try:
            save_file({name: value.cpu().contiguous().clone() for name, value in tensors.items()}, written, told)
            written.replace(file)
        except (OSError, SafetensorError) as error:
            written.unlink(missing_ok=True)
            raise TextError(
                f"cannot write the checkpoint {file}: {error}; expected a folder with room that can be written"
            ) from error

    def load(self, file: Path, fingerprint: str) -> Progress | None:
        """Goes back to a checkpoint; None where there is none of this run."""
        if not file.is_file():
            return None
        try:
            with safe_open(file, "pt") as opened:
                told = opened.metadata() or {}
            if (told.get("format"), told.get("fingerprint")) != (_FORMAT, fingerprint):
                return None
            tensors = load_file(file)
        except (OSError, SafetensorError):
            return None

        def named(what: str) -> dict[str, Tensor]:
            return {name.removeprefix(f"{what} "): v for name, v in tensors.items() if name.startswith(f"{what} ")}

        with torch.no_grad():
            for name, value in named("weight").items():
                self.weights[name].copy_(value)
        device = next(iter(self.weights.values())).device
        self.best.update({name: value.to(device) for name, value in named("best").items()})
        self.teller.load_state_dict(named("teller"))
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in named("moment").items():
            number, name = key.split(" ")
            moments.setdefault(int(number), {})[name] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        if (allocator := self._allocator()) is not None:
            for what in ("ipt", "exp_avg_ipt", "exp_avg_unc"):
                getattr(allocator, what).update({name: value.to(device) for name, value in named(what).items()})
            about: Any = self.tuned.active_peft_config
            about.rank_pattern = json.loads(told["ranks"])
        found = json.loads(told["progress"])
        looks = tuple(Look(**one) for one in found["looks"])
        return Progress(found["step"], looks, Look(**found["best"]), found["done"])


@dataclass(frozen=True)
class _Batches:
    """What the batches are drawn from."""

    config: AdaptConfig
    tokens: list[list[int]]
    texts: NDArray[np.int64]  # of liked items, each once
    column: NDArray[np.int64]  # (n_texts,) where a text's likes are, -1: nowhere
    likes: Any  # (n_users, len(texts)) csc
    user_weights: NDArray[np.float32]  # (n_users,)
    popularity: NDArray[np.float32]  # (len(texts),)
    teacher: Tensor | None  # (len(texts), dim)
    links: NDArray[np.int64]
    relation: NDArray[np.int64]
    incident: Any  # (n_texts, n_links) csr: where a text's links are
    adjacency: Any  # (n_texts, n_texts) csr
    frozen: FrozenStates | None  # where a text is drawn often enough to be worth it
    temperatures: dict[str, float]  # of co_likes and neighbours

    @classmethod
    def of(cls, model: LanguageModel, graph: TextGraph, likes: Likes, config: AdaptConfig) -> "_Batches":
        matrix, weights, n_texts = likes.to_matrix(), config.objectives, len(graph.texts)
        popularity = np.bincount(likes.items, minlength=likes.shape[1])
        items = np.flatnonzero((popularity > 0) & (graph.item_text >= 0))
        texts, first = np.unique(graph.item_text[items], return_index=True)
        items = items[first]
        if not weights.of_likes:
            texts, items = texts[:0], items[:0]
        column = np.full(n_texts, -1, np.int64)
        column[texts] = np.arange(len(texts))
        teacher = None
        if weights.distillation:
            grid = BackboneConfig()
            vectors, _ = fit_ials(
                matrix, dim=_TEACHER_DIM, alpha=grid.alphas[len(grid.alphas) // 2],
                regularisation=grid.regularisations[len(grid.regularisations) // 2], epochs=grid.epochs,
                seed=config.seed,
            )  # fmt: skip
            teacher = nn.functional.normalize(vectors[torch.from_numpy(items)], dim=1).to(model.device)
        links, relation = graph.links, graph.relation
        if not weights.of_graph:
            links, relation = links[:, :0], relation[:0]
        contrasted = {"co_likes": weights.co_likes, "neighbours": weights.neighbours and links.shape[1]}
        ends, number = links.ravel(), np.tile(np.arange(links.shape[1]), 2)
        tokens, frozen = [tokens[: config.text_tokens] for tokens in model.tokenize(graph.texts)], None
        drawn = np.union1d(texts, links)
        if config.steps * config.batch_size >= len(drawn):
            chunks = _chunk([tokens[text] for text in drawn], model.device)
            with autocast(model.device):
                frozen = compute_frozen_states(model, tokens, [drawn[chunk] for chunk in chunks])
        return cls(
            config,
            tokens,
            texts,
            column,
            matrix.tocsc()[:, items],
            (1 / np.maximum(np.diff(matrix.indptr), 1)).astype(np.float32),
            popularity[items].astype(np.float32),
            teacher,
            links,
            relation,
            csr_array((np.ones(len(ends), np.bool_), (ends, number)), shape=(n_texts, links.shape[1])),
            graph.to_adjacency() if links.shape[1] else None,
            frozen,
            {name: config.temperature for name, counts in contrasted.items() if counts},
        )

    @torch.no_grad()
    def fit_temperatures(self, model: LanguageModel, on_metric: OnMetric | None) -> "_Batches":
        """Raises, by the first batch, what is too low for the model; see `fit_temperature`."""
        texts, _ = self._draw(np.random.default_rng([self.config.seed, 2, 0]))
        vectors, found = self._embed(model, texts), {}
        for name, given in self.temperatures.items():
            rows = np.flatnonzero(self.column[texts] >= 0) if name == "co_likes" else np.arange(len(texts))
            likeness = (self._co_liked if name == "co_likes" else self._linked)(texts[rows])
            found[name] = fit_temperature(_select(vectors, rows), _to(vectors, likeness), given)
            if on_metric is not None:
                on_metric(f"temperature/{name}", found[name], 0)
        return replace(self, temperatures=found)

    def compute_losses(self, model: LanguageModel, teller: nn.Linear, rng: np.random.Generator) -> dict[str, float]:
        """Adds the gradients of one batch, and tells the losses."""
        texts, links = self._draw(rng)
        vectors = self._embed(model, texts)
        losses = self._from_likes(vectors, texts, rng)
        if len(links):
            losses |= self._from_links(vectors, texts, links, teller, rng)
        if losses:
            torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def _embed(self, model: LanguageModel, texts: NDArray[np.int64]) -> Tensor:
        frozen = None if self.frozen is None else self.frozen.select(texts)
        return embed_texts(model, [self.tokens[text] for text in texts], frozen)

    def _co_liked(self, texts: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n, n): how alike liked texts are by who likes them. Who likes much says less of each; what many like is no
        more alike to all.
        """
        columns = self.column[texts]
        likes = self.likes[:, columns]
        shared: NDArray[np.float32] = (likes.T @ likes.multiply(self.user_weights[:, None])).toarray()
        return shared / self.popularity[columns] ** 0.5

    def _linked(self, texts: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n, n): which texts are linked."""
        near: NDArray[np.float32] = self.adjacency[texts][:, texts].toarray()
        return near

    def _draw(self, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Texts of liked items; where links count, half of them, and for each a text that it is linked to."""
        size, n_links = self.config.batch_size, self.links.shape[1]
        if not n_links:
            return self._fit(rng.permutation(self.texts)[:size]), np.zeros(0, np.int64)
        starts = rng.permutation(self.texts)[: size // 2]
        if len(starts):
            counts = np.diff(self.incident.indptr)[starts]
            place = self.incident.indptr[starts] + (rng.random(len(starts)) * counts).astype(np.int64)
            links = self.incident.indices[place[counts > 0]]
        else:
            links = rng.choice(n_links, min(size // 2, n_links), replace=False)
        texts = np.unique(np.concatenate([starts, self.links[:, links].ravel()]))
        return self._fit(rng.permutation(texts)), links

    def _fit(self, texts: NDArray[np.int64]) -> NDArray[np.int64]:
        """As many texts as a batch holds tokens of."""
        lengths = np.array([len(self.tokens[text]) for text in texts])
        return texts[: max(int((lengths.cumsum() <= self.config.batch_tokens).sum()), 2)]

    def _from_likes(self, vectors: Tensor, texts: NDArray[np.int64], rng: np.random.Generator) -> dict[str, Tensor]:
        weights = self.config.objectives
        rows = np.flatnonzero(self.column[texts] >= 0)
        if len(rows) < 2:  # noqa: PLR2004
            return {}
        texts, vectors, losses = texts[rows], _select(vectors, rows), {}
        columns = self.column[texts]
        if weights.co_likes:
            alike = contrast(vectors, _to(vectors, self._co_liked(texts)), self.temperatures["co_likes"])
            losses["co_likes"] = weights.co_likes * alike
        if weights.autoencoder:
            by_user = self.likes[:, columns].tocsr()
            users = rng.permutation(np.flatnonzero(np.diff(by_user.indptr) > 1))[:_MOST_USERS]
            losses["autoencoder"] = weights.autoencoder * autoencode(vectors, _to(vectors, by_user[users].toarray()))
        if self.teacher is not None:
            teacher = _select(self.teacher, columns)
            losses["distillation"] = weights.distillation * distil(vectors, teacher, self.config.temperature)
        return losses

    def _from_links(
        self,
        vectors: Tensor,
        texts: NDArray[np.int64],
        links: NDArray[np.int64],
        teller: nn.Linear,
        rng: np.random.Generator,
    ) -> dict[str, Tensor]:
        weights, losses = self.config.objectives, {}
        near = self._linked(texts)
        if weights.neighbours:
            alike = contrast(vectors, _to(vectors, near), self.temperatures["neighbours"])
            losses["neighbours"] = weights.neighbours * alike
        row = np.full(len(self.tokens), -1, np.int64)
        row[texts] = np.arange(len(texts))
        a, b, relation = *row[self.links[:, links]], self.relation[links]
        kept = (a >= 0) & (b >= 0)
        if weights.relations and kept.any():
            a, b, relation = a[kept], b[kept], relation[kept]
            other = rng.permutation(b)
            apart = (near[a, other] == 0) & (a != other)  # as many pairs without a relation
            none = np.full(int(apart.sum()), teller.out_features - 1, np.int64)
            parts = [(a, a[apart]), (b, other[apart]), (relation, none)]
            pairs = torch.from_numpy(np.stack([np.concatenate(part) for part in parts])).to(vectors.device)
            losses["relations"] = weights.relations * tell_relations(vectors, pairs[0], pairs[1], pairs[2], teller)
        return losses


def _select(vectors: Tensor, rows: NDArray[np.int64]) -> Tensor:
    return vectors[torch.from_numpy(rows).to(vectors.device)]


def _to(like: Tensor, values: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32)).to(like.device)
