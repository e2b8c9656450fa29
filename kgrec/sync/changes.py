"""Compares a store with a bundle: nodes by content hashes, edges and interactions by their ends."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch_geometric.data import HeteroData

from graph_schema import GraphTables
from kgrec.bundle import Bundle
from kgrec.errors import BundleError
from kgrec.graph.hetero import to_hetero
from kgrec.ids import IdMap
from kgrec.sequences import match_times
from kgrec.text.node_texts import build_node_texts
from kgrec.training.dataset import hash_contents, read_names


@dataclass(frozen=True)
class NodeChanges:
    """How the nodes of one type differ from the bundle's; ids.

    Attributes:
        added: new nodes.
        changed: nodes with a new name or a new text.
        relinked: items with other links.
        deleted: nodes that the store no longer has.
        n_now: the number of nodes in the store.
    """

    added: tuple[str, ...]
    changed: tuple[str, ...]
    relinked: tuple[str, ...]
    deleted: tuple[str, ...]
    n_now: int


@dataclass(frozen=True)
class EdgeChanges:
    """Numbers of edges of one type.

    Attributes:
        n_added: new edges.
        n_deleted: edges that the store no longer has.
        n_now: edges in the store.
    """

    n_added: int
    n_deleted: int
    n_now: int


@dataclass(frozen=True)
class Changes:
    """The differences between a store and a bundle.

    Attributes:
        nodes: by node type.
        edges: by edge type, the interaction included, other feedback left out.
        likes: interactions that are likes; a weight that crosses the schema's `positive` adds or removes one.
        of_values: the node types and edge types that stand for the values of attributes.
        n_moved: likes that stay, at another time.
    """

    nodes: Mapping[str, NodeChanges]
    edges: Mapping[str, EdgeChanges]
    likes: EdgeChanges
    of_values: frozenset[str] = frozenset()
    n_moved: int = 0

    def __bool__(self) -> bool:
        """Whether anything changed."""
        nodes = any((n.added, n.changed, n.relinked, n.deleted) != ((),) * 4 for n in self.nodes.values())
        edges = any(edge.n_added or edge.n_deleted for edge in (*self.edges.values(), self.likes))
        return nodes or edges or self.n_moved > 0


@dataclass(frozen=True)
class Catalogue:
    """A catalogue in the rows of the synced bundle: nodes that stay come first, in the bundle's order, then new ones by
    id.

    Attributes:
        data: the heterograph, without features.
        ids: node type -> its ids and their rows.
        names: node type -> a name, or None, per row.
        contents: from `hash_contents`.
        item_texts, user_texts: the text of each item and each user, or None.
        kept: node type -> (n_kept,) int64, ascending: the bundle's rows of the nodes that still exist.
        liked, liked_at, seen: (n_users, n_items), as in a bundle.
        reread, reread_users: (n_items,) and (n_users,) bool: new ones, and those whose text may have changed: their
            texts are encoded.
        replaced: (n_items,) bool: items that the prior places: new ones, and those that nobody had met in training and
            whose text or links may have changed.
    """

    data: HeteroData
    ids: Mapping[str, IdMap]
    names: Mapping[str, list[str | None]]
    contents: Mapping[str, NDArray[np.int64]]
    item_texts: list[str | None]
    user_texts: list[str | None]
    kept: Mapping[str, NDArray[np.int64]]
    liked: csr_array
    liked_at: csr_array | None
    seen: csr_array
    reread: NDArray[np.bool_]
    reread_users: NDArray[np.bool_]
    replaced: NDArray[np.bool_]

    def rows_now(self, bundle: Bundle, node_type: str) -> NDArray[np.int64]:
        """(n,) int64: the current row for each of the bundle's rows; -1 for deleted nodes."""
        return _rows_now(self.kept[node_type], len(bundle.ids[node_type]))


def find_changes(bundle: Bundle, tables: GraphTables) -> tuple[Catalogue, Changes]:
    """Compares a catalogue with a bundle.

    Args:
        bundle: the bundle.
        tables: the current catalogue, in any order.

    Raises:
        BundleError: the catalogue has another schema, or none of the bundle's items.
        CatalogueError: the catalogue is broken, as in `to_hetero`.
    """
    schema = bundle.schema
    if tables.schema.digest != schema.digest:
        raise BundleError(
            f"the bundle was trained on the schema {schema.name!r} ({schema.digest[:8]}), the catalogue has "
            f"{tables.schema.name!r} ({tables.schema.digest[:8]}): name the store of the bundle, or train again"
        )
    tables, kept = _to_bundle_order(bundle, bundle.values.derive(tables, bundle.ids))
    if not len(kept[schema.item_type]):
        raise BundleError(
            f"none of the bundle's {len(bundle.items):,} items is in this catalogue, which has "
            f"{len(tables.nodes[schema.item_type]):,}: name the store that the bundle was trained on, or train again"
        )
    data, ids = to_hetero(tables)
    texts = build_node_texts(tables)
    item_texts, user_texts = texts[schema.item_type], texts.get(schema.user_type, [None] * len(ids[schema.user_type]))
    names, contents = read_names(tables), hash_contents(tables, item_texts)
    liked, liked_at, seen = _read_interactions(data, bundle)

    n_items, n_kept = len(ids[schema.item_type]), len(kept[schema.item_type])
    reread, relinked = np.ones(n_items, np.bool_), np.zeros(n_items, np.bool_)
    edges = {}
    for name in (*schema.graph_edges, schema.interaction.edge):  # a bundle holds no other feedback
        edge, is_interaction = schema.edges[name], name == schema.interaction.edge
        before = np.stack(bundle.seen.nonzero()) if is_interaction else bundle.edges[name]
        rows = [_rows_now(kept[end], len(bundle.ids[end])) for end in (edge.source, edge.target)]
        found, differing = _compare_edges(before, rows, data[schema.edge_triple(name)].edge_index.numpy())
        edges[name] = found
        for side, node_type in enumerate((edge.source, edge.target)):
            if node_type == schema.item_type and not is_interaction:
                relinked[differing[side][differing[side] >= 0]] = True
    user_rows, item_rows = (_rows_now(kept[end], len(bundle.ids[end])) for end in (schema.user_type, schema.item_type))
    likes, _ = _compare_edges(np.stack(bundle.liked.nonzero()), [user_rows, item_rows], np.stack(liked.nonzero()))

    nodes = {}
    for node_type, nodes_now in ids.items():
        differs, unknown = _compare_contents(bundle, node_type, kept[node_type], names[node_type], contents)
        is_item = node_type == schema.item_type
        if is_item:
            reread[:n_kept] = differs | unknown
        elif node_type == schema.user_type:
            reread_users = np.ones(len(nodes_now), np.bool_)
            reread_users[: len(kept[node_type])] = differs | unknown
        known = set(kept[node_type].tolist())
        nodes[node_type] = NodeChanges(
            added=nodes_now.ids[len(kept[node_type]) :],
            changed=_pick(nodes_now, np.flatnonzero(differs)),
            relinked=_pick(nodes_now, np.flatnonzero(relinked[:n_kept])) if is_item else (),
            deleted=tuple(id_ for row, id_ in enumerate(bundle.ids[node_type].ids) if row not in known),
            n_now=len(nodes_now),
        )
    learned = np.zeros(n_items, np.bool_)
    learned[:n_kept] = ~bundle.model.cold.numpy()[kept[schema.item_type]]
    replaced = (reread | relinked) & ~learned
    catalogue = Catalogue(
        data, ids, names, contents, item_texts, user_texts, kept, liked, liked_at, seen, reread, reread_users, replaced
    )
    derived = [name for name, node in schema.nodes.items() if node.derived]
    derived += [name for name, edge in schema.edges.items() if edge.derived]
    n_moved = _count_moved(bundle.liked_at, liked_at, user_rows, item_rows)
    return catalogue, Changes(nodes, edges, likes, frozenset(derived), n_moved)


def _to_bundle_order(bundle: Bundle, tables: GraphTables) -> tuple[GraphTables, dict[str, NDArray[np.int64]]]:
    """The tables with the bundle's nodes first, in its order, and the rows of these nodes in the bundle."""
    nodes, kept = {}, {}
    for node_type, table in tables.nodes.items():
        ids = tables.ids(node_type).combine_chunks()
        before = pa.array(bundle.ids[node_type].ids, pa.string())
        places = pc.fill_null(pc.index_in(before, ids), -1).to_numpy().astype(np.int64)
        new = np.flatnonzero(pc.invert(pc.is_in(ids, before)).to_numpy(zero_copy_only=False))
        new = new[pc.sort_indices(ids.take(pa.array(new))).to_numpy()]
        nodes[node_type] = table.take(np.concatenate([places[places >= 0], new]))
        kept[node_type] = np.flatnonzero(places >= 0)
    return GraphTables(tables.schema, nodes, tables.edges), kept


def _rows_now(kept: NDArray[np.int64], n_before: int) -> NDArray[np.int64]:
    rows = np.full(n_before, -1, np.int64)
    rows[kept] = np.arange(len(kept))
    return rows


def _read_interactions(data: HeteroData, bundle: Bundle) -> tuple[csr_array, csr_array | None, csr_array]:
    """The likes, their times and all interactions, (n_users, n_items) each; all may be empty."""
    schema = bundle.schema
    found = data[schema.edge_triple(schema.interaction.edge)]
    users, items = found.edge_index.numpy()
    positive = np.ones(len(users), np.bool_)
    if schema.interaction.weight is not None:
        positive = schema.interaction.is_like(found.weight.numpy())
    shape = (data[schema.user_type].num_nodes, data[schema.item_type].num_nodes)
    matrices = []
    for kept in (positive, np.ones_like(positive)):
        matrix = csr_array((np.ones(int(kept.sum()), np.float32), (users[kept], items[kept])), shape=shape)
        matrix.data[:] = 1
        matrices.append(matrix)
    liked, seen = matrices
    if "time" not in found:
        return liked, None, seen
    return liked, match_times(liked, users[positive], items[positive], found.time.numpy()[positive]), seen


def _count_moved(
    before: csr_array | None, now: csr_array | None, user_rows: NDArray[np.int64], item_rows: NDArray[np.int64]
) -> int:
    """How many likes stay, at another time.

    Args:
        before: (n_users, n_items) the bundle's times of likes; None: they have none.
        now: the current ones.
        user_rows: the current row of each of the bundle's users; -1 for one that is gone.
        item_rows: likewise of the items.
    """
    if before is None or now is None:
        return 0
    users = user_rows[np.repeat(np.arange(before.shape[0]), np.diff(before.indptr))]
    items = item_rows[before.indices]
    stay = (users >= 0) & (items >= 0)
    codes = users[stay] * now.shape[1] + items[stay]
    codes_now = np.repeat(np.arange(now.shape[0]), np.diff(now.indptr)) * now.shape[1] + now.indices  # ascending
    place = np.minimum(np.searchsorted(codes_now, codes), max(len(codes_now) - 1, 0))
    found = codes_now[place] == codes if len(codes_now) else np.zeros(len(codes), np.bool_)
    return int((now.data[place[found]] != before.data[stay][found]).sum())


def _compare_edges(
    before: NDArray[np.int64], rows: list[NDArray[np.int64]], now: NDArray[np.int64]
) -> tuple[EdgeChanges, NDArray[np.int64]]:
    """Compares the edges of one type.

    Args:
        before: (2, n) int64 rows of the bundle.
        rows: the current rows of the sources and of the targets; -1 for deleted nodes.
        now: (2, m) int64 current rows.

    Returns:
        The counts, and (2, n) int64: the ends of the edges that are new or gone; -1 for a deleted node.
    """
    was = np.stack([rows[0][before[0]], rows[1][before[1]]])
    width = max(len(rows[1]), int(now[1].max(initial=-1)) + 1, 1)
    codes_was, codes_now = was[0] * width + was[1], now[0] * width + now[1]
    added = ~_is_in(codes_now, codes_was[(was >= 0).all(axis=0)])
    deleted = (was < 0).any(axis=0) | ~_is_in(codes_was, codes_now)
    found = EdgeChanges(int(added.sum()), int(deleted.sum()), now.shape[1])
    return found, np.hstack([now[:, added], was[:, deleted]])


def _is_in(codes: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = pc.is_in(pa.array(codes), pa.array(others)).to_numpy(zero_copy_only=False)  # by hashing
    return found


def _compare_contents(
    bundle: Bundle,
    node_type: str,
    kept: NDArray[np.int64],
    names: list[str | None],
    contents: Mapping[str, NDArray[np.int64]],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which of the remaining nodes changed, and which ones the bundle has no hash for."""
    before = bundle.names[node_type]
    renamed = np.array([before[row] != name for row, name in zip(kept.tolist(), names, strict=False)], np.bool_)
    node = bundle.schema.nodes[node_type]
    if node.derived or (node_type == bundle.schema.user_type and not node.text):
        return renamed, np.zeros(len(kept), np.bool_)
    hashes = bundle.contents.get(node_type, np.zeros(0, np.int64))
    known = kept < len(hashes)
    differs = renamed.copy()
    differs[known] = hashes[kept[known]] != contents[node_type][: len(kept)][known]
    return differs, ~known


def _pick(ids: IdMap, rows: NDArray[np.int64]) -> tuple[str, ...]:
    return tuple(ids.ids[row] for row in rows.tolist())
