"""The immutable state of a recommender: each request reads one state, each change makes a new one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack
from threadpoolctl import ThreadpoolController

from kgrec.bundle import Bundle, load_bundle_encoder
from kgrec.errors import RequestError
from kgrec.graph.paths import PathIndex, build_path_index
from kgrec.metrics import top_k
from kgrec.model.backbone import user_vectors
from kgrec.recommend.editions import find_editions
from kgrec.recommend.link_features import read_user_features
from kgrec.recommend.linked_nodes import LinkedNodes, link_users
from kgrec.recommend.recent import RecentAnswers
from kgrec.recommend.tail import TailDial
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
        store: the store to read the paths in reasons from; None: they come from the bundle.
        recent: the cache of this state's answers.
    """

    bundle: Bundle
    sentences: SentenceEncoder
    store: GraphStore | None = None
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
        order = np.array(sorted(range(len(ids)), key=ids.__getitem__), np.int64)
        return None if (order[:-1] < order[1:]).all() else order

    @cached_property
    def editions(self) -> csr_array:
        """(n_items, n_items) of 1s: for each item its other editions."""
        return find_editions(self.bundle)

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
    def liked_by_item(self) -> csr_array:
        """(n_items, n_users) of 1s: who likes each item."""
        return csr_array(self.bundle.liked.T.tocsr())

    @cached_property
    def user_priors(self) -> NDArray[np.float32] | None:
        """(n_users, dim) float32: what the graph says of each user; None: it says nothing of anybody."""
        model = self.bundle.model
        if model.user_prior is None:
            return None
        return model.place_users(self.bundle.user_text.numpy(), self.user_links)

    @cached_property
    def user_vectors(self) -> NDArray[np.float32]:
        """(n_users, dim) float32; see `kgrec.model.backbone.user_vectors`."""
        return user_vectors(self.bundle.model.backbone, self.bundle.liked)

    @cached_property
    def dial(self) -> TailDial:
        """The tail dial."""
        return TailDial(self.bundle.model, self.bundle.liked, self.user_priors)

    def top_rows(self, scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """The rows of the k best items, or of all if there are fewer: (n_users, min(k, n_items)), -1 for none.

        Equal scores are ordered by ascending id.
        """
        k = min(k, scores.shape[1])
        if self.by_id is None:
            return top_k(scores, k)
        places = top_k(scores[:, self.by_id], k)
        return np.where(places >= 0, self.by_id[places], -1)

    def after(self, bundle: Bundle, paths: PathIndex | None = None) -> "State":
        """The state of a changed bundle; it keeps the computed values that are still valid.

        Args:
            bundle: the changed bundle.
            paths: its paths; None: they are computed at first use.
        """
        state = State(bundle, self.sentences, self.store)
        found = vars(state)
        if paths is not None:
            found["paths"] = paths
        if bundle.items is self.bundle.items:  # users changed, or their likes
            found |= {name: vars(self)[name] for name in ("by_id", "editions") if name in vars(self)}
        before = self.bundle
        if bundle.edges is before.edges and bundle.users.ids == before.users.ids:
            kept = ("user_links", "linked_nodes", "user_priors")
            found |= {name: vars(self)[name] for name in kept if name in vars(self)}
        elif bundle.users.ids[: len(before.users)] == before.users.ids:
            found |= self._place_added_users(bundle)
        if bundle.liked is before.liked and "liked_by_item" in vars(self):
            found["liked_by_item"] = self.liked_by_item
        same_priors = bundle.model.user_prior is None or "user_priors" in found
        if "dial" in vars(self) and same_priors and self.dial.is_of(bundle.model, bundle.liked):
            found["dial"] = self.dial
        return state

    def _place_added_users(self, bundle: Bundle) -> dict[str, Any]:
        """The values of the users so far, which links to added nodes do not change, with those of added users."""
        if vars(self).get("user_priors") is None:
            return {}
        before, first = self.bundle, len(self.bundle.users)
        added = {name: ends[:, before.edges[name].shape[1] :] for name, ends in bundle.edges.items()}
        links = read_user_features(bundle, added, np.arange(first, len(bundle.users)))
        priors = bundle.model.place_users(bundle.user_text[first:].numpy(), links)
        return {
            "user_links": vstack([self.user_links, links], format="csr"),
            "user_priors": np.concatenate([vars(self)["user_priors"], priors]),
        }

    @property
    def known_paths(self) -> PathIndex | None:
        """The paths if they are computed already."""
        return vars(self).get("paths")

    def title(self, row: int) -> str | None:
        """The name of an item, by its row."""
        return self.bundle.names[self.bundle.schema.item_type][row]


def one_thread() -> Any:
    """Within a `with`, the calling thread works alone: for microseconds of work, waking other threads takes longer.

    It changes the OpenMP setting of the calling thread, not of the process.
    """
    return _thread_pools().limit(limits=1, user_api="openmp")


@cache
def _thread_pools() -> ThreadpoolController:
    return ThreadpoolController()  # finding the libraries takes milliseconds
