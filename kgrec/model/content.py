"""Kernel ridge from what an item is, its text and its links, straight to who likes it: for items nobody has met."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array
from torch import Tensor

from kgrec.graph.propagation import LINKS, Channel, ItemLinks, unit_idf_weights
from kgrec.model.item_item import TEXT_SHARPNESS, ItemItem, invert

_POPULARITY_EXPONENT = 0.3
_LINKS_DIM = 256
_JITTER = 1e-5


@dataclass(frozen=True)
class Content:
    """A like of a met item adds to a cold item what their likeness says; additive over a user's likes.

    The kernel is exp(8 (cosine of texts - 1) + link_weight cosine of links), the second in the leading directions of
    the idf-weighted incidence. In a large catalogue landmarks stand for all met items (Williams and Seeger, "Using the
    Nyström method", 2001), so that cost is linear in items.

    Attributes:
        landmarks: (n_landmarks, width) float32, features of the landmarks.
        onto: (n_first, n_landmarks) float32: what a like of an item of the training adds to the landmarks' weights;
            0 for items that nobody liked.
        kernel: (n_cold, n_landmarks) float32, the kernel of each cold item less `mean`, in the order of their rows.
        mean: (n_landmarks,) float32, the mean kernel of the met items: what is told is how an item differs from these,
            so that content moves no cold item up or down against the others.
        axes: (n_codes, links_dim) float32: what a link adds to a feature.
        idf: (n_codes,) float32.
        link_weight: see above.
    """

    landmarks: NDArray[np.float32]
    onto: NDArray[np.float32]
    kernel: NDArray[np.float32]
    mean: NDArray[np.float32]
    axes: NDArray[np.float32]
    idf: NDArray[np.float32]
    link_weight: float

    def score(self, support: csr_array) -> Tensor:
        """Scores of the cold items for supports (n_users, n_items): (n_users, n_cold) float32."""
        shown = torch.from_numpy(support[:, : len(self.onto)] @ self.onto)  # (n_users, n_landmarks)
        return shown @ torch.from_numpy(self.kernel).T

    def shares(self, likes: NDArray[np.int64], cold: NDArray[np.int64]) -> NDArray[np.float32]:
        """What each like, (n,) item rows, adds to some cold items, given by their places: (n, n_cold)."""
        first = likes < len(self.onto)  # an added item has no row
        shares = np.zeros((len(likes), len(cold)), np.float32)
        shares[first] = self.onto[likes[first]] @ self.kernel[cold].T
        return shares

    def place(self, text: NDArray[np.float32] | None, codes: NDArray[np.int64]) -> NDArray[np.float32]:
        """A row of `kernel` for a new item, (n_landmarks,) float32, from its unit text vector and its link codes."""
        incidence = csr_array(np.ones((1, len(codes)), np.float32))
        weights = unit_idf_weights(incidence, self.idf[codes]) if len(codes) else incidence
        text_dim = self.landmarks.shape[1] - self.axes.shape[1]
        own = np.zeros((1, text_dim), np.float32) if text is None or not text_dim else text[None]
        features = _to_features(own, weights @ self.axes[codes], self.link_weight)
        found: NDArray[np.float32] = _kernel(features, self.landmarks, text_dim)[0] - self.mean
        return found


def fit_content(
    likes: csr_array,
    text: NDArray[np.float32],
    links: ItemLinks,
    channels: list[Channel],
    cold: NDArray[np.bool_],
    item_item: ItemItem | None,
    *,
    link_weight: float,
    regularisation: float,
    max_items: int,
    n_landmarks: int,
    seed: int,
) -> Content | None:
    """Solves the kernel ridge onto the likes' columns, each times popularity^-0.3.

    Args:
        likes: (n_users, n_items) of 1s.
        text: (n_items, text_dim) float32 unit vectors, zeros for an item without a text; text_dim may be 0.
        links: the items' links.
        channels: from `propagate`; that of the links is read.
        cold: (n_items,) bool: the items to score.
        item_item: what a like makes expect of the met items: these count as likes by so much; None: they do not.
        link_weight: see `Content`.
        regularisation: in diagonals of the kernel.
        max_items: so many met items are all landmarks.
        n_landmarks: of more than these so many are.
        seed: of their choice.

    Returns:
        None where items have neither texts nor links.
    """
    vectors = next((c.vectors for c in channels if c.name == LINKS and c.vectors is not None), None)
    axes = np.zeros((len(links.idf), 0), np.float32) if vectors is None else vectors[:, :_LINKS_DIM]
    if not text.shape[1] and not axes.shape[1]:
        return None
    weights = unit_idf_weights(links.incidence, links.idf)
    features, text_dim = _to_features(text, weights @ axes, link_weight), text.shape[1]
    popularity = np.bincount(likes.indices, minlength=likes.shape[1])
    met = np.flatnonzero(popularity)
    if len(met) <= max_items:
        landmarks = features[met]
        among = _kernel(landmarks, landmarks, text_dim)  # (n_met, n_met)
        mean = (among.sum(axis=0) - np.diag(among)) / max(len(met) - 1, 1)
        among[np.diag_indices_from(among)] += regularisation * float(np.diag(among).mean())
        solved = invert(among)
    else:
        drawn = np.random.default_rng(seed).choice(len(met), n_landmarks, replace=False)
        landmarks = features[met[np.sort(drawn)]]
        solved, mean = _solve_by_landmarks(features[met], landmarks, text_dim, regularisation)
    solved *= (popularity[met, None] ** -_POPULARITY_EXPONENT).astype(np.float32)
    onto = np.zeros((likes.shape[1], len(landmarks)), np.float32)
    onto[met] = solved
    if item_item is not None:
        expected = item_item.rows(torch.from_numpy(met))[:, met].numpy()
        onto[met] += expected @ solved
    kernel = _kernel(features[cold], landmarks, text_dim) - mean
    return Content(landmarks, onto, kernel, mean.astype(np.float32), axes, links.idf, link_weight)


def _solve_by_landmarks(
    features: NDArray[np.float32], landmarks: NDArray[np.float32], text_dim: int, regularisation: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What each met item adds to the landmarks' weights, (n_met, n_landmarks), and their mean kernel."""
    among = _kernel(landmarks, landmarks, text_dim)  # (n_landmarks, n_landmarks)
    shown = _kernel(features, landmarks, text_dim)  # (n_met, n_landmarks)
    exact = shown.astype(np.float64)  # rounding would make the nearly singular matrix indefinite
    left = exact.T @ exact + regularisation * float(np.diag(among).mean()) * among
    left[np.diag_indices_from(left)] += _JITTER * float(np.diag(left).mean())
    factor = cho_factor(left, lower=True, overwrite_a=True, check_finite=False)
    solver = cho_solve(factor, np.eye(len(landmarks)), overwrite_b=True, check_finite=False).astype(np.float32)
    # a landmark's likeness to itself tells nothing
    mean = (shown.sum(axis=0) - np.diag(among)) / max(len(features) - 1, 1)
    return shown @ solver, mean


def _to_features(text: NDArray[np.float32], linked: NDArray[np.float32], link_weight: float) -> NDArray[np.float32]:
    """Features whose inner product is the kernel's exponent, up to a constant: (n, text_dim + links_dim) float32."""
    length = np.maximum(np.linalg.norm(linked, axis=1, keepdims=True), 1e-9)
    parts = [text * TEXT_SHARPNESS**0.5, linked / length * link_weight**0.5]
    return np.hstack(parts).astype(np.float32)


def _kernel(a: NDArray[np.float32], b: NDArray[np.float32], text_dim: int) -> NDArray[np.float32]:
    exponent = a @ b.T - (TEXT_SHARPNESS if text_dim else 0.0)
    kernel: NDArray[np.float32] = np.exp(exponent).astype(np.float32)
    return kernel
