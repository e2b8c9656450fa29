"""The immutable state of a recommender: each request reads one state, each change makes a new one."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache, cached_property
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack
from threadpoolctl import ThreadpoolController

from kgrec.bundle import Bundle, load_bundle_encoder
from kgrec.errors import RequestError
from kgrec.graph.paths import PathIndex, build_path_index
from kgrec.metrics import top_k
from kgrec.model.backbone import user_vectors
from kgrec.model.linked_likes import LinkedLikes, find_linked_users, weigh_linked_users
from kgrec.recommend.editions import extend_editions, find_editions, normalise_names
from kgrec.recommend.limits import LinkKinds
from kgrec.recommend.link_features import read_user_features
from kgrec.recommend.linked_nodes import LinkedNodes, link_users
from kgrec.recommend.live import find_gone
from kgrec.recommend.recent import RecentAnswers
from kgrec.recommend.sparse_entries import set_pairs
from kgrec.recommend.tail import TailDial, draw_reference
from kgrec.recommend.value_links import ValueLinks, link_values
from kgrec.sequences import Order, find_order
from kgrec.store.contract import GraphStore
from kgrec.text.encoder import Encoder

RECENT_ANSWERS = 1024  # answers to keep for repeated requests


class SentenceEncoder:
    """Encodes sentences with an encoder that is loaded at first use.

    Args:
        encoder: the encoder; None: the one that the bundle was trained with.
    """

    def __init__(self, encoder: Encoder | None) -> None:
        self._encoder = encoder
        self._lock = Lock()

    def encode(self, text: str, bundle: Bundle) -> NDArray[np.float32]:
        """The vector of a text, (text_dim,) float32, comparable with the bundle's text vectors.

        Raises:
            RequestError: the text has no words, or the encoder is not the bundle's.
            TextError: the encoder cannot be loaded.
        """
        check_words(text)
        vector: NDArray[np.float32] = self.encode_all([text], bundle)[0]
        return vector

    def encode_all(self, texts: Sequence[str], bundle: Bundle) -> NDArray[np.float32]:
        """The vectors of n texts with words in them, (n, text_dim) float32, in one call of the encoder.

        Raises:
            RequestError: the encoder is not the bundle's.
            TextError: the encoder cannot be loaded.
        """
        with self._lock:
            if self._encoder is None:
                self._encoder = load_bundle_encoder(bundle)
            if self._encoder.revision != bundle.encoder_revision:
                raise RequestError(
                    f"the text encoder {self._encoder.name!r} has revision {self._encoder.revision[:12]}, the bundle "
                    f"was trained with {bundle.encoder_revision[:12]}: give that encoder, or train again"
                )
            return self._encoder.encode(texts)


def check_words(text: str) -> None:
    """Checks that a text has words."""
    if not isinstance(text, str) or not text.strip():
        raise RequestError(f"expected a text with words in it, got {text!r}")


@dataclass(frozen=True, eq=False)
class State:
    """A bundle and values computed from it at first use. It never changes, so threads may share it.

    Attributes:
        bundle: the trained model and its catalogue.
        sentences: encodes sentences.
        store: the store that knows which items there are now, and the paths in reasons; None: the bundle does.
        added: ids of the items that were added to this bundle since it was opened, which the store need not have.
        recent: the cache of this state's answers.
    """

    bundle: Bundle
    sentences: SentenceEncoder
    store: GraphStore | None = None
    added: frozenset[str] = frozenset()
    recent: RecentAnswers = field(default_factory=lambda: RecentAnswers(RECENT_ANSWERS))

    @cached_property
    def paths(self) -> PathIndex:
        """The paths between items in the bundle's graph."""
        bundle = self.bundle
        return build_path_index(bundle.schema, bundle.ids, bundle.edges, bundle.names)

    @cached_property
    def by_id(self) -> NDArray[np.int64] | None:
        """(n_items,): the items' rows by ascending id; None: the rows are in that order already."""
        ids = self.bundle.items.ids
        return _sort_rows(ids, range(len(ids)))

    @cached_property
    def editions(self) -> csr_array:
        """(n_items, n_items) of 1s: for each item its other editions."""
        return find_editions(self.bundle)

    @cached_property
    def item_names(self) -> frozenset[str]:
        """The items' names as `normalise_text` makes them."""
        return normalise_names(self.bundle)

    @cached_property
    def user_links(self) -> csr_array:
        """(n_users, n_codes) of 1s: the link features of users."""
        bundle = self.bundle
        return read_user_features(bundle, bundle.edges, np.arange(len(bundle.users)))

    @cached_property
    def linked_nodes(self) -> LinkedNodes:
        """The nodes that users are linked to."""
        return link_users(self.bundle)

    @cached_property
    def value_links(self) -> ValueLinks:
        """The values of the items."""
        return link_values(self.bundle)

    @cached_property
    def link_kinds(self) -> LinkKinds:
        """The kinds of nodes that limits may name."""
        return LinkKinds(self.bundle)

    @cached_property
    def liked_by_item(self) -> csr_array:
        """(n_items, n_users) of 1s: who likes each item."""
        return csr_array(self.bundle.liked.T.tocsr())

    @cached_property
    def counts_order(self) -> bool:
        """Whether the likes have times, and the model scores users by the order of their likes."""
        return self.bundle.liked_at is not None and bool(self.bundle.model.order_counts.any())

    def find_order(self, users: NDArray[np.int64]) -> Order | None:
        """The order of the likes of some users, (n,) rows; None: it does not count."""
        bundle = self.bundle
        if not self.counts_order or bundle.liked_at is None:
            return None
        return find_order(bundle.liked[users], bundle.liked_at[users].data)

    @cached_property
    def places_by_item(self) -> csr_array:
        """(n_items, n_users): the place of each like among its user's, 1 for the last; empty without an order."""
        order = self.find_order(np.arange(len(self.bundle.users)))
        return csr_array(self.bundle.liked.shape[::-1]) if order is None else csr_array(order.places.T.tocsr())

    @cached_property
    def user_priors(self) -> NDArray[np.float32] | None:
        """(n_users, dim) float32: what the graph says of each user; None: it says nothing of anybody."""
        model = self.bundle.model
        if model.user_prior is None:
            return None
        return model.place_users(self.bundle.user_text.numpy(), self.user_links)

    @cached_property
    def friends(self) -> csr_array | None:
        """(n_users, n_users) of 1s: who is linked to whom; None: the model does not count it."""
        if LinkedLikes.name not in self.bundle.model.names:
            return None
        return find_linked_users(_find_user_edges(self.bundle, self.bundle.edges), len(self.bundle.users))

    def weigh_friends(self, users: NDArray[np.int64]) -> csr_array | None:
        """The weights of the users whom some users, (n,) rows, are linked to, (n, n_users); None: they do not count."""
        return None if self.friends is None else weigh_linked_users(self.friends[users], self.friends)

    @cached_property
    def user_vectors(self) -> NDArray[np.float32]:
        """(n_users, dim) float32; see `kgrec.model.backbone.user_vectors`."""
        return user_vectors(self.bundle.model.backbone, self.bundle.liked)

    @cached_property
    def dial(self) -> TailDial:
        """The tail dial."""
        liked = self.bundle.liked
        users = draw_reference(liked)
        linked = self.weigh_friends(users)
        return TailDial(self.bundle.model, liked, self.user_priors, linked, self.find_order(users))

    def top_rows(self, scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """The rows of the k best items, or of all if there are fewer: (n_users, min(k, n_items)), -1 for none.

        Equal scores are ordered by ascending id.
        """
        k = min(k, scores.shape[1])
        if self.by_id is None:
            return top_k(scores, k)
        places = top_k(scores[:, self.by_id], k)
        return np.where(places >= 0, self.by_id[places], -1)

    def after(self, bundle: Bundle, paths: PathIndex | None = None, users: NDArray[np.int64] | None = None) -> "State":
        """The state of a changed bundle; it keeps the computed values that are still valid, or extends them.

        Args:
            bundle: the changed bundle.
            paths: its paths; None: they are computed at first use.
            users: (n,) ascending rows of the users whose likes may have changed, where users and items of before keep
                their rows; None: all may have.
        """
        added = self.added
        if self.store is not None and bundle.items is not self.bundle.items:
            added |= {id_ for id_ in bundle.items.ids if id_ not in self.bundle.items}
        state = State(bundle, self.sentences, self.store, added)
        found = vars(state)
        if paths is not None:
            found["paths"] = paths
        found |= self._keep_of_items(bundle)
        found |= self._keep_of_users(bundle)
        before = self.bundle
        if bundle.liked is before.liked and bundle.liked_at is before.liked_at:
            found |= self._keep("liked_by_item", "places_by_item")
        elif users is not None and "liked_by_item" in vars(self):
            found["liked_by_item"] = _set_fans(self.liked_by_item, before.liked, bundle.liked, users)
        same_priors = bundle.model.user_prior is None or "user_priors" in found
        if "dial" in vars(self) and same_priors and _have_same_times(before, bundle):
            linked = state.weigh_friends(draw_reference(bundle.liked))
            if self.dial.is_of(bundle.model, bundle.liked, linked):
                found["dial"] = self.dial
        return state

    def _keep_of_items(self, bundle: Bundle) -> dict[str, Any]:
        """What is known of the items and is the same in a changed bundle, or is soon extended."""
        before, item_type, found = self.bundle, bundle.schema.item_type, dict[str, Any]()
        if bundle.items is not before.items:
            is_grown = bundle.items.ids[: len(before.items)] == before.items.ids
            return self._place_added_items(bundle) if is_grown else found
        found |= self._keep("by_id")
        if bundle.names[item_type] is before.names[item_type] and bundle.model.text is before.model.text:
            found |= self._keep("editions", "item_names")
        if bundle.edges is before.edges:
            found |= self._keep("value_links", "link_kinds")
        return found

    def _keep_of_users(self, bundle: Bundle) -> dict[str, Any]:
        """What is known of the users by their links and is the same in a changed bundle, or is soon extended."""
        before, found, n_users = self.bundle, dict[str, Any](), len(self.bundle.users)
        if bundle.user_link_node is not before.user_link_node:
            return found
        if bundle.users.ids != before.users.ids:
            return self._place_added_users(bundle) if bundle.users.ids[:n_users] == before.users.ids else found
        if any(bundle.edges[name] is not before.edges[name] for name, _, _ in bundle.user_relations):
            return self._place_added_users(bundle)
        found |= self._keep("user_links", "user_priors", "friends")
        if all(len(bundle.ids[end]) == len(before.ids[end]) for _, _, end in bundle.user_relations):
            found |= self._keep("linked_nodes")
        return found

    def _keep(self, *names: str) -> dict[str, Any]:
        """Those of some values that are computed already."""
        return {name: vars(self)[name] for name in names if name in vars(self)}

    def _place_added_items(self, bundle: Bundle) -> dict[str, Any]:
        """The values of the items so far, with those of added items."""
        found, n_before, added = dict[str, Any](), len(self.bundle.items), find_added_edges(self.bundle, bundle)
        if "by_id" in vars(self):
            order = range(n_before) if self.by_id is None else self.by_id.tolist()
            found["by_id"] = _sort_rows(bundle.items.ids, [*order, *range(n_before, len(bundle.items))])
        if "editions" in vars(self) and added is not None:
            extended = extend_editions(self.editions, self.item_names, bundle, added)
            if extended is not None:
                found["editions"], found["item_names"] = extended
        return found

    def _place_added_users(self, bundle: Bundle) -> dict[str, Any]:
        """The values of the users so far, which links to added nodes do not change, with those of added users."""
        found: dict[str, Any] = {}
        first, added = len(self.bundle.users), find_added_edges(self.bundle, bundle)
        if added is None:
            return found
        if vars(self).get("friends") is not None:
            found["friends"] = _add_friends(vars(self)["friends"], _find_user_edges(bundle, added), len(bundle.users))
        if vars(self).get("user_priors") is None:
            return found
        links = read_user_features(bundle, added, np.arange(first, len(bundle.users)))
        priors = bundle.model.place_users(bundle.user_text[first:].numpy(), links)
        return found | {
            "user_links": vstack([self.user_links, links], format="csr"),
            "user_priors": np.concatenate([vars(self)["user_priors"], priors]),
        }

    def find_gone(self, rows: Iterable[int]) -> set[str]:
        """The ids of those items, by their rows, that the store does not have any more; none without a store."""
        if self.store is None:
            return set()
        ids = self.bundle.items.ids
        return find_gone(self.store, (ids[row] for row in rows)) - self.added

    @property
    def known_paths(self) -> PathIndex | None:
        """The paths if they are computed already."""
        return vars(self).get("paths")

    def title(self, row: int) -> str | None:
        """The name of an item, by its row."""
        return self.bundle.names[self.bundle.schema.item_type][row]


def find_added_edges(before: Bundle, bundle: Bundle) -> dict[str, NDArray[np.int64]] | None:
    """Edge type -> rows of both ends, (2, n), of the edges of added nodes; None: others differ, too."""
    added = {}
    for name, ends in bundle.edges.items():
        was, edge = before.edges[name], bundle.schema.edges[name]
        if ends is was:
            continue
        new = ends[:, was.shape[1] :]
        is_old = (new[0] < len(before.ids[edge.source])) & (new[1] < len(before.ids[edge.target]))
        if is_old.any() or not np.array_equal(ends[:, : was.shape[1]], was):
            return None
        added[name] = new
    return added


def _sort_rows(ids: Sequence[str], rows: Iterable[int]) -> NDArray[np.int64] | None:
    """Rows by ascending id; None: they are in that order already. It is faster the more are in order."""
    order = np.array(sorted(rows, key=ids.__getitem__), np.int64)
    return None if (order[:-1] < order[1:]).all() else order


def _set_fans(fans: csr_array, before: csr_array, liked: csr_array, users: NDArray[np.int64]) -> csr_array:
    """Who likes each item, (n_items, n_users) of 1s, after the likes of some users change.

    Args:
        fans: the same before.
        before: (n_users before, n_items before) of 1s, the likes before.
        liked: (n_users, n_items) of 1s, the likes now.
        users: (n,) ascending rows of these users.
    """
    n_users, n_items = liked.shape
    fans = csr_array((fans.data, fans.indices, fans.indptr), shape=(fans.shape[0], n_users))
    changed = (csr_array(before[users[users < before.shape[0]]]), csr_array(liked[users]))
    was, now = (np.repeat(users[: part.shape[0]], np.diff(part.indptr)) * n_items + part.indices for part in changed)
    differing = np.setxor1d(was, now, assume_unique=True)
    is_like = np.isin(differing, now, assume_unique=True)
    return set_pairs(fans, n_items, differing % n_items, differing // n_items, is_like)


def _find_user_edges(bundle: Bundle, edges: Mapping[str, NDArray[np.int64]]) -> list[NDArray[np.int64]]:
    """The edges between users among some edges: the rows of both ends, (2, n), of each type."""
    between = {name for name, _, far_type in bundle.user_relations if far_type == bundle.schema.user_type}
    return [ends for name, ends in edges.items() if name in between]


def _add_friends(friends: csr_array, edges: list[NDArray[np.int64]], n_users: int) -> csr_array:
    """Who is linked to whom, with further edges."""
    indptr = np.concatenate([friends.indptr, np.full(n_users - friends.shape[0], friends.indptr[-1])])
    before = csr_array((friends.data, friends.indices, indptr), shape=(n_users, n_users))
    found = csr_array(before + find_linked_users(edges, n_users))
    found.data[:] = 1
    return found


def _have_same_times(before: Bundle, bundle: Bundle) -> bool:
    """Whether the reference users of the tail dial, where they are the same, have the same times."""
    if before.liked_at is None or bundle.liked_at is None:
        return before.liked_at is bundle.liked_at
    times = (one.liked_at[draw_reference(one.liked)].data for one in (before, bundle) if one.liked_at is not None)
    return np.array_equal(*times)


def one_thread() -> Any:
    """Within a `with`, the calling thread works alone: for microseconds of work, waking other threads takes longer.

    It changes the OpenMP setting of the calling thread, not of the process.
    """
    if torch.get_num_threads() == 1:
        return nullcontext()
    return _thread_pools().limit(limits=1, user_api="openmp")


@cache
def _thread_pools() -> ThreadpoolController:
    return ThreadpoolController()  # finding the libraries takes milliseconds
