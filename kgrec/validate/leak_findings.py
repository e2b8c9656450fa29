"""Findings about relations that leak the held-out likes; `kgrec.graph.leakage` finds them."""

from collections.abc import Iterator

import numpy as np

from kgrec.graph.leakage import (
    LEAK_SHARE,
    count_co_links,
    iter_user_item_relations,
    link_readings,
    repeats_interaction,
    sample_linked,
    to_links,
)
from kgrec.validate.findings import Example, Finding
from kgrec.validate.indexed_graph import N_EXAMPLES, IndexedGraph, report_finding


def find_leaks(graph: IndexedGraph) -> Iterator[Finding]:
    """Relations between users and items, direct or by way of one node, whose pairs repeat the interaction.

    A relation repeats it when they share at least half of the pairs of the smaller of the two, and at least ten.
    """
    schema = graph.schema
    n_items = graph.size(schema.item_type)
    users, items = graph.ends(schema.interaction.edge)
    known = np.unique(users * n_items + items)
    for path, pairs in iter_user_item_relations(schema, graph.ends, graph.size, len(known)):
        both = repeats_interaction(known, pairs)
        if both is None:
            continue
        smaller = min(len(pairs), len(known))
        examples = [
            Example(
                (graph.node(schema.user_type, int(pair // n_items)), graph.node(schema.item_type, int(pair % n_items)))
            )
            for pair in both[:N_EXAMPLES]
        ]
        relation = " with ".join(path)
        message = f"pairs that both {schema.interaction.edge} and {relation} link"
        of = f"{relation if len(pairs) < len(known) else schema.interaction.edge} pairs"
        query = graph.dialect.list_leaks(path)
        yield from report_finding("label_leakage", path[0], message, len(both), smaller, of, examples, query)


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
