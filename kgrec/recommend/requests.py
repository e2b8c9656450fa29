"""Turns a request's ids into rows, and masks the items that may not be recommended."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Integral

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.errors import RequestError
from kgrec.graph.attribute_values import split_name
from kgrec.model.component import Support
from kgrec.model.sentence import find_fitting
from kgrec.recommend.argument_ids import to_id
from kgrec.recommend.asked import Asked
from kgrec.recommend.link_features import read_user_features
from kgrec.recommend.links import add_paths_to_values, group_edges, read_attributes, resolve_links
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
        links: (n,) int64, the link features of the user.
        prior: (dim,) float32, what the user's links, attributes and text say; None: nothing.
    """

    likes: NDArray[np.int64]
    sentence: NDArray[np.float32] | None = None
    fits: NDArray[np.bool_] | None = None
    links: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    prior: NDArray[np.float32] | None = None


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


def read_request(state: State, asked: Asked, unknown: list[str]) -> Request:
    """Turns a request into rows and vectors; unknown ids are appended to `unknown`.

    Raises:
        RequestError: the user is unknown, none of the likes is known, the model reads no such link or attribute, the
            text has no words, or the encoder is not the bundle's.
        TextError: the encoder cannot be loaded.
    """
    likes = find_support(state, asked.user, asked.likes, unknown)
    sentence = fits = None
    if asked.text is not None:
        sentence = state.sentences.encode(asked.text, state.bundle)
        fits = _find_fitting(state, sentence)
    row = None if asked.user is None else find_user(state, asked.user)
    if row is not None and not asked.links and not asked.attributes:
        links = select_row(state.user_links, row)
        prior = None if state.user_priors is None else state.user_priors[row]
    else:
        links = _find_user_links(state, row, asked, unknown)
        prior = _place_user(state, row, links, sentence)
    return Request(likes, sentence, fits, links, prior if prior is not None and prior.any() else None)


def _find_user_links(state: State, row: int | None, asked: Asked, unknown: list[str]) -> NDArray[np.int64]:
    """The link features of a user and those that a request adds; a new user's other attributes are missing."""
    own = select_row(state.user_links, row)
    if not asked.links and not asked.attributes:
        return own
    bundle, user_type, new_row = state.bundle, state.bundle.schema.user_type, len(state.bundle.users)
    values, no_values = read_attributes(bundle, user_type, asked.attributes)
    if row is not None:
        values = [
            (edge_type, id_) for edge_type, id_ in values if split_name(bundle.schema, edge_type)[1] in asked.attributes
        ]
    found, not_found = resolve_links(bundle, user_type, new_row, [*asked.links, *values], {})
    unknown += [*not_found, *no_values]
    edges = add_paths_to_values(bundle, group_edges(found))
    added = read_user_features(bundle, edges, np.array([new_row]))
    return np.union1d(own, added.indices).astype(np.int64)


def _place_user(
    state: State, row: int | None, links: NDArray[np.int64], sentence: NDArray[np.float32] | None
) -> NDArray[np.float32] | None:
    """What links and a text say of one user, (dim,); a sentence of somebody unknown counts as the user's text."""
    bundle = state.bundle
    if bundle.model.user_prior is None:
        return None
    text = np.zeros((1, bundle.user_text.shape[1]), np.float32)
    if text.shape[1] and (row is not None or sentence is not None):
        text[0] = bundle.user_text[row].numpy() if row is not None else sentence
    placed: NDArray[np.float32] = bundle.model.place_users(text, to_matrix([links], len(bundle.user_link_node)))[0]
    return placed


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
    prior = None if request.prior is None else torch.from_numpy(request.prior[None])
    if request.sentence is None:
        return Support(likes, prior=prior)
    return model.with_sentence(likes, request.sentence[None], prior)


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
