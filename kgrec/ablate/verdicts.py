"""Verdicts on parts of a catalogue, based on differences with intervals, and their sentences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from kgrec.ablate.comparison import METRICS
from kgrec.evaluate.evaluation_report import METRIC_TITLES
from kgrec.evaluate.intervals import Interval

LEAST_WHOLE = 0.1  # shares are relative to at least this: 2% of a tiny value cannot be measured
_MOST_NAMED = 2
_WORTH_REPORTING = 0.1


class Verdict(StrEnum):
    """What to do with a part of a catalogue."""

    KEEP = "keep"  # a slice loses without it, possibly more than the tolerance
    DROP = "drop"  # a loss of more than the tolerance is ruled out in every slice
    UNDECIDED = "undecided"  # no slice is shown to lose, but a loss is not ruled out
    EMPTY = "empty"  # it has no links


@dataclass(frozen=True)
class Change:
    """The effect of leaving something out on one metric of one slice.

    Attributes:
        slice_title: `Slice.title`.
        metric: "ndcg" or "recall".
        interval: the interval of the mean difference, negative for a loss.
        whole: the metric with the whole catalogue.
    """

    slice_title: str
    metric: str
    interval: Interval
    whole: float

    @property
    def share(self) -> float:
        """The mean difference as a share of the metric with the whole catalogue."""
        return self.interval.mean / max(self.whole, LEAST_WHOLE)

    @property
    def most_lost(self) -> float:
        """The largest share that it may fall by; 0 when the whole interval is above 0."""
        return max(0.0, -self.interval.low) / max(self.whole, LEAST_WHOLE)


def judge(changes: Sequence[Change], tolerance: float) -> Verdict:
    """The verdict on a part of the catalogue, by the effect of leaving it out.

    Args:
        changes: the changes in every metric of every slice.
        tolerance: the largest loss to ignore, as a share.
    """
    if all(change.most_lost <= tolerance for change in changes):
        return Verdict.DROP
    return Verdict.KEEP if _list_lost(changes, tolerance) else Verdict.UNDECIDED


def _list_lost(changes: Sequence[Change], tolerance: float) -> list[Change]:
    """The changes with a certain loss, possibly above the tolerance."""
    return [change for change in changes if change.interval.high < 0 and change.most_lost > tolerance]


def describe_relation(name: str, changes: Sequence[Change], tolerance: float, k: int) -> str:
    """A sentence about a relation."""
    verdict = judge(changes, tolerance)
    if verdict == Verdict.KEEP:
        lost = _list_lost(changes, tolerance)
        worst = _find_worst(lost)
        others = f"{_name_others(lost, worst)}{_describe_gains(changes, k)}"
        return f"`{name}` carries “{worst.slice_title}”: without it {_describe_change(worst, k)}{others}"
    lead = "drop" if verdict == Verdict.DROP else "undecided about"
    return f"{lead} `{name}`: without it {_describe_effect(changes, tolerance, k)}"


def describe_together(names: Sequence[str], changes: Sequence[Change], tolerance: float, k: int) -> str:
    """A sentence about all droppable relations, left out at once."""
    joined = ", ".join(f"`{name}`" for name in names)
    lead = {
        Verdict.DROP: f"{joined} can go together",
        Verdict.KEEP: f"{joined} can go one by one but not together (drop one, then run `kgrec ablate` again)",
    }.get(judge(changes, tolerance), f"{joined} can go one by one; whether they can go together is undecided")
    return f"{lead}: without them {_describe_effect(changes, tolerance, k)}"


def describe_shuffled(changes: Sequence[Change], without_links: Sequence[Change], tolerance: float, k: int) -> str:
    """A sentence about the links, compared with as many links at random.

    Args:
        changes: the effect of shuffling the links.
        without_links: the effect of leaving them out.
        tolerance: the largest loss to ignore, as a share.
        k: list length of the metrics.
    """
    lead = {
        Verdict.KEEP: "your graph helps",
        Verdict.DROP: "your graph helps no more than a shuffled one",
    }.get(judge(changes, tolerance), "your graph is not shown to help more than a shuffled one")
    sentence = f"{lead}: with its links shuffled {_describe_effect(changes, tolerance, k)}"
    lost = _list_lost(changes, tolerance)
    if not lost:
        return sentence
    worst = _find_worst(lost)
    bare = next(one for one in without_links if (one.slice_title, one.metric) == (worst.slice_title, worst.metric))
    left = 1 - worst.interval.mean / bare.interval.mean if bare.interval.high < 0 else 0.0
    if left < _WORTH_REPORTING:
        return sentence
    return f"{sentence}; {left:.0%} of the gain there comes from the number of links of an item, which shuffling keeps"


def describe_part(what: str, changes: Sequence[Change], tolerance: float, k: int) -> str:
    """A sentence about all texts, all links, or both."""
    return f"{what}: without them {_describe_effect(changes, tolerance, k)}"


def describe_undecided(most_lost: Mapping[str, float]) -> str:
    """One sentence about all undecided relations.

    Args:
        most_lost: relation -> the largest share that a slice may lose without it.
    """
    names = ", ".join(f"`{name}` ({share:.0%})" for name, share in most_lost.items())
    return f"undecided: {names}: no slice is shown to lose, but one may, by up to this share; more splits narrow it"


def _describe_effect(changes: Sequence[Change], tolerance: float, k: int) -> str:
    lost = _list_lost(changes, tolerance)
    if lost:
        worst = _find_worst(lost)
        others = f"{_name_others(lost, worst)}{_describe_gains(changes, k)}"
        return f"{_describe_change(worst, k)} in “{worst.slice_title}”{others}"
    widest = max(changes, key=lambda change: change.most_lost)
    effect = f"no slice is shown to lose, but “{widest.slice_title}” may, by up to {widest.most_lost:.0%}"
    if widest.most_lost <= tolerance:
        effect = f"no slice loses (more than {widest.most_lost:.1%} is ruled out in each)"
    return f"{effect}{_describe_gains(changes, k)}"


def _find_worst(lost: Sequence[Change]) -> Change:
    """The largest loss, in the first metric with a loss."""
    metric = min((change.metric for change in lost), key=METRICS.index)
    return min((change for change in lost if change.metric == metric), key=lambda change: change.share)


def _describe_gains(changes: Sequence[Change], k: int) -> str:
    gained = [change for change in changes if change.interval.low > 0]
    if not gained:
        return ""
    best = max(gained, key=lambda change: change.share)
    return f"; {_describe_change(best, k)} in “{best.slice_title}”"


def _describe_change(change: Change, k: int) -> str:
    found = change.interval
    verb, size, low, high = "rises", found.mean, found.low, found.high
    if found.mean < 0:
        verb, size, low, high = "falls", -found.mean, -found.high, -found.low
    return f"{METRIC_TITLES[change.metric]}@{k} {verb} by {size:.3f} [{low:.3f}, {high:.3f}] ({abs(change.share):.0%})"


def _name_others(lost: Sequence[Change], worst: Change) -> str:
    titles = [title for title in dict.fromkeys(change.slice_title for change in lost) if title != worst.slice_title]
    if not titles:
        return ""
    some = ", ".join(f"“{title}”" for title in titles[:_MOST_NAMED])
    more = f" and {len(titles) - _MOST_NAMED} more" if len(titles) > _MOST_NAMED else ""
    return f"; {some}{more} {'loses' if len(titles) == 1 else 'lose'} too"
