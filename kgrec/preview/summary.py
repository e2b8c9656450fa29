"""What a person should see of a catalogue: some users with their likes, some items as the model reads them."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from graph_schema import SOURCE, TARGET, Attribute, GraphTables
from kgrec.preview.oddities import find_oddities
from kgrec.text.node_texts import build_node_texts

N_SHOWN = 3  # users, and items
_MOST_LIKES, _MOST_NEIGHBOURS = 6, 6
_ENOUGH = 3  # likes of a user that is worth showing


@dataclass(frozen=True)
class Like:
    """One like: the item's name or id, its weight and its day; None where there is none."""

    item: str
    weight: float | None
    day: str | None


@dataclass(frozen=True)
class ShownUser:
    """A user.

    Attributes:
        id: the user's id.
        about: attributes, such as "age 31".
        likes: the latest ones.
        n_likes: how many there are.
        n_others: interactions that are no likes.
    """

    id: str
    about: tuple[str, ...]
    likes: tuple[Like, ...]
    n_likes: int
    n_others: int


@dataclass(frozen=True)
class ShownItem:
    """An item.

    Attributes:
        id: the item's id.
        name: None: it has none.
        about: attributes, such as "year 1995".
        links: what it is linked to, such as "director: Jane Doe".
        text: what the text encoder reads; None: there is none.
        n_users: users who interacted with it.
    """

    id: str
    name: str | None
    about: tuple[str, ...]
    links: tuple[str, ...]
    text: str | None
    n_users: int


@dataclass(frozen=True)
class Preview:
    """A catalogue at a glance.

    Attributes:
        users: some users with likes.
        items: some items: the one with the most users first.
        n_interactions: how many there are.
        n_likes: how many of them are likes.
        rule: what a like is, such as "rating >= 4".
        oddities: what looks wrong, a sentence each.
    """

    users: tuple[ShownUser, ...]
    items: tuple[ShownItem, ...]
    n_interactions: int
    n_likes: int
    rule: str
    oddities: tuple[str, ...]


def make_preview(tables: GraphTables) -> Preview:
    """Chooses what to show of a catalogue."""
    return _Reading(tables).run()


@dataclass(frozen=True)
class _Reading:
    tables: GraphTables

    def run(self) -> Preview:
        schema = self.tables.schema
        texts = build_node_texts(self.tables)[schema.item_type]
        counts = np.bincount(self._targets, minlength=len(texts))
        return Preview(
            users=tuple(self._show_user(id_) for id_ in self._choose_users()),
            items=tuple(self._show_item(row, texts[row], int(counts[row])) for row in _choose_items(counts)),
            n_interactions=self.tables.interactions.num_rows,
            n_likes=self.tables.likes.num_rows,
            rule=schema.interaction.describe_like(),
            oddities=tuple(find_oddities(self.tables, texts)),
        )

    @cached_property
    def _targets(self) -> NDArray[np.int64]:
        """The row of each interaction's item."""
        item = self.tables.schema.item_type
        found = pc.index_in(self.tables.interactions[TARGET], self.tables.ids(item).combine_chunks())
        rows: NDArray[np.int64] = found.to_numpy().astype(np.int64)
        return rows

    @cached_property
    def _names(self) -> dict[str, dict[str, str]]:
        """Node type -> id -> the name to show, or else the id."""
        named = {}
        for name, node in self.tables.schema.nodes.items():
            ids = self.tables.ids(name).to_pylist()
            shown = self.tables.nodes[name][node.name].to_pylist() if node.name else ids
            named[name] = {id_: text or id_ for id_, text in zip(ids, shown, strict=True)}
        return named

    def _choose_users(self) -> list[str]:
        """The first users with enough likes, else those with the most."""
        found = pc.value_counts(self.tables.likes[SOURCE].combine_chunks()).to_pylist()
        found.sort(key=lambda one: -min(one["counts"], _ENOUGH))
        return [one["values"] for one in found[:N_SHOWN]]

    def _show_user(self, id_: str) -> ShownUser:
        schema = self.tables.schema
        chosen = schema.interaction
        mine = self.tables.interactions.filter(pc.equal(self.tables.interactions[SOURCE], id_))
        likes = self.tables.with_interactions(mine).likes
        if chosen.at is not None:
            likes = likes.sort_by([(chosen.at, "descending")])
        shown = likes.slice(0, _MOST_LIKES).to_pylist()
        return ShownUser(
            id=id_,
            about=self._list_attributes(schema.user_type, id_, linked=True),
            likes=tuple(
                Like(
                    self._names[schema.item_type][one[TARGET]],
                    one[chosen.weight] if chosen.weight else None,
                    _to_day(one[chosen.at]) if chosen.at else None,
                )
                for one in shown
            ),
            n_likes=likes.num_rows,
            n_others=mine.num_rows - likes.num_rows,
        )

    def _show_item(self, row: int, text: str | None, n_users: int) -> ShownItem:
        schema = self.tables.schema
        node = schema.nodes[schema.item_type]
        id_ = self.tables.ids(schema.item_type)[row].as_py()
        name = self.tables.nodes[schema.item_type][node.name][row].as_py() if node.name else None
        about = self._list_attributes(schema.item_type, id_, linked=False)
        return ShownItem(id_, name, about, self._list_links(id_), text, n_users)

    def _find_row(self, node_type: str, id_: str) -> dict[str, Any]:
        node, table = self.tables.schema.nodes[node_type], self.tables.nodes[node_type]
        row: dict[str, Any] = table.filter(pc.equal(table[node.key], id_)).slice(0, 1).to_pylist()[0]
        return row

    def _list_attributes(self, node_type: str, id_: str, *, linked: bool) -> tuple[str, ...]:
        """The attributes of a node; without `linked` those are left out that become links."""
        node, row = self.tables.schema.nodes[node_type], self._find_row(node_type, id_)
        shown = [
            (name, _to_words(row[name], one.type))
            for name, one in node.attributes.items()
            if linked or not _is_link(one)
        ]
        return tuple(f"{name} {words}" for name, words in shown if words)

    def _list_links(self, id_: str) -> tuple[str, ...]:
        schema = self.tables.schema
        row, attributes = self._find_row(schema.item_type, id_), schema.nodes[schema.item_type].attributes
        found: Mapping[str, list[str]] = defaultdict(list)
        for name, one in attributes.items():
            if _is_link(one) and row[name]:
                found[name].extend(row[name] if isinstance(row[name], list) else [row[name]])
        for name, edge in schema.graph_edges.items():
            table = self.tables.edges[name]
            for near, far, here, there in (
                (edge.source, edge.target, SOURCE, TARGET),
                (edge.target, edge.source, TARGET, SOURCE),
            ):
                if near != schema.item_type or edge.derived:
                    continue
                ends = table.filter(pc.equal(table[here], id_))[there].to_pylist()
                title = edge.phrase or name
                if near == far and here == TARGET:
                    title += " of"
                found[title].extend(self._names[far].get(end, end) for end in ends)
        return tuple(
            f"{title}: {', '.join(ends[:_MOST_NEIGHBOURS])}"
            + (f" and {len(ends) - _MOST_NEIGHBOURS:,} more" if len(ends) > _MOST_NEIGHBOURS else "")
            for title, ends in found.items()
            if ends
        )


def _choose_items(counts: NDArray[np.int64]) -> list[int]:
    """The item with the most users, one in the middle of those that have any, and one with the fewest."""
    order = np.argsort(-counts, kind="stable")
    n_met = int((counts > 0).sum())
    places = [0, n_met // 2, len(order) - 1]
    return [int(order[place]) for place in dict.fromkeys(places) if place < len(order)]


def _is_link(one: Attribute) -> bool:
    """Whether kgrec makes links of an attribute: to the nodes of its values."""
    return one.feature and one.type in ("string", "list")


def _to_words(value: Any, kind: str) -> str:
    if value is None:
        return ""
    if kind == "time":
        return _to_day(value)
    if kind == "vector":
        return f"{len(value)} numbers"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _to_day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
