"""The choices of training and the figures that they were made by; stored in the bundle."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from kgrec.training.selection import Verdict
from kgrec.training.vectors import VectorSettings


@dataclass(frozen=True)
class Choices:
    """The choices of validation.

    Attributes:
        vectors: the settings of the backbone and the prior.
        quality: setting -> the objective that it reached, for all that were tried.
        verdicts: for each question, the objective of the chosen weights beside that of the best baseline.
    """

    vectors: VectorSettings
    quality: dict[str, float] = field(default_factory=dict)
    verdicts: Sequence[Verdict] = ()

    @property
    def slice_quality(self) -> dict[str, float]:
        """The objective that the gate reached on each validation question, by its title."""
        return {verdict.title: verdict.worth for verdict in self.verdicts}
