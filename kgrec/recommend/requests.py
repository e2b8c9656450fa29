"""Turns a request's ids into rows, and masks the items that may not be recommended."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from graph_schema.columns import MOST_ID_BYTES
from kgrec.errors import RequestError
from kgrec.model.component import Support
from kgrec.model.sentence import find_fitting
from kgrec.recommend.state import State

# Gibberish reaches .22 to .41 in catalogues of films, of books and of a toy shop, sentences that fit .50 to .83.
_STANDS_OUT = 0.45


@dataclass(frozen=True)
class Request:
    """One user's request in rows.

    Attributes:
        likes: (n,) int64, the items that the user likes.
        sentence: (text_dim,) float32, the vector of the sentence; None without one.
        fits: (n_items,) bool, the items whose texts fit the sentence; None without one.
    """

    likes: NDArray[np.int64]
    sentence: NDArray[np.float32] | None = None
    fits: NDArray[np.bool_] | None = None


def check_k(k: int) -> None:
    """Checks that k is a whole number of at least 1. There may be fewer items: then all of them are listed."""
    if not isinstance(k, Integral) or isinstance(k, bool) or int(k) < 1:
        raise RequestError(f"expected k of at least 1, a whole number, got {k!r}")


def find_user(state: State, user: str) -> int:
    """The row of a user.

    Raises:
        RequestError: there is none.
    """
    user = to_id(user, "user")
    row = state.bundle.users.row(user)
    if row is None:
        raise RequestError(
            f"unknown user {user!r}: not among the {len(state.bundle.users)} users of this bundle; "
            f"give the user's likes or a text instead, or add interactions"
        )
    return row


def find_item(state: State, item: str) -> int:
    """The row of an item.

    Raises:
        RequestError: there is none.
    """
    item = to_id(item, "item")
    row = state.bundle.items.row(item)
    if row is None:
        raise RequestError(f"unknown item {item!r}: not among the {len(state.bundle.items)} items of this bundle")
    return row


def find_items(state: State, ids: Sequence[str], what: str, unknown: list[str]) -> NDArray[np.int64]:
    """The rows of item ids; unknown ids are appended to `unknown`.

    Raises:
        RequestError: ids are given, and none is known.
    """
    asked = list(dict.fromkeys(ids))
    rows = state.bundle.items.rows(asked)
    unknown += [id_ for id_, row in zip(asked, rows, strict=True) if row < 0]
    if asked and (rows < 0).all():
        raise RequestError(
            f"none of the {len(asked)} ids given as {what} is an item of this bundle: "
            f"{', '.join(map(repr, asked[:5]))}; expected ids as in the catalogue, such as "
            f"{state.bundle.items.ids[0]!r}"
        )
    return rows[rows >= 0]


def find_support(state: State, user: str | None, likes: Sequence[str], unknown: list[str]) -> NDArray[np.int64]:
    """The rows of a user's likes and of further likes; unknown ids are appended to `unknown`."""
    own = select_row(state.bundle.liked, None if user is None else find_user(state, user))
    given = find_items(state, likes, "like", unknown)
    return np.union1d(own, given).astype(np.int64) if len(given) else own


def mask_items(
    state: State, candidates: Sequence[str] | None, exclude: Sequence[str], unknown: list[str]
) -> NDArray[np.bool_]:
    """(n_items,) bool: the items that may not be recommended; unknown ids are appended to `unknown`.

    Raises:
        RequestError: candidates are given, but the list is empty or none is known.
    """
    masked = np.zeros(len(state.bundle.items), np.bool_)
    if candidates is not None:
        if not candidates:
            raise RequestError("candidates is empty; expected at least one item id, or leave candidates out")
        masked[:] = True
        masked[find_items(state, candidates, "candidates", unknown)] = False
    for id_ in exclude:
        row = state.bundle.items.row(id_)
        if row is None:
            unknown.append(id_)
        else:
            masked[row] = True
    return masked


def to_request(state: State, likes: NDArray[np.int64], text: str | None) -> Request:
    """The request of a user with these likes, (n,) rows, and an optional sentence.

    Raises:
        RequestError: the text has no words, or the encoder is not the bundle's.
        TextError: the encoder cannot be loaded.
    """
    if text is None:
        return Request(likes)
    sentence = state.sentences.encode(text, state.bundle)
    return Request(likes, sentence, _find_fitting(state, sentence))


def _find_fitting(state: State, sentence: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(n_items,) bool: the items whose texts fit a sentence.

    The nearest text must be nearer than the mean by at least `_STANDS_OUT` of what a text is nearer to itself than to
    others; else none fits.
    """
    model = state.bundle.model
    text = model.text.numpy()
    nearness = text @ sentence
    has_text: NDArray[np.bool_] = np.asarray(text.any(axis=1))
    n_texts = int(has_text.sum())
    mean = model.likeness.text_mean[: text.shape[1]]
    usual = float(mean @ mean * n_texts - 1) / max(n_texts - 1, 1)  # mean of two texts; vectors have length 1
    others = mean @ sentence if n_texts > 1 else 0.0
    if not n_texts or nearness[has_text].max() - others < _STANDS_OUT * (1 - usual):
        return np.zeros(len(text), np.bool_)
    fits: NDArray[np.bool_] = find_fitting(nearness[None], has_text[None])[0]
    return fits


def to_support(state: State, request: Request) -> Support:
    """The support of a request, as the model reads it."""
    model = state.bundle.model
    likes = to_matrix([request.likes], model.n_items)
    return Support(likes) if request.sentence is None else model.with_sentence(likes, request.sentence[None])


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

    Raises:
        RequestError: it is not a list, or an id is neither a text nor an integer.
    """
    if isinstance(ids, str):
        raise RequestError(f"expected a list of ids as {what}, got the text {ids!r}; give [{ids!r}]")
    if hasattr(ids, "columns"):
        raise RequestError(f"expected a list of ids as {what}, got a {type(ids).__name__}; give one of its columns")
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


def select_row(matrix: csr_array, row: int | None) -> NDArray[np.int64]:
    """The columns of the entries in one row of a matrix, (n,); empty for None."""
    if row is None:
        return np.zeros(0, np.int64)
    found: NDArray[np.int64] = matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]].astype(np.int64)
    return found


def to_matrix(rows: Sequence[NDArray[np.int64]], n_items: int) -> csr_array:
    """(len(rows), n_items) with an entry for each column named."""
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    indices = np.concatenate([np.zeros(0, np.int64), *rows])
    return csr_array((np.ones(len(indices), np.float32), indices, indptr), shape=(len(rows), n_items))
