"""Fits a model to a private release of the likes, and to the texts and links of items, which are public.

Likes are read in one place, by `release_likes`; all that follows sees the release and a catalogue without users. There
are no questions: every setting is a default. The model has the components whose item side comes from the release or
from texts and links; what is trained on users (the few-shot head, transitions, the sequence encoder, iALS itself), what
reads other users' likes (linked likes) and what places users is left out.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array
from torch_geometric.data import HeteroData

from graph_schema import CatalogueSchema
from kgrec.config import PrivateConfig, TrainConfig
from kgrec.errors import RequestError
from kgrec.graph.propagation import propagate
from kgrec.model.backbone import Backbone, ItemHead
from kgrec.model.component import Component
from kgrec.model.content import Content
from kgrec.model.gate import UNSET
from kgrec.model.inputs import FitInputs, neighbour_settings
from kgrec.model.item_item import ItemItem, ItemItemFew
from kgrec.model.knowledge import Knowledge
from kgrec.model.likeness import factorise_gram, fit_likeness, join_content
from kgrec.model.model import Model
from kgrec.model.neighbours import fit_gram
from kgrec.model.popularity import Popularity
from kgrec.model.prior import build_ridge_problem
from kgrec.model.sentence import Sentence
from kgrec.private.noisy_sums import NEIGHBOURS, Release, draw_generator, release_likes
from kgrec.training.choices import Choices, PrivacyReport
from kgrec.training.gating import choose_gate
from kgrec.training.vectors import Catalogue, Drafted, choose_prior, default_settings, finish_vectors

PUBLIC_NOTE = "ids, names, texts, links and attributes of items, and which items there are, count as public"
_FITTED: tuple[type[Component], ...] = (Content, Knowledge, Popularity, Sentence)


def check_private(config: TrainConfig) -> PrivateConfig:
    """The settings of a private training.

    Raises:
        RequestError: another setting brings in what was learned from likes.
    """
    if config.private is None:
        raise RequestError("a private training needs an epsilon; set `epsilon` in [private], or --private EPSILON")
    if config.adapter is not None:
        raise RequestError(
            f"the adapter {config.adapter} may have been tuned on likes, which a private training must not read; "
            "train without an adapter"
        )
    if config.prior.encoder != "paths":
        raise RequestError(
            f'a private training needs the encoder "paths" in [prior], got {config.prior.encoder!r}, which is trained '
            "on likes; leave it out"
        )
    return config.private


def fit_private_model(
    catalogue: Catalogue,
    likes: csr_array,
    on_stage: Callable[[str], None] | None = None,
    rng: np.random.Generator | None = None,
) -> tuple[Model, Choices]:
    """Trains a model under differential privacy at the level of a user.

    Args:
        catalogue: texts, links and settings; without users, see `hide_users`.
        likes: (n_users, n_items) of 1s.
        on_stage: called with the name of each stage as it begins.
        rng: of the noise; None: seeded by the operating system's source of secrets, not by the configuration's seed,
            which is known. Tests alone give one.

    Returns:
        The model, and the choices with the privacy of it.

    Raises:
        RequestError: another setting brings in what was learned from likes, or delta is not below one over the number
            of users with likes.
    """
    report, private = on_stage or (lambda _: None), check_private(catalogue.config)
    n_users = int(np.count_nonzero(likes.sum(axis=1)))
    if n_users and private.delta >= 1 / n_users:
        raise RequestError(
            f"got delta {private.delta:g} with {n_users:,} user{'' if n_users == 1 else 's'}, by which all likes of "
            f"one might be given away; expected less than one over the number of users, {1 / n_users:.3g}: choose a "
            "smaller delta, or leave it out for 1e-6"
        )
    report("adding noise to the sums of likes")
    release = release_likes(likes, private, rng or draw_generator())
    report("fitting the components to the noisy sums")
    model, choices = _fit_release(catalogue, release)
    return model, replace(choices, privacy=report_privacy(private, release))


def report_privacy(private: PrivateConfig, release: Release) -> PrivacyReport:
    """What a private training promises, and what it was bought with."""
    return PrivacyReport(
        private.epsilon, private.delta, NEIGHBOURS, "analytic Gaussian mechanism (Balle and Wang 2018)",
        private.most_likes, release.counts_noise, release.gram_noise, len(release.rows), len(release.shrink()[0]),
        private.keep_users, PUBLIC_NOTE,
    )  # fmt: skip


def hide_users(data: HeteroData, schema: CatalogueSchema) -> HeteroData:
    """A heterograph without users: no node of their type, and no edge from or to it.

    Args:
        data: the heterograph; it stays as it is.
        schema: its schema.
    """
    hidden, user_type = HeteroData(), schema.user_type
    for node_type in data.node_types:
        for key, value in data[node_type].items():
            hidden[node_type][key] = value
    for triple in data.edge_types:
        of_users = user_type in (triple[0], triple[2])
        for key, value in data[triple].items():
            hidden[triple][key] = value[..., :0] if of_users else value
    store = hidden[user_type]
    for key, value in list(store.items()):
        store[key] = 0 if key == "num_nodes" else value[:0]
    store.num_nodes = 0
    return hidden


def _fit_release(catalogue: Catalogue, release: Release) -> tuple[Model, Choices]:
    """Fits a model to a release alone: nothing here reads likes."""
    config, links, text = catalogue.config, catalogue.links, catalogue.text
    counts = np.zeros(len(release.counts), np.int64)
    counts[release.rows] = np.maximum(np.round(release.counts[release.rows]), 1).astype(np.int64)
    settings = default_settings(config)
    items = _factorise(release, counts, config.embedding_dim)
    weights = (counts / (counts + config.prior.half_weight)).astype(np.float32)
    channels = propagate(catalogue.data, catalogue.schema, links, counts > 0, items, weights, config.prior, config.seed)
    no_users = np.zeros((0, items.shape[1]), np.float32)
    drafted = Drafted(items, no_users, weights, channels, None, build_ridge_problem(channels, items, weights))
    settings = choose_prior(catalogue, drafted, None, settings, counts, {})
    vectors = finish_vectors(catalogue, drafted, settings)
    columns = catalogue.columns
    content = join_content(text.numpy(), [columns])
    likeness = fit_likeness(csr_array((0, len(counts)), dtype=np.float32), content, links, seed=config.seed)
    of_likes = factorise_gram(*release.shrink(), counts[release.rows])
    by_likes = np.zeros((len(counts), of_likes.shape[1]), np.float32)
    by_likes[release.rows] = of_likes
    likeness = replace(likeness, likes=by_likes)
    inputs = FitInputs(_stand_for(counts), text, content, links, channels, vectors, likeness, config, catalogue.device)
    many, few = _fit_neighbours(inputs, release, counts)
    found: dict[str, Component] = {Backbone.name: Backbone.fit(inputs), ItemItem.name: many, ItemItemFew.name: few}
    inputs = replace(inputs, earlier=found)
    for kind in _FITTED:
        fitted = kind.fit(inputs)
        if fitted is not None:
            found[kind.name] = fitted
    head = ItemHead(0.0, torch.zeros(items.shape[1]), vectors.placed)  # later likes of users move no item
    n_likes = torch.from_numpy(counts)
    model = Model(
        tuple(found.values()), UNSET, n_likes, torch.zeros_like(n_likes), text, torch.from_numpy(columns),
        likeness, vectors.prior, head,
    )  # fmt: skip
    sizes = config.validation.support_sizes
    rng = np.random.default_rng(config.seed)
    gate, _ = choose_gate(model, {}, config.gate, sizes, config.list_length, rng, counts)
    if not len(release.shrink()[0]):  # no taste stands out of the noise: popularity is better than ties
        gate = replace(gate, warm=np.maximum(gate.warm, np.array(model.names) == Popularity.name).astype(np.float32))
    return replace(model, gate=gate), Choices(settings)


def _factorise(release: Release, counts: NDArray[np.int64], dim: int) -> NDArray[np.float32]:
    """(n_items, dim) float32: item vectors Q L^1/4 for a Gram matrix Q L Q', as balanced factors of the likes have.

    The Gram matrix is scaled so that its diagonal adds up to the number of likes, as that of unweighted likes does.
    """
    values, directions = release.shrink()
    found = np.zeros((len(counts), dim), np.float32)
    if len(values):
        scaled = values[:dim] * (counts.sum() / values.sum())
        found[release.rows, : len(scaled)] = directions[:, :dim] * scaled**0.25
    return found


def _fit_neighbours(inputs: FitInputs, release: Release, counts: NDArray[np.int64]) -> tuple[ItemItem, ItemItemFew]:
    """The item-item ridges of the selected items, on the Gram matrix without what noise explains."""
    config, links = inputs.config.item_item, inputs.link_weights
    values, directions = release.shrink()
    dense = ((directions * values) @ directions.T).astype(np.float32)
    text = inputs.text.numpy() if inputs.text.shape[1] else None
    many, few = (
        fit_gram(
            dense, release.rows, counts, links, text, one, kept=config.kept, rank=config.rank, seed=inputs.config.seed
        )
        for one in neighbour_settings(config, has_texts=text is not None)
    )
    return ItemItem.of(many, inputs.liked), ItemItemFew.of(few, inputs.liked)


def _stand_for(counts: NDArray[np.int64]) -> csr_array:
    """(n, n_items) of 1s with these numbers of likes: components that count likes are fitted to them."""
    places = np.concatenate([np.arange(count) for count in counts.tolist()])
    starts = np.concatenate([[0], np.cumsum(counts)])
    ones = np.ones(len(places), np.float32)
    return csr_array(csc_array((ones, places, starts), shape=(int(counts.max(initial=0)), len(counts))).tocsr())
