"""Builds the heterograph that a model is trained on from a catalogue's tables, with encoded texts."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import HeteroData

from graph_schema import CatalogueSchema, GraphTables
from kgrec.graph.attribute_values import AttributeValues, fit_values
from kgrec.graph.availability import read_available
from kgrec.graph.hetero import sort_tables, to_hetero
from kgrec.ids import IdMap
from kgrec.text.cache import encode_cached
from kgrec.text.encoder import Encoder, OnTexts
from kgrec.text.node_texts import build_node_texts


@dataclass(frozen=True)
class CatalogueGraph:
    """A catalogue as a heterograph.

    Attributes:
        schema: the catalogue's schema.
        data: the graph; `x` float32 text vectors and `has_text` bool for the node types that have texts, vector columns
            as `to_hetero` makes them, interactions with `weight` and `time` where the schema names them.
        ids: node type -> its ids and their rows, sorted by id.
        names: node type -> a display name, or None, per row.
        encoder_name: the text encoder.
        encoder_revision: its revision.
        contents: from `hash_contents`.
        values: the value nodes of the features; `schema` and `data` have them.
        available: (n_items,) bool: the items that can be had.
    """

    schema: CatalogueSchema
    data: HeteroData
    ids: Mapping[str, IdMap]
    names: Mapping[str, Sequence[str | None]]
    encoder_name: str
    encoder_revision: str
    contents: Mapping[str, NDArray[np.int64]]
    values: AttributeValues
    available: NDArray[np.bool_]


def build_graph(
    tables: GraphTables, encoder: Encoder, cache_dir: Path, *, upto: int | None = None, on_texts: OnTexts | None = None
) -> CatalogueGraph:
    """Encodes the texts of a catalogue and builds its heterograph.

    Args:
        tables: the catalogue, in any order.
        encoder: encodes the texts.
        cache_dir: where text vectors are cached.
        upto: leaves out the interactions after this time, UTC seconds.
        on_texts: called with (texts encoded, texts in total).
    """
    values = fit_values(tables)
    tables = sort_tables(values.derive(tables))
    schema = tables.schema
    texts = build_node_texts(tables)
    known = {node_type: np.array([text is not None for text in found], np.bool_) for node_type, found in texts.items()}
    flat = [text for found in texts.values() for text in found if text is not None]
    vectors = encode_cached(encoder, flat, cache_dir, on_texts)
    features: dict[str, NDArray[np.float32]] = {}
    start = 0
    for node_type, mask in known.items():
        end = start + int(mask.sum())
        if end > start:
            # A node without a text gets the mean vector; `has_text` marks it as missing.
            x = np.tile(vectors[start:end].mean(axis=0), (len(mask), 1))
            x[mask] = vectors[start:end]
            features[node_type] = x
        start = end
    data, ids = to_hetero(tables, features, upto=upto)
    for node_type in features:
        data[node_type].has_text = torch.from_numpy(known[node_type])
    contents = hash_contents(tables, texts[schema.item_type])
    available = read_available(tables, ids[schema.item_type])
    return CatalogueGraph(
        schema, data, ids, read_names(tables), encoder.name, encoder.revision, contents, values, available
    )


def read_names(tables: GraphTables) -> dict[str, list[str | None]]:
    """Reads node type -> a display name, or None, per row."""
    return {
        node_type: table[node.name].to_pylist()
        if (node := tables.schema.nodes[node_type]).name
        else [None] * len(table)
        for node_type, table in tables.nodes.items()
    }


def hash_contents(tables: GraphTables, item_texts: Sequence[str | None]) -> dict[str, NDArray[np.int64]]:
    """Hashes the content of each node that the model reads, so that a later comparison finds changed nodes.

    A node's content is its name, its own text columns and its vectors. An item's is its name, its vectors and the text
    that the encoder reads, because an item without a text is described by its neighbours. Users without text columns
    are left out: the model reads only their likes and links.

    Args:
        tables: the catalogue.
        item_texts: a text per item, or None, from `build_node_texts`.

    Returns:
        Node type -> (n,) int64, the first 8 bytes of a BLAKE2b hash per row.
    """
    schema, names, hashes = tables.schema, read_names(tables), {}
    for node_type, node in schema.nodes.items():
        if node.derived or (node_type == schema.user_type and not node.text):
            continue
        table = tables.nodes[node_type]
        is_item = node_type == schema.item_type
        texts = [item_texts] if is_item else [table[column].to_pylist() for column in node.text]
        vectors = [table[column].to_pylist() for column in node.vectors]
        rows = zip(names[node_type], *texts, *vectors, strict=True)
        digests = b"".join(hashlib.blake2b(json.dumps(row).encode(), digest_size=8).digest() for row in rows)
        hashes[node_type] = np.frombuffer(digests, "<i8").astype(np.int64)
    return hashes
