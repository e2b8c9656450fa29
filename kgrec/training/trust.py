"""How far validation users bear out a part: the trust in texts and links, and the weights of what is known of users."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from kgrec.model.component import AddsRows, Component, Support, deviate, spread_rows
from kgrec.model.linked_likes import LinkedLikes
from kgrec.model.model import Model
from kgrec.model.popularity import Popularity
from kgrec.model.user_prior import UserPrior
from kgrec.questions.slices import Slice
from kgrec.training.questions import draw_users, score_components, select_users, to_support
from kgrec.training.selection import Weights

_MOST_TRUSTED, _LEAST_TRUSTED = 400, 10  # users of a question, to measure the trust in texts and links
_BESIDE_POPULARITY = 0.3  # of the discriminant's weight: wanted items are popular, and lists are short
_MOST_PRIOR = 16.0
_MOST_BLENDED, _BLENDED_SCORES = 200, 20_000_000  # the most users, and scores, to measure a blend on
_BLOCK_SCORES = 400_000  # scores of each component at once
_TINY = 1e-9
_FULL_TRUST, _FULL_SHARE = 0.1, 0.4  # full trust: a gain in deviations, or relative to the gain by likes
_LEAST_TRUST = 0.02  # texts and links still order items that tie by likes


def trust_in_knowledge(model: Model, slices: Mapping[str, Slice], rng: np.random.Generator) -> float:
    """The trust in texts and links, up to 1: by how much they prefer the items that users like.

    The measure is the difference, in deviations, between the scores of the wanted items by the user's own support and
    by another user's: the mean over users minus two standard errors, relative to the same measure for the backbone,
    which uses likes alone. It needs far fewer users than the quality of lists does. Without questions, texts and links
    are trusted fully: there is little else.
    """
    asked = [
        draw_users(slice_, rng, _MOST_TRUSTED)
        for name, slice_ in slices.items()
        if name == "warm" or (name.startswith("cold_users_k") and name != "cold_users_k0")
    ]
    of_knowledge = [component for component in model.components if component.weights.knows]
    known = np.concatenate(
        [np.zeros(0), *(_measure_preference(model, one, slice_, rng) for one in of_knowledge for slice_ in asked)]
    )
    if len(known) < _LEAST_TRUSTED:
        return 1.0
    by_likes = np.concatenate([_measure_preference(model, model.backbone, slice_, rng) for slice_ in asked])
    sure = float(known.mean()) - 2 * float(known.std()) / np.sqrt(len(known))
    return float(np.clip(sure / max(_FULL_TRUST, _FULL_SHARE * float(by_likes.mean())), _LEAST_TRUST, 1))


def _measure_preference(
    model: Model, component: Component, slice_: Slice, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Each user's mean score of wanted items by their own support, minus that by another user's support, (n,).

    Items that the other user likes are left out: they would score high by themselves.
    """
    n_users = slice_.support.shape[0]
    if n_users < 2:  # noqa: PLR2004
        return np.zeros(0)
    others = _draw_others(n_users, rng)
    wanted = slice_.relevant - slice_.relevant.multiply(slice_.support[others])
    wanted.eliminate_zeros()
    pairs = csr_array(wanted).tocoo()
    owner, item = (torch.from_numpy(np.asarray(side, np.int64)) for side in (pairs.row, pairs.col))
    score = _score_pairs(model, component, to_support(slice_), item)
    own, other = (score(who) for who in (owner, torch.from_numpy(others)[owner]))
    sums = np.bincount(pairs.row, (own - other).double().numpy(), n_users)
    counts = np.bincount(pairs.row, minlength=n_users)
    found: NDArray[np.float64] = sums[counts > 0] / counts[counts > 0]
    return found


def _score_pairs(model: Model, component: Component, support: Support, items: Tensor) -> Callable[[Tensor], Tensor]:
    """Scores pairs of users and items: a function of the users' rows in the support, (n,), for the n items given."""
    if isinstance(component, AddsRows):
        rows = component.added(support)
        assert rows is not None
        mean, variance = spread_rows(rows, int((~model.cold).sum()))
        unit = deviate(mean, variance)
        columns = items.numpy().copy()  # scipy cannot index by arrays that torch owns
        return lambda who: (torch.from_numpy(rows[who.numpy().copy(), columns]) - mean[who]) * unit[who]
    part = model.part(component, support)
    mean, unit = part.warm
    scaled = part.users * unit[:, None]
    return lambda who: (scaled[who] * component.items[items]).sum(dim=1) - (mean * unit)[who]


def _draw_others(n_users: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(n_users,) another user for each: neighbouring rows may be similar users."""
    order = rng.permutation(n_users)
    others = np.empty(n_users, np.int64)
    others[order] = np.roll(order, 1)
    return others


@dataclass(frozen=True)
class UserWeights:
    """The weights of what the graph says of users, beside those of the other components.

    Attributes:
        prior, linked: of the users' prior and of linked users' likes, 0 to 16.
        prior_deviation: the deviation of the prior's scores.
    """

    prior: float
    linked: float
    prior_deviation: float


def weigh_user_knowledge(model: Model, asked: Slice, weights: Weights, rng: np.random.Generator) -> list[UserWeights]:
    """The weights of the users' prior alone, and of the prior and linked users' likes together.

    Each is that of a linear discriminant of independent parts, these and the blend of the others: the ratio of their
    preferences for wanted items, each divided by the variance of its scores. Two standard errors are taken off
    the part's preference. Popularity is the same for everybody, so it is measured against all items. The prior and the
    likes both rest on linked users, so their correlation counts, too: nothing is added up twice.

    Args:
        model: the model.
        asked: the users.
        weights: (n_components,) of the other components.
        rng: draws the users to compare with.

    Returns:
        The weights of the prior alone and, if linked users' likes count, those of both. Empty: there are too few users
        to tell.
    """
    prior = model.component(UserPrior.name)
    if not isinstance(prior, UserPrior):
        return [UserWeights(0.0, 0.0, 0.0)]
    support = to_support(asked)
    of_prior = _bear_out(model, prior, asked, rng)
    if of_prior is None:
        return []
    deviation = math.sqrt(float(prior.emphasis(support, prior.users(support)).square().mean()))
    of_linked = correlation = 0.0
    linked = model.component(LinkedLikes.name)
    if linked is not None and support.linked is not None:
        know_others = select_users(asked, np.flatnonzero(np.diff(support.linked.indptr)))
        of_linked = _bear_out(model, linked, know_others, rng.spawn(1)[0]) or 0.0
        correlation = _correlate(model, prior, to_support(know_others)) if of_linked else 0.0
    of_prior /= max(deviation, _TINY)
    if not (of_prior or of_linked):
        return [UserWeights(0.0, 0.0, 0.0)]
    if asked.support.nnz:
        left_out = (UserPrior.name, LinkedLikes.name, Popularity.name)
        others = np.where([name in left_out for name in model.names], 0, weights)
        most = max(min(_MOST_BLENDED, _BLENDED_SCORES // model.n_items), _LEAST_TRUSTED)
        preference, other_variance = _measure_blend(model, draw_users(asked, rng, most), others, rng)
    else:
        preference, other_variance = _measure_popularity(model, asked) / _BESIDE_POPULARITY, 1.0
    unit = other_variance / max(preference, _TINY)
    slopes = [(of_prior, 0.0), *([_discriminate(of_prior, of_linked, correlation)] if of_linked else [])]
    return [
        UserWeights(min(one * unit / max(deviation, _TINY), _MOST_PRIOR), min(other * unit, _MOST_PRIOR), deviation)
        for one, other in slopes
    ]


def _discriminate(one: float, other: float, correlation: float) -> tuple[float, float]:
    """The weights of two parts of variance 1 by a linear discriminant, given their preferences; none is below 0."""
    rest = 1 - correlation**2
    first, second = one - correlation * other, other - correlation * one
    if min(first, second) < 0 or rest < _TINY:
        return (one, 0.0) if one >= other else (0.0, other)
    return first / rest, second / rest


def _correlate(model: Model, prior: UserPrior, support: Support) -> float:
    """The correlation of the prior's scores and of linked users' likes, for users who all have linked users."""
    rows = support.linked
    assert rows is not None
    n_warm = int((~model.cold).sum())
    part, (mean, variance) = model.part(prior, support), spread_rows(rows, n_warm)
    products = (part.users * torch.from_numpy(rows @ prior.items.numpy())).sum(dim=1) / n_warm - part.warm[0] * mean
    unit = deviate(mean, variance)
    spread = prior.emphasis(support, part.users).square().mean() * (unit > 0).float().mean()
    return float((products * part.warm[1] * unit).mean() / spread.sqrt().clamp(min=_TINY))


def _bear_out(model: Model, component: Component, asked: Slice, rng: np.random.Generator) -> float | None:
    """The preference for wanted items, two standard errors below the mean, at least 0; None: too few users to tell."""
    found = _measure_preference(model, component, asked, rng)
    if len(found) < _LEAST_TRUSTED:
        return None
    return max(float(found.mean()) - 2 * float(found.std()) / math.sqrt(len(found)), 0.0)


def _measure_blend(model: Model, asked: Slice, weights: Weights, rng: np.random.Generator) -> tuple[float, float]:
    """The preference for wanted items, as `_measure_preference` has it, and the variance of a blend's scores."""
    columns = np.flatnonzero(~model.cold.numpy())
    usable = [name for name, weight in zip(model.names, weights, strict=True) if weight]
    n_users = asked.support.shape[0]
    scores = np.zeros((n_users, model.n_items), np.float32)
    step = max(_BLOCK_SCORES // model.n_items, 1)
    for start in range(0, n_users, step):
        block = asked.support[start : start + step]
        parts = score_components(model, Support(block), usable, columns)
        of_parts = torch.tensor([weight for weight in weights if weight], dtype=torch.float32)
        scores[start : start + step, columns] = torch.einsum("c,cui->ui", of_parts, parts).numpy()
    others = _draw_others(n_users, rng)
    wanted = csr_array(asked.relevant).tocoo()
    own = scores[wanted.row, wanted.col] - scores[others[wanted.row], wanted.col]
    counts = np.bincount(wanted.row, minlength=n_users)
    preference = (np.bincount(wanted.row, own, n_users) / np.maximum(counts, 1))[counts > 0]
    return float(preference.mean()), float(scores[:, columns].var(axis=1).mean())


def _measure_popularity(model: Model, asked: Slice) -> float:
    """The mean score by popularity of wanted items, in deviations above the mean item."""
    component = model.component(Popularity.name)
    if component is None or component.warm_scale is None:
        return 0.0
    one = torch.ones((1, 1))
    mean, variance = component.warm_scale.measure(one)
    scores = (component.items[:, 0].numpy() - mean.item()) * deviate(mean, variance).item()
    return float(scores[asked.relevant.indices].mean()) if asked.relevant.nnz else 0.0
