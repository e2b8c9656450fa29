"""From a catalogue's tables to the heterograph that a model is trained on: texts encoded, rows named."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import HeteroData

from graph_schema import CatalogueSchema, GraphTables
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
        data: the graph; `x` float32 text vectors and `has_text` bool for the node types that have texts, interactions
            with `weight` and `time` where the schema names them.
        ids: node type -> its ids and their rows, sorted by id.
        names: node type -> a name for people, or None, per row.
        encoder_name: the encoder of the texts.
        encoder_revision: its revision.
    """

    schema: CatalogueSchema
    data: HeteroData
    ids: Mapping[str, IdMap]
    names: Mapping[str, Sequence[str | None]]
    encoder_name: str
    encoder_revision: str


def build_graph(
    tables: GraphTables, encoder: Encoder, cache_dir: Path, *, upto: int | None = None, on_texts: OnTexts | None = None
) -> CatalogueGraph:
    """Encodes the texts of a catalogue and builds its heterograph.

    Args:
        tables: the catalogue, in any order.
        encoder: of the texts.
        cache_dir: where vectors of texts seen before are kept.
        upto: leaves out the interactions after this time, UTC seconds.
        on_texts: told (texts encoded so far, texts to encode).
    """
    tables = sort_tables(tables)
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
            # A node of which nothing is known gets the mean, and a mask that says so: it is read as missing.
            x = np.tile(vectors[start:end].mean(axis=0), (len(mask), 1))
            x[mask] = vectors[start:end]
            features[node_type] = x
        start = end
    data, ids = to_hetero(tables, features, upto=upto)
    for node_type in features:
        data[node_type].has_text = torch.from_numpy(known[node_type])
    names = {
        node_type: tables.nodes[node_type][node.name].to_pylist() if node.name else [None] * len(ids[node_type])
        for node_type, node in schema.nodes.items()
    }
    return CatalogueGraph(schema, data, ids, names, encoder.name, encoder.revision)
