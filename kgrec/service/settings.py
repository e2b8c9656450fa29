"""The settings of the service: frozen, each default stated once; a TOML file may set any of them."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from kgrec.config import Settings

Share = Annotated[float, Field(ge=0, le=1)]


class LimitSettings(Settings):
    """What a request may cost.

    Attributes:
        body_bytes: the longest body; of a batch: its longest line.
        batch_lines: the most lines of a batch.
        k: the largest k.
        ids: the most ids in a list of a request: likes, candidates, excluded ids, items or users to add.
        text: the longest text, in characters.
        requests_per_s: the most requests of a key in a second, on average, over all processes.
        burst: the most requests of a key at once, before the average counts; None: those of two seconds.
        concurrent: the most requests of a key that are answered at the same time, over all processes.
        body_s: how long the body of a request may take to arrive.
        failures_per_minute: the most wrong keys from one address in a minute.
        batch_in_flight: the most lines of a batch that are in memory.
    """

    body_bytes: PositiveInt = 2**20
    batch_lines: PositiveInt = 1_000_000
    k: PositiveInt = 1_000
    ids: PositiveInt = 10_000
    text: PositiveInt = 10_000
    requests_per_s: PositiveFloat = 1_000.0
    burst: PositiveInt | None = None
    concurrent: PositiveInt = 256
    body_s: PositiveFloat = 10.0
    failures_per_minute: PositiveInt = 20
    batch_in_flight: PositiveInt = 256

    @property
    def at_once(self) -> float:
        """The most requests of a key at once."""
        return self.burst or 2 * self.requests_per_s


class ServeSettings(Settings):
    """How a bundle is served.

    Attributes:
        bundle: the folder of the bundle.
        data: the service folder, with the journal, the keys, the audit log and snapshots; None: beside the bundle,
            named after it with ".service".
        candidate: a second bundle, which answers a share of the users.
        share: the share of users whom it answers; None: as it was set last, at first none.
        report: a folder that `kgrec evaluate` wrote, for the page.
        store: the store to sync from; only the command line and the environment name it, never a request.
        sync_every_s: seconds between two syncs.
        stale_after_s: seconds without a successful sync after which the service is not ready.
        host: the address that it listens on.
        port: the port.
        workers: processes.
        tls_certificate: a PEM file for TLS.
        tls_key: the PEM file of its private key.
        origins: origins of pages elsewhere that may call it (CORS); empty: none.
        notice_s: how long requests are still taken after SIGTERM, while /ready says that the service ends.
        drain_s: how long requests may take to end then.
        look_every_s: seconds between two looks whether the bundle was replaced.
        snapshot_every: entries of the journal between two snapshots.
        snapshot_after_s: seconds after which a snapshot is written with fewer of them, too.
        warm_texts: whether the text encoder is loaded after the start, so that no request waits for it.
        journal_bytes: the largest journal; a full one takes no writes.
        proxies: addresses of proxies whose X-Forwarded-For counts.
        traces: an OTLP endpoint for OpenTelemetry (needs kgrec[telemetry]); None: no traces.
        page: whether the page is served.
        limits: what a request may cost.
    """

    bundle: Path
    data: Path | None = None
    candidate: Path | None = None
    share: Share | None = None
    report: Path | None = None
    store: str | None = None
    sync_every_s: PositiveFloat = 60.0
    stale_after_s: PositiveFloat = 3600.0
    host: str = "127.0.0.1"
    port: NonNegativeInt = 8000
    workers: PositiveInt = 1
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    origins: tuple[str, ...] = ()
    notice_s: NonNegativeFloat = 1.0
    drain_s: PositiveFloat = 20.0
    look_every_s: PositiveFloat = 1.0
    snapshot_every: PositiveInt = 5_000
    snapshot_after_s: PositiveFloat = 300.0
    warm_texts: bool = True
    journal_bytes: PositiveInt = 2**30
    proxies: tuple[str, ...] = ()
    traces: str | None = None
    page: bool = True
    limits: LimitSettings = LimitSettings()

    @property
    def folder(self) -> Path:
        """The service folder."""
        return self.data or self.bundle.with_name(f"{self.bundle.name}.service")
