import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.graph.node_links import NodeLinks
from kgrec.model.likeness import SOURCES, draw_axes, fit_likeness, join_content, weigh_links

N_TOPICS, PER_TOPIC, TEXT_DIM = 6, 20, 128
N_ITEMS = N_TOPICS * PER_TOPIC
TOPIC = np.repeat(np.arange(N_TOPICS), PER_TOPIC)
K = 10


def to_links(incidence: csr_array, relation: NDArray[np.int64] | None = None) -> NodeLinks:
    n_items, n_codes = incidence.shape
    shared = np.bincount(incidence.indices, minlength=n_codes)
    idf = np.where(shared > 1, np.log(n_items / np.maximum(shared, 1)), 0).astype(np.float32)
    relation = np.zeros(n_codes, np.int64) if relation is None else relation
    nothing = np.zeros(n_codes, np.bool_)
    return NodeLinks((("made_by", True, "maker"),), relation, np.arange(n_codes), incidence, idf, nothing)


def no_links(n_items: int = N_ITEMS) -> NodeLinks:
    return to_links(csr_array((n_items, 0), dtype=np.float32))


def to_matrix(rows: NDArray[np.int64], columns: NDArray[np.int64], shape: tuple[int, int]) -> csr_array:
    matrix = csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def draw_likes(topics: bool, *, n_users: int = 400, hubs: int = 0, seed: int = 1) -> csr_array:
    """12 likes per user, of one topic or of any; two thirds of the users also like each of the first `hubs` items."""
    rng = np.random.default_rng(seed)
    of_topic = rng.integers(0, PER_TOPIC, (n_users, 12)) + PER_TOPIC * (np.arange(n_users) % N_TOPICS)[:, None]
    columns = of_topic if topics else rng.integers(0, N_ITEMS, (n_users, 12))
    rows = np.repeat(np.arange(n_users), 12)
    many, popular = np.nonzero(rng.random((n_users, hubs)) < 2 / 3)
    return to_matrix(np.append(rows, many), np.append(columns.ravel(), popular), (n_users, N_ITEMS))


def draw_text(topics: bool, seed: int = 2) -> NDArray[np.float32]:
    """Unit vectors around a common direction and one of the topic."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((N_TOPICS, TEXT_DIM)) / TEXT_DIM**0.5
    text = 2 * np.eye(TEXT_DIM)[0] + 0.6 * rng.standard_normal((N_ITEMS, TEXT_DIM)) / TEXT_DIM**0.5
    text += 1.5 * centres[TOPIC] if topics else 0
    return (text / np.linalg.norm(text, axis=1, keepdims=True)).astype(np.float32)


def draw_links(topics: bool, seed: int = 3) -> NodeLinks:
    """12 links per item, to 20 nodes of its topic or to any of 120."""
    rng = np.random.default_rng(seed)
    nodes = rng.integers(0, 20, (N_ITEMS, 12)) + 20 * TOPIC[:, None] if topics else rng.integers(0, 120, (N_ITEMS, 12))
    return to_links(to_matrix(np.repeat(np.arange(N_ITEMS), 12), nodes.ravel(), (N_ITEMS, 120)))


def codes_of(links: NodeLinks, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    starts = links.incidence.indptr
    return [links.incidence.indices[starts[row] : starts[row + 1]].astype(np.int64) for row in rows]


def find_first(vectors: NDArray[np.float32], k: int = K) -> NDArray[np.int64]:
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def share_of_topic(vectors: NDArray[np.float32]) -> float:
    return float((TOPIC[find_first(vectors)] == TOPIC[:, None]).mean())


@pytest.mark.parametrize("source", SOURCES)
def test_one_source_alone_suffices(source: str) -> None:
    likes = draw_likes(True) if source == "likes" else csr_array((400, N_ITEMS), dtype=np.float32)
    text = draw_text(True) if source == "text" else None
    links = draw_links(True) if source == "links" else no_links()
    shown = np.zeros((N_ITEMS, 0), np.float32) if text is None else text
    likeness = fit_likeness(likes, text, links)
    assert share_of_topic(likeness.vectors(shown)) > 0.8
    assert share_of_topic(likeness.vectors(shown, source)) > 0.8


@pytest.mark.parametrize("source", SOURCES)
def test_noise_in_the_others_does_not_spoil_it(source: str) -> None:
    likes, text, links = draw_likes(source == "likes"), draw_text(source == "text"), draw_links(source == "links")
    likeness = fit_likeness(likes, text, links)
    assert share_of_topic(likeness.vectors(text)) > 0.4  # by chance .16
    assert share_of_topic(likeness.vectors(text, source)) > 0.8


def test_universally_liked_items_are_not_similar_to_everything() -> None:
    text, hubs = draw_text(True), 5
    vectors = fit_likeness(draw_likes(True, hubs=hubs), text, draw_links(True)).vectors(text)
    of_others = find_first(vectors)[TOPIC > 0]  # the hubs are of the first topic
    assert (of_others < hubs).mean() < 0.01


def test_items_without_likes_have_different_lists() -> None:
    likes = draw_likes(True).tolil()
    never = np.arange(0, N_ITEMS, 2)
    likes[:, never] = 0
    text = draw_text(True)
    likeness = fit_likeness(csr_array(likes), text, draw_links(True))
    assert not likeness.likes[never].any()
    first = find_first(likeness.vectors(text))[never]
    assert (TOPIC[first] == TOPIC[never, None]).mean() > 0.8
    assert np.sort(np.bincount(first.ravel()))[::-1][:10].sum() < 0.3 * first.size


def test_few_likes_count_little() -> None:
    likes = draw_likes(True).tolil()
    likes[:, 0] = 0
    likes[0, 0] = 1
    lengths = np.linalg.norm(fit_likeness(csr_array(likes), None, no_links()).likes, axis=1)
    assert lengths[0] == pytest.approx(0.5**0.5, abs=1e-3)
    assert (lengths[1:] > 0.9).all()


def test_a_new_item_is_next_to_one_with_the_same_text_and_links() -> None:
    text, links = draw_text(True), draw_links(True)
    likeness = fit_likeness(csr_array((400, N_ITEMS), dtype=np.float32), text, links)
    twins, kept = np.array([7, 63]), np.delete(np.arange(N_ITEMS), [3, 40])
    n_kept = len(kept)
    more = likeness.with_items(kept, n_kept + 2, n_kept + np.arange(2), codes_of(links, twins))
    vectors = more.vectors(np.concatenate([text[kept], text[twins]]))
    assert more.n_items == n_kept + 2
    np.testing.assert_allclose(vectors[:n_kept], likeness.vectors(text)[kept], atol=1e-5)
    assert kept[find_first(vectors)[n_kept:, 0]].tolist() == twins.tolist()


def test_changed_links_move_only_their_item() -> None:
    text, links = draw_text(True), draw_links(True)
    likeness = fit_likeness(draw_likes(True), text, links)
    changed = likeness.with_items(np.arange(N_ITEMS), N_ITEMS, np.array([7]), codes_of(links, np.array([63])))
    np.testing.assert_allclose(changed.links[7], likeness.links[63], atol=1e-3)  # stored in half precision
    others = np.delete(np.arange(N_ITEMS), 7)
    np.testing.assert_array_equal(changed.links[others], likeness.links[others])
    np.testing.assert_array_equal(changed.likes, likeness.likes)


def test_new_items_by_texts_and_links_are_among_their_topic_where_others_have_likes() -> None:
    text, links = draw_text(True), draw_links(True)
    likeness = fit_likeness(draw_likes(True), text, links)
    rows, codes = N_ITEMS + np.arange(2), codes_of(links, np.array([7, 63]))
    more = likeness.with_items(np.arange(N_ITEMS), N_ITEMS + 2, rows, codes)
    first = find_first(more.vectors(np.concatenate([text, text[[7, 63]]])))[N_ITEMS:]
    assert (np.append(TOPIC, TOPIC[[7, 63]])[first] == TOPIC[[7, 63], None]).all()


def test_vectors_have_unit_length() -> None:
    text = draw_text(True)
    vectors = fit_likeness(draw_likes(True), text, draw_links(True)).vectors(text)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_half_precision_finds_the_same_neighbours() -> None:
    text = draw_text(True)
    vectors = fit_likeness(draw_likes(True), text, draw_links(True)).vectors(text)
    stored = vectors.astype(np.float16).astype(np.float32)
    same = [len(set(one) & set(other)) for one, other in zip(find_first(vectors), find_first(stored), strict=True)]
    assert np.mean(same) > 0.95 * K


def test_shares_add_up_to_the_likeness() -> None:
    text = draw_text(True)
    likeness = fit_likeness(draw_likes(True), text, draw_links(True))
    one, other = np.array([0, 0, 50]), np.array([1, 119, 60])
    vectors, shares = likeness.vectors(text), likeness.shares(np.arange(len(text)), text, one, other)
    assert tuple(shares) == SOURCES
    np.testing.assert_allclose(sum(shares.values()), (vectors[one] * vectors[other]).sum(axis=1), atol=0.02)


def test_shares_of_items_without_likes_add_up_up_to_random_signs() -> None:
    likes, text, never = draw_likes(True).tolil(), draw_text(True), np.arange(0, N_ITEMS, 2)
    likes[:, never] = 0
    likeness = fit_likeness(csr_array(likes), text, draw_links(True))
    vectors, shares = likeness.vectors(text), likeness.shares(np.arange(len(text)), text, never[:-1], never[1:])
    assert not shares["likes"].any()
    expected = (vectors[never[:-1]] * vectors[never[1:]]).sum(axis=1)
    np.testing.assert_allclose(sum(shares.values()), expected, atol=0.1)  # 192 signs: .016, six standard errors


@pytest.mark.parametrize("known", SOURCES)
def test_missing_sources_are_zeros(known: str) -> None:
    text = draw_text(True)
    text[3] = 0
    likes, links = draw_likes(True).tolil(), draw_links(True).incidence.tolil()
    likes[:, 3] = 0
    links[3] = 0
    likeness = fit_likeness(csr_array(likes), text, to_links(csr_array(links)))
    assert not likeness.vectors(text)[3].any()
    assert not likeness.vectors(text, known)[3].any()


@pytest.mark.parametrize("n_items", [2, 5])
def test_tiny_catalogues_give_finite_vectors(n_items: int) -> None:
    same = np.tile(np.float32([0.6, 0.8]), (n_items, 1))
    alike = csr_array(np.ones((3, n_items), np.float32))
    for likes in (alike, csr_array((0, n_items), dtype=np.float32), csr_array((3, n_items), dtype=np.float32)):
        for text in (same, np.zeros_like(same), None):
            likeness = fit_likeness(likes, text, no_links(n_items))
            vectors = likeness.vectors(np.zeros((n_items, 0), np.float32) if text is None else text)
            assert np.isfinite(vectors).all()
            assert not vectors.any()  # all items are equal, so no vector has information


def test_universal_likes_and_links_carry_no_information() -> None:
    links = to_links(csr_array(np.ones((N_ITEMS, 3), np.float32)))
    likeness = fit_likeness(csr_array(np.ones((9, N_ITEMS), np.float32)), None, links)
    assert not likeness.vectors(np.zeros((N_ITEMS, 0), np.float32)).any()


def test_links_weigh_by_rarity_and_by_how_many_of_their_relation_there_are() -> None:
    incidence = csr_array(np.float32([[1, 1, 1, 1], [1, 1, 1, 0]]))
    idf, relation = np.float32([2, 2, 1, 0]), np.array([0, 0, 1, 1])
    weights = weigh_links(incidence, idf, relation).toarray()
    expected = np.array([2 / 2**0.5, 2 / 2**0.5, 1, 0]) / 5**0.5  # the last one is no other item's
    np.testing.assert_allclose(weights, [expected, expected], atol=1e-6)


def test_links_to_many_nodes_keep_their_inner_products() -> None:
    axes = draw_axes(2000, 256)
    off = axes @ axes.T - np.eye(2000)
    assert np.abs(np.diag(off)).max() < 1e-5
    assert np.sqrt(np.square(off).mean()) == pytest.approx(256**-0.5, rel=0.05)
    np.testing.assert_array_equal(draw_axes(3, 256), np.eye(3))


def test_vector_columns_count_like_texts() -> None:
    rng = np.random.default_rng(5)
    column = (np.eye(N_TOPICS)[TOPIC] + 0.3 * rng.standard_normal((N_ITEMS, N_TOPICS))).astype(np.float32)
    column[::7] = np.nan
    joined = join_content(draw_text(False), [column])
    assert joined.shape == (N_ITEMS, TEXT_DIM + N_TOPICS)
    likeness = fit_likeness(csr_array((5, N_ITEMS), dtype=np.float32), joined, no_links())
    np.testing.assert_allclose(likeness.text_mean, np.nanmean(joined, axis=0), atol=1e-6)
    vectors = likeness.vectors(joined)
    assert np.isfinite(vectors).all()
    known = np.flatnonzero(~np.isnan(column).any(axis=1))
    assert (TOPIC[known][find_first(vectors[known])] == TOPIC[known, None]).mean() > 0.8
    with pytest.raises(ValueError, match="neither texts nor vector columns"):
        join_content(None, [])


def test_the_same_seed_gives_the_same_vectors() -> None:
    fits = [fit_likeness(draw_likes(True), draw_text(True), draw_links(True), seed=4) for _ in range(2)]
    np.testing.assert_allclose(fits[0].likes @ fits[0].likes.T, fits[1].likes @ fits[1].likes.T, atol=1e-5)
    np.testing.assert_array_equal(fits[0].links, fits[1].links)


def test_unknown_sources_are_named() -> None:
    with pytest.raises(ValueError, match="expected one of likes, text, links"):
        fit_likeness(draw_likes(True), None, no_links()).vectors(np.zeros((N_ITEMS, 0), np.float32), by="vibes")
