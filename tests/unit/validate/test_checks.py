from collections.abc import Callable

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from library import HOUR, N_BOOKS, N_READERS, NOW, READS, SCHEMA, START, Library, book, link, make_library, reader

from kgrec.validate import CHECKS, Finding, Severity, Validation, validate_tables
from kgrec.validate.checks import YEAR_1990, find_main_span
from kgrec.validate.queries import QueryDialect

DAY = 24 * HOUR
N_READS = N_READERS * READS
LAST = START + HOUR * (N_READS - 1)
AT_LOADING = ("missing_key", "duplicate_key", "unfit_value", "missing_value", "lost_edges")


def check(library: Library) -> Validation:
    return validate_tables(library.to_tables(), QueryDialect.of_neo4j(SCHEMA), now=NOW)


def summarise(found: Finding) -> tuple[object, ...]:
    """The parts of a finding that tests compare; the ids of the first example come last."""
    ids = found.examples[0].nodes
    return found.check, found.severity.value, found.type, found.count, found.total, *(node.id for node in ids)


def test_a_library_with_nothing_wrong_has_no_findings() -> None:
    found = check(make_library())
    assert [summarise(one) for one in found.findings] == []
    assert set(found.passed) == set(CHECKS) - {*AT_LOADING, "rejected_rows"}
    assert tuple(found.skipped) == (*AT_LOADING, "rejected_rows")
    assert not found.has(Severity.NOTE)
    assert found.n_edges["read"] == N_READS


# -- one fault at a time, with the only findings that it gives ---------------------------------------------------------


def no_text(library: Library) -> None:
    for row, text in zip(library.nodes["book"], (None, "", " \n\t ", "\u00a0\u2003"), strict=False):
        row["title"] = row["blurb"] = text
    library.nodes["book"][4]["title"] = None  # it still has a blurb
    library.nodes["book"][5]["blurb"] = None  # and this one has a name


def no_links(library: Library) -> None:
    lone = book(7)
    for name in ("wrote", "has_tag", "cites"):
        library.edges[name] = [row for row in library.edges[name] if lone not in (row["source"], row["target"])]


def half_without_links(library: Library) -> None:
    few = {book(b) for b in range(6)}
    for name in ("wrote", "has_tag", "cites"):
        library.edges[name] = [row for row in library.edges[name] if not few & {row["source"], row["target"]}]


def newcomers(library: Library) -> None:
    library.nodes["reader"] += [{"reader.id": "x"}, {"reader.id": "y"}]


def unread(library: Library) -> None:
    library.nodes["book"].append({"book-id": "new", "title": "New"})
    library.edges["has_tag"].append(link("new", "t1"))


def dislikes(library: Library) -> None:
    for row in library.edges["read"]:
        row["stars"] = 3.9


def all_grades(library: Library) -> None:
    for row in library.edges["read"]:
        row["stars"] = max(row["stars"], 4.0)


def unrated(library: Library) -> None:
    library.edges["read"][2]["stars"], library.edges["read"][3]["stars"] = -1.0, 0.0


def future(library: Library) -> None:
    library.edges["read"][3]["read_at"] = NOW + 1
    library.edges["read"][4]["read_at"] = NOW  # just now


def ancient(library: Library) -> None:
    library.edges["read"][3]["read_at"] = 0
    library.edges["read"][4]["read_at"] = YEAR_1990 - 1


def far_before(library: Library) -> None:
    library.edges["read"][3]["read_at"] = YEAR_1990


def far_after(library: Library) -> None:
    library.edges["read"][3]["read_at"] = LAST + 90 * DAY
    library.edges["read"][4]["read_at"] = LAST + 20 * DAY


def self_loop(library: Library) -> None:
    library.edges["cites"].append(link(book(9), book(9)))


def repeats(library: Library) -> None:
    library.edges["cites"] += [link(book(9), book(39))] * 3 + [link(book(8), book(38))]


def hub(library: Library) -> None:
    library.edges["has_tag"] += [link(book(b), "book") for b in range(100)]
    library.nodes["tag"].append({"tag": "book"})


def large_tag(library: Library) -> None:  # over a quarter, but half and of fewer than 100 books
    library.edges["has_tag"] += [link(book(b), "book") for b in range(60)]
    library.nodes["tag"].append({"tag": "book"})


def tag_of_half(library: Library) -> None:
    library.edges["has_tag"] += [link(book(b), "book") for b in range(61)]
    library.nodes["tag"].append({"tag": "book"})


def hub_by_source(library: Library) -> None:
    library.nodes["author"].append({"id": "press", "name": "The Press"})
    library.edges["wrote"] += [link("press", book(b)) for b in range(110)]


def hub_of_items(library: Library) -> None:  # 60 books cite it and it cites 60
    library.edges["cites"] += [link(book(b), book(0)) for b in range(1, 60) if b not in (50, 90)]
    library.edges["cites"] += [link(book(0), book(b)) for b in range(60, N_BOOKS) if b not in (30, 50, 70)]


def orphans(library: Library) -> None:
    library.nodes["author"].append({"id": "nobody", "name": None})
    library.nodes["author"].append({"id": "noone", "name": "No One"})


def island(library: Library) -> None:
    library.nodes["country"].append({"id": "utopia"})
    library.nodes["author"] += [{"id": "m1", "name": "More"}, {"id": "m2", "name": "Moore"}]
    library.edges["lives_in"] += [link("m1", "utopia"), link("m2", "utopia")]


def leak(library: Library) -> None:  # views of nearly all reads, and of as many other pairs
    library.edges["viewed"] = [link(row["source"], row["target"]) for row in library.edges["read"][100:]]
    library.edges["viewed"] += [link(reader(r), book(r + 20 + n)) for r in range(N_READERS) for n in range(READS)]


def reverse_leak(library: Library) -> None:  # ten pairs of twenty
    library.edges["sent_to"] = [link(row["target"], row["source"]) for row in library.edges["read"][:10]]
    library.edges["sent_to"] += [link(book(60 + n), reader(0)) for n in range(10)]


def half_a_leak(library: Library) -> None:  # ten pairs of twenty-one: bought elsewhere, for example
    reverse_leak(library)
    library.edges["sent_to"].append(link(book(80), reader(0)))


def leak_by_reviews(library: Library) -> None:
    for place, row in enumerate(library.edges["read"][:300]):
        library.nodes["review"].append({"id": f"v{place}"})
        library.edges["reviewed"].append(link(row["source"], f"v{place}"))
        library.edges["about"].append(link(f"v{place}", row["target"]))


def also_read(library: Library) -> None:  # links each book to the four with most readers in common
    library.edges["similar"] = [link(book(b), book(b + near)) for b in range(N_BOOKS) for near in (-2, -1, 1, 2)]


def also_read_once(library: Library) -> None:  # each pair is there once
    library.edges["similar"] = [link(book(b), book(b + near)) for b in range(N_BOOKS) for near in (1, 2, 3)]


def sequels(library: Library) -> None:  # read together too, but one each
    library.edges["similar"] = [link(book(b), book(b + 1)) for b in range(N_BOOKS - 1)]


FAULTS: dict[Callable[[Library], None], list[tuple[object, ...]]] = {
    no_text: [("items_without_text", "note", "book", 4, N_BOOKS, book(0))],
    no_links: [("items_without_links", "note", "book", 1, N_BOOKS, book(7))],
    half_without_links: [("items_without_links", "warning", "book", 6, N_BOOKS, book(0))],
    newcomers: [("users_without_interactions", "note", "reader", 2, N_READERS + 2, "x")],
    unread: [("items_without_interactions", "note", "book", 1, N_BOOKS + 1, "new")],
    dislikes: [("no_likes", "error", "read", N_READS, N_READS, reader(0), book(0))],
    future: [
        ("interactions_in_future", "warning", "read", 1, N_READS, reader(0), book(3)),
        ("interactions_far_off", "warning", "read", 1, N_READS, reader(0), book(4)),
    ],
    ancient: [("interactions_before_1990", "warning", "read", 2, N_READS, reader(0), book(3))],
    far_before: [("interactions_far_off", "warning", "read", 1, N_READS, reader(0), book(3))],
    far_after: [("interactions_far_off", "warning", "read", 1, N_READS, reader(0), book(3))],
    self_loop: [("self_loops", "warning", "cites", 1, 3 * N_BOOKS + 1, book(9), book(9))],
    repeats: [("repeated_edges", "warning", "cites", 2, 3 * N_BOOKS + 4, book(8), book(38))],
    hub: [("hubs", "note", "has_tag", 1, 11, "book")],
    large_tag: [],
    tag_of_half: [("hubs", "note", "has_tag", 1, 11, "book")],
    all_grades: [("all_likes", "warning", "read", N_READS, N_READS, reader(0), book(0))],
    unrated: [("zeros", "note", "read", 2, N_READS, reader(0), book(2))],
    hub_by_source: [("hubs", "note", "wrote", 1, 41, "press")],
    hub_of_items: [("hubs", "note", "cites", 1, N_BOOKS, book(0))],
    orphans: [("orphans", "note", "author", 2, 42, "nobody")],
    island: [("disconnected_parts", "note", None, 3, N_READERS + N_BOOKS + 40 + 10 + 2 + 3, "m1")],
    leak: [("label_leakage", "error", "viewed", N_READS - 100, N_READS, reader(100 // READS), book(100 // READS + 4))],
    reverse_leak: [("label_leakage", "error", "sent_to", 10, 20, reader(0), book(0))],
    half_a_leak: [],
    leak_by_reviews: [("label_leakage", "error", "reviewed", 300, 300, reader(0), book(0))],
    also_read: [("co_interaction_leakage", "warning", "similar", 4 * N_BOOKS, 4 * N_BOOKS, book(0))],
    also_read_once: [("co_interaction_leakage", "warning", "similar", 6 * N_BOOKS, 6 * N_BOOKS, book(0))],
    sequels: [],
}


@pytest.mark.parametrize("spoil", FAULTS, ids=lambda spoil: spoil.__name__)
def test_each_fault_gives_its_finding_only(spoil: Callable[[Library], None]) -> None:
    library = make_library()
    spoil(library)
    assert [summarise(one) for one in check(library).findings] == FAULTS[spoil]


def test_findings_come_worst_first_and_have_advice() -> None:
    library = make_library()
    for spoil in (orphans, self_loop, reverse_leak, also_read):
        spoil(library)
    found = check(library)
    severities = [one.severity.value for one in found.findings]
    assert severities == ["error", "warning", "warning", "note"]
    assert all(one.effect and one.advice and one.query and one.message for one in found.findings)
    assert [found.has(severity) for severity in Severity] == [True, True, True]
    assert {one.check for one in found.findings}.isdisjoint(found.passed)


def test_examples_are_three_at_most_and_show_more_than_ids() -> None:
    library = make_library()
    newcomers(library)
    ancient(library)
    hub_by_source(library)
    library.nodes["reader"] += [{"reader.id": id_} for id_ in "abcde"]
    found = {one.check: one for one in check(library).findings}
    assert [one.nodes[0].id for one in found["users_without_interactions"].examples] == ["x", "y", "a"]
    assert [one.about for one in found["interactions_before_1990"].examples] == ["1970-01-01 00:00", "1989-12-31 23:59"]
    assert found["hubs"].examples[0].about == "The Press, 92%"


# -- times far from the rest -------------------------------------------------------------------------------------------


def days(*values: int) -> np.ndarray:
    return np.array(values, np.int64) * DAY


def test_times_beyond_a_gap_longer_than_the_main_span_are_outliers() -> None:
    rest = tuple(range(1000, 1200))  # the middle 98% take 195 days
    assert find_main_span(days(*rest)) == (1000 * DAY, 1199 * DAY)
    assert find_main_span(days(*rest, 804)) == (804 * DAY, 1199 * DAY)
    assert find_main_span(days(*rest, 803)) == (1000 * DAY, 1199 * DAY)
    assert find_main_span(days(802, *rest, 1500)) == (1000 * DAY, 1199 * DAY)
    assert find_main_span(days(500, 501, *rest)) == (1000 * DAY, 1199 * DAY)
    # three of 203 are more than 1%: part of the data, not outliers
    assert find_main_span(days(500, 501, 502, *rest)) == (500 * DAY, 1199 * DAY)


def test_few_times_or_a_short_span_have_no_outliers() -> None:
    assert find_main_span(days(0, *range(5000, 5098))) == (0, 5097 * DAY)  # 99
    assert find_main_span(days(0, *range(5000, 5099))) == (5000 * DAY, 5098 * DAY)  # 100
    assert find_main_span(days(29, *[0] * 300)) == (0, 29 * DAY)
    assert find_main_span(days(31, *[0] * 300)) == (0, 0)
    assert find_main_span(days()) == (0, 0)


# -- parts -------------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_components_match_networkx(data: st.DataObject) -> None:
    n_nodes = 8
    pair = st.tuples(st.integers(0, n_nodes - 1), st.integers(0, n_nodes - 1))
    drawn = {name: data.draw(st.sets(pair, max_size=6)) for name in SCHEMA.edges}
    library = Library(
        {name: [{node.key: f"{name}{n}"} for n in range(n_nodes)] for name, node in SCHEMA.nodes.items()},
        {name: [link(f"{e.source}{a}", f"{e.target}{b}") for a, b in drawn[name]] for name, e in SCHEMA.edges.items()},
    )
    for row in library.edges["read"]:
        row |= {"stars": 5.0, "read_at": START}
    graph = nx.Graph()
    graph.add_nodes_from(row[SCHEMA.nodes[name].key] for name, rows in library.nodes.items() for row in rows)
    graph.add_edges_from((row["source"], row["target"]) for rows in library.edges.values() for row in rows)
    sizes = sorted((len(part) for part in nx.connected_components(graph)), reverse=True)
    expected = sum(size for size in sizes[1:] if size > 1)
    found = [one.count for one in check(library).findings if one.check == "disconnected_parts"]
    assert found == ([expected] if expected else [])
