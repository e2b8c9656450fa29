"""The choices of training and the figures behind them; stored in the bundle."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from kgrec.training.selection import Verdict
from kgrec.training.vectors import VectorSettings


@dataclass(frozen=True)
class Choices:
    """The choices that validation made.

    Attributes:
        vectors: the settings of the backbone and the prior.
        quality: setting -> its objective, for every setting that was tried.
        verdicts: for each question, the objectives of the chosen weights and of the best baseline.
    """

    vectors: VectorSettings
    quality: dict[str, float] = field(default_factory=dict)
    verdicts: Sequence[Verdict] = ()

    @property
    def slice_quality(self) -> dict[str, float]:
        """The objective that the gate reached on each validation question, by its title."""
        return {verdict.title: verdict.worth for verdict in self.verdicts}
