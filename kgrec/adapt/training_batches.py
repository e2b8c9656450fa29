"""The batches of an adaptation: texts drawn from likes and links, and the objectives' losses on them."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor, nn

from kgrec.adapt.embedding import autocast, chunk_rows, embed_texts
from kgrec.adapt.frozen_layers import FrozenStates, compute_frozen_states
from kgrec.adapt.objectives import autoencode, classify_relations, contrast, distil, fit_temperature
from kgrec.adapt.text_graph import TextGraph
from kgrec.config import AdaptConfig, BackboneConfig
from kgrec.model.ials import fit_ials
from kgrec.questions.splits import Likes
from kgrec.text.language_model import LanguageModel
from kgrec.training.logging import OnMetric

_TEACHER_DIM = 64
_MOST_USERS = 2048  # of a step of the autoencoder


@dataclass(frozen=True)
class TrainingBatches:
    """The data that batches are drawn from.

    Attributes:
        config: the settings.
        tokens: of each text.
        texts: (n_liked,) int64, the distinct texts of liked items.
        column: (n_texts,) int64, the column of a text in `likes`; -1: none.
        likes: (n_users, n_liked) csc of 1s.
        user_weights: (n_users,) float32, one over the user's likes.
        popularity: (n_liked,) float32, likes of each text's item.
        teacher: (n_liked, dim) float32 item vectors to distil; None: nothing is distilled.
        links: (2, n_links) int64, the texts at both ends.
        relation: (n_links,) int64.
        incident: (n_texts, n_links) csr: which links a text has.
        adjacency: (n_texts, n_texts) csr: which texts are linked; None without links.
        frozen: the states above the frozen layers, where texts are drawn often enough to keep them.
        temperatures: of the objectives `co_likes` and `neighbours`.
    """

    config: AdaptConfig
    tokens: list[list[int]]
    texts: NDArray[np.int64]
    column: NDArray[np.int64]
    likes: Any
    user_weights: NDArray[np.float32]
    popularity: NDArray[np.float32]
    teacher: Tensor | None
    links: NDArray[np.int64]
    relation: NDArray[np.int64]
    incident: Any
    adjacency: Any
    frozen: FrozenStates | None
    temperatures: dict[str, float]

    @classmethod
    def of(cls, model: LanguageModel, graph: TextGraph, likes: Likes, config: AdaptConfig) -> "TrainingBatches":
        """Tokenizes the texts, and fits the teacher and the frozen states where they are needed."""
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
            chunks = chunk_rows([tokens[text] for text in drawn], model.device)
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
    def fit_temperatures(self, model: LanguageModel, on_metric: OnMetric | None) -> "TrainingBatches":
        """Fits the temperatures to the first batch; see `fit_temperature`."""
        texts, _ = self._draw(np.random.default_rng([self.config.seed, 2, 0]))
        vectors, found = self._embed(model, texts), {}
        for name, given in self.temperatures.items():
            rows = np.flatnonzero(self.column[texts] >= 0) if name == "co_likes" else np.arange(len(texts))
            likeness = (self._co_liked if name == "co_likes" else self._linked)(texts[rows])
            found[name] = fit_temperature(_select(vectors, rows), _to(vectors, likeness), given)
            if on_metric is not None:
                on_metric(f"temperature/{name}", found[name], 0)
        return replace(self, temperatures=found)

    def compute_losses(
        self, model: LanguageModel, relation_head: nn.Linear, rng: np.random.Generator
    ) -> dict[str, float]:
        """Draws a batch, adds its gradients to the weights, and returns the loss of each objective."""
        texts, links = self._draw(rng)
        vectors = self._embed(model, texts)
        losses = self._from_likes(vectors, texts, rng)
        if len(links):
            losses |= self._from_links(vectors, texts, links, relation_head, rng)
        if losses:
            torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def _embed(self, model: LanguageModel, texts: NDArray[np.int64]) -> Tensor:
        frozen = None if self.frozen is None else self.frozen.select(texts)
        return embed_texts(model, [self.tokens[text] for text in texts], frozen)

    def _co_liked(self, texts: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n, n): the similarity of liked texts by their users, discounted by each user's likes and by popularity."""
        columns = self.column[texts]
        likes = self.likes[:, columns]
        shared: NDArray[np.float32] = (likes.T @ likes.multiply(self.user_weights[:, None])).toarray()
        return shared / self.popularity[columns] ** 0.5

    def _linked(self, texts: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n, n): which texts are linked."""
        near: NDArray[np.float32] = self.adjacency[texts][:, texts].toarray()
        return near

    def _draw(self, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draws texts of liked items; with links, half as many, and one linked text for each."""
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
        """Cuts a batch to `batch_tokens` tokens, but keeps 2 texts."""
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
        relation_head: nn.Linear,
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
            none = np.full(int(apart.sum()), relation_head.out_features - 1, np.int64)
            parts = [(a, a[apart]), (b, other[apart]), (relation, none)]
            pairs = torch.from_numpy(np.stack([np.concatenate(part) for part in parts])).to(vectors.device)
            losses["relations"] = weights.relations * classify_relations(
                vectors, pairs[0], pairs[1], pairs[2], relation_head
            )
        return losses


def _select(vectors: Tensor, rows: NDArray[np.int64]) -> Tensor:
    return vectors[torch.from_numpy(rows).to(vectors.device)]


def _to(like: Tensor, values: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32)).to(like.device)
