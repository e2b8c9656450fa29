"""Where test likes may leak from: each check says what it found and which test likes that tells."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.stats import spearmanr
from torch_geometric.data import HeteroData

from graph_schema import SOURCE, TARGET, GraphTables
from kgrec.evaluate.twins import SAME_LIKES, count_common, pair_twin_items, pair_twin_users
from kgrec.graph.leakage import (
    LEAK_SHARE,
    count_co_links,
    iter_user_item_relations,
    link_readings,
    repeats_interaction,
    sample_linked,
    to_links,
)
from kgrec.graph.propagation import build_item_links
from kgrec.questions.slices import Slice
from kgrec.questions.splits import Likes, Split
from kgrec.store.contract import NodeRef

N_EXAMPLES = 3
LEAST_TEXTS = 3  # fewer texts that name later years or quote numbers of users are chance
LEAST_RANKED = 10  # numbers quoted, from which their rank correlation with likes is told
MANY = 100  # numbers of users below this are rather part of a story
_BLOCK_PAIRS = 8192

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]
_DIGITS = re.compile(r"\d+")
_YEAR = re.compile(r"\b(?:1[89]|20)\d\d\b")
_COUNTED = re.compile(
    r"\b(\d[\d.,]*)\s?(k|m|thousand|million)?\+?\s+(?:[a-z-]+\s+){0,2}?(?:ratings|reviews|votes|voters|users|customers|"
    r"buyers|shoppers|readers|viewers|listeners|players|downloads|plays|streams|views|likes|followers|subscribers|"
    r"purchases|scrobbles|copies)\b",
    re.IGNORECASE,
)
_STARS = re.compile(
    r"\b[0-5](?:[.,]\d)?\s*-?stars?\s+(?:by|from|on|out)\b|\b[0-5][.,]\d\s*-?stars?\b|"
    r"\b\d(?:[.,]\d)?\s?/\s?(?:5|10)\b|\b\d(?:[.,]\d)? out of (?:5|10|five|ten)\b|\brated \d[.,]\d\b",
    re.IGNORECASE,
)
_UNITS = {"k": 1_000, "thousand": 1_000, "m": 1_000_000, "million": 1_000_000}
_EDITED = re.compile(r"updat|modif|edit|chang|revis", re.IGNORECASE)


@dataclass(frozen=True)
class Example:
    """One of the things found: a node, or some that belong together, and what there is to say of them."""

    nodes: tuple[NodeRef, ...]
    about: str | None = None


Touches = Callable[[Slice, Rows, Rows], Mask]  # slice, users and items of pairs -> which of them are told


@dataclass(frozen=True)
class Suspect:
    """What a check found.

    Attributes:
        message, count, total, of, examples: as in `kgrec.evaluate.audit.Finding`.
        touches: tells which pairs (slice, users, items) of a slice are told by it.
        by_chance: whether to count what it would tell by chance too.
    """

    message: str
    count: int
    total: int
    of: str
    examples: tuple[Example, ...]
    touches: Touches
    by_chance: bool = False


@dataclass(frozen=True)
class Audited:
    """What the checks read.

    Attributes:
        tables: the catalogue, its rows in the order of the heterograph's.
        data: the heterograph.
        likes: all likes.
        split: how they were held out.
        rng: of the hashing that finds twins.
        now: later years are not yet told of as past.
    """

    tables: GraphTables
    data: HeteroData
    likes: Likes
    split: Split
    rng: np.random.Generator
    now: datetime

    @property
    def n_items(self) -> int:
        """The number of items."""
        return self.likes.shape[1]

    @cached_property
    def learned_until(self) -> int:
        """UTC seconds of the last training like."""
        times = self.split.train.times
        return int(times.max()) if times is not None and len(times) else 0

    @cached_property
    def train(self) -> csr_array:
        """The training likes, (n_users, n_items)."""
        return self.split.train.to_matrix()

    def ends(self, edge_type: str) -> tuple[Rows, Rows]:
        """The rows of the sources and of the targets, each int64 (n_edges,)."""
        source, target = self.data[self.tables.schema.edge_triple(edge_type)].edge_index.numpy()
        return source, target

    def size(self, node_type: str) -> int:
        """The number of nodes of a type."""
        return int(self.data[node_type].num_nodes)

    def node(self, node_type: str, row: int) -> NodeRef:
        """A node by its row."""
        return NodeRef(node_type, self.tables.ids(node_type)[int(row)].as_py())

    def item(self, row: int) -> NodeRef:
        """An item by its row."""
        return self.node(self.tables.schema.item_type, row)

    def name(self, node_type: str, row: int) -> str | None:
        """What people call a node."""
        column = self.tables.schema.nodes[node_type].name
        return None if column is None else self.tables.nodes[node_type][column][int(row)].as_py()

    def texts(self, node_type: str) -> list[str]:
        """The own text of each node that the encoder reads, '' where there is none."""
        node, table = self.tables.schema.nodes[node_type], self.tables.nodes[node_type]
        columns = node.text or ((node.name,) if node.name else ())
        if not columns:
            return [""] * table.num_rows
        return [
            ". ".join(part for part in parts if part)
            for parts in zip(*(table[c].to_pylist() for c in columns), strict=True)
        ]

    def items_near(self, node_type: str, rows: Rows) -> Mask:
        """The items that some nodes are, or, of another type, those that are linked to one of them."""
        schema = self.tables.schema
        marked = np.zeros(self.size(node_type), np.bool_)
        marked[rows] = True
        if node_type == schema.item_type:
            return marked
        near = np.zeros(self.n_items, np.bool_)
        for name, edge in schema.graph_edges.items():
            ends = self.ends(name)
            for this, other, here, there in (
                (edge.source, edge.target, *ends),
                (edge.target, edge.source, *ends[::-1]),
            ):
                if this == node_type and other == schema.item_type:
                    near[there[marked[here]]] = True
        return near


def _find_shown(audited: Audited, slices: Sequence[Slice]) -> Iterator[Suspect]:
    train = _keys(audited.split.train.users, audited.split.train.items, audited.n_items)

    def touches(slice_: Slice, users: Rows, items: Rows) -> Mask:
        rows, columns = slice_.support.nonzero()
        shown = _keys(rows, columns, audited.n_items)
        asked = _keys(users, items, audited.n_items)
        return np.isin(asked, train) | np.isin(asked, shown)

    told: list[tuple[int, int]] = []
    total = 0
    for slice_ in slices:
        pairs = slice_.relevant.tocoo()
        hit = touches(slice_, pairs.row, pairs.col)
        told += zip(pairs.row[hit].tolist(), pairs.col[hit].tolist(), strict=True)
        total += len(hit)
    if told:
        user_type = audited.tables.schema.user_type
        examples = tuple(
            Example((audited.node(user_type, user), audited.item(item))) for user, item in told[:N_EXAMPLES]
        )
        yield Suspect("test likes that are shown", len(told), total, "test likes", examples, touches)


def _find_twin_items(audited: Audited, slices: Sequence[Slice]) -> Iterator[Suspect]:
    item_type = audited.tables.schema.item_type
    store = audited.data[item_type]
    links = build_item_links(audited.data, audited.tables.schema, own_codes=False)
    # Whom a relation links to users, like the interaction, says nothing of what the item is.
    describes = np.array([other != audited.tables.schema.user_type for _, _, other in links.relations], np.bool_)
    described = links.incidence[:, np.flatnonzero(describes[links.relation])]
    vectors = store.x.numpy() if "x" in store else None
    pairs, is_near = pair_twin_items(audited.texts(item_type), described, vectors, audited.rng)
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

    def touches(slice_: Slice, users: Rows, items: Rows) -> Mask:
        # A cold item with a twin in training is not cold: the prior learned from its very text and links.
        told: Mask = _linked_to_support(slice_, users, items, twins) | (~trained & has_known_twin)[items]
        return told

    message = "pairs of ids with the same text and links"
    if is_near.any():
        message += f" ({int(is_near.sum()):,} of them with small differences in the text)"
    yield Suspect(message, len(pairs), audited.n_items, "items", examples, touches)


def _find_twin_users(audited: Audited, slices: Sequence[Slice]) -> Iterator[Suspect]:
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
    learned = _link_both_ways(pairs, audited.likes.shape[0]) @ audited.train  # (n_users, n_items): what twins like
    rows, columns = learned.nonzero()
    told = _keys(rows, columns, audited.n_items)

    def touches(slice_: Slice, users: Rows, items: Rows) -> Mask:
        return np.isin(_keys(users, items, audited.n_items), told)

    message = f"pairs of users with {SAME_LIKES:.0%} of their likes in common"
    yield Suspect(message, len(pairs), audited.likes.shape[0], "users", examples, touches)


def _find_repeating(audited: Audited, slices: Sequence[Slice]) -> Iterator[Suspect]:
    schema, n_items = audited.tables.schema, audited.n_items
    known = np.unique(_keys(*audited.ends(schema.interaction.edge), n_items))
    for path, pairs in iter_user_item_relations(schema, audited.ends, audited.size, len(known)):
        both = repeats_interaction(known, pairs)
        if both is None:
            continue
        examples = tuple(
            Example((audited.node(schema.user_type, pair // n_items), audited.item(pair % n_items)))
            for pair in both[:N_EXAMPLES]
        )
        relation = " with ".join(path)
        of = relation if len(pairs) < len(known) else schema.interaction.edge
        message = f"pairs that both {schema.interaction.edge} and {relation} link"

        def touches(slice_: Slice, users: Rows, items: Rows, told: Rows = pairs) -> Mask:
            return np.isin(_keys(users, items, n_items), told)

        yield Suspect(
            message, len(both), min(len(pairs), len(known)), f"that {of} links", examples, touches, by_chance=True
        )


def _find_co_liked(audited: Audited, slices: Sequence[Slice]) -> Iterator[Suspect]:
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
        # Links made from the past agree best with the past; what the test adds to the agreement gives them away.
        if not n_links or n_hits < LEAK_SHARE * n_links or n_hits <= n_past:
            continue
        message = (
            f"{name} links that go to the items with most users in common, counting all likes; {n_past:,} do by "
            "training likes alone"
        )
        shown = sample[np.argsort(-(with_test - without) / degree, kind="stable")]
        either = links + links.T.tocsr()

        def touches(slice_: Slice, users: Rows, items: Rows, links: csr_array = either) -> Mask:
            return _linked_to_support(slice_, users, items, links)

        examples = tuple(
            Example((audited.item(row),), audited.name(schema.item_type, row)) for row in shown[:N_EXAMPLES]
        )
        yield Suspect(message, n_hits, n_links, "links looked at", examples, touches, by_chance=True)


def _find_later_nodes(audited: Audited, slices: Sequence[Slice]) -> Iterator[Suspect]:
    schema, until = audited.tables.schema, audited.learned_until
    year = datetime.fromtimestamp(until, UTC).year
    for node_type, node in schema.nodes.items():
        for column, kind in node.attributes.items():
            is_time, is_year = kind == "time", kind == "int" and "year" in column.lower()
            # An item is later than others by right; a text of it that was edited later is not.
            told = _EDITED.search(column) if node_type == schema.item_type else node_type != schema.user_type
            if not told or not (is_time or is_year):
                continue
            values = audited.tables.nodes[node_type][column].fill_null(0).to_numpy()
            rows = np.flatnonzero(values > (until if is_time else year))
            if len(rows) and len(rows) < len(values):  # all of them: the time of an import
                examples = tuple(
                    Example(
                        (audited.node(node_type, row),),
                        f"{column} {_to_date(values[row]) if is_time else values[row]}",
                    )
                    for row in rows[:N_EXAMPLES]
                )
                message = f"{node_type} nodes with {column} after {_to_date(until) if is_time else year}"
                near = audited.items_near(node_type, rows)
                yield Suspect(message, len(rows), len(values), f"{node_type} nodes", examples, _touch_items(near))
    for name, edge in schema.graph_edges.items():
        table = audited.tables.edges[name]
        for column, kind in edge.attributes.items():
            values = table[column].fill_null(0).to_numpy() if kind == "time" else np.zeros(0, np.int64)
            rows = np.flatnonzero(values > until)
            if len(rows) and len(rows) < len(values):
                yield _later_links(audited, name, column, values, rows)


def _later_links(audited: Audited, name: str, column: str, values: Rows, rows: Rows) -> Suspect:
    edge, table = audited.tables.schema.edges[name], audited.tables.edges[name]
    examples = tuple(
        Example(
            (NodeRef(edge.source, table[SOURCE][row].as_py()), NodeRef(edge.target, table[TARGET][row].as_py())),
            f"{column} {_to_date(values[row])}",
        )
        for row in rows[:N_EXAMPLES].tolist()
    )
    near = np.zeros(audited.n_items, np.bool_)
    ids = {id_: row for row, id_ in enumerate(audited.tables.ids(audited.tables.schema.item_type).to_pylist())}
    for end, node_type in ((SOURCE, edge.source), (TARGET, edge.target)):
        if node_type == audited.tables.schema.item_type:
            near[[ids[id_] for id_ in table[end].take(rows).to_pylist()]] = True
    message = f"{name} links with {column} after {_to_date(audited.learned_until)}"
    return Suspect(message, len(rows), len(values), f"{name} links", examples, _touch_items(near))


def _find_later_texts(audited: Audited, slices: Sequence[Slice]) -> Iterator[Suspect]:
    schema = audited.tables.schema
    year = datetime.fromtimestamp(audited.learned_until, UTC).year
    for node_type, node in schema.nodes.items():
        if not node.text or node_type == schema.user_type:
            continue
        texts = audited.texts(node_type)
        named = {
            row: later
            for row, text in enumerate(texts)
            if (later := [int(found) for found in _YEAR.findall(text) if year < int(found) <= audited.now.year])
        }
        if len(named) >= LEAST_TEXTS:
            rows = np.array(list(named), np.int64)
            examples = tuple(
                Example((audited.node(node_type, row),), _quote(texts[row], str(named[row][0])))
                for row in list(named)[:N_EXAMPLES]
            )
            message = f"texts of {node_type} nodes that name a year after {year}"
            near = audited.items_near(node_type, rows)
            yield Suspect(message, len(named), len(texts), "texts", examples, _touch_items(near))


def _find_quoted(audited: Audited, slices: Sequence[Slice]) -> Iterator[Suspect]:
    schema = audited.tables.schema
    texts = audited.texts(schema.item_type)
    quoted: dict[int, tuple[str, float | None]] = {}
    for row, text in enumerate(texts):
        found = quote_popularity(text)
        if found is not None:
            quoted[row] = found
    if len(quoted) < LEAST_TEXTS:
        return
    rows = np.array(list(quoted), np.int64)
    examples = tuple(
        Example((audited.item(row),), _quote(texts[row], quoted[row][0])) for row in list(quoted)[:N_EXAMPLES]
    )
    message = "texts of items that quote ratings or numbers of users"
    counted = np.array([row for row, (_, number) in quoted.items() if number is not None], np.int64)
    n_held = np.bincount(audited.likes.items, minlength=audited.n_items) - np.bincount(
        audited.split.train.items, minlength=audited.n_items
    )
    numbers = [quoted[row][1] for row in counted.tolist()]
    if len(counted) >= LEAST_RANKED and np.ptp(n_held[counted]) and len(set(numbers)) > 1:
        rank = float(spearmanr(numbers, n_held[counted]).statistic)
        message += f"; rank correlation {rank:+.2f} between the numbers and the likes held out"
    near = np.zeros(audited.n_items, np.bool_)
    near[rows] = True
    yield Suspect(message, len(quoted), len(texts), "texts", examples, _touch_items(near))


FINDERS: Mapping[str, Callable[[Audited, Sequence[Slice]], Iterator[Suspect]]] = {
    "test_likes_in_training": _find_shown,
    "duplicate_items": _find_twin_items,
    "duplicate_users": _find_twin_users,
    "relations_that_repeat": _find_repeating,
    "relations_from_likes": _find_co_liked,
    "later_nodes": _find_later_nodes,
    "later_texts": _find_later_texts,
    "quoted_popularity": _find_quoted,
}


def quote_popularity(text: str) -> tuple[str, float | None] | None:
    """The phrase of a text that quotes a rating or a number of users, and that number; None where there is none."""
    for found in _COUNTED.finditer(text):
        digits = _DIGITS.findall(found[1])
        if not found[2] and _YEAR.fullmatch(found[1]):  # "in 1999 two readers"
            continue
        number = float(".".join(digits[:2])) * _UNITS[found[2].lower()] if found[2] else float("".join(digits))
        if number >= MANY:
            return text[found.start() : found.end()], number
    stars = _STARS.search(text)
    return None if stars is None else (text[stars.start() : stars.end()], None)


def _linked_to_support(slice_: Slice, users: Rows, items: Rows, links: csr_array) -> Mask:
    """Which pairs have an item that is linked, (n_items, n_items), to one in the user's support."""
    linked = np.zeros(len(users), np.bool_)
    for start in range(0, len(users), _BLOCK_PAIRS):
        block = slice(start, start + _BLOCK_PAIRS)
        linked[block] = links[items[block]].multiply(slice_.support[users[block]]).sum(axis=1) > 0
    return linked


def _touch_items(marked: Mask) -> Touches:
    def touches(slice_: Slice, users: Rows, items: Rows) -> Mask:
        touched: Mask = marked[items]
        return touched

    return touches


def _link_both_ways(pairs: Rows, size: int) -> csr_array:
    return to_links(pairs.ravel(), pairs[:, ::-1].ravel(), (size, size))


def _keys(users: NDArray[np.integer], items: NDArray[np.integer], n_items: int) -> Rows:
    return users.astype(np.int64) * n_items + items


def _quote(text: str, phrase: str, around: int = 30) -> str:
    start = text.find(phrase)
    end = start + len(phrase) + around
    return f"{'…' if start > around else ''}{text[max(start - around, 0) : end]}{'…' if end < len(text) else ''}"


def _to_date(seconds: int) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%d")
