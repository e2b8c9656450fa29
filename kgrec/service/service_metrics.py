"""The metrics of the service, for Prometheus: latency, requests, caches, and what is shown.

Where several processes serve, each counts in files of a folder that they share, and any of them answers for all.
"""

import mmap
import os
import shutil
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kgrec.service.readiness import ServiceState, find_reasons

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
MOST_LIKED = 20
WINDOW_S = 3600  # coverage counts the items shown within this time
MOST_CATALOGUES = 4  # current, candidate, previous and one that is on its way out
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_ROOM = 1024  # rows that a shared file has at least beyond those of the bundle, for items that are added


def prepare_folder(folder: Path) -> None:
    """Empties the folder where processes share metrics, and names it to prometheus_client.

    To be called before prometheus_client is imported, in the process that starts the workers.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ[VARIABLE] = str(folder)


@dataclass
class Catalogue:
    """What the metrics know of the items of one version.

    Attributes:
        percentiles: (n_items,) float32, the share of items that have fewer likes.
        most_liked: (n_items,) bool, whether an item is among the `MOST_LIKED`.
        shown_at: (n_items or more,) uint32, UTC seconds when each item was last shown; 0: never.
    """

    percentiles: NDArray[np.float32]
    most_liked: NDArray[np.bool_]
    shown_at: NDArray[np.uint32]


class ServiceMetrics:
    """Counts what the service answers.

    Args:
        folder: where processes share metrics, as given to `prepare_folder`; None: this process serves alone.
        clock: UTC seconds.
    """

    def __init__(self, folder: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

        self._folder, self._clock = folder, clock
        self._catalogues: OrderedDict[str, Catalogue] = OrderedDict()
        self._labelled: dict[tuple[Any, ...], Any] = {}
        self._registry = CollectorRegistry()
        if folder is None:
            ProcessCollector(registry=self._registry)
        self._durations = Histogram(
            "kgrec_request_duration_seconds", "Seconds until an answer is complete, by route and kind of question.",
            ("route", "kind"), buckets=_BUCKETS, registry=self._registry,
        )  # fmt: skip
        self._requests = Counter(
            "kgrec_requests", "Requests by route, method and status.", ("route", "method", "status"),
            registry=self._registry,
        )  # fmt: skip
        self._answers = Counter(
            "kgrec_answers", "Lists answered, by kind, version and whether the cache had them (hit, miss).",
            ("kind", "version", "cache"), registry=self._registry,
        )  # fmt: skip
        self._shown = Counter(
            "kgrec_shown_items", "Items shown in lists, by version.", ("version",), registry=self._registry
        )
        self._shown_percentiles = Counter(
            "kgrec_shown_popularity_percentiles",
            "Sum over the items shown of their popularity percentile: from 0, no item has fewer likes, towards 1.",
            ("version",), registry=self._registry,
        )  # fmt: skip
        self._shown_most_liked = Counter(
            "kgrec_shown_most_liked_items", f"Items shown that are among the {MOST_LIKED} most liked, by version.",
            ("version",), registry=self._registry,
        )  # fmt: skip

    def note_request(self, route: str, method: str, status: int, seconds: float, kind: str = "") -> None:
        """Counts a request; `Observed` calls it."""
        key = ("request", route, method, status, kind)
        found = self._labelled.get(key)
        if found is None:
            found = self._durations.labels(route, kind).observe, self._requests.labels(route, method, str(status)).inc
            self._labelled[key] = found
        observe, count = found
        observe(seconds)
        count()

    def note_catalogue(self, version: str, n_likes: NDArray[np.int64]) -> None:
        """Takes in the items of a version that is served.

        To be called when a version is loaded, and again when rows of items move (items are removed). Items that are
        added after it count as ones without likes.

        Args:
            version: the version.
            n_likes: (n_items,), the likes of each item.
        """
        known = self._catalogues.get(version)
        moved = known is not None and len(n_likes) < len(known.percentiles)
        if known is None or len(n_likes) > len(known.shown_at):
            shown_at = self._open_shown(version, len(n_likes))
        else:
            shown_at = known.shown_at
        if moved:
            shown_at[:] = 0
        most_liked = np.zeros(len(n_likes), np.bool_)
        most_liked[np.argsort(-n_likes, kind="stable")[:MOST_LIKED]] = True
        self._catalogues[version] = Catalogue(find_percentiles(n_likes), most_liked, shown_at)
        self._catalogues.move_to_end(version)
        while len(self._catalogues) > MOST_CATALOGUES:
            gone, _ = self._catalogues.popitem(last=False)
            if self._folder is not None:
                self._shown_file(gone).unlink(missing_ok=True)

    def note_answer(self, kind: str, rows: NDArray[np.int64], from_cache: bool, version: str) -> None:
        """Counts a list that is answered.

        Args:
            kind: the kind of question: "user", "likes", "sequence", "text", "links", "similar".
            rows: (k,) the rows of the items shown, in the version that answers; no row twice.
            from_cache: whether the cache had the list.
            version: the version that answers; one that `note_catalogue` took in.
        """
        key = ("answer", kind, version, from_cache)
        found = self._labelled.get(key)
        if found is None:
            found = (
                self._answers.labels(kind, version, "hit" if from_cache else "miss").inc,
                self._shown.labels(version).inc,
                self._shown_percentiles.labels(version).inc,
                self._shown_most_liked.labels(version).inc,
            )
            self._labelled[key] = found
        count, count_shown, count_percentiles, count_most_liked = found
        count()
        if not len(rows):
            return
        count_shown(len(rows))
        catalogue = self._catalogues.get(version)
        if catalogue is None:
            return
        highest = int(rows.max())
        seen = rows if highest < len(catalogue.shown_at) else rows[rows < len(catalogue.shown_at)]
        catalogue.shown_at[seen] = int(self._clock())
        known = rows if highest < len(catalogue.percentiles) else rows[rows < len(catalogue.percentiles)]
        count_percentiles(float(catalogue.percentiles[known].sum()))
        n_most_liked = int(np.count_nonzero(catalogue.most_liked[known]))
        if n_most_liked:
            count_most_liked(n_most_liked)

    def exposition(self, state: ServiceState) -> bytes:
        """The metrics as Prometheus reads them (`CONTENT_TYPE`), with the state of this process as gauges."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        counted = self._registry
        if self._folder is not None:
            counted = CollectorRegistry()
            MultiProcessCollector(counted, str(self._folder))  # type: ignore[no-untyped-call]
        gauges = CollectorRegistry()
        gauges.register(_Gauges(lambda: self._gauges(state)))
        return generate_latest(counted) + generate_latest(gauges)

    def _gauges(self, state: ServiceState) -> Iterable["Metric"]:
        from prometheus_client.core import GaugeMetricFamily

        roles = ("version", "role")
        ready = GaugeMetricFamily(
            "kgrec_ready", "Whether the service is ready: 1 or 0.", float(not find_reasons(state))
        )
        served = GaugeMetricFamily(
            "kgrec_version_info", "1 for each version that is served, with its role.", None, roles
        )
        items = GaugeMetricFamily("kgrec_items", "Items of a version, with those added.", None, roles)
        users = GaugeMetricFamily("kgrec_users", "Users of a version, with those added.", None, roles)
        trained = GaugeMetricFamily("kgrec_trained_timestamp_seconds", "When a version was trained.", None, roles)
        distinct = GaugeMetricFamily(
            "kgrec_shown_distinct_items", f"Different items shown within the last {WINDOW_S} s.", None, roles
        )
        coverage = GaugeMetricFamily(
            "kgrec_shown_coverage_ratio",
            f"Share of the items that were shown within the last {WINDOW_S} s.",
            None,
            roles,
        )
        for version in state.versions:
            labels = (version.version, version.role)
            served.add_metric(labels, 1.0)
            items.add_metric(labels, version.n_items)
            users.add_metric(labels, version.n_users)
            trained.add_metric(labels, version.trained_at)
            if version.n_items and version.version in self._catalogues:
                n_shown = self._count_shown(self._catalogues[version.version])
                distinct.add_metric(labels, n_shown)
                coverage.add_metric(labels, n_shown / version.n_items)
        yield from (ready, served, items, users, trained, distinct, coverage)
        if state.staleness_s is not None:
            yield GaugeMetricFamily(
                "kgrec_staleness_seconds", "Seconds since the store was last read without an error.", state.staleness_s
            )
        yield GaugeMetricFamily(
            "kgrec_candidate_share_ratio", "Share of users whom the candidate answers.", state.share
        )
        yield GaugeMetricFamily("kgrec_journal_bytes", "Bytes of the journal.", state.journal_bytes)
        yield GaugeMetricFamily("kgrec_journal_limit_bytes", "Bytes of a full journal.", state.journal_limit)
        yield GaugeMetricFamily("kgrec_journal_seq", "The last entry of the journal.", state.seq)
        yield GaugeMetricFamily(
            "kgrec_snapshot_seq", "The last entry that the newest snapshot has.", state.snapshot_seq
        )

    def _count_shown(self, catalogue: Catalogue) -> int:
        since = max(int(self._clock()) - WINDOW_S, 1)
        return int(np.count_nonzero(catalogue.shown_at >= since))

    def _open_shown(self, version: str, n_items: int) -> NDArray[np.uint32]:
        """Times of items, (n_items + room,), zero at first; a file where processes share them."""
        n = n_items + max(n_items // 4, _ROOM)
        if self._folder is None:
            shown_at = np.zeros(n, np.uint32)
            known = self._catalogues.get(version)
            if known is not None:
                shown_at[: len(known.shown_at)] = known.shown_at
            return shown_at
        with self._shown_file(version).open("a+b") as file:  # appended to: another process may have mapped it
            missing = 4 * n - os.fstat(file.fileno()).st_size
            if missing > 0:
                file.write(bytes(missing))
                file.flush()
            return np.frombuffer(mmap.mmap(file.fileno(), 4 * n), np.uint32)

    def _shown_file(self, version: str) -> Path:
        assert self._folder is not None
        return self._folder / f"shown-{version}.times"


@dataclass(frozen=True)
class _Gauges:
    collect: Callable[[], Iterable["Metric"]]


def find_percentiles(n_likes: NDArray[np.int64]) -> NDArray[np.float32]:
    """The share of items that have fewer likes than each item, (n_items,), from 0 up to below 1."""
    below = np.searchsorted(np.sort(n_likes), n_likes, side="left")
    return (below / max(len(n_likes), 1)).astype(np.float32)
