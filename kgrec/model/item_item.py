"""Item-item ridge with the graph in its Gram matrix: closed form, additive over a user's likes."""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array, diags_array


def weigh_likes(likes: csr_array, user_exponent: float) -> NDArray[np.float64]:
    """G = X' diag(n_u^-user_exponent) X, (n_items, n_items) float64: how often two items are liked together.

    Args:
        likes: (n_users, n_items) of 1s.
        user_exponent: how much less a like of a user with many likes weighs.
    """
    sizes = np.maximum(np.diff(likes.indptr), 1).astype(np.float64)
    weighted = diags_array(sizes**-user_exponent) @ likes
    gram: NDArray[np.float64] = (likes.T @ weighted).toarray()
    return gram


def overlap_links(weights: csr_array) -> NDArray[np.float64]:
    """K = W W' scaled to a mean diagonal of 1, (n_items, n_items) float64: how far two items share their links.

    Args:
        weights: (n_items, n_codes) idf weights of length 1 per item.
    """
    overlap: NDArray[np.float64] = (weights @ weights.T).toarray().astype(np.float64)
    return overlap / max(float(np.trace(overlap)) / len(overlap), 1e-12)


def fit_item_item(
    gram: NDArray[np.float64],
    overlap: NDArray[np.float64] | None,
    *,
    regularisation: float,
    dropout: float,
    graph_weight: float,
) -> NDArray[np.float32]:
    """Solves B = I - P diag(1 / diag P), P = (G + g tr(G)/n K + regularisation I + dropout/(1-dropout) diag G)^-1.

    The dropout term is the closed form of a denoising autoencoder that sees a user's likes with a share of them
    dropped (Steck 2019, 2020); a large share suits users with few likes. G and K are not changed.

    Args:
        gram: (n_items, n_items), from `weigh_likes`.
        overlap: (n_items, n_items), from `overlap_links`; None where items have no links.
        regularisation: ridge.
        dropout: share of likes dropped, in [0, 1).
        graph_weight: g, the weight of the overlap.

    Returns:
        B, (n_items, n_items) float32, 0 on the diagonal: row i is what a like of item i adds to every item's score.
    """
    left = gram.copy()
    if overlap is not None and graph_weight:
        left += graph_weight * np.trace(gram) / len(gram) * overlap
    left[np.diag_indices_from(left)] += regularisation + dropout / (1 - dropout) * np.diag(gram)
    inverse = cho_solve(cho_factor(left, lower=True, overwrite_a=True, check_finite=False), np.eye(len(left)))
    weights = np.ascontiguousarray(-inverse / np.diag(inverse), dtype=np.float32)  # rows are what serving gathers
    np.fill_diagonal(weights, 0)
    return weights
