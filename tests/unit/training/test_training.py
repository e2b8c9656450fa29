from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from planted import BOOKS, draw_likes, draw_unit_rows, make_graph
from pydantic import ValidationError
from scipy.sparse import csr_array
from torch_geometric.data import HeteroData

from kgrec.bundle.arrays import to_arrays
from kgrec.config import BackboneConfig, HeadConfig, ItemItemConfig, PriorConfig, SplitConfig, TrainConfig
from kgrec.errors import RequestError
from kgrec.graph.node_links import build_item_links
from kgrec.model.component import Support
from kgrec.model.content import Content
from kgrec.model.model import Model
from kgrec.questions.slices import Slice, evaluate_slice
from kgrec.questions.splits import Likes, split_likes, subtract
from kgrec.training.choices import Choices
from kgrec.training.pipeline import choose_model, fit_model

FAST = TrainConfig(
    device="cpu", embedding_dim=12,
    validation=SplitConfig(least_likes=5, support_sizes=(0, 1, 3)),
    backbone=BackboneConfig(alphas=(), regularisations=(), epochs=4),
    item_item=ItemItemConfig(regularisation=1.0, few_regularisation=1.0),
    prior=PriorConfig(
        path_dim=4, links_dim=24, regularisation=1.0, regularisations=(), gates=(0.0,), hidden=8, steps=5
    ),
    head=HeadConfig(epochs=2, batch_size=64),
)  # fmt: skip
N_USERS, N_BOOKS, N_GROUPS, AUTHORS_OF_GROUP = 160, 120, 4, 5


@dataclass(frozen=True)
class Planted:
    """Users like books of one group; the group is visible in authors only, in nothing, or in texts only."""

    data: HeteroData
    likes: Likes
    cold: NDArray[np.bool_]  # without likes in training
    question: Slice  # the cold books that each user would like


@cache
def plant(shown_by: str = "authors", seed: int = 0, *, timed: bool = False) -> Planted:
    rng = np.random.default_rng(seed)
    group, taste = np.arange(N_BOOKS) % N_GROUPS, np.arange(N_USERS) % N_GROUPS
    own = rng.integers(AUTHORS_OF_GROUP, size=N_BOOKS) * N_GROUPS + group
    n_authors = AUTHORS_OF_GROUP * N_GROUPS
    author = own if shown_by == "authors" else rng.integers(n_authors, size=N_BOOKS)
    edges = {
        "written_by": np.column_stack([np.arange(N_BOOKS), author]),
        "from": np.column_stack([np.arange(n_authors), rng.integers(8, size=n_authors)]),
        "cites": np.unique(rng.integers(N_BOOKS, size=(200, 2)), axis=0),
    }
    texts = draw_unit_rows(rng, N_BOOKS, 16)
    if shown_by == "texts":
        texts = texts * 0.5 + draw_unit_rows(rng, N_GROUPS, 16)[group]
        texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    x = {"book": texts, "author": draw_unit_rows(rng, n_authors, 16), "country": draw_unit_rows(rng, 8, 16)}
    sizes = {"user": N_USERS, "book": N_BOOKS, "author": n_authors, "country": 8}
    liked = (taste[:, None] == group[None, :]) & (rng.random((N_USERS, N_BOOKS)) < 0.5)
    liked |= rng.random(liked.shape) < 0.01
    cold = np.zeros(N_BOOKS, bool)
    cold[rng.permutation(N_BOOKS)[:24]] = True
    users, items = np.nonzero(liked & ~cold)
    times = rng.integers(0, 10**6, len(users)) if timed else None
    likes = Likes(users.astype(np.int64), items.astype(np.int64), times, liked.shape)
    relevant = csr_array(((taste[:, None] == group[None, :]) & cold).astype(np.float32))
    question = Slice("cold", "Cold", likes.to_matrix(), relevant, cold)
    return Planted(make_graph(sizes, edges, x), likes, cold, question)


@cache
def train(shown_by: str = "authors", **changes: Any) -> tuple[Model, Choices]:
    found = plant(shown_by)
    return fit_model(found.data, BOOKS, found.likes, FAST.model_copy(update=changes))


def add_item(model: Model, text: NDArray[np.float32] | None, codes: NDArray[np.int64]) -> Model:
    own = np.zeros(model.text.shape[1], np.float32) if text is None else text
    grown = torch.cat([model.text, torch.from_numpy(own)[None]])
    return model.with_items(np.arange(model.n_items), grown, np.array([model.n_items]), [codes])


def recall(model: Model, slice_: Slice, k: int = 6) -> float:
    return float(evaluate_slice(model, slice_, k).per_user("recall").mean())


def top_of_group(model: Model, group: int, k: int = 10, *, n_likes: int = 1) -> float:
    """The share of a group among the first k warm books, for users who like its first books."""
    warm = np.flatnonzero(~model.cold.numpy())
    own = [book for book in warm if book % N_GROUPS == group][:n_likes]
    scores = model.score(to_likes([own], model.n_items))[0]
    scores[own], scores[model.cold.numpy()] = -np.inf, -np.inf
    return float((np.argsort(-scores)[:k] % N_GROUPS == group).mean())


def to_likes(rows: list[list[int]], n_items: int = N_BOOKS) -> csr_array:
    columns = np.array([item for row in rows for item in row], np.int64)
    indptr = np.cumsum([0, *map(len, rows)])
    return csr_array((np.ones(len(columns), np.float32), columns, indptr), shape=(len(rows), n_items))


@pytest.mark.parametrize("shown_by", ["authors", "texts"])
def test_cold_items_are_placed_by_the_features_of_their_group(shown_by: str) -> None:
    model, _ = train(shown_by)
    np.testing.assert_array_equal(model.cold, plant(shown_by).cold)
    # 6 of 24 cold books, about 6 of them right: chance is 1/4.
    assert recall(model, plant(shown_by).question) > 0.75


def test_likes_win_where_texts_and_links_are_uninformative() -> None:
    model, _ = train("nothing")
    for group in range(N_GROUPS):
        assert top_of_group(model, group, n_likes=3) >= 0.9
        assert top_of_group(model, group) >= 0.6
    # Nothing distinguishes cold books, so no scorer finds them and they are not ranked first.
    assert recall(model, plant("nothing").question) < 0.5
    first = np.argsort(-model.score(plant("nothing").likes.to_matrix()), axis=1)[:, :10]
    assert plant("nothing").cold[first].mean() < 0.2


@pytest.mark.parametrize("shown_by", ["authors", "texts"])
def test_texts_and_links_help_where_likes_do_not_overlap(shown_by: str) -> None:
    # Each book is liked at most once, so books are liked together only by chance.
    found = plant(shown_by)
    kept = np.unique(found.likes.items, return_index=True)[1]
    likes = found.likes.select(np.isin(np.arange(len(found.likes)), kept))
    assert likes.counts.max() == 1
    model, _ = fit_model(found.data, BOOKS, likes, FAST)
    check_serves(model, likes)
    assert np.mean([top_of_group(model, group, n_likes=3) for group in range(N_GROUPS)]) > 0.5  # by chance 1/4


def test_an_added_item_is_placed_by_its_links_alone() -> None:
    model, found = train()[0], plant()
    links = build_item_links(found.data, BOOKS)
    right = 0
    for group in range(N_GROUPS):
        book = next(b for b in np.flatnonzero(~found.cold) if b % N_GROUPS == group)
        author = next(
            code for code in links.incidence.indices[links.incidence.indptr[book] : links.incidence.indptr[book + 1]]
            if links.relations[links.relation[code]][0] == "written_by"
        )  # fmt: skip
        grown = add_item(model, None, np.array([author], np.int64))
        seen = found.likes.to_matrix()
        support = csr_array((seen.data, seen.indices, seen.indptr), shape=(N_USERS, N_BOOKS + 1))
        mean_by_taste = grown.score(support)[:, -1].reshape(-1, N_GROUPS).mean(axis=0)
        right += mean_by_taste.argmax() == group
    assert right == N_GROUPS


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_graph_that_is_noise_costs_little(seed: int) -> None:
    found, rng = plant("nothing", seed), np.random.default_rng(seed)
    likes = found.likes.select(rng.random(len(found.likes)) < 0.3)  # few likes, so that links could help or harm
    group, taste = np.arange(N_BOOKS) % N_GROUPS, np.arange(N_USERS) % N_GROUPS
    seen, cold = likes.to_matrix(), likes.counts == 0
    relevant = (taste[:, None] == group[None, :]) & ~cold & (seen.toarray() == 0)
    question = Slice("warm", "Warm", seen, csr_array(relevant.astype(np.float32)), ~cold)
    empty = make_graph({name: found.data[name].num_nodes for name in BOOKS.nodes}, {}, {})
    noisy, plain = (recall(fit_model(data, BOOKS, likes, FAST)[0], question, 20) for data in (found.data, empty))
    assert 0.3 < plain < 0.97  # chance is 20 of 96
    assert noisy > plain - 0.05


def test_one_like_finds_its_group() -> None:
    # One like of a group's book: the group's other books come first.
    model, found = train()[0], plant()
    liked = np.flatnonzero(~found.cold)
    support = to_likes([[int(book)] for book in liked])
    same = (liked[:, None] % N_GROUPS == np.arange(N_BOOKS)[None, :] % N_GROUPS) & (support.toarray() == 0)
    assert (
        recall(model, Slice("k1", "", support, csr_array((same & ~found.cold).astype(np.float32)))) > 0.2
    )  # most: .26


def test_a_disliked_cold_item_is_still_placed() -> None:
    # A quarter of the books were seen by some users and liked by none.
    found, rng = plant(), np.random.default_rng(0)
    met = csr_array(((rng.random(found.likes.shape) < 0.05) & found.cold).astype(np.float32))
    likes = replace(found.likes, disliked=subtract(met, found.likes.to_matrix()))
    model, _ = fit_model(found.data, BOOKS, likes, FAST)
    np.testing.assert_array_equal(model.n_disliked > 0, np.asarray(met.sum(axis=0)) > 0)
    scores = model.score(likes.to_matrix())
    assert (scores[:, found.cold].std(axis=1) > 0).all()
    assert recall(model, found.question) > 0.7
    assert np.abs(model.likeness_vectors()[found.cold]).max(axis=1).min() > 0


def tensors_of(model: Model) -> dict[str, torch.Tensor]:
    parts = {component.name: component for component in model.components}
    named = [to_arrays(part, name) for name, part in (parts | vars_of(model)).items()]
    return {name: value for arrays in named for name, value in arrays.items()}


def vars_of(model: Model) -> dict[str, Any]:
    return {"gate": model.gate, "likeness": model.likeness, "item_head": model.item_head, "prior": model.prior}


def test_one_seed_gives_one_model_to_the_bit_and_leaves_the_global_generators_alone() -> None:
    before, numpy_before = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    found = plant()
    torch.manual_seed(123)
    (first, choices), (again, chosen_again) = train(), fit_model(found.data, BOOKS, found.likes, FAST)
    assert choices == chosen_again
    ours, theirs = tensors_of(first), tensors_of(again)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name
    other = train(seed=1)[0]
    assert not torch.equal(first.backbone.items, other.backbone.items)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)
    torch.random.set_rng_state(before)


def test_choices_record_what_was_tried() -> None:
    stages: list[str] = []
    found = plant(timed=True)
    config = FAST.model_copy(
        update={
            "backbone": BackboneConfig(alphas=(10.0,), regularisations=(50.0,), epochs=2),
            "prior": FAST.prior.model_copy(update={"regularisations": (1e6,)}),
        }
    )
    model, choices = fit_model(found.data, BOOKS, found.likes, config, on_stage=stages.append)
    assert stages[0].startswith("holding out")
    assert stages[-1] == "fitting everything to all likes"
    assert len(stages) == len(set(stages))
    tried = set(choices.quality)
    assert {"backbone alpha=0.1", "backbone alpha=10", "prior regularisation=1", "prior regularisation=1e+06"} <= tried
    assert any(name.startswith("prior gate ") and name.endswith("=0") for name in tried)
    settings = choices.vectors
    assert model.backbone.alpha == settings.alpha
    assert choices.quality[f"backbone alpha={settings.alpha:g}"] >= choices.quality["backbone alpha=0.1"]
    assert settings.prior.regularisation == 1.0  # a ridge that shrinks everything to zero is not chosen
    assert all(np.isfinite(worth) for worth in choices.quality.values())


def test_each_verdict_has_its_users_and_the_best_baseline() -> None:
    _, choices = train()
    titles = [verdict.title for verdict in choices.verdicts]
    assert len(titles) == len(set(titles))
    assert {"0 likes", "1 like", "2 to 20 likes"} <= set(titles)
    names = {"iALS", "item kNN", "popularity", "ridge", "ridge, few"}
    for verdict in choices.verdicts:
        assert 0 < verdict.n_users <= 3 * N_USERS
        assert 0 <= verdict.worth <= 1
        assert 0 <= verdict.popular <= 10
        if verdict.title in ("1 like", "2 to 20 likes"):
            assert any(str(verdict.baseline).startswith(name) for name in names)
            assert verdict.error is not None
            assert verdict.baseline_worth is not None
            # A choice is no worse than the best baseline beyond what validation can tell.
            assert verdict.worth > verdict.baseline_worth - 3 * verdict.error
    assert choices.slice_quality == {verdict.title: verdict.worth for verdict in choices.verdicts}
    kept = asdict(choices)
    assert [verdict["n_users"] for verdict in kept["verdicts"]] == [one.n_users for one in choices.verdicts]


def check_serves(model: Model, likes: Likes) -> None:
    n_items = likes.shape[1]
    supports = np.vstack([likes.to_matrix().toarray(), np.zeros((1, n_items)), np.eye(n_items)])
    scores = model.score(csr_array(supports.astype(np.float32)))
    assert np.isfinite(scores).all()
    gate = model.gate
    assert gate.least_likes[0] == 0
    assert (np.diff(gate.least_likes) > 0).all()
    for part in (gate.warm, gate.cold, gate.shift, gate.sentence_warm, gate.sentence_cold):
        assert np.isfinite(part).all()
    assert gate.warm.any(axis=1).all()  # every bucket can rank
    assert gate.warm.shape == gate.cold.shape == (len(gate.least_likes), len(model.components))
    for place, component in enumerate(model.components):
        if component.cold_scale is None:
            assert not gate.cold[:, place].any()
    grown = add_item(model, None, np.zeros(0, np.int64))
    found = grown.contributions(Support(to_likes([[n_items]], n_items + 1)))
    assert all(np.isfinite(part).all() for part in (found.likes, found.rest, *found.sources.values()))
    assert np.isfinite(model.likeness_vectors()).all()
    if model.text.shape[1]:
        sentence = np.eye(model.text.shape[1], dtype=np.float32)[:1]
        assert np.isfinite(model.score_support(model.with_sentence(to_likes([[]], n_items), sentence))).all()


SMALL = {"user": 5, "book": 8, "author": 3, "country": 2}
SMALL_EDGES = {"written_by": [(book, book % 3) for book in range(8)], "from": [(0, 0), (1, 1), (2, 1)]}


def small_texts() -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    return {name: draw_unit_rows(rng, SMALL[name], 4) for name in ("book", "author", "country")}


@pytest.mark.parametrize("edges", [{}, SMALL_EDGES], ids=["no links", "links"])
@pytest.mark.parametrize("texts", [False, True], ids=["no texts", "texts"])
def test_training_works_without_links_or_texts(edges: dict[str, Any], texts: bool) -> None:
    rng = np.random.default_rng(0)
    sizes = SMALL | {"user": 40, "book": 25}
    written = {"written_by": [(book, book % 3) for book in range(25)]} if edges else {}
    x = {"book": draw_unit_rows(rng, 25, 4)} if texts else {}
    likes = draw_likes(rng, (40, 25), 0.4)
    model, _ = fit_model(make_graph(sizes, written, x), BOOKS, likes, FAST)
    check_serves(model, likes)
    assert ("sentence" in model.names) == texts
    assert ("content" in model.names) == ("knowledge" in model.names) == bool(texts or edges)
    gate = model.gate
    assert len(gate.least_likes) == 4  # 0, 1, 3 likes, and many
    # A part that is constant over cold items is not scaled up.
    assert max(np.abs(part).max() for part in (gate.cold, gate.shift, gate.sentence_cold)) < 1e2


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("config", [FAST, TrainConfig(device="cpu")], ids=["fast", "default"])
def test_training_works_on_fifteen_likes(timed: bool, config: TrainConfig) -> None:
    rng = np.random.default_rng(1)
    pairs = np.argwhere(np.ones((5, 8)))[rng.permutation(40)[:15]]
    likes = Likes(pairs[:, 0], pairs[:, 1], np.arange(15) if timed else None, (5, 8))
    model, _ = fit_model(make_graph(SMALL, SMALL_EDGES, small_texts()), BOOKS, likes, config)
    check_serves(model, likes)


@pytest.mark.parametrize("shape", [(1, 1), (1, 8), (5, 1), (2, 2)])
@pytest.mark.parametrize("seed", [0, 1])
def test_training_works_on_a_handful_of_likes(shape: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = np.argwhere(np.ones(shape))
    pairs = pairs[rng.permutation(len(pairs))[: rng.integers(1, 4)]]
    likes = Likes(pairs[:, 0], pairs[:, 1], None, shape)
    data = make_graph(
        {"user": shape[0], "book": shape[1], "author": 1}, {"written_by": [(0, 0)]}, {"book": np.eye(shape[1])}
    )
    config = FAST.model_copy(
        update={"seed": seed, "validation": SplitConfig(cold_users=0.5, cold_items=0.5, warm=0.5, least_likes=1)}
    )
    model, _ = fit_model(data, BOOKS, likes, config)
    check_serves(model, likes)


def to_pairs(dense: NDArray[np.bool_] | NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    users, items = np.nonzero(dense)
    return users.astype(np.int64), items.astype(np.int64)


def degenerate(name: str) -> tuple[Likes, bool]:
    """Unusual likes of 40 users and 30 books, and whether there are links and texts."""
    rng = np.random.default_rng(0)
    dense = rng.random((40, 30)) < 0.3
    times: NDArray[np.int64] | None = None
    if name == "one user":
        dense[1:] = False
    if name == "one item":
        dense[:, 1:], dense[:, 0] = False, True
    if name == "all like the same":
        dense[:] = np.arange(30) < 6
    if name == "everybody likes everything":
        dense[:] = True
    if name == "nobody shares an item":
        dense[:] = np.eye(40, 30, dtype=bool)
    if name in ("ten clicks", "only links and ten clicks"):
        dense[:] = False
        dense.flat[rng.permutation(dense.size)[:10]] = True
    if name == "one item that everybody likes":
        dense[:, 0] = True
    users, items = to_pairs(dense)
    if name == "all at one time":
        times = np.full(len(users), 1_600_000_000)
    if name == "times in the future":
        times = rng.integers(2**40, 2**41, len(users))
    if name == "times before 1970":
        times = -rng.integers(0, 2**40, len(users))
    return Likes(users, items, times, dense.shape), name not in ("no links and no texts", "ten clicks")


@pytest.mark.parametrize(
    "name",
    [
        "all at one time", "times in the future", "times before 1970", "one user", "one item", "all like the same",
        "everybody likes everything", "nobody shares an item", "no links and no texts", "ten clicks",
        "only links and ten clicks", "one item that everybody likes",
    ],
)  # fmt: skip
def test_odd_catalogues_give_sound_models(name: str) -> None:
    likes, known = degenerate(name)
    sizes = SMALL | {"user": 40, "book": 30}
    written = {"written_by": [(book, book % 3) for book in range(30)]} if known else {}
    x = {"book": draw_unit_rows(np.random.default_rng(1), 30, 4)} if known and "only links" not in name else {}
    for config in (FAST, TrainConfig(device="cpu")):
        model, choices = fit_model(make_graph(sizes, written, x), BOOKS, likes, config)
        check_serves(model, likes)
        assert all(np.isfinite(verdict.worth) for verdict in choices.verdicts)
    if known and name != "one item":
        # Texts or links also distinguish books, so no list consists of ties.
        scores = model.score(to_likes([[1]], 30))[0]
        if "only links" in name:  # nobody likes the book: only its author's other books are known
            own = np.arange(30) % 3 == 1
            assert likes.counts[1] == 0
            assert scores[own].min() > scores[~own].max()
        else:
            assert len(np.unique(scores.round(4))) > 10


@pytest.mark.slow
def test_extreme_items_and_users_do_not_hide_the_groups() -> None:
    """All but one of 30,000 users like book 0, and 600 of them also books of one group; the last user likes 10,000."""
    n_users, n_books, n_fans, n_groups = 30_000, 10_400, 600, 8
    rng = np.random.default_rng(0)
    fans = np.repeat(np.arange(n_fans), 12)
    users = np.concatenate([np.arange(n_users - 1), fans, np.full(10_000, n_users - 1)])
    books = np.concatenate([
        np.zeros(n_users - 1, np.int64),
        fans % n_groups + n_groups * rng.integers(1, 40, len(fans)),
        1 + rng.permutation(n_books - 1)[:10_000],
    ])  # fmt: skip
    users, books = np.unique(np.column_stack([users, books]), axis=0).T
    likes = Likes(users, books, None, (n_users, n_books))
    texts = draw_unit_rows(rng, n_books, 4)
    sizes = SMALL | {"user": n_users, "book": n_books}
    model, _ = fit_model(make_graph(sizes, {}, {"book": texts}), BOOKS, likes, FAST)

    def first(liked: list[int], k: int = 10) -> NDArray[np.int64]:
        scores = model.score(to_likes([liked], n_books))[0]
        assert np.isfinite(scores).all()
        scores[liked] = -np.inf
        return np.argsort(-scores)[:k]

    for group in range(n_groups):  # a universally liked book carries no information and hides none
        assert (first([0, 8 + group, 16 + group]) % n_groups == group).mean() >= 0.8
    first(books[users == n_users - 1].tolist())


def test_ten_clicks_with_links_are_answered_by_the_links() -> None:
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 6, 10), rng.permutation(60)[:10]
    likes = Likes(users, items, None, (6, 60))
    written = {"written_by": [(book, book % 6) for book in range(60)]}
    model, _ = fit_model(make_graph(SMALL | {"user": 6, "book": 60, "author": 6}, written, {}), BOOKS, likes, FAST)
    check_serves(model, likes)
    liked = int(items[0])
    for shown in (liked, int(np.setdiff1d(np.arange(60), items)[0])):  # liked by somebody, or by nobody
        scores = model.score(to_likes([[shown]], 60))[0]
        scores[shown] = -np.inf
        assert (np.argsort(-scores)[:5] % 6 == shown % 6).mean() > 0.7


def test_training_works_where_no_item_has_a_text() -> None:
    rng = np.random.default_rng(0)
    data = make_graph(SMALL | {"user": 40, "book": 25}, {}, {"book": np.zeros((25, 4))})
    likes = draw_likes(rng, (40, 25), 0.4)
    model, _ = fit_model(data, BOOKS, likes, FAST)
    check_serves(model, likes)


def test_with_everything_held_out_there_is_no_validation() -> None:
    likes = Likes(np.array([0, 1]), np.array([0, 1]), None, (2, 3))
    validation = SplitConfig(cold_users=0, cold_items=0, warm=0.99)
    assert not len(split_likes(likes, validation, np.random.default_rng(FAST.seed)).train)
    data = make_graph(SMALL | {"user": 2, "book": 3}, {}, {"book": np.eye(3)})
    model, choices = fit_model(data, BOOKS, likes, FAST.model_copy(update={"validation": validation}))
    check_serves(model, likes)
    assert not choices.verdicts
    assert not choices.quality


def test_a_small_catalogue_holds_out_a_larger_share() -> None:
    found = plant()
    _, choices = choose_model(found.data, BOOKS, found.likes, FAST)
    asked = {verdict.title: verdict.n_users for verdict in choices.verdicts}
    assert asked["0 likes"] > 0.2 * N_USERS  # a tenth would be 16
    nobody = FAST.model_copy(update={"validation": FAST.validation.model_copy(update={"cold_users": 0.0})})
    titles = {verdict.title for verdict in choose_model(found.data, BOOKS, found.likes, nobody)[1].verdicts}
    assert "0 likes" not in titles  # none is none


def test_above_the_limit_items_are_solved_on_their_nearest() -> None:
    found = plant()
    limited = FAST.item_item.model_copy(update={"exact_items": 10, "nearest": 12, "kept": 8, "rank": 16})
    model, _ = fit_model(found.data, BOOKS, found.likes, FAST.model_copy(update={"item_item": limited}))
    for name in ("item_item", "item_item_few"):
        component = model.component(name)
        assert component is not None
        assert component.neighbours is not None
        assert component.items.shape == (N_BOOKS, 8)
        assert np.diff(component.neighbours.tocsc().indptr).max() <= 12  # `kept` is of the exact solution
    check_serves(model, found.likes)
    assert recall(model, found.question) > 0.75
    assert top_of_group(model, 0, n_likes=3) >= 0.9


def test_large_support_sizes_keep_the_buckets_in_order() -> None:
    found = plant("nothing")
    likes = draw_likes(np.random.default_rng(0), (N_USERS, N_BOOKS), 0.6)
    validation = SplitConfig(cold_users=0.3, support_sizes=(0, 30, 60), least_likes=5)
    model, _ = fit_model(found.data, BOOKS, likes, FAST.model_copy(update={"validation": validation}))
    check_serves(model, likes)
    np.testing.assert_array_equal(model.gate.least_likes, [0, 4, 43, 44])


def test_a_given_validation_part_decides_the_choices() -> None:
    found, stages = plant(), []
    rng = np.random.default_rng(0)
    held = rng.random(len(found.likes)) < 0.2
    train, asked = found.likes.select(~held), found.likes.select(held).to_matrix()
    warm = Slice("warm", "Warm", train.to_matrix(), asked, train.counts > 0)
    cold = replace(found.question, support=train.to_matrix())
    given = {"warm": warm, "cold_items": cold}
    model, choices = fit_model(found.data, BOOKS, train, FAST, stages.append, validation=given)
    assert not any("holding out" in stage or "all likes" in stage for stage in stages)
    assert int(model.n_likes.sum()) == len(train)  # nothing was held out
    assert recall(model, cold) > 0.75
    n_asked = int(np.count_nonzero(np.diff(asked.indptr)))
    per_bucket = [
        one.n_users for one in choices.verdicts if one.title in ("2 to 20 likes", "21 likes or more", "1 like")
    ]
    assert sum(per_bucket) == n_asked


def test_a_single_relation_places_cold_items() -> None:
    found = plant()  # shown by the authors alone
    authors = make_graph(
        {name: found.data[name].num_nodes for name in BOOKS.nodes},
        {"written_by": found.data[BOOKS.edge_triple("written_by")].edge_index.T.numpy()},
        {},
    )
    model, _ = fit_model(authors, BOOKS, found.likes, FAST)
    assert recall(model, found.question) > 0.75  # chance is 1/4
    content = model.component("content")
    assert isinstance(content, Content)
    scores = (found.question.support @ content.neighbours).toarray()[:, found.cold]
    own = found.question.relevant.toarray()[:, found.cold] > 0
    assert scores[own].mean() > scores[~own].mean() + scores.std()  # it finds them alone


def test_a_sentence_finds_items_with_its_text() -> None:
    model, found = train("texts")[0], plant("texts")
    sentences = model.text.numpy()[:40]
    scores = model.score_support(model.with_sentence(to_likes([[] for _ in sentences]), sentences))
    first = np.argsort(-scores, axis=1)[:, :10]
    assert (first % N_GROUPS == np.arange(40)[:, None] % N_GROUPS).mean() > 0.8
    assert found.cold[first].any()  # new books, too


def test_config_from_toml(tmp_path: Path) -> None:
    path = tmp_path / "train.toml"
    path.write_text("seed = 7\n[backbone]\nepochs = 3\n", encoding="utf-8")
    config = TrainConfig.from_toml(path)
    assert config == TrainConfig(seed=7, backbone=BackboneConfig(epochs=3))
    for text, message in (
        ("[backbone]\nepoch = 3\n", r"backbone\.epoch"),
        ("embedding_dim = 0\n", "embedding_dim"),
        ("seed = = 1\n", "TOML"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(RequestError, match=message):
            TrainConfig.from_toml(path)
    with pytest.raises(RequestError, match=r"nowhere\.toml"):
        TrainConfig.from_toml(tmp_path / "nowhere.toml")
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 1  # type: ignore[misc]
