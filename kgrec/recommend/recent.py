"""A cache of recent answers."""

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock

from kgrec.recommend.answers import Recommendations


class RecentAnswers:
    """A cache of the answers used most recently, by request.

    Args:
        size: the most answers to keep.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._answers: OrderedDict[Hashable, Recommendations] = OrderedDict()
        self._lock = Lock()

    def get(self, request: Hashable) -> Recommendations | None:
        """The cached answer to a request; None: there is none."""
        with self._lock:
            found = self._answers.get(request)
            if found is not None:
                self._answers.move_to_end(request)
            return found

    def keep(self, request: Hashable, answer: Recommendations) -> None:
        """Keeps the answer to a request."""
        with self._lock:
            self._answers[request] = answer
            while len(self._answers) > self._size:
                self._answers.popitem(last=False)
