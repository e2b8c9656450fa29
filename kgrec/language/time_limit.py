"""Time limits: work of a language model on a thread of its own, which the caller does not wait for beyond a limit."""

import queue
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock, Thread
from typing import TypeVar

from kgrec.errors import KgrecError, RequestError, TextError

_Result = TypeVar("_Result")
_POLL_S = 0.005  # between two tries to be next
_GRACE_S = 2.0  # that a call waits for the last step of one that is past its own limit


class LanguageModelTooSlow(TextError):  # noqa: N818
    """A language model did not answer within its time limit."""


@dataclass(frozen=True)
class Deadline:
    """When an answer is due.

    Attributes:
        at_s: on the monotonic clock.
        limit_s: how long the caller wanted to wait, for the message.
    """

    at_s: float
    limit_s: float

    @classmethod
    def after(cls, limit_s: float) -> "Deadline":
        """The deadline that is so many seconds from now.

        Raises:
            RequestError: the limit is not above 0.
        """
        if not limit_s > 0:
            raise RequestError(f"expected a time limit above 0 seconds, got {limit_s}")
        return cls(time.monotonic() + limit_s, limit_s)

    @property
    def left_s(self) -> float:
        """Seconds until then, at least 0."""
        return max(0.0, self.at_s - time.monotonic())

    def check(self) -> None:
        """Stops work that is too late.

        Raises:
            LanguageModelTooSlow: the deadline is over.
        """
        if self.left_s == 0:
            raise self.too_slow()

    def too_slow(self) -> LanguageModelTooSlow:
        """The error for an answer that is late."""
        return LanguageModelTooSlow(
            f"the language model did not answer within {float(f'{self.limit_s:.3g}'):g} s; expected a smaller model, "
            f"or a longer time limit"
        )


@dataclass
class ModelThread:
    """Runs one piece of work at a time, each on a thread of its own.

    Work checks its deadline between the steps of the model. A model that hangs within a step keeps its thread, which
    ends with the process; the caller gets an error in time, and so do later callers.
    """

    _busy: Lock = field(default_factory=Lock, repr=False)
    _due: Deadline | None = field(default=None, repr=False)
    _hangs: bool = field(default=False, repr=False)

    def run(self, work: Callable[[Deadline], _Result], limit: float | Deadline) -> _Result:
        """Returns what `work` returns.

        Args:
            work: is called with its deadline.
            limit: seconds until the call returns, whatever the work does, or the deadline of the call.

        Raises:
            LanguageModelTooSlow: the time is over, or earlier work is still under way.
            TextError: the work failed.
        """
        deadline = limit if isinstance(limit, Deadline) else Deadline.after(limit)
        self._take_turn(deadline)
        results: queue.SimpleQueue[tuple[_Result | None, BaseException | None]] = queue.SimpleQueue()

        def run() -> None:
            result, failure = None, None
            try:
                deadline.check()
                result = work(deadline)
            except BaseException as error:  # it is raised in the caller's thread
                failure = error
            self._due, self._hangs = None, False
            self._busy.release()
            results.put((result, failure))

        Thread(target=run, name="language model", daemon=True).start()
        try:
            result, failure = results.get(timeout=deadline.left_s)
        except queue.Empty:
            raise deadline.too_slow() from None
        if failure is None:
            return result  # type: ignore[return-value]
        if isinstance(failure, KgrecError):
            raise failure
        raise TextError(f"the language model failed: {type(failure).__name__}: {failure}") from failure

    def _take_turn(self, deadline: Deadline) -> None:
        """Waits for earlier work; once it is past its own limit, a moment longer, and after that not at all."""
        while not self._busy.acquire(timeout=0):
            due = self._due
            late_s = 0.0 if due is None or due.left_s > 0 else time.monotonic() - due.at_s
            if self._hangs or late_s > _GRACE_S:
                self._hangs = True
                raise LanguageModelTooSlow(
                    "the language model hangs in an earlier request; expected one that answers: load it again, or use "
                    "another"
                )
            if deadline.left_s == 0:
                raise deadline.too_slow()
            time.sleep(_POLL_S)
        self._due = deadline
