"""A request for a list, with its arguments checked as far as possible without a bundle."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path

from kgrec.pitch import Pitches, read_pitches
from kgrec.recommend.argument_ids import to_ids
from kgrec.recommend.asked import Asked, read_asked
from kgrec.recommend.diversity import Variety, read_variety
from kgrec.recommend.requests import check_k
from kgrec.recommend.sequence_argument import LikeTime
from kgrec.recommend.tail import check_dial

_LARGE_REQUEST = 1000  # ids in a request; answers to larger requests are not cached


@dataclass(frozen=True)
class ListRequest:
    """A request for a list; see the arguments of `Recommender.recommend`.

    Attributes:
        asked: the user.
        k: the number of items.
        candidates: the ids that may be recommended; None: all.
        exclude: ids to leave out.
        tail: the tail dial.
        variety: diversity and limits.
        filter_seen: whether to leave out what the user knows.
        explain: whether to give reasons.
        pitches: how to write pitches; None: there are none.
    """

    asked: Asked
    k: int = 10
    candidates: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    _: KW_ONLY
    tail: float = 0.0
    variety: Variety = field(default_factory=Variety)
    filter_seen: bool = True
    explain: bool = False
    pitches: Pitches | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it asks for a list alone, and not by a sentence: it can be answered together with others."""
        return self.asked.text is None and not self.explain and self.pitches is None and self.variety == Variety()

    @property
    def key(self) -> Hashable:
        """The key of its answer in a cache; None: the answer is large, or may be another the next time."""
        if self.pitches is not None and self.pitches.writer is not None:  # which may be in time the next time
            return None
        if self.k + len(self.asked.likes) + len(self.candidates or ()) + len(self.exclude) > _LARGE_REQUEST:
            return None
        words = self.pitches and self.pitches.words
        return (
            self.asked, self.k, self.candidates, self.exclude, self.tail, self.variety, self.filter_seen, self.explain,
            words,
        )  # fmt: skip


def read_list_request(
    user: str | None = None,
    likes: Sequence[str] | None = None,
    text: str | None = None,
    *,
    sequence: Iterable[tuple[str, LikeTime]] | None = None,
    links: Iterable[tuple[str, str]] | None = None,
    attributes: Mapping[str, object] | None = None,
    k: int = 10,
    candidates: Iterable[str] | None = None,
    exclude: Iterable[str] | None = None,
    filter_seen: bool = True,
    tail: float = 0.0,
    diversity: float = 0.0,
    at_most: Mapping[str, int] | None = None,
    explain: bool = False,
    pitch: bool | str | Path | Pitches = False,
) -> ListRequest:
    """Reads the arguments of `Recommender.recommend`.

    Raises:
        RequestError: an argument is wrong, whatever the bundle is.
    """
    check_k(k)
    check_dial(tail)
    variety, pitches = read_variety(diversity, at_most), read_pitches(pitch)
    asked = read_asked(user, likes, text, links, attributes, sequence)
    allowed = None if candidates is None else to_ids(candidates, "candidates")
    return ListRequest(
        asked, k, allowed, to_ids(exclude, "exclude"), tail=tail, variety=variety, filter_seen=filter_seen,
        explain=explain, pitches=pitches,
    )  # fmt: skip
