"""Findings about the rows that staging rejected, in a graph that was not checked when it was loaded."""

import json
import re
from collections.abc import Iterator

from graph_schema import SOURCE, TARGET
from graph_schema.checks.columns import time_range
from graph_schema.checks.rejects import Fault, Reason, RejectLog
from kgrec.store.contract import NodeRef
from kgrec.validate.findings import Example, Finding
from kgrec.validate.indexed_graph import IndexedGraph, report_finding
from kgrec.validate.value_conditions import IS_MISSING, is_unfit

ABOUT_LENGTH = 100  # characters of a rejected row or value that are shown


def find_rejected(graph: IndexedGraph, log: RejectLog) -> Iterator[Finding]:
    """The rows that were rejected, by kind, and the edges that were there more than once."""
    together: dict[tuple[str, Fault, str | None, str], list[Reason]] = {}
    for table, reason in log.counts:
        # times out of range are one finding, whatever unit they look like; names hold neither comma nor colon
        problem = re.split("[,:]", reason.text)[0]
        together.setdefault((table, reason.fault, reason.column, problem), []).append(reason)
    for (table, fault, column, problem), reasons in together.items():
        reasons.sort(key=lambda reason: -log.counts[table, reason])
        count = sum(log.counts[table, reason] for reason in reasons)
        examples = [
            _raw_example(graph, table, reason, row) for reason in reasons for row in log.examples[table, reason]
        ]
        check, message, query = _read_fault(graph, table, fault, column or "", problem, reasons[0].text)
        of = f"{table} {'edges' if _is_edge(graph, table, column) else 'nodes'}"
        yield from report_finding(check, table, message, count, log.n_rows[table], of, examples, query)
    for edge_type, repeats in log.repeats.items():
        edge = graph.schema.edges[edge_type]
        examples = [
            Example((NodeRef(edge.source, source), NodeRef(edge.target, target))) for source, target in repeats.examples
        ]
        yield from graph.find_repeats(edge_type, repeats.n_pairs, repeats.n_edges, examples)


def _read_fault(
    graph: IndexedGraph, table: str, fault: Fault, column: str, problem: str, text: str
) -> tuple[str, str, str | None]:
    """The check that a kind of reason belongs to, the message, and the query."""
    dialect = graph.dialect
    match fault:
        case Fault.MISSING_KEY:
            return "missing_key", f"{table} nodes without {column}", dialect.list_keyless(table)
        case Fault.REPEATED_KEY:
            message = f"{table} nodes with a {column} that another has"
            return "duplicate_key", message, dialect.list_repeated_keys(table)
        case Fault.MISSING_END:
            return "lost_edges", f"{table} edges whose {column} has no key", dialect.list_endless(table, column)
        case Fault.UNKNOWN_END:
            return "lost_edges", f"{table} edges whose {column} was left out", None
        case Fault.MISSING_VALUE:
            query = dialect.list_edges_by_value(table, column, IS_MISSING)
            return "missing_value", f"{table} edges without {column}", query
    return "unfit_value", f"{table}: {text}", _show_unfit(graph, table, column, problem)


def _show_unfit(graph: IndexedGraph, table: str, column: str, problem: str) -> str | None:
    schema = graph.schema
    is_edge = _is_edge(graph, table, column)
    declared = schema.edges[table] if is_edge else schema.nodes.get(table)
    if declared is None or column in (SOURCE, TARGET) or not graph.dialect.can_read(declared, column):
        return None
    is_interaction = is_edge and (table, column) == (schema.interaction.edge, schema.interaction.at)
    condition = is_unfit(declared.columns[column], problem, time_range(interaction=is_interaction))
    list_rows = graph.dialect.list_edges_by_value if is_edge else graph.dialect.list_nodes_by_value
    return None if condition is None else list_rows(table, column, condition)


def _is_edge(graph: IndexedGraph, table: str, column: str | None) -> bool:
    edge = graph.schema.edges.get(table)
    return edge is not None and (column is None or column in edge.columns)


def _raw_example(graph: IndexedGraph, table: str, reason: Reason, row: object) -> Example:
    """A rejected row: its ids and the value that it was rejected for; where it has no id, all its values."""
    if not isinstance(row, dict):
        return Example((), str(row)[:ABOUT_LENGTH])
    if _is_edge(graph, table, reason.column):
        edge = graph.schema.edges[table]
        ids = [(edge.source, row.get(SOURCE)), (edge.target, row.get(TARGET))]
    else:
        ids = [(table, row.get(graph.schema.nodes[table].key))]
    nodes = tuple(NodeRef(node_type, str(id_)) for node_type, id_ in ids if id_ not in (None, ""))
    about = ""
    if reason.fault == Fault.UNFIT_VALUE:
        about = f"{reason.column} = {_to_json(row.get(reason.column or ''))}"
    elif len(nodes) < len(ids):
        rest = {name: value for name, value in row.items() if value not in (None, "")}
        about = _to_json(rest) if rest else "an empty one"
    return Example(nodes, about[:ABOUT_LENGTH] or None)


def _to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
