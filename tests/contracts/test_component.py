"""The contract of components, checked on those of the registry and on a toy added by one line."""

import tempfile
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor
from unit.shop import CONFIG, N_ITEMS, N_USERS, SCHEMA, WordEncoder, make_tables

from graph_schema import CatalogueSchema, GraphTables
from graph_schema.schema_toml import to_toml
from kgrec.bundle import Bundle, load_bundle, save_bundle, serialisation
from kgrec.bundle.arrays import from_arrays, round_stored, to_arrays
from kgrec.errors import BundleError
from kgrec.graph.node_links import build_item_links
from kgrec.model.component import (
    AddsRows,
    Component,
    DefaultWeights,
    InBackboneSpace,
    ItemChange,
    Ordered,
    Scale,
    Shares,
    Support,
    sum_likes,
    sum_shares,
)
from kgrec.model.inputs import FitInputs
from kgrec.model.model import Model
from kgrec.model.registry import COMPONENTS
from kgrec.sequences import find_order
from kgrec.training import pipeline
from kgrec.training.dataset import build_graph
from kgrec.training.train_bundle import train_bundle

NEW, DROPPED = 29, 4  # nobody has bought the first; the second is removed
# Users with 0 to 8 likes, of new and of bought products, each like with a weight.
LIKED = ([], [7], [0, 2, 29], [1, 3, 5, 6, 8, 11, 20, 28])
IMPERSONAL = ("popularity", "sentence")  # they do not depend on likes
_TIMED = SCHEMA.model_dump(mode="json", exclude_unset=True)
_TIMED["edges"]["bought"]["attributes"]["at"] = "time"
_TIMED["interaction"]["at"] = "at"
WITH_FRIENDS = CatalogueSchema.parse(
    to_toml(CatalogueSchema.model_validate(_TIMED))
    + '[edges.follows]\nsource = "customer"\ntype = "FOLLOWS"\ntarget = "customer"'
)


def make_linked_tables() -> GraphTables:
    """The shop with the times of purchases, whose customers follow others who buy the same kind of products."""
    tables, users = make_tables(), [f"c{place:02}" for place in range(N_USERS)]
    ends = [users, users[2:] + users[:2]]
    follows = pa.table(ends, WITH_FRIENDS.edges["follows"].arrow_schema)
    bought = tables.edges["bought"]
    at = np.random.default_rng(2).permutation(len(bought)) * 86_400
    bought = bought.append_column("at", pa.array(at, pa.timestamp("s", "UTC"))).cast(
        WITH_FRIENDS.edges["bought"].arrow_schema
    )
    return GraphTables(WITH_FRIENDS, tables.nodes, {**tables.edges, "bought": bought, "follows": follows})


@dataclass(frozen=True)
class Parity:
    """A toy component: users who like items in even rows get items in even rows."""

    name: ClassVar[str] = "parity"
    baseline: ClassVar[str] = "parity alone"
    weights: ClassVar[DefaultWeights] = DefaultWeights(few=0.5, many=0.5, cold=0.5)
    neighbours = None
    reference = None
    items: Tensor
    warm_scale: Scale
    cold_scale: Scale

    @classmethod
    def fit(cls, inputs: FitInputs) -> "Parity":
        items = _parity(np.arange(len(inputs.text)))
        return cls(items, Scale.of(items[inputs.liked]), Scale.of(items))

    def users(self, support: Support) -> Tensor:
        return sum_likes(support.likes, self.items)

    def shares(self, support: Support) -> Shares:
        return sum_shares(support, self.items)

    def with_items(self, change: ItemChange) -> "Parity":
        return Parity(change.carry(self.items, _parity(change.rows)), self.warm_scale, self.cold_scale)


def _parity(rows: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(1 - 2 * (rows % 2).astype(np.float32))[:, None]


WITH_TOY = (*COMPONENTS, Parity)


def register(patch: pytest.MonkeyPatch) -> None:
    """Adds the toy as one line of `kgrec.model.registry` would."""
    patch.setattr(pipeline, "COMPONENTS", WITH_TOY)
    patch.setitem(serialisation._KINDS, Parity.name, Parity)


@cache
def train_with_toy() -> Bundle:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        register(patch)
        return train_bundle(make_linked_tables(), CONFIG, WordEncoder(), Path(folder), trained_at=1_700_000_000)


def trained() -> Model:
    return train_with_toy().model


@pytest.fixture(params=WITH_TOY, ids=lambda kind: kind.name)
def component(request: pytest.FixtureRequest) -> Component:
    found = trained().component(request.param.name)
    assert found is not None, "the shop has texts, links and likes: each component has something to learn from"
    return found


def to_likes(users: tuple[list[int], ...], weights: float | None = None, n_items: int = N_ITEMS) -> csr_array:
    """The likes of users, all of one weight, or of weights between .5 and 2."""
    columns = np.array([item for liked in users for item in liked], np.int64)
    drawn = np.random.default_rng(0).uniform(0.5, 2, len(columns)) if weights is None else weights
    data = np.broadcast_to(np.asarray(drawn, np.float32), columns.shape).copy()
    return csr_array((data, columns, np.cumsum([0, *map(len, users)])), shape=(len(users), n_items))


def known(likes: csr_array) -> Support:
    """Users with likes in order and links in the graph; each is linked to the one before."""
    n_users = likes.shape[0]
    prior = np.random.default_rng(3).normal(size=(n_users, CONFIG.embedding_dim)).astype(np.float32)
    of_other = csr_array(likes[np.roll(np.arange(n_users), 1)] * np.float32(0.5))
    order = find_order(likes, np.arange(likes.nnz) * 7919 % 31)
    return Support(likes, prior=torch.from_numpy(prior), linked=of_other, order=order)


def add_sentences(likes: csr_array) -> Support:
    sentences = WordEncoder().encode(["green tea", "a saddle", "herbal", "chain and bell"])[: likes.shape[0]]
    support = known(likes)
    return trained().with_sentence(likes, sentences, support.prior, support.linked, support.order)


def part_of_score(component: Component, support: Support) -> NDArray[np.float32]:
    """(n_users, n_items): what a component adds, before it is centred."""
    found = component.users(support) @ component.items.T
    if component.neighbours is not None:
        likes = component.weigh(support) if isinstance(component, Ordered) else support.likes
        found = found + torch.from_numpy((likes @ component.neighbours).toarray())
    if isinstance(component, AddsRows) and support.linked is not None:
        found = found + torch.from_numpy(support.linked.toarray())
    return np.asarray(found.numpy(), np.float32)


def scale_of(values: NDArray[np.float32]) -> float:
    return max(float(np.abs(values).max(initial=0)), 1e-6)


def test_names_and_types(component: Component) -> None:
    assert component.items.dtype == torch.float32
    assert len(component.items) == N_ITEMS
    if component.neighbours is not None:
        assert component.neighbours.shape == (N_ITEMS, N_ITEMS)
        assert component.neighbours.dtype == np.float32
        assert not component.neighbours.diagonal().any()
    assert trained().names.count(component.name) == 1
    users = component.users(known(to_likes(LIKED)))
    assert (users.dtype, users.shape) == (torch.float32, (len(LIKED), component.items.shape[1]))
    assert component.warm_scale is not None or component.cold_scale is not None


def test_components_and_baselines_have_unique_names() -> None:
    baselines = [kind.baseline for kind in COMPONENTS if kind.baseline]
    assert len(baselines) == len(set(baselines))
    assert {"iALS", "item kNN", "popularity"} < set(baselines)
    assert len({kind.name for kind in COMPONENTS}) == len(COMPONENTS)


@pytest.mark.parametrize("sentence", [False, True], ids=["likes", "sentence"])
def test_shares_add_up_to_the_users_factors(component: Component, sentence: bool) -> None:
    likes = to_likes(LIKED)
    support = add_sentences(likes) if sentence else known(likes)
    together = component.users(support)
    for row, liked in enumerate(LIKED):
        alone = support.select(np.array([row]))
        shares = component.shares(alone)
        assert shares.likes.shape == (len(liked), component.items.shape[1])
        np.testing.assert_allclose(shares.total, together[row], rtol=1e-3, atol=1e-4 * scale_of(together.numpy()))
        np.testing.assert_allclose(component.users(alone)[0], together[row], rtol=1e-3, atol=1e-5)
        assert sentence or not shares.sentence.any()
        assert component.name == "user_prior" or shares.prior is None


def test_contributions_of_likes_add_up_to_the_part(component: Component) -> None:
    support = known(to_likes(LIKED))
    expected = part_of_score(component, support)
    for row in range(len(LIKED)):
        alone = support.select(np.array([row]))
        shares = component.shares(alone)
        added = (shares.likes @ component.items.T).numpy()
        if component.neighbours is not None:
            likes = component.weigh(alone) if isinstance(component, Ordered) else alone.likes
            weights = likes.data[:, None]
            added = added + weights * component.neighbours[alone.likes.indices].toarray()
        if isinstance(component, AddsRows):
            rows = component.added(alone)
            assert rows is not None
            added = np.concatenate([added, rows.toarray()])
        others = shares.rest if shares.prior is None else shares.rest + shares.prior
        whole = added.sum(axis=0) + (others @ component.items.T).numpy()
        np.testing.assert_allclose(whole, expected[row], rtol=1e-3, atol=1e-4 * scale_of(expected))


def test_the_weight_of_a_like_counts(component: Component) -> None:
    liked = ([7, 3],)
    once, twice = (part_of_score(component, known(to_likes(liked, weight))) for weight in (1.0, 2.0))
    heavier = to_likes(liked)
    heavier.data[:] = 1, 3
    uneven = part_of_score(component, known(heavier))
    if component.name in IMPERSONAL:
        np.testing.assert_array_equal(once, twice)
        np.testing.assert_array_equal(once, uneven)
    elif component.warm_scale is not None:
        least = 1e-2 * scale_of(once - part_of_score(component, known(to_likes(([],)))))
        assert np.abs(twice - once).max() > least
        assert np.abs(uneven - once).max() > least
    else:  # only of items without likes
        assert np.abs(twice - once)[:, NEW].min() > 0


def test_a_like_has_weight_one_by_default(component: Component) -> None:
    pattern = trained().gate  # the gate depends on the number of likes, not on their weights
    light, heavy = to_likes(LIKED, 0.5), to_likes(LIKED, 2.0)
    np.testing.assert_array_equal(pattern.bucket(Support(light).n_likes), pattern.bucket(Support(heavy).n_likes))
    bought = train_with_toy().liked[:5]
    assert (bought.data == 1).all()
    ones = csr_array((np.ones(bought.nnz, np.float32), bought.indices, bought.indptr), shape=bought.shape)
    np.testing.assert_array_equal(part_of_score(component, known(bought)), part_of_score(component, known(ones)))


def test_empty_and_unknown_input_gives_finite_scores(component: Component) -> None:
    nobody, silent = to_likes(()), to_likes(([], []))
    for support in (Support(silent), known(silent), add_sentences(silent), Support(nobody), known(nobody)):
        found = part_of_score(component, support)
        assert found.shape == (support.likes.shape[0], N_ITEMS)
        assert np.isfinite(found).all()
        part = trained().part(component, support)
        assert all(torch.isfinite(value).all() for value in (*part.warm, *part.cold))


def test_a_component_survives_storing(component: Component) -> None:
    # A trained model is already rounded as stored, so saving loses nothing.
    arrays = to_arrays(component, component.name)
    assert all(name.startswith(f"{component.name}.") for name in arrays)
    again = from_arrays(type(component), arrays, component.name)
    for field in fields(component):  # type: ignore[arg-type]
        ours, theirs = getattr(component, field.name), getattr(again, field.name)
        if isinstance(ours, Tensor):
            assert torch.equal(ours, theirs), field.name
        elif isinstance(ours, csr_array):
            assert (ours != theirs).nnz == 0
        elif is_dataclass(ours):
            for name, values in to_arrays(ours, field.name).items():
                assert torch.equal(values, to_arrays(theirs, field.name)[name]), name
        else:
            assert ours == theirs, field.name
    for support in (known(to_likes(LIKED)), add_sentences(to_likes(LIKED))):
        np.testing.assert_array_equal(part_of_score(component, support), part_of_score(again, support))


def test_a_scale_covers_liked_items_or_all_items_with_features(component: Component) -> None:
    support = known(to_likes(LIKED))
    reference = ~trained().cold.numpy()
    if component.name == "knowledge":  # it does not learn from likes, so all items share one scale
        assert component.warm_scale is component.cold_scale
        reference = component.items.any(dim=1).numpy()
        assert reference[trained().cold.numpy()].any()
    if (
        component.warm_scale is None
        or component.neighbours is not None
        or component.name in ("sentence", "linked_likes")
    ):
        return
    scores = part_of_score(component, support)[:, reference]
    mean, variance = component.warm_scale.measure(component.users(support))
    size = scale_of(scores)
    np.testing.assert_allclose(mean, scores.mean(axis=1), atol=0.01 * size)
    np.testing.assert_allclose(variance.sqrt(), scores.std(axis=1), atol=0.02 * size)


def change_items() -> tuple[Model, NDArray[np.int64]]:
    """The model with one product removed and a copy of the product NEW added; and the rows that remain."""
    model = trained()
    kept = np.delete(np.arange(N_ITEMS), DROPPED)
    incidence = links_of(NEW)
    text = torch.cat([model.text[torch.from_numpy(kept)], model.text[[NEW]]])
    rows = np.array([len(kept)])
    return model.with_items(kept, text, rows, [incidence]), kept


@cache
def _links() -> csr_array:
    """(n_items, n_codes): the links as training has them."""
    with tempfile.TemporaryDirectory() as folder:
        graph = build_graph(make_linked_tables(), WordEncoder(), Path(folder))
    return build_item_links(graph.data, graph.schema).incidence


def links_of(item: int) -> NDArray[np.int64]:
    incidence = _links()
    return incidence.indices[incidence.indptr[item] : incidence.indptr[item + 1]].astype(np.int64)


def test_adding_and_removing_items_changes_no_other_score(component: Component) -> None:
    grown, kept = change_items()
    changed = grown.component(component.name)
    assert changed is not None
    assert len(changed.items) == N_ITEMS
    # The same users with the items reordered: nobody likes the removed or the new item.
    before, place = to_likes(LIKED), np.searchsorted(kept, np.arange(N_ITEMS))
    after = to_likes(tuple([int(place[item]) for item in liked] for liked in LIKED))
    ours, theirs = (part_of_score(one, known(likes)) for one, likes in ((component, before), (changed, after)))
    # When a liked item is removed, solutions on the nearest liked items are recomputed with rounded neighbours.
    tolerance = 1e-5 if component.reference is None else 4e-3
    np.testing.assert_allclose(theirs[:, :-1], ours[:, kept], rtol=1e-4, atol=tolerance * scale_of(ours))
    if component.cold_scale is not None and component.name != Parity.name:  # the new item scores like its twin
        np.testing.assert_allclose(theirs[:, -1], ours[:, NEW], rtol=2e-2, atol=1e-2 * scale_of(ours))
    assert np.isfinite(part_of_score(changed, Support(to_likes(([N_ITEMS - 1],))))).all()  # a like of it


def test_a_changed_component_survives_storing(component: Component) -> None:
    changed = change_items()[0].component(component.name)
    assert changed is not None
    support = known(to_likes(LIKED))
    ours = part_of_score(changed, support)
    np.testing.assert_allclose(part_of_score(round_stored(changed), support), ours, atol=2e-3 * scale_of(ours))


def test_what_the_graph_says_counts_in_one_component(component: Component) -> None:
    likes = to_likes(LIKED)
    with_graph, without = (
        part_of_score(component, support) for support in (known(likes), Support(likes, order=known(likes).order))
    )
    if component.name == "user_prior":
        assert not without.any()
        assert with_graph.any(axis=1).all()
    elif component.name == "linked_likes":
        assert not without.any()
        np.testing.assert_array_equal(with_graph[1:].any(axis=1), [bool(liked) for liked in LIKED[:-1]])
    else:
        np.testing.assert_array_equal(with_graph, without)


def test_items_move_in_the_space_of_the_backbone(component: Component) -> None:
    if not isinstance(component, InBackboneSpace):
        return
    rows = torch.tensor([NEW, 3])
    vectors = trained().backbone.items[rows]
    same = component.with_vectors(rows, vectors)
    np.testing.assert_allclose(same.items, component.items, rtol=1e-2, atol=5e-3 * scale_of(component.items.numpy()))
    moved = component.with_vectors(rows, torch.zeros_like(vectors))
    assert not moved.items[rows].any()
    others = np.setdiff1d(np.arange(N_ITEMS), rows.numpy())
    assert torch.equal(moved.items[others], component.items[others])


def test_the_toy_is_trained_blended_and_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = train_with_toy()
    model, place = bundle.model, bundle.model.names.index(Parity.name)
    assert model.gate.warm.shape[1] == len(model.components) == len(WITH_TOY)
    # Even products are tea, odd ones bicycle parts: the toy predicts everything, so it counts for users with likes.
    assert (model.gate.warm[1:, place] != 0).any()
    support = Support(to_likes(([0, 2],), 1.0))
    shares = model.contributions(support)
    assert "parity" in shares.sources
    save_bundle(bundle, tmp_path / "shop")
    with pytest.raises(BundleError, match=r"unknown components \['parity'\]"):
        load_bundle(tmp_path / "shop")
    register(monkeypatch)
    again = load_bundle(tmp_path / "shop").model
    assert again.names == model.weighed().names
    assert Parity.name in again.names
    np.testing.assert_array_equal(again.score(bundle.liked), model.score(bundle.liked))
