from dataclasses import dataclass, replace
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

from kgrec.config import BackboneConfig, HeadConfig, ItemItemConfig, PriorConfig, SplitConfig, TrainConfig
from kgrec.errors import RequestError
from kgrec.graph.propagation import build_item_links
from kgrec.graph.split import Likes, split_likes
from kgrec.model.gate import sample_slice
from kgrec.model.model import COMPONENTS, Model
from kgrec.slices import Slice, evaluate_slice
from kgrec.training.training import Choices, _sentence_parts, fit_model

FAST = TrainConfig(
    device="cpu", embedding_dim=12,
    validation=SplitConfig(least_likes=5, support_sizes=(0, 1, 3)),
    backbone=BackboneConfig(alphas=(0.1,), regularisations=(0.01,), epochs=4),
    item_item=ItemItemConfig(regularisations=(1.0,), few_regularisation=1.0, few_dropouts=(0.9,)),
    prior=PriorConfig(path_dim=4, links_dim=24, regularisations=(1.0,), gates=(0.0, 1.0), hidden=8, steps=5),
    head=HeadConfig(epochs=2, batch_size=64),
)  # fmt: skip
N_USERS, N_BOOKS, N_GROUPS, AUTHORS_OF_GROUP = 160, 120, 4, 5


@dataclass(frozen=True)
class Planted:
    """Users like books of one group; the group shows in the authors alone, in nothing at all, or in the texts alone."""

    data: HeteroData
    likes: Likes
    cold: NDArray[np.bool_]  # nobody likes them in training
    question: Slice  # which of the cold books each user would like


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


def recall(model: Model, slice_: Slice, k: int = 6) -> float:
    return float(evaluate_slice(model, slice_, k).per_user("recall").mean())


@pytest.mark.parametrize("shown_by", ["authors", "texts"])
def test_cold_items_are_placed_by_what_shows_their_group(shown_by: str) -> None:
    model, _ = train(shown_by)
    np.testing.assert_array_equal(model.cold, plant(shown_by).cold)
    # 6 of 24 cold books, about 6 of them right: chance is 1/4.
    assert recall(model, plant(shown_by).question) > 0.75


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
        grown = model.with_item(None, np.array([author], np.int64))
        seen = found.likes.to_matrix()
        support = csr_array((seen.data, seen.indices, seen.indptr), shape=(N_USERS, N_BOOKS + 1))
        mean_by_taste = grown.score(support)[:, -1].reshape(-1, N_GROUPS).mean(axis=0)
        right += mean_by_taste.argmax() == group
    assert right == N_GROUPS


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_graph_that_is_noise_costs_little(seed: int) -> None:
    found, rng = plant("nothing", seed), np.random.default_rng(seed)
    likes = found.likes.select(rng.random(len(found.likes)) < 0.3)  # few, so that there is something to gain or lose
    group, taste = np.arange(N_BOOKS) % N_GROUPS, np.arange(N_USERS) % N_GROUPS
    seen = likes.to_matrix()
    relevant = (taste[:, None] == group[None, :]) & ~likes.cold_items & (seen.toarray() == 0)
    question = Slice("warm", "Warm", seen, csr_array(relevant.astype(np.float32)), ~likes.cold_items)
    empty = make_graph({name: found.data[name].num_nodes for name in BOOKS.nodes}, {}, {})
    noisy, plain = (recall(fit_model(data, BOOKS, likes, FAST)[0], question, 20) for data in (found.data, empty))
    assert 0.3 < plain < 0.95  # chance is 20 of 96
    assert noisy > plain - 0.05


def test_few_likes_are_enough() -> None:
    # One like of a group's book: the group's other books come first.
    model, found = train()[0], plant()
    liked = np.flatnonzero(~found.cold)
    support = csr_array(
        (np.ones(len(liked), np.float32), liked, np.arange(len(liked) + 1)), shape=(len(liked), N_BOOKS)
    )
    same = (liked[:, None] % N_GROUPS == np.arange(N_BOOKS)[None, :] % N_GROUPS) & (support.toarray() == 0)
    assert (
        recall(model, Slice("k1", "", support, csr_array((same & ~found.cold).astype(np.float32)))) > 0.2
    )  # most: .26


def tensors_of(model: Model) -> list[torch.Tensor]:
    heads = [part for head in (model.few_shot, model.backbone) for part in (head.vectors, head.gram, head.centre)]
    assert model.item_item is not None
    assert model.item_item_few is not None
    assert model.content is not None
    assert model.item_head is not None
    of_content = [torch.from_numpy(part) for part in (model.content.onto, model.content.kernel)]
    of_items = [model.item_item.left, model.item_item_few.left, model.item_head.centres]
    return [*heads, *of_items, *of_content, model.popularity, model.text]


def test_one_seed_gives_one_model_to_the_bit_and_leaves_the_global_generators_alone() -> None:
    before, numpy_before = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    found = plant()
    torch.manual_seed(123)
    (first, choices), (again, chosen_again) = train(), fit_model(found.data, BOOKS, found.likes, FAST)
    assert choices == chosen_again
    for ours, theirs in zip(tensors_of(first), tensors_of(again), strict=True):
        assert torch.equal(ours, theirs)
    for name, value in vars(first.gate).items():
        np.testing.assert_array_equal(value, vars(again.gate)[name], err_msg=name)
    for name, value in vars(first.prior).items():
        np.testing.assert_array_equal(value, vars(again.prior)[name], err_msg=name)
    other = train(seed=1)[0]
    assert not torch.equal(first.few_shot.vectors, other.few_shot.vectors)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)
    torch.random.set_rng_state(before)


def test_what_was_tried_is_kept_and_told() -> None:
    stages: list[str] = []
    found = plant(timed=True)
    config = FAST.model_copy(
        update={
            "backbone": BackboneConfig(alphas=(0.1, 10.0), regularisations=(0.01,), epochs=2),
            "item_item": FAST.item_item.model_copy(update={"regularisations": (1.0, 1e4)}),
        }
    )
    model, choices = fit_model(found.data, BOOKS, found.likes, config, on_stage=stages.append)
    assert stages[0].startswith("holding out")
    assert len(stages) == 8
    tried = {name.split(" ")[0].rstrip(":") for name in choices.quality}
    assert {"backbone", "prior", "items", "item-item", "content", "gate"} <= tried
    tried_alphas = {a: choices.quality[f"backbone alpha={a} regularisation=0.01"] for a in ("0.1", "10")}
    assert choices.alpha == float(max(tried_alphas, key=lambda alpha: tried_alphas[alpha]))
    assert choices.item_item is not None
    tried_ridges = {
        float(name.rpartition(" ")[2]): worth
        for name, worth in choices.quality.items()
        if name.startswith("item-item: ")
    }
    assert set(tried_ridges) == {1.0, 1e4}
    assert tried_ridges[choices.item_item.regularisation] * 1.002 >= max(tried_ridges.values())
    assert model.backbone.alpha == choices.alpha


def check_serves(model: Model, likes: Likes) -> None:
    n_items = likes.shape[1]
    supports = np.vstack([likes.to_matrix().toarray(), np.zeros((1, n_items)), np.eye(n_items)])
    assert np.isfinite(model.score(csr_array(supports.astype(np.float32)))).all()
    gate = model.gate
    assert gate.least_likes[0] == 0
    assert (np.diff(gate.least_likes) > 0).all()
    for part in (gate.warm, gate.cold, gate.cold_offset, gate.sentence_warm, gate.sentence_cold):
        assert np.isfinite(part).all()
    assert gate.warm.any(axis=1).all()  # every bucket can rank
    placeable = np.isin(COMPONENTS, ("few_shot", "backbone", "content", "text"))
    assert not gate.cold[:, ~placeable].any()
    grown = model.with_item(None, np.zeros(0, np.int64))
    assert all(np.isfinite(part).all() for part in grown.contributions([n_items]))
    if model.text.shape[1]:
        said = np.eye(model.text.shape[1], dtype=np.float32)[0]
        assert all(np.isfinite(part).all() for part in model.contributions([], sentence=said))


SMALL = {"user": 5, "book": 8, "author": 3, "country": 2}
SMALL_EDGES = {"written_by": [(book, book % 3) for book in range(8)], "from": [(0, 0), (1, 1), (2, 1)]}


def small_texts() -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    return {name: draw_unit_rows(rng, SMALL[name], 4) for name in ("book", "author", "country")}


@pytest.mark.parametrize("edges", [{}, SMALL_EDGES], ids=["no links", "links"])
@pytest.mark.parametrize("texts", [False, True], ids=["no texts", "texts"])
def test_without_links_or_texts(edges: dict[str, Any], texts: bool) -> None:
    rng = np.random.default_rng(0)
    sizes = SMALL | {"user": 40, "book": 25}
    written = {"written_by": [(book, book % 3) for book in range(25)]} if edges else {}
    x = {"book": draw_unit_rows(rng, 25, 4)} if texts else {}
    likes = draw_likes(rng, (40, 25), 0.4)
    model, _ = fit_model(make_graph(sizes, written, x), BOOKS, likes, FAST)
    check_serves(model, likes)
    gate = model.gate
    assert len(gate.least_likes) == 4  # 0, 1, 3 likes, and many
    # What tells cold items not apart is not blown up to do so.
    assert max(np.abs(part).max() for part in (gate.cold, gate.cold_offset, gate.sentence_cold)) < 1e5


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("config", [FAST, TrainConfig(device="cpu")], ids=["fast", "default"])
def test_five_users_eight_items_fifteen_likes(timed: bool, config: TrainConfig) -> None:
    rng = np.random.default_rng(1)
    pairs = np.argwhere(np.ones((5, 8)))[rng.permutation(40)[:15]]
    likes = Likes(pairs[:, 0], pairs[:, 1], np.arange(15) if timed else None, (5, 8))
    model, _ = fit_model(make_graph(SMALL, SMALL_EDGES, small_texts()), BOOKS, likes, config)
    check_serves(model, likes)


@pytest.mark.parametrize("shape", [(1, 1), (1, 8), (5, 1), (2, 2)])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_handful_of_likes(shape: tuple[int, int], seed: int) -> None:
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


def test_a_catalogue_whose_items_all_lack_their_text() -> None:
    rng = np.random.default_rng(0)
    data = make_graph(SMALL | {"user": 40, "book": 25}, {}, {"book": np.zeros((25, 4))})
    likes = draw_likes(rng, (40, 25), 0.4)
    model, _ = fit_model(data, BOOKS, likes, FAST)
    check_serves(model, likes)


def test_when_everything_is_held_out_nothing_is_validated_on() -> None:
    likes = Likes(np.array([0, 1]), np.array([0, 1]), None, (2, 3))
    validation = SplitConfig(cold_users=0, cold_items=0, warm=0.99)
    assert not len(split_likes(likes, validation, np.random.default_rng(FAST.seed)).train)
    data = make_graph(SMALL | {"user": 2, "book": 3}, {}, {"book": np.eye(3)})
    model, choices = fit_model(data, BOOKS, likes, FAST.model_copy(update={"validation": validation}))
    check_serves(model, likes)
    assert not any(choices.quality.values())


def test_above_the_item_limit_the_item_item_models_are_of_low_rank() -> None:
    found = plant()
    limited = FAST.item_item.model_copy(update={"max_items": N_BOOKS - 1, "rank": 16})
    model, _ = fit_model(found.data, BOOKS, found.likes, FAST.model_copy(update={"item_item": limited}))
    for matrix in (model.item_item, model.item_item_few):
        assert matrix is not None
        assert matrix.right is not None
        assert matrix.left.shape == matrix.right.shape == (N_BOOKS, 16)
    check_serves(model, found.likes)
    assert recall(model, found.question) > 0.75


def test_the_item_item_models_can_be_left_out() -> None:
    found = plant()
    config = FAST.model_copy(update={"item_item": ItemItemConfig(max_items=0)})
    model, choices = fit_model(found.data, BOOKS, found.likes, config)
    assert model.item_item is None
    assert model.item_item_few is None
    assert (choices.item_item, choices.item_item_few) == (None, None)
    check_serves(model, found.likes)
    assert recall(model, found.question) > 0.75


def test_support_sizes_beyond_those_of_warm_users_keep_the_buckets_in_order() -> None:
    found = plant("nothing")
    likes = draw_likes(np.random.default_rng(0), (N_USERS, N_BOOKS), 0.6)
    validation = SplitConfig(cold_users=0.3, support_sizes=(0, 30, 60), least_likes=5)
    model, _ = fit_model(found.data, BOOKS, likes, FAST.model_copy(update={"validation": validation}))
    check_serves(model, likes)
    np.testing.assert_array_equal(model.gate.least_likes, [0, 4, 43, 44])


def test_sizes_that_nobody_has_take_their_neighbours_weights() -> None:
    # Nobody has 21 likes of the 96 books that are met: the weights for these are those for the most that somebody has.
    model, choices = train()
    assert plant().likes.to_matrix().sum(axis=1).max() > 10
    gate, titles = model.gate, [name for name in choices.quality if name.startswith("gate ")]
    np.testing.assert_array_equal(gate.least_likes, [0, 1, 2, 21])
    assert "gate 21 likes or more" not in titles
    assert "gate 2 to 20 likes" in titles
    np.testing.assert_array_equal(gate.warm[3], gate.warm[2])
    np.testing.assert_array_equal(gate.cold[3], gate.cold[2])
    assert gate.cold_offset[3] == gate.cold_offset[2]
    assert gate.warm[2].any()


def test_a_validation_part_that_is_given_is_what_is_chosen_by() -> None:
    found, stages = plant(), []
    rng = np.random.default_rng(0)
    held = rng.random(len(found.likes)) < 0.2
    train, asked = found.likes.select(~held), found.likes.select(held).to_matrix()
    warm = Slice("warm", "Warm", train.to_matrix(), asked, ~train.cold_items)
    cold = replace(found.question, support=train.to_matrix())
    config = FAST.model_copy(update={"backbone": BackboneConfig(alphas=(0.1, 10.0), regularisations=(0.01,), epochs=2)})
    given = {"warm": warm, "cold_items": cold}
    model, choices = fit_model(found.data, BOOKS, train, config, stages.append, validation=given)
    assert not any("holding out" in stage or "all likes" in stage for stage in stages)
    assert torch.expm1(model.popularity).sum() == pytest.approx(len(train), rel=1e-5)  # nothing was held out
    assert recall(model, cold) > 0.75
    tried = {a: choices.quality[f"backbone alpha={a} regularisation=0.01"] for a in ("0.1", "10")}
    assert choices.alpha == float(max(tried, key=lambda alpha: tried[alpha]))


def test_a_single_relation_is_all_there_is_and_cold_items_are_found_by_it() -> None:
    found = plant()  # shown by the authors alone
    authors = make_graph(
        {name: found.data[name].num_nodes for name in BOOKS.nodes},
        {"written_by": found.data[BOOKS.edge_triple("written_by")].edge_index.T.numpy()},
        {},
    )
    model, choices = fit_model(authors, BOOKS, found.likes, FAST)
    assert recall(model, found.question) > 0.75  # chance is 1/4
    assert model.content is not None
    assert choices.content_link_weight is not None
    assert choices.content_link_weight > 0
    scores = model.content.score(found.question.support).numpy()  # each component finds them alone
    own = found.question.relevant.toarray()[:, found.cold] > 0
    assert scores[own].mean() > scores[~own].mean() + scores.std()


def test_a_sentence_is_validated_as_it_is_served() -> None:
    model, found = train("texts")[0], plant("texts")
    book = int(np.flatnonzero(~found.cold)[0])
    support = csr_array(([1.0], ([0], [book])), shape=(1, N_BOOKS), dtype=np.float32)
    relevant = csr_array(([1.0], ([0], [book + N_GROUPS])), shape=(1, N_BOOKS), dtype=np.float32)
    sample = sample_slice(Slice("k1", "", support, relevant), np.random.default_rng(0), 20)
    parts = _sentence_parts(model, sample)
    blend = sum(
        float(weight) * part[0]
        for weight, part in zip(model.gate.sentence_warm, parts, strict=True)
        if part is not None
    )
    _, of_sentence, of_rest = model.contributions([], sentence=model.text[book].numpy())
    warm = ~model.cold
    np.testing.assert_allclose((of_sentence + of_rest)[warm], blend[warm], rtol=1e-3, atol=1e-4)


def test_config_from_toml(tmp_path: Path) -> None:
    path = tmp_path / "train.toml"
    path.write_text("seed = 7\n[backbone]\nepochs = 3\n", encoding="utf-8")
    config = TrainConfig.from_toml(path)
    assert config == TrainConfig(seed=7, backbone=BackboneConfig(epochs=3))
    for text, told in (
        ("[backbone]\nepoch = 3\n", r"backbone\.epoch"),
        ("embedding_dim = 0\n", "embedding_dim"),
        ("seed = = 1\n", "TOML"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(RequestError, match=told):
            TrainConfig.from_toml(path)
    with pytest.raises(RequestError, match=r"nowhere\.toml"):
        TrainConfig.from_toml(tmp_path / "nowhere.toml")
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 1  # type: ignore[misc]
