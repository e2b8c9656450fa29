"""From which weight an interaction is a like, and what several interactions of one user with one item weigh."""

import math
from dataclasses import dataclass

from graph_schema.drafts.name_words import COUNTS_OF_ACTS, GRADES, begins_with, split_words
from graph_schema.drafts.profile import PropertyProfile
from graph_schema.drafts.roles import find_kind
from graph_schema.schema_types import Repeats

_UPPER = 0.7  # of a scale of grades: from there on they are likes
_WHOLE_SCALES = (6, 7, 10, 20, 100)  # above 5 the scale's top is the next of these, as few give the best grade
_FEW_GRADES = 3  # of a scale up to here the best grade alone is a like
_COMMON = 0.05  # share of the values from which one below the scale is a mark, as 0 for "not rated"


@dataclass(frozen=True)
class LikeRule:
    """When an interaction is a like.

    Attributes:
        positive: the least weight of a like; None: a weight above 0.
        repeats: as in `Interaction.repeats`.
        why: the reason, for people.
        share: the share of the interactions that are likes, 0 to 1; None: it is not known.
    """

    positive: float | None
    repeats: Repeats
    why: str
    share: float | None = None

    def describe_share(self, edge: str) -> str:
        """The share in words, such as "58% of rated are likes"; empty where it is not known."""
        return "" if self.share is None else f"{self.share:.0%} of {edge} are likes"


def find_like_rule(one: PropertyProfile) -> LikeRule:
    """Finds the rule for a weight.

    A threshold is within the data: with it some interactions are likes, and some are not. Where none can be, every
    weight above 0 is a like.

    Args:
        one: the weight.
    """
    if one.low is None or one.high is None:
        return LikeRule(None, "latest", "it has no numbers")
    low, high = one.low, one.high
    if (low, high) == (0, 1) and (find_kind(one) == "int" or (one.spread and {*one.spread} <= {0.0, 1.0})):
        return _finish(one, 1.0, "greatest", "0 and 1: what is 1 is a like")
    if not begins_with(split_words(one.name), GRADES):
        return _find_count_rule(one, low, high)
    marks = _find_marks(one, low, high)
    grades = [value for value in one.spread if value not in marks]
    low = min(grades) if grades else next((0.0 for mark in marks if mark < 0), low)
    marked = f'; {" and ".join(f"{mark:g}" for mark in marks)} stands for "not rated"' if marks else ""
    why = f"grades from {low:g} to {high:g}{marked}"
    positive = _find_grade(min(low, 1.0), high, is_whole=find_kind(one) == "int" or high > 1)
    if positive is None:
        return _finish(one, None, "latest", f"from {low:g} to {high:g} is not a usual scale")
    if positive <= low:
        return _finish(one, None, "latest", f"{why}: all are high, and every interaction is a like")
    return _finish(one, _bring_within(positive, grades), "latest", why)


def _find_count_rule(one: PropertyProfile, low: float, high: float) -> LikeRule:
    is_count = begins_with(split_words(one.name), COUNTS_OF_ACTS) or (low < 0 and high > 1)
    repeats: Repeats = "sum" if is_count else "latest"
    if low < 0 and high <= 1:
        return _finish(one, 1.0, repeats, f"from {low:g} to {high:g}: {high:g} is a like")
    if low <= 0:
        below = "what is not above 0 was not bought, or was given back" if low < 0 else "what is 0 is none"
        return _finish(one, None, repeats, f"from {low:g} to {high:g}: more than 0 is a like; {below}")
    return _finish(one, None, repeats, f"it counts, from {low:g} to {high:g}: every interaction is a like")


def _find_grade(low: float, high: float, *, is_whole: bool) -> float | None:
    """The least grade that is a like; None: this is no usual scale."""
    if high <= 0 or high > _WHOLE_SCALES[-1]:
        return None
    if not is_whole:
        return round(low + _UPPER * (high - low), 2)
    if high <= 1:
        return 1.0
    top = high if high <= 5 else next(top for top in _WHOLE_SCALES if high <= top)  # noqa: PLR2004 five stars
    aim = low + _UPPER * (top - low)
    rounded = math.ceil(aim - 1e-9) if high <= _FEW_GRADES else math.floor(aim + 0.5)
    return min(float(rounded), high)


def _find_marks(one: PropertyProfile, low: float, high: float) -> list[float]:
    """The values that stand for "not rated": -1 below a scale from 0 or 1, and 0 below one from 1 if it is common."""
    marks = [-1.0] if low == -1 and high > 1 else []
    rest = [value for value in one.spread if value not in marks]
    is_common = rest.count(0.0) >= _COMMON * len(one.spread)
    if rest and rest[0] == 0 and is_common and high >= 5 and min((v for v in rest if v), default=0) >= 1:  # noqa: PLR2004
        marks.append(0.0)
    return marks


def _bring_within(positive: float, grades: list[float]) -> float:
    """The threshold, or the greatest grade below it where no grade reaches it."""
    return positive if not grades else min(positive, max(grades))


def _finish(one: PropertyProfile, positive: float | None, repeats: Repeats, why: str) -> LikeRule:
    if not one.spread:
        return LikeRule(positive, repeats, why)
    share = sum(value > 0 if positive is None else value >= positive for value in one.spread) / len(one.spread)
    return LikeRule(positive, repeats, why, share)
