"""Callers return in time, whatever the work does."""

import threading
import time

import pytest

from kgrec.errors import RequestError, TextError
from kgrec.language.time_limit import Deadline, LanguageModelTooSlow, ModelThread

LONG_S = 30.0  # that no call may take


def test_work_returns_its_result() -> None:
    assert ModelThread().run(lambda deadline: (deadline.limit_s, deadline.left_s > 1), LONG_S) == (LONG_S, True)


@pytest.mark.parametrize("limit_s", [0, -1.0, float("nan")])
def test_a_limit_has_to_be_above_zero(limit_s: float) -> None:
    with pytest.raises(RequestError, match="above 0"):
        ModelThread().run(lambda _: None, limit_s)


def test_work_that_hangs_is_left_and_later_callers_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kgrec.language.time_limit._GRACE_S", 0.1)
    thread, released, ended = ModelThread(), threading.Event(), threading.Event()

    def hang(_: object) -> None:
        released.wait(LONG_S)
        ended.set()

    started = time.monotonic()
    with pytest.raises(LanguageModelTooSlow, match=r"within 0\.05 s;"):
        thread.run(hang, 0.05)
    with pytest.raises(LanguageModelTooSlow, match="hangs in an earlier request"):
        thread.run(lambda _: 1, LONG_S)
    assert time.monotonic() - started < LONG_S / 2
    released.set()
    assert ended.wait(LONG_S)
    assert thread.run(lambda _: 2, LONG_S) == 2  # it works again


def test_a_caller_waits_for_its_turn_no_longer_than_its_limit() -> None:
    thread, released = ModelThread(), threading.Event()
    first = threading.Thread(target=lambda: thread.run(lambda _: released.wait(LONG_S), LONG_S))
    first.start()
    while not thread._busy.locked():
        time.sleep(0.001)
    with pytest.raises(LanguageModelTooSlow, match=r"within 0\.05 s;"):
        thread.run(lambda _: 1, 0.05)
    released.set()
    assert thread.run(lambda _: 2, LONG_S) == 2
    first.join()


@pytest.mark.parametrize(("limit_s", "told"), [(0.931502, "0.932 s"), (1.0, "1 s"), (86400.0, "86400 s"), (30, "30 s")])
def test_a_late_answer_names_the_limit_and_what_helps(limit_s: float, told: str) -> None:
    message = f"did not answer within {told}; expected a smaller model, or a longer time limit"
    assert message in str(Deadline.after(limit_s).too_slow())


def test_work_may_be_due_by_a_deadline_of_the_caller() -> None:
    due = Deadline.after(LONG_S)
    assert ModelThread().run(lambda deadline: deadline, due) is due


def test_a_failure_is_one_clear_error() -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError("by zero")

    thread = ModelThread()
    with pytest.raises(TextError, match="the language model failed: ZeroDivisionError: by zero"):
        thread.run(fail, LONG_S)
    assert thread.run(lambda _: 2, LONG_S) == 2
