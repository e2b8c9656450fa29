import random
import time
from typing import Any

import networkx as nx
import numpy as np
import pytest
from films import SCHEMA, make_tables
from hypothesis import given
from hypothesis import strategies as st

from graph_schema import CatalogueSchema, EdgeType, GraphTables
from kgrec.errors import RequestError
from kgrec.graph.attribute_values import derive_schema
from kgrec.graph.hetero import to_hetero
from kgrec.graph.paths import PathIndex, ReasonPath, build_path_index, build_path_index_around, rank_value
from kgrec.ids import IdMap

NODES = {
    "user": ["u1"],
    "movie": ["pulp", "dogs", "bill1", "bill2", "room", "brown", "heat"],
    "person": ["qt", "uma", "tim", "who"],
}
NAMES = {
    "pulp": "Pulp Fiction",
    "dogs": "Reservoir Dogs",
    "bill1": "Kill Bill 1",
    "bill2": "Kill Bill 2",
    "room": "Four Rooms",
    "heat": "Heat",
    "qt": "Quentin Tarantino",
    "uma": "Uma Thurman",
    "tim": "Tim Roth",
}
EDGES = {
    # qt: 6 films, uma: 3, tim: 3, who: 2
    "directed_by": [(m, "qt") for m in ("pulp", "dogs", "bill1", "bill2", "room", "brown")]
    + [("heat", "who"), ("brown", "who")],
    "acted_in": [("uma", m) for m in ("pulp", "bill1", "bill2")]
    + [("tim", m) for m in ("pulp", "dogs", "room")]
    + [("qt", "heat")],
    "sequel_of": [("bill2", "bill1")],
    "rated": [("u1", "heat"), ("u1", "room")],
}


def build(tables: GraphTables) -> PathIndex:
    data, ids = to_hetero(tables)
    edges = {name: data[SCHEMA.edge_triple(name)].edge_index.numpy() for name in SCHEMA.edges}
    columns = {t: node.name for t, node in SCHEMA.nodes.items()}
    names = {
        t: tables.nodes[t][column].to_pylist() if column else [None] * len(ids[t]) for t, column in columns.items()
    }
    return build_path_index(tables.schema, ids, edges, names)


@pytest.fixture
def index() -> PathIndex:
    return build(make_tables(NODES, EDGES, NAMES))


def sentences(paths: list[ReasonPath]) -> list[str]:
    return [path.sentence() for path in paths]


def test_the_rarest_shared_node_comes_first(index: PathIndex) -> None:
    assert sentences(index.shared_paths("dogs", "pulp")) == [
        "same actor (Tim Roth) as Pulp Fiction",
        "same director (Quentin Tarantino) as Pulp Fiction",
    ]
    assert sentences(index.shared_paths("dogs", "pulp", k=1)) == ["same actor (Tim Roth) as Pulp Fiction"]


def test_a_direct_edge_comes_first_and_reads_in_both_directions(index: PathIndex) -> None:
    assert sentences(index.shared_paths("bill2", "bill1")) == [
        "sequel of Kill Bill 1",
        "same actor (Uma Thurman) as Kill Bill 1",
        "same director (Quentin Tarantino) as Kill Bill 1",
    ]
    assert sentences(index.shared_paths("bill1", "bill2", k=1)) == ["Kill Bill 2 is sequel of this"]


def test_a_path_holds_its_steps(index: PathIndex) -> None:
    (path,) = index.shared_paths("room", "brown")
    assert (path.start.node_type, path.start.id, path.start.name) == ("movie", "room", "Four Rooms")
    assert [(s.relation, s.phrase, s.forward, s.node.node_type, s.node.id, s.node.name) for s in path.steps] == [
        ("directed_by", "director", True, "person", "qt", "Quentin Tarantino"),
        ("directed_by", "director", False, "movie", "brown", None),
    ]


def test_missing_names_are_left_out(index: PathIndex) -> None:
    (path,) = index.shared_paths("heat", "brown", k=1)
    assert path.sentence() == "same director as brown"
    assert path.sentence("Jackie Brown") == "same director as Jackie Brown"


def test_two_relations_may_meet_in_a_node(index: PathIndex) -> None:
    assert sentences(index.shared_paths("heat", "dogs")) == [
        "Quentin Tarantino: actor here, director in Reservoir Dogs"
    ]


def test_paths_do_not_lead_through_users(index: PathIndex) -> None:
    """heat and room are rated by the same user, which is no reason; qt acted in one and directed the other."""
    assert sentences(index.shared_paths("heat", "room")) == ["Quentin Tarantino: actor here, director in Four Rooms"]
    assert index.shared_paths("heat", "heat") == []
    assert build(make_tables(NODES, {"rated": EDGES["rated"]})).shared_paths("heat", "room") == []


def with_values(*, public: bool = False) -> PathIndex:
    """Films by their colour, an attribute, and by the user who reviewed them."""
    schema = derive_schema(
        CatalogueSchema.model_validate(
            {
                "name": "films",
                "nodes": {
                    "user": {"label": "U", "key": "id", "public": public},
                    "film": {
                        "label": "F", "key": "id", "attributes": {"colour": {"type": "string", "feature": True}},
                    },
                    "studio": {"label": "S", "key": "id"},
                },
                "edges": {
                    "made_by": {"source": "film", "type": "M", "target": "studio", "phrase": "studio"},
                    "reviewed_by": {"source": "film", "type": "V", "target": "user", "phrase": "reviewer"},
                    "rated": {"source": "user", "type": "R", "target": "film"},
                },
                "interaction": {"edge": "rated"},
            }
        )
    )  # fmt: skip
    ids = {"user": ["u1"], "film": list("abcd"), "studio": ["s"], "film.colour": ["red", "missing"]}
    edges = {
        "made_by": np.array([[0, 1, 2], [0, 0, 0]]),
        "reviewed_by": np.array([[0, 3], [0, 0]]),
        "film.colour": np.array([[0, 1, 2, 3], [0, 0, 1, 1]]),
    }
    names = {"user": ["Ann"], "film": list("ABCD"), "studio": ["S"], "film.colour": ["red", None]}
    return build_path_index(schema, {name: IdMap(tuple(one)) for name, one in ids.items()}, edges, names)


def test_values_come_after_links_and_only_those_with_a_name() -> None:
    index = with_values()
    assert sentences(index.shared_paths("a", "b")) == ["same studio (S) as B", "same colour (red) as B"]
    assert sentences(index.shared_paths("a", "b", k=1)) == ["same studio (S) as B"]  # though fewer films are red
    assert index.shared_paths("c", "d") == []
    grown = index.with_item("e", "E", [("film.colour", "red"), ("made_by", "s"), ("reviewed_by", "u1")])
    assert sentences(grown.shared_paths("e", "b")) == ["same studio (S) as B", "same colour (red) as B"]
    assert index.with_item("e", "E", [("film.colour", "missing")]).shared_paths("e", "c") == []


@pytest.mark.parametrize("public", [False, True])
def test_users_are_on_paths_where_they_are_public(public: bool) -> None:
    index, expected = with_values(public=public), ["same reviewer (Ann) as D"] if public else []
    assert sentences(index.shared_paths("a", "d")) == expected
    assert sentences(index.with_item("e", "E", [("reviewed_by", "u1")]).shared_paths("e", "d")) == expected
    names = {"user": {"u1": "Ann"}, "film": {"a": "A", "d": "D"}, "studio": {}, "film.colour": {}}
    links = [("a", "reviewed_by", False, "u1", 2), ("d", "reviewed_by", False, "u1", 2)]
    around = build_path_index_around(index.schema, names, links)
    assert sentences(around.shared_paths("a", "d")) == expected


@pytest.mark.parametrize(
    ("phrase", "sentence"), [(None, "based on the same (C) as B"), ("source", "same source (C) as B")]
)
def test_the_sentence_uses_the_phrase_of_the_schema(phrase: str | None, sentence: str) -> None:
    schema = CatalogueSchema.model_validate(
        {
            "name": "books",
            "nodes": {"user": {"label": "U", "key": "id"}, "book": {"label": "B", "key": "id", "name": "name"}},
            "edges": {
                "based_on": {"source": "book", "type": "B", "target": "book", "phrase": phrase},
                "rated": {"source": "user", "type": "R", "target": "book"},
            },
            "interaction": {"edge": "rated"},
        }
    )
    edges = {"based_on": [("a", "c"), ("b", "c"), ("c", "c"), ("c", "d")]}
    tables = make_tables({"movie": list("abcd")}, {"sequel_of": edges["based_on"]}, {i: i.upper() for i in "abcd"})
    data, ids = to_hetero(tables)
    index = build_path_index(
        schema,
        {"user": ids["user"], "book": ids["movie"]},
        {"based_on": data["movie", "sequel_of", "movie"].edge_index.numpy()},
        {"user": [], "book": ["A", "B", "C", "D"]},
    )
    assert sentences(index.shared_paths("a", "b")) == [sentence]
    assert sentences(index.shared_paths("a", "c")) == ["source: C" if phrase else "based on C"]
    assert sentences(index.shared_paths("c", "a")) == ["source of A" if phrase else "A is based on this"]
    # a chain is not called "same": its arrows show the direction
    assert sentences(index.shared_paths("a", "d")) == [f"this -> C -> D ({phrase or 'based on'})"]
    assert sentences(index.shared_paths("d", "a")) == [f"this <- C <- A ({phrase or 'based on'})"]


def test_an_unknown_item_is_an_error(index: PathIndex) -> None:
    for pair in (("nope", "pulp"), ("pulp", "qt")):
        with pytest.raises(RequestError, match="unknown movie"):
            index.shared_paths(*pair)


def test_an_added_item_has_paths_at_once(index: PathIndex) -> None:
    added = index.with_item(
        "bill3", "Kill Bill 3", [("sequel_of", "bill2"), ("directed_by", "qt"), ("acted_in", "uma")]
    )
    assert sentences(added.shared_paths("bill3", "bill2")) == [
        "sequel of Kill Bill 2",
        "same actor (Uma Thurman) as Kill Bill 2",
        "same director (Quentin Tarantino) as Kill Bill 2",
    ]
    assert sentences(added.shared_paths("bill2", "bill3", k=1)) == ["Kill Bill 3 is sequel of this"]
    assert sentences(added.shared_paths("heat", "bill3")) == ["Quentin Tarantino: actor here, director in Kill Bill 3"]
    twice = added.with_item("bill4", None, [("acted_in", "uma")])
    assert sentences(twice.shared_paths("bill4", "bill3")) == ["same actor (Uma Thurman) as Kill Bill 3"]
    assert sentences(twice.with_item("lone", None, []).shared_paths("lone", "pulp")) == []
    with pytest.raises(RequestError, match="unknown movie 'bill3'"):  # the first index is unchanged
        index.shared_paths("bill3", "bill2")


@pytest.mark.parametrize(
    ("item", "links", "message"),
    [
        ("pulp", [], "exists already"),
        ("new", [("directed_by", "nobody")], "no person has the id 'nobody'"),
        ("new", [("rated", "u1")], "no edge type 'rated' of the node type 'movie'"),
        ("new", [("wrote", "qt")], "expected one of"),
    ],
)
def test_an_invalid_addition_is_an_error(
    index: PathIndex, item: str, links: list[tuple[str, str]], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        index.with_item(item, None, links)


@st.composite
def catalogues(draw: st.DrawFn) -> dict[str, list[tuple[str, str]]]:
    movies, people = [f"m{i}" for i in range(5)], [f"p{i}" for i in range(3)]
    ends = {"directed_by": (movies, people), "acted_in": (people, movies), "sequel_of": (movies, movies)}
    return {
        name: draw(st.lists(st.tuples(st.sampled_from(a), st.sampled_from(b)), unique=True, max_size=10))
        for name, (a, b) in ends.items()
    }


CAST = {"movie": [f"m{i}" for i in range(5)], "person": [f"p{i}" for i in range(3)]}


@given(catalogues())
def test_every_path_is_in_the_graph_and_none_is_missed(edges: Any) -> None:
    """Against NetworkX: each step is an edge, and there is a path whenever items are at most two edges apart."""
    tables = make_tables(CAST, edges)
    index = build(tables)
    graph = nx.MultiDiGraph()
    for name, edge in SCHEMA.graph_edges.items():
        graph.add_edges_from(((edge.source, s), (edge.target, t), name) for s, t in edges[name] if s != t)
    graph.add_nodes_from(("movie", m) for m in CAST["movie"])
    distances = dict(nx.all_pairs_shortest_path_length(graph.to_undirected()))
    for a in CAST["movie"]:
        for b in CAST["movie"]:
            paths = index.shared_paths(a, b, k=100)
            distance = distances["movie", a].get(("movie", b), 99)
            assert bool(paths) == (0 < distance <= 2)
            assert not paths or len(paths[0].steps) == distance
            assert len(set(paths)) == len(paths)
            assert paths[:2] == index.shared_paths(a, b, k=2)
            for path in paths:
                at = ("movie", a)
                for step in path.steps:
                    to = (step.node.node_type, step.node.id)
                    assert graph.has_edge(*((at, to) if step.forward else (to, at)), key=step.relation)
                    at = to
                assert at == ("movie", b)


@given(catalogues(), st.randoms(use_true_random=False))
def test_paths_do_not_depend_on_the_order_of_loading(edges: Any, rng: random.Random) -> None:
    index = build(make_tables(CAST, edges))
    shuffled = build(
        make_tables(
            {t: rng.sample(i, len(i)) for t, i in CAST.items()}, {n: rng.sample(e, len(e)) for n, e in edges.items()}
        )
    )
    for a in CAST["movie"]:
        for b in CAST["movie"]:
            assert index.shared_paths(a, b, k=9) == shuffled.shared_paths(a, b, k=9)


def test_an_index_of_100_000_edges_is_fast() -> None:
    rng = np.random.default_rng(0)
    movies, people = [f"m{i}" for i in range(5000)], [f"p{i}" for i in range(20000)]
    ends = np.unique(rng.integers(0, (5000, 20000), size=(100_000, 2)), axis=0)
    tables = make_tables(
        {"movie": movies, "person": people}, {"directed_by": [(movies[m], people[p]) for m, p in ends]}
    )
    started_at = time.process_time()
    index = build(tables)
    built_at = time.process_time()
    for i in range(1000):
        index.shared_paths(movies[i], movies[-1 - i])
    asked_at = time.process_time()
    assert built_at - started_at < 4  # 0.2 s of one core
    assert asked_at - built_at < 1  # 0.03 ms a pair


def test_values_in_words_come_before_ranges_of_numbers() -> None:
    link = EdgeType(source="book", type="BY", target="author")
    brand = EdgeType(source="book", type="b", target="b", phrase="brand", derived=True)
    price = EdgeType(source="book", type="p", target="p", phrase="", derived=True)
    assert [rank_value(edge) for edge in (link, brand, price)] == [0, 1, 2]
