from dataclasses import replace

import numpy as np
import pytest
import torch
from checkerboard import to_csr
from planted import BOOKS, draw_graph
from scipy.sparse import csr_array

from kgrec.config import PriorConfig
from kgrec.graph.propagation import LINKS, Channel, ItemLinks, build_item_links, propagate, unit_idf_weights
from kgrec.model.content import Content, fit_content
from kgrec.model.item_item import ItemItem

N_ITEMS = 30
SETTINGS = {"regularisation": 1.0, "max_items": 99, "n_landmarks": 99, "seed": 0}


def draw(
    seed: int = 0, item_item: ItemItem | None = None, **changes: object
) -> tuple[csr_array, np.ndarray, ItemLinks, list[Channel], Content]:
    """Books with texts and links, the last ten of which nobody has met, and the content model of all."""
    rng = np.random.default_rng(seed)
    data = draw_graph(rng, n_books=N_ITEMS)
    text = np.where(data["book"].has_text.numpy()[:, None], data["book"].x.numpy(), 0).astype(np.float32)
    links, cold = build_item_links(data, BOOKS), np.arange(N_ITEMS) >= 20
    likes = to_csr((rng.random((15, N_ITEMS)) < 0.5) & ~cold)
    vectors = rng.normal(size=(N_ITEMS, 2)).astype(np.float32)
    channels = propagate(data, BOOKS, links, ~cold, vectors, np.ones(N_ITEMS, np.float32), PriorConfig(), seed=0)
    settings = SETTINGS | {"link_weight": 2.0, "regularisation": 0.7} | changes
    content = fit_content(likes, text, links, channels, cold, item_item, **settings)
    assert content is not None
    return likes, text, links, channels, content


def test_scores_worked_by_the_formula_of_kernel_ridge() -> None:
    likes, text, links, channels, content = draw()
    (axes,) = (channel.vectors for channel in channels if channel.name == LINKS)
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
    np.testing.assert_allclose(content.score(likes), expected, atol=2e-3 * np.abs(expected).max())


def test_what_a_like_makes_expect_counts_as_a_like_by_so_much() -> None:
    likes, _, _, _, alone = draw()
    expects = torch.from_numpy(np.random.default_rng(1).normal(size=(N_ITEMS, N_ITEMS)).astype(np.float32))
    content = draw(item_item=ItemItem(expects))[-1]
    met = np.arange(N_ITEMS) < 20
    shown = likes.toarray() + (likes.toarray() @ expects.numpy()) * met
    expected = alone.score(csr_array(shown)).numpy()
    np.testing.assert_allclose(content.score(likes), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_all_met_items_as_landmarks_are_the_exact_form() -> None:
    likes, _, _, _, exact = draw()
    by_landmarks = draw(max_items=0, n_landmarks=20)[-1]
    expected = exact.score(likes).numpy()
    np.testing.assert_allclose(by_landmarks.score(likes), expected, atol=0.02 * np.abs(expected).max())


@pytest.mark.parametrize("some", [{"max_items": 0, "n_landmarks": 5}, {}])
def test_a_score_is_the_sum_of_its_likes_shares(some: dict[str, int]) -> None:
    likes, _, _, _, content = draw(**some)
    assert len(content.landmarks) == some.get("n_landmarks", 20)
    places, scores = np.array([3, 0, 7]), content.score(likes).numpy()
    for user in range(4):
        liked = likes.indices[likes.indptr[user] : likes.indptr[user + 1]].astype(np.int64)
        shares = content.shares(liked, places)
        np.testing.assert_allclose(shares.sum(axis=0), scores[user, places], rtol=1e-3, atol=1e-5)
    later = content.shares(np.array([2, N_ITEMS]), places)  # an item that came after the training
    assert later[0].any()
    assert not later[1].any()


def test_an_item_that_comes_later_is_placed_where_training_has_a_cold_one() -> None:
    for some in ({"max_items": 0, "n_landmarks": 5}, {}):
        _, text, links, _, content = draw(**some)
        for place, item in enumerate(range(20, N_ITEMS)):
            start, end = links.incidence.indptr[item : item + 2]
            codes = links.incidence.indices[start:end].astype(np.int64)
            found = content.place(text[item] if text[item].any() else None, codes)
            np.testing.assert_allclose(found, content.kernel[place], rtol=1e-4, atol=1e-5)


def test_content_moves_no_cold_item_up_or_down_as_a_whole() -> None:
    # An item that is to each landmark what the met items are on the mean gets 0 from whoever likes whatever.
    likes, _, _, _, content = draw()
    average = replace(content, kernel=np.zeros_like(content.kernel[:1]))
    np.testing.assert_array_equal(average.score(likes), 0)


def test_texts_or_links_alone_will_do_and_nothing_is_no_model() -> None:
    likes, text, links, channels, _ = draw()
    cold = np.arange(N_ITEMS) >= 20
    without_links = [channel for channel in channels if channel.name != LINKS]
    bare = text[:, :0]
    for own, given in ((text, without_links), (bare, channels)):
        content = fit_content(likes, own, links, given, cold, None, link_weight=1.0, **SETTINGS)
        assert content is not None
        assert content.score(likes).std(dim=1).min() > 0
        placed = content.place(own[20] if own[20].any() else None, np.zeros(0, np.int64))
        assert np.isfinite(placed).all()
    assert fit_content(likes, bare, links, without_links, cold, None, link_weight=1.0, **SETTINGS) is None
