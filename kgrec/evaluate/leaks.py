"""Checks for leaked test likes: each yields its findings, with the test likes that they leak."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.evaluate.audited import N_EXAMPLES, Audited, Example, Mask, Rows, Suspect, leak_items
from kgrec.evaluate.hindsight import find_later_nodes, find_later_texts, find_quoted_popularity
from kgrec.evaluate.twins import SAME_LIKES, count_common, pair_twin_items, pair_twin_users
from kgrec.graph.leakage import (
    LEAK_SHARE,
    count_co_links,
    find_computed_features,
    iter_named_items,
    iter_user_item_relations,
    link_readings,
    repeats_interaction,
    sample_linked,
    to_links,
)
from kgrec.graph.node_links import build_item_links
from kgrec.questions.slices import Slice

_BLOCK_PAIRS = 8192


def find_shown_likes(audited: Audited, slices: Sequence[Slice]) -> Iterator[Suspect]:
    """Test likes among the training likes or in the user's support."""
    train = _keys(audited.split.train.users, audited.split.train.items, audited.n_items)

    def leaks(slice_: Slice, users: Rows, items: Rows) -> Mask:
        rows, columns = slice_.support.nonzero()
        shown = _keys(rows, columns, audited.n_items)
        asked = _keys(users, items, audited.n_items)
        return np.isin(asked, train) | np.isin(asked, shown)

    leaked: list[tuple[int, int]] = []
    total = 0
    for slice_ in slices:
        pairs = slice_.relevant.tocoo()
        hit = leaks(slice_, pairs.row, pairs.col)
        leaked += zip(pairs.row[hit].tolist(), pairs.col[hit].tolist(), strict=True)
        total += len(hit)
    if leaked:
        user_type = audited.tables.schema.user_type
        examples = tuple(
            Example((audited.node(user_type, user), audited.item(item))) for user, item in leaked[:N_EXAMPLES]
        )
        yield Suspect("test likes that the model sees", len(leaked), total, "test likes", examples, leaks)


def find_twin_items(audited: Audited, slices: Sequence[Slice]) -> Iterator[Suspect]:
    """Items under two ids."""
    item_type = audited.tables.schema.item_type
    store = audited.data[item_type]
    links = build_item_links(audited.data, audited.tables.schema, own_codes=False)
    # Links to users, like the interaction, do not describe an item.
    describes = np.array([other != audited.tables.schema.user_type for _, _, other in links.relations], np.bool_)
    described = links.incidence[:, np.flatnonzero(describes[links.relation])]
    vectors = store.x.numpy() if "x" in store else None
    pairs, is_near = pair_twin_items(
        audited.texts(item_type), audited.names(item_type), described, vectors, audited.rng
    )
    if not len(pairs):
        return
    n_likes = np.bincount(audited.likes.items, minlength=audited.n_items)
    shown = pairs[np.argsort(-n_likes[pairs].min(axis=1), kind="stable")[:N_EXAMPLES]]
    examples = tuple(
        Example(
            (audited.item(first), audited.item(second)),
            f"{audited.name(item_type, first) or 'likes'}: {n_likes[first]:,} and {n_likes[second]:,} likes",
        )
        for first, second in shown
    )
    twins = _link_both_ways(pairs, audited.n_items)
    trained = np.diff(audited.train.tocsc().indptr) > 0
    has_known_twin = (twins @ trained.astype(np.int32)) > 0  # (n_items,)

    def leaks(slice_: Slice, users: Rows, items: Rows) -> Mask:
        # A cold item with a twin in training is not cold: the prior has learned from the same text and links.
        leaked: Mask = _linked_to_support(slice_, users, items, twins) | (~trained & has_known_twin)[items]
        return leaked

    message = "pairs of ids with the same text and links"
    if is_near.any():
        message += f" ({int(is_near.sum()):,} of them with small differences in the text)"
    yield Suspect(message, len(pairs), audited.n_items, "items", examples, leaks)


def find_twin_users(audited: Audited, slices: Sequence[Slice]) -> Iterator[Suspect]:
    """Users under two ids."""
    user_type, matrix = audited.tables.schema.user_type, audited.likes.to_matrix()
    pairs = pair_twin_users(matrix, audited.rng)
    if not len(pairs):
        return
    n_likes, common = np.diff(matrix.indptr), count_common(matrix, pairs).astype(np.int64)
    examples = tuple(
        Example(
            tuple(audited.node(user_type, user) for user in pairs[place]),
            f"{common[place]:,} likes in common, of {n_likes[pairs[place, 0]]:,} and {n_likes[pairs[place, 1]]:,}",
        )
        for place in np.argsort(-common, kind="stable")[:N_EXAMPLES]
    )
    learned = _link_both_ways(pairs, audited.likes.shape[0]) @ audited.train  # (n_users, n_items): the likes of twins
    rows, columns = learned.nonzero()
    leaked = _keys(rows, columns, audited.n_items)

    def leaks(slice_: Slice, users: Rows, items: Rows) -> Mask:
        return np.isin(_keys(users, items, audited.n_items), leaked)

    message = f"pairs of users with {SAME_LIKES:.0%} of their likes in common"
    yield Suspect(message, len(pairs), audited.likes.shape[0], "users", examples, leaks)


def find_repeating_relations(audited: Audited, slices: Sequence[Slice]) -> Iterator[Suspect]:
    """Relations between users and items, and features of users that name items, that repeat the interaction."""
    schema = audited.tables.schema
    known = np.unique(_keys(*audited.ends(schema.interaction.edge), audited.n_items))
    for path, pairs in iter_user_item_relations(schema, audited.ends, audited.size, len(known)):
        relation = " with ".join(path)
        message = f"pairs that both {schema.interaction.edge} and {relation} link"
        yield from _to_repeats(audited, known, pairs, message, relation)
    for column, pairs in iter_named_items(audited.tables):
        named = f"the attribute {column} of {schema.user_type}"
        message = f"pairs that {schema.interaction.edge} links and whose item {named} names"
        yield from _to_repeats(audited, known, pairs, message, column)


def _to_repeats(audited: Audited, known: Rows, pairs: Rows, message: str, relation: str) -> Iterator[Suspect]:
    both = repeats_interaction(known, pairs)
    if both is None:
        return
    schema, n_items = audited.tables.schema, audited.n_items
    examples = tuple(
        Example((audited.node(schema.user_type, pair // n_items), audited.item(pair % n_items)))
        for pair in both[:N_EXAMPLES]
    )
    of = relation if len(pairs) < len(known) else schema.interaction.edge

    def leaks(slice_: Slice, users: Rows, items: Rows) -> Mask:
        return np.isin(_keys(users, items, n_items), pairs)

    yield Suspect(message, len(both), min(len(pairs), len(known)), f"that {of} links", examples, leaks, by_chance=True)


def find_leaking_features(audited: Audited, slices: Sequence[Slice]) -> Iterator[Suspect]:
    """Features of items that repeat their popularity or their mean rating."""
    item_type = audited.tables.schema.item_type
    for found in find_computed_features(audited.tables):
        rank = "" if found.rank is None else f"; rank correlation {found.rank:+.2f}"
        message = f"{item_type} nodes whose attribute {found.column} repeats {found.repeats}{rank}"
        examples = tuple(
            Example((audited.item(row),), f"{found.column} {value:g}, {n:,} interactions")
            for row, value, n in zip(found.rows[:N_EXAMPLES], found.values, found.n_interactions, strict=False)
        )
        near = np.zeros(audited.n_items, np.bool_)
        near[found.rows] = True
        of = f"{item_type} nodes"
        yield Suspect(message, len(found.rows), audited.n_items, of, examples, leak_items(near))


def find_co_liked_relations(audited: Audited, slices: Sequence[Slice]) -> Iterator[Suspect]:
    """Relations between items that are derived from the likes."""
    schema, n_items = audited.tables.schema, audited.n_items
    relations = [name for name, edge in schema.graph_edges.items() if edge.source == edge.target == schema.item_type]
    if not relations:
        return
    seen = to_links(*audited.ends(schema.interaction.edge), audited.likes.shape)
    users, items = seen.nonzero()
    keys = _keys(users, items, n_items)
    liked, learned = (_keys(some.users, some.items, n_items) for some in (audited.likes, audited.split.train))
    allowed = ~np.isin(keys, liked) | np.isin(keys, learned)
    past = to_links(users[allowed], items[allowed], audited.likes.shape)
    for name in relations:
        links = to_links(*audited.ends(name), (n_items, n_items))
        measured = []
        for reading in link_readings(links):
            sample = sample_linked(reading, np.diff(seen.tocsc().indptr))
            with_test, without = (count_co_links(reading, some, some.tocsc(), sample) for some in (seen, past))
            measured.append((with_test, without, np.diff(reading.indptr)[sample], sample))
        with_test, without, degree, sample = max(measured, key=lambda one: one[0].sum() / max(one[2].sum(), 1))
        n_hits, n_past, n_links = (round(float(some.sum())) for some in (with_test, without, degree))
        # Links made from training likes alone agree best with training likes; better agreement with the test is a leak.
        if not n_links or n_hits < LEAK_SHARE * n_links or n_hits <= n_past:
            continue
        message = (
            f"{name} links that go to the items with most users in common by all likes; {n_past:,} do by "
            "training likes alone"
        )
        shown = sample[np.argsort(-(with_test - without) / degree, kind="stable")]
        either = links + links.T.tocsr()

        def leaks(slice_: Slice, users: Rows, items: Rows, links: csr_array = either) -> Mask:
            return _linked_to_support(slice_, users, items, links)

        examples = tuple(
            Example((audited.item(row),), audited.name(schema.item_type, row)) for row in shown[:N_EXAMPLES]
        )
        yield Suspect(message, n_hits, n_links, "links looked at", examples, leaks, by_chance=True)


FINDERS: Mapping[str, Callable[[Audited, Sequence[Slice]], Iterator[Suspect]]] = {
    "test_likes_in_training": find_shown_likes,
    "duplicate_items": find_twin_items,
    "duplicate_users": find_twin_users,
    "relations_that_repeat": find_repeating_relations,
    "relations_from_likes": find_co_liked_relations,
    "features_from_likes": find_leaking_features,
    "later_nodes": find_later_nodes,
    "later_texts": find_later_texts,
    "quoted_popularity": find_quoted_popularity,
}


def _linked_to_support(slice_: Slice, users: Rows, items: Rows, links: csr_array) -> Mask:
    """Marks the pairs whose item is linked, (n_items, n_items), to an item of the user's support."""
    linked = np.zeros(len(users), np.bool_)
    for start in range(0, len(users), _BLOCK_PAIRS):
        block = slice(start, start + _BLOCK_PAIRS)
        linked[block] = links[items[block]].multiply(slice_.support[users[block]]).sum(axis=1) > 0
    return linked


def _link_both_ways(pairs: Rows, size: int) -> csr_array:
    return to_links(pairs.ravel(), pairs[:, ::-1].ravel(), (size, size))


def _keys(users: NDArray[np.integer], items: NDArray[np.integer], n_items: int) -> Rows:
    return users.astype(np.int64) * n_items + items
