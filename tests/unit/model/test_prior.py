from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import BOOKS, draw_graph

from kgrec.config import PriorConfig
from kgrec.graph.hetero import VECTOR
from kgrec.graph.node_links import NodeLinks, build_item_links
from kgrec.graph.propagation import Channel, join_vectors, propagate, read_item_vectors
from kgrec.model.prior import (
    HiddenLayer,
    Prior,
    PriorSettings,
    RidgeProblem,
    build_prior,
    build_ridge_problem,
    channel_kind,
    fit_hidden_layer,
    start_from_means,
)

KINDS = ("text", "paths", "links", "profiles")


def channel(features: Any, name: str = "text", relation: int | None = None) -> Channel:
    values = np.asarray(features, np.float32)
    identity = np.eye(values.shape[1], dtype=np.float32)
    return Channel(name, values, identity, np.zeros(values.shape[1], np.float32), relation)


def test_one_ridge_worked_by_hand() -> None:
    # Weighted mean of z = (1 * 2 + 3 * 6) / 4 = 5. F' diag(w) F = 1 * 1 + 3 * 4 = 13, F' diag(w) (z - 5) = -3 + 6 = 3,
    # so the weight is 3 / (13 + 2) = 1/5; the third item is not trained on and is placed at 5 + 10/5 = 7.
    problem = build_ridge_problem(
        [channel([[1], [2], [10]])], np.array([[2], [6], [99]], np.float32), np.array([1, 3, 0], np.float32)
    )
    chosen = PriorSettings(2.0, {"text": 1.0})
    assert problem.solve(chosen).item() == pytest.approx(1 / 5)
    np.testing.assert_allclose(problem.predict(chosen), [[5.2], [5.4], [7]], rtol=1e-6)


def test_ridge_equals_the_closed_form_with_the_gates_as_scales_of_the_features() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(20, 5)).astype(np.float32)
    vectors, weights = rng.normal(size=(20, 3)).astype(np.float32), rng.random(20).astype(np.float32)
    problem = build_ridge_problem(
        [channel(features[:, :2]), channel(features[:, 2:], "text:by", relation=0)], vectors, weights
    )
    mean = (weights[:, None] * vectors).sum(axis=0) / weights.sum()
    gated = features * np.array([2, 2, 0.5, 0.5, 0.5])
    left = gated.T @ (weights[:, None] * gated) + 3 * np.eye(5)
    expected = gated @ np.linalg.solve(left, gated.T @ (weights[:, None] * (vectors - mean))) + mean
    found = problem.predict(PriorSettings(3.0, {"text": 2.0, "paths": 0.5}))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_channel_kinds() -> None:
    named = (("text",), ("text:by", 3), ("text:by", 0), ("links",), ("attributes",), ("attributes:user.age", 1),
             ("profiles:by", 0), ("neighbours:rev_friend_of", 2))  # fmt: skip
    assert [channel_kind(channel([[1]], *a)) for a in named] == [
        "text", "paths", "paths", "links", "attributes", "attributes", "profiles", "neighbours",
    ]  # fmt: skip


def test_the_ridge_starts_from_a_multiple_of_the_neighbours_mean() -> None:
    # z = 2 f over neighbours: F'F = 4, F'Z = 8, and the factor is 8 / (4 + .001 * 4).
    friends, text = [[1.0], [-1.0], [1.0], [-1.0]], [[1.0], [1.0], [-1.0], [-1.0]]
    channels = [channel(text), channel(friends, "neighbours:friend_of", relation=0)]
    vectors = np.array([[2.0], [-2.0], [2.0], [-2.0]], np.float32) + 5
    problem = build_ridge_problem(channels, vectors, np.ones(4, np.float32))
    started = start_from_means(problem, channels)
    factor = 8 / 4.004
    np.testing.assert_allclose(started.start, [[0], [factor]], rtol=1e-5)
    # However large the ridge, friends still count; a gate of 0 leaves them out.
    np.testing.assert_allclose(started.predict(PriorSettings(1e9, {})), 5 + factor * np.array(friends), rtol=1e-4)
    np.testing.assert_allclose(started.predict(PriorSettings(1e9, {"neighbours": 0.0})), 5, atol=1e-4)
    np.testing.assert_allclose(problem.predict(PriorSettings(1e9, {})), 5, atol=1e-4)
    # Without a ridge both solve the same equations.
    exact = PriorSettings(1e-6, {})
    np.testing.assert_allclose(started.predict(exact), problem.predict(exact), atol=1e-4)


def test_one_factor_serves_all_directions_of_a_mean_and_noise_gets_none() -> None:
    rng = np.random.default_rng(0)
    friends, group = (rng.normal(size=(4000, 3)).astype(np.float32) for _ in range(2))
    channels = [channel(friends, "profiles:friend_of", relation=0), channel(group, "attributes:user.age", relation=1)]
    vectors = (0.7 * friends + 0.3 * rng.normal(size=(4000, 3))).astype(np.float32)
    start = start_from_means(build_ridge_problem(channels, vectors, np.ones(4000, np.float32)), channels).start
    np.testing.assert_allclose(start[:3], 0.7 * np.eye(3), atol=0.02)
    np.testing.assert_allclose(start[3:], 0, atol=0.02)


def test_without_means_the_ridge_starts_at_zero() -> None:
    channels = [channel([[1], [-1]]), channel([[1], [2]], "links")]
    problem = build_ridge_problem(channels, np.array([[1], [-1]], np.float32), np.ones(2, np.float32))
    assert start_from_means(problem, channels) is problem


class Fitted:
    """The prior of a random graph with some cold items."""

    def __init__(
        self,
        seed: int,
        *,
        texts: bool = True,
        gates: dict[str, float] | None = None,
        hidden: int = 0,
        vectors: bool = False,
        values: bool = False,
    ) -> None:
        self.rng = rng = np.random.default_rng(seed)
        self.data = draw_graph(rng, texts=texts)
        n_items, dim = self.data["book"].num_nodes, 4
        for name, node_type, width in (("cover", "book", 5), ("blurb", "book", 2), ("face", "author", 3)):
            if vectors:
                drawn = rng.normal(size=(self.data[node_type].num_nodes, width)).astype(np.float32)
                drawn[rng.random(len(drawn)) < 0.2] = np.nan  # a node without a vector column
                self.data[node_type][f"{VECTOR}{name}"] = torch.from_numpy(drawn)
        self.cold = rng.random(n_items) < 0.3
        self.cold[[0, n_items - 1]] = False, True  # the last has no links
        weights = np.where(self.cold, 0, rng.uniform(0.2, 1, n_items)).astype(np.float32)
        placed = np.where(self.cold[:, None], 0, rng.normal(size=(n_items, dim))).astype(np.float32)
        self.links: NodeLinks = build_item_links(self.data, BOOKS)
        if values:  # as if the authors were values of an attribute
            self.links = replace(self.links, is_value=self.links.relation == 0)
        self.channels = propagate(self.data, BOOKS, self.links, ~self.cold, placed, weights, PriorConfig(), seed=0)
        self.problem: RidgeProblem = build_ridge_problem(self.channels, placed, weights)
        self.settings = PriorSettings(0.5, dict.fromkeys(self.problem.kinds.tolist(), 1.0) | (gates or {}))
        self.expected = self.problem.predict(self.settings)
        layer = None
        if hidden:
            gated = self.problem.features * np.array(
                [self.settings.gates[kind] for kind in self.problem.kinds], np.float32
            )
            layer = fit_hidden_layer(
                gated, placed - self.expected, weights, np.eye(dim, dtype=np.float32), hidden=hidden, steps=15, seed=0
            )
            with torch.inference_mode():
                added = layer(torch.from_numpy(gated)).numpy()
            assert np.abs(added).max() > 1e-3
            self.expected = self.expected + added
        self.prior: Prior = build_prior(self.channels, self.links, self.problem, self.settings, layer)

    def text(self, item: int) -> np.ndarray | None:
        book = self.data["book"]
        return book.x[item].numpy() if "x" in book and book.has_text[item] else None

    def codes(self, item: int) -> np.ndarray:
        incidence = self.links.incidence
        return incidence.indices[incidence.indptr[item] : incidence.indptr[item + 1]].astype(np.int64)

    def place(self, item: int) -> np.ndarray:
        columns = {name: vectors[item][None] for name, vectors in read_item_vectors(self.data, BOOKS).items()}
        own = join_vectors(columns, {name: vector.shape[1] for name, vector in columns.items()}, 1)[0]
        return self.prior.place(self.text(item), self.rng.permutation(self.codes(item)), own)


@given(
    st.integers(0, 2**32),
    st.booleans(),
    st.dictionaries(st.sampled_from(KINDS), st.sampled_from((0.0, 0.5, 2.0))),
    st.sampled_from((0, 6)),
    st.booleans(),
    st.booleans(),
)
@settings(deadline=None, max_examples=20)
def test_a_new_item_is_placed_where_training_places_a_cold_one(
    seed: int, texts: bool, gates: dict[str, float], hidden: int, vectors: bool, values: bool
) -> None:
    fitted = Fitted(seed, texts=texts, gates=gates, hidden=hidden, vectors=vectors, values=values)
    assert ("attributes" in fitted.problem.kinds) == values
    for item in np.flatnonzero(fitted.cold):
        np.testing.assert_allclose(fitted.place(item), fitted.expected[item], rtol=1e-3, atol=1e-4)


@given(st.integers(0, 2**32), st.booleans(), st.sampled_from((0, 6)), st.booleans())
@settings(deadline=None, max_examples=20)
def test_many_nodes_are_placed_as_each_alone(seed: int, texts: bool, hidden: int, values: bool) -> None:
    fitted = Fitted(seed, texts=texts, hidden=hidden, values=values)
    n_items = len(fitted.cold)
    alone = np.stack([fitted.prior.place(fitted.text(item), fitted.codes(item)) for item in range(n_items)])
    text = np.zeros((n_items, 5), np.float32)
    for item in range(n_items):
        text[item] = 0 if fitted.text(item) is None else fitted.text(item)
    np.testing.assert_allclose(fitted.prior.place_all(text, fitted.links.incidence), alone, rtol=1e-3, atol=1e-5)
    without = np.stack([fitted.prior.place(None, fitted.codes(item)) for item in range(n_items)])
    np.testing.assert_allclose(fitted.prior.place_all(None, fitted.links.incidence), without, rtol=1e-3, atol=1e-5)
    assert fitted.prior.place_all(None, fitted.links.incidence[:0]).shape == (0, 4)


def test_vector_columns_are_channels_with_gates_of_their_own_and_neighbours_vectors_are_paths() -> None:
    fitted = Fitted(5, vectors=True)
    assert {"vector:cover", "vector:blurb"} <= set(fitted.problem.kinds.tolist())
    assert any(
        channel.name.startswith("vector:face:") and channel_kind(channel) == "paths" for channel in fitted.channels
    )
    others = set(fitted.problem.kinds.tolist()) - {"vector:cover"}
    alone = Fitted(5, vectors=True, gates=dict.fromkeys(others, 0.0))
    placed = np.stack([alone.place(item) for item in np.flatnonzero(alone.cold)])
    has_cover = np.isfinite(read_item_vectors(alone.data, BOOKS)["cover"][np.flatnonzero(alone.cold), 0])
    np.testing.assert_allclose(placed[~has_cover], np.broadcast_to(alone.prior.bias[:4], placed[~has_cover].shape))
    assert len(np.unique(placed[has_cover].round(5), axis=0)) == has_cover.sum() > 1


def test_a_text_is_ignored_where_training_had_none() -> None:
    fitted, codes = Fitted(5, texts=False), np.zeros(0, np.int64)
    np.testing.assert_array_equal(fitted.prior.place(np.ones(5, np.float32), codes), fitted.prior.place(None, codes))


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_channel_alone_separates_cold_items(kind: str) -> None:
    fitted = Fitted(5, gates=dict.fromkeys(set(KINDS) - {kind}, 0.0))
    cold = np.flatnonzero(fitted.cold)
    placed = np.stack([fitted.place(item) for item in cold])
    np.testing.assert_allclose(placed, fitted.expected[cold], rtol=1e-3, atol=1e-4)
    assert len(np.unique(placed.round(4), axis=0)) > len(cold) / 3  # vectors differ between items


def test_a_fitted_item_does_not_see_its_own_vector_but_a_new_item_sees_its_neighbours() -> None:
    fitted = Fitted(5, gates={"profiles": 0.0})
    for item in np.flatnonzero(~fitted.cold):  # without neighbour profiles, fitted items are placed like others
        np.testing.assert_allclose(fitted.place(item), fitted.expected[item], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("hidden", [0, 6])
def test_a_gate_of_0_leaves_a_channel_out(hidden: int) -> None:
    def place(*, text: int, gates: dict[str, float]) -> np.ndarray:
        fitted = Fitted(3, gates=gates, hidden=hidden)
        vector = np.eye(5, dtype=np.float32)[text]
        return fitted.prior.place(vector, fitted.codes(1))

    assert not np.allclose(place(text=0, gates={}), place(text=1, gates={}))
    np.testing.assert_array_equal(place(text=0, gates={"text": 0.0}), place(text=1, gates={"text": 0.0}))
    links_off = Fitted(3, gates={"paths": 0.0, "links": 0.0, "profiles": 0.0}, hidden=hidden)
    some = next(item for item in range(30) if len(links_off.codes(item)))
    none = np.zeros(0, np.int64)
    np.testing.assert_allclose(
        links_off.prior.place(None, links_off.codes(some)), links_off.prior.place(None, none), atol=1e-6
    )


def test_an_item_without_features_gets_the_mean_vector() -> None:
    fitted = Fitted(1)
    nothing = fitted.prior.place(None, np.zeros(0, np.int64))
    np.testing.assert_allclose(nothing, fitted.problem.mean, rtol=1e-5)


def test_the_hidden_layer_starts_at_zero_and_its_seed_decides() -> None:
    x = torch.randn((10, 3), generator=torch.Generator().manual_seed(0))
    assert not HiddenLayer(3, 8, 2)(x).any()
    rng = np.random.default_rng(0)
    data = (rng.normal(size=(50, 3)), rng.normal(size=(50, 2)), np.ones(50), np.eye(2))
    features, residuals, weights, gram = (part.astype(np.float32) for part in data)
    before = torch.random.get_rng_state()

    def fit(seed: int) -> torch.Tensor:
        layer = fit_hidden_layer(features, residuals, weights, gram, hidden=8, steps=5, seed=seed)
        with torch.inference_mode():
            return layer(x)

    assert torch.equal(fit(0), fit(0))
    assert not torch.equal(fit(0), fit(1))
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_hidden_layer_learns_a_nonlinear_function_from_weighted_items_only() -> None:
    rng = np.random.default_rng(0)
    features = rng.uniform(-2, 2, (240, 2)).astype(np.float32)
    residuals = np.abs(features[:, :1]) - np.abs(features[:, :1]).mean()  # a line through it has no slope
    broken = residuals.copy()
    weights = np.ones(240, np.float32)
    weights[120:] = 0
    broken[120:] = 50
    layer = fit_hidden_layer(features, broken, weights, np.eye(1, dtype=np.float32), hidden=32, steps=250, seed=0)
    with torch.inference_mode():
        error = layer(torch.from_numpy(features)).numpy() - residuals
    assert (error**2).mean() < 0.6 * (residuals**2).mean()


def test_items_without_weight_do_not_affect_training() -> None:
    rng = np.random.default_rng(0)
    features, vectors = rng.normal(size=(10, 3)), rng.normal(size=(10, 2)).astype(np.float32)
    weights = np.r_[np.ones(6), np.zeros(4)].astype(np.float32)
    other = vectors.copy()
    other[6:] = 1e3
    chosen = PriorSettings(1.0, {})
    ours, theirs = (build_ridge_problem([channel(features)], v, weights).predict(chosen) for v in (vectors, other))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    stronger = replace(chosen, regularisation=1e9)
    means = build_ridge_problem([channel(features)], vectors, weights).predict(stronger)
    np.testing.assert_allclose(means, np.tile(vectors[:6].mean(axis=0), (10, 1)), atol=1e-5)
