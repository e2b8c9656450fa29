"""Makes choices: a default stays unless another value is clearly better, beyond the error."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kgrec.training.questions import ListQuality, Question, compare

_STEPS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)  # weights, in deviations of a part
_LOWER = (0.85, 0.7, 0.5, 0.35)  # of a large default weight of popularity
_SHARES = (0.0, 0.35, 0.7, 1.0, 1.4, 2.0)  # of a default weight
_FIRST_STEPS = (0.0, 0.2, 0.5)  # of a weight that is 0 by default
_AGAINST = (-0.1, -0.2, -0.3, -0.4, -0.5, -0.6, -0.8, -1.0)  # for popularity, which may lower a score
_LITTLE_AGAINST = 3  # of these are always tried: more gain stratified recall at the cost of recall and NDCG
_CLEARLY = 2.0  # standard errors that a difference must exceed: the best of many trials is partly luck
_ROUNDS = 2

Weights = NDArray[np.float64]


@dataclass(frozen=True)
class Verdict:
    """The choice for one question, compared with the best baseline.

    Attributes:
        title: the title of the question.
        n_users: the number of users.
        worth: the objective of the choice.
        baseline: the best baseline; None: there is none.
        baseline_worth: its objective.
        error: standard error of the difference; None: there are too few users to estimate it.
        popular: the mean number, over users, of the first 10 items that are among the 20 most liked.
    """

    title: str
    n_users: int
    worth: float
    baseline: str | None
    baseline_worth: float | None
    error: float | None
    popular: float


def is_clear(difference: tuple[float, float]) -> bool:
    """Whether a (difference, standard error) is clearly above 0."""
    return difference[0] > _CLEARLY * difference[1]


def choose_weights(
    question: Question,
    names: Sequence[str],
    default: Weights,
    *,
    usable: Sequence[str],
    less_popular: Weights | None = None,
    most_popular: float | None = None,
    cold: bool = False,
    against_popular: bool = True,
) -> tuple[Weights, ListQuality]:
    """Chooses weights of components, one at a time, from a default.

    Args:
        question: the users and items to judge on.
        names: the names of the components.
        default: (n_components,) the weights to begin with.
        usable: the components whose weights may change.
        less_popular: (n_components,) weights to add in steps while lists are too popular; None: none.
        most_popular: the limit on how many of the first 10 items are among the most liked, as a mean over users; None:
            no limit.
        cold: whether all items of the question are cold.
        against_popular: whether popularity may have a weight below 0.

    Returns:
        (n_components,) weights, and the judgement of their lists.
    """

    def judge(weights: Weights) -> ListQuality:
        return question.judge(question.blend(weights, weights) if cold else question.blend(weights))

    def allowed(judged: ListQuality) -> bool:
        return most_popular is None or float(judged.popular.mean()) <= most_popular

    weights = default.copy()
    best = judge(weights)
    place_of = {name: place for place, name in enumerate(names)}
    for tried in filter(np.any, _less_popular(default, less_popular, place_of.get("popularity"))):  # else all tie
        if allowed(best):
            break
        found = judge(tried)
        if found.popular.mean() < best.popular.mean():
            weights, best = tried, found
    for _ in range(_ROUNDS):
        changed = False
        for name in usable:
            place = place_of[name]
            steps = _steps_from(float(default[place]), popularity=name == "popularity")
            if not against_popular:
                steps = tuple(step for step in steps if step >= 0)
            others = weights.copy()
            others[place] = 0
            rest = question.blend(others, others) if cold else question.blend(others)
            scored: list[tuple[float, float, ListQuality]] = []
            for step in steps:
                if step == weights[place] or (step == 0 and not others.any()):
                    continue
                found = question.judge(rest + float(step) * question.parts[place])
                if allowed(found) or found.popular.mean() < best.popular.mean():
                    scored.append((found.objective, step, found))
            for _, step, found in sorted(scored, key=lambda one: -one[0])[:1]:
                if is_clear(compare(found, best)):
                    weights[place], best, changed = step, found, True
        if not changed:
            break
    return weights, best


def _steps_from(default: float, *, popularity: bool) -> tuple[float, ...]:
    """The weights to try for a component; at most twice its default, which works across catalogues.

    Weights of popularity are at most the default, and may be a little below 0.
    """
    if popularity:
        return (*(share * default for share in _SHARES if share <= 1), *_AGAINST[:_LITTLE_AGAINST])
    return tuple(share * default for share in _SHARES) if default else _FIRST_STEPS


def _less_popular(default: Weights, added: Weights | None, popularity: int | None) -> Iterator[Weights]:
    """Weights with fewer and fewer popular items: less popularity, then others added, then negative popularity."""
    if popularity is None:
        return
    without = default.copy()
    above = [share * default[popularity] for share in _LOWER if share * default[popularity] > _STEPS[-1]]
    for step in (*above, *reversed(_STEPS)):
        if step < default[popularity]:
            without = default.copy()
            without[popularity] = step
            yield without
    last = without
    if added is not None:
        for share in (0.1, 0.2, 0.3, 0.5, 0.75, 1.0):
            last = without + share * added
            yield last
    for step in _AGAINST:
        against = last.copy()
        against[popularity] = step
        yield against


def race(
    question: Question, chosen: ListQuality, rivals: Mapping[str, Tensor], most_popular: float | None
) -> tuple[str | None, str, ListQuality | None, float]:
    """Compares a choice with baselines.

    Args:
        question: the users and items to judge on.
        chosen: the judgement of the choice.
        rivals: name -> scores (n_users, n_short).
        most_popular: as in `choose_weights`; rivals that show more are left out.

    Returns:
        The rival that is clearly better than the choice, or None; the best rival, its judgement, and the standard
        error of the difference.
    """
    best_name, best, error = "", None, float("nan")
    for name, scores in rivals.items():
        judged = question.judge(scores)
        if most_popular is not None and judged.popular.mean() > max(most_popular, float(chosen.popular.mean())):
            continue
        if best is None or judged.objective > best.objective:
            best_name, best = name, judged
    if best is None:
        return None, "", None, error
    difference, error = compare(best, chosen)
    return (best_name if is_clear((difference, error)) else None), best_name, best, error


def choose_setting(
    default: float,
    others: Sequence[float],
    measure: Callable[[float], ListQuality],
    quality: dict[str, float],
    title: str,
) -> float:
    """Chooses one setting: the best of the others if it is clearly better than the default.

    Args:
        default: the value to keep if no other is clearly better.
        others: the values to try.
        measure: judges a value, always on the same questions.
        quality: gets the objective of each value.
        title: prefix of the names in `quality`.
    """
    kept = measure(default)
    quality[f"{title}={default:g}"] = kept.objective
    best, best_judged = default, kept
    for value in others:
        found = measure(value)
        quality[f"{title}={value:g}"] = found.objective
        if found.objective > best_judged.objective and is_clear(compare(found, kept)):
            best, best_judged = value, found
    return best
