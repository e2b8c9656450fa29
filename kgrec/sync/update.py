"""The bundle of a catalogue as it is now, made from one that was trained earlier."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graph_schema import GraphTables
from kgrec.bundle import Bundle, load_bundle_encoder
from kgrec.errors import BundleError
from kgrec.graph.propagation import join_vectors, read_item_vectors
from kgrec.ids import number_ids
from kgrec.model.component import round_text
from kgrec.recommend.links import read_link_codes
from kgrec.recommend.updates import place_by_likes
from kgrec.sync.changes import Catalogue, Changes, find_changes
from kgrec.sync.staleness import Staleness, measure_staleness
from kgrec.text.cache import encode_cached
from kgrec.text.encoder import Encoder, OnTexts

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SyncReport:
    """What a sync does, or would do.

    Attributes:
        changes: what differs between the store and the bundle.
        n_encoded: texts of items that are encoded.
        n_placed: items that the prior places.
        staleness: of the bundle once it is synced, against its training.
    """

    changes: Changes
    n_encoded: int
    n_placed: int
    staleness: Staleness


def preview_sync(bundle: Bundle, tables: GraphTables, *, now: int) -> SyncReport:
    """Tells what `sync_bundle` would do, without doing it; arguments and errors are its own."""
    return _report(bundle, *find_changes(bundle, tables), now)


def sync_bundle(
    bundle: Bundle,
    tables: GraphTables,
    encoder: Encoder | None,
    cache_dir: Path,
    *,
    now: int,
    on_texts: OnTexts | None = None,
) -> tuple[Bundle, SyncReport]:
    """Makes a bundle that knows a catalogue as it is now, without training.

    Items that were there keep their learned vectors. New ones, and those that nobody had met in training and whose
    text or links changed, are placed by the prior, as `Recommender.add_item` does; those of them that are liked by now
    also by who likes them, as `Recommender.add_interactions` does. What is gone is gone from the
    bundle: ids, names, links, likes. Users are what they like and have seen in the catalogue. A link to an entity that
    training did not know counts for reasons, not for where an item is placed.

    Args:
        bundle: the bundle; it is not changed.
        tables: the catalogue, in any order.
        encoder: of the texts; None: the one that the bundle was trained with, loaded if there is a text to encode.
        cache_dir: where vectors of texts seen before are kept.
        now: UTC seconds.
        on_texts: called with (texts encoded so far, texts to encode).

    Raises:
        BundleError: the catalogue has another schema or none of the bundle's items, or the encoder is another.
        CatalogueError: the catalogue is broken, as in `to_hetero`.
        TextError: the encoder cannot be loaded.
    """
    catalogue, changes = find_changes(bundle, tables)
    schema, report = bundle.schema, _report(bundle, catalogue, changes, now)
    text = _read_texts(bundle, catalogue, encoder, cache_dir, on_texts)
    kept = catalogue.kept[schema.item_type]
    lineage = replace(bundle.lineage, n_syncs=bundle.lineage.n_syncs + 1, synced_at=now) if changes else bundle.lineage
    synced = replace(
        bundle,
        ids=catalogue.ids,
        names=catalogue.names,
        edges={name: catalogue.data[schema.edge_triple(name)].edge_index.numpy() for name in schema.graph_edges},
        link_node=_move_link_nodes(bundle, catalogue),
        liked=catalogue.liked,
        seen=catalogue.seen,
        lineage=lineage,
        contents=catalogue.contents,
    )
    replaced = np.flatnonzero(catalogue.replaced)
    model = bundle.model.with_items(
        kept,
        text,
        replaced,
        read_link_codes(synced, synced.edges, replaced),
        torch.from_numpy(_read_columns(bundle, catalogue)),
        number_ids(catalogue.ids[schema.item_type].ids[len(kept) :]),
    )
    liked = np.bincount(catalogue.liked.indices, minlength=model.n_items) > 0
    liked[: len(kept)] |= np.bincount(bundle.liked.indices, minlength=bundle.model.n_items)[kept] > 0
    # also items that were liked, so that what likes that are gone did is undone
    model = place_by_likes(model, catalogue.liked, np.flatnonzero(liked))
    _log.info("synced: %d texts encoded, %d items placed", report.n_encoded, report.n_placed)
    return replace(synced, model=model), report


def _report(bundle: Bundle, catalogue: Catalogue, changes: Changes, now: int) -> SyncReport:
    n_likes = np.bincount(catalogue.liked.indices, minlength=catalogue.liked.shape[1])
    staleness = measure_staleness(bundle, catalogue.kept[bundle.schema.item_type], n_likes, now=now)
    n_encoded = len(_to_encode(bundle, catalogue))
    return SyncReport(changes, n_encoded, int(catalogue.replaced.sum()), staleness)


def _to_encode(bundle: Bundle, catalogue: Catalogue) -> list[int]:
    """The rows of the items whose texts are encoded; none where training found no text in any item."""
    if not bundle.model.text.shape[1]:
        return []
    return [row for row in np.flatnonzero(catalogue.reread).tolist() if catalogue.item_texts[row] is not None]


def _read_texts(
    bundle: Bundle, catalogue: Catalogue, encoder: Encoder | None, cache_dir: Path, on_texts: OnTexts | None
) -> Tensor:
    """The text vectors of all items, (n_items, text_dim) float32; zeros for those without a text."""
    kept = catalogue.kept[bundle.schema.item_type]
    text = torch.zeros((len(catalogue.item_texts), bundle.model.text.shape[1]))
    text[: len(kept)] = bundle.model.text[torch.from_numpy(kept)]
    text[torch.from_numpy(catalogue.reread)] = 0
    rows = _to_encode(bundle, catalogue)
    if not rows:
        return text
    encoder = encoder or load_bundle_encoder(bundle)
    if encoder.revision != bundle.encoder_revision:
        raise BundleError(
            f"the text encoder {encoder.name!r} has revision {encoder.revision[:12]}, the bundle was trained with "
            f"{bundle.encoder_revision[:12]}: give that encoder, or train again"
        )
    texts = [found for row in rows if (found := catalogue.item_texts[row]) is not None]
    text[rows] = torch.from_numpy(encode_cached(encoder, texts, cache_dir, on_texts))
    return round_text(text)  # as a bundle stores them, so that an item is placed the same whenever it is placed


def _move_link_nodes(bundle: Bundle, catalogue: Catalogue) -> NDArray[np.int64]:
    """The node row of each link code as it is now, -1 for what is gone."""
    moved = bundle.link_node.copy()
    for place, (_, _, far_type) in enumerate(bundle.relations):
        codes = (bundle.model.prior.relation == place) & (moved >= 0)
        moved[codes] = catalogue.rows_now(bundle, far_type)[moved[codes]]
    return moved


def _read_columns(bundle: Bundle, catalogue: Catalogue) -> NDArray[np.float32]:
    """The vector columns of all items, (n_items, width) float32, NaN where an item has none."""
    columns = read_item_vectors(catalogue.data, bundle.schema)
    return join_vectors(columns, bundle.vector_widths, len(catalogue.item_texts))
