"""Real paths through the graph: those behind a reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from heapq import nsmallest

import numpy as np
from numpy.typing import NDArray

from graph_schema import CatalogueSchema, EdgeType
from kgrec.errors import RequestError
from kgrec.ids import IdMap

_NO_ROWS = np.empty(0, dtype=np.int64)
_PREPOSITIONS = ("about", "at", "by", "for", "from", "in", "of", "on", "to", "with")


@dataclass(frozen=True)
class PathNode:
    """A node on a path.

    Attributes:
        node_type: its type in the schema.
        id: the catalogue's id.
        name: its name; None if the catalogue has none.
    """

    node_type: str
    id: str
    name: str | None


@dataclass(frozen=True)
class PathStep:
    """One edge of a path, as it is walked.

    Attributes:
        relation: the edge type.
        phrase: the schema's phrase for it, or the name of the edge type.
        forward: whether it is walked from its source to its target.
        node: the node that it leads to.
    """

    relation: str
    phrase: str
    forward: bool
    node: PathNode


@dataclass(frozen=True)
class ReasonPath:
    """A path of one or two edges from a recommended item to another one.

    Attributes:
        start: the recommended item.
        steps: the edges, the last of which leads to the other item.
        n_sharing: the number of items that share the node in the middle, 2 for a direct edge; less is more specific.
    """

    start: PathNode
    steps: tuple[PathStep, ...]
    n_sharing: int = 2

    def sentence(self, other_name: str | None = None) -> str:
        """Puts the path into words: "same director (Quentin Tarantino) as Pulp Fiction", "sequel of Heat".

        Args:
            other_name: the other item's name; None: its name in the catalogue, or its id.
        """
        first, last = self.steps[0], self.steps[-1]
        other = other_name or last.node.name or last.node.id
        after_preposition = first.phrase.rsplit(" ", 1)[-1] in _PREPOSITIONS
        if len(self.steps) == 1:
            if after_preposition:  # "based on": it reads from the source to the target
                return f"{first.phrase} {other}" if first.forward else f"{other} is {first.phrase} this"
            return f"{first.phrase}: {other}" if first.forward else f"{first.phrase} of {other}"
        entity = first.node.name
        named = f" ({entity})" if entity else ""
        if first.relation == last.relation and first.forward != last.forward:
            same = f"{first.phrase} the same" if after_preposition and first.forward else f"same {first.phrase}"
            # An attribute's value without a phrase says what it is: "from the 1990s".
            return f"{same}{named} as {other}" if first.phrase else f"{entity}, like {other}"
        middle = entity or f"the same {first.node.node_type}"
        if first.relation == last.relation:  # a chain, item -> middle -> item: the words alone would hide the direction
            arrow = "->" if first.forward else "<-"
            return f"this {arrow} {middle} {arrow} {other} ({first.phrase})"
        return f"{middle}: {first.phrase} here, {last.phrase} in {other}"


@dataclass(frozen=True, eq=False)
class _Links:
    """Items' edges in the graph; an item's own are sorted by (node, code)."""

    nodes: NDArray[np.int64]  # (n,) the node at the other end, over all node types
    codes: NDArray[np.int64]  # (n,) 2 x relation + (0 walked forward, 1 backward)
    n_items: NDArray[np.int64]  # (n,) the number of items with an edge of this code to this node

    def __getitem__(self, span: slice) -> _Links:
        return _Links(self.nodes[span], self.codes[span], self.n_items[span])

    def by_node(self, wanted: set[int]) -> dict[int, list[tuple[int, int]]]:
        """Wanted node -> (code, n_items) of each edge to it."""
        found: dict[int, list[tuple[int, int]]] = {node: [] for node in wanted}
        for place, node in enumerate(self.nodes.tolist()):
            if node in wanted:
                found[node].append((int(self.codes[place]), int(self.n_items[place])))
        return found


@dataclass(frozen=True, eq=False)
class PathIndex:
    """The graph's edges around each item, which give the paths between two items in microseconds.

    Built by `build_path_index`. It is immutable: `with_item` returns another one, which shares its arrays.

    Attributes:
        schema: the catalogue's schema.
        ids: node type -> its ids and their rows.
        names: node type -> a name, or None, per row.
    """

    schema: CatalogueSchema
    ids: Mapping[str, IdMap]
    names: Mapping[str, Sequence[str | None]]
    _offsets: Mapping[str, int]  # node type -> the number of its row 0 over all node types
    _ranks: NDArray[np.int64]  # (n_nodes,) the place of a node when each type is sorted by id: it breaks ties
    _links: _Links  # of all items
    _starts: NDArray[np.int64]  # (n_items + 1,) where an item's edges start in _links
    _added: Mapping[str, tuple[PathNode, _Links]]  # items added since it was built

    def shared_paths(self, item: str, other: str, k: int = 3) -> list[ReasonPath]:
        """Finds the most specific paths between two items: a direct edge, or two edges that meet in a node.

        Direct edges come first, then paths through nodes that few items share, then through values in words, such as
        brands, and last through ranges of numbers, such as prices. If both items reach a node by the same relation,
        paths to it by two different relations are left out.

        Args:
            item: the id of the recommended item, where the paths start.
            other: the id of the item where they end.
            k: the most paths to return.

        Returns:
            The paths, best first, always in the same order.

        Raises:
            RequestError: an item is unknown.
        """
        start, links = self._find(item)
        end, other_links = self._find(other)
        if item == other or k <= 0:
            return []
        direct = self._direct_codes(links, other)
        if not direct and other in self._added:  # an added item's edges are kept on its own side only
            direct = [code ^ 1 for code in self._direct_codes(other_links, item)]
        paths = [ReasonPath(start, (self._step(code, end),)) for code in direct[:k]]
        for _, n_sharing, *_, node, code, other_code in nsmallest(k - len(paths), self._meetings(links, other_links)):
            steps = (self._step(code, self._node(node)), self._step(other_code ^ 1, end))
            paths.append(ReasonPath(start, steps, n_sharing))
        return paths

    def with_item(self, item: str, name: str | None, links: Iterable[tuple[str, str]]) -> PathIndex:
        """Adds an item; the numbers of items that share a node, which rank paths, stay as they were built.

        Args:
            item: the new item's id.
            name: its name, if it has one.
            links: its edges, as (edge type, id of the node at the other end). Where both ends of an edge type are
                items, the new one is the source. Edges that paths must not show are left out.

        Raises:
            RequestError: the item exists already, or a link names no edge type of items or an unknown node.
        """
        item_type = self.schema.item_type
        if item in self._added or item in self.ids[item_type]:
            raise RequestError(f"{item_type} {item!r} exists already; expected a new id")
        relations = list(self.schema.graph_edges)
        found = set()
        for relation, far_id in links:
            edge = self.schema.graph_edges.get(relation)
            if edge is None or item_type not in (edge.source, edge.target):
                expected = f"expected one of {relations}" if relations else "nodes of this type have no links"
                raise RequestError(f"no edge type {relation!r} of the node type {item_type!r}; {expected}")
            forward = edge.source == item_type
            far_type = edge.target if forward else edge.source
            row = self.ids[far_type].row(far_id)
            if row is None:
                raise RequestError(f"link {relation!r}: no {far_type} has the id {far_id!r}; load it, or leave it out")
            unnamed = edge.derived and (relation != far_type or self.names[far_type][row] is None)
            if not unnamed and not _shows_users(self.schema, edge):
                found.add((self._offsets[far_type] + row, 2 * relations.index(relation) + (not forward)))
        nodes, codes = np.array(sorted(found), dtype=np.int64).reshape(-1, 2).T
        n_items = [
            np.count_nonzero((self._links.nodes == node) & (self._links.codes == code)) for node, code in sorted(found)
        ]
        added = (PathNode(item_type, item, name), _Links(nodes, codes, np.array(n_items, dtype=np.int64)))
        return replace(self, _added={**self._added, item: added})

    def _find(self, item: str) -> tuple[PathNode, _Links]:
        if item in self._added:
            return self._added[item]
        row = self.ids[self.schema.item_type].row(item)
        if row is None:
            raise RequestError(f"unknown {self.schema.item_type} {item!r}; expected an id of the catalogue")
        links = self._links[self._starts[row] : self._starts[row + 1]]
        return self._node(self._offsets[self.schema.item_type] + row), links

    def _node(self, node: int) -> PathNode:
        node_type = next(t for t, offset in self._offsets.items() if 0 <= node - offset < len(self.ids[t]))
        row = node - self._offsets[node_type]
        return PathNode(node_type, self.ids[node_type].ids[row], self.names[node_type][row])

    def _step(self, code: int, node: PathNode) -> PathStep:
        relation = list(self.schema.graph_edges)[code >> 1]
        phrase = self.schema.edges[relation].phrase
        phrase = relation.replace("_", " ") if phrase is None else phrase
        return PathStep(relation, phrase, code % 2 == 0, node)

    @cached_property
    def _value_ranks(self) -> list[int]:
        """For each relation, 0 where it is a link, 1 where it leads to a value in words, 2 to a range of numbers."""
        return [rank_value(edge) for edge in self.schema.graph_edges.values()]

    def _direct_codes(self, links: _Links, other: str) -> list[int]:
        row = self.ids[self.schema.item_type].row(other)
        if row is None:
            return []
        node = self._offsets[self.schema.item_type] + row
        first, last = np.searchsorted(links.nodes, [node, node + 1])
        return [int(code) for code in links.codes[first:last]]

    def _meetings(self, links: _Links, other_links: _Links) -> list[tuple[int, int, bool, int, int, int, int, int]]:
        """Each meeting of two items' edges.

        Returns:
            (the rank of values, items that share the node, whether the codes differ, the item's code, the node's
            rank, the node, the item's code, the other's code); the most specific path sorts first.
        """
        shared = set(links.nodes.tolist()).intersection(other_links.nodes.tolist())
        ours, theirs = links.by_node(shared), other_links.by_node(shared)
        meetings = []
        for node in shared:
            pairs = [(a, b) for a in ours[node] for b in theirs[node]]
            same = [(a, b) for a, b in pairs if a[0] == b[0]]
            for (code, n_items), (other_code, n_others) in same or pairs:
                n_sharing = max(n_items, n_others) if same else n_items + n_others
                rank = int(self._ranks[node])
                meetings.append((self._value_ranks[code >> 1], n_sharing, not same, code, rank, node, code, other_code))
        return meetings


def rank_value(edge: EdgeType) -> int:
    """How late an edge is a reason: 0, a link; 1, to a value in words; 2, to a range of numbers or the like."""
    return 0 if not edge.derived else 1 if edge.phrase else 2


def build_path_index(
    schema: CatalogueSchema,
    ids: Mapping[str, IdMap],
    edges: Mapping[str, NDArray[np.int64]],
    names: Mapping[str, Sequence[str | None]],
) -> PathIndex:
    """Builds the index of the paths between items.

    Args:
        schema: the catalogue's schema.
        ids: node type -> its ids and their rows.
        edges: edge type -> the rows of both ends, int64 (2, n); the interaction is not read.
        names: node type -> a name, or None, per row.
    """
    offsets = _number(schema, ids)
    item_rows, nodes, codes = [_NO_ROWS], [_NO_ROWS], [_NO_ROWS]
    for relation, (name, edge) in enumerate(schema.graph_edges.items()):
        source, target = edges[name]
        if edge.source == edge.target:
            source, target = edges[name][:, source != target]  # an edge from a node to itself leads nowhere
        elif edge.derived:
            source, target = edges[name][:, _has_name(edge, name, names)[target]]
        elif _shows_users(schema, edge):
            continue
        for backward, near_type, near, far_type, far in (
            (0, edge.source, source, edge.target, target),
            (1, edge.target, target, edge.source, source),
        ):
            if near_type == schema.item_type:
                item_rows.append(near)
                nodes.append(offsets[far_type] + far)
                codes.append(np.full(len(near), 2 * relation + backward))
    node, code = np.concatenate(nodes), np.concatenate(codes)
    _, group, counts = np.unique(node * 2 * (len(schema.edges) + 1) + code, return_inverse=True, return_counts=True)
    return _index(schema, ids, names, np.concatenate(item_rows), _Links(node, code, counts[group]))


def _shows_users(schema: CatalogueSchema, edge: EdgeType) -> bool:
    """Whether a path over an edge would show who a user is, though users are not public."""
    return schema.user_type in (edge.source, edge.target) and not schema.nodes[schema.user_type].public


def _has_name(edge: EdgeType, name: str, names: Mapping[str, Sequence[str | None]]) -> NDArray[np.bool_]:
    """(n_values,) whether reasons name a value: it has a name, and is a node's own, not that of a node linked to it."""
    return np.array([value is not None and name == edge.target for value in names[edge.target]], np.bool_)


def build_path_index_around(
    schema: CatalogueSchema,
    names: Mapping[str, Mapping[str, str | None]],
    links: Sequence[tuple[str, str, bool, str, int]],
) -> PathIndex:
    """Builds the index of the paths between some items from their edges alone.

    It finds the same paths between them as the index of the whole catalogue.

    Args:
        schema: the catalogue's schema.
        names: node type -> id -> name, or None: of the items and of all nodes that they are linked to.
        links: each edge at an item once, without loops: (item, edge type, whether the item is its target, id of the
            other end, the number of items in the whole catalogue with such an edge to it).
    """
    ids = {node_type: IdMap(tuple(names.get(node_type, ()))) for node_type in schema.nodes}
    numbers = {
        node_type: dict(zip(ids[node_type].ids, range(offset, offset + len(ids[node_type])), strict=True))
        for node_type, offset in _number(schema, ids).items()
    }
    ways = {
        (relation, reverse): (numbers[edge.source if reverse else edge.target], 2 * place + reverse)
        for place, (relation, edge) in enumerate(schema.graph_edges.items())
        for reverse in (False, True)
    }
    links = [link for link in links if not _shows_users(schema, schema.edges[link[1]])]
    rows = np.empty((3, len(links)), dtype=np.int64)
    for place, (_, relation, reverse, far_id, n_items) in enumerate(links):
        far, code = ways[relation, reverse]
        rows[:, place] = far[far_id], code, n_items
    item_row = ids[schema.item_type].rows(link[0] for link in links)
    listed = {node_type: list(names.get(node_type, {}).values()) for node_type in schema.nodes}
    return _index(schema, ids, listed, item_row, _Links(*rows))


def _number(schema: CatalogueSchema, ids: Mapping[str, IdMap]) -> dict[str, int]:
    """Node type -> the number of its row 0 over all node types."""
    sizes = np.array([len(ids[node_type]) for node_type in schema.nodes])
    return dict(zip(schema.nodes, (np.cumsum(sizes) - sizes).tolist(), strict=True))


def _index(
    schema: CatalogueSchema,
    ids: Mapping[str, IdMap],
    names: Mapping[str, Sequence[str | None]],
    item_row: NDArray[np.int64],
    links: _Links,
) -> PathIndex:
    """Builds the index from links in any order; item_row has the row of each link's item."""
    offsets = _number(schema, ids)
    ranks = np.empty(sum(map(len, ids.values())), dtype=np.int64)
    for node_type, offset in offsets.items():
        by_id = sorted(range(len(ids[node_type])), key=ids[node_type].ids.__getitem__)
        ranks[offset + np.array(by_id, dtype=np.int64)] = np.arange(len(by_id))
    order = np.lexsort((links.codes, links.nodes, item_row))
    starts = np.searchsorted(item_row[order], np.arange(len(ids[schema.item_type]) + 1))
    links = _Links(links.nodes[order], links.codes[order], links.n_items[order])
    return PathIndex(schema, ids, names, offsets, ranks, links, starts, {})
