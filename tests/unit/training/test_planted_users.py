"""New users are answered by what the graph says of them where it tells their taste, and lose nothing where not."""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from planted_users import Knowledge, PlantedUsers, plant_users
from shop import WordEncoder

from kgrec import metrics
from kgrec.bundle import Bundle
from kgrec.config import TrainConfig
from kgrec.recommend import Recommender
from kgrec.training.train_bundle import train_bundle

KINDS: tuple[Knowledge, ...] = ("friends", "group", "age", "text")
SEED, K = 2, 20
NOISE = 0.03  # of a mean recall of some 96 users that differs by chance


@cache
def train(knowledge: Knowledge | None, *, noise: bool = False) -> tuple[PlantedUsers, Bundle]:
    planted = plant_users(knowledge, noise=noise, seed=SEED)
    config = TrainConfig(device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        return planted, train_bundle(planted.tables, config, WordEncoder(), Path(folder), trained_at=0)


def recall(knowledge: Knowledge | None, n_shown: int, *, noise: bool = False) -> float:
    """The mean Recall@20 of the new users' answers with some of their likes known."""
    planted, bundle = train(knowledge, noise=noise)
    recommender, asked = Recommender(bundle, WordEncoder()), planted.ask(n_shown)
    rows = np.flatnonzero(planted.new)
    hits = np.zeros((len(rows), K), np.bool_)
    for place, row in enumerate(rows.tolist()):
        liked = [bundle.items.ids[item] for item in asked.support[[row]].indices]
        found = recommender.recommend(user=bundle.users.ids[row], likes=liked, k=K)
        hits[place] = asked.relevant[[row]].toarray()[0, bundle.items.rows(found.ids)] > 0
    return float(metrics.recall(hits, np.diff(asked.relevant[rows].indptr))[:, -1].mean())


@pytest.mark.parametrize("knowledge", KINDS)
def test_a_taste_that_the_graph_tells_is_answered_without_a_like(knowledge: Knowledge) -> None:
    planted, _ = train(knowledge)
    rule, popular = planted.rule_recall(0), planted.popularity_recall(0)
    assert rule > 2 * popular
    assert recall(knowledge, 0) >= 0.8 * rule


@pytest.mark.parametrize("knowledge", KINDS)
def test_with_a_like_the_graph_loses_nothing(knowledge: Knowledge) -> None:
    assert recall(knowledge, 1) >= recall(None, 1) - NOISE


@pytest.mark.parametrize("knowledge", KINDS)
@pytest.mark.parametrize("n_shown", [0, 1])
def test_noise_of_the_same_shape_loses_nothing(knowledge: Knowledge, n_shown: int) -> None:
    assert recall(knowledge, n_shown, noise=True) >= recall(None, n_shown) - NOISE


def test_the_likes_are_the_same_whatever_is_known() -> None:
    likes = train(None)[0].likes
    for knowledge in KINDS:
        for noise in (False, True):
            assert (train(knowledge, noise=noise)[0].likes != likes).nnz == 0
