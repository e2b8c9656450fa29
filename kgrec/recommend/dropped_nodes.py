"""Takes nodes out of a bundle's catalogue, and moves what names nodes by their rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kgrec.bundle import Bundle
from kgrec.model.prior import ItemEncoder

RowsNow = Callable[
    [str], NDArray[np.int64]
]  # node type -> the current row for each row before, -1 for one that is gone


@dataclass(frozen=True)
class Dropped:
    """A catalogue without some nodes.

    Attributes:
        bundle: without their ids, names, edges, content hashes and link features. What has a row per user or item
            beside these, the model included, is as before.
        kept: (n_kept,) int64 ascending: the rows before of the nodes that stay.
        rows_now: (n_before,) int64: the current row for each row before; -1 for one that is gone.
        unlinked: (n,) int64: the rows before of the items at the ends of edges that are gone.
    """

    bundle: Bundle
    kept: NDArray[np.int64]
    rows_now: NDArray[np.int64]
    unlinked: NDArray[np.int64]


def drop_nodes(bundle: Bundle, node_type: str, rows: NDArray[np.int64]) -> Dropped:
    """Takes nodes of one type, (n,) rows, out of the catalogue of a bundle."""
    before, item_type = bundle.ids[node_type], bundle.schema.item_type
    stays = np.ones(len(before), np.bool_)
    stays[rows] = False
    kept, rows_now = np.flatnonzero(stays), np.where(stays, np.cumsum(stays) - 1, -1)
    edges, unlinked = {}, [np.zeros(0, np.int64)]
    for name, ends in bundle.edges.items():
        end_types = (bundle.schema.edges[name].source, bundle.schema.edges[name].target)
        if node_type not in end_types:
            edges[name] = ends
            continue
        moved = np.stack([rows_now[own] if end == node_type else own for own, end in zip(ends, end_types, strict=True)])
        gone = (moved < 0).any(axis=0)
        unlinked += [own[gone] for own, end in zip(ends, end_types, strict=True) if end == item_type]
        edges[name] = moved[:, ~gone]
    names, contents = bundle.names[node_type], dict(bundle.contents)
    if node_type in contents:
        contents[node_type] = contents[node_type][kept[kept < len(contents[node_type])]]
    of_items, of_users = move_link_nodes(
        bundle, lambda far_type: rows_now if far_type == node_type else np.arange(len(bundle.ids[far_type]))
    )
    smaller = replace(
        bundle,
        ids={**bundle.ids, node_type: type(before)(tuple(before.ids[row] for row in kept.tolist()))},
        names={**bundle.names, node_type: [names[row] for row in kept.tolist()]},
        edges=edges,
        link_node=of_items,
        user_link_node=of_users,
        contents=contents,
    )
    return Dropped(smaller, kept, rows_now, np.unique(np.concatenate(unlinked)))


def move_link_nodes(bundle: Bundle, rows_now: RowsNow) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`Bundle.link_node` and `Bundle.user_link_node` after nodes move to other rows."""
    model = bundle.model
    return (
        _move(bundle.relations, model.prior, bundle.link_node, rows_now),
        _move(bundle.user_relations, model.user_prior, bundle.user_link_node, rows_now),
    )


def _move(
    relations: Sequence[tuple[str, bool, str]],
    encoder: ItemEncoder | None,
    link_node: NDArray[np.int64],
    rows_now: RowsNow,
) -> NDArray[np.int64]:
    if encoder is None:
        return link_node
    moved = link_node.copy()
    for place, (_, _, far_type) in enumerate(relations):
        codes = (encoder.relation == place) & (moved >= 0)
        moved[codes] = rows_now(far_type)[moved[codes]]
    return link_node if np.array_equal(moved, link_node) else moved
