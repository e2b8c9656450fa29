"""The Recommender: one object that answers every kind of request from a bundle."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from graph_schema import SOURCE, TARGET, CatalogueSchema
from kgrec.bundle import Bundle, load_bundle, load_bundle_encoder, save_bundle
from kgrec.errors import RequestError
from kgrec.graph.paths import PathIndex, ReasonPath, build_path_index
from kgrec.graph.propagation import join_vectors
from kgrec.ids import IdMap, number_ids
from kgrec.metrics import top_k
from kgrec.model.component import Support, round_text
from kgrec.model.knowledge import Knowledge
from kgrec.model.likeness import SOURCES
from kgrec.model.model import Contributions, Model
from kgrec.recommend.answers import Explanation, Recommendation, Recommendations, Share
from kgrec.recommend.live import check_schema, read_path_index
from kgrec.recommend.recent import RecentAnswers
from kgrec.recommend.tail import TailDial, check_dial
from kgrec.store.contract import GraphStore
from kgrec.text.encoder import Encoder

BLOCK_USERS = 512
_REASON_LIKES = 5  # of the likes that add most, so many are searched for a path worth telling
_PATHS_PER_LIKE = 3
RECENT_ANSWERS = 1024  # that are kept for when they are asked for again
_TIE = 1e-7  # scores that differ by less are alike
_ITEMS_COMPARED = 64  # before all are
_FEW_LIKES = 500  # in training: with fewer an answer says so
_LARGE_REQUEST = 1000  # ids that are asked for and with: answers to larger ones are not kept
_BY = {None: "by likes, text or links", "likes": "by likes", "text": "by text", "links": "by links"}
_FITTING = 0.9  # share of the items whose texts are farther from a sentence than what fits it
_LOUD = 0.5  # of the largest share: what is less is not told as the reason


@dataclass(frozen=True)
class _Request:
    """One user's request in rows."""

    likes: NDArray[np.int64]
    sentence: NDArray[np.float32] | None
    masked: NDArray[np.bool_]


@dataclass(frozen=True)
class _Weighed:
    """What adds to an item's score.

    Attributes:
        row: the item's.
        likes: row of a like -> what it adds, the largest first.
        known: row of a like -> the share of that which texts and links say, 0 to 1.
        sentence: what the sentence adds, if there is one.
        rest: what everybody else adds.
        searched: the likes for which a path is looked for.
        fits: whether the item's text is among those nearest to the sentence.
    """

    row: int
    likes: Mapping[int, float]
    known: Mapping[int, float]
    sentence: float | None
    rest: float
    searched: Sequence[int]
    fits: bool


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
        self._bundle = bundle
        self._store = store
        self._encoder = encoder
        self._paths: PathIndex | None = None
        self._sorted: tuple[IdMap, NDArray[np.int64] | None] | None = None  # rows by id; None: they are so already
        self._dial: TailDial | None = None
        self._recent = RecentAnswers(RECENT_ANSWERS)

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
        save_bundle(self._bundle, Path(path))

    @property
    def bundle(self) -> Bundle:
        """What it knows."""
        return self._bundle

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
        allowed = None if candidates is None else _to_ids(candidates, "candidates")
        left_out, liked = _to_ids(exclude, "exclude"), _to_ids(likes, "likes")
        if (explain and self._store is not None) or k + len(allowed or ()) + len(left_out) > _LARGE_REQUEST:
            return self._recommend(user, liked, text, k, allowed, left_out, tail, explain=explain)
        request = (user, liked, text, k, allowed, left_out, tail, explain)
        return self._recent.find(
            self._bundle,
            request,
            lambda: self._recommend(user, liked, text, k, allowed, left_out, tail, explain=explain),
        )

    def _recommend(
        self,
        user: str | None,
        likes: Sequence[str],
        text: str | None,
        k: int,
        candidates: Sequence[str] | None,
        exclude: Sequence[str],
        tail: float,
        *,
        explain: bool,
    ) -> Recommendations:
        self._check_k(k)
        check_dial(tail)
        unknown: list[str] = []
        notes: list[str] = []
        user_row = self._user_row(user)
        if text is not None and not self._bundle.model.has_texts:
            notes.append("no item has a text to compare your words with: they say nothing here")
            text = None
        liked = self._known(likes, "like", unknown)
        support = _row(self._bundle.liked, user_row)
        if len(liked):
            support = np.union1d(liked, support)
        masked = self._mask(candidates, exclude, unknown)
        masked[support] = True
        masked[_row(self._bundle.seen, user_row)] = True
        request = _Request(support, None if text is None else self._encode(text), masked)
        if request.sentence is not None and not self._fitting(request.sentence).any():
            notes.append("no item's text is near your words: this rests on little")
        if not len(support) and text is None:
            notes.append(
                "no likes to go by: these are the items that are liked most"
                if user is None
                else f"user {user!r} has no likes: these are the items that are liked most, less what the user has seen"
            )
        known_by = self._support(request)
        scored = self._score(known_by)
        rests_on = self._tell_apart(scored, masked[None, :], known_by.likes)[0]
        notes += [rests_on] if rests_on else self._note_basis(support)
        ranked = self._rank(scored, masked[None, :], known_by.likes, k, tail, sentence=text is not None)
        rows, scores = (found[0][ranked[0][0] >= 0] for found in ranked)
        if len(rows) < k:
            notes.append(f"asked for {k}, {len(rows)} items may be recommended")
        if unknown:
            notes.append(
                f"unknown, and left aside: {', '.join(map(repr, unknown[:10]))}{' ...' if unknown[10:] else ''}"
            )
        reasons = self._reasons([request], [rows])[0] if explain else [None] * len(rows)
        items = tuple(
            Recommendation(self._bundle.items.ids[row], place + 1, score, self._title(row), reason)
            for place, (row, score, reason) in enumerate(zip(rows.tolist(), scores.tolist(), reasons, strict=True))
        )
        return Recommendations(items, tuple(unknown), tuple(notes))

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
        self._check_k(k)
        check_dial(tail)
        if (users is None) == (likes is None):
            raise RequestError("expected either users or likes; give one of them")
        unknown_items: list[str] = []
        allowed = None if candidates is None else _to_ids(candidates, "candidates")
        masked = self._mask(allowed, _to_ids(exclude, "exclude"), unknown_items)
        if likes is not None:
            keys, unknown_users = list(likes), []
            given = [_to_ids(likes[key], "likes") for key in keys]
            wanted = [self._bundle.items.rows(ids) for ids in given]
            for ids, rows in zip(given, wanted, strict=True):
                unknown_items += [id_ for id_, row in zip(ids, rows, strict=True) if row < 0]
            found = [np.unique(rows[rows >= 0]) for rows in wanted]
            support = seen = _to_matrix(found, len(self._bundle.items))
        else:
            asked = list(dict.fromkeys(users or ()))
            rows = self._bundle.users.rows(asked)
            unknown_users = [id_ for id_, row in zip(asked, rows, strict=True) if row < 0]
            keys = [id_ for id_, row in zip(asked, rows, strict=True) if row >= 0]
            support, seen = self._bundle.liked[rows[rows >= 0]], self._bundle.seen[rows[rows >= 0]]
        parts = []
        for start in range(0, len(keys), BLOCK_USERS):
            block = slice(start, min(start + BLOCK_USERS, len(keys)))
            parts.append(self._answer_block(keys[block], support[block], seen[block], masked, k, tail, explain=explain))
            if on_users is not None:
                on_users(block.stop - block.start)
        without = [key for key, size in zip(keys, np.diff(support.indptr), strict=True) if not size]
        about = {
            "unknown_users": unknown_users,
            "unknown_items": list(dict.fromkeys(unknown_items)),
            "without_likes": without,
        }
        empty = self._to_table([], np.zeros((0, k), np.int64), np.zeros((0, k), np.float32), [] if explain else None)
        table = pa.concat_tables(parts) if parts else empty
        return table.replace_schema_metadata({key: json.dumps(value) for key, value in about.items()})

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
        self._check_k(k)
        if by is not None and by not in SOURCES:
            raise RequestError(f"expected `by` to be one of {', '.join(SOURCES)}, or left out, got {by!r}")
        row = self._item_row(item)
        model = self._bundle.model
        vectors = model.likeness_vectors(by)
        likeness = vectors @ vectors[row]  # (n_items,)
        likeness[~vectors.any(axis=1)] = -np.inf
        likeness[row] = -np.inf
        rows = self._top_k(likeness[None, :], k)[0] if vectors[row].any() else np.zeros(0, np.int64)
        rows = rows[rows >= 0]
        rows = rows[likeness[rows] > _TIE]
        reasons = self._similar_reasons(row, rows, by) if explain else [None] * len(rows)
        items = tuple(
            Recommendation(self._bundle.items.ids[found], place + 1, float(likeness[found]), self._title(found), reason)
            for place, (found, reason) in enumerate(zip(rows.tolist(), reasons, strict=True))
        )
        notes = []
        if not vectors[row].any():
            notes.append(f"nothing is known of {item!r} {_BY[by]}: it is like no other item")
        elif len(items) < k:
            notes.append(f"asked for {k}, {len(items)} other items are like it {_BY[by]}")
        if by is None and vectors[row].any() and not int(model.n_likes[row]):
            notes.append(f"nobody liked {item!r} in training: this rests on its text and links")
        return Recommendations(items, (), tuple(notes))

    def _similar_reasons(self, row: int, rows: NDArray[np.int64], by: str | None) -> list[str]:
        """Why items are like another: the rarest thing that they share, and whether the same people like both.

        Only what counted is named: with `by`, that source alone.
        """
        if not len(rows):
            return []
        model, ids, liked = self._bundle.model, self._bundle.items.ids, self._bundle.liked
        shares = model.likeness.shares(model.content, np.full(len(rows), row), rows)
        people = np.unique(liked[:, [row]].nonzero()[0])
        by_them = np.asarray(liked[people].sum(axis=0)).ravel()  # (n_items,): how many of them like each item
        paths = self._find_paths({(ids[found], ids[row]) for found in rows.tolist()}, 1)
        reasons = []
        for place, found in enumerate(rows.tolist()):
            said = {source: float(values[place]) if by in (None, source) else 0.0 for source, values in shares.items()}
            most = max(1e-9, *said.values())
            parts = []
            shared = paths[ids[found], ids[row]]
            if shared and said["links"] > 0:
                parts.append(shared[0].sentence())
            if said["likes"] > _LOUD * most / 2 and by_them[found]:
                parts.append("liked by the same people")
            if said["text"] > _LOUD * most / 2:
                parts.append("alike in words")
            reasons.append("; ".join(parts) or "alike")
        return reasons

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
        row = self._item_row(item)
        liked = self._known(_to_ids(likes, "likes"), "like", [])
        support = np.union1d(liked, _row(self._bundle.liked, self._user_row(user))).astype(np.int64)
        sentence = None if text is None else self._encode(text)
        nothing = np.zeros(len(self._bundle.items), np.bool_)
        return self._explain([_Request(support, sentence, nothing)], [np.array([row])])[0][0]

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
        bundle = self._bundle
        if item in bundle.items:
            raise RequestError(f"item {item!r} is there already; expected a new id")
        known: list[tuple[str, str]] = []
        ends: list[tuple[str, bool, int]] = []
        unknown: list[str] = []
        for relation, far_id in dict.fromkeys(links):
            is_source, other = self._far_end(relation)
            far_row = bundle.ids[other].row(far_id)
            if far_row is None:
                unknown.append(far_id)
            else:
                known.append((relation, far_id))
                ends.append((relation, is_source, far_row))
        own_vectors = self._join_vectors(vectors or {})
        if text is None and not known and not vectors:
            raise RequestError(
                f"nothing known is said of item {item!r}: expected a text, links to nodes of the catalogue, or vectors"
                + (f"; unknown: {', '.join(map(repr, unknown))}" if unknown else "")
            )
        vector = None if text is None else self._encode(text)
        paths = self._path_index().with_item(item, name, known)
        edges = dict(bundle.edges)
        row = len(bundle.items)
        for relation, is_source, far_row in ends:
            pair = (row, far_row) if is_source else (far_row, row)
            edges[relation] = np.hstack([edges[relation], np.array(pair, np.int64)[:, None]])
        item_type = bundle.schema.item_type
        shape = (len(bundle.users), row + 1)
        self._bundle = replace(
            bundle,
            ids={**bundle.ids, item_type: bundle.items.extended([item])},
            names={**bundle.names, item_type: [*bundle.names[item_type], name]},
            edges=edges,
            model=_add_to_model(bundle.model, item, vector, self._codes(ends), own_vectors),
            liked=_reshape(bundle.liked, shape),
            seen=_reshape(bundle.seen, shape),
        )
        self._paths = paths
        return tuple(unknown)

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
        if not isinstance(interactions, pa.Table):
            raise RequestError(f"expected interactions as a pyarrow table, got {type(interactions).__name__}")
        bundle = self._bundle
        chosen = bundle.schema.interaction
        columns = interactions.column_names
        user_column, item_column = (SOURCE, TARGET) if SOURCE in columns else ("user", "item")
        needed = [user_column, item_column]
        if chosen.positive is not None and chosen.weight is not None:
            needed.append(chosen.weight)
        missing = [name for name in needed if name not in columns]
        if missing:
            raise RequestError(f"interactions lack the column {missing[0]!r}; expected {needed}, got {columns}")
        nulls = [name for name in (user_column, item_column) if interactions[name].null_count]
        if nulls:
            raise RequestError(f"interactions have rows without {nulls[0]!r}; expected an id in every row")
        user_ids = [str(id_) for id_ in interactions[user_column].to_pylist()]
        item_ids = [str(id_) for id_ in interactions[item_column].to_pylist()]
        items = bundle.items.rows(item_ids)
        known = items >= 0
        unknown = list(dict.fromkeys(id_ for id_, ok in zip(item_ids, known, strict=True) if not ok))
        positive = known.copy()
        if chosen.positive is not None and chosen.weight is not None:
            weights = _read_weights(interactions, chosen.weight)
            positive &= weights >= chosen.positive
        new = [id_ for id_ in dict.fromkeys(user_ids) if id_ not in bundle.users]
        users = bundle.users.extended(new) if new else bundle.users
        rows = users.rows(user_ids)
        user_type = bundle.schema.user_type
        liked = _with_pairs(bundle.liked, rows[positive], items[positive], len(users))
        self._bundle = replace(
            bundle,
            ids={**bundle.ids, user_type: users},
            names={**bundle.names, user_type: [*bundle.names[user_type], *[None] * len(new)]},
            model=_place_liked(bundle.model, liked, np.unique(liked[np.unique(rows[positive])].indices)),
            liked=liked,
            seen=_with_pairs(bundle.seen, rows[known], items[known], len(users)),
        )
        return tuple(unknown)

    def forget(self, user: str) -> None:
        """Forgets a user: id, likes and all that was seen; no model parameter belongs to a user.

        An item that was placed by the user's like is placed without it. What training learned from many users together
        stays; to remove a user's part in that too, train again.

        Raises:
            RequestError: the user is unknown.
        """
        bundle = self._bundle
        row = self._user_row(user)
        kept = np.flatnonzero(np.arange(len(bundle.users)) != row)
        user_type = bundle.schema.user_type
        names, liked = bundle.names[user_type], bundle.liked[kept]
        self._bundle = replace(
            bundle,
            ids={**bundle.ids, user_type: type(bundle.users)(tuple(id_ for id_ in bundle.users.ids if id_ != user))},
            names={**bundle.names, user_type: [names[place] for place in kept.tolist()]},
            edges={name: self._without_user(name, row) for name in bundle.edges},
            model=_place_liked(bundle.model, liked, _row(bundle.liked, row)),
            liked=liked,
            seen=bundle.seen[kept],
        )
        self._paths = None

    def _without_user(self, edge_type: str, row: int | None) -> NDArray[np.int64]:
        """The rows of an edge type's ends once a user's row is gone."""
        edge, ends = self._bundle.schema.edges[edge_type], self._bundle.edges[edge_type]
        kept = np.ones(ends.shape[1], np.bool_)
        moved = ends.copy()
        for side, node_type in ((0, edge.source), (1, edge.target)):
            if node_type == self._bundle.schema.user_type:
                kept &= ends[side] != row
                moved[side] -= ends[side] > row
        return moved[:, kept]

    def _check_k(self, k: int) -> None:
        if k < 1:
            raise RequestError(f"expected k of at least 1, got {k}")
        if k > len(self._bundle.items):
            raise RequestError(f"asked for k = {k}, the catalogue has {len(self._bundle.items)} items; ask for fewer")

    def _user_row(self, user: str | None) -> int | None:
        if user is None:
            return None
        row = self._bundle.users.row(user)
        if row is None:
            raise RequestError(
                f"unknown user {user!r}: not among the {len(self._bundle.users)} users of this bundle; "
                f"give the user's likes or a text instead, or add interactions"
            )
        return row

    def _item_row(self, item: str) -> int:
        row = self._bundle.items.row(item)
        if row is None:
            raise RequestError(f"unknown item {item!r}: not among the {len(self._bundle.items)} items of this bundle")
        return row

    def _known(self, ids: Sequence[str], what: str, unknown: list[str]) -> NDArray[np.int64]:
        """The rows of ids; the unknown ones are added to `unknown`."""
        asked = list(dict.fromkeys(ids))
        rows = self._bundle.items.rows(asked)
        unknown += [id_ for id_, row in zip(asked, rows, strict=True) if row < 0]
        if asked and (rows < 0).all():
            raise RequestError(
                f"none of the {len(asked)} ids given as {what} is an item of this bundle: "
                f"{', '.join(map(repr, asked[:5]))}; expected ids as in the catalogue, such as "
                f"{self._bundle.items.ids[0]!r}"
            )
        return rows[rows >= 0]

    def _mask(self, candidates: Sequence[str] | None, exclude: Sequence[str], unknown: list[str]) -> NDArray[np.bool_]:
        masked = np.zeros(len(self._bundle.items), np.bool_)
        if candidates is not None:
            if not candidates:
                raise RequestError("no candidates are given; expected at least one item id, or leave candidates out")
            masked[:] = True
            masked[self._known(candidates, "candidates", unknown)] = False
        for id_ in exclude:
            row = self._bundle.items.row(id_)
            if row is None:
                unknown.append(id_)
            else:
                masked[row] = True
        return masked

    def _encode(self, text: str) -> NDArray[np.float32]:
        if not text.strip():
            raise RequestError(f"expected a text with words in it, got {text!r}")
        if self._encoder is None:
            self._encoder = load_bundle_encoder(self._bundle)
        if self._encoder.revision != self._bundle.encoder_revision:
            raise RequestError(
                f"the text encoder {self._encoder.name!r} has revision {self._encoder.revision[:12]}, the bundle was "
                f"trained with {self._bundle.encoder_revision[:12]}: give that encoder, or train again"
            )
        vector: NDArray[np.float32] = self._encoder.encode([text])[0]
        return vector

    def _score(self, support: Support) -> NDArray[np.float32]:
        """(1, n_items): the scores of one user."""
        model = self._bundle.model
        with _one_thread():
            return model.score(support.likes) if support.text is None else model.score_sentence(support)

    def _support(self, request: _Request) -> Support:
        model = self._bundle.model
        likes = _to_matrix([request.likes], model.n_items)
        return Support(likes) if request.sentence is None else model.hear(likes, request.sentence[None])

    def _top_k(self, scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """The rows of the k best items, (n_users, k); equal scores by ascending id, also where items were added."""
        items = self._bundle.items
        if self._sorted is None or self._sorted[0] is not items:
            order = np.array(sorted(range(len(items)), key=items.ids.__getitem__), np.int64)
            self._sorted = items, None if (order[:-1] < order[1:]).all() else order
        by_id = self._sorted[1]
        if by_id is None:
            return top_k(scores, k)
        places = top_k(scores[:, by_id], k)
        return np.where(places >= 0, by_id[places], -1)

    def _rank(
        self,
        scores: NDArray[np.float32],
        masked: NDArray[np.bool_],
        support: csr_array,
        k: int,
        tail: float,
        *,
        sentence: bool = False,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The k best of what is not masked, and the scores they are sorted by; both (n_users, k)."""
        if tail:
            return self._tail_dial().rank(scores, masked, support, tail, k, self._top_k, sentence=sentence)
        allowed = np.where(masked, np.float32(-np.inf), scores)
        rows = self._top_k(allowed, k)
        return rows, np.take_along_axis(allowed, np.maximum(rows, 0), axis=1)

    def _tell_apart(
        self, scores: NDArray[np.float32], masked: NDArray[np.bool_], support: csr_array
    ) -> list[str | None]:
        """Gives users for whom all items score alike, in place, scores by texts and links, or else by popularity.

        Returns:
            For each user what the list rests on then; None: on the model, as always.
        """
        notes: list[str | None] = [None] * len(scores)
        model = self._bundle.model
        few = slice(None, None, max(scores.shape[1] // _ITEMS_COMPARED, 1))  # nearly always enough to tell
        unsure = np.flatnonzero(_spread(scores[:, few], masked[:, few]) <= _TIE)
        spread = _spread(scores[unsure], masked[unsure])
        # below 0: of users who may not be recommended anything
        for user in unsure[(spread >= 0) & (spread <= _TIE)].tolist():
            known = model.component(Knowledge.name)
            by_knowledge = None
            if known is not None:
                by_knowledge = (known.users(Support(support[[user]])) @ known.items.T)[0].numpy()
            if by_knowledge is not None and np.ptp(by_knowledge[~masked[user]]) > _TIE:
                scores[user] = by_knowledge
                notes[user] = "likes say nothing here: this rests on texts and links"
            elif np.ptp(model.n_likes.numpy()[~masked[user]]) > 0:
                scores[user] = np.log1p(model.n_likes.numpy())
                notes[user] = "nothing tells these items apart for this user: the most liked come first"
        return notes

    def _note_basis(self, support: NDArray[np.int64]) -> list[str]:
        """What a list rests on where it is not on who likes what."""
        model = self._bundle.model
        if len(support) and bool(model.cold[torch.from_numpy(support)].all()):
            return ["nobody liked these items in training: this rests on their texts and links"]
        few = tell_few_likes(self._bundle.lineage.n_likes)
        return [f"{few}: this rests on texts and links as well"] if few and len(support) else []

    def _tail_dial(self) -> TailDial:
        """The dial of what is known now: kept while that stays what it is."""
        model, liked = self._bundle.model, self._bundle.liked
        if self._dial is None or not self._dial.is_of(model, liked):
            self._dial = TailDial(model, liked)
        return self._dial

    def _answer_block(
        self,
        keys: Sequence[str],
        support: csr_array,
        seen: csr_array,
        masked: NDArray[np.bool_],
        k: int,
        tail: float,
        *,
        explain: bool,
    ) -> pa.Table:
        barred = np.tile(masked, (len(keys), 1))
        barred[seen.nonzero()] = True
        scored = self._bundle.model.score(support)  # (n_users, n_items)
        self._tell_apart(scored, barred, support)
        rows, scores = self._rank(scored, barred, support, k, tail)  # (n_users, k)
        reasons: list[str] | None = None
        if explain:
            requests = [_Request(_row(support, place), None, masked) for place in range(len(keys))]
            found = self._reasons(requests, [user_rows[user_rows >= 0] for user_rows in rows])
            reasons = [reason for of_one in found for reason in of_one]
        return self._to_table(keys, rows, scores, reasons)

    def _to_table(
        self, keys: Sequence[str], rows: NDArray[np.int64], scores: NDArray[np.float32], reasons: list[str] | None
    ) -> pa.Table:
        found = rows >= 0  # (n_users, k)
        owners, places = np.nonzero(found)
        items = rows[found]
        titles = self._bundle.names[self._bundle.schema.item_type]
        columns = {
            "user": pa.array([keys[owner] for owner in owners.tolist()], pa.string()),
            "item": pa.array([self._bundle.items.ids[row] for row in items.tolist()], pa.string()),
            "rank": pa.array(places + 1, pa.int64()),
            "score": pa.array(scores[found].astype(np.float64)),
            "title": pa.array([titles[row] for row in items.tolist()], pa.string()),
        }
        return pa.table(columns | ({} if reasons is None else {"reason": pa.array(reasons, pa.string())}))

    def _title(self, row: int) -> str | None:
        return self._bundle.names[self._bundle.schema.item_type][row]

    def _called(self, row: int) -> str:
        return self._title(row) or self._bundle.items.ids[row]

    def _reasons(self, requests: Sequence[_Request], rows: Sequence[NDArray[np.int64]]) -> list[list[str]]:
        """The reason of each item; as in `_explain`, but with no more of the shares than a reason is told from."""
        found = self._explain(requests, rows, most_likes=_REASON_LIKES, most_paths=1)
        return [[each.reason for each in of_one] for of_one in found]

    def _explain(
        self,
        requests: Sequence[_Request],
        rows: Sequence[NDArray[np.int64]],
        most_likes: int | None = None,
        most_paths: int = _PATHS_PER_LIKE,
    ) -> list[list[Explanation]]:
        """Explains some items to each of some users; the paths of all of them are looked up together."""
        weighed = [self._weigh(request, wanted, most_likes) for request, wanted in zip(requests, rows, strict=True)]
        ids = self._bundle.items.ids
        pairs = {(ids[each.row], ids[like]) for of_one in weighed for each in of_one for like in each.searched}
        paths = self._find_paths(pairs, most_paths)
        return [[self._explain_one(each, paths) for each in of_one] for of_one in weighed]

    def _weigh(self, request: _Request, rows: NDArray[np.int64], most_likes: int | None) -> list[_Weighed]:
        """What adds to the scores of some items."""
        if not len(rows):
            return []
        with _one_thread():
            found: Contributions = self._bundle.model.contributions(self._support(request), rows)
        fits = np.zeros(len(rows), np.bool_) if request.sentence is None else self._fitting(request.sentence)[rows]
        weighed = []
        for place, row in enumerate(rows.tolist()):
            shares = found.likes[:, place]
            first = np.argsort(-shares, kind="stable")[:most_likes]
            least = _LOUD * float(shares.max(initial=0))
            likes = {int(request.likes[at]): float(shares[at]) for at in first.tolist()}
            top = islice(likes.items(), _REASON_LIKES)
            searched = [like for like, share in top if share > 0 and share >= least and like != row]
            known = {
                int(request.likes[at]): float(found.known[at, place]) / max(float(shares[at]), 1e-9)
                for at in first.tolist()
            }
            said = None if request.sentence is None else float(found.sentence[place])
            weighed.append(_Weighed(row, likes, known, said, float(found.rest[place]), searched, bool(fits[place])))
        return weighed

    def _fitting(self, sentence: NDArray[np.float32]) -> NDArray[np.bool_]:
        """(n_items,): whose texts are the tenth nearest to a sentence, or above half-way from the mean to the best.

        None are where the nearest text is no nearer than two texts of the catalogue are on average.
        """
        model = self._bundle.model
        text = model.text.numpy()
        nearness, has_text = text @ sentence, text.any(axis=1)
        n_texts = int(has_text.sum())
        if not n_texts:
            return np.zeros(len(text), np.bool_)
        known = nearness[has_text]
        mean = model.likeness.text_mean[: text.shape[1]]
        usual = float(mean @ mean * n_texts - 1) / max(n_texts - 1, 1)  # of two texts; the vectors have length 1
        if known.max() <= usual:
            return np.zeros(len(text), np.bool_)
        least = min(float(np.quantile(known, _FITTING)), float(known.mean() + known.max()) / 2)
        found: NDArray[np.bool_] = has_text & (nearness >= least)
        return found

    def _find_paths(self, pairs: Collection[tuple[str, str]], k: int) -> dict[tuple[str, str], tuple[ReasonPath, ...]]:
        """The most telling paths of pairs of items: the bundle's, or else those that the store has now."""
        if not pairs:
            return {}
        if self._store is None:
            index = self._path_index()
        else:
            items = sorted({id_ for pair in pairs for id_ in pair})
            index = read_path_index(self._store, self._bundle.schema, items)
        return {pair: tuple(index.shared_paths(*pair, k)) for pair in pairs}

    def _explain_one(self, weighed: _Weighed, paths: Mapping[tuple[str, str], tuple[ReasonPath, ...]]) -> Explanation:
        ids = self._bundle.items.ids
        item = ids[weighed.row]
        shares = [
            Share(
                "like", value, ids[like], self._title(like), paths[item, ids[like]] if like in weighed.searched else ()
            )
            for like, value in weighed.likes.items()
        ]
        if weighed.sentence is not None:
            shares.append(Share("sentence", weighed.sentence))
        shares.append(Share("everybody", weighed.rest))
        shares.sort(key=lambda share: -share.value)
        score = float(sum(share.value for share in shares))
        return Explanation(item, self._title(weighed.row), score, tuple(shares), self._tell(weighed, shares))

    def _tell(self, weighed: _Weighed, shares: Sequence[Share]) -> str:
        """The most telling share in words: only what the graph and the scores say."""
        likes = [share for share in shares if share.source == "like" and share.value > 0]
        said = next((share for share in shares if share.source == "sentence"), None)
        if not weighed.fits:
            said = None
        if said is not None and said.value > max((share.value for share in likes), default=0.0):
            return "fits your words"
        # Of the likes that speak for it about as loudly, the one that shares the rarest thing is the most telling.
        loud = [share for share in likes if share.paths]
        if loud:
            telling = min(loud, key=lambda share: share.paths[0].n_sharing)
            return f"{telling.paths[0].sentence()}, which you liked"
        if likes:
            like = f"{likes[0].title or likes[0].item}, which you liked"
            row = self._bundle.items.row(likes[0].item or "")
            if weighed.known.get(-1 if row is None else row, 0.0) > _LOUD:
                return f"near {like}, by its text and links"
            return f"liked by people who like {like}"
        if said is not None and said.value > 0:
            return "fits your words"
        n_likes = int(self._bundle.model.n_likes[weighed.row])
        return f"liked by {n_likes:,} people" if n_likes else "new in the catalogue"

    def _path_index(self) -> PathIndex:
        if self._paths is None:
            bundle = self._bundle
            self._paths = build_path_index(bundle.schema, bundle.ids, bundle.edges, bundle.names)
        return self._paths

    def _far_end(self, relation: str) -> tuple[bool, str]:
        """Whether an item is the source of a relation, and the node type at its other end."""
        schema = self._bundle.schema
        edge = schema.graph_edges.get(relation)
        if edge is None or schema.item_type not in (edge.source, edge.target):
            of_items = [name for name, e in schema.graph_edges.items() if schema.item_type in (e.source, e.target)]
            raise RequestError(f"no edge type {relation!r} of a {schema.item_type}; expected one of {of_items}")
        is_source = edge.source == schema.item_type
        return is_source, edge.target if is_source else edge.source

    def _join_vectors(self, vectors: Mapping[str, Sequence[float]]) -> NDArray[np.float32]:
        """An item's vectors as the prior reads them, (sum of the widths,) float32."""
        widths, columns = self._bundle.vector_widths, {}
        for column, given in vectors.items():
            if column not in widths:
                raise RequestError(
                    f"no vectors {column!r} of a {self._bundle.schema.item_type} were learned from; "
                    + (f"expected one of {list(widths)}" if widths else "expected a text or links")
                )
            try:
                vector = np.asarray(given, np.float32)
            except (TypeError, ValueError) as error:
                raise RequestError(f"the vector {column!r} is no numbers: {error}") from error
            if vector.ndim != 1 or not np.isfinite(vector).all():
                raise RequestError(
                    f"the vector {column!r} has shape {vector.shape}"
                    + ("" if np.isfinite(vector).all() else " and is not finite")
                    + f"; expected {widths[column]} finite numbers"
                )
            columns[column] = vector[None]
        joined: NDArray[np.float32] = join_vectors(columns, widths, 1)[0]
        return joined

    def _codes(self, ends: Sequence[tuple[str, bool, int]]) -> NDArray[np.int64]:
        """The model's link codes of an item's links; a link that no item had in training has none."""
        bundle = self._bundle
        places = {(edge_type, is_source): place for place, (edge_type, is_source, _) in enumerate(bundle.relations)}
        codes = []
        for edge_type, is_source, far_row in ends:
            place = places.get((edge_type, is_source))
            relation = bundle.model.prior.relation
            codes.append(np.flatnonzero((relation == place) & (bundle.link_node == far_row)))
        return np.unique(np.concatenate([np.zeros(0, np.int64), *codes]))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keeps torch from waking its other threads for work of microseconds: to wait for them takes longer.

    The number of threads is the process's: callers in several threads may see each other's.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _spread(scores: NDArray[np.float32], masked: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The largest less the smallest score that is not masked, (n_users,); -inf where all are."""
    barred = np.float32(np.inf)
    found: NDArray[np.float32] = np.where(masked, -barred, scores).max(axis=1)
    found -= np.where(masked, barred, scores).min(axis=1)
    return found


def tell_few_likes(n_likes: int) -> str | None:
    """Says so where there are few likes to learn from; None: there are enough."""
    if n_likes >= _FEW_LIKES:
        return None
    return f"only {n_likes} like{'' if n_likes == 1 else 's'} to learn from"


def _to_ids(ids: Iterable[str] | None, what: str) -> tuple[str, ...]:
    """The ids of a list, none for None; a text is one id, not a list of its letters."""
    if isinstance(ids, str):
        raise RequestError(f"expected a list of item ids as {what}, got the text {ids!r}; give [{ids!r}]")
    return () if ids is None else tuple(ids)


def _read_weights(interactions: pa.Table, name: str) -> NDArray[np.float64]:
    """The weights of interactions, (n,), NaN where there is none."""
    try:
        weights = interactions[name].cast(pa.float64())
    except pa.ArrowException as error:
        raise RequestError(f"interactions have a {name} that is no number: {error}; expected numbers alone") from error
    found: NDArray[np.float64] = weights.to_numpy(zero_copy_only=False)
    return found


def _row(matrix: csr_array, row: int | None) -> NDArray[np.int64]:
    """The columns of one row of a matrix; none for no row."""
    if row is None:
        return np.zeros(0, np.int64)
    found: NDArray[np.int64] = matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]].astype(np.int64)
    return found


def _to_matrix(rows: Sequence[NDArray[np.int64]], n_items: int) -> csr_array:
    """(len(rows), n_items) with an entry for each column named."""
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    indices = np.concatenate([np.zeros(0, np.int64), *rows])
    return csr_array((np.ones(len(indices), np.float32), indices, indptr), shape=(len(rows), n_items))


def _add_to_model(
    model: Model,
    item: str,
    text: NDArray[np.float32] | None,
    codes: NDArray[np.int64],
    vectors: NDArray[np.float32] | None,
) -> Model:
    """The model with one more item, placed by its prior; see `ItemEncoder.place`."""
    known = text is not None and model.text.shape[1] > 0
    text = None if text is None else round_text(torch.from_numpy(text)[None])[0].numpy()
    own = torch.from_numpy(text)[None] if text is not None and known else torch.zeros((1, model.text.shape[1]))
    placed = model.prior.place(text, codes, vectors)[None]  # (1, dim)
    kept, row = np.arange(model.n_items), np.array([model.n_items])
    none = np.full(model.columns.shape[1], np.nan, np.float32)
    columns = torch.cat([model.columns, torch.from_numpy(none if vectors is None or not len(none) else vectors)[None]])
    return model.with_items(kept, torch.cat([model.text, own]), row, placed, [codes], columns, number_ids([item]))


def _place_liked(model: Model, liked: csr_array, rows: NDArray[np.int64]) -> Model:
    """The model with those of some items that nobody had met in training placed by who likes them now."""
    return model.with_likes(rows, csr_array(liked[:, rows].T.tocsr()), liked)


def _reshape(matrix: csr_array, shape: tuple[int, int]) -> csr_array:
    return csr_array((matrix.data, matrix.indices, matrix.indptr), shape=shape)


def _with_pairs(matrix: csr_array, rows: NDArray[np.int64], columns: NDArray[np.int64], n_rows: int) -> csr_array:
    """The matrix with more rows and entries."""
    n_more = n_rows - matrix.shape[0]
    taller = (
        vstack([matrix, csr_array((n_more, matrix.shape[1]), dtype=np.float32)], format="csr") if n_more else matrix
    )
    added = csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=taller.shape)
    total = (taller + added).tocsr()
    total.data[:] = 1
    total.sort_indices()
    return total
