"""A cache of the answers of one state, by the bytes of the request; it is bounded in answers and in bytes."""

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

MOST_ANSWERS = 4096
MOST_BYTES = 2**25


class AnswerCache:
    """The answers of one state; used by the event loop alone."""

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[str, bytes], tuple[bytes, NDArray[np.int64]]] = OrderedDict()
        self._n_bytes = 0

    def find(self, view: str, request: bytes) -> tuple[bytes, NDArray[np.int64]] | None:
        """The answer to a request and the rows of its items, for callers with the same view of the catalogue."""
        found = self._answers.get((view, request))
        if found is not None:
            self._answers.move_to_end((view, request))
        return found

    def keep(self, view: str, request: bytes, answer: bytes, rows: NDArray[np.int64]) -> None:
        """Keeps an answer; those used least recently make room."""
        key = (view, request)
        if key not in self._answers:
            self._n_bytes += len(request) + len(answer)
        self._answers[key] = (answer, rows)
        while len(self._answers) > MOST_ANSWERS or self._n_bytes > MOST_BYTES:
            (_, gone), (content, _) = self._answers.popitem(last=False)
            self._n_bytes -= len(gone) + len(content)

    def count(self, text: str) -> int:
        """How many requests and answers have a text in them."""
        sought = text.encode()
        return sum(sought in request or sought in answer for (_, request), (answer, _) in [*self._answers.items()])
