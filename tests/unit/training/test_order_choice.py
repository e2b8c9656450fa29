"""The order of likes counts where it tells what comes next, and costs nothing where it does not."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from planted import BOOKS, make_graph

from kgrec.config import (
    BackboneConfig,
    HeadConfig,
    ItemItemConfig,
    PriorConfig,
    SequenceConfig,
    SplitConfig,
    TrainConfig,
)
from kgrec.model.model import Model, describe_order
from kgrec.questions.slices import Slice, evaluate_slice
from kgrec.questions.splits import Likes, split_likes
from kgrec.training.pipeline import choose_model

N_USERS, N_BOOKS, N_READ = 500, 60, 12
CONFIG = TrainConfig(
    device="cpu", embedding_dim=8, validation=SplitConfig(support_sizes=(0, 1, 3), least_likes=5),
    backbone=BackboneConfig(alphas=(), regularisations=(), epochs=3), head=HeadConfig(epochs=1),
    item_item=ItemItemConfig(rank=8), prior=PriorConfig(regularisations=(), gates=()),
    sequence=SequenceConfig(dim=16, epochs=8),
)  # fmt: skip


@cache
def plant_chain() -> Likes:
    """Who reads a book mostly reads its sequel next; the sequels are a cycle that no id tells."""
    rng = np.random.default_rng(5)
    cycle = rng.permutation(N_BOOKS)
    users, items = [], []
    for user in range(N_USERS):
        place, read = int(rng.integers(N_BOOKS)), dict[int, None]()
        while len(read) < N_READ:
            read[int(cycle[place % N_BOOKS])] = None
            place = place + 1 if rng.random() < 0.7 else int(rng.integers(N_BOOKS))
        users += [user] * N_READ
        items += list(read)
    times = np.tile(np.arange(N_READ), N_USERS) * 86_400
    return Likes(np.array(users), np.array(items), times, (N_USERS, N_BOOKS))


def shuffle(likes: Likes) -> Likes:
    """The same likes, each user's in random order."""
    rng = np.random.default_rng(6)
    times = np.concatenate([rng.permutation(N_READ) for _ in range(N_USERS)]) * 86_400
    return replace(likes, times=times)


@cache
def choose(*, shuffled: bool) -> tuple[Model, Slice]:
    likes = shuffle(plant_chain()) if shuffled else plant_chain()
    split = split_likes(likes, SplitConfig(cold_users=0.1, cold_items=0), np.random.default_rng(0))
    data = make_graph({"user": N_USERS, "book": N_BOOKS, "author": 1, "country": 1}, {}, {})
    return choose_model(data, BOOKS, split.train, CONFIG)[0], split.slices["next"]


def recall(model: Model, slice_: Slice) -> float:
    return float(evaluate_slice(model, slice_, 3).per_user("recall").mean())


@pytest.mark.slow
def test_order_counts_where_it_tells_what_comes_next() -> None:
    model, question = choose(shuffled=False)
    place = [model.names.index(name) for name in ("transitions", "sequence")]
    asked, unasked = model.gate.bucket(np.array([N_READ - 1, 100]))
    assert model.gate.warm[asked, place].any()
    np.testing.assert_array_equal(model.gate.warm[unasked, place], model.gate.warm[asked, place])
    assert model.gate.recency[unasked] == model.gate.recency[asked]
    assert describe_order(model).startswith("the order of likes counts for users with ")
    assert describe_order(model).endswith("21+ likes")
    unordered = replace(model.gate, recency=np.ones_like(model.gate.recency), warm=model.gate.warm.copy())
    unordered.warm[:, place] = 0
    assert recall(model, question) > 0.3  # by chance 3 of some 50
    assert recall(model, question) > recall(replace(model, gate=unordered), question) + 0.1


@pytest.mark.slow
def test_where_order_says_nothing_nothing_changes() -> None:
    model, question = choose(shuffled=True)
    assert (model.gate.recency == 1).all()
    assert describe_order(model) == "the order of likes does not count: validation finds no more with it"
    of_order = [model.names.index(name) for name in ("transitions", "sequence")]
    assert not model.gate.warm[:, of_order].any()
    np.testing.assert_array_equal(
        model.score(question.support, order=question.order), model.score(question.support, order=None)
    )
