"""A cache of the answers of one state, by the bytes of the request; it is bounded in answers and in bytes."""

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kgrec.service.answering import Listed

MOST_ANSWERS = 4096
MOST_BYTES = 2**25


class AnswerCache:
    """The answers of one state; used by the event loop alone."""

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[str, bytes], Listed] = OrderedDict()
        self._n_bytes = 0

    def find(self, view: str, request: bytes) -> "Listed | None":
        """The answer to a request of callers with the same view of the catalogue; None: it is not kept."""
        return self._answers.get((view, request))

    def keep(self, view: str, request: bytes, answer: "Listed") -> None:
        """Keeps an answer; those used least recently make room."""
        key = (view, request)
        if key not in self._answers:
            self._n_bytes += len(request) + len(answer.content)
        self._answers[key] = answer
        self._answers.move_to_end(key)
        while len(self._answers) > MOST_ANSWERS or self._n_bytes > MOST_BYTES:
            (_, gone), content = self._answers.popitem(last=False)
            self._n_bytes -= len(gone) + len(content.content)

    def count(self, text: str) -> int:
        """How many requests and answers have a text in them."""
        sought = text.encode()
        return sum(sought in request or sought in answer.content for (_, request), answer in [*self._answers.items()])
