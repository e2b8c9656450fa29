"""Brings a bundle up to date with its store without training: what changed, the new bundle, and how stale it is."""

from kgrec.sync.changes import Changes, EdgeChanges, NodeChanges
from kgrec.sync.staleness import Staleness
from kgrec.sync.update import SyncReport, preview_sync, sync_bundle

__all__ = ["Changes", "EdgeChanges", "NodeChanges", "Staleness", "SyncReport", "preview_sync", "sync_bundle"]
