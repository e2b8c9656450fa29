"""The answers of a Recommender: plain frozen values."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Literal, overload

import pyarrow as pa

from kgrec.graph.paths import ReasonPath

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Recommendation:
    """One recommended item.

    Attributes:
        item: its id.
        rank: from 1.
        score: higher is better; comparable within one answer only.
        title: its name; None when it has none.
        reason: the main reason as a sentence; None without `explain`, and where there is none to tell.
        pitch: one or two sentences that recommend it, from facts that are true for the user; None without `pitch`.
    """

    item: str
    rank: int
    score: float
    title: str | None = None
    reason: str | None = None
    pitch: str | None = None


@dataclass(frozen=True)
class Recommendations:
    """An answer: a sequence of recommendations, best first.

    Attributes:
        items: the recommendations.
        unknown: ids of the request that the catalogue does not have; they have no effect.
        notes: sentences about the answer, for example that it rests on popularity alone.
    """

    items: tuple[Recommendation, ...]
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """The number of recommendations."""
        return len(self.items)

    def __iter__(self) -> Iterator[Recommendation]:
        """The recommendations, best first."""
        return iter(self.items)

    @overload
    def __getitem__(self, place: int) -> Recommendation: ...
    @overload
    def __getitem__(self, place: slice) -> "Recommendations": ...
    def __getitem__(self, place: int | slice) -> "Recommendation | Recommendations":
        """The recommendation at a position, from 0; for a slice, an answer with only these, ranks unchanged."""
        return replace(self, items=self.items[place]) if isinstance(place, slice) else self.items[place]

    @property
    def ids(self) -> tuple[str, ...]:
        """The items' ids, best first."""
        return tuple(found.item for found in self.items)

    def to_table(self) -> pa.Table:
        """Returns a pyarrow Table with the columns item, rank, score, title and reason, and pitch if there are any."""
        columns = {
            "item": pa.array([found.item for found in self.items], pa.string()),
            "rank": pa.array([found.rank for found in self.items], pa.int64()),
            "score": pa.array([found.score for found in self.items], pa.float64()),
            "title": pa.array([found.title for found in self.items], pa.string()),
            "reason": pa.array([found.reason for found in self.items], pa.string()),
        }
        pitches = [found.pitch for found in self.items]
        return pa.table(columns | ({"pitch": pa.array(pitches, pa.string())} if any(pitches) else {}))

    def to_pandas(self) -> "pd.DataFrame":
        """Returns a DataFrame with the columns of `to_table`."""
        return self.to_table().to_pandas()

    def _repr_html_(self) -> str:
        """An HTML table for notebooks: columns of reasons and pitches if there are any, and the notes below."""
        texts = ["title"] + [
            column for column in ("reason", "pitch") if any(getattr(found, column) is not None for found in self.items)
        ]
        rows = [
            (found.item, str(found.rank), f"{found.score:.3f}", *(getattr(found, column) or "" for column in texts))
            for found in self.items
        ]
        head = "".join(f"<th>{column}</th>" for column in ("item", "rank", "score", *texts))
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}"


@dataclass(frozen=True)
class Share:
    """The contribution of one source to a score.

    Attributes:
        source: "like", "sentence", "profile" (the user's own links, attributes and text), or "everybody" (popularity
            and the average user).
        value: what it adds to the score; negative where it lowers the score.
        item: the liked item's id, for a like.
        title: its name; for the profile, what is known of the user: "friends and town".
        paths: paths in the graph from the recommended item to the liked item, the most specific first.
    """

    source: Literal["like", "sentence", "profile", "everybody"]
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
        shares: what each like, the sentence, the profile and the average user add, the largest first.
        reason: the main reason as a sentence.
        unknown: likes that the catalogue does not have; they have no effect.
    """

    item: str
    title: str | None
    score: float
    shares: tuple[Share, ...]
    reason: str
    unknown: tuple[str, ...] = ()
