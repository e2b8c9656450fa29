"""Why the service is not ready, from its state."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from kgrec.messages import VersionStatus

LEAST_BYTES = 16 * 2**20  # free on the disk of the service folder, for a commit and its write-ahead log


@dataclass(frozen=True)
class ServiceState:
    """The state of a process that serves.

    Attributes:
        versions: the bundles served; the current one is among them once it is loaded.
        share: the share of users whom the candidate answers.
        staleness_s: seconds since the store was last read without an error; None: no store is synced.
        stale_after_s: the most seconds.
        journal_bytes: the journal's size.
        journal_limit: the size at which it takes no writes.
        seq: the journal's last entry.
        snapshot_seq: the last entry that the newest snapshot has.
        disk_problem: why the service folder takes no writes, as `find_disk_problem` says; None: it takes them.
        draining: whether the service is ending.
    """

    versions: tuple[VersionStatus, ...] = ()
    share: float = 0.0
    staleness_s: float | None = None
    stale_after_s: float = float("inf")
    journal_bytes: int = 0
    journal_limit: int = 2**30
    seq: int = 0
    snapshot_seq: int = 0
    disk_problem: str | None = None
    draining: bool = False


def find_reasons(state: ServiceState) -> list[str]:
    """Why the service is not ready, as sentences with what to do; empty: it is ready."""
    reasons = []
    if state.draining:
        reasons.append("draining: the service is ending; send requests elsewhere")
    if not any(version.role == "current" for version in state.versions):
        reasons.append("no bundle: the bundle is not loaded yet, or cannot be read; see problems in GET /status")
    if state.staleness_s is not None and state.staleness_s > state.stale_after_s:
        reasons.append(
            f"stale: the store was last read {state.staleness_s:,.0f} s ago, the most is {state.stale_after_s:,.0f} s; "
            "see whether it answers"
        )
    if state.journal_bytes >= state.journal_limit:
        reasons.append(
            f"journal full: it has {state.journal_bytes:,} bytes of {state.journal_limit:,}; "
            "fold it into a snapshot, or raise journal_bytes"
        )
    if state.disk_problem:
        reasons.append(state.disk_problem)
    return reasons


def find_disk_problem(folder: Path, least_bytes: int = LEAST_BYTES) -> str | None:
    """Why a folder takes no writes, as a sentence; None where it takes them. Nothing is written."""
    try:
        free = shutil.disk_usage(folder).free
        read_only = not os.access(folder, os.W_OK) or (
            hasattr(os, "statvfs") and bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
        )
    except OSError as error:
        return f"no disk: the service folder cannot be reached ({error.strerror}); mount it"
    if read_only:
        return "disk read-only: the service folder takes no writes; mount it writable, for this user"
    if free < least_bytes:
        return f"disk full: {free:,} bytes are free, {least_bytes:,} are needed; make room"
    return None
