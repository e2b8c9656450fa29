"""Findings about the rows that the last load of a store left out, from its reject file."""

from collections.abc import Iterator, Mapping

from graph_schema.checks.reject_file import RejectedRows
from kgrec.validate.findings import Example, Finding
from kgrec.validate.indexed_graph import IndexedGraph, report_finding

ABOUT_LENGTH = 100  # characters of a rejected row that are shown


def find_left_out(graph: IndexedGraph, at_load: Mapping[str, RejectedRows]) -> Iterator[Finding]:
    """The share of each table that the last load left out, or kept without values."""
    n_stored = {name: table.num_rows for name, table in {**graph.tables.nodes, **graph.tables.edges}.items()}
    for table, rows in at_load.items():
        if table not in n_stored:
            continue
        (reason, n), *others = rows.reasons.most_common()
        why = f"{reason} ({n:,})" + (f" and {len(others)} other reasons" if others else "")
        examples = [Example((), text[:ABOUT_LENGTH]) for text in rows.examples]
        total = n_stored[table] + rows.n_rejects
        of = f"rows of {table}"
        message = f"rows of {table} that the last load left out: {why}"
        yield from report_finding("rejected_rows", table, message, rows.n_rejects, total, of, examples, None)
        message = f"rows of {table} that the last load kept without values: {why}"
        yield from report_finding("rejected_rows", table, message, rows.n_incomplete, total, of, examples, None)
