"""The neighbours of items after a few vectors have changed, from those that were published before."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kgrec.publish.ranked_lists import LISTS, find_neighbours
from kgrec.recommend import Recommender
from kgrec.store.neo4j.published_state import BATCH_LISTS, CHANGED, PublishedState
from kgrec.store.neo4j.release import SIMILAR_TO


@dataclass(frozen=True)
class MovedLists:
    """The items whose neighbours may differ from those of the version before; those of all others are the same.

    These are the items with another vector, those that had such an item or one that is gone in their list, those whose
    list it now enters, and those whose list was not full.

    Attributes:
        before: the version before.
        elements: item -> element id of its node.
        ids: the items that have a vector.
        vectors: (n, dim) their unit vectors.
        changed: the element ids of those whose vectors are new.
        gone: the element ids of nodes that had a vector and have none now.
        neighbours: the most neighbours per item.
    """

    before: PublishedState
    elements: Mapping[str, str]
    ids: Sequence[str]
    vectors: NDArray[np.float32]
    changed: Collection[str]
    gone: Collection[str]
    neighbours: int

    @property
    def items(self) -> list[str]:
        """Their ids."""
        return [self.ids[row] for row in np.concatenate([self._anew, self._touched]).tolist()]

    def find(self, recommender: Recommender, present: Sequence[str]) -> Iterator[pa.Table]:
        """Yields their neighbours, in blocks, as `find_neighbours` does.

        A list of an item whose own vector has not changed is the one before, without what has changed or is gone, and
        with what enters it. Where it would be short then, it is found anew.

        Args:
            recommender: the recommender that finds them.
            present: the ids of the items in the graph.
        """
        anew = self._anew.tolist()
        for start in range(0, len(self._touched), BATCH_LISTS):
            rows = self._touched[start : start + BATCH_LISTS]
            lists = self.before.lists(SIMILAR_TO, [self._own[row] for row in rows.tolist()])
            columns: tuple[list[str], list[str], list[float]] = ([], [], [])
            for row, scores in zip(rows.tolist(), self.vectors[rows] @ self._new.T, strict=True):
                found = self._patch(row, lists[self._own[row]], scores)
                if found is None:
                    anew.append(row)
                    continue
                columns[0].extend([self.ids[row]] * len(found))
                columns[1].extend(id_ for _, id_ in found)
                columns[2].extend(-score for score, _ in found)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, LISTS, strict=True)]
            yield pa.Table.from_arrays(arrays, schema=LISTS)
        yield from find_neighbours(recommender, present, self.neighbours, [self.ids[row] for row in anew])

    def _patch(
        self, row: int, before: Mapping[str, float], scores: NDArray[np.float32]
    ) -> list[tuple[float, str]] | None:
        """The new list of an item as (negative score, id), in order; None: it is short of what comes after its end."""
        least = self._least[row]
        found = [
            (-score, self._id_of[element])
            for element, score in before.items()
            if element not in self.changed and element in self._id_of
        ]
        entering = np.flatnonzero(scores >= least).tolist()
        found += [(-float(scores[place]), self.ids[self._new_rows[place]]) for place in entering]
        return sorted(found)[: self.neighbours] if len(found) >= self.neighbours else None

    @cached_property
    def _own(self) -> list[str]:
        return [self.elements[id_] for id_ in self.ids]

    @cached_property
    def _id_of(self) -> dict[str, str]:
        return dict(zip(self._own, self.ids, strict=True))

    @cached_property
    def _new_rows(self) -> NDArray[np.int64]:
        return np.flatnonzero([element in self.changed for element in self._own])

    @cached_property
    def _new(self) -> NDArray[np.float32]:
        return self.vectors[self._new_rows]

    @cached_property
    def _sizes(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        sizes = self.before.sizes(SIMILAR_TO)
        found = [sizes.get(element, (0, 0.0)) for element in self._own]
        return np.array([n for n, _ in found], np.int64), np.array([least for _, least in found])

    @property
    def _least(self) -> NDArray[np.float64]:
        """(n,) the least score in the list of each item."""
        return self._sizes[1]

    @cached_property
    def _anew(self) -> NDArray[np.int64]:
        """The rows of the items whose lists are found anew in any case."""
        is_anew = self._sizes[0] < self.neighbours
        is_anew[self._new_rows] = True
        return np.flatnonzero(is_anew)

    @cached_property
    def _touched(self) -> NDArray[np.int64]:
        """The rows of the others whose lists an item has left or enters."""
        had = self.before.sources(SIMILAR_TO, [*self.changed, *self.gone])
        is_touched = np.array([element in had for element in self._own], np.bool_)
        if len(self._new):
            for start in range(0, len(self.ids), BATCH_LISTS):
                part = slice(start, start + BATCH_LISTS)
                best = (self.vectors[part] @ self._new.T).max(axis=1)
                is_touched[part] |= best > self._least[part] - CHANGED
        is_touched[self._anew] = False
        return np.flatnonzero(is_touched)
