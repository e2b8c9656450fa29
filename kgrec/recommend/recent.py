"""Answers given before: requests come again and again."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock

from kgrec.recommend.answers import Recommendations


class RecentAnswers:
    """The answers used most recently, by request.

    Args:
        size: how many are kept.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._answers: OrderedDict[Hashable, Recommendations] = OrderedDict()
        self._lock = Lock()

    def find(self, request: Hashable, answer: Callable[[], Recommendations]) -> Recommendations:
        """The answer to a request, made by `answer` if it is not there."""
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
