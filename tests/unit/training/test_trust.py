"""Linked users' likes count where friends share rare items, which narrow vectors mix up, and not by chance."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from planted import make_graph
from torch_geometric.data import HeteroData

from graph_schema import CatalogueSchema
from kgrec.config import BackboneConfig, HeadConfig, PriorConfig, SplitConfig, TrainConfig
from kgrec.evaluate.linked_users import link_users
from kgrec.graph.node_links import build_user_links
from kgrec.model.model import Model
from kgrec.questions.slices import Scorer, Slice, evaluate_slice
from kgrec.questions.splits import Likes, Split, split_likes
from kgrec.training.pipeline import fit_model, place_users
from kgrec.training.trust import _discriminate

GROUPS, SIZE, RARE, COMMON = 160, 5, 8, 30
CONFIG = TrainConfig(
    embedding_dim=16, device="cpu", validation=SplitConfig(least_likes=3, support_sizes=(0, 1)),
    backbone=BackboneConfig(alphas=(), regularisations=(), epochs=4), head=HeadConfig(epochs=1),
    prior=PriorConfig(path_dim=4, links_dim=24, regularisations=(), gates=()),
)  # fmt: skip
COMMONNESS = 2.0 ** -np.arange(COMMON)
SCHEMA = CatalogueSchema.parse("""
name = "rare"
[nodes.item]
label = "Item"
key = "item_id"
[nodes.user]
label = "User"
key = "user_id"
[edges.friend_of]
source = "user"
type = "FRIEND_OF"
target = "user"
[edges.likes]
source = "user"
type = "LIKES"
target = "item"
[interaction]
edge = "likes"
""")


@cache
def train(kind: str) -> tuple[Model, HeteroData, Split]:
    """Groups of five friends like the same few rare items and some common ones; or friends are drawn at random."""
    rng = np.random.default_rng(0)
    n_users, n_items = GROUPS * SIZE, GROUPS * RARE + COMMON
    group = np.arange(n_users) // SIZE
    liked = np.zeros((n_users, n_items), bool)
    for row in range(n_users):
        own = group[row] * RARE + np.arange(RARE)
        liked[row, own[rng.random(RARE) < 0.5]] = True
        common = rng.choice(COMMON, 3, replace=False, p=COMMONNESS / COMMONNESS.sum())
        liked[row, GROUPS * RARE + common] = True
    pairs = np.argwhere(group[:, None] == group)
    friends = pairs[pairs[:, 0] < pairs[:, 1]]
    if kind == "noise":
        friends = rng.permutation(n_users)[friends]
    users, items = np.nonzero(liked)
    data = make_graph({"user": n_users, "item": n_items}, {"friend_of": friends}, {}, SCHEMA)
    likes = Likes(users.astype(np.int64), items.astype(np.int64), None, liked.shape)
    shares = SplitConfig(cold_users=0.15, cold_items=0, warm=0.1, least_likes=3)
    split = split_likes(likes, shares, np.random.default_rng(0))
    return fit_model(data, SCHEMA, split.train, CONFIG)[0], data, split


def weights_of_linked(model: Model) -> np.ndarray:
    """The weights of linked likes in each bucket."""
    known = model.gate.warm if model.gate.known is None else model.gate.known
    return known[:, model.names.index("linked_likes")]


def recall(scorer: Scorer, slice_: Slice) -> float:
    return float(evaluate_slice(scorer, slice_, 20).per_user("recall").mean())


def test_friends_likes_give_most_of_what_they_can_without_a_like() -> None:
    model, data, split = train("friends")
    asked = split.slices["cold_users_k0"]
    likes = split.train.to_matrix()
    linked = link_users(build_user_links(data, SCHEMA), "user", likes)
    assert linked is not None
    placed = place_users(model, data, SCHEMA, {"": asked}, likes)[""]
    by_vectors = replace(placed, linked=None)
    ours, theirs, without = recall(model, placed), recall(linked, asked), recall(model, by_vectors)
    assert weights_of_linked(model)[0] > 0
    assert ours > 0.9 * theirs
    assert ours > 1.5 * without  # 160 groups do not fit into 16 numbers


def test_friends_at_random_get_no_weight() -> None:
    model, _, _ = train("noise")
    assert not weights_of_linked(model).any()


def test_held_out_likes_are_in_no_question() -> None:
    model, data, split = train("friends")
    likes = split.train.to_matrix()
    for name, placed in place_users(model, data, SCHEMA, split.slices, likes).items():
        of_linked = placed.likes_of_linked()
        assert of_linked is not None
        friends = build_friends(data)
        np.testing.assert_array_equal(of_linked.toarray() > 0, friends @ likes.toarray() > 0, err_msg=name)
    new = np.flatnonzero(np.diff(split.slices["cold_users_k0"].relevant.indptr))
    assert not likes[new].nnz


def build_friends(data: HeteroData) -> np.ndarray:
    """(n_users, n_users) of 1s."""
    ends = data["user", "friend_of", "user"].edge_index.numpy()
    friends = np.zeros((GROUPS * SIZE, GROUPS * SIZE))
    friends[ends[0], ends[1]] = friends[ends[1], ends[0]] = 1
    return friends


@pytest.mark.parametrize(
    ("preferences", "correlation", "expected"),
    [
        ((1.0, 0.5), 0.0, (1.0, 0.5)),
        ((1.0, 1.0), 0.5, (2 / 3, 2 / 3)),
        ((1.0, 0.8), 0.5, (0.8, 0.4)),
        ((1.0, 0.4), 0.5, (1.0, 0.0)),  # what the first one leaves of the second would count against it
        ((0.0, 1.0), 0.5, (0.0, 1.0)),
        ((1.0, 1.0), 1.0, (1.0, 0.0)),
    ],
)
def test_correlated_parts_are_not_counted_twice(
    preferences: tuple[float, float], correlation: float, expected: tuple[float, float]
) -> None:
    assert _discriminate(*preferences, correlation) == pytest.approx(expected)
