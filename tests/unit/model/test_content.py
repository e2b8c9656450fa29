from dataclasses import replace

import numpy as np
import pytest
import torch
from checkerboard import to_csr
from numpy.typing import NDArray
from planted import BOOKS, draw_graph
from scipy.sparse import csr_array

from kgrec.config import ContentConfig, PriorConfig
from kgrec.graph.propagation import LINKS, Channel, ItemLinks, build_item_links, propagate, unit_idf_weights
from kgrec.model.component import Support
from kgrec.model.content import Content, Expect, fit_content

N_ITEMS = 30
EXACT = ContentConfig(regularisation=0.7)
BY_LANDMARKS = ContentConfig(regularisation=0.7, max_items=0, landmarks=20)
FEW_LANDMARKS = ContentConfig(regularisation=0.7, max_items=0, landmarks=5)


def draw(
    config: ContentConfig = EXACT, expect: Expect | None = None
) -> tuple[csr_array, NDArray[np.float32], ItemLinks, list[Channel], Content]:
    """Books with texts and links, the last ten of which nobody has liked, and the content model of all."""
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
    found: NDArray[np.float32] = (content.users(Support(likes)) @ content.items.T).numpy()
    return found


def codes_of(links: ItemLinks, item: int) -> NDArray[np.int64]:
    start, end = links.incidence.indptr[item : item + 2]
    return links.incidence.indices[start:end].astype(np.int64)


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
    onto = np.linalg.inv(kernel[:20, :20] + ridge) * popularity[:, None] ** -0.3  # Y is the likes, a row for each
    others = kernel[:20, :20] * (1 - np.eye(20))  # but for a landmark's likeness to itself
    told = kernel[cold][:, met] - others.sum(axis=0) / 19
    expected = likes.toarray()[:, met] @ onto @ told.T
    np.testing.assert_allclose(score(content, likes)[:, cold], expected, atol=2e-3 * np.abs(expected).max())
    assert not content.items[:20].any()  # it says nothing of items that somebody likes


def test_what_a_like_makes_expect_counts_as_a_like_by_so_much() -> None:
    likes, _, _, _, alone = draw()
    expects = np.random.default_rng(1).normal(size=(N_ITEMS, N_ITEMS)).astype(np.float32)
    content = draw(expect=lambda values: expects @ values)[-1]
    met = np.arange(N_ITEMS) < 20
    shown = csr_array(likes.toarray() + (likes.toarray() @ expects) * met)
    expected = score(alone, shown)
    np.testing.assert_allclose(score(content, likes), expected, rtol=1e-3, atol=2e-3 * np.abs(expected).max())


def test_all_met_items_as_landmarks_are_the_exact_form() -> None:
    likes, _, _, _, exact = draw()
    expected = score(exact, likes)
    np.testing.assert_allclose(score(draw(BY_LANDMARKS)[-1], likes), expected, atol=0.02 * np.abs(expected).max())


def test_a_lower_rank_keeps_the_leading_part() -> None:
    likes, _, _, _, exact = draw()
    expected = score(exact, likes)

    def miss(rank: int) -> float:
        cut = draw(EXACT.model_copy(update={"rank": rank}))[-1]
        assert cut.items.shape == cut.onto.shape == (N_ITEMS, rank)
        return float(np.linalg.norm(score(cut, likes) - expected) / np.linalg.norm(expected))

    assert miss(18) < 0.2
    assert miss(18) < miss(10) < miss(2)


@pytest.mark.parametrize("config", [EXACT, FEW_LANDMARKS], ids=["exact", "landmarks"])
def test_an_item_that_comes_later_is_placed_where_training_has_a_cold_one(config: ContentConfig) -> None:
    _, text, links, _, content = draw(config)
    assert len(content.landmarks) == (20 if config is EXACT else 5)
    for item in range(20, N_ITEMS):
        found = content.place(text[item] if text[item].any() else None, codes_of(links, item))
        scale = float(content.items.abs().max())
        np.testing.assert_allclose(found, content.items[item], rtol=1e-3, atol=1e-4 * scale)


def test_content_moves_no_cold_item_up_or_down_as_a_whole() -> None:
    # An item that is to each landmark what the met items are on the mean gets 0 from whoever likes whatever.
    likes, text, _, _, content = draw()
    kernel = content.mean[None]  # what such an item has
    average = replace(content, items=(kernel - content.mean) @ content.basis)
    np.testing.assert_array_equal(score(average, likes), 0)
    assert text.any()


def test_its_scale_is_that_of_met_items_as_if_they_were_cold() -> None:
    likes, text, links, _, content = draw()
    as_cold = np.stack([content.place(text[i] if text[i].any() else None, codes_of(links, i)) for i in range(20)])
    spread = (content.users(Support(likes)).numpy() @ as_cold.T).std(axis=1)
    mean, variance = content.cold_scale.measure(content.users(Support(likes)))
    # But for an item's likeness to itself, which a cold item has to none of them.
    assert (variance.sqrt().numpy() < 2 * spread).all()
    assert torch.isfinite(mean).all()
    assert (variance > 0).all()


def test_texts_or_links_alone_will_do_and_nothing_is_no_model() -> None:
    likes, text, links, channels, _ = draw()
    without_links = [channel for channel in channels if channel.name != LINKS]
    bare = text[:, :0]
    for own, given in ((text, without_links), (bare, channels)):
        content = fit_content(likes, own, links, given, EXACT, link_weight=1.0, seed=0)
        assert content is not None
        assert score(content, likes)[:, 20:].std(axis=1).min() > 0
        placed = content.place(own[20] if own[20].any() else None, np.zeros(0, np.int64))
        assert np.isfinite(placed).all()
    assert fit_content(likes, bare, links, without_links, EXACT, link_weight=1.0, seed=0) is None
    nobody = csr_array(likes.shape, dtype=np.float32)
    assert fit_content(nobody, text, links, channels, EXACT, link_weight=1.0, seed=0) is None


@pytest.mark.parametrize("n_liked", [1, 2])
def test_one_or_two_liked_items_are_enough_to_be_finite(n_liked: int) -> None:
    _, text, links, channels, _ = draw()
    likes = to_csr(np.arange(N_ITEMS)[None, :] < n_liked)
    for config in (EXACT, FEW_LANDMARKS):
        content = fit_content(likes, text, links, channels, config, link_weight=1.0, seed=0)
        assert content is not None
        assert np.isfinite(score(content, likes)).all()
        assert torch.isfinite(content.cold_scale.covariance).all()
