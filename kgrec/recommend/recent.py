"""Answers given before, kept for as long as the bundle is the same: requests come again and again."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock

from kgrec.bundle import Bundle
from kgrec.recommend.answers import Recommendations


class RecentAnswers:
    """The answers used most recently, by request; another bundle, as every change makes one, begins anew.

    Args:
        size: how many are kept.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._bundle: Bundle | None = None
        self._answers: OrderedDict[Hashable, Recommendations] = OrderedDict()
        self._lock = Lock()

    def find(self, bundle: Bundle, request: Hashable, answer: Callable[[], Recommendations]) -> Recommendations:
        """The answer to a request on a bundle, made by `answer` if it is not there."""
        with self._lock:
            if self._bundle is not bundle:
                self._bundle = bundle
                self._answers.clear()
            elif request in self._answers:
                self._answers.move_to_end(request)
                return self._answers[request]
        found = answer()
        with self._lock:
            if self._bundle is bundle:  # and not changed meanwhile by another thread
                self._answers[request] = found
                while len(self._answers) > self._size:
                    self._answers.popitem(last=False)
        return found
