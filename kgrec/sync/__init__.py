"""Keeps a bundle up with its store without training: what changed, a bundle that knows it, and how stale that is."""

from kgrec.sync.changes import Changes, EdgeChanges, NodeChanges
from kgrec.sync.staleness import Staleness
from kgrec.sync.update import SyncReport, preview_sync, sync_bundle

__all__ = ["Changes", "EdgeChanges", "NodeChanges", "Staleness", "SyncReport", "preview_sync", "sync_bundle"]
