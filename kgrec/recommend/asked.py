"""The arguments of a request that describe its user."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from kgrec.errors import RequestError
from kgrec.recommend.argument_ids import to_id, to_ids
from kgrec.recommend.links import read_links
from kgrec.recommend.state import check_words


@dataclass(frozen=True)
class Asked:
    """The user of a request, as in the arguments of `Recommender.recommend`; it can be hashed.

    Attributes:
        user: id of a known user.
        likes: ids of liked items.
        text: a sentence.
        links: pairs (edge type, id of the linked node).
        values: pairs (attribute, value); a list is a tuple.
    """

    user: str | None = None
    likes: tuple[str, ...] = ()
    text: str | None = None
    links: tuple[tuple[str, str], ...] = ()
    values: tuple[tuple[str, object], ...] = ()

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
) -> Asked:
    """Checks the user of a request as far as possible without a bundle.

    Raises:
        RequestError: an id is neither a text nor an integer, the text has no words, or a link or `attributes` has
            another form.
    """
    if text is not None:
        check_words(text)
    checked = check_attributes(attributes)
    return Asked(
        None if user is None else to_id(user, "user"),
        to_ids(likes, "likes"),
        text,
        tuple(read_links(links or ())),
        freeze_values(checked),
    )


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
