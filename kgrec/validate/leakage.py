"""Relations that tell the answer: that repeat the interaction, or were computed from it."""

from collections.abc import Iterator

import numpy as np
from scipy.sparse import coo_array, csc_array, csr_array

from kgrec.validate.findings import Example, Finding
from kgrec.validate.graph import N_EXAMPLES, IndexedGraph, Rows, tell

LEAK_SHARE = 0.5  # a relation leaks when it shares so much of its own pairs, or of the interaction's
LEAK_PAIRS = 10  # and at least so many
MOST_PATHS = 4  # two relations are followed by way of a node where that gives at most so many pairs per interaction
CO_USERS = 5  # items with fewer users say nothing of co-interaction
CO_ITEMS, CO_LINKS, CO_SAMPLE = 100, 3, 300  # least items with links, least links of each, items looked at


def find_leaks(graph: IndexedGraph) -> Iterator[Finding]:
    """Relations between users and items, direct or by way of one node, whose pairs repeat the interaction.

    A relation repeats it when they share at least half of the pairs of the smaller of the two, and at least ten.
    """
    schema = graph.schema
    n_items = graph.size(schema.item_type)
    users, items = graph.ends(schema.interaction.edge)
    known = np.unique(users * n_items + items)
    for path, pairs in _iter_relations(graph, most_pairs=MOST_PATHS * len(known)):
        both = np.intersect1d(known, pairs, assume_unique=True)
        smaller = min(len(pairs), len(known))
        if len(both) < max(LEAK_PAIRS, LEAK_SHARE * smaller):
            continue
        examples = [
            Example(
                (graph.node(schema.user_type, int(pair // n_items)), graph.node(schema.item_type, int(pair % n_items)))
            )
            for pair in both[:N_EXAMPLES]
        ]
        relation = " with ".join(path)
        message = f"pairs that both {schema.interaction.edge} and {relation} link"
        of = f"{relation if len(pairs) < len(known) else schema.interaction.edge} pairs"
        query = graph.words.list_leaks(path)
        yield from tell("label_leakage", path[0], message, len(both), smaller, of, examples, query)


def _iter_relations(graph: IndexedGraph, most_pairs: int) -> Iterator[tuple[tuple[str, ...], Rows]]:
    """The (user, item) pairs that one relation links, or two by way of a node: user row * n_items + item row, sorted.

    Two relations are left out where their paths are more than `most_pairs`: what links so many repeats nothing.
    """
    schema = graph.schema
    user_type, item_type = schema.user_type, schema.item_type
    n_users, n_items = graph.size(user_type), graph.size(item_type)
    of_users: list[tuple[str, str, Rows, Rows]] = []  # edge type, type of the other end, its rows, the users' rows
    of_items: list[tuple[str, str, Rows, Rows]] = []
    for name, edge in schema.graph_edges.items():
        source, target = graph.ends(name)
        for near, far, near_rows, far_rows in (
            (edge.source, edge.target, source, target),
            (edge.target, edge.source, target, source),
        ):
            if (near, far) == (user_type, item_type):
                yield (name,), np.unique(near_rows * n_items + far_rows)
            elif near in (user_type, item_type) and far not in (user_type, item_type):
                (of_users if near == user_type else of_items).append((name, far, far_rows, near_rows))
    for user_edge, middle, user_middle, users in of_users:
        for item_edge, other, item_middle, items in of_items:
            size = graph.size(middle)
            if middle != other or _count(user_middle, size) @ _count(item_middle, size) > most_pairs:
                continue
            paths = _to_matrix(users, user_middle, (n_users, size)) @ _to_matrix(item_middle, items, (size, n_items))
            linked = paths.tocoo()
            yield (user_edge, item_edge), np.unique(linked.row.astype(np.int64) * n_items + linked.col)


def find_co_leaks(graph: IndexedGraph) -> Iterator[Finding]:
    """Relations between items that link an item to those that most of its users interacted with too.

    For each of up to 300 items, spread over all that the relation links: how many of its d links are among the d items
    that it has most users in common with, by their number or by the cosine. A relation is told when that is at least
    half of the links, and when it links at least 100 items with five users or more to three others on average.
    """
    schema = graph.schema
    n_items = graph.size(schema.item_type)
    relations = [name for name, edge in schema.graph_edges.items() if edge.source == edge.target == schema.item_type]
    if not relations:
        return
    seen = _to_matrix(*graph.ends(schema.interaction.edge), (graph.size(schema.user_type), n_items))
    by_item = seen.tocsc()
    for name in relations:
        links = _to_matrix(*graph.ends(name), (n_items, n_items))
        turned = links.T.tocsr()
        # it may hold each item's list as its outgoing links or its incoming ones, or each pair once
        measured = [_measure(each, seen, by_item) for each in (links, turned, links + turned)]
        n_hits, n_links, shown = max(measured, key=lambda one: one[0] / max(one[1], 1))
        if n_hits == 0 or n_hits < LEAK_SHARE * n_links:
            continue
        message = f"{name} links, in a sample, to the items with most {schema.interaction.edge} users in common"
        query = graph.words.show_co_interaction(name, graph.node(schema.item_type, shown[0]))
        examples = [graph.example(schema.item_type, row) for row in shown[:N_EXAMPLES]]
        yield from tell("co_interaction_leakage", name, message, n_hits, n_links, f"{name} links", examples, query)


def _measure(links: csr_array, seen: csr_array, by_item: csc_array) -> tuple[int, int, list[int]]:
    """How many links repeat co-interaction, of how many looked at, and the items for which most do."""
    n_users, degree = np.diff(by_item.indptr), np.diff(links.indptr)
    linked = np.flatnonzero((degree > 0) & (n_users >= CO_USERS))
    if len(linked) < CO_ITEMS or degree[linked].mean() < CO_LINKS:
        return 0, 0, []
    sample = linked[np.unique(np.linspace(0, len(linked) - 1, CO_SAMPLE).astype(np.int64))]
    hits = np.zeros((len(sample), 2))
    for place, item in enumerate(sample):
        users = by_item.indices[by_item.indptr[item] : by_item.indptr[item + 1]]
        common = _count(seen[users].indices, seen.shape[1]).astype(float)
        common[item] = 0
        neighbours = links.indices[links.indptr[item] : links.indptr[item + 1]]
        for kind, worth in enumerate((common, common / np.sqrt(np.maximum(n_users, 1)))):
            least = np.partition(worth, -len(neighbours))[-len(neighbours)]
            top = (worth >= least) & (worth > 0)  # with ties more than there are neighbours
            hits[place, kind] = top[neighbours].sum() * min(1, len(neighbours) / max(top.sum(), 1))
    best = hits[:, hits.sum(axis=0).argmax()]
    order = np.argsort(-best / degree[sample], kind="stable")
    return round(float(best.sum())), int(degree[sample].sum()), sample[order].tolist()


def _to_matrix(rows: Rows, columns: Rows, shape: tuple[int, int]) -> csr_array:
    """A sparse matrix with 1 for each link."""
    matrix = coo_array((np.ones(len(rows), np.int32), (rows, columns)), shape=shape).tocsr()
    matrix.data[:] = 1
    return matrix


def _count(rows: Rows, size: int) -> Rows:
    return np.bincount(rows, minlength=size)
