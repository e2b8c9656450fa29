import numpy as np
import pytest
import torch
from checkerboard import to_csr
from numpy.typing import NDArray
from planted import BOOKS, draw_graph
from scipy.sparse import csr_array

from kgrec.config import ContentConfig, PriorConfig
from kgrec.graph.node_links import NodeLinks, build_item_links, unit_idf_weights
from kgrec.graph.propagation import LINKS, Channel, propagate
from kgrec.model.component import ItemChange, round_text
from kgrec.model.content import Content, Expect, fit_content

N_ITEMS = 30
EXACT = ContentConfig(regularisation=0.7, nearest=20, kept=N_ITEMS)
NEAR = ContentConfig(regularisation=0.7, nearest=5, kept=8)


def draw(
    config: ContentConfig = EXACT, expect: Expect | None = None
) -> tuple[csr_array, NDArray[np.float32], NodeLinks, list[Channel], Content]:
    """Books with texts and links, the last ten without likes, and the content model of all."""
    rng = np.random.default_rng(0)
    data = draw_graph(rng, n_books=N_ITEMS)
    text = np.where(data["book"].has_text.numpy()[:, None], data["book"].x.numpy(), 0).astype(np.float32)
    links, cold = build_item_links(data, BOOKS), np.arange(N_ITEMS) >= 20
    likes = to_csr((rng.random((15, N_ITEMS)) < 0.5) & ~cold)
    vectors = rng.normal(size=(N_ITEMS, 2)).astype(np.float32)
    channels = propagate(data, BOOKS, links, ~cold, vectors, np.ones(N_ITEMS, np.float32), PriorConfig(), seed=0)
    content = fit_content(likes, text, links, channels, config, link_weight=2.0, seed=0, expect=expect)
    assert content is not None
    return likes, text, links, channels, content


def score(content: Content, likes: csr_array) -> NDArray[np.float32]:
    """(n_users, n_items)."""
    found: NDArray[np.float32] = (likes @ content.neighbours).toarray()
    return found


def codes_of(links: NodeLinks, item: int) -> NDArray[np.int64]:
    start, end = links.incidence.indptr[item : item + 2]
    return links.incidence.indices[start:end].astype(np.int64)


def add_items(
    content: Content, text: NDArray[np.float32], new: NDArray[np.float32], codes: list[NDArray[np.int64]]
) -> NDArray[np.float32]:
    """(N_ITEMS, n): the columns of new items with texts (n, text_dim) and link features, after the existing ones."""
    n_items, rows = N_ITEMS + len(new), np.arange(N_ITEMS, N_ITEMS + len(new))
    none = np.zeros((len(new), 0), np.float32)
    grown = round_text(torch.from_numpy(np.vstack([text, new])))
    change = ItemChange(np.arange(N_ITEMS), n_items, rows, none, grown, tuple(codes), torch.from_numpy(none))
    columns: NDArray[np.float32] = content.with_items(change).neighbours.toarray()[:N_ITEMS, N_ITEMS:]
    return columns


def test_scores_worked_by_the_formula_of_kernel_ridge() -> None:
    likes, text, links, channels, content = draw()
    (axes,) = (channel.vectors for channel in channels if channel.name == LINKS)
    assert axes is not None
    linked = unit_idf_weights(links.incidence, links.idf) @ axes
    linked = linked / np.maximum(np.linalg.norm(linked, axis=1, keepdims=True), 1e-9)
    kernel = np.exp(8 * (text @ text.T - 1) + 2 * (linked @ linked.T)).astype(np.float64)
    met, cold = np.arange(20), np.arange(20, N_ITEMS)
    popularity = likes.toarray().sum(axis=0)[met]
    assert popularity.all()
    ridge = 0.7 * np.diag(kernel[:20, :20]).mean() * np.eye(20)
    columns = popularity[:, None] ** -0.3 * np.linalg.solve(kernel[:20, :20] + ridge, kernel[met][:, cold])
    expected = likes.toarray()[:, met] @ columns
    np.testing.assert_allclose(score(content, likes)[:, cold], expected, atol=0.04 * np.abs(expected).max())
    assert np.corrcoef(score(content, likes)[:, cold].ravel(), expected.ravel())[0, 1] > 0.999  # features are int8
    assert not score(content, likes)[:, :20].any()  # it does not score items with likes


def test_expected_likes_count_as_partial_likes() -> None:
    likes, _, _, _, alone = draw()
    expects = np.random.default_rng(1).normal(size=(N_ITEMS, N_ITEMS)).astype(np.float32)
    content = draw(expect=lambda values: expects @ values)[-1]
    met = np.arange(N_ITEMS) < 20
    shown = csr_array(likes.toarray() + (likes.toarray() @ expects) * met)
    expected = score(alone, shown)
    np.testing.assert_allclose(score(content, likes), expected, rtol=1e-3, atol=2e-3 * np.abs(expected).max())


def test_a_column_is_solved_on_the_nearest_items_and_keeps_its_largest_weights() -> None:
    assert np.diff(draw(NEAR)[-1].neighbours.tocsc().indptr)[20:].tolist() == [5] * 10
    expects = np.random.default_rng(1).normal(size=(N_ITEMS, N_ITEMS)).astype(np.float32)
    whole, cut = (draw(config, lambda values: expects @ values)[-1].neighbours.toarray() for config in (
        NEAR.model_copy(update={"kept": N_ITEMS}), NEAR
    ))  # fmt: skip
    for item in range(20, N_ITEMS):
        kept = np.flatnonzero(cut[:, item])
        assert len(kept) == 8
        np.testing.assert_allclose(cut[kept, item], whole[kept, item])
        assert np.abs(whole[kept, item]).min() >= np.abs(np.delete(whole[:, item], kept)).max()


@pytest.mark.parametrize("config", [EXACT, NEAR], ids=["all", "near"])
def test_a_new_item_is_placed_as_a_cold_item_of_training(config: ContentConfig) -> None:
    _, text, links, _, content = draw(config)
    items = list(range(20, N_ITEMS))
    placed = add_items(content, text, text[items], [codes_of(links, item) for item in items])
    trained = content.neighbours.toarray()[:, items]
    np.testing.assert_allclose(placed, trained, rtol=1e-3, atol=1e-4 * np.abs(trained).max())


def test_cold_items_are_solved_on_the_next_nearest_when_a_liked_item_is_gone() -> None:
    _, text, _, _, content = draw(NEAR)
    nearest = int(content.neighbours.toarray()[:, 20].argmax())
    kept, none, nothing = np.delete(np.arange(N_ITEMS), nearest), np.zeros(0, np.int64), torch.zeros((0, 0))
    change = ItemChange(kept, N_ITEMS - 1, none, nothing.numpy(), torch.from_numpy(text[kept]), (), nothing)
    assert np.diff(content.with_items(change).neighbours.tocsc().indptr)[19:].tolist() == [5] * 10


def test_without_enough_cold_items_the_references_are_held_out_liked_items() -> None:
    content = draw()[-1]
    assert content.reference.shape == (N_ITEMS, 20)
    assert np.diff(content.reference.tocsc().indptr).tolist() == [19] * 20  # all liked items but itself


def test_texts_or_links_alone_suffice_and_neither_gives_no_model() -> None:
    likes, text, links, channels, _ = draw()
    without_links = [channel for channel in channels if channel.name != LINKS]
    bare = text[:, :0]
    for own, given in ((text, without_links), (bare, channels)):
        content = fit_content(likes, own, links, given, EXACT, link_weight=1.0, seed=0)
        assert content is not None
        assert score(content, likes)[:, 20:].std(axis=1).min() > 0
        assert np.isfinite(add_items(content, own, own[[20]], [np.zeros(0, np.int64)])).all()
    assert fit_content(likes, bare, links, without_links, EXACT, link_weight=1.0, seed=0) is None
    nobody = csr_array(likes.shape, dtype=np.float32)
    assert fit_content(nobody, text, links, channels, EXACT, link_weight=1.0, seed=0) is None


@pytest.mark.parametrize("n_liked", [1, 2])
def test_one_or_two_liked_items_give_finite_weights(n_liked: int) -> None:
    _, text, links, channels, _ = draw()
    likes = to_csr(np.arange(N_ITEMS)[None, :] < n_liked)
    for config in (EXACT, NEAR):
        content = fit_content(likes, text, links, channels, config, link_weight=1.0, seed=0)
        assert content is not None
        assert np.isfinite(score(content, likes)).all()
        assert np.isfinite(content.reference.data).all()
        assert torch.isfinite(content.linked).all()


def test_cold_items_are_the_references_where_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kgrec.model.content._ENOUGH_COLD", N_ITEMS - 20)
    content = draw()[-1]
    np.testing.assert_allclose(content.reference.toarray(), content.neighbours.toarray()[:, 20:], rtol=1e-5)
