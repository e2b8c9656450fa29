"""What may continue a user's likes: one protocol for generators of semantic ids and for language models."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kgrec.bundle import Bundle
from kgrec.errors import RequestError
from kgrec.language.time_limit import Deadline

_LEAST_S = 1e-3


@dataclass(frozen=True)
class NextItemRequest:
    """One user's likes, to be continued.

    Attributes:
        bundle: the catalogue.
        likes: (n,) int64 item rows, the earliest first, each once; at least one.
        allowed: (n_items,) bool: the items that may be in the answer.
        k: the number of items, at most as many as the catalogue has.
        propose: called with a number; gives the rows of so many items, or of all, that the recommender ranks first.
        deadline: when a language model must have answered.
    """

    bundle: Bundle
    likes: NDArray[np.int64]
    allowed: NDArray[np.bool_]
    k: int
    propose: Callable[[int], NDArray[np.int64]]
    deadline: Deadline

    @property
    def left_s(self) -> float:
        """Seconds that a language model has left.

        Raises:
            LanguageModelTooSlow: none.
        """
        self.deadline.check()
        return max(self.deadline.left_s, _LEAST_S)

    @property
    def liked_titles(self) -> list[str]:
        """The names of the likes, the earliest first; those without a name are left out.

        Raises:
            RequestError: none has a name.
        """
        titles = self.bundle.names[self.bundle.schema.item_type]
        named = [title for title in (titles[row] for row in self.likes.tolist()) if title]
        if not named:
            raise RequestError(
                f"none of the {len(self.likes)} likes has a name; expected at least one: a language model reads names"
            )
        return named


@dataclass(frozen=True)
class NextItems:
    """What continues a user's likes.

    Attributes:
        rows: (n,) int64 item rows, the best first, none twice, all allowed; n may be less than was asked for.
        scores: (n,) float64, descending; None: there are none.
        notes: sentences about the answer.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()


class NextItemGenerator(Protocol):
    """Continues likes; threads may share one.

    It runs on a thread of its own, which nobody waits for beyond the deadline, unless its `answers_at_once` is true.
    """

    def continue_likes(self, request: NextItemRequest) -> NextItems:
        """Finds the next items.

        Raises:
            TextError, RequestError: the language model is too slow or fails, or cannot go on from these likes; then the
                recommender answers.
            BundleError: the generator is of another catalogue.
        """
        ...
