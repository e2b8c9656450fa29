"""Learns the map from users' links, attributes and texts to the backbone's space."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from kgrec.config import PriorConfig
from kgrec.graph.propagation import Channel, propagate
from kgrec.model.autoencoder import ELSA
from kgrec.model.gnn import GnnEncoder, TrainedNetwork, train_network
from kgrec.model.prior import (
    ItemEncoder,
    Prior,
    PriorSettings,
    RidgeProblem,
    build_prior,
    build_ridge_problem,
    start_from_means,
)
from kgrec.questions.slices import Slice
from kgrec.questions.splits import Likes
from kgrec.training.questions import ListQuality, judge_factors, sample_users, select_users
from kgrec.training.vectors import Catalogue, Drafted, choose_ridge


@dataclass(frozen=True)
class DraftedUsers:
    """The inputs of the ridge that places users."""

    channels: list[Channel]
    network: TrainedNetwork | None
    problem: RidgeProblem


def draft_users(catalogue: Catalogue, likes: Likes, drafted: Drafted) -> DraftedUsers | None:
    """Propagates the links, attributes and texts of users, or trains message passing; None: the catalogue has none.

    "elsa" learns from the likes of items; users are then placed in closed form, as with "paths".

    Args:
        catalogue: texts, links and settings.
        likes: the likes to learn from.
        drafted: the backbone's draft, the target.
    """
    config, links = catalogue.config.prior, catalogue.user_links
    if not len(links.relation) and not catalogue.user_text.shape[1]:
        return None
    n_likes = np.bincount(likes.users, minlength=likes.shape[0])
    weights = (n_likes / (n_likes + config.half_weight)).astype(np.float32)
    far_vectors = {
        catalogue.schema.user_type: drafted.users * weights[:, None],
        catalogue.schema.item_type: drafted.items * drafted.weights[:, None],
    }
    network = None
    if config.encoder in ("paths", ELSA):
        channels = propagate(
            catalogue.data, catalogue.schema, links, n_likes > 0, drafted.users, weights, config, catalogue.config.seed,
            far_vectors,
        )  # fmt: skip
    else:
        item_gram = (drafted.items.T @ drafted.items / max(len(drafted.items), 1)).astype(np.float32)
        network = train_network(
            config.encoder, catalogue.data, catalogue.schema, links, drafted.users, weights, item_gram, config.network,
            seed=catalogue.config.seed, device=catalogue.device, far_vectors=far_vectors,
        )  # fmt: skip
        channels = network.channels
    if not channels:
        return None
    problem = build_ridge_problem(channels, drafted.users, weights)
    return DraftedUsers(channels, network, start_from_means(problem, channels))


def choose_user_prior(
    drafted: Drafted,
    users: DraftedUsers,
    config: PriorConfig,
    asked: Slice | None,
    counts: NDArray[np.int64],
    rng: np.random.Generator,
    quality: dict[str, float],
) -> PriorSettings:
    """Chooses the ridge of the users' prior and the weight of each kind of channel, on users without likes.

    Args:
        drafted: the backbone's draft.
        users: from `draft_users`.
        config: the default, and the values to try.
        asked: the question of users without likes, a row for each user; None: the defaults stay.
        counts: (n_items,) int64, training likes.
        rng: draws a sample of many users.
        quality: receives the objective of each setting.
    """
    if asked is None:
        return choose_ridge(users.problem, config, None, quality, "user prior")
    rows = sample_users(asked, rng)
    asked, problem = select_users(asked, rows), replace(users.problem, features=users.problem.features[rows])
    items = torch.from_numpy(drafted.items)

    def measure(tried: PriorSettings) -> ListQuality:
        return judge_factors(torch.from_numpy(problem.predict(tried)), items, asked, counts)

    return choose_ridge(users.problem, config, measure, quality, "user prior")


def fit_user_prior(catalogue: Catalogue, users: DraftedUsers, settings: PriorSettings) -> ItemEncoder:
    """Fits the users' prior: it places a user relative to the mean user."""
    links, problem = catalogue.user_links, users.problem
    found: Prior | GnnEncoder
    if users.network is None:
        found = build_prior(users.channels, links, problem, settings, None)
    else:
        found = users.network.to_encoder(links, problem, settings)
    return replace(found, bias=found.bias - problem.mean)
