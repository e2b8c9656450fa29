import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import BOOKS, CLUB, draw_club, draw_graph, draw_unit_rows, make_graph
from torch_geometric.data import HeteroData

from kgrec.config import PriorConfig
from kgrec.graph.node_links import (
    NodeLinks,
    build_item_links,
    build_user_links,
    mean_idf_weights,
    mean_weights,
    unit_idf_weights,
)
from kgrec.graph.propagation import Channel, propagate

# Six nodes: books a, b; authors p, q; countries u, v. a is by p and q, b by q; p is from u and v, q from v.
SIX = make_graph(
    {"book": 2, "author": 2, "country": 2},
    {"written_by": [(0, 0), (0, 1), (1, 1)], "from": [(0, 0), (0, 1), (1, 1)]},
    {"author": np.array([[1, 0], [0, 1]]), "country": np.array([[2, 0], [0, 4]])},
)


def run(
    data: HeteroData, fitted: np.ndarray | None = None, vectors: np.ndarray | None = None, **config: int
) -> tuple[NodeLinks, dict[str, Channel]]:
    n_items = data["book"].num_nodes
    fitted = np.ones(n_items, bool) if fitted is None else fitted
    vectors = np.zeros((n_items, 2), np.float32) if vectors is None else vectors
    links = build_item_links(data, BOOKS)
    channels = propagate(data, BOOKS, links, fitted, vectors, fitted.astype(np.float32), PriorConfig(**config), seed=0)
    return links, {channel.name: channel for channel in channels}


def raw_of(channel: Channel) -> np.ndarray:
    """Undoes centring and scaling of a channel whose basis is a multiple of the identity."""
    return channel.features / channel.basis[0, 0] + channel.mean


def test_six_nodes_worked_by_hand() -> None:
    links, channels = run(SIX)
    assert links.relations[0] == ("written_by", True, "author")
    # One hop: a has the mean of p and q, b has q. Two: p is (u + v) / 2 = (1, 2), q is v = (0, 4).
    golden = {
        "text:written_by": ([[1, 0], [0, 1]], [[0.5, 0.5], [0, 1]]),
        "text:written_by.from": ([[1, 2], [0, 4]], [[0.5, 3], [0, 4]]),
    }
    assert golden.keys() == {name for name in channels if name.startswith("text")}
    for name, (vectors, means) in golden.items():
        channel = channels[name]
        np.testing.assert_allclose(channel.vectors, vectors)
        np.testing.assert_allclose(mean_weights(links, 0) @ channel.vectors, means)
        np.testing.assert_allclose(channel.mean, np.mean(means, axis=0))
        np.testing.assert_allclose((np.array(means) - channel.mean) @ channel.basis, channel.features, atol=1e-6)
        # Two centred rows are opposite; two paths share a mean squared length of 1.
        np.testing.assert_allclose(channel.features @ channel.features.T, [[0.5, -0.5], [-0.5, 0.5]], atol=1e-6)


def test_links_of_both_directions_and_between_items_are_features() -> None:
    data = make_graph(
        {"book": 3, "author": 2}, {"written_by": [(0, 1)], "edited": [(1, 0), (0, 2)], "cites": [(0, 1)]}, {}
    )
    links = build_item_links(data, BOOKS)
    assert links.relations == (
        ("written_by", True, "author"),
        ("edited", False, "author"),
        ("cites", True, "book"),
        ("cites", False, "book"),
    )
    found = {
        (item, links.relations[links.relation[code]], int(links.node[code]))
        for item, code in zip(*links.incidence.nonzero(), strict=True)
    }
    assert found == {
        (0, ("written_by", True, "author"), 1),
        (0, ("edited", False, "author"), 1),
        (2, ("edited", False, "author"), 0),
        (0, ("cites", True, "book"), 1),
        (1, ("cites", True, "book"), 1),  # the cited book shares the feature of those that cite it
        (1, ("cites", False, "book"), 0),
        (0, ("cites", False, "book"), 0),
    }


def test_a_repeated_link_counts_once() -> None:
    data = make_graph({"book": 3, "author": 1}, {"written_by": [(0, 0), (0, 0), (1, 0)]}, {})
    links = build_item_links(data, BOOKS)
    np.testing.assert_array_equal(links.incidence.toarray(), [[1], [1], [0]])
    np.testing.assert_allclose(links.idf, [np.log(3 / 2)])


def test_idf_weights() -> None:
    # Of four books author 0 has two, author 1 has one, author 2 has all.
    pairs = [(0, 0), (1, 0), (0, 1), (0, 2), (1, 2), (2, 2), (3, 2)]
    links = build_item_links(make_graph({"book": 4, "author": 3}, {"written_by": pairs}, {}), BOOKS)
    # A feature of one item or of all carries no information.
    np.testing.assert_allclose(links.idf, [np.log(2), 0, 0], rtol=1e-6)
    three = np.array([3.0, 4.0, 0.0], np.float32)
    np.testing.assert_allclose(
        unit_idf_weights(links.incidence, three).toarray()[:3], [[0.6, 0.8, 0], [1, 0, 0], [0, 0, 0]], rtol=1e-6
    )
    np.testing.assert_allclose(
        mean_idf_weights(links.incidence, three).toarray()[:3], [[3 / 7, 4 / 7, 0], [1, 0, 0], [0, 0, 0]], rtol=1e-6
    )


def test_paths_lead_on_through_entities_but_not_through_items_or_users() -> None:
    rng = np.random.default_rng(0)
    _, channels = run(draw_graph(rng))
    assert set(channels) == {
        "text", "links", "profiles:written_by", "profiles:rev_edited", "profiles:cites", "profiles:rev_cites",
        "text:cites", "text:rev_cites",
        "text:written_by", "text:written_by.from", "text:rev_edited", "text:rev_edited.from",
    }  # fmt: skip
    lengths = [np.sqrt((c.features**2).sum(axis=1)) for n, c in channels.items() if n.startswith("text:")]
    assert len(lengths) == 6
    for length in lengths:  # fitted books with the path: six paths share a mean squared length of 1
        assert (length[length > 0] ** 2).mean() == pytest.approx(1 / 6, rel=1e-4)


def test_a_neighbour_without_text_counts_as_the_mean_of_those_with() -> None:
    data = make_graph(
        {"book": 2, "author": 3},
        {"written_by": [(0, 0), (0, 1), (1, 2)]},
        {"author": np.array([[1, 0], [0, 0], [0, 1]])},
    )
    np.testing.assert_allclose(run(data)[1]["text:written_by"].vectors, [[1, 0], [0.5, 0.5], [0, 1]])


def test_a_neighbour_profile_is_the_mean_of_the_other_items_of_a_node() -> None:
    # Books 0 and 1 by author 0; 2 and 3 by author 1; 4 has no author. Each weighs 1, with a shrinkage of three likes.
    data = make_graph({"book": 5, "author": 2}, {"written_by": [(0, 0), (1, 0), (2, 1), (3, 1)]}, {})
    vectors = np.array([[4, 0], [0, 8], [2, 2], [6, 0], [9, 9]], np.float32)
    fitted = np.array([True, True, True, False, True])
    profiles = run(data, fitted, vectors)[1]["profiles:written_by"]
    np.testing.assert_allclose(profiles.vectors, [[4 / 5, 8 / 5], [2 / 4, 2 / 4]], rtol=1e-6)  # sums / (mass + 3)
    # 0 sees only 1, 1 sees only 0; 2 sees none; 3, which was not fitted, sees 2.
    np.testing.assert_allclose(raw_of(profiles)[:4], [[0, 2], [1, 0], [0, 0], [0.5, 0.5]], atol=1e-6)
    np.testing.assert_array_equal(profiles.features[4], [0, 0])


@given(st.integers(0, 2**32), st.integers(0, 28))
@settings(deadline=None, max_examples=25)
def test_a_neighbour_profile_leaves_out_the_items_own_vector(seed: int, item: int) -> None:
    rng = np.random.default_rng(seed)
    data, fitted = draw_graph(rng), rng.random(30) < 0.7
    fitted[item] = True
    vectors = rng.normal(size=(30, 2)).astype(np.float32)
    changed = vectors.copy()
    changed[item] += 5
    links, before = run(data, fitted, vectors)
    after = run(data, fitted, changed)[1]
    for name in [name for name in before if name.startswith("profiles:")]:
        ours, theirs = raw_of(before[name]), raw_of(after[name])
        np.testing.assert_allclose(ours[item], theirs[item], atol=1e-4)
        codes = np.flatnonzero(links.relation == before[name].relation)
        incidence, idf = links.incidence[:, codes].toarray(), links.idf[codes]
        linked = (incidence * idf).sum(axis=1) > 0
        shared = (incidence * idf) @ incidence[item] > 0
        shared[item] = False
        changed_rows = np.abs(ours - theirs).max(axis=1) > 1e-3
        np.testing.assert_array_equal(changed_rows[linked], shared[linked])  # only its neighbours see it


@given(st.integers(0, 2**32), st.booleans())
@settings(deadline=None, max_examples=25)
def test_channels_are_centred_over_fitted_items_and_zero_where_empty(seed: int, texts: bool) -> None:
    rng = np.random.default_rng(seed)
    data, fitted = draw_graph(rng, texts=texts), rng.random(30) < 0.6
    fitted[:3] = True
    links, channels = run(data, fitted, rng.normal(size=(30, 2)).astype(np.float32))
    assert ("text" in channels) == texts
    for name, channel in channels.items():
        assert np.isfinite(channel.features).all()
        if name == "text":
            present = data["book"].has_text.numpy()
        else:
            kept = np.ones(len(links.idf), bool) if channel.relation is None else links.relation == channel.relation
            present = np.diff(links.incidence[:, np.flatnonzero(kept)].indptr) > 0
            assert not channel.features[-1].any()  # it has no links
        assert not channel.features[~present].any()
        np.testing.assert_allclose(channel.features[present & fitted].sum(axis=0), 0, atol=1e-3)


def test_channels_respect_their_widths_and_keep_the_variance() -> None:
    rng = np.random.default_rng(1)
    pairs = [(book, author) for book in range(60) for author in (book % 3, 3 + rng.integers(20))]
    data = make_graph({"book": 60, "author": 23}, {"written_by": pairs}, {"author": rng.normal(size=(23, 10))})
    _, channels = run(data, links_dim=2, path_dim=3)
    assert channels["links"].features.shape == (60, 2)
    assert channels["text:written_by"].features.shape == (60, 3)
    _, whole = run(data, links_dim=512)
    weights = unit_idf_weights(build_item_links(data, BOOKS).incidence, build_item_links(data, BOOKS).idf).toarray()
    gram = weights @ weights.T
    centred = gram - gram.mean(axis=0) - gram.mean(axis=1)[:, None] + gram.mean()
    found = whole["links"].features @ whole["links"].features.T
    # One dimension of 23 is dropped, and channels are scaled to a mean squared length of 1.
    assert np.corrcoef(found.ravel(), centred.ravel())[0, 1] > 0.98


def test_a_graph_without_links_or_texts_has_no_channels() -> None:
    links, channels = run(make_graph({"book": 3}, {}, {}))
    assert links.incidence.shape == (3, 0)
    assert channels == {}
    _, channels = run(make_graph({"book": 3}, {}, {"book": np.eye(3)}))
    assert set(channels) == {"text"}


def test_a_constant_channel_is_zero() -> None:
    # Rounding differs with the number of authors; it must not be scaled up to a feature.
    rng = np.random.default_rng(0)
    about = np.tile(draw_unit_rows(rng, 1, 50), (9, 1))
    pairs = np.argwhere(rng.random((40, 9)) < 0.5)
    _, channels = run(make_graph({"book": 40, "author": 9}, {"written_by": pairs}, {"author": about}))
    np.testing.assert_array_equal(channels["text:written_by"].features, 0)


def test_links_that_no_fitted_item_has_are_no_error() -> None:
    data = make_graph({"book": 4, "author": 1}, {"written_by": [(2, 0), (3, 0)]}, {"author": np.ones((1, 2))})
    _, channels = run(data, np.array([True, False, False, False]))
    for channel in channels.values():
        assert np.isfinite(channel.features).all()


def test_equal_seeds_give_equal_channels() -> None:
    first, again = (run(draw_graph(np.random.default_rng(0)), links_dim=4)[1] for _ in range(2))
    for name, channel in first.items():
        np.testing.assert_array_equal(channel.features, again[name].features)


def run_users(
    data: HeteroData, users: np.ndarray, items: np.ndarray, fitted: np.ndarray | None = None
) -> tuple[NodeLinks, dict[str, Channel]]:
    """The channels of the users of a club, whose backbone vectors all weigh 1."""
    fitted = np.ones(len(users), bool) if fitted is None else fitted
    weights = fitted.astype(np.float32)
    links = build_user_links(data, CLUB)
    far = {"user": (users * weights[:, None]).astype(np.float32), "item": items.astype(np.float32)}
    channels = propagate(data, CLUB, links, fitted, users.astype(np.float32), weights, PriorConfig(), 0, far)
    return links, {channel.name: channel for channel in channels}


def test_links_of_users_go_in_both_directions_and_never_to_themselves() -> None:
    data = make_graph(
        {"user": 4, "item": 2, "group": 2},
        {
            "friend_of": [(0, 1), (1, 0), (2, 2), (0, 3), (0, 1)], "invited": [(1, 0), (0, 2)], "wishes": [(2, 1)],
            "bought": [(0, 0), (3, 1)],
        },
        {},
        CLUB,
    )  # fmt: skip
    links = build_user_links(data, CLUB)
    assert links.relations == (
        ("friend_of", True, "user"), ("friend_of", False, "user"), ("invited", False, "group"),
        ("wishes", True, "item"),
    )  # fmt: skip
    found = {
        (user, links.relations[links.relation[code]][:2], int(links.node[code]))
        for user, code in zip(*links.incidence.nonzero(), strict=True)
    }
    forward, back = ("friend_of", True), ("friend_of", False)
    assert found == {
        (0, forward, 1), (1, forward, 0), (0, forward, 3), (1, back, 0), (0, back, 1), (3, back, 0),
        (0, ("invited", False), 1), (2, ("invited", False), 0), (2, ("wishes", True), 1),
    }  # fmt: skip
    assert links.incidence.shape[0] == 4
    assert links.incidence.max() == 1


def test_neighbours_worked_by_hand() -> None:
    # Of four users everybody wishes item 0, two wish item 1, one wishes item 2; user 3 is a friend of 0 and of 1.
    data = make_graph(
        {"user": 4, "item": 3, "group": 0},
        {"friend_of": [(0, 3), (1, 3), (1, 2)], "wishes": [(0, 0), (1, 0), (2, 0), (3, 0), (0, 1), (1, 1), (0, 2)]},
        {},
        CLUB,
    )
    users = np.array([[1, 0], [0, 1], [4, 8], [2, 6]])
    items = np.array([[9, 9], [6, 0], [0, 12]])
    _, channels = run_users(data, users, items)
    # The factors of an item are log(4 / wishes) / log(4): 0, 1/2 and 1.
    wishes = channels["neighbours:wishes"]
    np.testing.assert_allclose(wishes.vectors, [[0, 0], [3, 0], [0, 12]], atol=1e-6)
    np.testing.assert_allclose(raw_of(wishes), [[1, 4], [1.5, 0], [0, 0], [0, 0]], atol=1e-5)
    friends = channels["neighbours:friend_of"]
    np.testing.assert_allclose(friends.vectors, [[4, 8], [1, 3]], atol=1e-6)
    np.testing.assert_allclose(raw_of(friends)[:2], [[1, 3], [2.5, 5.5]], atol=1e-5)
    np.testing.assert_array_equal(friends.features[2:], 0)  # nobody is a friend of theirs
    back = channels["neighbours:rev_friend_of"]
    np.testing.assert_allclose(back.vectors, [[1, 0], [0, 1 / 2]], atol=1e-6)  # user 1 names two friends
    assert "neighbours:invited" not in channels


def test_a_friend_who_is_not_fitted_counts_as_nothing_known() -> None:
    data = make_graph({"user": 4, "item": 0, "group": 0}, {"friend_of": [(0, 2), (0, 3), (1, 3)]}, {}, CLUB)
    users, fitted = np.array([[1, 0], [0, 1], [99, 99], [2, 6]]), np.array([True, True, False, True])
    friends = run_users(data, users, np.zeros((0, 2)), fitted)[1]["neighbours:friend_of"]
    np.testing.assert_allclose(raw_of(friends)[:2], [[0.5, 1.5], [1, 3]], atol=1e-5)


@given(st.integers(0, 2**32), st.integers(0, 29))
@settings(deadline=None, max_examples=25)
def test_the_features_of_a_user_do_not_come_from_their_own_vector(seed: int, user: int) -> None:
    rng = np.random.default_rng(seed)
    data, fitted = draw_club(rng), rng.random(30) < 0.7
    fitted[user] = True
    users, items = rng.normal(size=(30, 2)), rng.normal(size=(6, 2))
    changed = users.copy()
    changed[user] += 5
    links, before = run_users(data, users, items, fitted)
    after = run_users(data, changed, items, fitted)[1]
    assert before.keys() == after.keys()
    moved = set()
    for name, channel in before.items():
        if not name.startswith(("profiles:", "neighbours:")):
            np.testing.assert_array_equal(channel.features, after[name].features)
            continue
        if not (channel.basis.any() and after[name].basis.any()):
            continue  # all users have the same vector
        changes = np.abs(raw_of(channel) - raw_of(after[name])).max(axis=1) * channel.features.any(axis=1)
        assert changes[user] < 1e-4
        moved |= set(np.flatnonzero(changes > 1e-3).tolist())
    # Those who share a link with the user, and those who are linked to the user, see it.
    to_user = np.array([far == "user" for _, _, far in links.relations])[links.relation] & (links.node == user)
    sharing = (links.incidence @ links.incidence[[user]].T).toarray().any(axis=1)
    assert moved <= set(np.flatnonzero(sharing | links.incidence[:, np.flatnonzero(to_user)].toarray().any(axis=1)))
    assert moved or not links.incidence[:, np.flatnonzero(to_user)].nnz


@given(st.integers(0, 2**32))
@settings(deadline=None, max_examples=15)
def test_channels_of_users_are_zero_where_empty(seed: int) -> None:
    rng = np.random.default_rng(seed)
    _, channels = run_users(draw_club(rng), rng.normal(size=(30, 2)), rng.normal(size=(6, 2)))
    assert {"text", "links", "neighbours:friend_of", "neighbours:rev_friend_of", "neighbours:wishes"} <= set(channels)
    for name, channel in channels.items():
        assert np.isfinite(channel.features).all()
        assert name == "text" or not channel.features[-1].any()  # no links


def test_a_hub_is_a_neighbour_of_little_weight() -> None:
    n_users = 2000
    pairs = [(user, 0) for user in range(1, n_users)] + [(1, 2)]
    data = make_graph({"user": n_users, "item": 0, "group": 0}, {"friend_of": pairs}, {}, CLUB)
    _, channels = run_users(data, np.ones((n_users, 2)), np.zeros((0, 2)))
    hub, other = channels["neighbours:friend_of"].vectors
    np.testing.assert_allclose(other, 1)
    assert (np.abs(hub) < 1e-4).all()
