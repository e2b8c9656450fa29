"""Leaks in times and texts: nodes newer than the training likes, and texts that quote popularity."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import numpy as np
from scipy.stats import spearmanr

from graph_schema import SOURCE, TARGET
from kgrec.evaluate.audited import N_EXAMPLES, Audited, Example, Rows, Suspect, leak_items
from kgrec.questions.slices import Slice
from kgrec.store.contract import NodeRef

LEAST_TEXTS = 3  # fewer texts that name later years or quote numbers of users may be coincidence
LEAST_RANKED = 10  # quoted numbers needed for a rank correlation with likes
MANY = 100  # smaller numbers of users are more likely part of a plot
_DIGITS = re.compile(r"\d+")
_YEAR = re.compile(r"\b(?:1[89]|20)\d\d\b")
_COUNTED = re.compile(
    r"\b(\d[\d.,]*)\s?(k|m|thousand|million)?\+?\s+(?:[a-z-]+\s+){0,2}?(?:ratings|reviews|votes|voters|users|customers|"
    r"buyers|shoppers|readers|viewers|listeners|players|downloads|plays|streams|views|likes|followers|subscribers|"
    r"purchases|scrobbles|copies)\b",
    re.IGNORECASE,
)
_STARS = re.compile(
    r"\b[0-5](?:[.,]\d)?\s*-?stars?\s+(?:by|from|on|out)\b|\b[0-5][.,]\d\s*-?stars?\b|"
    r"\b\d(?:[.,]\d)?\s?/\s?(?:5|10)\b|\b\d(?:[.,]\d)? out of (?:5|10|five|ten)\b|\brated \d[.,]\d\b",
    re.IGNORECASE,
)
_UNITS = {"k": 1_000, "thousand": 1_000, "m": 1_000_000, "million": 1_000_000}
_EDITED = re.compile(r"updat|modif|edit|chang|revis", re.IGNORECASE)


def find_later_nodes(audited: Audited, slices: Sequence[Slice]) -> Iterator[Suspect]:
    """Nodes and links whose times or years are after the training likes."""
    schema, until = audited.tables.schema, audited.learned_until
    year = datetime.fromtimestamp(until, UTC).year
    for node_type, node in schema.nodes.items():
        for column, kind in node.columns.items():
            is_time, is_year = kind == "time", kind == "int" and "year" in column.lower()
            # New items are normal; edits of an item after the training likes are suspicious.
            counts = _EDITED.search(column) if node_type == schema.item_type else node_type != schema.user_type
            if not counts or not (is_time or is_year):
                continue
            values = audited.tables.nodes[node_type][column].fill_null(0).to_numpy()
            rows = np.flatnonzero(values > (until if is_time else year))
            if len(rows) and len(rows) < len(values):  # all rows: probably the time of an import
                examples = tuple(
                    Example(
                        (audited.node(node_type, row),),
                        f"{column} {_to_date(values[row]) if is_time else values[row]}",
                    )
                    for row in rows[:N_EXAMPLES]
                )
                message = f"{node_type} nodes with {column} after {_to_date(until) if is_time else year}"
                near = audited.items_near(node_type, rows)
                yield Suspect(message, len(rows), len(values), f"{node_type} nodes", examples, leak_items(near))
    for name, edge in schema.graph_edges.items():
        table = audited.tables.edges[name]
        for column, kind in edge.attributes.items():
            values = table[column].fill_null(0).to_numpy() if kind == "time" else np.zeros(0, np.int64)
            rows = np.flatnonzero(values > until)
            if len(rows) and len(rows) < len(values):
                yield _to_later_links(audited, name, column, values, rows)


def _to_later_links(audited: Audited, name: str, column: str, values: Rows, rows: Rows) -> Suspect:
    edge, table = audited.tables.schema.edges[name], audited.tables.edges[name]
    examples = tuple(
        Example(
            (NodeRef(edge.source, table[SOURCE][row].as_py()), NodeRef(edge.target, table[TARGET][row].as_py())),
            f"{column} {_to_date(values[row])}",
        )
        for row in rows[:N_EXAMPLES].tolist()
    )
    near = np.zeros(audited.n_items, np.bool_)
    ids = {id_: row for row, id_ in enumerate(audited.tables.ids(audited.tables.schema.item_type).to_pylist())}
    for end, node_type in ((SOURCE, edge.source), (TARGET, edge.target)):
        if node_type == audited.tables.schema.item_type:
            near[[ids[id_] for id_ in table[end].take(rows).to_pylist()]] = True
    message = f"{name} links with {column} after {_to_date(audited.learned_until)}"
    return Suspect(message, len(rows), len(values), f"{name} links", examples, leak_items(near))


def find_later_texts(audited: Audited, slices: Sequence[Slice]) -> Iterator[Suspect]:
    """Texts that name years after the training likes."""
    schema = audited.tables.schema
    year = datetime.fromtimestamp(audited.learned_until, UTC).year
    for node_type, node in schema.nodes.items():
        if not node.text or node_type == schema.user_type:
            continue
        texts = audited.texts(node_type)
        named = {
            row: later
            for row, text in enumerate(texts)
            if (later := [int(found) for found in _YEAR.findall(text) if year < int(found) <= audited.now.year])
        }
        if len(named) >= LEAST_TEXTS:
            rows = np.array(list(named), np.int64)
            examples = tuple(
                Example((audited.node(node_type, row),), _quote(texts[row], str(named[row][0])))
                for row in list(named)[:N_EXAMPLES]
            )
            message = f"texts of {node_type} nodes that name a year after {year}"
            near = audited.items_near(node_type, rows)
            yield Suspect(message, len(named), len(texts), "texts", examples, leak_items(near))


def find_quoted_popularity(audited: Audited, slices: Sequence[Slice]) -> Iterator[Suspect]:
    """Texts of items that quote ratings or numbers of users."""
    schema = audited.tables.schema
    texts = audited.texts(schema.item_type)
    quoted: dict[int, tuple[str, float | None]] = {}
    for row, text in enumerate(texts):
        found = quote_popularity(text)
        if found is not None:
            quoted[row] = found
    if len(quoted) < LEAST_TEXTS:
        return
    rows = np.array(list(quoted), np.int64)
    examples = tuple(
        Example((audited.item(row),), _quote(texts[row], quoted[row][0])) for row in list(quoted)[:N_EXAMPLES]
    )
    message = "texts of items that quote ratings or numbers of users"
    counted = np.array([row for row, (_, number) in quoted.items() if number is not None], np.int64)
    n_held = np.bincount(audited.likes.items, minlength=audited.n_items) - np.bincount(
        audited.split.train.items, minlength=audited.n_items
    )
    numbers = [quoted[row][1] for row in counted.tolist()]
    if len(counted) >= LEAST_RANKED and np.ptp(n_held[counted]) and len(set(numbers)) > 1:
        rank = float(spearmanr(numbers, n_held[counted]).statistic)
        message += f"; rank correlation {rank:+.2f} between the numbers and the likes held out"
    near = np.zeros(audited.n_items, np.bool_)
    near[rows] = True
    yield Suspect(message, len(quoted), len(texts), "texts", examples, leak_items(near))


def quote_popularity(text: str) -> tuple[str, float | None] | None:
    """The phrase of a text that quotes a rating or a number of users, and the number; None without one."""
    for found in _COUNTED.finditer(text):
        digits = _DIGITS.findall(found[1])
        if not found[2] and _YEAR.fullmatch(found[1]):  # "in 1999 two readers"
            continue
        number = float(".".join(digits[:2])) * _UNITS[found[2].lower()] if found[2] else float("".join(digits))
        if number >= MANY:
            return text[found.start() : found.end()], number
    stars = _STARS.search(text)
    return None if stars is None else (text[stars.start() : stars.end()], None)


def _quote(text: str, phrase: str, around: int = 30) -> str:
    start = text.find(phrase)
    end = start + len(phrase) + around
    return f"{'…' if start > around else ''}{text[max(start - around, 0) : end]}{'…' if end < len(text) else ''}"


def _to_date(seconds: int) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%d")
