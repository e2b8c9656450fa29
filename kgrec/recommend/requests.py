"""Turns a request's ids into rows, and masks the items that may not be recommended."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from kgrec.errors import RequestError
from kgrec.graph.attribute_values import split_name
from kgrec.graph.value_codes import MISSING
from kgrec.model.component import Support
from kgrec.model.linked_likes import sum_likes_of_linked, weigh_linked_users
from kgrec.model.sentence import find_fitting
from kgrec.recommend.argument_ids import to_id
from kgrec.recommend.asked import Asked
from kgrec.recommend.like_order import Moments, PlacedLikes, find_moments, join_moments, place_likes, to_order
from kgrec.recommend.link_features import read_user_features
from kgrec.recommend.linked_nodes import collect_links
from kgrec.recommend.links import add_paths_to_values, find_far_end, group_edges, read_attributes, resolve_links
from kgrec.recommend.state import State

# Gibberish reaches .22 to .41 in catalogues of films, of books and of a toy shop, sentences that fit .50 to .83.
_STANDS_OUT = 0.45


@dataclass(frozen=True)
class Request:
    """One user's request in rows.

    Attributes:
        likes: (n,) int64, the items that the user likes, ascending.
        sentence: (text_dim,) float32, the vector of the sentence; None without one.
        fits: (n_items,) bool, the items whose texts fit the sentence; None without one.
        prior: (dim,) float32, what the user's links, attributes and text say; None: nothing.
        friends: (1, n_users) float32, the weights of the users whom the user is linked to; None: nobody.
        user: the row of the user; None: nobody of the bundle.
        linked: (2, n) int64, the nodes that the user is linked to, as from `LinkedNodes.find`; None: those that the
            bundle has.
        placed: the order of the likes; None: they have none, or it does not count.
    """

    likes: NDArray[np.int64]
    sentence: NDArray[np.float32] | None = None
    fits: NDArray[np.bool_] | None = None
    prior: NDArray[np.float32] | None = None
    friends: csr_array | None = None
    user: int | None = None
    linked: NDArray[np.int64] | None = None
    placed: PlacedLikes | None = None

    @property
    def has_profile(self) -> bool:
        """Whether anything but likes and a sentence is known of the user."""
        return self.prior is not None or self.friends is not None


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


def find_support(
    state: State, asked: Asked, row: int | None, unknown: list[str]
) -> tuple[NDArray[np.int64], PlacedLikes | None]:
    """The rows of a user's likes and of further likes, ascending, and their order; None: it does not count.

    Args:
        state: the current state.
        asked: the request.
        row: the user's; None: nobody of the bundle.
        unknown: gets unknown ids.
    """
    own = select_row(state.bundle.liked, row)
    given = find_items(state, asked.likes, "sequence" if asked.in_sequence else "like", unknown)
    if not state.counts_order or state.bundle.liked_at is None:
        return np.union1d(own, given).astype(np.int64) if len(given) else own, None
    times = np.zeros(0, np.int64)
    if row is not None:
        times = state.bundle.liked_at.data[slice(*state.bundle.liked_at.indptr[row : row + 2])]
    placed = place_given(state, asked, own, times)
    return placed.rows, placed


def place_given(
    state: State, asked: Asked, own: NDArray[np.int64] | None = None, times: NDArray[np.int64] | None = None
) -> PlacedLikes:
    """The likes of a request in order, with a known user's own before those whose times are not given.

    Args:
        state: the current state.
        asked: the request; unknown likes are left out.
        own: (n,) int64, the rows of the user's own likes; None: none.
        times: (n,) int64, their times.
    """
    nothing = np.zeros(0, np.int64)
    own, times = nothing if own is None else own, nothing if times is None else times
    rows = state.bundle.items.rows(asked.likes)
    known = rows >= 0
    given: Moments | int = int(known.sum())
    if asked.times:
        moments = find_moments(asked.times)
        given = Moments(moments.times[known], moments.steps[known])
    return place_likes(np.concatenate([own, rows[known]]).astype(np.int64), join_moments(times, given))


def mask_items(
    state: State, candidates: Sequence[str] | None, exclude: Sequence[str], unknown: list[str]
) -> NDArray[np.bool_]:
    """(n_items,) bool: the items that may not be recommended; unknown ids are appended to `unknown`.

    What cannot be had may be recommended only where it is named as a candidate.

    Raises:
        RequestError: candidates are given, but the list is empty or none is known.
    """
    masked = ~state.bundle.available
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


def mask_known(state: State, request: Request, masked: NDArray[np.bool_]) -> None:
    """Marks in `masked`, (n_items,), what the user of a request likes or has seen, and other editions of it."""
    known = np.concatenate([request.likes, select_row(state.bundle.seen, request.user)])
    masked[known] = True
    masked[select_rows(state.editions, known)] = True


def read_request(state: State, asked: Asked, unknown: list[str]) -> Request:
    """Turns a request into rows and vectors; unknown ids are appended to `unknown`.

    Raises:
        RequestError: the user is unknown, none of the likes is known, the model reads no such link or attribute, the
            text has no words, or the encoder is not the bundle's.
        TextError: the encoder cannot be loaded.
    """
    row = None if asked.user is None else find_user(state, asked.user)
    likes, placed = find_support(state, asked, row, unknown)
    sentence = fits = None
    if asked.text is not None:
        sentence = state.sentences.encode(asked.text, state.bundle)
        fits = _find_fitting(state, sentence)
    linked = prior = friends = None
    if asked.links or asked.values:
        (linked,), codes = find_links(state, [asked], unknown)
        friends = find_friends(state, [row], [linked])
        prior = state.bundle.model.place_users(_find_text(state, row, sentence), codes)[0]
    elif row is not None:
        friends = state.weigh_friends(np.array([row]))
        prior = None if state.user_priors is None else state.user_priors[row]
    elif sentence is not None:
        no_codes = csr_array((1, len(state.bundle.user_link_node)), dtype=np.float32)
        prior = state.bundle.model.place_users(_find_text(state, row, sentence), no_codes)[0]
    prior = prior if prior is not None and prior.any() else None
    friends = friends if friends is not None and friends.nnz else None
    return Request(likes, sentence, fits, prior, friends, row, linked, placed)


def find_links(state: State, asked: Sequence[Asked], unknown: list[str]) -> tuple[list[NDArray[np.int64]], csr_array]:
    """The links and attributes of several users: those given and, for known users, those of the bundle.

    Attributes of new users that are not given are missing, unless nothing that is given is known. A given attribute of
    a known user replaces the bundle's; values of a list are added.

    Args:
        state: the current state.
        asked: the users.
        unknown: gets the ids that the catalogue does not have, and the values that no user had in training.

    Returns:
        For each of them the linked nodes, (2, n), as from `LinkedNodes.find`; and the link features of all, (n_asked,
        n_codes) of 1s.
    """
    bundle, first = state.bundle, len(state.bundle.users)
    user_type = bundle.schema.user_type
    resolved: list[tuple[str, str, tuple[int, int]]] = []
    read: dict[tuple[tuple[str, object], ...], tuple[list[tuple[str, str]], list[str]]] = {}  # many have the same
    for row, each in enumerate(asked, first):
        if not (each.links or each.values):
            continue
        if each.values not in read:
            read[each.values] = read_attributes(bundle, user_type, each.attributes)
        values, no_values = read[each.values]
        given = [
            (edge_type, id_)
            for edge_type, id_ in values
            if id_ != MISSING and split_name(bundle.schema, edge_type)[1] in each.attributes
        ]
        found, not_found = resolve_links(bundle, user_type, row, _leave_out_self(state, each), {})
        unknown += [*not_found, *no_values]
        if each.user is not None:
            resolved += [*found, *_find_own_links(state, each, row)]
            values = given
        if found or given:
            resolved += [*found, *resolve_links(bundle, user_type, row, values, {})[0]]
    edges = add_paths_to_values(bundle, group_edges(resolved))
    codes = read_user_features(bundle, edges, np.arange(first, first + len(asked)))
    links = np.unique(collect_links(bundle, edges), axis=1)  # sorted by row
    links = links[:, links[0] >= first]  # without the links of friends to these users
    ends = np.searchsorted(links[0], np.arange(first + 1, first + len(asked)))
    return np.split(links[1:], ends, axis=1), codes


def find_friends(
    state: State, rows: Sequence[int | None], linked: Sequence[NDArray[np.int64]]
) -> csr_array | None:  # fmt: skip
    """The weights of the users that some users are linked to, (n_asked, n_users); None: they do not count.

    Whoever asks is one of those who are linked to them, as if the links were added.

    Args:
        state: the current state.
        rows: the users' rows; None for a user that the bundle does not know.
        linked: the nodes that each is linked to, (2, n), from `find_links`.
    """
    if state.friends is None:
        return None
    user_type, relations = state.bundle.schema.user_type, state.bundle.user_relations
    of_users = np.array([far_type == user_type for _, _, far_type in relations], np.bool_)
    found, new = [], []
    for row, (places, nodes) in zip(rows, linked, strict=True):
        found.append(np.unique(nodes[of_users[places]]))
        new.append(~np.isin(found[-1], select_row(state.friends, row)))
    return weigh_linked_users(to_matrix(found, len(state.bundle.users)), state.friends, np.concatenate(new))


def _leave_out_self(state: State, asked: Asked) -> list[tuple[str, str]]:
    """The links of a request without those of a user to the same user."""
    schema = state.bundle.schema
    return [
        (edge_type, id_)
        for edge_type, id_ in asked.links
        if id_ != asked.user or find_far_end(schema, edge_type, schema.user_type)[1] != schema.user_type
    ]


def _find_own_links(state: State, asked: Asked, row: int) -> list[tuple[str, str, tuple[int, int]]]:
    """The links of a known user in the bundle as those of another row, without attributes that are given anew."""
    bundle, user = state.bundle, find_user(state, asked.user or "")
    columns = bundle.schema.nodes[bundle.schema.user_type].columns
    replaced = {f"{bundle.schema.user_type}.{name}" for name in asked.attributes if columns[name] != "list"}
    links = []
    for place, node in state.linked_nodes.find(user).T.tolist():
        edge_type, is_source, far_type = bundle.user_relations[place]
        if edge_type not in replaced:
            links.append((edge_type, bundle.ids[far_type].ids[node], (row, node) if is_source else (node, row)))
    return links


def _find_text(state: State, row: int | None, sentence: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """The text vector of a user, (1, text_dim); a sentence of somebody unknown counts as the user's text."""
    text = np.zeros((1, state.bundle.user_text.shape[1]), np.float32)
    if text.shape[1] and row is not None:
        text[0] = state.bundle.user_text[row].numpy()
    elif text.shape[1] and sentence is not None:
        text[0] = sentence
    return text


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


def to_support(state: State, *requests: Request) -> Support:
    """The support of some requests, of which all have a sentence or none has, as the model reads it."""
    model = state.bundle.model
    likes = to_matrix([request.likes for request in requests], model.n_items)
    priors, friends = [request.prior for request in requests], [request.friends for request in requests]
    prior = linked = order = None
    known = next((one for one in priors if one is not None), None)
    if known is not None:
        nothing = np.zeros_like(known)
        prior = torch.from_numpy(np.stack([nothing if one is None else one for one in priors]))
    if any(one is not None for one in friends):
        no_friends = csr_array((1, len(state.bundle.users)), dtype=np.float32)
        of_all = friends[0] if len(friends) == 1 else vstack([no_friends if one is None else one for one in friends])
        linked = sum_likes_of_linked(csr_array(of_all), state.bundle.liked)
    placed = [request.placed for request in requests if request.placed is not None]
    if placed:
        order = to_order(likes, placed)
    sentences = [request.sentence for request in requests if request.sentence is not None]
    if not sentences:
        return Support(likes, prior=prior, linked=linked, order=order)
    return model.with_sentence(likes, np.stack(sentences), prior, linked, order)


def select_row(matrix: csr_array, row: int | None) -> NDArray[np.int64]:
    """The columns of the entries in one row of a matrix, (n,); empty for None."""
    if row is None:
        return np.zeros(0, np.int64)
    found: NDArray[np.int64] = matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]].astype(np.int64)
    return found


def select_rows(matrix: csr_array, rows: NDArray[np.int64]) -> NDArray[np.integer]:
    """The columns of the entries in some rows of a matrix, (n,), one row after the other."""
    ends = matrix.indptr[rows + 1]
    sizes = ends - matrix.indptr[rows]
    places = np.repeat(ends - sizes.cumsum(), sizes)
    found: NDArray[np.integer] = matrix.indices[places + np.arange(len(places))]
    return found


def to_matrix(rows: Sequence[NDArray[np.int64]], n_items: int) -> csr_array:
    """(len(rows), n_items) with an entry for each column named."""
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    indices = np.concatenate([np.zeros(0, np.int64), *rows])
    return csr_array((np.ones(len(indices), np.float32), indices, indptr), shape=(len(rows), n_items))
