"""Findings about which interactions count as likes."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from graph_schema.checks.repeated_edges import describe_repeats
from kgrec.validate.findings import Finding
from kgrec.validate.indexed_graph import IndexedGraph

MOST_GRADES = 20  # different weights, more than which are counts or amounts and not grades


def find_like_faults(graph: IndexedGraph) -> Iterator[Finding]:
    """Weights by which everything or nothing is a like, and those of 0 or less."""
    chosen, table = graph.schema.interaction, graph.tables.interactions
    if chosen.weight is None or not table.num_rows:
        return
    weights = table[chosen.weight].to_numpy()
    is_like = chosen.is_like(weights)
    shown = f"{chosen.weight} {weights.min():g} to {weights.max():g}"
    about = _Shown(chosen.weight, weights)
    if not is_like.any():
        no_like = "number <= 0" if chosen.positive is None else f"number < {chosen.positive!r}"
        query = graph.dialect.list_edges_by_value(chosen.edge, chosen.weight, no_like)
        message = f"{chosen.edge} edges, none of which is a like: {chosen.describe_like()}, and they have {shown}"
        yield from graph.find_edges("no_likes", chosen.edge, np.arange(len(weights)), query, message)
    elif is_like.all() and len(np.unique(weights)) > 1 and (chosen.positive is not None or _are_grades(weights)):
        message = f"{chosen.edge} edges, each of which is a like: {chosen.describe_like()}, and they have {shown}"
        yield from graph.find_edges("all_likes", chosen.edge, np.arange(len(weights)), None, message, about)
    query = graph.dialect.list_edges_by_value(chosen.edge, chosen.weight, "number <= 0")
    liked, others = np.flatnonzero((weights <= 0) & is_like), np.flatnonzero((weights <= 0) & ~is_like)
    message = f"{chosen.edge} edges with a {chosen.weight} of 0 or less"
    yield from graph.find_edges("liked_zeros", chosen.edge, liked, query, f"{message} that count as likes", about)
    if chosen.at is not None or chosen.repeat_rule != "latest":
        message += f" (of several, {describe_repeats(graph.schema, chosen.edge)})"
    yield from graph.find_edges("zeros", chosen.edge, others, query, message, about)


def find_contradictions(graph: IndexedGraph) -> Iterator[Finding]:
    """Likes of items that the same user dislikes by another kind of feedback."""
    chosen, table = graph.schema.interaction, graph.tables.interactions
    source, target = graph.ends(chosen.edge)
    n_items = graph.size(graph.schema.item_type)
    pairs = source * n_items + target
    if chosen.weight is None:
        is_like = np.ones(len(pairs), dtype=bool)
    else:
        is_like = chosen.is_like(table[chosen.weight].to_numpy())
    for name, weight in chosen.other_feedback.items():
        if weight >= 0:
            continue
        other_source, other_target = graph.ends(name)
        both = np.flatnonzero(is_like & np.isin(pairs, other_source * n_items + other_target))
        query = graph.dialect.list_shared_pairs(chosen.edge, name)
        message = f"{chosen.edge} edges that are likes, of pairs that {name} speaks against"
        yield from graph.find_edges("contradictions", chosen.edge, both, query, message)


def _are_grades(weights: NDArray[np.float64]) -> bool:
    return len(np.unique(weights)) <= MOST_GRADES


class _Shown:
    """Shows the weight of an interaction by its place."""

    def __init__(self, name: str, weights: NDArray[np.float64]) -> None:
        self._name, self._weights = name, weights

    def __call__(self, place: int) -> str:
        return f"{self._name} {self._weights[place]:g}"
