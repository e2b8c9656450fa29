"""Membership inference: does the model tell that a user was there, who alone likes two rare items together?

The attacker trains shadow models with and without the user, on other users drawn anew each time, and compares how much
a like of one of the two items adds to the other. Users without such a taste like the first or the second kind of items.
"""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from shop import CONFIG
from torch_geometric.data import HeteroData

from graph_schema import CatalogueSchema
from kgrec.config import PrivateConfig, TrainConfig
from kgrec.model.model import Model
from kgrec.private.accountant import gaussian_mu
from kgrec.questions.splits import Likes
from kgrec.training.pipeline import fit_model

SCHEMA = CatalogueSchema.parse("""
name = "outlier"
[nodes.user]
label = "User"
key = "id"
[nodes.item]
label = "Item"
key = "id"
[edges.liked]
source = "user"
type = "LIKED"
target = "item"
[interaction]
edge = "liked"
""")
N_USERS, N_ITEMS, RARE = 60, 24, (22, 23)  # the rare items are of one kind each
N_SHADOWS = 12  # models with the user, and as many without
PUBLIC = CONFIG


def _draw_likes(rng: np.random.Generator, *, with_user: bool) -> Likes:
    """Likes of users of two kinds, each of 6 of 11 items; every rare item has two likes besides the user's."""
    users, items = [], []
    for user in range(N_USERS):
        liked = rng.choice(11, 6, replace=False) + 11 * (user % 2)
        users += [user] * len(liked)
        items += liked.tolist()
    for rare in RARE:
        fans = 2 * rng.choice(N_USERS // 2, 2, replace=False) + rare % 2
        users += fans.tolist()
        items += [rare] * len(fans)
    users += [N_USERS] * (2 if with_user else 0)
    items += list(RARE) if with_user else []
    return Likes(np.array(users), np.array(items), None, (N_USERS + 1, N_ITEMS))


def _build_graph() -> HeteroData:
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = N_USERS + 1, N_ITEMS
    for triple in (("user", "LIKED", "item"), ("item", "rev_LIKED", "user")):
        data[triple].edge_index = torch.zeros((2, 0), dtype=torch.int64)
    return data


def _read_bond(model: Model) -> float:
    """How far a like of the first rare item lifts the second above the mean item, in deviations."""
    scores = model.score(csr_array(np.eye(1, N_ITEMS, RARE[0], dtype=np.float32)))[0]
    return float((scores[RARE[1]] - scores.mean()) / max(scores.std(), 1e-9))


def _measure_auc(found: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """The probability that a model with the user has the higher statistic; 0.5 is chance."""
    above = found[:, None] - others[None, :]
    return float((above > 0).mean() + (above == 0).mean() / 2)


def _attack(config: TrainConfig, n_shadows: int) -> float:
    data, rng = _build_graph(), np.random.default_rng(0)
    bonds = [
        [_read_bond(fit_model(data, SCHEMA, _draw_likes(rng, with_user=there), config, validation={})[0])
         for _ in range(n_shadows)]
        for there in (True, False)
    ]  # fmt: skip
    return _measure_auc(*map(np.array, bonds))


@pytest.mark.slow
def test_the_public_model_gives_an_outlier_away() -> None:
    assert _attack(PUBLIC, N_SHADOWS) > 0.9


@pytest.mark.slow
def test_the_private_model_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(1)
    monkeypatch.setattr("kgrec.training.private_model.draw_generator", lambda: noise)
    private = PUBLIC.model_copy(update={"private": PrivateConfig(epsilon=1)})
    # the best attack reaches Phi(mu / sqrt 2), .57 for epsilon 1; the rest is the error of so few shadow models
    assert gaussian_mu(1, 1e-6) < 0.26
    error = np.sqrt((2 * 4 * N_SHADOWS + 1) / (12 * (4 * N_SHADOWS) ** 2))
    assert abs(_attack(private, 4 * N_SHADOWS) - 0.5) < 0.07 + 3 * error


@pytest.mark.slow
def test_the_attack_finds_the_user_again_without_noise() -> None:
    loose = PrivateConfig(epsilon=1).model_copy(update={"epsilon": np.inf})
    assert _attack(PUBLIC.model_copy(update={"private": loose}), N_SHADOWS) > 0.9
