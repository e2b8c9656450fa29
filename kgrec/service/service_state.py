"""What the routes of one process share."""

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from http import HTTPStatus
from typing import TypeVar

import numpy as np
from starlette.requests import Request

from kgrec.messages import StatusAnswer, VersionStatus, Which
from kgrec.service.audit_log import AuditLog
from kgrec.service.caller import Caller, Tenant
from kgrec.service.deployment import Deployment, Served
from kgrec.service.keys import KeyStore
from kgrec.service.problems import Problem
from kgrec.service.readiness import ServiceState, find_disk_problem
from kgrec.service.service_metrics import ServiceMetrics
from kgrec.service.settings import ServeSettings

Found = TypeVar("Found")
_SLOW_THREADS = 4
_BUCKETS = 2**32


def make_pool(name: str, n_threads: int) -> Executor:
    """A pool of threads."""
    return ThreadPoolExecutor(n_threads, thread_name_prefix=name)


@dataclass
class Service:
    """What the routes of one process share.

    Attributes:
        settings: of the service.
        deployment: the bundles served.
        keys: the API keys.
        audit: the audit log.
        metrics: what is counted.
        slow: runs answers that take long, and whatever waits for the disk.
        writer: runs writes, one after the other.
        started_at: UTC seconds.
        draining: whether the service is ending.
    """

    settings: ServeSettings
    deployment: Deployment
    keys: KeyStore
    audit: AuditLog
    metrics: ServiceMetrics
    slow: Executor = field(default_factory=lambda: make_pool("kgrec-slow", _SLOW_THREADS))
    writer: Executor = field(default_factory=lambda: make_pool("kgrec-write", 1))
    started_at: int = field(default_factory=lambda: int(time.time()))
    draining: bool = False

    def begin_draining(self) -> None:
        """Notes that the service is ending."""
        self.draining = True

    async def in_slow(self, act: Callable[[], Found]) -> Found:
        """Runs something beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.slow, act)

    async def in_writer(self, act: Callable[[], Found]) -> Found:
        """Runs a write beside the event loop, after those before it."""
        return await asyncio.get_running_loop().run_in_executor(self.writer, act)

    async def find_served(self, which: Which | None = None, who: str | None = None) -> Served:
        """The version that answers, with all that any process has written.

        Args:
            which: the version that a request names; None: by the share of users.
            who: the id of the user or the session; it is always answered by the same version.

        Raises:
            Problem: 503 where no bundle is read, 422 where there is no candidate.
        """
        deployment = self.deployment
        if deployment.is_behind:
            await self.in_slow(deployment.catch_up)
        candidate = deployment.served.get("candidate")
        if which == "candidate" and candidate is None:
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY, "There is no candidate", expected="a service with a second bundle",
                to_do="start it with --candidate, or leave the version out",
            )  # fmt: skip
        if candidate is not None and (which == "candidate" or (which is None and self._is_asked(who))):
            return candidate
        current = deployment.current
        if current is None:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE, "No bundle is read yet", expected="a bundle that can be read",
                to_do="try again in a second; GET /status says what is wrong", headers={"Retry-After": "1"},
            )  # fmt: skip
        return current

    def _is_asked(self, who: str | None) -> bool:
        """Whether the candidate answers a user."""
        share = self.deployment.serving.share
        if who is None or share <= 0:
            return False
        digest = blake2b(who.encode("utf-8", "surrogatepass"), digest_size=4).digest()
        return int.from_bytes(digest) < share * _BUCKETS

    def note_answer(self, request: Request, kind: str, rows: "np.ndarray", served: Served, *, cached: bool) -> None:
        """Counts an answer, for metrics and the log."""
        state = request.scope["state"]
        state["kind"], state["version"] = kind, served.version
        self.metrics.note_answer(kind, rows, cached, served.version)

    def note_write(self, caller: Caller, act: str, counts: Mapping[str, int | str]) -> None:
        """Writes a line of the audit log."""
        self.audit.append(caller.key, act, int(time.time()), counts)

    def list_versions(self) -> list[VersionStatus]:
        """The bundles that this process serves, and the one to go back to."""
        found = []
        for role, served in self.deployment.served.items():
            bundle = served.recommender.bundle
            found.append(
                VersionStatus(
                    version=served.version, role=role, name=bundle.schema.name, trained_at=bundle.trained_at,
                    synced_at=bundle.lineage.synced_at, n_items=len(bundle.items), n_users=len(bundle.users),
                )
            )  # fmt: skip
        previous = self.deployment.serving.previous
        if previous:
            found.append(VersionStatus(version=previous, role="previous", name="", trained_at=0))
        return found

    def describe(self) -> StatusAnswer:
        """The state of the service."""
        from os import getpid

        deployment = self.deployment
        serving, current = deployment.read_serving(), deployment.current
        problems = [*serving.problems.values()]
        if deployment.journal.damaged is not None:
            problems.append(
                f"the journal was damaged; what could be read of it was kept, the rest is in "
                f"{deployment.journal.damaged.name}"
            )
        for role, served in deployment.served.items():
            if served.refused:
                problems.append(
                    f"the {role} bundle takes {len(served.refused)} entries of the journal not: {served.refused[0]}"
                )
        return StatusAnswer(
            versions=self.list_versions(),
            share=serving.share,
            seq=deployment.journal.last_seq,
            journal_bytes=deployment.journal.n_bytes,
            snapshot_seq=0 if current is None else deployment.stored.last_snapshot(current.base),
            stale=[*serving.stale],
            problems=problems,
            started_at=self.started_at,
            worker=getpid(),
            features={} if current is None else _describe_catalogue(current),
        )

    def hide_others(self, status: StatusAnswer, tenant: Tenant) -> dict[str, object]:
        """What a tenant sees otherwise in a status: the number of its items, and nothing of others."""
        served = {held.version: held for held in self.deployment.served.values()}
        counts = {version: int(held.views.find(tenant).mask.sum()) for version, held in served.items()}
        versions = [
            each.model_copy(update={"n_items": counts.get(each.version, 0), "n_users": 0}) for each in status.versions
        ]
        return {"versions": versions, "problems": [], "journal_bytes": 0}

    def read_state(self) -> ServiceState:
        """The state for readiness and metrics."""
        deployment, settings = self.deployment, self.settings
        current, serving = deployment.current, deployment.read_serving()
        staleness = None
        if settings.store is not None:
            staleness = time.time() - (serving.synced_at or self.started_at)
        return ServiceState(
            versions=tuple(self.list_versions()),
            share=serving.share,
            staleness_s=staleness,
            stale_after_s=settings.stale_after_s,
            journal_bytes=deployment.journal.n_bytes,
            journal_limit=settings.journal_bytes,
            seq=deployment.journal.last_seq,
            snapshot_seq=0 if current is None else deployment.stored.last_snapshot(current.base),
            disk_problem=find_disk_problem(settings.folder),
            draining=self.draining,
        )


def _describe_catalogue(served: Served) -> dict[str, object]:
    """What requests may name: the edge types and attributes of items and users."""
    schema = served.recommender.bundle.schema
    edges = {
        name: {"source": edge.source, "target": edge.target, "phrase": edge.phrase}
        for name, edge in schema.graph_edges.items()
        if not edge.derived
    }
    return {
        "item_type": schema.item_type,
        "user_type": schema.user_type,
        "edges": edges,
        "item_attributes": list(schema.nodes[schema.item_type].features),
        "user_attributes": list(schema.nodes[schema.user_type].features),
        "weight": schema.interaction.weight,
        "has_texts": served.recommender.bundle.model.has_texts,
    }
