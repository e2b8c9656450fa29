"""The Recommender: one object that answers every kind of request from a bundle."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from threading import Lock

import pyarrow as pa

from graph_schema import CatalogueSchema
from kgrec.bundle import Bundle, load_bundle, save_bundle
from kgrec.recommend import ranking, updates
from kgrec.recommend.answers import Explanation, Recommendations
from kgrec.recommend.live import check_schema
from kgrec.recommend.reasons import explain_item
from kgrec.recommend.requests import find_user, to_ids
from kgrec.recommend.state import SentenceEncoder, State
from kgrec.store.contract import GraphStore
from kgrec.text.encoder import Encoder

_LARGE_REQUEST = 1000  # ids that are asked for and with: answers to larger ones are not kept


class Recommender:
    """Answers requests; made by `kgrec.train` or `Recommender.load`.

    Everything it was trained with is in its bundle, so it needs neither the store nor, but for sentences, the text
    encoder. `add_item`, `add_interactions` and `forget` change what it knows at once, without training; `save` keeps
    the change. With a store given, the paths in reasons are read from the graph as it is now, and only from there.
    Answers that are asked for again come from memory, but for reasons out of a store, which may have changed.
    """

    def __init__(self, bundle: Bundle, encoder: Encoder | None = None, store: GraphStore | None = None) -> None:
        """Makes a recommender.

        Args:
            bundle: the trained model and its catalogue.
            encoder: of sentences; None: the one that the bundle was trained with, loaded when first needed.
            store: where the paths in reasons are read from, at one query for each answer: an item or an edge that it
                has no more is in no path. The caller closes it, and it belongs to one thread. None: the paths are
                those that the bundle was trained with and `add_item` added.

        Raises:
            StoreError: the store cannot be read, or its schema is not the bundle's.
        """
        if store is not None:
            check_schema(store, bundle.schema)
        self._state = State(bundle, SentenceEncoder(encoder), store)
        self._writing = Lock()

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        schema: CatalogueSchema | None = None,
        encoder: Encoder | None = None,
        store: GraphStore | None = None,
    ) -> "Recommender":
        """Reads a bundle.

        Args:
            path: its folder.
            schema: the schema it must have; None: any.
            encoder: see `Recommender`.
            store: see `Recommender`.

        Raises:
            BundleError: there is none, it is truncated, foreign, newer than this kgrec, or of another schema.
            StoreError: the store cannot be read, or its schema is not the bundle's.
        """
        return cls(load_bundle(Path(path), schema), encoder, store)

    def save(self, path: str | Path) -> None:
        """Writes a bundle, in place of one that is there.

        Raises:
            BundleError: the folder cannot be written, or holds something else.
        """
        save_bundle(self._state.bundle, Path(path))

    @property
    def bundle(self) -> Bundle:
        """What it knows."""
        return self._state.bundle

    def recommend(
        self,
        user: str | None = None,
        likes: Sequence[str] | None = None,
        text: str | None = None,
        *,
        k: int = 10,
        candidates: Iterable[str] | None = None,
        exclude: Iterable[str] | None = None,
        tail: float = 0.0,
        explain: bool = False,
    ) -> Recommendations:
        """Recommends items to one user: known by id, by likes, by a sentence, or by any of these together.

        Without any of them, or for a user without likes, the answer is what is popular, and a note says so.

        Args:
            user: id of a user known from training or from `add_interactions`; what they have seen is left out.
            likes: ids of items that the user likes; they are left out too.
            text: what the user wants, in words.
            k: how many; exactly k are returned whenever so many may be.
            candidates: item ids that may be recommended; None: all.
            exclude: item ids that may not.
            tail: the tail dial: 0 is as the model ranks; 1 goes as far into what few know as still is personal; -1
                gives what is popular among people like this; see `TailDial`. A score is the corrected one that the
                answer is sorted by, while reasons and `explain` take the model's own apart.
            explain: whether to give reasons.

        Returns:
            The recommendations, best first; equal scores by ascending id.

        Raises:
            RequestError: the user is unknown, the likes are no list, none of them or of the candidates is known, the
                text is empty, the dial is not between -1 and 1, or k is less than 1 or more than the catalogue has
                items.
            TextError: the text encoder cannot be loaded.
        """
        state = self._state
        allowed = None if candidates is None else to_ids(candidates, "candidates")
        left_out, liked = to_ids(exclude, "exclude"), to_ids(likes, "likes")

        def answer() -> Recommendations:
            return ranking.recommend(state, user, liked, text, k, allowed, left_out, tail, explain=explain)

        if (explain and state.store is not None) or k + len(allowed or ()) + len(left_out) > _LARGE_REQUEST:
            return answer()
        return state.recent.find((user, liked, text, k, allowed, left_out, tail, explain), answer)

    def recommend_many(
        self,
        users: Sequence[str] | None = None,
        *,
        likes: Mapping[str, Sequence[str]] | None = None,
        k: int = 10,
        candidates: Iterable[str] | None = None,
        exclude: Iterable[str] | None = None,
        tail: float = 0.0,
        explain: bool = False,
        on_users: Callable[[int], None] | None = None,
    ) -> pa.Table:
        """Recommends items to many users, in blocks: memory does not grow with users x items.

        Args:
            users: ids of known users.
            likes: instead of users: a key for each user, known or not, and the items that this user likes; alone these
                count, not what the model knows of a user of that name.
            k: how many for each.
            candidates: item ids that may be recommended to anybody; None: all.
            exclude: item ids that may not.
            tail: the tail dial, -1 to 1, as in `recommend`.
            explain: whether to give reasons.
            on_users: called with how many users were just answered.

        Returns:
            Columns user, item, rank, score, title and, if asked for, reason. The schema's metadata has, as JSON,
            `unknown_users` (they get no rows), `unknown_items` and `without_likes` (keys that got what is popular).

        Raises:
            RequestError: neither or both of users and likes, none of the candidates is known, the dial is not between
                -1 and 1, or k is less than 1 or more than the catalogue has items.
        """
        return ranking.recommend_many(
            self._state, users, likes, k, candidates, exclude, tail, explain=explain, on_users=on_users
        )

    def similar(self, item: str, k: int = 10, *, by: str | None = None, explain: bool = False) -> Recommendations:
        """Finds the items that are most alike: liked by the same people beyond popularity, in texts and in links.

        Args:
            item: its id.
            k: how many.
            by: "likes", "text" or "links": by this alone; None: by all of them, with weights that are the same in
                every catalogue.
            explain: whether to give reasons.

        Returns:
            The items, best first; a score is the cosine of both items' vectors. What is not alike at all is not listed,
            so there may be fewer than k, and a note says so.

        Raises:
            RequestError: the item is unknown, `by` is none of these, or k is less than 1 or more than the catalogue
                has items.
        """
        return ranking.find_similar(self._state, item, k, by, explain=explain)

    def explain(
        self, item: str, *, user: str | None = None, likes: Sequence[str] | None = None, text: str | None = None
    ) -> Explanation:
        """Takes the score of an item apart: what each like, the sentence and everybody else add, with real paths.

        Args:
            item: id of the item.
            user: as in `recommend`.
            likes: as in `recommend`.
            text: as in `recommend`.

        Raises:
            RequestError: the item or the user is unknown, or none of the likes is known.
        """
        return explain_item(self._state, item, user, to_ids(likes, "likes"), text)

    def add_item(
        self,
        item: str,
        *,
        text: str | None = None,
        links: Iterable[tuple[str, str]] = (),
        vectors: Mapping[str, Sequence[float]] | None = None,
        name: str | None = None,
    ) -> tuple[str, ...]:
        """Adds an item, which can be recommended at once: its text, its links and its vectors place it.

        Args:
            item: its id.
            text: what it is, in words, as the schema's text fields would tell it.
            links: (edge type, id of the node at the other end).
            vectors: vector column of the schema -> its vector, as wide as those of the training.
            name: how people call it.

        Returns:
            The ids of links' ends that the catalogue does not know; they had no effect.

        Raises:
            RequestError: the id is taken, an edge type or a vector column is no item's, a vector does not fit, or
                nothing known is said of the item.
            TextError: the text encoder cannot be loaded.
        """
        vector = None if text is None else self._state.sentences.encode(text, self._state.bundle)
        with self._writing:
            state = self._state
            added = updates.add_item(state.bundle, item, vector, links, vectors or {}, name)
            paths = None if state.known_paths is None else state.known_paths.with_item(item, name, added.links)
            self._state = state.after(added.bundle, paths)
        return added.unknown

    def add_interactions(self, interactions: pa.Table) -> tuple[str, ...]:
        """Adds interactions, of known or new users; they count at once.

        An item that nobody had met in training is placed anew: by its likes beside its text and its links.

        Args:
            interactions: columns source (user id) and target (item id), or user and item, and the weight if the schema
                says by it what a like is.

        Returns:
            The ids of items that the catalogue does not know; these interactions had no effect.

        Raises:
            RequestError: it is no table, a column is missing, or an id is, or a weight is no number.
        """
        with self._writing:
            bundle, unknown = updates.add_interactions(self._state.bundle, interactions)
            self._state = self._state.after(bundle, self._state.known_paths)
        return unknown

    def forget(self, user: str) -> None:
        """Forgets a user: id, likes and all that was seen; no model parameter belongs to a user.

        An item that was placed by the user's like is placed without it. What training learned from many users together
        stays; to remove a user's part in that too, train again.

        Raises:
            RequestError: the user is unknown.
        """
        with self._writing:
            row = find_user(self._state, user)
            self._state = self._state.after(updates.forget_user(self._state.bundle, user, row))
