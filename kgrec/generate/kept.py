"""Keeps what is slow to make from an object, as long as that object is the current one."""

from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

_MOST = 4  # objects: one generator may serve a few recommenders, each with its own catalogue

Made = TypeVar("Made")


class Kept(Generic[Made]):
    """What was made from the last few objects, which are compared by identity. Threads may share it."""

    def __init__(self) -> None:
        self._made: list[tuple[object, Made]] = []
        self._lock = Lock()

    def find(self, source: object, make: Callable[[], Made]) -> Made:
        """What was made from an object; if it was not yet, or has been dropped since, makes it."""
        with self._lock:
            for known, made in self._made:
                if known is source:
                    return made
            found = make()
            self._made = [(source, found), *self._made[: _MOST - 1]]
            return found
