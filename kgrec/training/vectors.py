"""Learns the backbone's vectors by implicit ALS, and the prior by a ridge from texts and links to their space."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import HeteroData

from graph_schema import CatalogueSchema
from kgrec.config import PriorConfig, TrainConfig
from kgrec.graph.node_links import NodeLinks
from kgrec.graph.propagation import Channel, propagate, read_item_vectors, read_text
from kgrec.model.autoencoder import ELSA, train_autoencoder
from kgrec.model.gnn import TrainedNetwork, train_network
from kgrec.model.ials import fit_ials, ials_ridge, solve_supports
from kgrec.model.inputs import LearnedVectors
from kgrec.model.prior import (
    HiddenLayer,
    ItemEncoder,
    PriorSettings,
    RidgeProblem,
    build_prior,
    build_ridge_problem,
    fit_hidden_layer,
)
from kgrec.questions.slices import Slice
from kgrec.questions.splits import Likes
from kgrec.training.questions import ListQuality, judge_factors
from kgrec.training.selection import choose_setting

_MOST_DRAFT_LIKES = 600_000  # of a sample of users, while settings are chosen


@dataclass(frozen=True)
class VectorSettings:
    """The settings of the backbone and the prior.

    Attributes:
        alpha: weight of all pairs in the backbone.
        regularisation: factor of (n + alpha N) in its ridge.
        prior: the settings of the prior.
        user_prior: the settings of the users' prior.
    """

    alpha: float
    regularisation: float
    prior: PriorSettings
    user_prior: PriorSettings


@dataclass(frozen=True)
class Catalogue:
    """The inputs of training that do not depend on the likes.

    Attributes:
        data: the heterograph; schema: its schema; links: the items' links; user_links: the users'.
        config: the settings; device: the device to compute on.
    """

    data: HeteroData
    schema: CatalogueSchema
    links: NodeLinks
    user_links: NodeLinks
    config: TrainConfig
    device: str

    @property
    def text(self) -> Tensor:
        """(n_items, text_dim) unit vectors, zeros for an item without a text; text_dim may be 0."""
        return read_text(self.data, self.schema.item_type)

    @property
    def user_text(self) -> Tensor:
        """(n_users, text_dim), likewise of the users."""
        return read_text(self.data, self.schema.user_type)

    @property
    def has_linked_users(self) -> bool:
        """Whether a user is linked to another one."""
        links = self.user_links
        return any(links.relations[place][2] == self.schema.user_type for place in np.unique(links.relation).tolist())

    @property
    def columns(self) -> NDArray[np.float32]:
        """(n_items, width) float32: the items' vector columns side by side, NaN where an item has none."""
        found = read_item_vectors(self.data, self.schema)
        none = np.zeros((self.data[self.schema.item_type].num_nodes, 0), np.float32)
        return np.hstack([none, *found.values()])


@dataclass(frozen=True)
class Drafted:
    """The backbone's vectors, and the inputs of the prior's ridge."""

    items: NDArray[np.float32]
    users: NDArray[np.float32]
    weights: NDArray[np.float32]
    channels: list[Channel]
    network: TrainedNetwork | None
    problem: RidgeProblem


def default_settings(config: TrainConfig) -> VectorSettings:
    """Settings that work across catalogues."""
    prior = PriorSettings(config.prior.regularisation, {})
    return VectorSettings(config.backbone.alpha, config.backbone.regularisation, prior, prior)


def choose_backbone(
    catalogue: Catalogue, likes: Likes, warm: Slice | None, quality: dict[str, float]
) -> VectorSettings:
    """Chooses the backbone's settings one after the other, on draft vectors.

    Args:
        catalogue: texts, links and settings.
        likes: the likes to learn from.
        warm: questions about known users; None: the defaults stay.
        quality: receives the objective of each setting.
    """
    config = catalogue.config.backbone
    chosen = default_settings(catalogue.config)
    if warm is None:
        return chosen
    matrix = likes.to_matrix()
    if matrix.nnz > _MOST_DRAFT_LIKES:
        share = _MOST_DRAFT_LIKES / matrix.nnz
        drawn = np.random.default_rng(catalogue.config.seed).random(matrix.shape[0]) < share
        matrix = matrix[np.flatnonzero(drawn)]
    start: Tensor | None = None

    def measure(alpha: float, regularisation: float) -> ListQuality:
        nonlocal start
        items, _ = fit_ials(
            matrix, dim=config.draft_dim, alpha=alpha, regularisation=regularisation,
            epochs=config.epochs if start is None else config.more_epochs, seed=catalogue.config.seed,
            device=catalogue.device, start=start,
        )  # fmt: skip
        items = start = items.cpu()
        ridge = ials_ridge(warm.support, alpha, regularisation)
        return judge_factors(solve_supports(warm.support, items, ridge, alpha), items, warm, likes.counts)

    regularisation = choose_setting(
        chosen.regularisation, config.regularisations, lambda value: measure(chosen.alpha, value), quality,
        "backbone regularisation",
    )  # fmt: skip
    alpha = choose_setting(
        chosen.alpha, config.alphas, lambda value: measure(value, regularisation), quality, "backbone alpha"
    )
    return replace(chosen, alpha=alpha, regularisation=regularisation)


def draft_vectors(catalogue: Catalogue, likes: Likes, settings: VectorSettings, start: Tensor | None = None) -> Drafted:
    """Fits the backbone, and propagates texts and links.

    Args:
        catalogue: texts, links and settings.
        likes: the likes to learn from.
        settings: of the backbone.
        start: (n_items, dim) vectors to start from.
    """
    config = catalogue.config
    found = fit_ials(
        likes.to_matrix(), dim=config.embedding_dim, alpha=settings.alpha, regularisation=settings.regularisation,
        epochs=config.backbone.epochs if start is None else config.backbone.more_epochs, seed=config.seed,
        device=catalogue.device, start=start,
    )  # fmt: skip
    items, users = (part.cpu().numpy() for part in found)
    n_likes = likes.counts
    weights = (n_likes / (n_likes + config.prior.half_weight)).astype(np.float32)
    channels = propagate(
        catalogue.data, catalogue.schema, catalogue.links, n_likes > 0, items, weights, config.prior, config.seed,
    )  # fmt: skip
    network = None
    if config.prior.encoder == ELSA:
        network, _ = train_autoencoder(
            likes.to_matrix(), catalogue.data, catalogue.schema, catalogue.links, config.prior.network,
            seed=config.seed, device=catalogue.device,
        )  # fmt: skip
    elif config.prior.encoder != "paths":
        network = train_network(
            config.prior.encoder, catalogue.data, catalogue.schema, catalogue.links, items, weights, _user_gram(users),
            config.prior.network, seed=config.seed, device=catalogue.device,
        )  # fmt: skip
    problem = build_ridge_problem(channels if network is None else network.channels, items, weights)
    return Drafted(items, users, weights, channels, network, problem)


def choose_prior(
    catalogue: Catalogue,
    drafted: Drafted,
    cold: Slice | None,
    settings: VectorSettings,
    counts: NDArray[np.int64],
    quality: dict[str, float],
) -> VectorSettings:
    """Chooses the prior's ridge and the weight of each kind of channel, on cold items.

    Args:
        catalogue: texts, links and settings.
        drafted: the backbone's draft, the target of the prior.
        cold: questions about cold items, among cold items; None: the defaults stay.
        settings: of the backbone.
        counts: (n_items,) int64, training likes.
        quality: receives the objective of each setting.
    """
    config = catalogue.config.prior
    if cold is None:
        return replace(settings, prior=choose_ridge(drafted.problem, config, None, quality, "prior"))
    items = torch.from_numpy(drafted.items)
    ridge = ials_ridge(cold.support, settings.alpha, settings.regularisation)
    users = solve_supports(cold.support, items, ridge, settings.alpha)

    among = np.arange(cold.n_items) if cold.candidates is None else np.flatnonzero(cold.candidates)
    problem = replace(drafted.problem, features=drafted.problem.features[among])  # only these items are ranked

    def measure(tried: PriorSettings) -> ListQuality:
        placed = torch.zeros_like(items)
        placed[torch.from_numpy(among)] = torch.from_numpy(problem.predict(tried))
        return judge_factors(users, placed, cold, counts)

    chosen = choose_ridge(drafted.problem, config, measure, quality, "prior")
    if config.hidden and chosen.gates:
        chosen = replace(chosen, steps=config.steps)
    return replace(settings, prior=chosen)


def choose_ridge(
    problem: RidgeProblem,
    config: PriorConfig,
    measure: Callable[[PriorSettings], ListQuality] | None,
    quality: dict[str, float],
    title: str,
) -> PriorSettings:
    """Chooses a ridge's regularisation and the weight of each kind of channel.

    Args:
        problem: the ridge.
        config: the default, and the values to try.
        measure: judges settings, always on the same questions; None: the defaults stay.
        quality: receives the objective of each setting.
        title: prefix of the names in `quality`.
    """
    kinds = sorted(set(problem.kinds.tolist()))
    chosen = PriorSettings(config.regularisation, dict.fromkeys(kinds, 1.0))
    if measure is None or not kinds:
        return chosen
    found = choose_setting(
        chosen.regularisation, config.regularisations, partial(_measure_ridge, measure, chosen), quality,
        f"{title} regularisation",
    )  # fmt: skip
    chosen = replace(chosen, regularisation=found)
    for kind in kinds:
        measured = partial(_measure_gate, measure, chosen, kind)
        gate = choose_setting(1.0, config.gates, measured, quality, f"{title} gate {kind}")
        chosen = _with_gate(chosen, kind, gate)
    return chosen


def _measure_ridge(
    measure: Callable[[PriorSettings], ListQuality], settings: PriorSettings, regularisation: float
) -> ListQuality:
    return measure(replace(settings, regularisation=regularisation))


def _measure_gate(
    measure: Callable[[PriorSettings], ListQuality], settings: PriorSettings, kind: str, gate: float
) -> ListQuality:
    return measure(_with_gate(settings, kind, gate))


def _with_gate(settings: PriorSettings, kind: str, gate: float) -> PriorSettings:
    return replace(settings, gates={**settings.gates, kind: gate})


def finish_vectors(catalogue: Catalogue, drafted: Drafted, settings: VectorSettings) -> LearnedVectors:
    """Fits the prior to the backbone, and places every item."""
    problem, prior = drafted.problem, settings.prior
    placed, layer = problem.predict(prior), _fit_layer(catalogue, drafted, prior)
    if layer is not None:
        with torch.inference_mode():
            placed = placed + layer(torch.from_numpy(_gated(problem, prior))).numpy()
    if drafted.network is None:
        encoder: ItemEncoder = build_prior(drafted.channels, catalogue.links, problem, prior, layer)
    else:
        encoder = drafted.network.to_encoder(catalogue.links, problem, prior)
    items, users = torch.from_numpy(drafted.items), torch.from_numpy(drafted.users)
    placed_items = torch.from_numpy(placed)
    return LearnedVectors(items, users, placed_items, encoder, None, settings.alpha, settings.regularisation)


def _fit_layer(catalogue: Catalogue, drafted: Drafted, settings: PriorSettings) -> HiddenLayer | None:
    if not settings.steps:
        return None
    residuals = drafted.items - drafted.problem.predict(settings)
    return fit_hidden_layer(
        _gated(drafted.problem, settings), residuals, drafted.weights, _user_gram(drafted.users),
        hidden=catalogue.config.prior.hidden, steps=settings.steps, seed=catalogue.config.seed,
    )  # fmt: skip


def _user_gram(users: NDArray[np.float32]) -> NDArray[np.float32]:
    """(dim, dim) float32, W'W / n_users."""
    return (users.T @ users / max(len(users), 1)).astype(np.float32)


def _gated(problem: RidgeProblem, settings: PriorSettings) -> NDArray[np.float32]:
    gates = np.array([settings.gates.get(kind, 1.0) for kind in problem.kinds], dtype=np.float32)
    return problem.features * gates
