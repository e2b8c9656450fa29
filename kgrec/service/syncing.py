"""Syncs the copy of the current version with its store."""

import logging
import time

from graph_schema.checks.rejects import open_reject_log
from kgrec import cache_dir
from kgrec.bundle import load_bundle
from kgrec.errors import KgrecError, RequestError
from kgrec.service.deployment import Deployment
from kgrec.store import open_store, read_tables

_log = logging.getLogger(__name__)
_WAIT_S = 5.0  # for a server that does not answer
_REJECTS = "sync.rejects.csv"


def sync_now(deployment: Deployment, now: int) -> None:
    """Reads the store, and serves what it has with what the journal has on top.

    What is in the store counts; items and users that only the journal has stay. After an error the service goes on with
    what it has, and its status says so.

    Args:
        deployment: what is served.
        now: UTC seconds.

    Raises:
        KgrecError: the store cannot be read, or is another graph.
    """
    from kgrec.sync import sync_bundle  # PyG takes seconds to import, and a service without a store needs none of it

    store, version = deployment.settings.store, deployment.read_serving().current
    if store is None or not version:
        raise RequestError("there is no store to sync with; start the service with --store")
    started, base = time.perf_counter(), deployment.stored.base(version)
    try:
        bundle = load_bundle(deployment.stored.path(version))
        with (
            open_store(store, schema=bundle.schema, wait_s=_WAIT_S, on_empty=_log.warning) as opened,
            open_reject_log(deployment.settings.folder / _REJECTS) as log,
        ):
            tables = read_tables(opened, rejects=log)
        synced, found = sync_bundle(bundle, tables, None, cache_dir(), now=now)
    except KgrecError as error:
        deployment.note("sync", f"the last sync failed: {error}")
        raise
    if found.changes:
        with deployment.stored.lock:
            if deployment.stored.base(version) != base:  # a user was forgotten meanwhile, or another process synced
                sync_now(deployment, now)
                return
            deployment.stored.replace(version, synced)
            deployment.erase_forgotten()  # whom the store still has
        _log.info("synced in %.1f s", time.perf_counter() - started)
    deployment.finish_sync(now, found.staleness.reasons, changed=bool(found.changes))
    deployment.reload()
