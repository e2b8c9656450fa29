"""The finished trials of a study, and the comparison of the best with the default."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.stats import t as student

from kgrec.config import TrainConfig
from kgrec.tune.objective import to_quality

Slices = dict[str, float]  # validation slice -> quality
_LEVEL = 0.95  # confidence of the bound on the noise of a gain


@dataclass(frozen=True)
class Tried:
    """A finished trial.

    Attributes:
        number: the number of the trial, from 0.
        config: its settings.
        is_default: whether these are the settings that the study starts from.
        state: "complete", "pruned" or "failed".
        splits: the quality on each slice, for each split that it reached.
        took_s: its duration in seconds.
        error: the error of a failed trial.
    """

    number: int
    config: TrainConfig
    is_default: bool
    state: str
    splits: tuple[Slices, ...]
    took_s: float
    error: str | None

    @property
    def qualities(self) -> list[float]:
        """The quality on each split."""
        return [to_quality(slices) for slices in self.splits]

    @property
    def quality(self) -> float:
        """The mean quality over splits."""
        return fmean(self.qualities)


@dataclass(frozen=True)
class Comparison:
    """The best trial and the default on fresh validation splits.

    Attributes:
        default, tuned: the quality on each slice, for each split.
    """

    default: tuple[Slices, ...]
    tuned: tuple[Slices, ...]

    @property
    def gains(self) -> list[float]:
        """How much better the tuned settings are on each split."""
        return [to_quality(after) - to_quality(before) for before, after in zip(self.default, self.tuned, strict=True)]

    @property
    def noise(self) -> float:
        """The least mean gain that counts: Student's one-sided 95% bound on the mean of the paired differences."""
        n = len(self.gains)
        return float(student.ppf(_LEVEL, n - 1)) * stdev(self.gains) / math.sqrt(n)

    @property
    def is_gain(self) -> bool:
        """Whether the tuned settings are better by more than noise."""
        return fmean(self.gains) > self.noise


@dataclass(frozen=True)
class Tuning:
    """The result of a study.

    Attributes:
        base: the settings that it starts from, the default.
        settings: the names of the tuned settings.
        tried: the finished trials, in order.
        best: the complete trial with the highest quality.
        comparison: of the best with the default; None if the default is the best, or failed.
        importances: setting -> its share of the changes in quality, highest first; empty after few trials.
    """

    base: TrainConfig
    settings: tuple[str, ...]
    tried: tuple[Tried, ...]
    best: Tried
    comparison: Comparison | None
    importances: Mapping[str, float]

    @property
    def config(self) -> TrainConfig:
        """The settings to use: those of the best trial, unless their gain on the default is within noise."""
        return self.best.config if self.comparison is None or self.comparison.is_gain else self.base
