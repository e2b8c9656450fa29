"""The Recommender: one object that answers every kind of request from a bundle."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from graph_schema import CatalogueSchema
from kgrec.bundle import Bundle, load_bundle, save_bundle
from kgrec.recommend import new_items, new_users, ranking, updates
from kgrec.recommend.answers import Explanation, Recommendations
from kgrec.recommend.interactions import read_interactions
from kgrec.recommend.live import check_schema
from kgrec.recommend.new_items import NewItem
from kgrec.recommend.new_users import NewUser
from kgrec.recommend.reasons import explain_item
from kgrec.recommend.requests import check_k, find_user, to_id, to_ids
from kgrec.recommend.state import SentenceEncoder, State
from kgrec.store.contract import GraphStore
from kgrec.text.encoder import Encoder

if TYPE_CHECKING:
    import pandas as pd

_LARGE_REQUEST = 1000  # ids that are asked for and with: answers to larger ones are not kept


class Recommender:
    """Answers requests; made by `kgrec.train` or `Recommender.load`.

    Everything it was trained with is in its bundle, so it needs neither the store nor, but for sentences, the text
    encoder. `add_items`, `add_users`, `add_interactions` and `forget` change what it knows at once, without training;
    `save` keeps the change. With a store given, the paths in reasons are read from the graph as it is now, and only
    from there. Repeated requests are answered from a cache. Reasons read from a store are not cached, because the store
    may have changed. Threads may share a Recommender: each request is answered from one state, and a change makes the
    next. Ids are texts; integers stand for their digits.
    """

    def __init__(self, bundle: Bundle, encoder: Encoder | None = None, store: GraphStore | None = None) -> None:
        """Makes a recommender.

        Args:
            bundle: the trained model and its catalogue.
            encoder: of sentences; None: the one that the bundle was trained with, loaded when first needed.
            store: where the paths in reasons are read from, at one query for each answer: an item or an edge that it
                has no more is in no path. The caller closes it, and it belongs to one thread. None: the paths are
                those that the bundle was trained with and `add_items` added.

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
        filter_seen: bool = True,
        tail: float = 0.0,
        explain: bool = False,
    ) -> Recommendations:
        """Recommends items to one user: known by id, by likes, by a sentence, or by any of these together.

        Without any of them, or for a user without likes, the answer is what is popular, and a note says so.

        Args:
            user: id of a user known from training or from `add_interactions`.
            likes: ids of items that the user likes.
            text: what the user wants, in words.
            k: how many; exactly k are returned whenever so many may be.
            candidates: item ids that may be recommended; None: all.
            exclude: item ids that may not.
            filter_seen: whether to leave out the likes and what the user has seen; if not, they are scored as any item.
            tail: the tail dial: 0 is as the model ranks; 1 goes as far into what few know as still is personal; -1
                gives what is popular among people like this; see `TailDial`. A score is the corrected one that the
                answer is sorted by, while reasons and `explain` take the model's own apart.
            explain: whether to give reasons.

        Returns:
            The recommendations, best first; equal scores by ascending id. Unknown likes, candidates and excluded ids
            have no effect; they are in `unknown`, and a note names them.

        Raises:
            RequestError: the user is unknown, the likes are no list, none of them or of the candidates is known, the
                text is empty, the dial is not between -1 and 1, or k is less than 1 or more than the catalogue has
                items.
            TextError: the text encoder cannot be loaded.
        """
        state = self._state
        check_k(state, k)
        user = None if user is None else to_id(user, "user")
        allowed = None if candidates is None else to_ids(candidates, "candidates")
        left_out, liked = to_ids(exclude, "exclude"), to_ids(likes, "likes")

        def answer() -> Recommendations:
            return ranking.recommend(
                state, user, liked, text, k, allowed, left_out, tail, filter_seen=filter_seen, explain=explain
            )

        if (explain and state.store is not None) or k + len(allowed or ()) + len(left_out) > _LARGE_REQUEST:
            return answer()
        request = (user, liked, text, k, allowed, left_out, tail, filter_seen, explain)
        return state.recent.find(request, answer)

    def recommend_many(
        self,
        users: Sequence[str] | None = None,
        *,
        likes: "Mapping[str, Sequence[str]] | pa.Table | pd.DataFrame | None" = None,
        k: int = 10,
        candidates: Iterable[str] | None = None,
        exclude: Iterable[str] | None = None,
        filter_seen: bool = True,
        tail: float = 0.0,
        explain: bool = False,
        on_users: Callable[[int], None] | None = None,
    ) -> pa.Table:
        """Recommends items to many users, in blocks: memory does not grow with users x items.

        Args:
            users: ids of known users.
            likes: instead of users: a key for each user, known or not, and the items that this user likes: a mapping,
                or a table or a DataFrame with the columns user and item. Only these likes count, not what the bundle
                has of a user of that id.
            k: how many for each.
            candidates: item ids that may be recommended to anybody; None: all.
            exclude: item ids that may not.
            filter_seen: as in `recommend`.
            tail: the tail dial, -1 to 1, as in `recommend`.
            explain: whether to give reasons.
            on_users: called with how many users were just answered.

        Returns:
            A pyarrow Table, whose `to_pandas()` is a DataFrame: columns user, item, rank, score, title and, if asked
            for, reason. The schema's metadata has, as JSON,
            `unknown_users` (they get no rows), `unknown_items` and `without_likes` (keys that got what is popular).

        Raises:
            RequestError: neither or both of users and likes, none of the candidates is known, the dial is not between
                -1 and 1, or k is less than 1 or more than the catalogue has items.
        """
        return ranking.recommend_many(
            self._state,
            users,
            likes,
            k,
            candidates,
            exclude,
            tail,
            filter_seen=filter_seen,
            explain=explain,
            on_users=on_users,
        )

    def similar(
        self,
        item: str,
        k: int = 10,
        *,
        by: str | None = None,
        candidates: Iterable[str] | None = None,
        explain: bool = False,
    ) -> Recommendations:
        """Finds the items that are most alike: liked by the same people beyond popularity, in texts and in links.

        Args:
            item: its id.
            k: how many.
            by: "likes", "text" or "links": by this alone; None: by all of them, with weights that are the same in
                every catalogue.
            candidates: ids of items that may be listed; None: all.
            explain: whether to give reasons.

        Returns:
            The items, best first; a score is the cosine of both items' vectors. What is not alike at all is not listed,
            so there may be fewer than k, and a note says so.

        Raises:
            RequestError: the item is unknown, `by` is none of these, none of the candidates is known, or k is less than
                1 or more than the catalogue has items.
        """
        return self.similar_many([item], k, by=by, candidates=candidates, explain=explain)[to_id(item, "item")]

    def similar_many(
        self,
        items: Iterable[str],
        k: int = 10,
        *,
        by: str | None = None,
        candidates: Iterable[str] | None = None,
        explain: bool = False,
    ) -> dict[str, Recommendations]:
        """Finds the items that are most like each of several.

        Args:
            items: their ids.
            k: as in `similar`.
            by: as in `similar`.
            candidates: as in `similar`.
            explain: as in `similar`.

        Returns:
            Item -> what `similar` returns for it, in the order of the items.

        Raises:
            RequestError: as in `similar`, for any of the items; or the items are no list.
        """
        allowed = None if candidates is None else to_ids(candidates, "candidates")
        return ranking.find_similar_many(self._state, to_ids(items, "items"), k, by, allowed, explain=explain)

    def similar_users(self, user: str, k: int = 10) -> pa.Table:
        """Finds the users who are most like one: for whom the model ranks items alike.

        Args:
            user: the user's id.
            k: how many, at most.

        Returns:
            A pyarrow Table, whose `to_pandas()` is a DataFrame: columns user, rank and score, the cosine of both users'
            vectors (see `user_vectors`); equal scores by ascending id. Users without likes are not in it.

        Raises:
            RequestError: the user is unknown, or k is less than 1.
        """
        return ranking.find_similar_users(self._state, user, k)

    def predict(
        self,
        user: str | None,
        items: Iterable[str],
        *,
        likes: Sequence[str] | None = None,
        text: str | None = None,
    ) -> NDArray[np.float32]:
        """Scores given items for one user, known as in `recommend`. Scores of one user can be compared.

        Args:
            user: as in `recommend`; None: known by likes or text alone.
            items: ids of items, liked and seen ones too.
            likes: as in `recommend`.
            text: as in `recommend`.

        Returns:
            (n,) float32 in the order of the items; NaN for an item that the catalogue does not have.

        Raises:
            RequestError: as in `recommend`.
        """
        return ranking.predict(self._state, user, to_ids(items, "items"), to_ids(likes, "likes"), text)

    def explain(
        self, item: str, *, user: str | None = None, likes: Sequence[str] | None = None, text: str | None = None
    ) -> Explanation:
        """Takes the score of an item apart: what each like, the sentence and everybody else add, with real paths.

        Args:
            item: id of the item.
            user: as in `recommend`.
            likes: as in `recommend`.
            text: as in `recommend`.

        Returns:
            The shares of the score. Unknown likes have no effect and are in `unknown`.

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
        added = self.add_items([NewItem(item, text=text, links=links, vectors=vectors, name=name)])
        return added.get(item, ())

    def add_items(self, items: Iterable[NewItem]) -> dict[str, tuple[str, ...]]:
        """Adds items, as `add_item` does, all at once: either all are added or none.

        Their texts are encoded together. An item may have links to those before it.

        Args:
            items: the new items, in the order in which they may link to each other.

        Returns:
            Item -> the ids of its links' ends that the catalogue does not know; they had no effect. Items whose links
            are all known are not in it.

        Raises:
            RequestError: as in `add_item`, for any of the items; it says which one.
            TextError: the text encoder cannot be loaded.
        """
        checked = new_items.check_items(items)
        if not checked:
            return {}
        said = new_items.describe_items(self._state.bundle, checked)
        texts = [text for text in said if text is not None]
        encoded = iter(self._state.sentences.encode_all(texts, self._state.bundle) if texts else ())
        vectors = [None if text is None else next(encoded) for text in said]
        with self._writing:
            state = self._state
            added = new_items.add_items(state.bundle, checked, vectors)
            self._state = state.after(added.bundle, new_items.extend_paths(state.known_paths, checked, added))
        return dict(added.unknown)

    def add_user(
        self,
        user: str,
        *,
        likes: Iterable[str] = (),
        links: Iterable[tuple[str, str]] = (),
        name: str | None = None,
    ) -> tuple[str, ...]:
        """Adds a user, who can be asked for at once.

        Args:
            user: the user's id.
            likes: ids of items.
            links: (edge type, id of the node at the other end), such as the user's groups or friends.
            name: what people call the user.

        Returns:
            The ids of items and of links' ends that the catalogue does not have; they have no effect.

        Raises:
            RequestError: the id is taken, or an edge type is not one of the users'.
        """
        return self.add_users([NewUser(user, likes=likes, links=links, name=name)]).get(to_id(user, "a user's id"), ())

    def add_users(self, users: Iterable[NewUser]) -> dict[str, tuple[str, ...]]:
        """Adds users, as `add_user` does, all at once: either all are added or none.

        Args:
            users: the new users; they may have links to each other.

        Returns:
            User -> the ids that the catalogue does not have. Users whose ids are all known are not in it.

        Raises:
            RequestError: as in `add_user`, for any of the users.
        """
        checked = new_users.check_users(users)
        if not checked:
            return {}
        with self._writing:
            bundle, unknown = new_users.add_users(self._state.bundle, checked)
            has_links = any(new.links for new in checked)
            self._state = self._state.after(bundle, None if has_links else self._state.known_paths)
        return unknown

    def add_interactions(self, interactions: "pa.Table | pd.DataFrame") -> tuple[str, ...]:
        """Adds interactions, of known or new users; they count at once.

        An item that nobody liked in training is placed anew: by its likes beside its text and its links. Of several
        interactions of a user with an item the latest counts, as in a store: a rating below the schema's `positive`
        takes back an earlier like.

        Args:
            interactions: a table or a DataFrame with columns source (user id) and target (item id), or user and item,
                and the weight if the schema decides by it what a like is. Ids are texts or integers. A column of times,
                as the schema names it, says which one is the latest; without it the last row is.

        Returns:
            The ids of items that the catalogue does not have; these interactions have no effect.

        Raises:
            RequestError: it is neither table nor DataFrame, a column, an id or a weight is missing, an id is neither
                text nor integer, or a weight is not a number.
        """
        read = read_interactions(interactions, self._state.bundle.schema)
        with self._writing:
            bundle, unknown = updates.add_interactions(self._state.bundle, read)
            self._state = self._state.after(bundle, self._state.known_paths)
        return unknown

    def forget(self, user: str | Iterable[str]) -> None:
        """Forgets a user, or several at once: ids, links, likes and all that was seen; no parameter belongs to a user.

        An item that was placed by the user's like is placed without it. What training learned from many users together
        stays; to remove a user's part in that too, train again.

        Args:
            user: an id, or a list of ids.

        Raises:
            RequestError: a user is unknown; nobody is forgotten then.
        """
        asked = [user] if isinstance(user, str | Integral) else to_ids(user, "users")
        with self._writing:
            rows = [find_user(self._state, each) for each in asked]
            if rows:
                self._state = self._state.after(updates.forget_users(self._state.bundle, np.unique(rows)))
