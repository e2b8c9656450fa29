"""The contract of GraphStore, checked against a plain in-memory reference."""

from collections import Counter
from collections.abc import Iterable
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from graph_deletions import delete_edges, delete_nodes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graph_schema import CatalogueSchema, GraphTables
from graph_schema.checks.staged_tables import StagedTables
from graph_schema.checks.staging import stage_tables
from graph_schema.sources import MemorySource
from kgrec.errors import StoreError
from kgrec.graph.paths import PathIndex, build_path_index
from kgrec.ids import IdMap
from kgrec.recommend.live import read_path_index
from kgrec.store import GraphStore, NodeRef, load_staged, open_store, read_tables
from kgrec.store.contract import ItemLink

# Names with spaces, dots and hyphens, keywords, names that differ in case only, names that databases keep to
# themselves, names that a query could use as variables, one relationship type between several pairs of node types.
SCHEMA = CatalogueSchema.parse(
    """
    name = "hostile names"
    [nodes.item]
    label = "Order"
    key = "item id"
    name = "a.b"
    attributes = { "x-y" = "float", group = "bool", source = "int", _id = "time", n = "string", N = "int" }
    [nodes.user]
    label = "User"
    key = "id"
    [nodes.maker]
    label = "Group"
    key = "c0"
    [nodes.shop]
    label = "order"
    key = "where"
    attributes = { "front vector" = "vector", "sold in" = "list", at = "point" }
    [edges.rated]
    source = "user"
    type = "RATED"
    target = "item"
    attributes = { rating = "float", at = "time", "is.it so" = "bool", x = "string", from = "int" }
    [edges.made_by]
    source = "item"
    type = "MADE-BY X"
    target = "maker"
    [edges.run_by]
    source = "shop"
    type = "MADE-BY X"
    target = "maker"
    attributes = { since = "int", rowid = "int" }
    [edges.follows]
    source = "user"
    type = "user"
    target = "user"
    [edges.like]
    source = "item"
    type = "ORDER"
    target = "item"
    attributes = { match = "float", why = "list", between = "point" }
    [interaction]
    edge = "rated"
    weight = "rating"
    at = "at"
    positive = 4
    """
)
HOSTILE = [
    "",
    " ",
    "a",
    "A",
    "a ",
    "é",
    "e\u0301",
    "😀",
    "\ue000",
    "'",
    '"',
    "\\",
    "`",
    "``",
    "\n",
    "\r\n",
    "\t",
    "$rows",
    "{{}}",
    "c0",
    "null",
    "0",
    "00",
    "1e3",
    "x'}) DETACH DELETE x //",
    "\\u0027",
    "%s",
    "a" * 13,
    "a" * 12 + "b",
    "long " * 3000,
]
VALUES = {
    "string": st.sampled_from(HOSTILE) | st.text(st.characters(exclude_categories=["Cs"])),
    "int": st.integers(-(2**63), 2**63 - 1),
    "float": st.sampled_from([0.0, -0.0, 3.5, 4.0, 5.0, 1e308, -1e-308]),
    "bool": st.booleans(),
    "time": st.integers(0, 2**40),
    "list": st.lists(st.sampled_from(HOSTILE[1:]) | st.text(st.characters(exclude_categories=["Cs"])), min_size=1),
    "point": st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2),
    "vector": st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=3),
}
IDS = {
    "item": HOSTILE[:9],
    "user": HOSTILE[9:17],
    "maker": ["a", "A", "'", "😀"],
    "shop": ["a", "b"],
}
Row = tuple[object, ...]
examples = settings(
    deadline=None,
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def to_table(schema: pa.Schema, rows: Iterable[Row]) -> pa.Table:
    rows = list(rows)
    return pa.table([pa.array([row[i] for row in rows], field.type) for i, field in enumerate(schema)], schema=schema)


def to_rows(table: pa.Table) -> list[Row]:
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def node_rows(node_type: str) -> st.SearchStrategy[list[Row]]:
    key, *kinds = SCHEMA.nodes[node_type].columns.values()
    assert key == "string"
    return st.lists(st.tuples(st.sampled_from(IDS[node_type]), *(st.none() | VALUES[kind] for kind in kinds)))


def edge_rows(edge_type: str, max_size: int = 12) -> st.SearchStrategy[list[Row]]:
    edge = SCHEMA.edges[edge_type]
    ends = st.sampled_from(IDS[edge.source]), st.sampled_from(IDS[edge.target])
    return st.lists(
        st.tuples(*ends, *(st.none() | VALUES[kind] for kind in edge.attributes.values())), max_size=max_size
    )


class Reference:
    """The expected contents of a store: a dict of rows per type."""

    def __init__(self) -> None:
        self.nodes: dict[str, dict[object, Row]] = {name: {} for name in SCHEMA.nodes}
        self.edges: dict[str, dict[tuple[object, object], Row]] = {name: {} for name in SCHEMA.edges}

    def upsert_nodes(self, node_type: str, rows: list[Row]) -> None:
        self.nodes[node_type] |= {row[0]: row for row in rows}

    def upsert_edges(self, edge_type: str, rows: list[Row]) -> None:
        self.edges[edge_type] |= {(row[0], row[1]): row for row in rows}

    def has_ends(self, edge_type: str, row: Row) -> bool:
        edge = SCHEMA.edges[edge_type]
        return row[0] in self.nodes[edge.source] and row[1] in self.nodes[edge.target]

    def delete_nodes(self, node_type: str, ids: list[str]) -> int:
        n_before = len(self.nodes[node_type])
        self.nodes[node_type] = {id_: row for id_, row in self.nodes[node_type].items() if id_ not in ids}
        for name, rows in self.edges.items():
            self.edges[name] = {ends: row for ends, row in rows.items() if self.has_ends(name, row)}
        return n_before - len(self.nodes[node_type])

    def remove_other_nodes(self, node_type: str, kept: list[str]) -> int:
        return self.delete_nodes(node_type, [str(id_) for id_ in self.nodes[node_type] if id_ not in kept])

    def remove_other_edges(self, edge_type: str, kept: list[tuple[str, str]]) -> int:
        others = self.edges[edge_type].keys() - set(kept)
        self.edges[edge_type] = {ends: row for ends, row in self.edges[edge_type].items() if ends not in others}
        return len(others)

    def delete_edges(self, edge_type: str, pairs: list[tuple[str, str]]) -> int:
        return sum(self.edges[edge_type].pop(pair, None) is not None for pair in set(pairs))

    def to_tables(self) -> GraphTables:
        return GraphTables(
            SCHEMA,
            {
                name: to_table(SCHEMA.nodes[name].arrow_schema, (row for _, row in sorted(rows.items())))
                for name, rows in self.nodes.items()
            },
            {
                name: to_table(SCHEMA.edges[name].arrow_schema, (row for _, row in sorted(rows.items())))
                for name, rows in self.edges.items()
            },
        )

    def to_path_index(self) -> PathIndex:
        """The index of the whole graph, as training builds it."""
        ids = {name: IdMap(tuple(rows)) for name, rows in self.nodes.items()}
        ends = {
            name: np.array(
                [
                    ids[edge.source].rows(a for a, _ in self.edges[name]),
                    ids[edge.target].rows(b for _, b in self.edges[name]),
                ]
            )
            for name, edge in SCHEMA.edges.items()
        }
        names = {
            name: [row[1] if SCHEMA.nodes[name].name else None for row in rows.values()]
            for name, rows in self.nodes.items()
        }
        return build_path_index(SCHEMA, ids, ends, names)

    def item_links(self, items: list[str]) -> set[ItemLink]:
        found = set()
        for name, edge in SCHEMA.graph_edges.items():
            ends = [(NodeRef(edge.source, a), NodeRef(edge.target, b)) for a, b in self.edges[name]]
            for reverse in (False, True):
                walked = {(b, a) if reverse else (a, b) for a, b in ends if a != b}
                found |= {
                    ItemLink(near.id, name, reverse, far, sum(a.type == "item" and b == far for a, b in walked))
                    for near, far in walked
                    if near.type == "item" and near.id in items
                }
        return found


def assert_holds(store: GraphStore, reference: Reference) -> None:
    got, expected = read_tables(store), reference.to_tables()
    for name in SCHEMA.nodes:
        assert got.nodes[name].equals(expected.nodes[name]), name
    for name in SCHEMA.edges:
        assert got.edges[name].equals(expected.edges[name]), name
    counts = store.counts()
    assert counts.nodes == {name: len(rows) for name, rows in reference.nodes.items()}
    assert counts.edges == {name: len(rows) for name, rows in reference.edges.items()}


def clear(store: GraphStore) -> None:
    store.ensure_schema(SCHEMA)
    for name, ids in IDS.items():
        delete_nodes(store, name, ids)
    assert sum(store.counts().nodes.values()) == 0


def fill(store: GraphStore, reference: Reference) -> None:
    for name, rows in reference.nodes.items():
        store.upsert_nodes(name, to_table(SCHEMA.nodes[name].arrow_schema, rows.values()))
    for name, rows in reference.edges.items():
        store.upsert_edges(name, to_table(SCHEMA.edges[name].arrow_schema, rows.values()))


def blank(node_type: str, id_: str) -> Row:
    return (id_, *[None] * (len(SCHEMA.nodes[node_type].columns) - 1))


def full_nodes() -> Reference:
    """Every node of IDS, without attributes."""
    reference = Reference()
    for name, ids in IDS.items():
        reference.upsert_nodes(name, [blank(name, id_) for id_ in ids])
    return reference


operations = st.one_of(
    *(st.tuples(st.just("upsert_nodes"), st.just(name), node_rows(name)) for name in SCHEMA.nodes),
    *(st.tuples(st.just("upsert_edges"), st.just(name), edge_rows(name)) for name in SCHEMA.edges),
    *(
        st.tuples(st.just("delete_nodes"), st.just(name), st.lists(st.sampled_from(IDS[name]), max_size=3))
        for name in SCHEMA.nodes
    ),
    *(
        st.tuples(st.just("remove_other_nodes"), st.just(name), st.lists(st.sampled_from([*IDS[name], "gone"])))
        for name in SCHEMA.nodes
    ),
    *(
        st.tuples(
            st.sampled_from(["delete_edges", "remove_other_edges"]),
            st.just(name),
            st.lists(
                st.tuples(st.sampled_from(IDS[edge.source]), st.sampled_from(IDS[edge.target])),
                max_size=8,
            ),
        )
        for name, edge in SCHEMA.edges.items()
    ),
)


@pytest.mark.slow
@examples
@given(plan=st.lists(operations, min_size=1, max_size=8), cut=st.integers(0, 5))
def test_any_writes_match_the_reference(store: GraphStore, plan: list[tuple], cut: int) -> None:
    clear(store)
    reference = full_nodes()
    fill(store, reference)
    for operation, name, argument in plan:
        if operation.startswith("delete"):
            delete = delete_nodes if operation == "delete_nodes" else delete_edges
            assert delete(store, name, argument) == getattr(reference, operation)(name, argument)
            continue
        if operation.startswith("remove"):
            keys = argument if operation == "remove_other_edges" else [(id_,) for id_ in argument]
            fields = [pa.field(f"k{i}", pa.string()) for i in range(2 if operation == "remove_other_edges" else 1)]
            removed = getattr(store, operation)(name, to_table(pa.schema(fields), keys))
            assert removed == getattr(reference, operation)(name, argument)
            continue
        is_edge = operation == "upsert_edges"
        rows = [row for row in argument if not is_edge or reference.has_ends(name, row)]
        getattr(reference, operation)(name, rows)
        table = to_table((SCHEMA.edges if is_edge else SCHEMA.nodes)[name].arrow_schema, rows)
        # in chunks: one may be empty, one may start in the middle of a buffer
        getattr(store, operation)(name, pa.concat_tables([table.slice(0, cut), table.slice(cut)]))
    assert_holds(store, reference)


graphs = st.fixed_dictionaries({name: edge_rows(name, max_size=20) for name in SCHEMA.edges})


@pytest.mark.slow
@settings(examples, max_examples=10)
@given(edges=graphs, titles=node_rows("item"), asked=st.lists(st.sampled_from([*IDS["item"], "no such item"])))
def test_paths_between_items_are_those_of_the_whole_graph(
    store: GraphStore, edges: dict[str, list[Row]], titles: list[Row], asked: list[str]
) -> None:
    clear(store)
    reference = full_nodes()
    reference.upsert_nodes("item", titles)
    for name, rows in edges.items():
        reference.upsert_edges(name, rows)
    fill(store, reference)
    found = store.item_links(asked)
    assert set(found.links) == reference.item_links(asked)
    assert len(set(found.links)) == len(found.links)
    nodes = {link.node for link in found.links} | {NodeRef("item", id_) for id_ in asked if id_ in IDS["item"]}
    assert found.names == {node: reference.nodes["item"][node.id][1] if node.type == "item" else None for node in nodes}
    whole, around = reference.to_path_index(), read_path_index(store, SCHEMA, asked)
    for item, other in product(asked, repeat=2):
        known = "no such item" not in (item, other)
        assert around.shared_paths(item, other, 9) == (whole.shared_paths(item, other, 9) if known else [])


@pytest.mark.slow
@settings(examples, max_examples=10)
@given(edges=graphs, data=st.data())
def test_the_order_of_writes_does_not_matter(
    store: GraphStore, edges: dict[str, list[Row]], data: st.DataObject
) -> None:
    reference = full_nodes()
    for name, rows in edges.items():
        reference.upsert_edges(name, rows)
    clear(store)
    fill(store, reference)
    first = read_tables(store)
    shuffled = Reference()
    for name in SCHEMA.nodes:
        shuffled.nodes[name] = dict(data.draw(st.permutations(list(reference.nodes[name].items()))))
    for name in SCHEMA.edges:
        shuffled.edges[name] = dict(data.draw(st.permutations(list(reference.edges[name].items()))))
    clear(store)
    fill(store, shuffled)
    second = read_tables(store)
    assert first.nodes == second.nodes
    assert first.edges == second.edges


def small_reference() -> Reference:
    reference = full_nodes()
    reference.upsert_edges(
        "rated",
        [
            ("'", "", 5.0, 1, True, "x", 1),
            ("'", "a", 4.0, 2, None, None, None),
            ('"', "", 4.0, 3, False, "'", 2),
            ('"', "A", 3.9, 4, None, None, None),
            ("`", "a", None, None, None, None, None),
        ],
    )
    reference.upsert_edges("made_by", [("", "a"), ("a", "a")])
    reference.upsert_edges("like", [("", "", 1.0, ["a|b", "'"], [59.9, 10.7]), ("a", "", *[None] * 3)])
    return reference


@pytest.fixture
def filled(store: GraphStore) -> GraphStore:
    store.ensure_schema(SCHEMA)
    fill(store, small_reference())
    return store


def test_the_same_rows_twice_change_nothing(filled: GraphStore) -> None:
    fill(filled, small_reference())
    assert_holds(filled, small_reference())


def test_of_rows_with_one_key_the_last_wins_and_nulls_overwrite(store: GraphStore) -> None:
    store.ensure_schema(SCHEMA)
    nodes, edges = SCHEMA.nodes["item"].arrow_schema, SCHEMA.edges["rated"].arrow_schema
    full, other = ("k", "t", 1.0, True, 1, 2, "n", 3), ("k", None, 2.0, False, None, 0, None, None)
    store.upsert_nodes("user", to_table(SCHEMA.nodes["user"].arrow_schema, [("u",)]))
    for rows in ([full, other], [full], [other]):
        store.upsert_nodes("item", to_table(nodes, rows))
        assert to_rows(read_tables(store).nodes["item"]) == [rows[-1]]
    first, second = ("u", "k", 5.0, 1, True, "x", 1), ("u", "k", None, None, False, None, None)
    for rows in ([first, second], [first], [second]):
        store.upsert_edges("rated", to_table(edges, rows))
        assert to_rows(read_tables(store).edges["rated"]) == [rows[-1]]


def test_batches_have_the_columns_of_the_schema(filled: GraphStore) -> None:
    for name, node in SCHEMA.nodes.items():
        batches = list(filled.read_nodes(name))
        assert batches
        assert all(batch.schema.equals(node.arrow_schema) for batch in batches)
    for name, edge in SCHEMA.edges.items():
        batches = list(filled.read_edges(name))
        assert bool(batches) == bool(small_reference().edges[name])
        assert all(batch.schema.equals(edge.arrow_schema) for batch in batches)


def test_a_reader_sees_what_was_written(filled: GraphStore, store_url: str) -> None:
    filled.close()
    with open_store(store_url, mode="read") as reader, open_store(store_url, mode="read") as another:
        assert reader.read_schema() == SCHEMA
        assert_holds(reader, small_reference())
        assert_holds(another, small_reference())


def test_an_edge_without_its_end_is_refused_and_nothing_is_written(filled: GraphStore) -> None:
    rows = [("'", "A", 1.0, 1, None, None, None), ("'", "no such item", 5.0, 1, None, None, None)]
    with pytest.raises(StoreError, match="'rated' has the end 'no such item'"):
        filled.upsert_edges("rated", to_table(SCHEMA.edges["rated"].arrow_schema, rows))
    assert_holds(filled, small_reference())


def test_other_columns_are_refused(filled: GraphStore) -> None:
    with pytest.raises(StoreError, match=r"rows of 'user'.*expected the columns"):
        filled.upsert_nodes("user", pa.table({"name": ["x"]}))
    with pytest.raises(StoreError, match="rows of 'user'"):
        filled.upsert_nodes("user", pa.table({"id": pa.array([None], pa.string())}))
    assert_holds(filled, small_reference())


def test_unknown_types_are_named(filled: GraphStore) -> None:
    unknown = [
        lambda: filled.upsert_nodes("film", pa.table({})),
        lambda: filled.upsert_edges("film", pa.table({})),
        lambda: list(filled.read_nodes("film")),
        lambda: list(filled.read_edges("film")),
    ]
    for ask in unknown:
        with pytest.raises(StoreError, match=r"no (node|edge) type 'film'; expected one of"):
            ask()


def test_empty_tables_change_nothing(filled: GraphStore) -> None:
    for name, node in SCHEMA.nodes.items():
        filled.upsert_nodes(name, node.arrow_schema.empty_table())
    for name, edge in SCHEMA.edges.items():
        filled.upsert_edges(name, edge.arrow_schema.empty_table())
    assert_holds(filled, small_reference())


def test_links_of_items_worked_by_hand(filled: GraphStore) -> None:
    maker, first, second = NodeRef("maker", "a"), NodeRef("item", ""), NodeRef("item", "a")
    filled.upsert_nodes("item", to_table(SCHEMA.nodes["item"].arrow_schema, [("a", "A title", *[None] * 6)]))
    # a shop's edge to the maker has the same relationship type and is not an item's link; "" is similar to itself
    filled.upsert_edges("run_by", to_table(SCHEMA.edges["run_by"].arrow_schema, [("b", "a", 1, 2)]))
    found = filled.item_links(["", "é", "no such item", ""])
    assert set(found.links) == {ItemLink("", "made_by", False, maker, 2), ItemLink("", "like", True, second, 1)}
    assert found.names == {first: None, second: "A title", maker: None, NodeRef("item", "é"): None}
    assert delete_edges(filled, "made_by", [("", "a")]) == 1
    assert set(filled.item_links(["a"]).links) == {
        ItemLink("a", "made_by", False, maker, 1),
        ItemLink("a", "like", False, first, 1),
    }
    assert (filled.item_links([]).links, filled.item_links([]).names) == ([], {})
    filled.begin_load()
    assert filled.item_links(["é"]).names == {NodeRef("item", "é"): None}


def test_a_deleted_node_can_come_back_without_its_edges(filled: GraphStore) -> None:
    reference = small_reference()
    assert delete_nodes(filled, "item", ["", "no such item"]) == reference.delete_nodes("item", [""]) == 1
    reference.upsert_nodes("item", [blank("item", "")])
    filled.upsert_nodes("item", to_table(SCHEMA.nodes["item"].arrow_schema, [blank("item", "")]))
    assert_holds(filled, reference)


def test_the_schema_is_kept_and_another_is_refused(store: GraphStore, store_url: str) -> None:
    with pytest.raises(StoreError, match="holds no catalogue"):
        store.read_schema()
    store.ensure_schema(SCHEMA)
    store.ensure_schema(SCHEMA)
    other = CatalogueSchema.model_validate({**SCHEMA.model_dump(), "name": "another"})
    with pytest.raises(StoreError, match=r"holds the catalogue 'hostile names', got 'another'.*delete"):
        store.ensure_schema(other)
    without_time = {**SCHEMA.interaction.model_dump(), "at": None}
    changed = CatalogueSchema.model_validate({**SCHEMA.model_dump(), "interaction": without_time})
    with pytest.raises(StoreError, match="another schema of that name: interaction has no at, the store has at;"):
        store.ensure_schema(changed)
    store.close()
    with open_store(store_url, mode="read") as reader:
        assert reader.read_schema() == SCHEMA


def test_an_unfinished_load_is_reported_and_a_second_load_makes_it_whole(filled: GraphStore, store_url: str) -> None:
    filled.begin_load()
    filled.close()
    for mode in ("read", "write"):
        with open_store(store_url, mode=mode) as store:
            assert store.read_schema() == SCHEMA
            for ask in (
                store.counts,
                lambda store=store: read_tables(store),
            ):
                with pytest.raises(StoreError, match=r"half-written.*load again"):
                    ask()
    with open_store(store_url, mode="write") as store:
        store.begin_load()
        fill(store, small_reference())
        store.finish_load()
        assert_holds(store, small_reference())


def stage(reference: Reference, folder: Path) -> StagedTables:
    tables = reference.to_tables()
    return stage_tables(MemorySource.from_tables(SCHEMA, tables.nodes, tables.edges), folder, rejects=None)


def loadable_reference() -> Reference:
    """A catalogue that a loader may write: non-empty ids, interactions with weight and time."""
    reference = Reference()
    for name, ids in IDS.items():
        reference.upsert_nodes(name, [blank(name, id_) for id_ in ids if id_.strip()])
    reference.upsert_edges("rated", [("'", "a", 5.0, 1, True, "x", 1), ('"', "A", 4.0, 2, None, None, None)])
    reference.upsert_edges("made_by", [("a", "a"), ("😀", "😀")])
    return reference


def test_loading_twice_changes_nothing(store: GraphStore, tmp_path: Path) -> None:
    reference = loadable_reference()
    staged = stage(reference, tmp_path / "staged")
    counted: Counter[str] = Counter()
    first = load_staged(store, staged, lambda name, n: counted.update({name: n}))
    assert_holds(store, reference)
    assert +counted == {name: n for name, n in {**staged.n_nodes, **staged.n_edges}.items() if n}
    assert (first.counts.nodes, first.counts.edges) == (staged.n_nodes, staged.n_edges)
    assert load_staged(store, staged) == first
    assert_holds(store, reference)
    counted.clear()
    read_tables(store, lambda name, n: counted.update({name: n}))
    assert +counted == {name: n for name, n in {**staged.n_nodes, **staged.n_edges}.items() if n}


def test_a_later_load_updates_and_adds(store: GraphStore, tmp_path: Path) -> None:
    reference = loadable_reference()
    load_staged(store, stage(reference, tmp_path / "first"))
    reference.upsert_edges("rated", [("'", "a", 2.0, 9, None, None, None), ("\\", "é", 3.0, 3, True, "new", 0)])
    reference.upsert_nodes("item", [("a", "a title", 1.5, False, 7, 8, "n", 9)])
    load_staged(store, stage(reference, tmp_path / "second"))
    assert_holds(store, reference)


def test_what_the_source_no_longer_has_is_told_or_removed(store: GraphStore, tmp_path: Path) -> None:
    reference = loadable_reference()
    assert load_staged(store, stage(reference, tmp_path / "first")).others == {}
    reference.delete_nodes("item", ["a", "A"])  # both with an interaction, one with a maker
    reference.delete_edges("made_by", [("😀", "😀")])
    reference.upsert_edges("rated", [("'", "é", 3.0, 7, None, None, None)])
    staged = stage(reference, tmp_path / "second")
    told = load_staged(store, staged)
    assert told.others == {"item": 2, "rated": 2, "made_by": 2}
    assert told.removed == {}
    replaced = load_staged(store, staged, replace=True)
    assert replaced.removed == {"item": 2, "rated": 2, "made_by": 2}
    assert replaced.others == {}
    assert_holds(store, reference)


def test_a_removal_that_is_cut_off_leaves_the_store_half_written_and_the_next_one_ends_it(
    store: GraphStore, store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = loadable_reference()
    load_staged(store, stage(reference, tmp_path / "first"))
    reference.delete_nodes("item", ["a"])
    staged = stage(reference, tmp_path / "second")

    def cut(node_type: str, kept: pa.Table) -> int:
        raise StoreError("cut off")

    monkeypatch.setattr(store, "remove_other_nodes", cut)
    with pytest.raises(StoreError, match="cut off"):
        load_staged(store, staged, replace=True)
    store.close()
    with open_store(store_url, mode="write") as again:
        with pytest.raises(StoreError, match="half-written"):
            again.counts()
        assert load_staged(again, staged, replace=True).removed == {"item": 1}
        assert_holds(again, reference)


def test_a_changed_threshold_or_phrase_needs_no_new_load(store: GraphStore, store_url: str, tmp_path: Path) -> None:
    reference = loadable_reference()
    load_staged(store, stage(reference, tmp_path / "staged"))
    store.close()
    changed = CatalogueSchema.model_validate(
        {
            **SCHEMA.model_dump(),
            "interaction": {**SCHEMA.interaction.model_dump(), "positive": 4.5},
            "edges": {
                **SCHEMA.model_dump()["edges"],
                "made_by": {**SCHEMA.edges["made_by"].model_dump(), "phrase": "by"},
            },
        }
    )
    with open_store(store_url, mode="read", schema=changed) as reader:
        tables = read_tables(reader)
        assert (tables.schema.interaction.positive, tables.schema.edges["made_by"].phrase) == (4.5, "by")
        assert (tables.interactions.num_rows, tables.likes.num_rows) == (2, 1)
    with open_store(store_url, mode="read") as reader:
        assert reader.read_schema() == SCHEMA
    with open_store(store_url, mode="write") as writer:
        writer.ensure_schema(changed)
    with open_store(store_url, mode="read") as reader:
        assert reader.read_schema() == changed.stored
        assert_holds(reader, reference)


ODD = CatalogueSchema.parse(
    """
    name = "odd names"
    [nodes.item]
    label = "Büro/Möbel"
    key = "1. Nr"
    name = "a`b"
    text = ["rating (1-5)"]
    [nodes.item.attributes]
    "a``b" = "list"
    'x\\u0060y' = "int"
    "$rows" = "float"
    "{n}" = "vector"
    "%" = "bool"
    "😀" = "time"
    [nodes.user]
    label = "Kunde:in"
    key = "`"
    [nodes.rank]
    label = "1st"
    key = "id) DETACH DELETE (n"
    from_edges = true
    [edges.bought]
    source = "user"
    type = "kauft`e"
    target = "item"
    attributes = { "rating (1-5)" = "float", "at:" = "time", "`" = "string" }
    [edges.ranked]
    source = "item"
    type = "1st/2nd: a`b"
    target = "rank"
    attributes = { "x//y" = "point" }
    [interaction]
    edge = "bought"
    weight = "rating (1-5)"
    at = "at:"
    """
)


def test_labels_and_columns_of_any_characters_load_and_read_back(store: GraphStore, tmp_path: Path) -> None:
    nodes = {
        "item": to_table(
            ODD.nodes["item"].arrow_schema,
            [("i`1", "n", "t", ["x", "y"], 7, 0.5, [1.0, 2.0], True, 9), ("i~2", *[None] * 8)],
        ),
        "user": to_table(ODD.nodes["user"].arrow_schema, [("u1",), ("u:2",)]),
        "rank": to_table(ODD.nodes["rank"].arrow_schema, [("gold",)]),
    }
    edges = {
        "bought": to_table(
            ODD.edges["bought"].arrow_schema, [("u1", "i`1", 5.0, 3, "x"), ("u:2", "i~2", 0.0, 4, None)]
        ),
        "ranked": to_table(ODD.edges["ranked"].arrow_schema, [("i`1", "gold", [59.9, 10.7])]),
    }
    source = MemorySource.from_tables(ODD, nodes, edges)
    for _ in range(2):  # known rows are read, compared and changed
        load_staged(store, stage_tables(source, tmp_path / "staged", rejects=None))
        got = read_tables(store)
        assert {name: table.to_pylist() for name, table in got.nodes.items()} == {
            name: table.to_pylist() for name, table in nodes.items()
        }
        assert {name: table.to_pylist() for name, table in got.edges.items()} == {
            name: table.to_pylist() for name, table in edges.items()
        }
        assert got.likes["source"].to_pylist() == ["u1"]
    assert store.item_links(["i`1"]).names == {NodeRef("item", "i`1"): "n", NodeRef("rank", "gold"): None}
    assert store.remove_other_edges("ranked", edges["ranked"].select(["source", "target"]).slice(0, 0)) == 1
    assert store.remove_other_nodes("user", nodes["user"].slice(1)) == 1
    assert store.counts().edges == {"bought": 1, "ranked": 0}


def test_long_values_are_kept_whole(store: GraphStore) -> None:
    store.ensure_schema(SCHEMA)
    schema = SCHEMA.nodes["shop"].arrow_schema
    rows: list[Row] = [
        ("a", [float(n) for n in range(20_000)], ["x" * 100_000, "y"], None),
        ("b", None, [str(n) for n in range(5_000)], None),
    ]
    store.upsert_nodes("shop", to_table(schema, rows))
    assert to_rows(read_tables(store).nodes["shop"]) == rows
    long = ("k", "long " * 200_000, *[None] * 6)
    store.upsert_nodes("item", to_table(SCHEMA.nodes["item"].arrow_schema, [long]))
    assert to_rows(read_tables(store).nodes["item"]) == [long]


def test_the_smallest_change_of_a_list_or_a_point_is_written(store: GraphStore) -> None:
    store.ensure_schema(SCHEMA)
    schema = SCHEMA.nodes["shop"].arrow_schema
    rows = [
        ("a", [1.0, 0.5], ["x", "y"], [59.9, 10.7]),
        ("a", [1.0, 0.5], ["x", "y"], [59.9, np.nextafter(10.7, 11)]),
        ("a", [1.0, 0.5], ["x,", "y"], [59.9, 10.7]),
        ("a", [1.0, 0.5], ["y", "x,"], [10.7, 59.9]),
        ("a", [1.0, 0.25], None, None),
    ]
    for row in rows:
        store.upsert_nodes("shop", to_table(schema, [row]))
        assert to_rows(read_tables(store).nodes["shop"]) == [row]


def test_closing_twice_is_fine_and_a_closed_store_raises(filled: GraphStore) -> None:
    filled.close()
    filled.close()
    with pytest.raises(StoreError, match="is closed"):
        filled.counts()
