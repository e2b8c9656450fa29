import random
from typing import Any

import numpy as np
import pytest
import torch
from films import SCHEMA, make_tables
from hypothesis import given
from hypothesis import strategies as st

from graph_schema import CatalogueSchema, GraphTables
from kgrec.errors import CatalogueError, RequestError
from kgrec.graph.hetero import sort_tables, to_hetero

NODES = {"user": ["u2", "u1"], "movie": ["m1", "m2", "m3"], "person": ["p1"]}
EDGES = {
    "directed_by": [("m3", "p1"), ("m1", "p1")],
    "acted_in": [("p1", "m2")],
    "sequel_of": [("m2", "m1")],
    "rated": [("u1", "m3"), ("u2", "m2"), ("u1", "m1")],
}
RATINGS = [(5.0, 300), (2.5, 100), (4.0, 200)]


def films() -> GraphTables:
    return make_tables(NODES, EDGES, ratings=RATINGS)


def test_a_graph_by_hand() -> None:
    data, ids = to_hetero(films())
    assert {t: ids[t].ids for t in ids} == {"user": ("u2", "u1"), "movie": ("m1", "m2", "m3"), "person": ("p1",)}
    assert [data[t].num_nodes for t in ("user", "movie", "person")] == [2, 3, 1]
    rated = data["user", "rated", "movie"]
    assert rated.edge_index.tolist() == [[0, 1, 1], [1, 0, 2]]
    assert rated.weight.tolist() == [2.5, 4.0, 5.0]
    assert rated.time.tolist() == [100, 200, 300]
    assert (rated.edge_index.dtype, rated.weight.dtype, rated.time.dtype) == (torch.int64, torch.float32, torch.int64)
    assert data["movie", "directed_by", "person"].edge_index.tolist() == [[0, 2], [0, 0]]
    assert data["movie", "rev_acted_in", "person"].edge_index.tolist() == [[1], [0]]
    assert len(data.edge_types) == 8


def test_a_reverse_edge_mirrors_its_edge() -> None:
    data, _ = to_hetero(films())
    for name in SCHEMA.edges:
        source, relation, target = SCHEMA.edge_triple(name)
        edge, reverse = data[source, relation, target], data[target, f"rev_{relation}", source]
        assert torch.equal(reverse.edge_index, edge.edge_index.flip(0))
    assert torch.equal(data["movie", "rev_rated", "user"].time, data["user", "rated", "movie"].time)
    assert torch.equal(data["movie", "rev_rated", "user"].weight, data["user", "rated", "movie"].weight)


@pytest.mark.parametrize(("upto", "times"), [(99, []), (100, [100]), (250, [100, 200]), (300, [100, 200, 300])])
def test_upto_keeps_interactions_up_to_that_time(upto: int, times: list[int]) -> None:
    data, _ = to_hetero(films(), upto=upto)
    assert data["user", "rated", "movie"].time.tolist() == times
    assert data["movie", "rev_rated", "user"].edge_index.shape == (2, len(times))
    assert data["movie", "directed_by", "person"].edge_index.shape == (2, 2)
    assert data["user"].num_nodes == 2


def test_upto_without_times_is_an_error() -> None:
    tables = films()
    timeless = CatalogueSchema.model_validate(
        SCHEMA.model_dump() | {"interaction": {"edge": "rated", "weight": "rating"}}
    )
    tables = GraphTables(timeless, tables.nodes, tables.edges)
    with pytest.raises(RequestError, match="upto=7 needs interactions with a time"):
        to_hetero(tables, upto=7)
    data, _ = to_hetero(tables)
    assert "time" not in data["user", "rated", "movie"]


def test_features_become_x() -> None:
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    data, _ = to_hetero(films(), {"movie": x})
    assert data["movie"].x.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert data["movie"].num_nodes == 3
    assert "x" not in data["person"]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"film": np.zeros((3, 2), np.float32)}, "'film'"),
        ({"movie": np.zeros((2, 2), np.float32)}, r"float32 \(3, dim\).*got float32 \(2, 2\)"),
        ({"movie": np.zeros((3, 2))}, "got float64"),
        ({"movie": np.zeros(3, np.float32)}, r"got float32 \(3,\)"),
        ({"movie": np.array([[0, 0], [0, np.inf], [0, 0]], np.float32)}, "got inf for node 'm2'"),
    ],
)
def test_features_that_do_not_fit_are_errors(features: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        to_hetero(films(), features)


def test_a_dangling_edge_is_an_error_that_names_it() -> None:
    tables = make_tables(NODES, {**EDGES, "directed_by": [("m1", "p1"), ("m1", "p9")]})
    with pytest.raises(CatalogueError, match=r"'directed_by'.*target 'p9'.*1 of 2"):
        to_hetero(tables)


@pytest.mark.parametrize("rating", [(float("nan"), 1), (None, 1), (float("inf"), 1), (1e300, 1), (1.0, None)])
def test_an_interaction_without_a_value_is_an_error_that_names_it(rating: tuple[float | None, int | None]) -> None:
    tables = make_tables(NODES, EDGES, ratings=[RATINGS[0], rating, RATINGS[2]])
    with pytest.raises(CatalogueError, match=r"'rated'.*from 'u2' to 'm2' \(1 of 3"):
        to_hetero(tables)
    with pytest.raises(CatalogueError, match=r"'rated'.*from 'u2' to 'm2'"):
        to_hetero(tables, upto=300)


def test_a_relation_named_like_a_reverse_edge_is_an_error() -> None:
    clash = SCHEMA.model_dump()
    clash["edges"]["rev_directed_by"] = {"source": "person", "type": "MADE", "target": "movie"}
    schema = CatalogueSchema.model_validate(clash)
    tables = films()
    made = tables.edges["acted_in"].select(["source", "target"])
    with pytest.raises(CatalogueError, match="rev_directed_by"):
        to_hetero(GraphTables(schema, tables.nodes, {**tables.edges, "rev_directed_by": made}))


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[str, list[str]], dict[str, list[tuple[str, str]]], list[tuple[float, int]]]:
    nodes = {node_type: draw(st.lists(st.text(max_size=3), unique=True, max_size=5)) for node_type in SCHEMA.nodes}
    edges = {}
    for name, edge in SCHEMA.edges.items():
        pairs = [(source, target) for source in nodes[edge.source] for target in nodes[edge.target]]
        edges[name] = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=8)) if pairs else []
    n_rated = len(edges["rated"])
    value = st.tuples(st.floats(-1e6, 1e6, width=32), st.integers(-(2**40), 2**40))
    return nodes, edges, draw(st.lists(value, min_size=n_rated, max_size=n_rated))


@given(graphs())
def test_edges_connect_the_catalogues_ids_in_both_directions(graph: Any) -> None:
    nodes, edges, ratings = graph
    data, ids = to_hetero(make_tables(nodes, edges, ratings=ratings))
    assert {node_type: list(ids[node_type].ids) for node_type in ids} == nodes
    pairs = {
        (source, relation, target): [
            (ids[source].ids[a], ids[target].ids[b]) for a, b in data[source, relation, target].edge_index.T.tolist()
        ]
        for source, relation, target in data.edge_types
    }
    for name in SCHEMA.edges:
        source, relation, target = SCHEMA.edge_triple(name)
        assert sorted(pairs[source, relation, target]) == sorted(edges[name])
        assert pairs[target, f"rev_{relation}", source] == [(t, s) for s, t in pairs[source, relation, target]]
    rated = data["user", "rated", "movie"]
    values = zip(rated.weight.tolist(), rated.time.tolist(), strict=True)
    assert dict(zip(pairs["user", "rated", "movie"], values, strict=True)) == dict(
        zip(edges["rated"], ratings, strict=True)
    )


@given(graphs(), st.randoms(use_true_random=False))
def test_the_order_of_edges_and_of_sorted_nodes_does_not_matter(graph: Any, rng: random.Random) -> None:
    nodes, edges, ratings = graph
    rated = list(zip(edges["rated"], ratings, strict=True))
    rng.shuffle(rated)
    shuffled = {name: rng.sample(pairs, len(pairs)) for name, pairs in edges.items()} | {"rated": [p for p, _ in rated]}
    tables = make_tables(nodes, edges, ratings=ratings)
    by_edge = make_tables(nodes, shuffled, ratings=[r for _, r in rated])
    by_node = make_tables({t: rng.sample(i, len(i)) for t, i in nodes.items()}, shuffled, ratings=[r for _, r in rated])
    for ours, theirs in ((tables, by_edge), (sort_tables(tables), sort_tables(by_node))):
        (data, ids), (other, other_ids) = to_hetero(ours), to_hetero(theirs)
        assert ids == other_ids
        for edge_type in data.edge_types:
            for name, value in data[edge_type].items():
                assert torch.equal(value, other[edge_type][name])
