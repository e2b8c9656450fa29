"""Trains a bundle from a catalogue."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from graph_schema import GraphTables
from kgrec.bundle import Bundle, Lineage, round_model
from kgrec.config import TrainConfig
from kgrec.graph.hetero import sort_tables, to_hetero
from kgrec.graph.node_links import build_item_links, build_user_links
from kgrec.graph.propagation import read_item_vectors, read_text
from kgrec.model.component import round_text
from kgrec.model.model import Model
from kgrec.questions.splits import Likes, read_likes
from kgrec.sequences import match_times
from kgrec.text.adapter import load_adapter
from kgrec.text.encoder import Encoder, OnTexts
from kgrec.text.node_texts import has_texts
from kgrec.training.choices import Choices
from kgrec.training.dataset import CatalogueGraph, build_graph, read_names
from kgrec.training.logging import OnMetric, time_stages
from kgrec.training.pipeline import fit_model
from kgrec.training.private_model import check_private


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
        RequestError: the training is private, and another setting brings in what was learned from likes, or delta is
            not below one over the number of users.
    """
    with time_stages(on_stage, on_metric) as begin:
        begin("encoding texts" if has_texts(tables.schema) else "reading the graph")
        if config.private is not None:
            check_private(config)
            graph = build_graph(leave_out_users(tables), encoder, cache_dir, on_texts=on_texts)
            return fit_private_bundle(graph, tables, config, trained_at, begin)
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
    users, items = data[schema.edge_triple(schema.interaction.edge)].edge_index.numpy()
    return _to_bundle(graph, config, trained_at, model, choices, likes, _mark_pairs(users, items, likes.shape))


def fit_private_bundle(
    graph: CatalogueGraph,
    tables: GraphTables,
    config: TrainConfig,
    trained_at: int,
    on_stage: Callable[[str], None] | None = None,
) -> Bundle:
    """Trains under differential privacy; see `kgrec.training.private_model`.

    The bundle has no users, unless `config.private.keep_users`. Then it has their ids, names, likes and interactions,
    to answer each by their own, but not their links, attributes and texts: nothing reads these.

    Args:
        graph: the catalogue without users, from `leave_out_users`.
        tables: the whole catalogue.
        config: the settings.
        trained_at: UTC seconds.
        on_stage: called with each stage as it begins.

    Raises:
        RequestError: another setting brings in what was learned from likes, or delta is not below one over the number
            of users.
    """
    private, schema = check_private(config), tables.schema
    tables = sort_tables(tables)
    data, ids = to_hetero(tables)
    likes = read_likes(data, schema)
    model, choices = fit_model(graph.data, graph.schema, likes, config, on_stage)
    times = None if likes.times is None else likes.times[:0]
    nobody = Likes(likes.users[:0], likes.items[:0], times, (0, likes.shape[1]))
    bundle = _to_bundle(graph, config, trained_at, model, choices, nobody, nobody.to_matrix())
    if not private.keep_users:
        return bundle
    user_type, liked = schema.user_type, likes.to_matrix()
    users, items = data[schema.edge_triple(schema.interaction.edge)].edge_index.numpy()
    return replace(
        bundle,
        ids={**bundle.ids, user_type: ids[user_type]},
        names={**bundle.names, user_type: read_names(tables)[user_type]},
        user_text=torch.zeros((likes.shape[0], bundle.user_text.shape[1])),
        liked=liked,
        seen=_mark_pairs(users, items, likes.shape),
        liked_at=None if likes.times is None else match_times(liked, likes.users, likes.items, likes.times),
    )


def leave_out_users(tables: GraphTables) -> GraphTables:
    """A catalogue without users: no row of their type, and no edge from or to it."""
    schema, user_type = tables.schema, tables.schema.user_type
    edges = {
        name: table.slice(0, 0) if user_type in (schema.edges[name].source, schema.edges[name].target) else table
        for name, table in tables.edges.items()
    }
    return GraphTables(schema, {**tables.nodes, user_type: tables.nodes[user_type].slice(0, 0)}, edges)


def _mark_pairs(users: NDArray[np.int64], items: NDArray[np.int64], shape: tuple[int, int]) -> csr_array:
    """(n_users, n_items) float32, 1 for each pair, however often it is there."""
    marked = csr_array((np.ones(len(users), np.float32), (users, items)), shape=shape)
    marked.sum_duplicates()
    marked.data[:] = 1
    return marked


def _to_bundle(
    graph: CatalogueGraph,
    config: TrainConfig,
    trained_at: int,
    model: Model,
    choices: Choices,
    likes: Likes,
    seen: csr_array,
) -> Bundle:
    """A bundle of a trained model, and of the users' likes and interactions."""
    schema, data = graph.schema, graph.data
    model = round_model(model)  # so that answers are the same after saving and loading
    cold = np.flatnonzero(model.cold.numpy())
    model = model.with_likes(cold, csr_array((len(cold), likes.shape[0]), dtype=np.float32), likes.to_matrix())
    links, user_links = build_item_links(data, schema), build_user_links(data, schema)
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
