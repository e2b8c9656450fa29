"""Ranked lists of nodes: in batches, and compared with those of the version before."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import pyarrow as pa

from graph_schema import SOURCE, TARGET

_SAME_SCORE = 1e-5  # of the greatest score of a list: scores that differ by less stay as they are


def compare_lists(
    before: Mapping[str, float], now: Sequence[tuple[str, float]]
) -> tuple[list[str], list[tuple[str, float]]]:
    """What of a list ends, and what is new in it; an entry whose score has moved does both.

    Args:
        before: target -> its score.
        now: the targets and their scores, the best first.

    Returns:
        The targets that end, and those that are new with their scores.
    """
    if not before:
        return [], list(now)
    most = _SAME_SCORE * max((abs(score) for _, score in now), default=0.0)
    stays = {target for target, score in now if target in before and abs(before[target] - score) <= most}
    stored = [before[target] if target in stays else score for target, score in now]
    if any(one < other for one, other in pairwise(stored)):  # the old scores would rank otherwise
        stays = {target for target, score in now if before.get(target) == score}
    ended = [target for target in before if target not in stays]
    return ended, [(target, score) for target, score in now if target not in stays]


def batch_lists(
    tables: Iterable[pa.Table], sources: Mapping[str, str], targets: Mapping[str, str], most: int
) -> Iterator[list[tuple[str, list[tuple[str, float]]]]]:
    """Yields lists with element ids for ids, about `most` relationships at a time.

    Args:
        tables: with the columns source, target and score; a list is never split between two of them.
        sources: id -> element id of the nodes whose lists they are.
        targets: likewise of the nodes in lists.
        most: relationships of one batch.
    """
    for table in tables:
        batch: list[tuple[str, list[tuple[str, float]]]] = []
        n_edges = 0
        ids = table[SOURCE].to_pylist()
        entries = list(
            zip((targets[id_] for id_ in table[TARGET].to_pylist()), table["score"].to_pylist(), strict=True)
        )
        starts = [place for place in range(len(ids)) if place == 0 or ids[place] != ids[place - 1]]
        for start, end in pairwise([*starts, len(ids)]):
            batch.append((sources[ids[start]], entries[start:end]))
            n_edges += end - start
            if n_edges >= most:
                yield batch
                batch, n_edges = [], 0
        if batch:
            yield batch
