"""The metrics of the service: what is shown, worked by hand, and several processes that count together."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kgrec.messages import VersionStatus
from kgrec.service.readiness import ServiceState
from kgrec.service.service_metrics import MOST_CATALOGUES, WINDOW_S, ServiceMetrics, find_percentiles

VERSION = "0123456789ab"


def rows(*places: int) -> np.ndarray:
    return np.array(places, np.int64)


def state(n_items: int = 4, version: str = VERSION) -> ServiceState:
    served = VersionStatus(version=version, role="current", name="shop", trained_at=7, n_items=n_items, n_users=9)
    return ServiceState(
        versions=(served,),
        share=0.25, staleness_s=12.5, journal_bytes=300, journal_limit=1000, seq=42, snapshot_seq=40,
    )  # fmt: skip


def values(metrics: ServiceMetrics, of: ServiceState) -> dict[str, float]:
    lines = metrics.exposition(of).decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def test_percentiles_are_shares_of_items_with_fewer_likes() -> None:
    np.testing.assert_allclose(find_percentiles(np.array([5, 0, 0, 9])), [0.5, 0, 0, 0.75])
    assert find_percentiles(np.zeros(0, np.int64)).shape == (0,)


def test_what_is_shown_is_counted_by_hand() -> None:
    metrics = ServiceMetrics()
    n_likes = np.arange(100)  # items 80 to 99 are the 20 most liked; item i has the percentile i / 100
    metrics.note_catalogue(VERSION, n_likes)
    metrics.note_answer("likes", rows(99, 10), False, VERSION)
    metrics.note_answer("likes", rows(99, 80, 79), True, VERSION)
    metrics.note_answer("user", rows(), True, VERSION)
    found = values(metrics, state(100))
    label = f'{{version="{VERSION}"}}'
    assert found[f"kgrec_shown_items_total{label}"] == 5
    assert found[f"kgrec_shown_most_liked_items_total{label}"] == 3
    assert found[f"kgrec_shown_popularity_percentiles_total{label}"] == pytest.approx(0.99 + 0.1 + 0.99 + 0.8 + 0.79)
    assert found[f'kgrec_answers_total{{cache="miss",kind="likes",version="{VERSION}"}}'] == 1
    assert found[f'kgrec_answers_total{{cache="hit",kind="likes",version="{VERSION}"}}'] == 1
    assert found[f'kgrec_answers_total{{cache="hit",kind="user",version="{VERSION}"}}'] == 1
    assert found[f'kgrec_shown_distinct_items{{role="current",version="{VERSION}"}}'] == 4
    assert found[f'kgrec_shown_coverage_ratio{{role="current",version="{VERSION}"}}'] == 0.04


def test_coverage_forgets_what_was_shown_before_the_window() -> None:
    clock = Clock()
    metrics = ServiceMetrics(clock=clock)
    metrics.note_catalogue(VERSION, np.array([3, 2, 1, 0]))
    name = f'kgrec_shown_coverage_ratio{{role="current",version="{VERSION}"}}'
    metrics.note_answer("user", rows(0, 1), False, VERSION)
    clock.now += WINDOW_S / 2
    metrics.note_answer("user", rows(1, 2), False, VERSION)
    assert values(metrics, state())[name] == 0.75
    clock.now += WINDOW_S / 2 + 1
    assert values(metrics, state())[name] == 0.5
    clock.now += WINDOW_S
    assert values(metrics, state())[name] == 0


def test_items_added_after_the_catalogue_was_noted_count_as_unliked() -> None:
    metrics = ServiceMetrics()
    metrics.note_catalogue(VERSION, np.array([3, 2, 1, 0]))
    metrics.note_answer("user", rows(0, 4, 10**9), False, VERSION)  # the last one is beyond what is kept
    found = values(metrics, state(5))
    assert found[f'kgrec_shown_items_total{{version="{VERSION}"}}'] == 3
    assert found[f'kgrec_shown_popularity_percentiles_total{{version="{VERSION}"}}'] == 0.75
    assert found[f'kgrec_shown_distinct_items{{role="current",version="{VERSION}"}}'] == 2


def test_a_catalogue_that_grows_keeps_what_was_shown_and_one_that_shrinks_starts_anew() -> None:
    metrics = ServiceMetrics()
    name = f'kgrec_shown_distinct_items{{role="current",version="{VERSION}"}}'
    metrics.note_catalogue(VERSION, np.ones(4, np.int64))
    metrics.note_answer("user", rows(0, 3), False, VERSION)
    metrics.note_catalogue(VERSION, np.ones(5000, np.int64))
    assert values(metrics, state(5000))[name] == 2
    metrics.note_catalogue(VERSION, np.ones(4999, np.int64))  # rows moved: nobody knows which were shown
    assert values(metrics, state(4999))[name] == 0


def test_versions_that_are_long_gone_take_no_memory() -> None:
    metrics = ServiceMetrics()
    for number in range(MOST_CATALOGUES + 3):
        metrics.note_catalogue(f"v{number}", np.ones(10, np.int64))
    assert len(metrics._catalogues) == MOST_CATALOGUES
    metrics.note_answer("user", rows(0), False, "v0")  # a late answer of one of them
    assert values(metrics, state())['kgrec_shown_items_total{version="v0"}'] == 1


def test_the_state_is_told() -> None:
    found = values(ServiceMetrics(), state())
    label = f'{{role="current",version="{VERSION}"}}'
    expected = {
        "kgrec_ready": 1, f"kgrec_version_info{label}": 1, f"kgrec_items{label}": 4, f"kgrec_users{label}": 9,
        f"kgrec_trained_timestamp_seconds{label}": 7, "kgrec_staleness_seconds": 12.5,
        "kgrec_candidate_share_ratio": 0.25, "kgrec_journal_bytes": 300, "kgrec_journal_limit_bytes": 1000,
        "kgrec_journal_seq": 42, "kgrec_snapshot_seq": 40,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    assert values(ServiceMetrics(), ServiceState())["kgrec_ready"] == 0
    assert "kgrec_staleness_seconds" not in values(ServiceMetrics(), ServiceState())


WORKER = """
import sys, numpy as np
from pathlib import Path
from kgrec.service.service_metrics import ServiceMetrics
first, version = int(sys.argv[2]), "0123456789ab"
metrics = ServiceMetrics(Path(sys.argv[1]))
metrics.note_catalogue(version, np.arange(100))
for row in range(first, first + 10):
    metrics.note_answer("user", np.array([row, row + 1]), False, version)
    metrics.note_request("/recommend", "POST", 200, 0.002, "user")
"""
PARENT = """
import subprocess, sys
from pathlib import Path
from kgrec.messages import VersionStatus
from kgrec.service.readiness import ServiceState
from kgrec.service.service_metrics import ServiceMetrics, prepare_folder
folder = Path(sys.argv[1])
prepare_folder(folder)
for first in ("0", "5"):
    subprocess.run([sys.executable, "-c", sys.argv[2], str(folder), first], check=True)
import numpy as np
metrics = ServiceMetrics(folder)
metrics.note_catalogue("0123456789ab", np.arange(100))
version = VersionStatus(version="0123456789ab", role="current", name="shop", trained_at=7, n_items=100)
print(metrics.exposition(ServiceState(versions=(version,))).decode())
"""


@pytest.mark.slow
def test_several_processes_count_together(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    folder.mkdir()
    (folder / "counter_1.db").write_bytes(b"of an earlier start")
    environment = {name: value for name, value in os.environ.items() if name != "PROMETHEUS_MULTIPROC_DIR"}
    command = [sys.executable, "-c", PARENT, str(folder), WORKER]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = done.stdout
    assert 'kgrec_requests_total{method="POST",route="/recommend",status="200"} 20.0' in text
    assert 'kgrec_request_duration_seconds_bucket{kind="user",le="0.0025",route="/recommend"} 20.0' in text
    assert 'kgrec_shown_items_total{version="0123456789ab"} 40.0' in text
    # One process shows the items 0 to 10, the other 5 to 15: 16 different ones.
    assert 'kgrec_shown_distinct_items{role="current",version="0123456789ab"} 16.0' in text
