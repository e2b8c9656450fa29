"""Removes published versions that nobody needs any more, and what a publish that was cut off left behind."""

import re
from collections.abc import Sequence
from dataclasses import replace

from kgrec.store.neo4j.connection import quote
from kgrec.store.neo4j.layout import RELEASE_PREFIX, RELEASE_TYPES
from kgrec.store.neo4j.publish_lease import Lease
from kgrec.store.neo4j.release import SIDES, VERSION_PREFIX, Release, Version

BATCH_NODES = 200  # of one transaction; fewer where that is too many


def remove_old_versions(lease: Lease, found: Release, current: Version) -> None:
    """Removes all versions but the live one, the previous one and the one that is being written.

    Args:
        lease: the right to publish.
        found: what is published.
        current: the version that is being written.

    Raises:
        StoreError: another publish took over, or the database fails.
    """
    kept = {version.name for version in (found.live, found.previous, current) if version is not None}
    indexes = lease.connection.read(
        "SHOW INDEXES YIELD name, type, labelsOrTypes WHERE type = 'VECTOR' AND name STARTS WITH $prefix "
        "RETURN name, labelsOrTypes[0]",
        {"prefix": RELEASE_PREFIX},
    )
    old = {version.name: version for version in found.versions if version.name not in kept}
    for name, label in indexes:  # some may be of versions that the release node does not list, if it was deleted
        made = re.fullmatch(rf"{RELEASE_PREFIX}(item|user)s_(\w+)", name)
        if made is not None and (version := f"{VERSION_PREFIX}{made[2]}") not in kept:
            lease.connection.write(f"DROP INDEX {quote(name)} IF EXISTS")
            before = old.get(version, Version(version, {}))
            old[version] = replace(before, labels={made[1]: label, **before.labels})
    for label in {label for version in old.values() for label in version.used_labels}:
        _remove_from_label(lease, label, list(old.values()), sorted(kept))
    if old:
        lease.note_versions(version for version in found.versions if version.name in kept)


def _remove_from_label(lease: Lease, label: str, versions: Sequence[Version], kept: Sequence[str]) -> None:
    """Removes the vectors and lists of versions from the nodes of a label."""
    nodes = [element for (element,) in lease.connection.read(f"MATCH (n:{quote(label)}) RETURN elementId(n)")]
    names = [version.vectors(side) for version in versions for side in SIDES]
    find = "UNWIND $rows AS element MATCH (n) WHERE elementId(n) = element "
    properties = find + "REMOVE " + ", ".join(f"n.{quote(name)}" for name in names) + " RETURN count(*)"
    edges = (
        f"{find}OPTIONAL MATCH (n)-[s:{'|'.join(map(quote, RELEASE_TYPES))}]->() "
        f"WHERE s.version STARTS WITH '{VERSION_PREFIX}' AND NOT s.version IN $kept DELETE s "
        "RETURN count(DISTINCT n)"
    )
    for start in range(0, len(nodes), BATCH_NODES):
        batch = nodes[start : start + BATCH_NODES]
        lease.write_rows(edges, batch, {"kept": kept})
        lease.write_rows(properties, batch, {})
