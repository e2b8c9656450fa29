"""Measures how many of an item's neighbours the published vector index finds, by the queries that a backend asks."""

from collections.abc import Mapping, Sequence

import numpy as np

from kgrec.store.neo4j.backend_queries import BY_INDEX, N_NEAREST
from kgrec.store.neo4j.connection import Connection

K, N_ASKED = 10, 30
_TIE = 1e-4  # neighbours whose scores differ by less are as good as each other


def measure_agreement(connection: Connection, queries: Mapping[str, str], items: Sequence[str]) -> float:
    """The mean share of the first 10 of SIMILAR_TO that the vector index finds, over some of the items.

    Args:
        connection: the database with the version live.
        queries: those that are printed.
        items: the items that have a vector.

    Returns:
        The share; nan where no item has neighbours.

    Raises:
        StoreError: the database fails.
    """
    by_list = next(query for title, query in queries.items() if title.startswith("similar items"))
    chosen = np.unique(np.linspace(0, len(items) - 1, min(N_ASKED, len(items))).astype(int)).tolist()
    shares = []
    for item in (items[place] for place in chosen):
        parameters = {"item": item, "k": K, "n": N_NEAREST}
        wanted = dict(connection.read(by_list, parameters))
        if wanted:
            least = min(wanted.values()) - _TIE
            found = connection.read(queries[BY_INDEX], parameters)
            # the index gives (1 + cosine) / 2
            n_found = sum(other in wanted or 2 * score - 1 >= least for other, score in found)
            shares.append(min(n_found / len(wanted), 1.0))
    return float(np.mean(shares)) if shares else float("nan")
