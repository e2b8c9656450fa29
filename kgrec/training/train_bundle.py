"""Trains a bundle from a catalogue."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from graph_schema import GraphTables
from kgrec.bundle import Bundle, Lineage, round_model
from kgrec.config import TrainConfig
from kgrec.graph.node_links import build_item_links, build_user_links
from kgrec.graph.propagation import read_item_vectors, read_text
from kgrec.model.component import round_text
from kgrec.questions.splits import read_likes
from kgrec.sequences import match_times
from kgrec.text.adapter import load_adapter
from kgrec.text.encoder import Encoder, OnTexts
from kgrec.text.node_texts import has_texts
from kgrec.training.dataset import CatalogueGraph, build_graph
from kgrec.training.logging import OnMetric, time_stages
from kgrec.training.pipeline import fit_model


def train_bundle(
    tables: GraphTables,
    config: TrainConfig,
    encoder: Encoder,
    cache_dir: Path,
    *,
    trained_at: int,
    on_stage: Callable[[str], None] | None = None,
    on_metric: OnMetric | None = None,
    on_texts: OnTexts | None = None,
) -> Bundle:
    """Trains on a whole catalogue.

    Args:
        tables: the catalogue.
        config: the settings.
        encoder: encodes the texts.
        cache_dir: where text vectors are cached.
        trained_at: UTC seconds, written into the bundle.
        on_stage: called with each stage as it begins.
        on_metric: called with (name, value, step): losses, validation scores, the seconds of each stage.
        on_texts: called with (texts encoded, texts in total).

    Raises:
        CatalogueError: the catalogue has no likes.
    """
    with time_stages(on_stage, on_metric) as begin:
        begin("encoding texts" if has_texts(tables.schema) else "reading the graph")
        graph = build_graph(tables, encoder, cache_dir, on_texts=on_texts)
        return fit_bundle(graph, config, trained_at, begin, on_metric)


def fit_bundle(
    graph: CatalogueGraph,
    config: TrainConfig,
    trained_at: int,
    on_stage: Callable[[str], None] | None = None,
    on_metric: OnMetric | None = None,
) -> Bundle:
    """Trains on a heterograph; see `train_bundle`."""
    schema, data = graph.schema, graph.data
    likes = read_likes(data, schema)
    model, choices = fit_model(data, schema, likes, config, on_stage, on_metric)
    model = round_model(model)  # so that answers are the same after saving and loading
    cold = np.flatnonzero(model.cold.numpy())
    model = model.with_likes(cold, csr_array((len(cold), likes.shape[0]), dtype=np.float32), likes.to_matrix())
    links, user_links = build_item_links(data, schema), build_user_links(data, schema)
    users, items = data[schema.edge_triple(schema.interaction.edge)].edge_index.numpy()
    seen = csr_array((np.ones(len(users), np.float32), (users, items)), shape=likes.shape)
    seen.sum_duplicates()
    seen.data[:] = 1
    liked = likes.to_matrix()
    return Bundle(
        schema=schema,
        ids=graph.ids,
        names=graph.names,
        edges={name: data[schema.edge_triple(name)].edge_index.numpy() for name in schema.graph_edges},
        model=model,
        relations=links.relations,
        link_node=links.node,
        user_relations=user_links.relations,
        user_link_node=user_links.node,
        user_text=round_text(read_text(data, schema.user_type)),
        values=graph.values,
        vector_widths={name: vectors.shape[1] for name, vectors in read_item_vectors(data, schema).items()}
        if config.prior.encoder == "paths"
        else {},  # messages come from texts only
        liked=liked,
        seen=seen,
        config=config,
        choices=asdict(choices),
        encoder_name=graph.encoder_name,
        encoder_revision=graph.encoder_revision,
        trained_at=trained_at,
        lineage=Lineage.of(model),
        contents=graph.contents,
        available=graph.available,
        liked_at=None if likes.times is None else match_times(liked, likes.users, likes.items, likes.times),
        adapter=None if config.adapter is None else load_adapter(Path(config.adapter)),
    )
