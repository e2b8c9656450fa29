"""Removes what no version that is kept holds: replaced ones, what a publish that was cut off left behind, or all."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from kgrec.errors import StoreError
from kgrec.store.neo4j.connection import Connection, quote
from kgrec.store.neo4j.layout import RELEASE_LABEL, RELEASE_PREFIX, RELEASE_TYPES
from kgrec.store.neo4j.publish_lease import Lease
from kgrec.store.neo4j.release import (
    OPEN,
    SEGMENT_SLOTS,
    VERSION_PREFIX,
    Release,
    Version,
    is_in,
    name_segments,
)

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
    _remove_indexes(lease, {name for version in kept for name in version.indexes.values()})
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
    _remove_segments(lease, f"(n:{version.labels['user']})", version.segment_slot)


@dataclass(frozen=True)
class Removed:
    """What was removed of all that kgrec had published.

    Attributes:
        n_edges: relationship type -> how many relationships.
        n_indexes: vector indexes.
        n_users: users whose segments were removed.
    """

    n_edges: Mapping[str, int]
    n_indexes: int
    n_users: int


def remove_release(connection: Connection) -> Removed | None:
    """Removes all that kgrec has published: relationships, vector indexes, segments of users, the release node.

    Queries find nothing from its first step on. One that is cut off is completed by the next, or by a publish.

    Args:
        connection: the database, opened to write.

    Returns:
        What was removed; None: nothing was published.

    Raises:
        StoreError: a publish is at work, or the database fails.
    """
    if not connection.read(f"MATCH (r:{RELEASE_LABEL}) RETURN 1 LIMIT 1") and not _has_remains(connection):
        return None
    lease = Lease(connection)
    try:
        names = Version(VERSION_PREFIX, {}).properties
        lease.write(f"REMOVE r.previous, {', '.join(f'r.{name}' for name in names)} RETURN 1")
        n_edges = {kind: _remove_edges(lease, kind, ()) for kind in RELEASE_TYPES}
        n_indexes = _remove_indexes(lease, ())
        users = set().union(*(_remove_segments(lease, "(n)", slot) for slot in SEGMENT_SLOTS))
        lease.note_versions(())
        lease.give_back()
    except BaseException:
        with suppress(StoreError):  # the error that is there matters more; the lease runs out by itself
            lease.give_back()
        raise
    return Removed(n_edges, n_indexes, len(users))


def _has_remains(connection: Connection) -> bool:
    """Whether there is something published although the release node is gone."""
    kinds = "|".join(RELEASE_TYPES)
    return bool(
        connection.read(f"MATCH ()-[s:{kinds}]->() WHERE s.version STARTS WITH '{VERSION_PREFIX}' RETURN 1 LIMIT 1")
    )


def _remove_segments(lease: Lease, nodes: str, slot: str) -> list[str]:
    """Removes the segments in one of SEGMENT_SLOTS; returns the element ids of the nodes that had one."""
    number, name = name_segments(slot)
    query = f"MATCH {nodes} WHERE n.{number} IS NOT NULL RETURN elementId(n)"
    found = [element for (element,) in lease.connection.read(query)]
    remove = f"UNWIND $rows AS row MATCH (n) WHERE elementId(n) = row REMOVE n.{number}, n.{name} RETURN count(*)"
    for start in range(0, len(found), BATCH_NODES):
        lease.write_rows(remove, found[start : start + BATCH_NODES], {})
    return found


def _remove_indexes(lease: Lease, kept: Collection[str]) -> int:
    """Drops the vector indexes but for those that are kept; returns how many."""
    query = "SHOW INDEXES YIELD name, type WHERE type = 'VECTOR' AND name STARTS WITH $prefix RETURN name"
    found = [name for (name,) in lease.connection.read(query, {"prefix": RELEASE_PREFIX}) if name not in kept]
    for name in found:
        lease.connection.write(f"DROP INDEX {quote(name)} IF EXISTS")
    return len(found)


def _reopen(lease: Lease, kind: str, newest: str) -> None:
    """What a version that was never live would have ended goes on."""
    which = f"s.until > $newest AND s.until <> '{OPEN}' AND s.version STARTS WITH '{VERSION_PREFIX}'"
    _change(lease, kind, which, f"SET s.until = '{OPEN}'", {"newest": newest})


def _remove_edges(lease: Lease, kind: str, kept: Sequence[str]) -> int:
    """Removes the relationships of a type that no version that is kept holds; returns how many."""
    parameters = {f"kept{place}": name for place, name in enumerate(kept)}
    seen = " OR ".join(is_in("s", f"${name}") for name in parameters) or "false"
    which = f"s.version STARTS WITH '{VERSION_PREFIX}' AND NOT coalesce({seen}, false)"
    if kept:  # what is open and not newer than the newest belongs to that: most of them, found by one comparison
        which = f"NOT coalesce(s.until = '{OPEN}' AND s.version <= $newest, false) AND {which}"
        parameters["newest"] = max(kept)
    return _change(lease, kind, which, "DELETE s", parameters)


def _change(lease: Lease, kind: str, which: str, change: str, parameters: dict[str, str]) -> int:
    """Changes some of the relationships of a type, in batches of the nodes that they lead from; returns how many."""
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
    return sum(n for _, n in found)
