"""A cache of recent answers."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
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

    def find(self, request: Hashable, answer: Callable[[], Recommendations]) -> Recommendations:
        """The cached answer to a request; if there is none, calls `answer` and keeps its result."""
        with self._lock:
            if request in self._answers:
                self._answers.move_to_end(request)
                return self._answers[request]
        found = answer()
        with self._lock:
            self._answers[request] = found
            while len(self._answers) > self._size:
                self._answers.popitem(last=False)
        return found
