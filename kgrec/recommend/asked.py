"""The arguments of a request that describe its user."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from kgrec.errors import RequestError
from kgrec.recommend.argument_ids import to_id, to_ids
from kgrec.recommend.links import read_links
from kgrec.recommend.sequence_argument import LikeTime, read_sequence
from kgrec.recommend.state import check_words


@dataclass(frozen=True)
class Asked:
    """The user of a request, as in the arguments of `Recommender.recommend`; it can be hashed.

    Attributes:
        user: id of a known user.
        likes: ids of liked items, the last one last.
        times: when each of them was, UTC seconds, None where it is missing; empty: the order alone is known, and each
            item is there once. Where all are missing, they are made empty.
        in_sequence: whether the likes were given as `sequence`, for messages.
        text: a sentence.
        links: pairs (edge type, id of the linked node).
        values: pairs (attribute, value); a list is a tuple.
    """

    user: str | None = None
    likes: tuple[str, ...] = ()
    text: str | None = None
    links: tuple[tuple[str, str], ...] = ()
    values: tuple[tuple[str, object], ...] = ()
    times: tuple[int | None, ...] = ()
    in_sequence: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        """Drops repeated likes where only the order is known: the last place of each counts."""
        if all(time is None for time in self.times):
            object.__setattr__(self, "likes", keep_last(self.likes))
            object.__setattr__(self, "times", ())

    @property
    def attributes(self) -> dict[str, object]:
        """Attribute -> value."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self.values}


def read_asked(
    user: str | None,
    likes: Iterable[str] | None,
    text: str | None,
    links: Iterable[tuple[str, str]] | None,
    attributes: Mapping[str, object] | None,
    sequence: Iterable[tuple[str | int, LikeTime]] | None = None,
) -> Asked:
    """Checks the user of a request as far as possible without a bundle.

    Raises:
        RequestError: an id is neither a text nor an integer, the text has no words, a link, `attributes` or `sequence`
            has another form, a time cannot be read, or there are both likes and a sequence.
    """
    if likes is not None and sequence is not None:
        raise RequestError(
            "got both likes and a sequence; expected one of them: put the likes into the sequence, with None as their "
            "times"
        )
    if text is not None:
        check_words(text)
    checked = check_attributes(attributes)
    items, times = (to_ids(likes, "likes"), ()) if sequence is None else read_sequence(sequence)
    return Asked(
        None if user is None else to_id(user, "user"),
        items,
        text,
        tuple(read_links(links or ())),
        freeze_values(checked),
        times,
        in_sequence=sequence is not None,
    )


def keep_last(ids: Iterable[str]) -> tuple[str, ...]:
    """Ids, each once, where it is for the last time."""
    return tuple(dict.fromkeys(reversed(tuple(ids))))[::-1]


def freeze_values(attributes: Mapping[str, object]) -> tuple[tuple[str, object], ...]:
    """Attributes as `Asked.values`.

    Raises:
        RequestError: a value is neither a single value nor a list of them.
    """
    found = []
    for name, value in attributes.items():
        frozen = tuple(value) if isinstance(value, list | set | np.ndarray) else value
        try:
            hash(frozen)
        except TypeError as error:
            raise RequestError(
                f"the attribute {name!r} is {value!r}; expected one value, or a list of values"
            ) from error
        found.append((name, frozen))
    return tuple(found)


def check_attributes(attributes: Mapping[str, object] | None) -> Mapping[str, object]:
    """The attributes of a request, empty for None.

    Raises:
        RequestError: they are no mapping from names to values.
    """
    if attributes is not None and not isinstance(attributes, Mapping):
        raise RequestError(f"expected attributes as a mapping from name to value, got {attributes!r}")
    return attributes or {}
