"""Trains a model: chooses settings on held-out likes, then fits all likes."""

import ctypes
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy.sparse import csr_array
from torch_geometric.data import HeteroData

from graph_schema import CatalogueSchema
from kgrec.config import SplitConfig, TrainConfig
from kgrec.errors import RequestError
from kgrec.graph.node_links import build_item_links, build_user_links
from kgrec.graph.propagation import Channel, read_text
from kgrec.model.backbone import ItemHead
from kgrec.model.component import Component
from kgrec.model.few_shot import FewShot
from kgrec.model.gate import UNSET, Gate
from kgrec.model.inputs import FitInputs, LearnedVectors
from kgrec.model.likeness import fit_likeness, join_content
from kgrec.model.linked_likes import LinkedLikes, find_linked_users, weigh_linked_users
from kgrec.model.model import Model
from kgrec.model.registry import COMPONENTS
from kgrec.model.sequence_encoder import SequenceEncoder
from kgrec.questions.slices import Slice
from kgrec.questions.splits import Likes, Split, split_likes
from kgrec.sequences import Sequences
from kgrec.training.choices import Choices
from kgrec.training.gating import choose_gate
from kgrec.training.logging import OnMetric
from kgrec.training.private_model import fit_private_model, hide_users
from kgrec.training.questions import draw_users
from kgrec.training.user_vectors import choose_user_prior, draft_users, fit_user_prior
from kgrec.training.vectors import (
    Catalogue,
    choose_backbone,
    choose_prior,
    draft_vectors,
    finish_vectors,
)

_ENOUGH_COLD = 300  # users or items to hold out, if there are enough
_STEADY_LENGTH = 20  # least list length for choices: longer lists are less noisy
_MOST_HELD = 0.25  # the largest share of users or items to hold out


def fit_model(
    data: HeteroData,
    schema: CatalogueSchema,
    likes: Likes,
    config: TrainConfig,
    on_stage: Callable[[str], None] | None = None,
    on_metric: OnMetric | None = None,
    validation: Mapping[str, Slice] | None = None,
) -> tuple[Model, Choices]:
    """Trains a model on a heterograph's texts and links and on likes.

    Args:
        data: the heterograph; its interactions are not read, only `likes`.
        schema: the catalogue's schema.
        likes: the likes to learn from.
        config: the settings, and the candidates to choose from.
        on_stage: called with the name of each stage as it begins.
        on_metric: called with (name, value, step): the loss of the head's epochs, the quality of every setting.
        validation: the questions to choose by, named as in `Split`, if there is a separate validation part; then
            everything is fitted once, to all likes. None: likes are held out, and added again for the final fit.

    Returns:
        The model and the choices.

    Raises:
        RequestError: the training is private, and another setting brings in what was learned from likes.
    """
    if config.private is not None:
        return fit_private_model(_open(hide_users(data, schema), schema, config), likes.to_matrix(), on_stage)
    validated, choices = choose_model(data, schema, likes, config, on_stage, on_metric, validation)
    if validation is not None:
        return validated, choices
    if on_stage is not None:
        on_stage("fitting everything to all likes")
    catalogue = _open(data, schema, config)
    names, gate = validated.names, validated.gate
    start = validated.backbone.items * (~validated.cold)[:, None]
    start_from = {one.name: one for one in validated.components if isinstance(one, FewShot | SequenceEncoder)}
    del validated  # the model and the drafts take most of the memory
    _return_memory()
    drafted = draft_vectors(catalogue, likes, choices.vectors, start=start)
    vectors, channels = finish_vectors(catalogue, drafted, choices.vectors), drafted.channels
    users = draft_users(catalogue, likes, drafted)
    if users is not None:
        vectors = replace(vectors, user_prior=fit_user_prior(catalogue, users, choices.vectors.user_prior))
    del drafted, users
    _return_memory()
    on_epoch = _report_loss("loss/head, all likes", on_metric)
    model = _assemble(catalogue, likes, vectors, channels, gate, start_from, on_epoch)
    return _keep_components(model, names), choices


def choose_model(
    data: HeteroData,
    schema: CatalogueSchema,
    likes: Likes,
    config: TrainConfig,
    on_stage: Callable[[str], None] | None = None,
    on_metric: OnMetric | None = None,
    validation: Mapping[str, Slice] | None = None,
) -> tuple[Model, Choices]:
    """Holds out likes for validation, trains on the rest and makes every choice; see `fit_model`.

    Returns:
        The model of the remaining likes, and the choices.

    Raises:
        RequestError: the training is private: a choice on held-out likes would not be.
    """
    if config.private is not None:
        raise RequestError(
            "a private training cannot choose settings on held-out likes, since that reads likes without noise; "
            "leave out [private], or choose settings on other likes"
        )
    report = on_stage or (lambda _: None)
    if validation is None:
        report("holding out likes for validation")
        split = _hold_out(likes, config)
    else:
        no_item, no_user = np.zeros(likes.shape[1], np.bool_), np.zeros(likes.shape[0], np.bool_)
        split = Split(likes, dict(validation), no_item, no_user, by_time=False)
    rng, rng_of_users = (np.random.default_rng([config.seed, part]) for part in (1, 2))
    catalogue, quality = _open(data, schema, config), dict[str, float]()
    warm, cold = (split.slices.get(name) for name in ("warm", "cold_items"))
    cold = cold or split.slices.get("cold_users_cold_items_k10")
    report("choosing the backbone")
    settings = choose_backbone(catalogue, split.train, None if warm is None else draw_users(warm, rng), quality)
    drafted = draft_vectors(catalogue, split.train, settings)
    _return_memory()
    report("choosing the prior")
    asked = None if cold is None else draw_users(cold, rng)
    settings = choose_prior(catalogue, drafted, asked, settings, split.train.counts, quality)
    vectors, channels = finish_vectors(catalogue, drafted, settings), drafted.channels
    users = draft_users(catalogue, split.train, drafted)
    if users is not None:
        without_likes = split.slices.get("cold_users_k0")
        chosen = choose_user_prior(
            drafted, users, config.prior, without_likes, split.train.counts, rng_of_users, quality
        )
        settings = replace(settings, user_prior=chosen)
        vectors = replace(vectors, user_prior=fit_user_prior(catalogue, users, chosen))
    del drafted, users
    _return_memory()
    report("fitting the components to held-in likes")
    on_epoch = _report_loss("loss/head, validation", on_metric)
    model = _assemble(catalogue, split.train, vectors, channels, UNSET, {}, on_epoch)
    del vectors, channels
    report("choosing the gate")
    sizes, length = config.validation.support_sizes, max(config.list_length, _STEADY_LENGTH)
    slices = place_users(model, data, schema, split.slices, split.train.to_matrix())
    gate, verdicts = choose_gate(model, slices, config.gate, sizes, length, rng, likes.counts)
    if on_metric is not None:
        found = {**quality, **{verdict.title: verdict.worth for verdict in verdicts}}
        for step, (name, worth) in enumerate(found.items()):
            on_metric(f"validation/{name}", worth, step)
    return replace(model, gate=gate), Choices(settings, quality, tuple(verdicts))


def _hold_out(likes: Likes, config: TrainConfig) -> Split:
    """Holds out likes to choose by; a small catalogue holds out a larger share, to get enough users and items."""
    n_users, n_items = len(np.unique(likes.users)), len(np.unique(likes.items))
    shares = config.validation
    held: SplitConfig = shares.model_copy(
        update={
            "cold_users": _enough(shares.cold_users, n_users),
            "cold_items": _enough(shares.cold_items, n_items),
        }
    )
    split = split_likes(likes, held, np.random.default_rng(config.seed))
    if not len(split.train):  # too few likes to hold any out
        split = replace(split, train=likes, slices={})
    return split


def _enough(share: float, n: int) -> float:
    """The share, or a larger one if it would be too few of n."""
    return max(share, min(_MOST_HELD, _ENOUGH_COLD / max(n, 1))) if share else share


def _open(data: HeteroData, schema: CatalogueSchema, config: TrainConfig) -> Catalogue:
    device = config.device or ("cuda" if torch.cuda.is_available() else "cpu")
    return Catalogue(data, schema, build_item_links(data, schema), build_user_links(data, schema), config, device)


def _assemble(
    catalogue: Catalogue,
    likes: Likes,
    vectors: LearnedVectors,
    channels: list[Channel],
    gate: Gate,
    start: Mapping[str, Component],
    on_epoch: Callable[[int, float], None] | None,
) -> Model:
    """Fits the components in their order."""
    config, matrix = catalogue.config, likes.to_matrix()
    text = catalogue.text
    columns = catalogue.columns
    content = join_content(text.numpy(), [columns])
    likeness = fit_likeness(matrix, content, catalogue.links, seed=config.seed)
    earlier: dict[str, Component] = {}
    sequences = None
    if likes.times is not None:
        rng = np.random.default_rng(config.seed)
        sequences = Sequences.of(likes.users, likes.items, likes.times, likes.shape[0], rng)
    inputs = FitInputs(
        matrix, text, content, catalogue.links, channels, vectors, likeness, config, catalogue.device, earlier, start,
        on_epoch, catalogue.has_linked_users, sequences,
    )  # fmt: skip
    for kind in COMPONENTS:
        fitted = kind.fit(inputs)
        _return_memory()
        if fitted is not None:
            earlier[kind.name] = fitted
    return Model(
        tuple(earlier.values()), gate, torch.from_numpy(likes.counts), torch.from_numpy(likes.n_disliked), text,
        torch.from_numpy(columns), likeness, vectors.prior, ItemHead.fit(inputs), vectors.user_prior,
    )  # fmt: skip


def place_users(
    model: Model, data: HeteroData, schema: CatalogueSchema, slices: Mapping[str, Slice], likes: csr_array
) -> dict[str, Slice]:
    """Slices with what the graph says of their users, a row for each user of the catalogue, placed by a model.

    Args:
        model: the model.
        data: the heterograph.
        schema: its schema.
        slices: name -> the slice.
        likes: (n_users, n_items) of 1s: the likes that the model was trained on, which count for linked users.
    """
    if model.user_prior is None:
        return dict(slices)
    text, links = read_text(data, schema.user_type).numpy(), build_user_links(data, schema)
    prior = model.place_users(text, links.incidence)
    linked = _link_users(data, schema) if LinkedLikes.name in model.names else None
    weights = None if linked is None else weigh_linked_users(linked, linked)
    of_linked = None if linked is None else likes
    return {
        name: replace(slice_, prior=prior, linked=weights, linked_likes=of_linked) for name, slice_ in slices.items()
    }


def _link_users(data: HeteroData, schema: CatalogueSchema) -> csr_array:
    """Who is linked to whom; see `find_linked_users`."""
    user_type = schema.user_type
    edges = [
        data[schema.edge_triple(name)].edge_index.numpy()
        for name, edge in schema.graph_edges.items()
        if edge.source == edge.target == user_type
    ]
    return find_linked_users(edges, data[user_type].num_nodes)


def _keep_components(model: Model, names: Sequence[str]) -> Model:
    """The model with only the components in `names`, those of the validated model, and the gate's weights for them."""
    fitted = {component.name: component for component in model.components}
    places = [place for place, name in enumerate(names) if name in fitted]
    return replace(model, components=tuple(fitted[names[place]] for place in places), gate=model.gate.select(places))


def _return_memory() -> None:
    """Returns freed memory to the system; otherwise memory freed by one stage adds to the peak of the next.

    The C library keeps free memory between arrays in use; glibc has a call to return it.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _report_loss(name: str, on_metric: OnMetric | None) -> Callable[[int, float], None] | None:
    return None if on_metric is None else lambda epoch, loss: on_metric(name, loss, epoch)
