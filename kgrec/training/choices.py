"""The choices of training and the figures behind them; stored in the bundle."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from kgrec.training.selection import Verdict
from kgrec.training.vectors import VectorSettings


@dataclass(frozen=True)
class PrivacyReport:
    """What a private training promises, and at which price; stored in the bundle.

    Attributes:
        epsilon, delta: no outcome is likelier with a user than without by more than a factor e^epsilon, up to delta.
        neighbours: which data sets the promise compares.
        accountant: how the noise was calibrated.
        most_likes: the most likes of a user that counted.
        counts_noise: the deviation of the noise in an item's number of likes.
        gram_noise: the deviation of the noise in the sum over users for a pair of items; a user adds a vector of at
            most length 1 to all pairs together.
        n_selected: the number of items whose pairs were counted.
        rank: the number of directions of the likes that stand out of the noise.
        keeps_users: whether the bundle keeps the users' own likes, which the promise does not cover.
        public: what counts as public.
    """

    epsilon: float
    delta: float
    neighbours: str
    accountant: str
    most_likes: int
    counts_noise: float
    gram_noise: float
    n_selected: int
    rank: int
    keeps_users: bool
    public: str


@dataclass(frozen=True)
class Choices:
    """The choices that validation made.

    Attributes:
        vectors: the settings of the backbone and the prior.
        quality: setting -> its objective, for every setting that was tried.
        verdicts: for each question, the objectives of the chosen weights and of the best baseline.
        privacy: of a private training, which makes no choices; None: the training was not private.
    """

    vectors: VectorSettings
    quality: dict[str, float] = field(default_factory=dict)
    verdicts: Sequence[Verdict] = ()
    privacy: PrivacyReport | None = None

    @property
    def slice_quality(self) -> dict[str, float]:
        """The objective that the gate reached on each validation question, by its title."""
        return {verdict.title: verdict.worth for verdict in self.verdicts}
