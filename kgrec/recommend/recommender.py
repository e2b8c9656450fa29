"""The Recommender: one object that answers every kind of request from a bundle."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from graph_schema import CatalogueSchema
from kgrec.bundle import Bundle, load_bundle, save_bundle
from kgrec.errors import KgrecError
from kgrec.generate.next_items import NextItemGenerator
from kgrec.pitch import Pitches, read_pitches
from kgrec.recommend import generation, item_changes, new_items, new_users, ranking, similarity, updates
from kgrec.recommend.answers import Explanation, Recommendations
from kgrec.recommend.argument_ids import to_id, to_ids
from kgrec.recommend.asked import read_asked
from kgrec.recommend.diversity import read_variety
from kgrec.recommend.interactions import read_interactions
from kgrec.recommend.list_request import ListRequest, read_list_request
from kgrec.recommend.live import check_store
from kgrec.recommend.new_items import NewItem
from kgrec.recommend.new_users import NewUser
from kgrec.recommend.reasons import explain_item
from kgrec.recommend.requests import check_k, find_user
from kgrec.recommend.sequence_argument import LikeTime
from kgrec.recommend.state import SentenceEncoder, State
from kgrec.store.contract import GraphStore
from kgrec.text.encoder import Encoder

if TYPE_CHECKING:
    import pandas as pd


class Recommender:
    """Answers requests; made by `kgrec.train` or `Recommender.load`.

    It needs only its bundle, and the text encoder for sentences. `add_items`, `change_items`, `remove_items`,
    `add_users`, `add_interactions` and `forget` take effect at once, without training; `save` writes the changed
    bundle. Repeated requests are answered from a cache, unless there is a store, which may have changed. Threads may
    share a Recommender: each request reads one state, and each change makes a new state. Ids are text; an integer is
    read as its digits.

    Args:
        bundle: the trained model and its catalogue.
        encoder: encodes sentences; None: the encoder that the bundle was trained with, loaded at first use.
        store: the store with the current graph: an item that is gone from it is in no answer, and the paths in reasons
            are read from it, both by one query per answer. Items added by `add_item` need not be in it. The caller
            closes it; it belongs to one thread. None: the bundle is all there is.

    Raises:
        StoreError: the store cannot be read, its schema is not the bundle's, or it has hardly any of its items.
    """

    def __init__(self, bundle: Bundle, encoder: Encoder | None = None, store: GraphStore | None = None) -> None:
        if store is not None:
            check_store(store, bundle.schema, bundle.items.ids)
        self._state = State(bundle, SentenceEncoder(encoder), store)
        self._writing = Lock()

    def __repr__(self) -> str:
        """What it answers from."""
        bundle = self._state.bundle
        return f"Recommender({bundle.schema.name!r}: {len(bundle.items):,} items, {len(bundle.users):,} users)"

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
            path: the folder of the bundle.
            schema: the schema that the bundle must have; None: any.
            encoder: see `Recommender`.
            store: see `Recommender`.

        Raises:
            BundleError: the folder holds no bundle, or one that is damaged, written by another version of kgrec, or of
                another schema.
            StoreError: as in `Recommender`.
        """
        return cls(load_bundle(Path(path), schema), encoder, store)

    def save(self, path: str | Path) -> None:
        """Writes the bundle to a folder, and replaces a bundle that is there.

        Args:
            path: the folder; a new or empty one, or one that holds a bundle.

        Raises:
            BundleError: the folder cannot be written, or holds something else.
        """
        save_bundle(self._state.bundle, Path(path))

    def branch(self) -> "Recommender":
        """Another recommender with the same state: changes to either leave the other as it is. It copies nothing."""
        branch = object.__new__(type(self))
        branch._state, branch._writing = self._state, Lock()
        return branch

    @property
    def bundle(self) -> Bundle:
        """The current bundle, with all changes since the training."""
        return self._state.bundle

    @property
    def state(self) -> State:
        """What it answers from now; it never changes, a change of the recommender makes another one."""
        return self._state

    def recommend(
        self,
        user: str | None = None,
        likes: Sequence[str] | None = None,
        text: str | None = None,
        *,
        sequence: Iterable[tuple[str, LikeTime]] | None = None,
        links: Iterable[tuple[str, str]] | None = None,
        attributes: Mapping[str, object] | None = None,
        k: int = 10,
        candidates: Iterable[str] | None = None,
        exclude: Iterable[str] | None = None,
        filter_seen: bool = True,
        tail: float = 0.0,
        diversity: float = 0.0,
        at_most: Mapping[str, int] | None = None,
        explain: bool = False,
        pitch: bool | str | Path | Pitches = False,
    ) -> Recommendations:
        """Recommends items to one user: known by id, likes, a sentence, links and attributes, or several of these.

        Without any of them popular items are recommended, and a note says so.

        Args:
            user: id of a user known from training or from `add_interactions`.
            likes: ids of items that the user likes, the latest last; of an id that is given twice the last place
                counts. Those of a known user come before them.
            text: what the user wants, in words.
            sequence: instead of `likes`, the same with times: pairs (item, time) in any order. A time is a datetime, a
                date, UTC seconds since 1970 or a text as in ISO 8601; without a time zone it is in UTC. Parts of a
                second do not count, and likes of the same second have no order. Where a time is None, the like comes
                right after the one before it in the list that has a time, or, where none has, before the first one
                that has. A known user's own likes are sorted in by their times.
            links: pairs (edge type, id of the linked node) of the user, such as ("friend_of", "u7"): of somebody
                nobody has seen, or besides those in the bundle.
            attributes: attribute -> value of the user, such as {"age": 31}; those that the schema marks as features.
            k: the number of items; fewer are returned only where fewer may be recommended.
            candidates: item ids that may be recommended; None: all.
            exclude: ids of items to leave out.
            filter_seen: whether to leave out items that the user likes or has seen, and other editions of these: items
                with the same name, a linked node in common and nearly the same text.
            tail: the tail dial, -1 to 1: 0 ranks as the model does, 1 prefers items that few people know, -1 popular
                items. Scores of the answer include the dial; reasons and `explain` do not.
            diversity: 0 to 1: 0 keeps the ranking, 1 makes the items of the list as different from each other as they
                can be without leaving the user's interests. The first item stays. Scores stay as they are at 0, so they
                need not descend.
            at_most: a kind of linked node -> the most items of the list that are linked to the same one, such as
                {"author": 2}. A kind is a node type, an edge type or an attribute of categories. Items without such
                links are not limited; an item with several authors counts for each of them.
            explain: whether to give reasons.
            pitch: whether to give pitches: one or two sentences for each item, from the facts that its reasons rest
                on. True: in English; "de", "fr": in another language; the path of a language file; or
                `kgrec.pitch.Pitches`, which may have a local language model rewrite them.

        Returns:
            The recommendations, best first; equal scores by ascending id. Unknown likes, candidates and excluded ids
            have no effect; they are in `unknown`, and a note names them.

        Raises:
            RequestError: the user is unknown; `likes` is not a list; none of the likes or of the candidates is known;
                both `likes` and `sequence` are given; a time cannot be read, is before 1970 or in the future; the text
                is empty; the model reads no such link or attribute; `tail` is not between -1 and 1,
                `diversity` not between 0 and 1; `at_most` names what items are not linked to, or a limit is not a whole
                number of at least 1; k is less than 1; `pitch` is no language and no language file.
            TextError: the text encoder cannot be loaded.
        """
        wanted = read_list_request(
            user, likes, text, sequence=sequence, links=links, attributes=attributes, k=k, candidates=candidates,
            exclude=exclude, filter_seen=filter_seen, tail=tail, diversity=diversity, at_most=at_most, explain=explain,
            pitch=pitch,
        )  # fmt: skip
        return ranking.answer_request(self._state, wanted)

    def recommend_batch(self, requests: Iterable[Mapping[str, Any]]) -> list[Recommendations | KgrecError]:
        """Answers several requests at once, as `recommend` answers each, but faster: plain ones are scored together.

        A request is plain without a sentence, reasons, pitches, diversity and limits, and without a store.

        Args:
            requests: the arguments of `recommend` for each, by name: {"likes": ["i1", "i2"], "k": 5}.

        Returns:
            For each request its answer, or the error that `recommend` raises for it.
        """
        wanted: list[ListRequest | KgrecError] = []
        for arguments in requests:
            try:
                wanted.append(read_list_request(**arguments))
            except KgrecError as error:
                wanted.append(error)
        return ranking.answer_requests(self._state, wanted)

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
        diversity: float = 0.0,
        at_most: Mapping[str, int] | None = None,
        explain: bool = False,
        pitch: bool | str | Path | Pitches = False,
        on_users: Callable[[int], None] | None = None,
    ) -> pa.Table:
        """Recommends items to many users, in blocks: memory does not grow with users x items.

        Args:
            users: ids of known users.
            likes: instead of `users`: a mapping from users to the items that they like, the latest last, or a table or
                DataFrame with the columns user and item, and perhaps the time of the schema's interaction: likes come
                in its order, as in `sequence`, or else in that of the rows. Further columns may be named as edge types
                of users ("friend_of", ids of linked nodes) and as features of users ("age"); then item may be empty.
                The rows of a user belong together. Users need not be known: only what is given counts, not what the
                bundle has of them.
            k: the number of items for each user.
            candidates: item ids that may be recommended to anybody; None: all.
            exclude: ids of items to leave out.
            filter_seen: as in `recommend`.
            tail: the tail dial, -1 to 1, as in `recommend`.
            diversity: as in `recommend`.
            at_most: as in `recommend`, in the list of each user.
            explain: whether to give reasons.
            pitch: as in `recommend`; the time limit of a writer is that of each user's list.
            on_users: called with the number of users in the block that is done.

        Returns:
            A pyarrow Table with the columns user, item, rank, score, title and, with `explain` and `pitch`, these;
            `to_pandas()` makes it a DataFrame. The metadata of its schema has lists as JSON: `unknown_users` (they get
            no rows), `unknown_items`, `unknown_links` (unknown ids of linked nodes, and values that no user had in
            training), `by_profile` (users without likes, whose rows rest on their links, attributes and texts) and
            `without_likes` (users who got popular items); with `at_most` also `limited_users` (they got fewer than k
            items because of it), and with a writer of pitches `pitches` (notes on those that it did not rewrite).

        Raises:
            RequestError: neither or both of `users` and `likes` are given; the model reads no such column, or not such
                a value; none of the candidates is known; `tail` is not between -1 and 1; `diversity` or `at_most` is
                wrong as in `recommend`; k is less than 1; `pitch` is wrong as in `recommend`.
        """
        return ranking.recommend_many(
            self._state,
            users,
            likes,
            k,
            candidates,
            exclude,
            tail,
            read_variety(diversity, at_most),
            filter_seen=filter_seen,
            explain=explain,
            pitches=read_pitches(pitch),
            on_users=on_users,
        )

    def generate(
        self,
        user: str | None = None,
        likes: Sequence[str] | None = None,
        *,
        generator: NextItemGenerator,
        sequence: Iterable[tuple[str, LikeTime]] | None = None,
        k: int = 10,
        candidates: Iterable[str] | None = None,
        exclude: Iterable[str] | None = None,
        filter_seen: bool = True,
        time_limit_s: float = 30.0,
    ) -> Recommendations:
        """Continues a user's likes by a generator or a language model, item by item from the catalogue.

        Where a language model fails or is too slow, the answer is the list of `recommend`, and a note says why; where
        it finds too few items, the others are from that list. Without any likes that list is the answer, too.

        Args:
            user: id of a known user.
            likes: as in `recommend`; their order counts.
            generator: `kgrec.load_generator(folder)`, which writes semantic ids; or a language model that
                `kgrec.TitleRanker` has rank what `recommend` proposes, `kgrec.TitleWriter` has write names of the
                catalogue, or `kgrec.ZeroShot` asks without any training.
            sequence: as in `recommend`.
            k: the number of items; fewer are returned only where fewer may be recommended.
            candidates: as in `recommend`.
            exclude: as in `recommend`.
            filter_seen: as in `recommend`.
            time_limit_s: seconds that a language model may take, even if it hangs. A generator of semantic ids takes
                milliseconds and is not limited.

        Returns:
            The items, best first. A score is what the generator says of the item: a log-probability (`TitleRanker`:
            what the likes add to it, per token). An item without such a score, which are all items of `ZeroShot` and
            those that fill up a list, has one less than the item before.

        Raises:
            RequestError: as in `recommend`; `generator` is something else; or the time limit is not above 0, or is
                longer than a day.
            BundleError: the generator is of another catalogue.
        """
        check_k(k)
        asked = read_asked(user, likes, None, None, None, sequence)
        allowed = None if candidates is None else to_ids(candidates, "candidates")
        return generation.generate(
            self._state, asked, k, allowed, to_ids(exclude, "exclude"), generator, time_limit_s,
            filter_seen=filter_seen,
        )  # fmt: skip

    def similar(
        self,
        item: str,
        k: int = 10,
        *,
        by: str | None = None,
        candidates: Iterable[str] | None = None,
        explain: bool = False,
    ) -> Recommendations:
        """Finds similar items: by who likes them, corrected for popularity, by their texts and by their links.

        Args:
            item: id of the item.
            k: the number of items.
            by: "likes", "text" or "links" compares by this alone; None: by all three, with fixed weights.
            candidates: ids of items that may be listed; None: all.
            explain: whether to give reasons.

        Returns:
            The items, best first; a score is the cosine of both items' vectors. Items with nothing in common are left
            out; where fewer than k remain, a note says so.

        Raises:
            RequestError: the item is unknown; `by` is another word; none of the candidates is known; k is less than
                1.
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
        """Finds similar items for each of several items.

        Args:
            items: ids of the items.
            k: as in `similar`.
            by: as in `similar`.
            candidates: as in `similar`.
            explain: as in `similar`.

        Returns:
            Item -> what `similar` returns for it, in the order of the items.

        Raises:
            RequestError: as in `similar`, for any of the items; or `items` is not a list.
        """
        allowed = None if candidates is None else to_ids(candidates, "candidates")
        return similarity.find_similar_many(self._state, to_ids(items, "items"), k, by, allowed, explain=explain)

    def similar_users(self, user: str, k: int = 10) -> pa.Table:
        """Finds similar users: those for whom the model ranks items alike.

        Args:
            user: id of the user.
            k: the largest number of users.

        Returns:
            A pyarrow Table with the columns user, rank and score, the cosine of both users' vectors; `to_pandas()`
            makes it a DataFrame. Equal scores are sorted by id. Users without likes are left out.

        Raises:
            RequestError: the user is unknown, or k is less than 1.
        """
        return similarity.find_similar_users(self._state, user, k)

    def predict(
        self,
        user: str | None,
        items: Iterable[str],
        *,
        likes: Sequence[str] | None = None,
        sequence: Iterable[tuple[str, LikeTime]] | None = None,
        text: str | None = None,
        links: Iterable[tuple[str, str]] | None = None,
        attributes: Mapping[str, object] | None = None,
    ) -> NDArray[np.float32]:
        """Scores given items for one user. Scores of the same user can be compared.

        Args:
            user: as in `recommend`; None where `likes` or `text` describe the user.
            items: ids of items; liked and seen items are scored too.
            likes: as in `recommend`.
            sequence: as in `recommend`.
            text: as in `recommend`.
            links: as in `recommend`.
            attributes: as in `recommend`.

        Returns:
            (n,) float32 in the order of the items; NaN for an item that the catalogue does not have.

        Raises:
            RequestError: as in `recommend`.
        """
        asked = read_asked(user, likes, text, links, attributes, sequence)
        return ranking.predict(self._state, asked, to_ids(items, "items"))

    def explain(
        self,
        item: str,
        *,
        user: str | None = None,
        likes: Sequence[str] | None = None,
        sequence: Iterable[tuple[str, LikeTime]] | None = None,
        text: str | None = None,
        links: Iterable[tuple[str, str]] | None = None,
        attributes: Mapping[str, object] | None = None,
    ) -> Explanation:
        """Explains a score: what each like, the sentence, the user's links and attributes, and the average user add.

        Args:
            item: id of the item.
            user: as in `recommend`.
            likes: as in `recommend`.
            sequence: as in `recommend`.
            text: as in `recommend`.
            links: as in `recommend`.
            attributes: as in `recommend`.

        Returns:
            The shares of the score. Unknown likes have no effect and are in `unknown`.

        Raises:
            RequestError: the item or the user is unknown, or none of the likes is known.
        """
        asked = read_asked(user, likes, text, links, attributes, sequence)
        return explain_item(self._state, item, asked)

    def add_item(
        self,
        item: str,
        *,
        text: str | None = None,
        links: Iterable[tuple[str, str]] = (),
        attributes: Mapping[str, object] | None = None,
        vectors: Mapping[str, Sequence[float]] | None = None,
        name: str | None = None,
    ) -> tuple[str, ...]:
        """Adds an item, which can be recommended at once. Its text, links, attributes and vectors place it.

        Args:
            item: id of the item.
            text: the content of the text fields that the schema names.
            links: pairs (edge type, id of the linked node).
            attributes: attribute -> value, such as {"year": 1999}; those that the schema marks as features.
            vectors: vector column of the schema -> the item's vector, as wide as in training.
            name: the name to show to people.

        Returns:
            The linked ids that the catalogue does not have, and the values that no item had in training, as
            "name=value"; they have no effect.

        Raises:
            RequestError: the id is taken; an edge type, an attribute or a vector column does not belong to items; a
                value or a vector cannot be read; or the item has no text, name, attribute, known link or vector.
            TextError: the text encoder cannot be loaded.
        """
        new = NewItem(item, text=text, links=links, attributes=attributes, vectors=vectors, name=name)
        added = self.add_items([new])
        return added.get(item, ())

    def add_items(self, items: Iterable[NewItem]) -> dict[str, tuple[str, ...]]:
        """Adds several items, as `add_item` does: either all are added or none.

        Their texts are encoded together.

        Args:
            items: the new items; an item may link to items before it.

        Returns:
            Item -> its linked ids that the catalogue does not have; they have no effect. Items without such ids are
            left out.

        Raises:
            RequestError: as in `add_item`, for any of the items; the message names the item.
            TextError: the text encoder cannot be loaded.
        """
        checked = new_items.check_items(items)
        if not checked:
            return {}
        vectors = self._encode(new_items.describe_items(self._state.bundle, checked))
        with self._writing:
            state = self._state
            added = new_items.add_items(state.bundle, checked, vectors)
            paths = new_items.extend_paths(state.known_paths, checked, added)
            self._state = state.after(added.bundle, paths, np.zeros(0, np.int64))
        return dict(added.unknown)

    def change_items(self, items: Iterable[NewItem]) -> dict[str, tuple[str, ...]]:
        """Describes items anew: either all are changed or none. They keep their likes.

        Each item is described whole: what is not given is gone. Links of users to an item and of other items to it are
        theirs, and stay. As in a sync, items that training learned keep their learned vectors, but have the new name,
        text and links; the others are placed again. Other items that are described by a changed item's name keep their
        texts until a sync.

        Args:
            items: the items, each once.

        Returns:
            Item -> its linked ids that the catalogue does not have, as in `add_items`.

        Raises:
            RequestError: an item is unknown or given twice; otherwise as in `add_item`, for any of the items.
            TextError: the text encoder cannot be loaded.
        """
        checked = new_items.check_items(items)
        if not checked:
            return {}
        vectors = self._encode(item_changes.describe_changes(self._state.bundle, checked))
        with self._writing:
            bundle, unknown = item_changes.change_items(self._state.bundle, checked, vectors)
            self._state = self._state.after(bundle)
        return unknown

    def remove_items(self, items: str | Iterable[str]) -> None:
        """Removes items with their names, links and likes, as a sync removes deleted ones: either all or none.

        Args:
            items: an id, or a list of ids.

        Raises:
            RequestError: an item is unknown, or no item would be left.
        """
        asked = (to_id(items, "item"),) if isinstance(items, str | Integral) else to_ids(items, "items")
        with self._writing:
            if asked:
                self._state = self._state.after(item_changes.remove_items(self._state.bundle, asked))

    def _encode(self, texts: Sequence[str | None]) -> list[NDArray[np.float32] | None]:
        """The vectors of texts, (text_dim,) float32 each, in one call of the encoder; None without a text."""
        known = [text for text in texts if text is not None]
        encoded = iter(self._state.sentences.encode_all(known, self._state.bundle) if known else ())
        return [None if text is None else next(encoded) for text in texts]

    def add_user(
        self,
        user: str,
        *,
        likes: Iterable[str] = (),
        links: Iterable[tuple[str, str]] = (),
        attributes: Mapping[str, object] | None = None,
        text: str | None = None,
        name: str | None = None,
    ) -> tuple[str, ...]:
        """Adds a user, who gets recommendations at once, from likes, links, attributes and text.

        Args:
            user: id of the user.
            likes: ids of items that the user likes, the latest last.
            links: pairs (edge type, id of the linked node), such as the user's groups or friends.
            attributes: attribute -> value, such as {"age": 31}; those that the schema marks as features.
            text: the content of the text fields that the schema names for users.
            name: the name to show to people.

        Returns:
            The liked and linked ids that the catalogue does not have, and the values that no user had in training, as
            "name=value"; they have no effect.

        Raises:
            RequestError: the id is taken, an edge type does not belong to users, or the model reads no such attribute,
                or not such a value.
            TextError: the text encoder cannot be loaded.
        """
        new = NewUser(user, likes=likes, links=links, attributes=attributes, text=text, name=name)
        return self.add_users([new]).get(to_id(user, "a user's id"), ())

    def add_users(self, users: Iterable[NewUser]) -> dict[str, tuple[str, ...]]:
        """Adds several users, as `add_user` does: either all are added or none.

        Args:
            users: the new users; they may have links to each other.

        Returns:
            User -> the ids that the catalogue does not have. Users without such ids are left out.

        Raises:
            RequestError: as in `add_user`, for any of the users.
        """
        checked = new_users.check_users(users)
        if not checked:
            return {}
        width = self._state.bundle.user_text.shape[1]
        texts = [new.text for new in checked if new.text is not None and width]
        vectors = np.zeros((len(checked), width), np.float32)
        if texts:
            with_text = [place for place, new in enumerate(checked) if new.text is not None]
            vectors[with_text] = self._state.sentences.encode_all(texts, self._state.bundle)
        with self._writing:
            state = self._state
            bundle, unknown = new_users.add_users(state.bundle, checked, vectors, int(time.time()))
            has_links, added = any(new.links for new in checked), np.arange(len(state.bundle.users), len(bundle.users))
            self._state = state.after(bundle, None if has_links else state.known_paths, added)
        return unknown

    def add_interactions(self, interactions: "pa.Table | pd.DataFrame") -> tuple[str, ...]:
        """Adds interactions of known or new users; they take effect at once.

        An item without likes in training is placed again, by its likes, text and links. Of several interactions of one
        user with one item the latest counts, or what the schema's `repeats` makes of those in the table: a rating below
        the schema's `positive`, or without one of 0 or less, withdraws a like.

        Args:
            interactions: a table or a DataFrame with the columns source (user id) and target (item id), or user and
                item; and the weight column, if the schema has `positive`. Ids are text or integers. With the schema's
                time column the latest interaction counts, without it the last row; then likes are the user's
                latest ones, in the order of the rows. Texts of times are written as the schema's `time_formats` say.

        Returns:
            The ids of items that the catalogue does not have; these interactions have no effect.

        Raises:
            RequestError: `interactions` is neither a table nor a DataFrame; a column, an id or a weight is missing; a
                column is not read; an id is neither text nor an integer; a weight is not a number; or a time is before
                1970 or in the future.
        """
        read = read_interactions(interactions, self._state.bundle.schema)
        with self._writing:
            bundle, unknown = updates.add_interactions(self._state.bundle, read, int(time.time()))
            rows = np.unique(bundle.users.rows(read.users))
            self._state = self._state.after(bundle, self._state.known_paths, rows[rows >= 0])
        return unknown

    def forget(self, user: str | Iterable[str]) -> None:
        """Removes users with their links, likes and seen items; the model has no parameters of single users.

        Items that were placed by these users' likes are placed again without them. What training learned from all users
        together stays; train again to remove a user's part in it.

        Args:
            user: an id, or a list of ids.

        Raises:
            RequestError: a user is unknown; then nobody is removed.
        """
        asked = [user] if user is None or isinstance(user, str | Integral) else to_ids(user, "users")
        with self._writing:
            rows = [find_user(self._state, each) for each in asked]
            if rows:
                self._state = self._state.after(updates.forget_users(self._state.bundle, np.unique(rows)))
