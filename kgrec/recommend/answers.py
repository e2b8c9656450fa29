"""What a Recommender answers with: plain frozen values."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from kgrec.graph.paths import ReasonPath


@dataclass(frozen=True)
class Recommendation:
    """One recommended item.

    Attributes:
        item: its id.
        rank: from 1.
        score: higher is better; comparable within one answer only.
        title: its name; None when it has none.
        reason: why, in words; None unless reasons were asked for.
    """

    item: str
    rank: int
    score: float
    title: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Recommendations:
    """An answer: a sequence of recommendations, best first.

    Attributes:
        items: the recommendations.
        unknown: ids of the request that the catalogue does not know; they had no effect.
        notes: what the asker should know about the answer, a sentence each.
    """

    items: tuple[Recommendation, ...]
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """How many there are."""
        return len(self.items)

    def __iter__(self) -> Iterator[Recommendation]:
        """The recommendations, best first."""
        return iter(self.items)

    def __getitem__(self, place: int) -> Recommendation:
        """The recommendation at a place, from 0."""
        return self.items[place]

    @property
    def ids(self) -> tuple[str, ...]:
        """The items' ids, best first."""
        return tuple(found.item for found in self.items)

    def to_table(self) -> pa.Table:
        """Columns item, rank, score, title, reason."""
        return pa.table(
            {
                "item": pa.array([found.item for found in self.items], pa.string()),
                "rank": pa.array([found.rank for found in self.items], pa.int64()),
                "score": pa.array([found.score for found in self.items], pa.float64()),
                "title": pa.array([found.title for found in self.items], pa.string()),
                "reason": pa.array([found.reason for found in self.items], pa.string()),
            }
        )


@dataclass(frozen=True)
class Share:
    """What one thing adds to a score.

    Attributes:
        source: "like", "sentence", or "everybody" (popularity and the average user).
        value: what it adds; negative when it speaks against the item.
        item: the liked item's id, for a like.
        title: its name.
        paths: real paths through the graph from the recommended item to the liked one, the most telling first.
    """

    source: Literal["like", "sentence", "everybody"]
    value: float
    item: str | None = None
    title: str | None = None
    paths: tuple[ReasonPath, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """Why an item has its score.

    Attributes:
        item: its id.
        title: its name.
        score: the sum of the shares.
        shares: what each like, the sentence and everybody else add, the largest first.
        reason: the most telling of it, in words.
    """

    item: str
    title: str | None
    score: float
    shares: tuple[Share, ...]
    reason: str
