"""Changes and removes items of a bundle, without training. Each function is pure, from bundle to bundle."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from graph_schema import CatalogueSchema
from kgrec.bundle import Bundle
from kgrec.errors import RequestError
from kgrec.ids import number_ids
from kgrec.model.component import round_text
from kgrec.recommend.dropped_nodes import drop_nodes
from kgrec.recommend.link_features import read_link_features
from kgrec.recommend.links import add_paths_to_values, find_item_ends, group_edges, warn_of_unknown
from kgrec.recommend.new_items import NewItem, describe_items, naming_item, read_item
from kgrec.recommend.updates import place_by_likes

_UNKNOWN_CONTENT = 0  # a hash that no content has, so that the next sync reads the node


def find_rows(bundle: Bundle, ids: Sequence[str], to_do: str) -> NDArray[np.int64]:
    """The rows of items, (n,) int64.

    Args:
        bundle: the current bundle.
        ids: their ids.
        to_do: what to do where an item is not there, for the message.

    Raises:
        RequestError: an item is unknown.
    """
    rows = bundle.items.rows(ids)
    unknown = [id_ for id_, row in zip(ids, rows.tolist(), strict=True) if row < 0]
    if unknown:
        more = "" if len(unknown) == 1 else f" and {len(unknown) - 1:,} more"
        raise RequestError(
            f"unknown item {unknown[0]!r}{more}: not among the {len(bundle.items):,} items of this bundle; {to_do}"
        )
    return rows


def place_items(
    changed: Bundle,
    before: Bundle,
    kept: NDArray[np.int64],
    replaced: NDArray[np.int64],
    text: Tensor,
    columns: Tensor,
) -> Bundle:
    """Gives a changed catalogue its model: items of the training keep their vectors, others are placed.

    Args:
        changed: the catalogue and the likes after the change, with the model before.
        before: the bundle before.
        kept: (n_kept,) int64, ascending: the rows before of the items that stay, which come first.
        replaced: (n,) int64, ascending: the items that the prior places: the new ones, and of those that nobody liked
            in training the ones whose text, links or vectors changed.
        text: (n_items, text_dim) float32, of all items.
        columns: (n_items, width) float32, the vector columns of all items, NaN where an item has none.
    """
    codes = read_link_features(changed, changed.edges, replaced)
    number = number_ids(changed.items.ids[len(kept) :])
    model = before.model.with_items(kept, text, replaced, codes, columns, number)
    if changed.liked is before.liked:
        return replace(changed, model=place_by_likes(model, changed.liked, replaced))
    liked = np.bincount(changed.liked.indices, minlength=model.n_items) > 0
    # also items that had likes, to undo the effect of deleted ones
    liked[: len(kept)] |= np.bincount(before.liked.indices, minlength=before.model.n_items)[kept] > 0
    return replace(changed, model=place_by_likes(model, changed.liked, np.flatnonzero(liked)))


def remove_items(bundle: Bundle, ids: Sequence[str]) -> Bundle:
    """Removes items; see `Recommender.remove_items`.

    Args:
        bundle: the current bundle.
        ids: their ids.

    Raises:
        RequestError: an item is unknown, or none would be left.
    """
    rows = np.unique(find_rows(bundle, ids, "remove only items that are there"))
    if not len(rows):
        return bundle
    if len(rows) == len(bundle.items):
        raise RequestError(
            f"cannot remove all {len(rows):,} items: a bundle has at least one; add the new items first, or train again"
        )
    dropped = drop_nodes(bundle, bundle.schema.item_type, rows)
    kept, model = dropped.kept, bundle.model
    changed = replace(
        dropped.bundle,
        liked=_keep_columns(bundle.liked, kept),
        liked_at=None if bundle.liked_at is None else _keep_columns(bundle.liked_at, kept),
        seen=_keep_columns(bundle.seen, kept),
        available=bundle.available[kept],
    )
    unlinked = dropped.unlinked[model.cold.numpy()[dropped.unlinked]]
    replaced = dropped.rows_now[unlinked]
    places = torch.from_numpy(kept)
    return place_items(changed, bundle, kept, replaced[replaced >= 0], model.text[places], model.columns[places])


def describe_changes(bundle: Bundle, items: Sequence[NewItem]) -> list[str | None]:
    """The text that places each changed item, as `describe_items` has it, from the names after the change.

    Raises:
        RequestError: an item is unknown or given twice, or an edge type does not belong to items.
    """
    return describe_items(_rename(bundle, items, _find_changed(bundle, items)), items)


def change_items(
    bundle: Bundle, items: Sequence[NewItem], texts: Sequence[NDArray[np.float32] | None]
) -> tuple[Bundle, dict[str, tuple[str, ...]]]:
    """Describes items anew; see `Recommender.change_items`.

    Args:
        bundle: the current bundle.
        items: at least one, as `check_items` returns them.
        texts: for each item, the (text_dim,) float32 vector of its text from `describe_changes`; None without a text.

    Returns:
        The new bundle, and item -> the linked ids that are not in the catalogue; only items with such ids.

    Raises:
        RequestError: an item is unknown or given twice, an edge type or a vector column does not belong to items, a
            vector has another width or is not finite, or an item has no text, name, known links or vectors.
    """
    model, rows = bundle.model, _find_changed(bundle, items)
    unknown: dict[str, tuple[str, ...]] = {}
    lost: list[tuple[str, str, str]] = []
    resolved = []
    text, columns, index = model.text.clone(), model.columns.clone(), torch.from_numpy(rows)
    own = torch.zeros((len(items), text.shape[1]))
    for place, (new, vector) in enumerate(zip(items, texts, strict=True)):
        with naming_item(items, place):
            read = read_item(bundle, new, int(rows[place]), {}, has_text=vector is not None)
        resolved += read.resolved
        lost += read.lost
        if read.unknown:
            unknown[new.item] = read.unknown
        columns[rows[place]] = torch.from_numpy(read.vectors)
        if vector is not None and text.shape[1]:
            own[place] = torch.from_numpy(vector)
    text[index] = round_text(own)
    edges, touched = _relink(bundle, rows, add_paths_to_values(bundle, group_edges(resolved)))
    contents = dict(bundle.contents)
    if bundle.schema.item_type in contents:
        hashes = contents[bundle.schema.item_type].copy()
        hashes[rows[rows < len(hashes)]] = _UNKNOWN_CONTENT
        contents[bundle.schema.item_type] = hashes
    changed = replace(_rename(bundle, items, rows), edges=edges, contents=contents)
    warn_of_unknown(bundle, bundle.schema.item_type, lost)
    replaced = np.union1d(rows, touched)
    replaced = replaced[model.cold.numpy()[replaced]]
    return place_items(changed, bundle, np.arange(model.n_items), replaced, text, columns), unknown


def _find_changed(bundle: Bundle, items: Sequence[NewItem]) -> NDArray[np.int64]:
    """The rows of the items that are changed, (n,) int64."""
    ids = [new.item for new in items]
    twice = (
        next((id_ for place, id_ in enumerate(ids) if id_ in ids[:place]), None) if len(set(ids)) < len(ids) else None
    )
    if twice is not None:
        raise RequestError(f"item {twice!r} is given twice; expected each item once")
    return find_rows(bundle, ids, "add it as a new item")


def _rename(bundle: Bundle, items: Sequence[NewItem], rows: NDArray[np.int64]) -> Bundle:
    """The bundle with other names for some items, (n,) rows."""
    item_type = bundle.schema.item_type
    names = list(bundle.names[item_type])
    for new, row in zip(items, rows.tolist(), strict=True):
        names[row] = new.name
    return replace(bundle, names={**bundle.names, item_type: names})


def _relink(
    bundle: Bundle, rows: NDArray[np.int64], new: Mapping[str, NDArray[np.int64]]
) -> tuple[dict[str, NDArray[np.int64]], NDArray[np.int64]]:
    """The edges after some items, (n,) rows, have only new ones, and the items at the ends of those that differ."""
    edges, differing = dict(bundle.edges), dict[str, NDArray[np.int64]]()
    for name, ends in bundle.edges.items():
        own, added = _own_end(bundle.schema, name), new.get(name, np.zeros((2, 0), np.int64))
        gone = np.zeros(ends.shape[1], np.bool_) if own is None else np.isin(ends[own], rows)
        if own is None and added.shape[1]:  # an item names users: the links that are there stay
            width = int(max(ends.max(initial=0), added.max())) + 1
            added = added[:, ~np.isin(added[0] * width + added[1], ends[0] * width + ends[1])]
        if gone.any() or added.shape[1]:
            edges[name] = np.hstack([ends[:, ~gone], added])
            differing[name] = np.hstack([ends[:, gone], added])
    return edges, find_item_ends(bundle.schema, differing)


def _own_end(schema: CatalogueSchema, edge_type: str) -> int | None:
    """The end, 0 or 1, at which items have an edge type as a link of theirs; None: it is no such link.

    Links of users to items belong to the users, and links between items to those at their sources.
    """
    edge = schema.edges[edge_type]
    if edge.source == schema.item_type:
        return 0
    return 1 if edge.target == schema.item_type and edge.source != schema.user_type else None


def _keep_columns(matrix: csr_array, kept: NDArray[np.int64]) -> csr_array:
    return csr_array(matrix[:, kept])
