from dataclasses import replace

import numpy as np
import pytest
import torch
from checkerboard import to_csr
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import BOOKS, draw_graph
from scipy.sparse import csr_array

from kgrec.config import PriorConfig
from kgrec.graph.propagation import ItemLinks, build_item_links, propagate
from kgrec.model.content import fit_content
from kgrec.model.head import Head
from kgrec.model.item_item import ItemItem
from kgrec.model.model import (
    BACKBONE,
    COMPONENTS,
    CONTENT,
    FEW_SHOT,
    ITEM_ITEM,
    ITEM_ITEM_FEW,
    POPULARITY,
    TEXT,
    Gate,
    ItemHead,
    Model,
)
from kgrec.model.prior import PriorSettings, build_prior, build_ridge_problem

N_ITEMS, DIM, TEXT_DIM = 30, 4, 5
NO_CODES = np.zeros(0, np.int64)


def draw_model(seed: int, *, item_item: bool = True) -> tuple[Model, ItemLinks]:
    """A model of random parts: cold items, every component, three buckets."""
    rng = np.random.default_rng(seed)
    data = draw_graph(rng, n_books=N_ITEMS, dim=TEXT_DIM)
    links = build_item_links(data, BOOKS)
    n_likes = np.where(rng.random(N_ITEMS) < 0.3, 0, rng.integers(1, 50, N_ITEMS))
    n_likes[:2] = 0, 5
    weights = (n_likes / (n_likes + 20)).astype(np.float32)
    vectors = np.where(n_likes[:, None] > 0, rng.normal(size=(N_ITEMS, DIM)), 0).astype(np.float32)
    channels = propagate(data, BOOKS, links, n_likes > 0, vectors, weights, PriorConfig(), seed=0)
    problem, chosen = build_ridge_problem(channels, vectors, weights), PriorSettings(1.0, {})
    placed = np.where(n_likes[:, None] > 0, vectors, problem.predict(chosen))

    def head(ridge_slope: float, popularity: float) -> Head:
        mapping = torch.from_numpy((np.eye(DIM) + 0.1 * rng.normal(size=(DIM, DIM))).astype(np.float32))
        z = torch.from_numpy(placed) @ mapping
        kept = z[torch.from_numpy(n_likes > 0)]
        centre = torch.from_numpy(rng.normal(size=DIM).astype(np.float32))
        return Head(z, kept.T @ kept, centre, 0.1, 2.0, ridge_slope, popularity, popularity / 2, mapping)

    left, right, exact = (
        torch.from_numpy((rng.normal(size=(N_ITEMS, width)) / 5).astype(np.float32)) for width in (3, 3, N_ITEMS)
    )
    text = torch.where(data["book"].has_text[:, None], data["book"].x, 0.0)
    liked = to_csr((rng.random((25, N_ITEMS)) < 0.4) & (n_likes > 0))
    content = fit_content(
        liked, text.numpy(), links, channels, n_likes == 0, None, link_weight=1.0, regularisation=0.5, max_items=0,
        n_landmarks=12, seed=0,
    )  # fmt: skip
    cold = rng.random((4, len(COMPONENTS))) * np.isin(COMPONENTS, (FEW_SHOT, BACKBONE, CONTENT, TEXT))
    weights_warm = rng.random((4, len(COMPONENTS))).astype(np.float32)
    gate = Gate(
        np.array([0, 1, 4]), weights_warm[:3], cold[:3].astype(np.float32), np.array([0.1, -0.2, 0.3], np.float32),
        weights_warm[3], cold[3].astype(np.float32), -0.7,
    )  # fmt: skip
    model = Model(
        head(0.1, 0.05), head(0.3, 0.0), ItemItem(exact.fill_diagonal_(0)) if item_item else None,
        ItemItem(left, right) if item_item else None, content,
        torch.log1p(torch.from_numpy(n_likes.astype(np.float32))), torch.from_numpy(n_likes == 0), text,
        build_prior(channels, links, problem, chosen, None),
        ItemHead(0.5, torch.from_numpy(problem.predict(chosen))), gate,
    )  # fmt: skip
    return model, links


def to_support(rows: list[list[int]], n_items: int = N_ITEMS) -> csr_array:
    indptr = np.r_[0, np.cumsum([len(row) for row in rows])]
    columns = np.array([item for row in rows for item in row], np.int64)
    return csr_array((np.ones(len(columns), np.float32), columns, indptr), shape=(len(rows), n_items))


def draw_sentence(rng: np.random.Generator) -> np.ndarray:
    said = rng.normal(size=TEXT_DIM)
    return (said / np.linalg.norm(said)).astype(np.float32)


def test_buckets_of_the_gate() -> None:
    gate = draw_model(0)[0].gate
    np.testing.assert_array_equal(gate.bucket(np.array([0, 1, 2, 3, 4, 5, 900])), [0, 1, 1, 1, 2, 2, 2])


def test_the_score_is_the_blend_of_the_components_by_bucket_and_kind_of_item() -> None:
    model, _ = draw_model(0)
    cold_items = model.cold.numpy()
    assert 0 < cold_items.sum() < N_ITEMS
    for bucket, liked in enumerate(([], [1, 5], [1, 2, 3, 4, 7])):
        support = to_support([liked])
        parts = np.stack([model.component_scores(name, support)[0].numpy() for name in COMPONENTS])
        warm, cold = model.gate.warm[bucket] @ parts, model.gate.cold[bucket] @ parts + model.gate.cold_offset[bucket]
        np.testing.assert_allclose(model.score(support)[0], np.where(cold_items, cold, warm), rtol=1e-4, atol=1e-5)


def test_components() -> None:
    model, _ = draw_model(0)
    liked, likes = [1, 5], to_support([[1, 5]])
    z = model.few_shot.vectors
    user = model.few_shot.solve(likes)[0]
    # Popularity counts .05 + .025 / (1 + 2 likes) times.
    expected = z @ user + (0.05 + 0.025 / 3) * model.popularity
    np.testing.assert_allclose(model.component_scores(FEW_SHOT, likes)[0], expected, rtol=1e-5)
    plain = model.backbone.vectors @ model.backbone.solve(likes)[0]
    np.testing.assert_allclose(model.component_scores(BACKBONE, likes)[0], plain, rtol=1e-5)
    for name, matrix in ((ITEM_ITEM, model.item_item), (ITEM_ITEM_FEW, model.item_item_few)):
        np.testing.assert_allclose(
            model.component_scores(name, likes)[0], matrix.rows(torch.tensor(liked)).sum(dim=0), rtol=1e-5, atol=1e-6
        )
    np.testing.assert_array_equal(model.component_scores(POPULARITY, likes)[0], model.popularity)
    assert not model.component_scores(TEXT, likes).any()
    assert not draw_model(0, item_item=False)[0].component_scores(ITEM_ITEM, likes).any()
    scores = model.component_scores(CONTENT, likes)[0]
    np.testing.assert_allclose(scores[model.cold], model.content.score(likes)[0])
    assert scores[model.cold].any()
    assert not scores[~model.cold].any()
    assert not replace(model, content=None).component_scores(CONTENT, likes).any()


@st.composite
def requests(draw: st.DrawFn) -> tuple[Model, list[int], np.ndarray | None]:
    """A model with 0 to 2 added items, likes among all of them, and a sentence or none."""
    seed = draw(st.integers(0, 2**32))
    rng = np.random.default_rng(seed)
    model, links = draw_model(seed, item_item=draw(st.booleans()))
    for _ in range(draw(st.integers(0, 2))):
        text = draw_sentence(rng) if draw(st.booleans()) else None
        model = model.with_item(text, rng.permutation(len(links.idf))[: draw(st.integers(0, 5))])
    liked = draw(st.lists(st.integers(0, model.n_items - 1), unique=True, max_size=8))
    return model, liked, draw_sentence(rng) if draw(st.booleans()) else None


@given(requests())
@settings(deadline=None, max_examples=25)
def test_contributions_add_up_to_the_score(request: tuple[Model, list[int], np.ndarray | None]) -> None:
    model, liked, _ = request
    of_likes, of_sentence, of_rest = model.contributions(liked)
    assert of_likes.shape == (len(liked), model.n_items)
    assert not of_sentence.any()
    expected = model.score(to_support([liked], model.n_items))[0]
    np.testing.assert_allclose(of_likes.sum(axis=0) + of_rest, expected, rtol=1e-3, atol=1e-4)


def solve_by_hand(head: Head, shown: np.ndarray) -> np.ndarray:
    ridge = head.ridge_base + head.ridge_slope * len(shown)
    left = shown.T @ shown + head.alpha * head.gram.double().numpy() + ridge * np.eye(DIM)
    return np.linalg.solve(left, shown.sum(axis=0) + ridge * head.centre.double().numpy())


@given(requests())
@settings(deadline=None, max_examples=25)
def test_a_sentence_counts_as_one_more_like_placed_by_the_prior(
    request: tuple[Model, list[int], np.ndarray | None],
) -> None:
    model, liked, _ = request
    said = draw_sentence(np.random.default_rng(len(liked)))
    of_likes, of_sentence, of_rest = model.contributions(liked, sentence=said)
    gate, bucket = model.gate, int(model.gate.bucket(np.array([len(liked)]))[0])
    warm, cold, offset = gate.warm[bucket].copy(), gate.cold[bucket].copy(), float(gate.cold_offset[bucket])
    said_by = COMPONENTS.index(TEXT)
    warm[said_by], cold[said_by] = gate.sentence_warm[said_by], gate.sentence_cold[said_by]
    if not liked:
        warm, cold, offset = gate.sentence_warm, gate.sentence_cold, gate.sentence_offset
    parts = {
        name: model.component_scores(name, to_support([liked], model.n_items))[0].double().numpy()
        for name in COMPONENTS
    }
    parts[TEXT] = model.text.double().numpy() @ said
    placed = model.prior.place(said, NO_CODES)
    for name, head in ((FEW_SHOT, model.few_shot), (BACKBONE, model.backbone)):
        shown = np.vstack([head.vectors[liked].numpy(), placed @ head.to_head.numpy()]).astype(np.float64)
        often = head.popularity_weight(np.array([len(liked)]))[0]
        parts[name] = head.vectors.numpy() @ solve_by_hand(head, shown) + often * model.popularity.numpy()
    stacked = np.stack([parts[name] for name in COMPONENTS])
    expected = np.where(model.cold, cold @ stacked + offset, warm @ stacked)
    np.testing.assert_allclose(of_likes.sum(axis=0) + of_sentence + of_rest, expected, rtol=1e-3, atol=1e-4)


@given(requests(), st.integers(0, 2**32))
@settings(deadline=None, max_examples=20)
def test_contributions_to_some_items_are_those_to_all(
    request: tuple[Model, list[int], np.ndarray | None], seed: int
) -> None:
    model, liked, said = request
    rng = np.random.default_rng(seed)
    items = rng.permutation(model.n_items)[: rng.integers(0, 9)]
    for some, whole in zip(
        model.contributions(liked, items, said), model.contributions(liked, sentence=said), strict=True
    ):
        np.testing.assert_allclose(some, whole[..., items], rtol=1e-4, atol=1e-5)


@given(requests(), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=20)
def test_the_order_of_likes_never_matters(request: tuple[Model, list[int], np.ndarray | None], shuffler) -> None:
    model, liked, said = request
    order = list(range(len(liked)))
    shuffler.shuffle(order)
    shuffled = [liked[place] for place in order]
    ours, theirs = model.contributions(liked, sentence=said), model.contributions(shuffled, sentence=said)
    np.testing.assert_allclose(ours[0][order], theirs[0], rtol=1e-3, atol=1e-4)
    for one, other in zip(ours[1:], theirs[1:], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
    scores = [model.score(to_support([likes], model.n_items)) for likes in (liked, shuffled)]
    np.testing.assert_allclose(*scores, rtol=1e-3, atol=1e-4)


@given(st.integers(0, 2**32), st.booleans())
@settings(deadline=None, max_examples=10)
def test_a_batch_equals_its_users_one_by_one(seed: int, added: bool) -> None:
    model, links = draw_model(seed)
    rng = np.random.default_rng(seed)
    if added:
        model = model.with_item(draw_sentence(rng), np.arange(len(links.idf))[:3])
    users = [rng.permutation(model.n_items)[: rng.integers(0, 9)].tolist() for _ in range(12)]  # every bucket
    together = model.score(to_support(users, model.n_items))
    for user, liked in enumerate(users):
        alone = model.score(to_support([liked], model.n_items))[0]
        np.testing.assert_allclose(together[user], alone, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(np.argsort(-together[user])[:10], np.argsort(-alone)[:10])


def test_no_users_is_no_error() -> None:
    assert draw_model(0)[0].score(to_support([])).shape == (0, N_ITEMS)


@given(st.integers(0, 2**32))
@settings(deadline=None, max_examples=10)
def test_an_added_item_scores_as_a_cold_one_of_the_same_text_and_links(seed: int) -> None:
    model, links = draw_model(seed)
    item = 0  # cold
    text = model.text[item].numpy() if model.text[item].any() else None
    codes = links.incidence.indices[links.incidence.indptr[item] : links.incidence.indptr[item + 1]].astype(np.int64)
    grown = model.with_item(text, codes)
    assert grown.n_items == model.n_items + 1
    assert grown.cold[-1]
    for liked in ([], [1], [1, 2, 3, 4, 5, 6]):
        before = model.score(to_support([liked]))[0]
        after = grown.score(to_support([liked], N_ITEMS + 1))[0]
        np.testing.assert_allclose(after[:-1], before, rtol=1e-4, atol=1e-5)  # nobody else is moved
        assert after[-1] == pytest.approx(before[item], rel=1e-3, abs=1e-4)
    said = draw_sentence(np.random.default_rng(seed))
    whole = sum(part.sum(axis=0) if part.ndim == 2 else part for part in grown.contributions([], sentence=said))
    assert whole[-1] == pytest.approx(whole[item], rel=1e-3, abs=1e-4)


def test_a_like_of_an_added_item_moves_scores_by_the_heads_alone() -> None:
    model, _ = draw_model(1)
    grown = model.with_item(draw_sentence(np.random.default_rng(0)), np.arange(4))
    liked = to_support([[N_ITEMS]], N_ITEMS + 1)
    for name in (ITEM_ITEM, ITEM_ITEM_FEW):
        assert not grown.component_scores(name, liked).any()
    nothing = to_support([[]], N_ITEMS + 1)
    for name in (FEW_SHOT, BACKBONE):
        assert not np.allclose(grown.component_scores(name, liked), grown.component_scores(name, nothing), atol=1e-2)


def test_an_item_nobody_liked_gains_nothing_from_what_has_no_prior() -> None:
    model, _ = draw_model(2)
    twice, twice_few = (ItemItem(part.left * 2, part.right) for part in (model.item_item, model.item_item_few))
    doubled = replace(model, item_item=twice, item_item_few=twice_few, popularity=model.popularity * 2)
    few_only = replace(model.few_shot, popularity_base=0.0, popularity_slope=0.0)
    ours, theirs = (replace(m, few_shot=few_only).score(to_support([[1, 5]]))[0] for m in (model, doubled))
    np.testing.assert_allclose(ours[model.cold], theirs[model.cold], rtol=1e-6)
    assert not np.allclose(ours[~model.cold], theirs[~model.cold])


def test_likes_place_cold_items_by_the_formula_and_move_nothing_else() -> None:
    model, _ = draw_model(3)
    cold, met = np.flatnonzero(model.cold)[:3], np.flatnonzero(~model.cold)[:1]
    rows, rng = np.r_[cold, met], np.random.default_rng(0)
    liked = to_csr((rng.random((6, N_ITEMS)) < 0.3) & ~model.cold.numpy())
    support = to_csr(
        [[1, 1, 0, 0, 1, 0], [0] * 6, [0, 0, 0, 1, 0, 0], [1] * 6]
    )  # the second has no likes, the last is met
    grown = model.with_likes(rows, support, liked)
    users = model.backbone.solve(liked).double().numpy()
    for place in (0, 2):
        w, centre = users[support.toarray()[place] > 0], model.item_head.centres[rows[place]].double().numpy()
        z = np.linalg.solve(w.T @ w + 0.5 * np.eye(DIM), w.sum(axis=0) + 0.5 * centre)
        np.testing.assert_allclose(grown.backbone.vectors[rows[place]], z @ model.backbone.to_head.numpy(), atol=1e-4)
        np.testing.assert_allclose(grown.few_shot.vectors[rows[place]], z @ model.few_shot.to_head.numpy(), atol=1e-4)
    others = np.setdiff1d(np.arange(N_ITEMS), rows[:3])
    for ours, theirs in ((grown.backbone, model.backbone), (grown.few_shot, model.few_shot)):
        assert torch.equal(ours.vectors[others], theirs.vectors[others])
        own_prior = model.item_head.centres[rows[1]] @ theirs.to_head
        np.testing.assert_allclose(ours.vectors[rows[1]], own_prior, atol=1e-5)


def test_a_like_pulls_an_item_towards_its_user_but_never_past_what_a_like_is_worth() -> None:
    model, _ = draw_model(3)
    item = int(np.flatnonzero(model.cold)[0])
    liked = to_support([np.flatnonzero(~model.cold)[:4].tolist()])
    user = model.backbone.solve(liked)[0]
    before = float(model.item_head.centres[item] @ user)
    for ridge in (0.01, 0.5, 100.0):
        head = ItemHead(ridge, model.item_head.centres)
        after = float(head.solve(to_csr([[1]]), user[None], np.array([item]))[0] @ user)
        size = float(user @ user)  # w.z = (ridge w.centre + |w|^2) / (ridge + |w|^2): between w.centre and 1
        assert after == pytest.approx((ridge * before + size) / (ridge + size), rel=1e-4)
        assert min(before, 1) - 1e-5 <= after <= max(before, 1) + 1e-5


def test_an_old_bundles_model_is_not_moved_by_likes() -> None:
    model = replace(draw_model(3)[0], item_head=None)
    cold = np.flatnonzero(model.cold)[:1]
    assert model.with_likes(cold, to_csr([[1]]), to_support([[1]])) is model
