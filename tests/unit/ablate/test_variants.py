from pathlib import Path

import numpy as np
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
    bare = without_texts(data)
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
