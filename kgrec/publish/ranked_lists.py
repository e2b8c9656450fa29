"""The lists that are published: the neighbours of items and the recommendations of users."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from graph_schema import SOURCE, TARGET
from kgrec.recommend import Recommender

_BLOCK_ITEMS, _BLOCK_USERS = 1024, 2048
LISTS = pa.schema({SOURCE: pa.string(), TARGET: pa.string(), "score": pa.float64()})


def find_neighbours(
    recommender: Recommender, present: Sequence[str], neighbours: int, sources: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """Yields, in blocks, the neighbours of items among the items in the graph.

    Args:
        recommender: the recommender that finds them.
        present: the ids of the items in the graph.
        neighbours: the most neighbours per item.
        sources: the items whose neighbours are found; None: all that are present.
    """
    k = min(neighbours, len(recommender.bundle.items))
    wanted = present if sources is None else sources
    for start in range(0, len(wanted), _BLOCK_ITEMS):
        columns: tuple[list[str], list[str], list[float]] = ([], [], [])
        block = wanted[start : start + _BLOCK_ITEMS]
        for item, found in recommender.similar_many(block, k, candidates=present).items():
            columns[0].extend([item] * len(found))
            columns[1].extend(other.item for other in found)
            columns[2].extend(other.score for other in found)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, LISTS, strict=True)]
        yield pa.Table.from_arrays(arrays, schema=LISTS)


def find_recommendations(
    recommender: Recommender, users: Sequence[str], present: Sequence[str], k: int
) -> Iterator[pa.Table]:
    """Yields, in blocks, the k best items for every user among the items in the graph."""
    for start in range(0, len(users), _BLOCK_USERS):
        found = recommender.recommend_many(users[start : start + _BLOCK_USERS], k=k, candidates=present)
        yield found.select(["user", "item", "score"]).rename_columns([SOURCE, TARGET, "score"])
