"""Watching a store: work only where something changed, pauses that double after failures, one watcher for a bundle."""

import signal
import threading
from pathlib import Path

import pytest

from kgrec.cli.watch_command import hold_folder, stop_by_signal, tell_changes
from kgrec.errors import BundleError, StoreError
from kgrec.sync.changes import Changes, EdgeChanges, NodeChanges
from kgrec.sync.report import describe_changes
from kgrec.sync.watching import MOST_PAUSE_S, Rhythm, make_look, watch


class Clock(threading.Event):
    """A stop that ends after some waits; the time is the sum of the pauses."""

    def __init__(self, n_waits: int) -> None:
        super().__init__()
        self.n_waits = n_waits
        self.pauses: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.pauses.append(timeout)
        return len(self.pauses) > self.n_waits

    def time(self) -> float:
        return sum(self.pauses)


def test_it_works_when_a_look_differs() -> None:
    looks = iter("abbbc")
    worked: list[int] = []
    stop = Clock(5)
    watch(lambda _: next(looks), "a", lambda: worked.append(len(stop.pauses)), Rhythm(10, 1000), stop,
          on_failure=lambda *_: pytest.fail("nothing failed"), clock=stop.time)  # fmt: skip
    assert worked == [2, 5]
    assert stop.pauses == [10] * 6


def test_it_works_after_a_while_also_where_no_change_is_seen() -> None:
    worked: list[float] = []
    stop = Clock(7)
    watch(lambda _: "same", "same", lambda: worked.append(stop.time()), Rhythm(10, 30), stop,
          on_failure=lambda *_: pytest.fail("nothing failed"), clock=stop.time)  # fmt: skip
    assert worked == [30, 60]


def test_pauses_double_after_failures_and_what_failed_is_done_again() -> None:
    outcomes = iter([StoreError("down"), StoreError("down"), None, None])
    worked: list[int] = []
    told: list[tuple[str, float]] = []
    looks = iter("bbbbb")
    stop = Clock(5)

    def work() -> None:
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome
        worked.append(len(stop.pauses))

    watch(lambda _: next(looks), "a", work, Rhythm(10, 1000), stop,
          on_failure=lambda error, pause: told.append((str(error), pause)), clock=stop.time)  # fmt: skip
    assert told == [("down", 20), ("down", 40)]
    assert stop.pauses == [10, 20, 40, 10, 10, 10]
    assert worked == [3]
    assert Rhythm(60).pause(99) == MOST_PAUSE_S
    assert Rhythm(7200).pause(3) == 7200


def test_an_embedded_store_is_seen_by_its_files(tmp_path: Path) -> None:
    store = tmp_path / "shop.db"
    store.write_bytes(b"a")
    look = make_look(f"ladybug:{store}", None, changed_at=None, wait_s=0)  # type: ignore[arg-type] # not asked
    first = look(None)
    assert look(first) == first
    (tmp_path / "shop.db.rejects.csv").write_text("source\n")
    assert look(first) == first
    (tmp_path / "shop.db.wal").write_bytes(b"b")
    second = look(first)
    assert second != first
    store.write_bytes(b"longer")
    assert look(second) != second


def test_one_watcher_for_a_bundle(tmp_path: Path) -> None:
    bundle = tmp_path / "shop.kgrec"
    with hold_folder(bundle):
        with hold_folder(tmp_path / "other.kgrec"):
            pass
        with pytest.raises(BundleError, match="one for each bundle"), hold_folder(bundle):
            pass
    assert not list(tmp_path.iterdir())
    with hold_folder(bundle):
        pass


def test_what_is_told_at_every_sync_is_told_when_it_changes() -> None:
    told: list[str] = []
    tell = tell_changes(told.append)
    for sentence in ("3 rows", "3 rows", "4 rows", "3 rows"):
        tell(sentence)
    assert told == ["3 rows", "4 rows", "3 rows"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_after_the_work_and_a_second_one_at_once(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_by_signal() as stop:
        assert not stop.is_set()
        signal.raise_signal(number)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) == before


def test_changes_are_told_in_a_line() -> None:
    nodes = {"product": NodeChanges(("a",), ("b", "c"), (), (), 9), "maker": NodeChanges((), (), (), (), 2)}
    edges = {"bought": EdgeChanges(1200, 3, 5000)}
    found = describe_changes(Changes(nodes, edges, EdgeChanges(0, 1, 9)))
    assert found == "product 1 added, 2 changed; bought 1,200 added, 3 deleted; likes 1 deleted"


def test_the_values_of_attributes_are_told_together_for_each_node_type() -> None:
    none = NodeChanges((), (), (), (), 5)
    values = {"product.price": NodeChanges(("2",), (), (), ("7",), 9), "product.maker.name": none, "maker.town": none}
    links = {"product.price": EdgeChanges(2, 1, 20), "product.maker.name": EdgeChanges(0, 1, 30)}
    nodes = {"product": NodeChanges((), (), (), ("a",), 9), **values}
    of_values = frozenset({*values, *links})
    changes = Changes(nodes, {"bought": EdgeChanges(0, 3, 50), **links}, EdgeChanges(0, 0, 9), of_values)
    told = "product 1 deleted; values of product 1 added, 1 deleted; bought 3 deleted; values of product 2 added, "
    assert describe_changes(changes) == f"{told}2 deleted"
