"""Ranks titles by their likelihood behind a user's likes, less what they are likely anyway."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kgrec.errors import RequestError
from kgrec.language.local_model import LocalLanguageModel
from kgrec.language.time_limit import Deadline
from kgrec.language.titles import TitlePrompt

_MOST_KEPT = 200_000  # titles whose likelihood without likes is kept
PRIOR_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Scoring:
    """How likelihoods become scores.

    Attributes:
        prior_weight: the share of a title's likelihood without likes that is taken off. 0: the likelihood behind the
            likes; 1: the pointwise mutual information of the title and the likes (Holtzman et al. 2021), which does not
            favour titles of common words.
        per_token: whether likelihoods are divided by the number of tokens, which does not favour short titles.
    """

    prior_weight: float = 1.0
    per_token: bool = True


@dataclass(frozen=True)
class TitleLikelihoods:
    """The likelihoods of candidates.

    Attributes:
        behind_likes: (n,) log-likelihoods of the titles behind the likes, summed over tokens.
        alone: (n,) the same without likes.
        n_tokens: (n,) int64, the end included.
    """

    behind_likes: NDArray[np.float64]
    alone: NDArray[np.float64]
    n_tokens: NDArray[np.int64]

    def score(self, scoring: Scoring) -> NDArray[np.float64]:
        """(n,) scores; higher is better. A candidate without a title scores -inf."""
        score = self.behind_likes - scoring.prior_weight * self.alone
        return np.where(self.n_tokens > 1, score / self.n_tokens if scoring.per_token else score, -np.inf)


@dataclass(frozen=True)
class LikelihoodRanker:
    """Ranks titles by their likelihood; what titles are likely without likes is kept between requests.

    Attributes:
        model: the language model.
        prompt: how likes become a prompt.
    """

    model: LocalLanguageModel
    prompt: TitlePrompt = field(default_factory=TitlePrompt)
    _alone: dict[tuple[int, ...], float] = field(default_factory=dict, repr=False)

    def rank(
        self, liked: Sequence[str], candidates: Sequence[str], *, scoring: Scoring | None = None, time_limit_s: float
    ) -> NDArray[np.float64]:
        """Scores candidates for one user; see `measure`.

        Args:
            liked: titles of the user's likes, the earliest first.
            candidates: n titles.
            scoring: how likelihoods become scores; None: the default.
            time_limit_s: seconds until the call returns.

        Returns:
            (n,) scores; higher is better.
        """
        scoring = Scoring() if scoring is None else scoring
        found = self.measure(liked, candidates, with_prior=scoring.prior_weight != 0, time_limit_s=time_limit_s)
        return found.score(scoring)

    def measure(
        self, liked: Sequence[str], candidates: Sequence[str], *, with_prior: bool = True, time_limit_s: float
    ) -> TitleLikelihoods:
        """Measures the likelihood of each candidate behind the likes, and without them.

        Each candidate is read behind its own copy of the prompt, so no title changes the score of another.

        Args:
            liked: titles of the user's likes, the earliest first; at least one.
            candidates: n titles.
            with_prior: whether the likelihoods without likes are measured; they are 0 otherwise.
            time_limit_s: seconds until the call returns.

        Raises:
            RequestError: there are no likes with a title.
            LanguageModelTooSlow: the time is over.
            TextError: the model fails.
        """
        tokens = self.model.read_titles(candidates)
        empty, behind = self.prompt.build(self.model, []), self.prompt.build(self.model, liked)
        if len(behind) == len(empty):
            raise RequestError(f"got {len(liked)} likes, none with a title; expected at least one: like something")

        def score(deadline: Deadline) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            found = self.model.score(behind, tokens, deadline)
            alone = self._score_alone(empty, tokens, deadline) if with_prior else np.zeros(len(tokens))
            return found, alone

        found, alone = self.model.within(time_limit_s, score)
        return TitleLikelihoods(found, alone, np.array([len(row) for row in tokens], np.int64))

    def _score_alone(
        self, prompt: Sequence[int], titles: Sequence[Sequence[int]], deadline: Deadline
    ) -> NDArray[np.float64]:
        keys = [tuple(title) for title in titles]
        known = self._alone
        missing = sorted({key for key in keys if key not in known})
        scores = dict(zip(missing, self.model.score(prompt, missing, deadline).tolist(), strict=True))
        found = np.array([scores[key] if key in scores else known[key] for key in keys], np.float64)
        if len(known) + len(scores) > _MOST_KEPT:
            known.clear()
        known.update(scores)
        return found


def choose_scoring(asked: Sequence[TitleLikelihoods], wanted: Sequence[int]) -> Scoring:
    """Chooses how likelihoods become scores, on validation: by the mean reciprocal rank of what users liked next.

    Args:
        asked: the candidates of each user.
        wanted: for each user the place among them of the item that the user liked next.

    Returns:
        The best; the default where it is as good.
    """
    default = Scoring()
    options = [default, *(Scoring(weight, per) for weight in PRIOR_WEIGHTS for per in (True, False))]

    def judge(scoring: Scoring) -> float:
        found = 0.0
        for one, place in zip(asked, wanted, strict=True):
            score = one.score(scoring)
            others = np.delete(score, place)
            found += 1 / (1 + (others > score[place]).sum() + (others == score[place]).sum() / 2)
        return found / max(1, len(asked))

    return max(options, key=judge)  # the first of equals
