"""The autoencoder of likes: its prediction and loss by hand, the items of a step, and likes that only links predict."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from planted import BOOKS, make_graph
from scipy.sparse import csr_array

from kgrec.config import NetworkConfig
from kgrec.graph.node_links import build_item_links
from kgrec.model import autoencoder
from kgrec.model.autoencoder import cosine_loss, predict_likes, train_autoencoder
from kgrec.model.gnn import TrainedNetwork

N_BOOKS, N_AUTHORS, N_USERS = 120, 12, 240
AUTHOR = np.arange(N_BOOKS) % N_AUTHORS
COLD = np.arange(N_BOOKS) // N_AUTHORS % 4 == 1
CONFIG = NetworkConfig(hidden=16, steps=40, learning_rate=0.01)


def plant_likes() -> NDArray[np.bool_]:
    """(N_USERS, N_BOOKS): a user likes most books of two authors, and some others."""
    rng = np.random.default_rng(0)
    authors = np.stack([rng.permutation(N_AUTHORS)[:2] for _ in range(N_USERS)])
    liked = (authors[:, :, None] == AUTHOR).any(axis=1)
    return (liked & (rng.random(liked.shape) < 0.7)) | (rng.random(liked.shape) < 0.02)


def train(author: NDArray[np.int64], config: NetworkConfig = CONFIG) -> tuple[TrainedNetwork, NDArray[np.float32]]:
    """Trains on the likes of warm books, each book linked to its `author` and to an editor drawn at random."""
    edges = {
        "written_by": np.stack([np.arange(N_BOOKS), author], axis=1),
        "edited": np.stack([np.random.default_rng(1).integers(0, N_AUTHORS, N_BOOKS), np.arange(N_BOOKS)], axis=1),
    }
    data = make_graph({"user": N_USERS, "book": N_BOOKS, "author": N_AUTHORS}, edges, {})
    likes = csr_array((plant_likes() & ~COLD).astype(np.float32))
    return train_autoencoder(likes, data, BOOKS, build_item_links(data, BOOKS), config, seed=0)


def rank_cold(rows: NDArray[np.float32]) -> float:
    """The probability that a user scores a liked cold book above another cold book."""
    liked = plant_likes()
    scores = ((liked & ~COLD) @ rows) @ rows[COLD].T
    higher = [
        (row[mine][:, None] > row[~mine]).mean() for row, mine in zip(scores, liked[:, COLD], strict=True) if mine.any()
    ]
    return float(np.mean(higher))


def test_prediction_and_loss_worked_by_hand() -> None:
    rows = torch.tensor([[1.0, 0], [0.6, 0.8], [-1, 0]])
    likes = torch.tensor([[1.0, 0, 0], [1, 1, 0]])
    # the first user: cosines 1, .6, -1 with item 0, less the like itself, cut at 0; the second: 1.6, 1.6, -1.6
    scores = predict_likes(likes, rows)
    np.testing.assert_allclose(scores, [[0, 0.6, 0], [0.6, 0.6, 0]], atol=1e-6)
    # the first user's error is that of two perpendicular rows of length 1, the second's is none
    assert float(cosine_loss(scores, likes)) == pytest.approx(1)


def test_links_alone_rank_cold_items() -> None:
    found, rows = train(AUTHOR)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    assert found.held_out_loss is not None
    assert rank_cold(rows) > 0.8
    shuffled, noise = train(np.random.default_rng(2).permutation(AUTHOR))
    assert shuffled.held_out_loss is not None
    assert found.held_out_loss < 0.7 * shuffled.held_out_loss
    assert rank_cold(noise) < 0.65


def test_a_cold_item_has_no_residual() -> None:
    found, rows = train(np.where(COLD, 0, AUTHOR))
    assert found.known.tolist() == (~COLD).tolist()
    states = [channel.features for channel in found.channels]
    edited = np.random.default_rng(1).integers(0, N_AUTHORS, N_BOOKS)
    same = [(i, j) for i in np.flatnonzero(COLD) for j in np.flatnonzero(COLD) if i < j and edited[i] == edited[j]]
    assert same
    for one, other in same:  # with the same links, so at the same place
        np.testing.assert_allclose(rows[one], rows[other], atol=1e-5)
        for state in states:
            np.testing.assert_allclose(state[one], state[other], atol=1e-5)


def test_training_keeps_the_step_with_the_lowest_held_out_loss() -> None:
    def held_out_loss(steps: int) -> float:
        found, _ = train(AUTHOR, CONFIG.model_copy(update={"steps": steps}))
        assert found.held_out_loss is not None
        assert found.steps in (0, 1, 20, 40)
        return found.held_out_loss

    assert held_out_loss(40) <= held_out_loss(20) <= held_out_loss(1)  # validation is at steps 0, 20 and 40


def test_in_a_large_catalogue_a_step_prefers_liked_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoencoder, "_MOST_COLUMNS", 30)
    batch = csr_array((np.ones(20, np.float32), (np.zeros(20, int), np.arange(0, 100, 5))), shape=(1, 100))
    kept = np.arange(100) >= 10
    columns = autoencoder._draw_columns(batch, kept, np.random.default_rng(0))
    assert len(columns) == 30
    assert set(range(10, 100, 5)) < set(columns.tolist())
    assert columns.min() >= 10
    monkeypatch.setattr(autoencoder, "_MOST_COLUMNS", 8)
    assert (autoencoder._draw_columns(batch, kept, np.random.default_rng(0)) % 5 == 0).all()
    _, rows = train(AUTHOR)
    assert np.isfinite(rows).all()
