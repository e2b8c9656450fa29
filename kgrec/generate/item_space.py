"""The vectors that semantic ids are made of: what items are, and what comes before and after them.

- content: texts and links, on their principal directions;
- order: factors of log(1 + lifted co-occurrences), items at most four apart in a sequence (GloVe and SVD of PMI,
  Levy and Goldberg 2014). An item in no sequence gets what a ridge regression expects of its content.

Both have length 1 for an item that has them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from kgrec.generate.item_sequences import ItemSequences

_CONTENT_DIM, _ORDER_DIM = 128, 96
_APART, _DECAY = 4, 0.7  # items further apart count less, by this factor
_POWER = 0.75  # of the counts that co-occurrences are divided by: rare pairs are no surer for being rare
_RIDGE = 1.0  # of unit vectors
_LEAST_LENGTH = 1e-6


@dataclass(frozen=True)
class ItemSpace:
    """Places items by their content.

    Attributes:
        mean: (content_dim,) float32, subtracted from content.
        basis: (content_dim, width) float32: the principal directions.
        expected: (content_dim, order_dim) float32: centred content times this is the expected order.
        order_mean: (order_dim,) float32: the expected order at the mean content.
    """

    mean: NDArray[np.float32]
    basis: NDArray[np.float32]
    expected: NDArray[np.float32]
    order_mean: NDArray[np.float32]

    def place(self, content: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, dim) float32: the vectors of items without sequences, by their content, (n, content_dim)."""
        return np.hstack([self.project(content), self.expect_order(content)])

    def project(self, content: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, width) float32 unit vectors; zeros for an item without content."""
        return _to_unit(self._centre(content) @ self.basis)

    def expect_order(self, content: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, order_dim) float32 unit vectors."""
        return _to_unit(self.order_mean + self._centre(content) @ self.expected)

    def _centre(self, content: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.where(_has_content(content)[:, None], content - self.mean, 0).astype(np.float32)


def fit_item_space(
    content: NDArray[np.float32], sequences: ItemSequences, seed: int = 0
) -> tuple[ItemSpace, NDArray[np.float32]]:
    """Fits a space to a catalogue.

    Args:
        content: (n_items, content_dim) float32: texts and links side by side, zeros where an item has none;
            content_dim may be 0.
        sequences: the training sequences.
        seed: of the randomised SVD.

    Returns:
        The space, and the vectors of the items, (n_items, dim) float32.
    """
    known = _has_content(content)
    mean = content[known].mean(axis=0) if known.any() else np.zeros(content.shape[1], np.float32)
    centred = np.where(known[:, None], content - mean, 0).astype(np.float32)
    basis = _find_directions(centred, seed)
    order = _to_unit(_factorise_order(sequences, len(content), seed))
    ordered = _has_content(order)
    order_mean = order[ordered].mean(axis=0) if ordered.any() else np.zeros(order.shape[1], np.float32)
    shown = centred[ordered].astype(np.float64)
    gram = shown.T @ shown + _RIDGE * np.eye(content.shape[1])
    expected = np.linalg.solve(gram, shown.T @ (order[ordered] - order_mean))
    space = ItemSpace(mean.astype(np.float32), basis, expected.astype(np.float32), order_mean.astype(np.float32))
    order = np.where(ordered[:, None], order, space.expect_order(content))
    return space, np.hstack([space.project(content), order]).astype(np.float32)


def _find_directions(centred: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """(content_dim, width) float32: the first principal directions of centred content."""
    from sklearn.utils.extmath import randomized_svd

    width = min(_CONTENT_DIM, *centred.shape)
    if width == centred.shape[1]:
        return np.eye(width, dtype=np.float32)
    directions: NDArray[np.float32] = randomized_svd(centred, width, random_state=seed)[2].T
    return directions.astype(np.float32)


def _factorise_order(sequences: ItemSequences, n_items: int, seed: int) -> NDArray[np.float32]:
    """(n_items, order_dim) float32, zeros for items in no sequence of two."""
    from sklearn.utils.extmath import randomized_svd

    counts = _count_pairs(sequences, n_items)
    sums = np.asarray(counts.sum(axis=0)).ravel()
    pairs = counts.tocoo()
    lifted = pairs.data * np.sqrt(sums.sum()) / (sums[pairs.row] * sums[pairs.col]) ** _POWER
    lifted = csr_array((np.log1p(lifted), (pairs.row, pairs.col)), shape=counts.shape)
    width = min(_ORDER_DIM, n_items)
    left, values, _ = randomized_svd(lifted, width, random_state=seed)
    factors = (left * np.sqrt(values)).astype(np.float32)
    return np.where(sums[:, None] > 0, factors, 0)


def _count_pairs(sequences: ItemSequences, n_items: int) -> csr_array:
    """(n_items, n_items) symmetric float64: how often two items are close in a sequence, the closer the more."""
    users = np.repeat(np.arange(sequences.n_users), sequences.lengths)
    rows, columns, weights = [], [], []
    for apart in range(1, _APART + 1):
        same = users[apart:] == users[:-apart]
        rows.append(sequences.items[:-apart][same])
        columns.append(sequences.items[apart:][same])
        weights.append(np.full(int(same.sum()), _DECAY ** (apart - 1)))
    found = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
    counts = coo_array(found, shape=(n_items, n_items)).tocsr()
    return csr_array(counts + counts.T)


def _has_content(vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.asarray(vectors.any(axis=1))


def _to_unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors of length 1; zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(lengths > _LEAST_LENGTH, vectors / np.maximum(lengths, _LEAST_LENGTH), 0).astype(np.float32)
