"""Makes a bundle for the current catalogue from one that was trained earlier."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graph_schema import GraphTables
from kgrec.bundle import Bundle, load_bundle_encoder
from kgrec.errors import BundleError
from kgrec.graph.availability import read_available
from kgrec.graph.propagation import join_vectors, read_item_vectors
from kgrec.model.component import round_text
from kgrec.recommend.dropped_nodes import move_link_nodes
from kgrec.recommend.item_changes import place_items
from kgrec.sync.changes import Catalogue, Changes, find_changes
from kgrec.sync.staleness import Staleness, measure_staleness
from kgrec.text.cache import encode_cached
from kgrec.text.encoder import Encoder, OnTexts

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SyncReport:
    """The result of a sync, or of its preview.

    Attributes:
        changes: the differences between the store and the bundle.
        n_encoded: the number of item texts to encode.
        n_placed: the number of items that the prior places.
        staleness: of the bundle once it is synced, against its training.
    """

    changes: Changes
    n_encoded: int
    n_placed: int
    staleness: Staleness


def preview_sync(bundle: Bundle, tables: GraphTables, *, now: int) -> SyncReport:
    """Reports what `sync_bundle` would do, without doing it; see there for arguments and errors."""
    return _report(bundle, *_compare(bundle, tables)[:2], now)


def sync_bundle(
    bundle: Bundle,
    tables: GraphTables,
    encoder: Encoder | None,
    cache_dir: Path,
    *,
    now: int,
    on_texts: OnTexts | None = None,
) -> tuple[Bundle, SyncReport]:
    """Brings a bundle up to date with a catalogue, without training.

    Items of the training keep their learned vectors. New items, and items without interactions in training whose text
    or links changed, are placed by the prior, as in `Recommender.add_item`, and by their likes, as in
    `Recommender.add_interactions`. Deleted nodes leave the bundle with their names, links and likes. Users have the
    likes, their times and the seen items of the catalogue. A link to an entity that training did not know appears in
    reasons, but does not place an item.

    Args:
        bundle: the bundle; it is not changed.
        tables: the catalogue, in any order.
        encoder: encodes texts; None: the encoder of the bundle, loaded if there is a text to encode.
        cache_dir: the folder of the text cache.
        now: the current time in UTC seconds.
        on_texts: called with (texts encoded, texts in total).

    Returns:
        The new bundle and the report.

    Raises:
        BundleError: the catalogue has another schema or none of the bundle's items, the encoder is not the bundle's, or
            the bundle was trained with --private.
        CatalogueError: the catalogue is broken, as in `to_hetero`.
        TextError: the encoder cannot be loaded.
    """
    catalogue, changes, available = _compare(bundle, tables)
    schema, report = bundle.schema, _report(bundle, catalogue, changes, now)
    text, user_text = _read_texts(bundle, catalogue, encoder, cache_dir, on_texts)
    kept = catalogue.kept[schema.item_type]
    lineage = replace(bundle.lineage, n_syncs=bundle.lineage.n_syncs + 1, synced_at=now) if changes else bundle.lineage
    of_items, of_users = move_link_nodes(bundle, lambda node_type: catalogue.rows_now(bundle, node_type))
    synced = replace(
        bundle,
        ids=catalogue.ids,
        names=catalogue.names,
        edges={name: catalogue.data[schema.edge_triple(name)].edge_index.numpy() for name in schema.graph_edges},
        link_node=of_items,
        user_link_node=of_users,
        user_text=user_text,
        liked=catalogue.liked,
        liked_at=catalogue.liked_at,
        seen=catalogue.seen,
        lineage=lineage,
        contents=catalogue.contents,
        available=available,
    )
    columns = torch.from_numpy(_read_columns(bundle, catalogue))
    placed = place_items(synced, bundle, kept, np.flatnonzero(catalogue.replaced), text, columns)
    _log.info("synced: %d texts encoded, %d items placed", report.n_encoded, report.n_placed)
    return placed, report


def _compare(bundle: Bundle, tables: GraphTables) -> tuple[Catalogue, Changes, NDArray[np.bool_]]:
    """The catalogue, its changes, and (n_items,) bool: what can be had now, which counts as a change.

    Raises:
        BundleError: the bundle is private, or as in `sync_bundle`.
    """
    if bundle.config.private is not None and not bundle.config.private.keep_users:
        raise BundleError(
            "the bundle was trained with --private and has no users; a sync would write the likes of users into it: "
            "train again, or train with --keep-users where the bundle's files need not be private"
        )
    catalogue, changes = find_changes(bundle, tables)
    item_type = bundle.schema.item_type
    items, kept = catalogue.ids[item_type], catalogue.kept[item_type]
    available = read_available(tables, items)
    differing = np.flatnonzero(available[: len(kept)] != bundle.available[kept])
    found = changes.nodes[item_type]
    changed = dict.fromkeys([*found.changed, *(items.ids[row] for row in differing.tolist())])
    nodes = {**changes.nodes, item_type: replace(found, changed=tuple(changed))}
    return catalogue, replace(changes, nodes=nodes), available


def _report(bundle: Bundle, catalogue: Catalogue, changes: Changes, now: int) -> SyncReport:
    n_likes = np.bincount(catalogue.liked.indices, minlength=catalogue.liked.shape[1])
    staleness = measure_staleness(bundle, catalogue.kept[bundle.schema.item_type], n_likes, now=now)
    n_encoded = sum(len(part.to_encode) for part in _text_parts(bundle, catalogue))
    return SyncReport(changes, n_encoded, int(catalogue.replaced.sum()), staleness)


@dataclass(frozen=True)
class _TextPart:
    """The texts of items, or of users, before and after a sync.

    Attributes:
        before: (n_before, text_dim) float32.
        kept: (n_kept,) int64, the rows of the nodes that still exist.
        texts: the current text of each node, or None.
        reread: (n_nodes,) bool: the nodes whose texts may have changed.
    """

    before: Tensor
    kept: NDArray[np.int64]
    texts: Sequence[str | None]
    reread: NDArray[np.bool_]

    @property
    def to_encode(self) -> list[int]:
        """The rows whose texts are encoded; empty if training had no such texts."""
        if not self.before.shape[1]:
            return []
        return [row for row in np.flatnonzero(self.reread).tolist() if self.texts[row] is not None]

    @property
    def carried(self) -> Tensor:
        """(n_nodes, text_dim) float32: the vectors that stay, zeros for the others."""
        text = torch.zeros((len(self.texts), self.before.shape[1]))
        text[: len(self.kept)] = self.before[torch.from_numpy(self.kept)]
        text[torch.from_numpy(self.reread)] = 0
        return text


def _text_parts(bundle: Bundle, catalogue: Catalogue) -> tuple[_TextPart, _TextPart]:
    """The texts of items and of users."""
    items, users = catalogue.kept[bundle.schema.item_type], catalogue.kept[bundle.schema.user_type]
    return (
        _TextPart(bundle.model.text, items, catalogue.item_texts, catalogue.reread),
        _TextPart(bundle.user_text, users, catalogue.user_texts, catalogue.reread_users),
    )


def _read_texts(
    bundle: Bundle, catalogue: Catalogue, encoder: Encoder | None, cache_dir: Path, on_texts: OnTexts | None
) -> tuple[Tensor, Tensor]:
    """The text vectors of all items and of all users, (n, text_dim) float32; zeros for those without a text."""
    parts = _text_parts(bundle, catalogue)
    of_items, of_users = (part.carried for part in parts)
    rows = [part.to_encode for part in parts]
    if not any(rows):
        return of_items, of_users
    encoder = encoder or load_bundle_encoder(bundle)
    if encoder.revision != bundle.encoder_revision:
        raise BundleError(
            f"the text encoder {encoder.name!r} has revision {encoder.revision[:12]}, the bundle was trained with "
            f"{bundle.encoder_revision[:12]}: give that encoder, or train again"
        )
    texts = [str(part.texts[row]) for part, own in zip(parts, rows, strict=True) for row in own]
    vectors = torch.from_numpy(encode_cached(encoder, texts, cache_dir, on_texts))
    if rows[0]:
        of_items[rows[0]] = vectors[: len(rows[0])]
    if rows[1]:
        of_users[rows[1]] = vectors[len(rows[0]) :]
    # as stored, so that an item is placed the same before and after saving
    return round_text(of_items), round_text(of_users)


def _read_columns(bundle: Bundle, catalogue: Catalogue) -> NDArray[np.float32]:
    """The vector columns of all items, (n_items, width) float32, NaN where an item has none."""
    columns = read_item_vectors(catalogue.data, bundle.schema)
    return join_vectors(columns, bundle.vector_widths, len(catalogue.item_texts))
