"""What training chose, and what it saw; kept in the bundle."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from kgrec.training.selection import Verdict
from kgrec.training.vectors import VectorSettings


@dataclass(frozen=True)
class Choices:
    """What validation chose, and what it saw.

    Attributes:
        vectors: of the backbone and the prior.
        quality: setting -> the objective that it reached, for all that was tried.
        verdicts: for each number of likes, what was chosen beside the best baseline.
    """

    vectors: VectorSettings
    quality: dict[str, float] = field(default_factory=dict)
    verdicts: Sequence[Verdict] = ()

    @property
    def slice_quality(self) -> dict[str, float]:
        """The objective that the gate reached on each validation question, by its title."""
        return {verdict.title: verdict.worth for verdict in self.verdicts}
