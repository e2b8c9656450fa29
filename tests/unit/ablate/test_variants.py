from pathlib import Path

import numpy as np
from book_club import N_TOWNS, make_club
from hypothesis import given, settings
from hypothesis import strategies as st
from shop import WordEncoder
from topics import draw_readings, make_tables, topic_links

from graph_schema import SOURCE, TARGET, GraphTables
from kgrec.ablate.variants import Variant, leave_out, rewire, shuffle_links, without_texts
from kgrec.text.node_texts import build_node_texts
from kgrec.training.dataset import build_graph


def pairs_of(tables: GraphTables, edge_type: str) -> list[tuple[str, str]]:
    table = tables.edges[edge_type]
    return list(zip(table[SOURCE].to_pylist(), table[TARGET].to_pylist(), strict=True))


def make_library() -> GraphTables:
    rng = np.random.default_rng(0)
    printed = sorted({(f"b{rng.integers(60):03}", f"printer-{rng.integers(12)}") for _ in range(150)})
    beside = sorted({(f"b{book:03}", f"b{(book + int(rng.integers(1, 9))) % 60:03}") for book in range(60)})
    return make_tables(
        {"read": draw_readings(rng), "about": topic_links(), "printed_by": printed, "stands_beside": beside},
        titles=[None if book == 3 else f"title {book}" for book in range(200)],
    )


@given(st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=40), st.booleans(), st.integers(0, 2**32))
@settings(deadline=None)
def test_rewired_links_keep_degrees_and_are_unique(links: set[tuple[int, int]], one_type: bool, seed: int):
    links = {(source, target) for source, target in links if not one_type or source != target}
    sources, targets = (np.array([link[end] for link in sorted(links)], np.int64) for end in (0, 1))
    found = rewire(sources, targets, np.random.default_rng(seed), may_loop=not one_type)
    np.testing.assert_array_equal(np.bincount(found, minlength=8), np.bincount(targets, minlength=8))
    rewired = set(zip(sources.tolist(), found.tolist(), strict=True))
    assert len(rewired) == len(links)
    assert not one_type or all(source != target for source, target in rewired)


def test_rewired_links_are_independent_of_the_originals():
    # With 4 topics, a random link leads to a book's own topic in a quarter of all cases.
    sources = np.arange(200)
    found = rewire(sources, sources % 4, np.random.default_rng(0))
    assert 0.15 < (found == sources % 4).mean() < 0.35


def test_shuffled_links_keep_every_nodes_number_of_links_of_every_relation():
    tables = make_library()
    shuffled = shuffle_links(tables, np.random.default_rng(5))
    for edge_type in tables.schema.graph_edges:
        before, after = pairs_of(tables, edge_type), pairs_of(shuffled, edge_type)
        for end in (0, 1):
            assert sorted(pair[end] for pair in before) == sorted(pair[end] for pair in after)
        assert len(set(after)) == len(after)
        assert len(set(after) & set(before)) < 0.5 * len(before), edge_type
    assert all(source != target for source, target in pairs_of(shuffled, "stands_beside"))
    assert shuffled.edges["read"].equals(tables.edges["read"])
    again = shuffle_links(tables, np.random.default_rng(5))
    assert all(again.edges[name].equals(shuffled.edges[name]) for name in tables.edges)


def test_a_relation_left_out_is_in_no_text_either():
    tables = make_library()
    before = build_node_texts(tables)
    assert "printed by: printer-" not in str(before)  # printers have no name
    assert any(
        text is not None and "about: title 0" in text for text in before["thing"]
    )  # a topic, described by its books
    left = leave_out(tables, {"about"})
    assert len(left.edges["about"]) == 0
    assert left.edges["printed_by"].equals(tables.edges["printed_by"])
    texts_left = build_node_texts(left)
    assert not any(text is not None and "about" in text for texts in texts_left.values() for text in texts)
    assert any(text is not None and "printed by: title" in text for text in texts_left["thing"])


def test_without_texts_keeps_the_links_and_the_original_graph(tmp_path: Path):
    data = build_graph(make_library(), WordEncoder(), tmp_path).data
    bare = without_texts(data, data.node_types)
    assert not any("x" in bare[node_type] or "has_text" in bare[node_type] for node_type in bare.node_types)
    assert "x" in data["book"]
    assert bare["book"].num_nodes == 200
    assert bare["book", "about", "thing"].edge_index.equal(data["book", "about", "thing"].edge_index)


def test_every_variant_has_a_file_of_its_own():
    variants = [
        Variant(), Variant(training=1), Variant(shuffled=True), Variant(texts=False), Variant(frozenset({"a"})),
        Variant(frozenset({"a"}), texts=False), Variant(frozenset({"a", "b"})), Variant(frozenset({"a", "c"})),
    ]  # fmt: skip
    assert len({variant.file_stem for variant in variants}) == len(variants)


def test_an_attribute_left_out_is_no_feature_and_its_values_stay(tmp_path: Path):
    club = make_club()
    left = leave_out(club, {"town.area", "reader.age", "reader texts"})
    graph = build_graph(left, WordEncoder(), tmp_path)
    derived = [name for name, edge in graph.schema.edges.items() if edge.derived]
    # The towns' area at readers' links goes with it.
    assert derived == ["reader.shoe_size", "book.genre", "book.price"]
    assert left.nodes["reader"].equals(club.nodes["reader"])
    assert left.schema.nodes["reader"].sensitive == ("age",)
    without_towns = build_graph(leave_out(club, {"lives_in"}), WordEncoder(), tmp_path)
    assert without_towns.data["reader", "lives_in.town.area", "town.area"].num_edges == 0
    assert without_towns.data["town", "town.area", "town.area"].num_edges > N_TOWNS


def test_shuffled_attributes_are_permuted_among_nodes():
    club = make_club()
    shuffled = shuffle_links(club, np.random.default_rng(0))
    for node_type, names in (("reader", ("age", "shoe_size")), ("book", ("genre", "price"))):
        for name in names:
            before, after = (tables.nodes[node_type][name].to_pylist() for tables in (club, shuffled))
            assert before != after
            assert sorted(before) == sorted(after)
    assert shuffled.nodes["reader"]["reader_id"].equals(club.nodes["reader"]["reader_id"])
    ages, sizes = (shuffled.nodes["reader"][name].to_pylist() for name in ("age", "shoe_size"))
    own = (club.nodes["reader"][name].to_pylist() for name in ("age", "shoe_size"))
    pairs = set(zip(*own, strict=True))
    assert not set(zip(ages, sizes, strict=True)) <= pairs  # each attribute has an order of its own
