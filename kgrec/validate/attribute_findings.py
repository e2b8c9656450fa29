"""Findings about attributes that the model reads, and about hubs among the links of users."""

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from graph_schema.drafts.name_words import split_words
from kgrec.graph.leakage import find_computed_features, list_entries
from kgrec.validate.attribute_queries import list_common_values, list_interactions_by_value, list_lone_values
from kgrec.validate.findings import Example, Finding
from kgrec.validate.indexed_graph import N_EXAMPLES, IndexedGraph, Rows, report_finding, to_date

USER_HUB = 10_000  # neighbours of one relation, above which a node of a user's links is a hub
HUB_USERS = 10  # fewer users are too few to say that most of them are linked to one node
COMMON_ITEMS = 10  # fewer items are too few to say that a value is common
DISTINCT_SHARE, DISTINCT_LEAST = 0.9, 50  # entries of a feature that nothing else has, and the least entries to judge


def find_computed(graph: IndexedGraph) -> Iterator[Finding]:
    """Features of items that repeat the interactions: popularity, or a mean rating."""
    item_type = graph.schema.item_type
    for found in find_computed_features(graph.tables):
        rank = "" if found.rank is None else f": rank correlation {found.rank:+.2f}"
        message = f"{item_type} nodes whose {found.column} repeats {found.repeats}{rank}"
        examples = [
            graph.example(item_type, int(row), f"{found.column} {value:g}, interactions {n:,}")
            for row, value, n in zip(found.rows[:N_EXAMPLES], found.values, found.n_interactions, strict=False)
        ]
        query = list_interactions_by_value(graph.dialect, found.column)
        of = f"{item_type} nodes"
        yield from report_finding(
            "feature_leakage", item_type, message, len(found.rows), graph.size(item_type), of, examples, query
        )


def find_distinct(graph: IndexedGraph) -> Iterator[Finding]:
    """Categories and lists that are features, and of whose values nearly all are on one node only."""
    for node_type, node in graph.schema.nodes.items():
        for column in node.features:
            rows, entries = list_entries(graph.tables.nodes[node_type][column], node.columns[column])
            if len(entries) < DISTINCT_LEAST:
                continue
            codes = entries.dictionary_encode().indices.to_numpy(zero_copy_only=False)
            counts = np.bincount(codes)
            alone = np.flatnonzero(counts[codes] == 1)
            if len(alone) <= DISTINCT_SHARE * len(entries):
                continue
            examples = [
                graph.example(node_type, int(rows[place]), entries[int(place)].as_py()[:60])
                for place in alone[:N_EXAMPLES]
            ]
            message = f"values of {column} that only one {node_type} node has"
            query = list_lone_values(graph.dialect, node_type, column)
            yield from report_finding(
                "distinct_features", node_type, message, len(alone), len(entries), "values", examples, query
            )


def find_common(graph: IndexedGraph) -> Iterator[Finding]:
    """Categories and entries of lists that are features of items, and that more than half of the items have."""
    item_type = graph.schema.item_type
    n_items = graph.size(item_type)
    if n_items < COMMON_ITEMS:
        return
    for column in graph.schema.nodes[item_type].features:
        _, entries = list_entries(graph.tables.nodes[item_type][column], graph.schema.nodes[item_type].columns[column])
        counted = sorted(((one["counts"], one["values"]) for one in entries.value_counts().to_pylist()), reverse=True)
        common = [(n, value) for n, value in counted if n > n_items / 2]
        examples = [Example((), f"{value[:60]} ({n / n_items:.0%})") for n, value in common[:N_EXAMPLES]]
        message = f"values of {column} that more than half of all {item_type} nodes have"
        query = list_common_values(graph.dialect, item_type, column, n_items // 2 + 1)
        yield from report_finding(
            "common_values", item_type, message, len(common), len(counted), "values", examples, query
        )


def find_future(graph: IndexedGraph) -> Iterator[Finding]:
    """Times and years that are features, and after today."""
    year = datetime.fromtimestamp(graph.now, UTC).year
    for node_type, node in graph.schema.nodes.items():
        for column in node.features:
            is_time = node.columns[column] == "time"
            if not is_time and not (node.columns[column] in ("int", "float") and "year" in split_words(column)):
                continue
            values = graph.tables.nodes[node_type][column].cast(pa.float64()).to_numpy()
            latest = graph.now if is_time else year
            rows: Rows = np.flatnonzero(values > latest)
            examples = [
                graph.example(
                    node_type, int(row), f"{column} {to_date(int(values[row])) if is_time else f'{values[row]:g}'}"
                )
                for row in rows[:N_EXAMPLES]
            ]
            message = f"{node_type} nodes with a {column} of the future, after {to_date(latest) if is_time else latest}"
            query = None
            if graph.dialect.can_read(node, column):
                condition = f"{'at' if is_time else 'number'} > {latest}"
                query = graph.dialect.list_nodes_by_value(node_type, column, condition)
            of = f"{node_type} nodes"
            yield from report_finding(
                "features_in_future", node_type, message, len(rows), len(values), of, examples, query
            )


def find_sensitive(graph: IndexedGraph) -> Iterator[Finding]:
    """Sensitive attributes that the schema makes features."""
    for node_type, node in graph.schema.nodes.items():
        for column in node.sensitive:
            if column in node.features:
                values = graph.tables.nodes[node_type][column]
                message = f"{node_type} nodes with {column}, which is sensitive and which the model reads"
                of = f"{node_type} nodes"
                yield from report_finding(
                    "sensitive_features", node_type, message, len(values) - values.null_count, len(values), of, [], None
                )


def find_user_hubs(graph: IndexedGraph) -> Iterator[Finding]:
    """Nodes at either end of a relation of users that it links to most users, or to more than 10,000 others."""
    user_type = graph.schema.user_type
    for name, edge in graph.schema.graph_edges.items():
        if user_type not in (edge.source, edge.target):
            continue
        source, target = graph.ends(name)
        sides = [(edge.source, source, edge.target, target, True), (edge.target, target, edge.source, source, False)]
        if edge.source == edge.target:
            both = np.concatenate([source, target]), np.concatenate([target, source])
            sides = [(edge.source, both[0], edge.target, both[1], True)]
        for hub_type, hubs, other_type, others, hub_is_source in sides:
            n_others = max(graph.size(other_type), 1)
            counts = np.bincount(np.unique(hubs * n_others + others) // n_others, minlength=graph.size(hub_type))
            is_of_users = other_type == user_type and n_others >= HUB_USERS
            least = min(USER_HUB, n_others // 2 if is_of_users else USER_HUB) + 1
            found = np.flatnonzero(counts >= least)
            found = found[np.argsort(-counts[found], kind="stable")]
            examples = [graph.example(hub_type, int(row), f"{counts[row]:,}") for row in found[:N_EXAMPLES]]
            message = f"{hub_type} nodes with {least:,} or more neighbours ({name})"
            query = graph.dialect.list_hubs(name, hub_is_source=hub_is_source, least=least)
            yield from report_finding(
                "user_hubs", name, message, len(found), graph.size(hub_type), f"{hub_type} nodes", examples, query
            )
