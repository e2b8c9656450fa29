"""The prior: maps channels to the backbone's vector space, for items without likes and for users."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array
from torch import Tensor, nn

from kgrec.graph.hetero import VECTOR
from kgrec.graph.node_links import NodeLinks, unit_idf_weights
from kgrec.graph.propagation import ATTRIBUTES, LINKS, NEIGHBOURS, PROFILES, TEXT, Channel
from kgrec.model.component import HALF, INT8

_BATCH = 512
_SLIGHT = 1e-3
_BLOCK_ITEMS = 8192  # items whose weighted features are in memory at once


@dataclass(frozen=True)
class PriorSettings:
    """The settings of the prior.

    Attributes:
        regularisation: of the ridge.
        gates: a factor for each kind of channel: "text", "vector:<column>", "paths", "links", "attributes", "profiles",
            "neighbours".
        steps: gradient steps of the hidden layer; 0: the ridge alone.
    """

    regularisation: float
    gates: dict[str, float]
    steps: int = 0


def channel_kind(channel: Channel) -> str:
    """The kind of a channel, which names its gate; see `PriorSettings`."""
    kind = channel.name.split(":")[0]
    if kind in (PROFILES, ATTRIBUTES, NEIGHBOURS):
        return kind
    return "paths" if channel.relation is not None else channel.name


@dataclass(frozen=True)
class RidgeProblem:
    """The normal equations of channels -> backbone vectors; many settings are tried on the same products.

    Attributes:
        features: (n_items, width) float32: the channels side by side.
        kinds: (width,) the kind of channel of each column.
        left: (width, width) float32, F' diag(weights) F over the fitted items.
        right: (width, dim) float32, F' diag(weights) (Z - mean).
        mean: (dim,) float32, the weighted mean backbone vector.
        start: (width, dim) float32, the weights that the ridge shrinks to.
    """

    features: NDArray[np.float32]
    kinds: NDArray[np.str_]
    left: NDArray[np.float32]
    right: NDArray[np.float32]
    mean: NDArray[np.float32]
    start: NDArray[np.float32]

    def solve(self, settings: PriorSettings) -> NDArray[np.float32]:
        """The ridge's weights, (width, dim) float32, with the gates multiplied in."""
        gates = np.array([settings.gates.get(kind, 1.0) for kind in self.kinds], np.float32)
        kept = np.flatnonzero(gates)
        scaled = gates[kept, None]
        left = self.left[np.ix_(kept, kept)] * scaled * scaled.T
        left[np.diag_indices_from(left)] += settings.regularisation
        weights: NDArray[np.float32] = self.start * (gates != 0)[:, None]
        rest = self.right[kept]
        if weights.any():
            rest = rest - self.left[kept] @ weights
        weights[kept] += scaled * cho_solve(cho_factor(left, lower=True, overwrite_a=True), scaled * rest)
        return weights

    def predict(self, settings: PriorSettings) -> NDArray[np.float32]:
        """The ridge's vector of every item, (n_items, dim) float32."""
        return (self.features @ self.solve(settings) + self.mean).astype(np.float32)


def build_ridge_problem(
    channels: Sequence[Channel], item_vectors: NDArray[np.float32], item_weights: NDArray[np.float32]
) -> RidgeProblem:
    """Builds the normal equations; items of weight 0 are not learned from.

    Args:
        channels: from `propagate`.
        item_vectors: (n_items, dim) float32 backbone vectors.
        item_weights: (n_items,) float32.
    """
    n_items = len(item_vectors)
    features = np.hstack([channel.features for channel in channels] or [np.zeros((n_items, 0), np.float32)])
    kinds = np.array([channel_kind(c) for c in channels for _ in range(c.features.shape[1])], dtype=np.str_)
    mean = np.average(item_vectors, axis=0, weights=item_weights).astype(np.float32)
    width, dim = features.shape[1], item_vectors.shape[1]
    left, right = np.zeros((width, width), np.float32), np.zeros((width, dim), np.float32)
    roots = np.sqrt(item_weights)[:, None]
    for start in range(0, n_items, _BLOCK_ITEMS):
        rows = slice(start, start + _BLOCK_ITEMS)
        weighted = (features[rows] * roots[rows]).astype(np.float32)
        left += weighted.T @ weighted  # of itself: numpy computes one triangle
        right += weighted.T @ ((item_vectors[rows] - mean) * roots[rows]).astype(np.float32)
    return RidgeProblem(features, kinds, left, right, mean, np.zeros_like(right))


def start_from_means(problem: RidgeProblem, channels: Sequence[Channel]) -> RidgeProblem:
    """The same problem, shrunk to a multiple of the mean vectors of linked nodes rather than to 0.

    A mean of backbone vectors, such as that of a user's friends, is a vector of the same space. One factor for each
    such channel, by least squares, needs little data; noise gets a factor near 0.

    Args:
        problem: the problem.
        channels: the channels that it was built from.
    """
    dim, start, blocks = problem.right.shape[1], 0, []
    for channel in channels:
        end = start + channel.features.shape[1]
        if channel.relation is not None and channel_kind(channel) in (PROFILES, ATTRIBUTES, NEIGHBOURS):
            blocks.append(np.arange(start, end))
        start = end
    if not blocks:
        return problem
    left = np.array([[np.trace(problem.left[np.ix_(one, other)]) for other in blocks] for one in blocks])
    right = np.array([np.trace(problem.right[rows]) for rows in blocks])
    ridge = _SLIGHT * max(float(np.trace(left)) / len(blocks), _SLIGHT)
    factors = np.linalg.solve(left + ridge * np.eye(len(blocks)), right)
    weights = np.zeros_like(problem.right)
    for rows, factor in zip(blocks, factors.tolist(), strict=True):
        weights[rows, np.arange(dim)] = factor
    return replace(problem, start=weights)


class HiddenLayer(nn.Module):
    """The non-linear part: dim <- GELU(hidden) <- channels, starting at 0, trained on the ridge's residuals."""

    def __init__(self, width: int, hidden: int, dim: int) -> None:
        """Draws the hidden weights from torch's current random state; the output weights are 0."""
        super().__init__()
        self.into = nn.Linear(width, hidden)
        self.out = nn.Linear(hidden, dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, features: Tensor) -> Tensor:
        """(n, width) -> (n, dim)."""
        answer: Tensor = self.out(nn.functional.gelu(self.into(features)))
        return answer


def fit_hidden_layer(
    features: NDArray[np.float32],
    residuals: NDArray[np.float32],
    item_weights: NDArray[np.float32],
    user_gram: NDArray[np.float32],
    *,
    hidden: int,
    steps: int,
    seed: int,
) -> HiddenLayer:
    """Fits the hidden layer to the ridge's residuals.

    The loss is the weighted mean of e' C e, with e the error and C the users' Gram matrix: the squared error of the
    users' scores, not of the vectors.

    Args:
        features: (n_items, width) float32, gated.
        residuals: (n_items, dim) float32, backbone vector minus ridge.
        item_weights: (n_items,) float32.
        user_gram: (dim, dim) float32, W'W / n_users.
        hidden: width of the layer.
        steps: Adam steps over batches of 512 items.
        seed: of the start, the batches and the dropout.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = HiddenLayer(features.shape[1], hidden, residuals.shape[1])
        optimiser = torch.optim.AdamW(layer.parameters(), lr=1e-3, weight_decay=1e-2)
        rows = torch.from_numpy(np.flatnonzero(item_weights))
        x, y = torch.from_numpy(features), torch.from_numpy(residuals)
        weights, gram = torch.from_numpy(item_weights), torch.from_numpy(user_gram)
        for _ in range(steps):
            batch = rows[torch.randint(len(rows), (min(len(rows), _BATCH),))]
            kept = nn.functional.dropout(torch.ones(x.shape[1]), 0.3)  # one mask for a batch is as good and far cheaper
            error = layer(x[batch] * kept) - y[batch]  # (batch, dim)
            loss = (weights[batch] * ((error @ gram) * error).sum(dim=1)).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return layer.eval()


class ItemEncoder(Protocol):
    """Places any item in the backbone's space from its text vector and its links; the cost is linear in its links.

    The order of links does not matter. A cold item of the training graph gets the vector that it got in training.
    """

    @property
    def relation(self) -> NDArray[np.int64]:
        """(n_codes,) the place in `NodeLinks.relations` of each link code."""

    def place(
        self, text: NDArray[np.float32] | None, codes: NDArray[np.int64], vectors: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """The vector of one item.

        Args:
            text: (text_dim,) float32 unit vector of its text; None: it has none.
            codes: (n,) int64, its link codes.
            vectors: (vectors_dim,) float32: its vector columns side by side, NaN for a missing one; None: all missing.

        Returns:
            (dim,) float32.
        """

    def place_all(self, text: NDArray[np.float32] | None, incidence: csr_array) -> NDArray[np.float32]:
        """The vectors of many nodes, (n, dim) float32, without vector columns; as `place` of each of them.

        Args:
            text: (n, text_dim) float32 unit vectors, zeros for a node without a text; None: none has one.
            incidence: (n, n_codes) float32 of 1s, their link codes.
        """


@dataclass(frozen=True)
class Prior:
    """The item encoder in closed form: relation paths and a ridge.

    Everything before the hidden layer's GELU is linear, so it is stored as tables of width `dim + hidden`: what each
    link code adds.

    Attributes:
        bias: (width,) float32.
        text_mean: (text_dim,) float32; text_weight: (text_dim, width) float32.
        path_table: (n_codes, width) float32, added as a mean over an item's links of one relation.
        links_table: (n_codes, width) float32, added with idf weights, of length 1 over an item's links and over the
            values of its attributes; links_offset, values_offset: (width,), subtracted where it has any.
        profiles_table: (n_codes, width) float32, added with idf weights that sum to 1 over the links of each relation.
        out_weight: (hidden, dim) float32; out_bias: (dim,) float32.
        idf: (n_codes,) float32.
        relation: (n_codes,) int64.
        is_value: (n_codes,) bool: whether a code is the value of an attribute.
        vector_mean: (vectors_dim,) float32; vector_weight: (vectors_dim, width) float32: of the item's vector columns,
            side by side in the order of the schema.
    """

    bias: NDArray[np.float32]
    text_mean: NDArray[np.float32]
    text_weight: NDArray[np.float32] = field(metadata=HALF)
    path_table: NDArray[np.float32] = field(metadata=INT8)
    links_table: NDArray[np.float32] = field(metadata=INT8)
    links_offset: NDArray[np.float32]
    values_offset: NDArray[np.float32]
    profiles_table: NDArray[np.float32] = field(metadata=INT8)
    out_weight: NDArray[np.float32]
    out_bias: NDArray[np.float32]
    idf: NDArray[np.float32]
    relation: NDArray[np.int64]
    is_value: NDArray[np.bool_]
    vector_mean: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    vector_weight: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def place(
        self, text: NDArray[np.float32] | None, codes: NDArray[np.int64], vectors: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """The vector of one item; see `ItemEncoder`."""
        state = self.bias.copy()
        if text is not None and len(self.text_mean):
            state += (text - self.text_mean) @ self.text_weight
        if vectors is not None and len(self.vector_mean):
            state += np.nan_to_num(vectors - self.vector_mean) @ self.vector_weight
        if len(codes):
            relations = self.relation[codes]
            share = 1 / np.bincount(relations)[relations]  # each relation's links add up to 1
            state += share.astype(np.float32) @ self.path_table[codes]
            for own, offset in self._groups(codes):
                if len(own):
                    one = csr_array(np.ones((1, len(own)), np.float32))
                    state += (unit_idf_weights(one, self.idf[own]) @ self.links_table[own])[0] - offset
            idf = self.idf[codes]
            total = np.maximum(np.bincount(relations, idf)[relations], 1e-9)
            state += (idf / total).astype(np.float32) @ self.profiles_table[codes]
        placed: NDArray[np.float32] = self._read_out(state[None])[0]
        return placed

    def place_all(self, text: NDArray[np.float32] | None, incidence: csr_array) -> NDArray[np.float32]:
        """The vectors of many nodes; see `ItemEncoder`."""
        state = np.tile(self.bias, (incidence.shape[0], 1))
        if text is not None and len(self.text_mean):
            has_text = text.any(axis=1)
            state[has_text] += (text[has_text] - self.text_mean) @ self.text_weight
        codes = incidence.indices
        owner = np.repeat(np.arange(incidence.shape[0]), np.diff(incidence.indptr))
        by_relation = owner * (int(self.relation.max(initial=0)) + 1) + self.relation[codes]
        by_group = 2 * owner + self.is_value[codes]
        idf, size = self.idf[codes].astype(np.float64), incidence.shape[0]
        weights = (
            (1 / np.maximum(np.bincount(by_relation), 1)[by_relation], self.path_table),
            (idf / np.maximum(np.bincount(by_relation, idf), 1e-9)[by_relation], self.profiles_table),
            (idf / np.maximum(np.sqrt(np.bincount(by_group, idf**2)), 1e-9)[by_group], self.links_table),
        )
        for data, table in weights:
            state += csr_array((data.astype(np.float32), codes, incidence.indptr), shape=incidence.shape) @ table
        has_links, has_values = np.bincount(by_group, minlength=2 * size).reshape(size, 2).T > 0
        state -= np.outer(has_links, self.links_offset) + np.outer(has_values, self.values_offset)
        return self._read_out(state)

    def _groups(self, codes: NDArray[np.int64]) -> tuple[tuple[NDArray[np.int64], NDArray[np.float32]], ...]:
        """An item's links and the values of its attributes, each with its offset."""
        values = self.is_value[codes]
        return (codes[~values], self.links_offset), (codes[values], self.values_offset)

    def _read_out(self, state: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, width) -> (n, dim): the linear part and the hidden layer's."""
        dim = len(self.out_bias)
        hidden: NDArray[np.float32] = torch.nn.functional.gelu(torch.from_numpy(state[:, dim:])).numpy()
        found: NDArray[np.float32] = state[:, :dim] + hidden @ self.out_weight + self.out_bias
        return found


def build_prior(
    channels: Sequence[Channel],
    links: NodeLinks,
    problem: RidgeProblem,
    settings: PriorSettings,
    layer: HiddenLayer | None,
) -> Prior:
    """Folds the fitted weights into what a text and each link code add.

    Args:
        channels: the channels that `problem` was built from.
        links: the links that the channels were built from.
        problem: the ridge.
        settings: its settings.
        layer: the hidden layer, or None.
    """
    dim = problem.right.shape[1]
    weights = problem.solve(settings)  # (width, dim)
    bias, out_weight, out_bias = (
        problem.mean.astype(np.float32),
        np.zeros((0, dim), np.float32),
        np.zeros(dim, np.float32),
    )
    if layer is not None:
        gates = np.array([settings.gates.get(kind, 1.0) for kind in problem.kinds], dtype=np.float32)
        into = layer.into.weight.detach().numpy().T * gates[:, None]  # (width, hidden)
        weights = np.hstack([weights, into])
        bias = np.concatenate([bias, layer.into.bias.detach().numpy()])
        out_weight, out_bias = layer.out.weight.detach().numpy().T.copy(), layer.out.bias.detach().numpy().copy()
    width, n_codes = weights.shape[1], len(links.idf)
    text_mean, text_weight = np.zeros(0, np.float32), np.zeros((0, width), np.float32)
    tables = {kind: np.zeros((n_codes, width), np.float32) for kind in ("paths", LINKS, PROFILES)}
    offsets = {kind: np.zeros(width, np.float32) for kind in (LINKS, ATTRIBUTES)}
    vector_means, vector_weights = [np.zeros(0, np.float32)], [np.zeros((0, width), np.float32)]
    start = 0
    for channel in channels:
        end = start + channel.features.shape[1]
        onto = channel.basis @ weights[start:end]  # (in_dim, width)
        start = end
        if channel.name == TEXT:
            text_mean, text_weight = channel.mean, onto
        elif channel.name.startswith(VECTOR) and channel.relation is None:
            vector_means.append(channel.mean)
            vector_weights.append(onto)
        elif channel.relation is not None and channel.vectors is not None:
            table = PROFILES if channel_kind(channel) in (PROFILES, ATTRIBUTES) else "paths"
            tables[table][links.relation == channel.relation] += (channel.vectors - channel.mean) @ onto
        elif channel.vectors is not None:
            tables[LINKS] += channel.vectors @ onto
            offsets[channel.name] += channel.mean @ onto
    return Prior(
        bias, text_mean, text_weight, tables["paths"], tables[LINKS], offsets[LINKS], offsets[ATTRIBUTES],
        tables[PROFILES], out_weight, out_bias, links.idf, links.relation, links.is_value,
        np.concatenate(vector_means), np.concatenate(vector_weights),
    )  # fmt: skip
