"""Removes what no version that is kept holds: replaced ones, and what a publish that was cut off left behind."""

from collections.abc import Sequence

from kgrec.store.neo4j.connection import quote
from kgrec.store.neo4j.layout import RELEASE_PREFIX, RELEASE_TYPES
from kgrec.store.neo4j.publish_lease import Lease
from kgrec.store.neo4j.release import OPEN, SEGMENT_SLOTS, VERSION_PREFIX, Release, Version, is_in

BATCH_EDGES, BATCH_NODES = 10_000, 1000  # of one transaction; fewer where that is too many


def remove_old_versions(lease: Lease, found: Release, *, is_undone: bool) -> None:
    """Removes all that neither the live version nor the previous one holds.

    Args:
        lease: the right to publish; no version is being written.
        found: what is published.
        is_undone: a version was written in part and never went live; what it would have ended goes on.

    Raises:
        StoreError: another publish took over, or the database fails.
    """
    kept = found.kept
    for kind in RELEASE_TYPES:
        if is_undone:
            _reopen(lease, kind, "" if found.newest is None else found.newest.name)
        _remove_edges(lease, kind, [version.name for version in kept])
    indexes = {name for version in kept for name in version.indexes.values()}
    for (name,) in lease.connection.read(
        "SHOW INDEXES YIELD name, type WHERE type = 'VECTOR' AND name STARTS WITH $prefix RETURN name",
        {"prefix": RELEASE_PREFIX},
    ):
        if name not in indexes:
            lease.connection.write(f"DROP INDEX {quote(name)} IF EXISTS")
    for version in found.versions:
        if version.segment_slot not in {one.segment_slot for one in kept}:
            remove_segments(lease, version)
    if len(kept) < len(found.versions):
        lease.note_versions(kept)


def remove_segments(lease: Lease, version: Version) -> None:
    """Removes the segments of a version from the users, where it has any.

    Raises:
        StoreError: another publish took over, or the database fails.
    """
    if version.segments is None:
        return
    assert version.segment_slot in SEGMENT_SLOTS
    number, name = version.segments
    query = f"MATCH (n:{version.labels['user']}) WHERE n.{number} IS NOT NULL RETURN elementId(n)"
    nodes = [element for (element,) in lease.connection.read(query)]
    remove = f"UNWIND $rows AS row MATCH (n) WHERE elementId(n) = row REMOVE n.{number}, n.{name} RETURN count(*)"
    for start in range(0, len(nodes), BATCH_NODES):
        lease.write_rows(remove, nodes[start : start + BATCH_NODES], {})


def _reopen(lease: Lease, kind: str, newest: str) -> None:
    """What a version that was never live would have ended goes on."""
    which = f"s.until > $newest AND s.until <> '{OPEN}' AND s.version STARTS WITH '{VERSION_PREFIX}'"
    _change(lease, kind, which, f"SET s.until = '{OPEN}'", {"newest": newest})


def _remove_edges(lease: Lease, kind: str, kept: Sequence[str]) -> None:
    parameters = {f"kept{place}": name for place, name in enumerate(kept)}
    seen = " OR ".join(is_in("s", f"${name}") for name in parameters) or "false"
    which = f"s.version STARTS WITH '{VERSION_PREFIX}' AND NOT coalesce({seen}, false)"
    if kept:  # what is open and not newer than the newest belongs to that: most of them, found by one comparison
        which = f"NOT coalesce(s.until = '{OPEN}' AND s.version <= $newest, false) AND {which}"
        parameters["newest"] = max(kept)
    _change(lease, kind, which, "DELETE s", parameters)


def _change(lease: Lease, kind: str, which: str, change: str, parameters: dict[str, str]) -> None:
    """Changes some of the relationships of a type, in batches of the nodes that they lead from."""
    found = lease.connection.read(
        f"MATCH (a)-[s:{kind}]->() WHERE {which} WITH a, count(s) AS n RETURN elementId(a), n", parameters
    )
    query = (
        f"UNWIND $rows AS row MATCH (a) WHERE elementId(a) = row MATCH (a)-[s:{kind}]->() WHERE {which} {change} "
        "RETURN count(DISTINCT row)"
    )
    batch: list[str] = []
    n_edges = 0
    for element, n in found:
        if batch and n_edges + n > BATCH_EDGES:
            lease.write_rows(query, batch, parameters)
            batch, n_edges = [], 0
        batch.append(element)
        n_edges += n
    if batch:
        lease.write_rows(query, batch, parameters)
