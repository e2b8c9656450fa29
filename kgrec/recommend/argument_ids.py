"""Checks ids and texts that callers give."""

from collections.abc import Iterable, Set
from numbers import Integral

from graph_schema.checks.columns import MOST_ID_BYTES
from kgrec.errors import RequestError

_IN_ORDER = "likes"  # the ids of a request whose order counts


def is_id(id_: object) -> bool:
    """Whether an id is a text or an integer."""
    return isinstance(id_, str | Integral) and not isinstance(id_, bool)


def to_id(id_: object, what: str) -> str:
    """An id as text; an integer becomes its digits.

    Raises:
        RequestError: it is neither.
    """
    if not is_id(id_):
        raise RequestError(f"expected {what} as a text or an integer, got {id_!r}")
    return id_ if isinstance(id_, str) else str(int(id_))  # type: ignore[call-overload]


def to_ids(ids: Iterable[str | int] | None, what: str) -> tuple[str, ...]:
    """The ids of a list as texts; empty for None. A single text is refused: it is one id, not a list of letters.

    Args:
        ids: the ids; of "likes" no set, because a set has no order, and the last like counts most.
        what: the argument that they come from.

    Raises:
        RequestError: it is not a list, or an id is neither a text nor an integer.
    """
    if isinstance(ids, str):
        raise RequestError(f"expected a list of ids as {what}, got the text {ids!r}; give [{ids!r}]")
    if hasattr(ids, "columns"):
        raise RequestError(f"expected a list of ids as {what}, got a {type(ids).__name__}; give one of its columns")
    if what == _IN_ORDER and isinstance(ids, Set):
        raise RequestError(f"{what} are in order, the last one last: give a list; got a {type(ids).__name__}")
    if ids is not None and not isinstance(ids, Iterable):
        raise RequestError(f"expected a list of ids as {what}, got {ids!r}; give [{ids!r}]")
    return () if ids is None else tuple(to_id(id_, f"each of {what}") for id_ in ids)


def check_text(text: str, what: str) -> None:
    """Checks that a bundle can store a text.

    Raises:
        RequestError: it is not a text, is blank, or is not valid Unicode.
    """
    if not isinstance(text, str) or not text.strip():
        raise RequestError(f"expected {what} as a text that is not blank, got {text!r}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestError(f"{what} is not valid Unicode: {text!r}; expected text without lone surrogates") from error


def check_new_id(id_: object, what: str) -> str:
    """An id as text, which a bundle and a graph database can store.

    Raises:
        RequestError: it is neither text nor integer, is blank, is not valid Unicode, or is too long.
    """
    found = to_id(id_, what)
    check_text(found, what)
    if len(found.encode()) > MOST_ID_BYTES:
        raise RequestError(f"{what} has {len(found.encode()):,} bytes; expected at most {MOST_ID_BYTES:,}")
    return found
