"""The checks of a catalogue's data: what would hurt recommendations.

They run on `GraphTables`, in time linear in the edges, and so are the same for every store.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from graph_schema import GraphTables
from graph_schema.checks.reject_file import RejectedRows
from graph_schema.checks.rejects import Fault, RejectLog
from kgrec.text.node_texts import read_own_texts
from kgrec.validate.attribute_findings import (
    find_common,
    find_computed,
    find_distinct,
    find_future,
    find_sensitive,
    find_user_hubs,
)
from kgrec.validate.findings import AT_LOADING, CHECKS, Finding, Severity, Validation
from kgrec.validate.indexed_graph import N_EXAMPLES, IndexedGraph, Rows, report_finding, to_date
from kgrec.validate.leak_findings import find_co_leaks, find_leaks, find_named_items
from kgrec.validate.like_findings import find_contradictions, find_like_faults
from kgrec.validate.load_findings import find_left_out
from kgrec.validate.queries import QueryDialect
from kgrec.validate.rejected import find_rejected

# a hub has more than this share of the items, and at least this many; or over half of at least a few
HUB_SHARE, HUB_ITEMS, HALF_ITEMS = 0.25, 100, 10
FAR_LEAST, FAR_SHARE, FAR_GAP_S = 100, 0.01, 30 * 86_400  # interactions, the share at either end, shortest gap
YEAR_1990 = int(datetime(1990, 1, 1, tzinfo=UTC).timestamp())
TIMES = ("interactions_in_future", "interactions_before_1990", "interactions_far_off")


def validate_tables(
    tables: GraphTables,
    dialect: QueryDialect,
    *,
    now: int,
    rejects: RejectLog | None = None,
    at_load: Mapping[str, RejectedRows] | None = None,
) -> Validation:
    """Looks for what would hurt recommendations.

    Args:
        tables: the catalogue.
        dialect: of the database, for the queries that findings show.
        now: UTC seconds; later times are in the future.
        rejects: the log of staging; None where the rows were checked when they were loaded.
        at_load: what the load left out, by node type and edge type; None where there is no file of it.
    """
    if rejects is not None:
        keyless = {table for table, reason in rejects.counts if reason.fault == Fault.MISSING_KEY}
        dialect = dialect.leaving_out(keyless)
    graph = IndexedGraph(tables, dialect, now)
    found = [] if rejects is None else list(find_rejected(graph, rejects))
    found += [] if at_load is None else find_left_out(graph, at_load)
    for find in _FINDERS:
        found += find(graph)
    names, severities = list(CHECKS), list(Severity)
    found.sort(key=lambda one: (severities.index(one.severity), names.index(one.check), -one.share))
    hit = {one.check for one in found}
    skipped = {} if rejects is not None else dict.fromkeys(AT_LOADING, "rows were checked when they were loaded")
    if at_load is None:
        skipped["rejected_rows"] = "a load that rejects nothing leaves no reject file, and there is none"
    if tables.schema.interaction.at is None:
        skipped |= dict.fromkeys(TIMES, "the schema names no time of interactions")
    return Validation(
        tables.schema,
        tuple(found),
        tuple(name for name in names if name not in hit and name not in skipped),
        skipped,
        {name: table.num_rows for name, table in tables.nodes.items()},
        {name: table.num_rows for name, table in tables.edges.items()},
    )


def _find_without_text(graph: IndexedGraph) -> Iterator[Finding]:
    item_type = graph.schema.item_type
    node = graph.schema.nodes[item_type]
    columns = dict.fromkeys([*node.text, *([node.name] if node.name else [])])  # an item without text has its name's
    is_blank = read_own_texts(graph.tables, item_type).is_null().to_numpy(zero_copy_only=False)
    query = graph.dialect.list_nodes(item_type, [graph.dialect.is_blank(item_type, column) for column in columns])
    message = f"{item_type} nodes without text" + ("" if columns else ": the schema names no text column")
    yield from graph.find_nodes("items_without_text", item_type, np.flatnonzero(is_blank), query, message)


def _find_without_links(graph: IndexedGraph) -> Iterator[Finding]:
    item_type = graph.schema.item_type
    relations = [
        name
        for name, edge in graph.schema.graph_edges.items()
        if item_type in (edge.source, edge.target) and graph.schema.user_type not in (edge.source, edge.target)
    ]
    features, table = graph.schema.nodes[item_type].features, graph.tables.nodes[item_type]
    is_bare = ~graph.touched(item_type, relations)
    for column in features:
        is_bare &= table[column].is_null().to_numpy()
    conditions = [
        *graph.dialect.is_without(item_type, relations),
        *(graph.dialect.is_missing(item_type, column) for column in features),
    ]
    query = graph.dialect.list_nodes(item_type, conditions)
    message = f"{item_type} nodes without links{' and features' if features else ''}" + (
        "" if relations or features else ": the schema has no relation of them"
    )
    yield from graph.find_nodes("items_without_links", item_type, np.flatnonzero(is_bare), query, message)


def _find_without_interactions(graph: IndexedGraph) -> Iterator[Finding]:
    schema = graph.schema
    for check, node_type in (
        ("users_without_interactions", schema.user_type),
        ("items_without_interactions", schema.item_type),
    ):
        rows = np.flatnonzero(~graph.touched(node_type, [schema.interaction.edge]))
        query = graph.dialect.list_nodes(node_type, graph.dialect.is_without(node_type, [schema.interaction.edge]))
        yield from graph.find_nodes(check, node_type, rows, query, f"{node_type} nodes without interactions")


def _find_odd_times(graph: IndexedGraph) -> Iterator[Finding]:
    chosen, table = graph.schema.interaction, graph.tables.interactions
    if chosen.at is None:
        return
    times: Rows = table[chosen.at].to_numpy()
    is_future, is_ancient = times > graph.now, times < YEAR_1990
    first, last = find_main_span(times[~is_future & ~is_ancient])
    is_early, is_late = (times < first) & ~is_ancient, (times > last) & ~is_future & ~is_ancient
    for check, is_odd, condition, message in (
        ("interactions_in_future", is_future, f"at > {graph.now}", f"later than {to_date(graph.now)}, which is now"),
        ("interactions_before_1990", is_ancient, f"at < {YEAR_1990}", "before 1990"),
        (
            "interactions_far_off",
            is_early,
            f"at >= {YEAR_1990} AND at < {first}",
            f"long before all others, which begin {to_date(first)}",
        ),
        (
            "interactions_far_off",
            is_late,
            f"at > {last} AND at <= {graph.now}",
            f"long after all others, which end {to_date(last)}",
        ),
    ):
        query = None
        if graph.dialect.can_read(graph.schema.edges[chosen.edge], chosen.at):
            query = graph.dialect.list_edges_by_value(chosen.edge, chosen.at, condition)
        yield from graph.find_edges(
            check,
            chosen.edge,
            np.flatnonzero(is_odd),
            query,
            f"{chosen.edge} edges {message}",
            about=lambda place: to_date(times[place]),
        )


def find_main_span(times: Rows) -> tuple[int, int]:
    """Finds the first and the last of the times that are not far from the rest.

    Times at either end, at most 1% of all at each, are far if the gap between them and the rest is longer than 30 days
    and longer than the span of the middle 98% of all times. Of fewer than 100 times none is far.

    Args:
        times: int64 (n,), UTC seconds.
    """
    if not len(times):
        return 0, 0
    ordered = np.sort(times)
    cut, first, last = int(len(ordered) * FAR_SHARE), 0, len(ordered) - 1
    if len(ordered) >= FAR_LEAST:
        least = max(int(ordered[last - cut] - ordered[cut]), FAR_GAP_S)
        before_gap = np.flatnonzero(np.diff(ordered) > least)
        first = max((int(place) + 1 for place in before_gap if place < cut), default=first)
        last = min((int(place) for place in before_gap if place >= len(ordered) - 1 - cut), default=last)
    return int(ordered[first]), int(ordered[last])


def _find_self_loops(graph: IndexedGraph) -> Iterator[Finding]:
    for name, edge in graph.schema.edges.items():
        if edge.source == edge.target:
            source, target = graph.ends(name)
            query = graph.dialect.list_self_loops(name)
            message = f"{name} edges from a node to itself"
            yield from graph.find_edges("self_loops", name, np.flatnonzero(source == target), query, message)


def _find_repeats(graph: IndexedGraph) -> Iterator[Finding]:
    for name, edge in graph.schema.edges.items():
        source, target = graph.ends(name)
        pairs = source * graph.size(edge.target) + target
        distinct, first, times = np.unique(pairs, return_index=True, return_counts=True)
        examples = [graph.edge_example(name, int(place)) for place in first[times > 1][:N_EXAMPLES]]
        yield from graph.find_repeats(name, int((times > 1).sum()), len(pairs) - len(distinct), examples)


def _find_hubs(graph: IndexedGraph) -> Iterator[Finding]:
    item_type, user_type = graph.schema.item_type, graph.schema.user_type
    n_items = graph.size(item_type)
    least = min(max(HUB_ITEMS, int(HUB_SHARE * n_items) + 1), max(HALF_ITEMS, n_items // 2 + 1))
    for name, edge in graph.schema.graph_edges.items():
        if item_type not in (edge.source, edge.target) or user_type in (edge.source, edge.target):
            continue
        source, target = graph.ends(name)
        hub_is_source = edge.source != item_type
        hubs, items = (source, target) if hub_is_source else (target, source)
        hub_type = edge.source if hub_is_source else edge.target
        if edge.source == edge.target:
            hubs, items = np.concatenate([source, target]), np.concatenate([target, source])
        counts = np.bincount(np.unique(hubs * n_items + items) // n_items, minlength=graph.size(hub_type))
        found = np.flatnonzero(counts >= least)
        found = found[np.argsort(-counts[found], kind="stable")]
        examples = [graph.example(hub_type, int(row), f"{counts[row] / n_items:.0%}") for row in found[:N_EXAMPLES]]
        message = f"{hub_type} nodes with {least:,} or more of all {item_type} nodes ({name})"
        query = graph.dialect.list_hubs(name, hub_is_source=hub_is_source, least=least)
        yield from report_finding(
            "hubs", name, message, len(found), graph.size(hub_type), f"{hub_type} nodes", examples, query
        )


def _find_orphans(graph: IndexedGraph) -> Iterator[Finding]:
    schema = graph.schema
    for node_type in schema.nodes:
        if node_type not in (schema.user_type, schema.item_type):
            rows = np.flatnonzero(~graph.touched(node_type, schema.edges))
            query = graph.dialect.list_nodes(node_type, graph.dialect.is_without(node_type, schema.edges))
            message = f"{node_type} nodes without any relationship"
            yield from graph.find_nodes("orphans", node_type, rows, query, message)


def _find_parts(graph: IndexedGraph) -> Iterator[Finding]:
    schema = graph.schema
    # items first, so that an item is the example of a part that has one
    node_types = sorted(schema.nodes, key=lambda name: name != schema.item_type)
    starts = np.cumsum([0, *map(graph.size, node_types)])
    start = dict(zip(node_types, starts.tolist(), strict=False))
    sources, targets = zip(
        *((graph.ends(n)[0] + start[e.source], graph.ends(n)[1] + start[e.target]) for n, e in schema.edges.items()),
        strict=True,
    )
    source, target, n_nodes = np.concatenate(sources), np.concatenate(targets), int(starts[-1])
    links = coo_array((np.ones(len(source), dtype=np.int8), (source, target)), shape=(n_nodes, n_nodes))
    _, parts = connected_components(links, directed=False)
    sizes = np.bincount(parts)
    sizes[sizes.argmax()] = 0
    others = np.flatnonzero(sizes > 1)  # other checks report single nodes
    if not len(others):
        return
    others = others[np.argsort(-sizes[others], kind="stable")]
    examples = []
    for part in others[:N_EXAMPLES]:
        node = int(np.argmax(parts == part))
        place = int(np.searchsorted(starts, node, side="right")) - 1
        examples.append(graph.example(node_types[place], node - int(starts[place]), f"a part of {sizes[part]:,} nodes"))
    query = graph.dialect.show_surroundings(examples[0].nodes[0], schema.edges)
    apart = "a part that is" if len(others) == 1 else f"{len(others):,} parts that are"
    message = f"nodes in {apart} not connected to the largest"
    yield from report_finding(
        "disconnected_parts", None, message, sizes[others].sum(), n_nodes, "nodes", examples, query
    )


_FINDERS = (
    _find_without_text,
    _find_without_links,
    _find_without_interactions,
    find_like_faults,
    find_contradictions,
    _find_odd_times,
    _find_self_loops,
    _find_repeats,
    _find_hubs,
    _find_orphans,
    _find_parts,
    find_user_hubs,
    find_distinct,
    find_common,
    find_future,
    find_sensitive,
    find_leaks,
    find_named_items,
    find_co_leaks,
    find_computed,
)
