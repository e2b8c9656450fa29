"""Content: kernel ridge from what an item is, its text and its links, straight to who likes it, for cold items."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array
from torch import Tensor

from kgrec.config import ContentConfig
from kgrec.graph.propagation import LINKS, Channel, ItemLinks, unit_idf_weights
from kgrec.model.component import HALF, INT8, DefaultWeights, ItemChange, Scale, Shares, Support, sum_likes, sum_shares
from kgrec.model.inputs import FitInputs
from kgrec.model.item_item import ItemItem

TEXT_SHARPNESS = 8.0  # of the texts' kernel exp(sharpness (cosine - 1))
_POPULARITY_EXPONENT = 0.3
_LINKS_DIM = 256
_JITTER = 1e-5
_BLOCK = 2048
_MOST_REFERENCES = 20_000  # items whose kernel says which directions matter
_OVERSAMPLES, _PASSES = 32, 2

Expect = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class Content:
    """A like of a met item adds to a cold item what their likeness says; additive over a user's likes.

    The kernel is exp(8 (cosine of texts - 1) + link_weight cosine of links), the second in the leading directions of
    the idf-weighted incidence. In a large catalogue landmarks stand for all met items (Williams and Seeger, "Using the
    Nyström method", 2001), so that cost is linear in items. What likes add by way of the kernel is cut to its leading
    directions.

    Attributes:
        items: (n_items, rank) float32: a cold item's kernel less `mean`, times `basis`; zeros for the others.
        onto: (n_items, rank) float32: what a like of an item adds; zeros for items that nobody liked.
        landmarks: (n_landmarks, width) float32, features of the landmarks.
        basis: (n_landmarks, rank) float32.
        mean: (n_landmarks,) float32, the mean kernel of the met items: the score is how an item differs from these,
            so that content moves no cold item up or down against the others.
        axes: (n_codes, links_dim) float32: what a link adds to a feature.
        idf: (n_codes,) float32.
        link_weight: see above.
        cold_scale: of met items, as if they were cold.
    """

    name: ClassVar[str] = "content"
    baseline: ClassVar[str] = ""
    weights: ClassVar[DefaultWeights] = DefaultWeights(cold=1.0)
    neighbours = None
    warm_scale = None
    items: Tensor = field(metadata=HALF)
    onto: Tensor = field(metadata=HALF)
    landmarks: Tensor = field(metadata=HALF)
    basis: Tensor
    mean: Tensor
    axes: Tensor = field(metadata=INT8)
    idf: Tensor
    link_weight: float
    cold_scale: Scale

    @classmethod
    def fit(cls, inputs: FitInputs) -> "Content | None":
        """Solves the kernel ridge, likes being those of users and what an item-item ridge expects of them."""
        item_item = inputs.earlier.get(ItemItem.name)
        expect = item_item.expect if isinstance(item_item, ItemItem) else None
        config = inputs.config.content
        return fit_content(
            inputs.likes, inputs.text.numpy(), inputs.links, inputs.channels, config, link_weight=config.link_weight,
            seed=inputs.config.seed, expect=expect,
        )  # fmt: skip

    def users(self, support: Support) -> Tensor:
        """The sums of what the likes add, (n_users, rank)."""
        return sum_likes(support.likes, self.onto)

    def shares(self, support: Support) -> Shares:
        """What each like adds."""
        return sum_shares(support, self.onto)

    def place(self, text: NDArray[np.float32] | None, codes: NDArray[np.int64]) -> NDArray[np.float32]:
        """A row of `items` for a new item, (rank,) float32, from its unit text vector and its link codes."""
        incidence = csr_array(np.ones((1, len(codes)), np.float32))
        weights = unit_idf_weights(incidence, self.idf.numpy()[codes]) if len(codes) else incidence
        text_dim = self.landmarks.shape[1] - self.axes.shape[1]
        own = np.zeros((1, text_dim), np.float32) if text is None or not text_dim else text[None]
        features = _to_features(own, weights @ self.axes.numpy()[codes], self.link_weight)
        kernel = _kernel(features, self.landmarks.numpy(), text_dim)[0] - self.mean.numpy()
        found: NDArray[np.float32] = kernel @ self.basis.numpy()
        return found

    def with_items(self, change: ItemChange) -> "Content":
        """New items are placed by their kernel; a like of one adds nothing."""
        texts = change.text[torch.from_numpy(change.rows)].numpy()
        placed = [
            self.place(text if text.any() else None, codes) for text, codes in zip(texts, change.codes, strict=True)
        ]
        stacked = np.stack(placed) if placed else np.zeros((0, self.items.shape[1]), np.float32)
        return replace(self, items=change.carry(self.items, torch.from_numpy(stacked)), onto=change.carry(self.onto))


def fit_content(
    likes: csr_array,
    text: NDArray[np.float32],
    links: ItemLinks,
    channels: list[Channel],
    config: ContentConfig,
    *,
    link_weight: float,
    seed: int,
    expect: Expect | None = None,
) -> Content | None:
    """Solves the kernel ridge onto the likes' columns, each times popularity^-0.3.

    Args:
        likes: (n_users, n_items) of 1s.
        text: (n_items, text_dim) float32 unit vectors, zeros for an item without a text; text_dim may be 0.
        links: the items' links.
        channels: from `propagate`; that of the links is read.
        config: sizes and the regularisation, in diagonals of the kernel.
        link_weight: see `Content`.
        seed: of the choice of landmarks and of the directions.
        expect: (n_items, rank) -> (n_items, rank), what a like of each item makes expect of the others, times a
            matrix: these count as likes by so much; None: they do not.

    Returns:
        None where items have neither texts nor links, or nobody likes anything.
    """
    vectors = next((c.vectors for c in channels if c.name == LINKS and c.vectors is not None), None)
    axes = np.zeros((len(links.idf), 0), np.float32) if vectors is None else vectors[:, :_LINKS_DIM]
    popularity = np.bincount(likes.indices, minlength=likes.shape[1])
    met = np.flatnonzero(popularity)
    if not (text.shape[1] or axes.shape[1]) or not len(met):
        return None
    weights = unit_idf_weights(links.incidence, links.idf)
    features, text_dim = _to_features(text, weights @ axes, link_weight), text.shape[1]
    rng = np.random.default_rng(seed)
    drawn = met
    if len(met) > config.max_items:
        drawn = np.sort(rng.choice(met, min(config.landmarks, len(met)), replace=False))
    landmarks = features[drawn]
    kernel = _Kernel(features, landmarks, text_dim)
    solve, mean = _factor(kernel, met, drawn, config.regularisation)
    strength = (popularity[met, None] ** -_POPULARITY_EXPONENT).astype(np.float32)
    rank = min(config.rank, len(drawn))
    onto, basis = _cut(kernel, solve, len(drawn), mean, met, strength, popularity[met], rank, rng)
    whole = np.zeros((likes.shape[1], rank), np.float32)
    whole[met] = onto
    if expect is not None:
        whole += expect(whole)
    unmet = np.flatnonzero(popularity == 0)
    items = np.zeros((likes.shape[1], rank), np.float32)
    for rows in _blocks(unmet):
        items[rows] = (kernel.of(rows) - mean) @ basis
    references = _draw(met, rng)
    own = kernel.of(references) - mean
    own[np.isin(references, drawn), np.searchsorted(drawn, references[np.isin(references, drawn)])] = 0
    scale = Scale.of(torch.from_numpy(own @ basis))
    return Content(
        items=torch.from_numpy(items), onto=torch.from_numpy(whole), landmarks=torch.from_numpy(landmarks),
        basis=torch.from_numpy(np.ascontiguousarray(basis)), mean=torch.from_numpy(mean),
        axes=torch.from_numpy(np.ascontiguousarray(axes)), idf=torch.from_numpy(links.idf), link_weight=link_weight,
        cold_scale=scale,
    )  # fmt: skip


@dataclass(frozen=True)
class _Kernel:
    """The kernel of items and landmarks, computed for the rows that are asked for."""

    features: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    text_dim: int

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n, n_landmarks) for item rows (n,)."""
        return _kernel(self.features[rows], self.landmarks, self.text_dim)


def _factor(
    kernel: _Kernel, met: NDArray[np.int64], drawn: NDArray[np.int64], regularisation: float
) -> tuple[Expect, NDArray[np.float32]]:
    """What solves the ridge for columns, (n_landmarks, width), and the mean kernel of the met items."""
    among = kernel.of(drawn)
    ridge = regularisation * float(np.diag(among).mean())
    if len(drawn) == len(met):
        total = among.sum(axis=0)
        left = among.astype(np.float64)
        left[np.diag_indices_from(left)] += ridge
    else:
        total = np.zeros(len(drawn), np.float64)
        left = ridge * among.astype(np.float64)
        for rows in _blocks(met):
            shown = kernel.of(rows).astype(np.float64)  # rounding would make the nearly singular matrix indefinite
            left += shown.T @ shown
            total += shown.sum(axis=0)
        left[np.diag_indices_from(left)] += _JITTER * float(np.diag(left).mean())
    factor = cho_factor(left, lower=True, overwrite_a=True, check_finite=False)

    def solve(columns: NDArray[np.float32]) -> NDArray[np.float32]:
        solved: NDArray[np.float32] = cho_solve(factor, columns.astype(np.float64), check_finite=False)
        return solved.astype(np.float32)

    mean = (total - np.diag(among)) / max(len(met) - 1, 1)  # a landmark's likeness to itself says nothing
    return solve, mean.astype(np.float32)


def _cut(
    kernel: _Kernel,
    solve: Expect,
    n_landmarks: int,
    mean: NDArray[np.float32],
    met: NDArray[np.int64],
    strength: NDArray[np.float32],
    popularity: NDArray[np.int64],
    rank: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Factors of what a like adds by way of the kernel: (n_met, rank) and (n_landmarks, rank).

    With O, (n_met, n_landmarks), what likes add to the landmarks' weights and K the kernels of items, what is kept of
    O K' is Q Q' O K', Q an orthonormal basis of its range (Halko et al. 2011), each like weighing by its item's likes.
    """
    exact = n_landmarks == len(met)
    root = np.sqrt(popularity, dtype=np.float32)[:, None]

    def onto(x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Root-weighted O times (n_landmarks, width)."""
        solved = solve(x)
        found = solved if exact else np.vstack([kernel.of(rows) @ solved for rows in _blocks(met)])
        return np.asarray(root * strength * found, np.float32)

    def back(y: NDArray[np.float32]) -> NDArray[np.float32]:
        """The transpose of `onto` times (n_met, width)."""
        weighted = root * strength * y
        if not exact:
            places = np.arange(len(met))
            weighted = sum(
                (kernel.of(met[rows]).T @ weighted[rows] for rows in _blocks(places)), np.zeros((n_landmarks, 1))
            )
        return solve(weighted)

    shown = kernel.of(_draw(met, rng)) - mean  # (n_references, n_landmarks)
    width = min(rank + _OVERSAMPLES, len(met), n_landmarks)
    basis = onto(np.asarray(shown.T @ rng.standard_normal((len(shown), width), np.float32), np.float32))
    for _ in range(_PASSES):
        basis = np.linalg.qr(basis)[0].astype(np.float32)
        basis = onto(np.asarray(shown.T @ (shown @ back(basis)), np.float32))
    basis = np.linalg.qr(basis)[0]
    across = back(basis)  # (n_landmarks, width)
    seen = shown @ across
    values, directions = np.linalg.eigh(seen.T @ seen)
    kept = directions[:, np.argsort(-values)[:rank]].astype(np.float32)
    return np.asarray((basis @ kept) / root, np.float32), np.asarray(across @ kept, np.float32)


def _draw(met: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    if len(met) <= _MOST_REFERENCES:
        return met
    return np.sort(rng.choice(met, _MOST_REFERENCES, replace=False))


def _blocks(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    return (rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK))


def _to_features(text: NDArray[np.float32], linked: NDArray[np.float32], link_weight: float) -> NDArray[np.float32]:
    """Features whose inner product is the kernel's exponent, up to a constant: (n, text_dim + links_dim) float32."""
    length = np.maximum(np.linalg.norm(linked, axis=1, keepdims=True), 1e-9)
    parts = [text * TEXT_SHARPNESS**0.5, linked / length * link_weight**0.5]
    return np.hstack(parts).astype(np.float32)


def _kernel(a: NDArray[np.float32], b: NDArray[np.float32], text_dim: int) -> NDArray[np.float32]:
    kernel: NDArray[np.float32] = a @ b.T - np.float32(TEXT_SHARPNESS if text_dim else 0.0)
    return np.exp(kernel, out=kernel)
