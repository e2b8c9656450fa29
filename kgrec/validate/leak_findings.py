"""Findings about relations and attributes of users that leak the held-out likes; `kgrec.graph.leakage` finds them."""

from collections.abc import Iterator

import numpy as np

from kgrec.graph.leakage import (
    LEAK_SHARE,
    count_co_links,
    iter_named_items,
    iter_user_item_relations,
    link_readings,
    repeats_interaction,
    sample_linked,
    to_links,
)
from kgrec.validate.attribute_queries import list_named_items
from kgrec.validate.findings import Example, Finding
from kgrec.validate.indexed_graph import N_EXAMPLES, IndexedGraph, Rows, report_finding


def find_leaks(graph: IndexedGraph) -> Iterator[Finding]:
    """Relations between users and items, direct or by way of one node, whose pairs repeat the interaction.

    A relation repeats it when they share at least half of the pairs of the smaller of the two, and at least ten.
    """
    known = _find_known(graph)
    for path, pairs in iter_user_item_relations(graph.schema, graph.ends, graph.size, len(known)):
        relation = " with ".join(path)
        message = f"pairs that both {graph.schema.interaction.edge} and {relation} link"
        query = graph.dialect.list_leaks(path)
        yield from _report_repeats(graph, known, pairs, path[0], message, f"{relation} pairs", query)


def find_named_items(graph: IndexedGraph) -> Iterator[Finding]:
    """Features of users that name items which the user interacts with, such as a favourite item."""
    user_type = graph.schema.user_type
    named = list(iter_named_items(graph.tables))
    known = _find_known(graph) if named else np.zeros(0, np.int64)
    for column, pairs in named:
        message = f"pairs that {graph.schema.interaction.edge} links and whose item {user_type}.{column} names"
        query = list_named_items(graph.dialect, column)
        yield from _report_repeats(graph, known, pairs, user_type, message, f"{column} pairs", query)


def _find_known(graph: IndexedGraph) -> Rows:
    """The distinct pairs that interact, as in `iter_user_item_relations`."""
    users, items = graph.ends(graph.schema.interaction.edge)
    return np.unique(users * graph.size(graph.schema.item_type) + items)


def _report_repeats(
    graph: IndexedGraph, known: Rows, pairs: Rows, type_: str, message: str, of: str, query: str | None
) -> Iterator[Finding]:
    """A finding, if the pairs of a relation repeat those that interact."""
    both = repeats_interaction(known, pairs)
    if both is None:
        return
    schema, n_items = graph.schema, graph.size(graph.schema.item_type)
    examples = [
        Example((graph.node(schema.user_type, int(pair // n_items)), graph.node(schema.item_type, int(pair % n_items))))
        for pair in both[:N_EXAMPLES]
    ]
    of = of if len(pairs) < len(known) else f"{schema.interaction.edge} pairs"
    smaller = min(len(pairs), len(known))
    yield from report_finding("label_leakage", type_, message, len(both), smaller, of, examples, query)


def find_co_leaks(graph: IndexedGraph) -> Iterator[Finding]:
    """Relations between items that link an item to those that most of its users interacted with too.

    For each of up to 300 items, spread over all that the relation links: how many of its d links are among the d items
    that it has most users in common with, by their number or by the cosine. A relation is reported when that is at
    least half of the links, and when it links at least 100 items with five users or more to three others on average.
    """
    schema = graph.schema
    n_items = graph.size(schema.item_type)
    relations = [name for name, edge in schema.graph_edges.items() if edge.source == edge.target == schema.item_type]
    if not relations:
        return
    seen = to_links(*graph.ends(schema.interaction.edge), (graph.size(schema.user_type), n_items))
    by_item = seen.tocsc()
    for name in relations:
        measured = []
        for links in link_readings(to_links(*graph.ends(name), (n_items, n_items))):
            sample = sample_linked(links, np.diff(by_item.indptr))
            degree = np.diff(links.indptr)[sample]
            hits = count_co_links(links, seen, by_item, sample)
            measured.append(
                (round(float(hits.sum())), int(degree.sum()), sample[np.argsort(-hits / degree, kind="stable")])
            )
        n_hits, n_links, shown = max(measured, key=lambda one: one[0] / max(one[1], 1))
        if n_hits == 0 or n_hits < LEAK_SHARE * n_links:
            continue
        message = f"{name} links, in a sample, to the items with most {schema.interaction.edge} users in common"
        query = graph.dialect.show_co_interaction(name, graph.node(schema.item_type, int(shown[0])))
        examples = [graph.example(schema.item_type, int(row)) for row in shown[:N_EXAMPLES]]
        yield from report_finding(
            "co_interaction_leakage", name, message, n_hits, n_links, f"{name} links", examples, query
        )
