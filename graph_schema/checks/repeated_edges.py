"""Edges of one type that are there several times: which of them stays, and with which weight."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graph_schema.catalogue_schema import CatalogueSchema
from graph_schema.checks import rejects
from graph_schema.checks.column_texts import Mask
from graph_schema.schema_types import Repeats

Pairs = NDArray[np.int64]  # one number for each (source, target)


def find_latest(pairs: Pairs, times: NDArray[np.int64] | None) -> Mask:
    """Finds which rows stay so that each pair is there once: the latest, and the last of those of equal time.

    Args:
        pairs: (rows,) the ends of each.
        times: (rows,) UTC seconds; None: of each pair the last row stays.
    """
    kept = np.ones(len(pairs), dtype=bool)
    ordered = np.sort(pairs)  # in a third of the time of the order, which is needed only where a pair is there twice
    if not (ordered[1:] == ordered[:-1]).any():
        return kept
    del ordered
    order = np.argsort(pairs, kind="stable") if times is None else np.lexsort((times, pairs))
    ordered = pairs[order]
    kept[order[:-1]] = ordered[1:] != ordered[:-1]
    return kept


def gather_weights(pairs: Pairs, weights: NDArray[Any], kept: Mask, how: Repeats) -> NDArray[Any]:
    """Makes one weight of those of all rows of a pair.

    Args:
        pairs: (rows,) the ends of each.
        weights: (rows,) int64 or float64.
        kept: (rows,) the row of each pair that stays.
        how: the sum, the greatest, or the count, for which each weight is 1.

    Returns:
        The weights of the rows that stay, in their order and of the same type.
    """
    order = np.argsort(pairs, kind="stable")
    ordered = pairs[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    distinct = ordered[starts]
    del ordered
    combine = np.maximum if how == "greatest" else np.add
    gathered: NDArray[Any] = combine.reduceat(weights[order], starts)
    return gathered[np.searchsorted(distinct, pairs[kept])]


def summarise_repeats(left_out: Pairs, sources: Sequence[str], targets: Sequence[str]) -> rejects.Repeats:
    """Counts the edges that repeat another, with the first pairs as examples.

    Args:
        left_out: (rows,) the ends of the edges that do not stay: the source's place times 2^32, plus the target's.
        sources: the ids of the source's node type, by their places.
        targets: likewise, of the target's.
    """
    distinct, first = np.unique(left_out, return_index=True)
    shown = left_out[np.sort(first)[: rejects.MOST_EXAMPLES]].tolist()
    examples = [(sources[pair >> 32], targets[pair & 0xFFFFFFFF]) for pair in shown]
    return rejects.Repeats(len(distinct), len(left_out), examples)


def describe_repeats(schema: CatalogueSchema, edge_type: str) -> str:
    """What becomes of edges of a type that are there several times, such as "their quantity is added up"."""
    chosen = schema.interaction
    if edge_type != chosen.edge or (chosen.at is None and chosen.repeat_rule == "latest"):
        return "the last of each is kept"
    return {
        "latest": "the latest of each is kept",
        "greatest": f"the greatest {chosen.weight} of each is kept",
        "sum": f"their {chosen.weight} is added up",
        "count": f"their number is kept as {chosen.weight}",
    }[chosen.repeat_rule]
