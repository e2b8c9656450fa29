"""The lists that are found from the published ones are those that a search from scratch finds."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kgrec.publish.moved_lists import MovedLists
from kgrec.publish.ranked_lists import find_neighbours

N, DIM, K = 60, 6, 5
Lists = dict[str, dict[str, float]]


def draw(n: int, seed: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(n, DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


class Exact:
    """A recommender that compares some vectors, and notes whose neighbours it was asked for."""

    def __init__(self, vectors: dict[str, NDArray[np.float32]]) -> None:
        self.vectors, self.asked = vectors, list[str]()
        self.bundle = SimpleNamespace(items=list(vectors))

    def similar_many(self, items: list[str], k: int, candidates: list[str]) -> dict[str, Any]:
        self.asked += items
        found = {}
        for item in items:
            scores = {one: float(self.vectors[one] @ self.vectors[item]) for one in candidates if one != item}
            best = sorted(((-score, one) for one, score in scores.items() if score > 1e-7))[:k]
            found[item] = [SimpleNamespace(item=one, score=-score) for score, one in best]
        return found


class Before:
    """What was published, with the element id e-ID for each id."""

    def __init__(self, lists: Lists) -> None:
        self._lists = {f"e-{one}": {f"e-{other}": score for other, score in own.items()} for one, own in lists.items()}

    def sizes(self, kind: str) -> dict[str, tuple[int, float]]:
        return {one: (len(own), min(own.values())) for one, own in self._lists.items() if own}

    def sources(self, kind: str, targets: list[str]) -> set[str]:
        return {one for one, own in self._lists.items() if own.keys() & set(targets)}

    def lists(self, kind: str, sources: list[str]) -> Lists:
        return {one: self._lists[one] for one in sources}


def read(tables: Any) -> Lists:
    found: Lists = {}
    for table in tables:
        for row in table.to_pylist():
            found.setdefault(row["source"], {})[row["target"]] = row["score"]
    return found


@pytest.mark.parametrize("n_changed", [0, 1, 4])
@pytest.mark.parametrize("n_gone", [0, 2])
@pytest.mark.parametrize("n_new", [0, 3])
def test_patched_lists_are_those_of_a_search_from_scratch(n_changed: int, n_gone: int, n_new: int) -> None:
    ids = [f"i{n:02}" for n in range(N)]
    were = dict(zip(ids, draw(N, 0), strict=True))
    before = read(find_neighbours(Exact(were), ids, K))  # type: ignore[arg-type]
    now = dict(were)
    for id_, vector in zip(ids[10 : 10 + n_changed], draw(n_changed, 1), strict=True):
        now[id_] = vector
    gone = ids[30 : 30 + n_gone]
    for id_ in gone:
        del now[id_]
    new = [f"n{n}" for n in range(n_new)]
    now |= dict(zip(new, draw(n_new, 2), strict=True))
    recommender: Any = Exact(now)
    state: Any = Before(before)
    changed = {f"e-{id_}" for id_ in (*ids[10 : 10 + n_changed], *new)}
    moved = MovedLists(
        state, {id_: f"e-{id_}" for id_ in now}, list(now), np.stack(list(now.values())), changed,
        {f"e-{id_}" for id_ in gone}, K,
    )  # fmt: skip
    found = read(moved.find(recommender, list(now)))
    n_searched = len(set(recommender.asked))
    wanted = read(find_neighbours(recommender, list(now), K))
    assert found.keys() <= set(moved.items)
    for id_ in now:
        assert list((found if id_ in moved.items else before)[id_]) == list(wanted[id_])
    if not n_changed and not n_gone:
        assert n_searched == n_new  # what only gains an item is not searched again
    assert n_searched < N or n_changed + n_gone > 4
