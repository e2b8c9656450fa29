"""What kgrec has published into a Neo4j database: the versions that are there and which of them is live.

A version is written next to the live one and goes live by a change of a few properties of the `KgrecRelease` node, in
one transaction. The edges of a version carry its name; its vectors are properties with an index of their own. A query
that reads the release node once (in a `WITH` of its own: a property that is read again for each row may change in
between) therefore sees that version and no other. The live and the previous version are kept, all others are removed.

kgrec changes nothing else: a relationship is kgrec's when its `version` begins with VERSION_PREFIX, a property or an
index when its name begins with RELEASE_PREFIX.
"""

import calendar
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from kgrec.errors import StoreError
from kgrec.store.neo4j.connection import Connection
from kgrec.store.neo4j.layout import RELEASE_LABEL, RELEASE_PREFIX, RELEASE_TYPES

SIMILAR_TO, RECOMMENDED = RELEASE_TYPES
VERSION_PREFIX = "kgrec-"
STAMP = "%Y%m%dT%H%M%S"
RELEASE_NAME = "release"  # of the one release node; a uniqueness constraint keeps it the only one

Side = Literal["item", "user"]
SIDES: tuple[Side, ...] = ("item", "user")


@dataclass(frozen=True)
class Version:
    """One published version.

    Attributes:
        name: such as "kgrec-20260131T093000", the time of its publication in UTC.
        labels: side, "item" or "user" -> label of its nodes.
        is_whole: it was live at some time; else it is being written, or its writing was cut off.
        n_vectors: side -> nodes with a vector.
        n_edges: relationship type -> how many.
        about: facts that the publisher keeps with it.
    """

    name: str
    labels: Mapping[str, str]
    is_whole: bool = False
    n_vectors: Mapping[str, int] = field(default_factory=dict)
    n_edges: Mapping[str, int] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stamp(self) -> str:
        """Its name without the prefix."""
        return self.name.removeprefix(VERSION_PREFIX)

    @property
    def published_at(self) -> int:
        """UTC seconds."""
        return calendar.timegm(time.strptime(self.stamp, STAMP))

    def vectors(self, side: str) -> str:
        """The name of the vector index of one side, and of the property with its vectors."""
        return f"{RELEASE_PREFIX}{side}s_{self.stamp}"

    @property
    def n_published(self) -> dict[str, int]:
        """How many items and users have a vector, and how many edges there are of each type."""
        vectors = {f"{side}s": self.n_vectors.get(side, 0) for side in SIDES}
        return vectors | {"similar": self.n_edges.get(SIMILAR_TO, 0), "recommended": self.n_edges.get(RECOMMENDED, 0)}

    @property
    def used_labels(self) -> set[str]:
        """The labels of nodes that may have vectors or edges of it."""
        nothing_of_users = self.is_whole and not self.n_vectors.get("user") and RECOMMENDED not in self.n_edges
        return {label for side, label in self.labels.items() if side == "item" or not nothing_of_users}

    @property
    def properties(self) -> dict[str, str | None]:
        """The properties of the release node while it is live."""
        vectors = {f"{side}_vectors": self.vectors(side) if self.n_vectors.get(side) else None for side in SIDES}
        return {"version": self.name, **vectors}


@dataclass(frozen=True)
class Release:
    """The versions in a database.

    Attributes:
        live: the live version; None: none yet.
        previous: the version that a rollback makes live; None: there is none.
        versions: all that left anything in the database, the oldest first.
        is_publishing: whether a publish is at work.
    """

    live: Version | None
    previous: Version | None
    versions: tuple[Version, ...]
    is_publishing: bool

    def state(self, version: Version) -> str:
        """One of "live", "previous", "writing", "cut off"."""
        if version == self.live:
            return "live"
        if version == self.previous:
            return "previous"
        return "writing" if self.is_publishing else "cut off"


def read_release(connection: Connection) -> Release:
    """Reads which versions are published.

    Raises:
        StoreError: the database fails.
    """
    rows = connection.read(
        f"MATCH (r:{RELEASE_LABEL} {{name: '{RELEASE_NAME}'}}) "
        "RETURN r.version, r.previous, r.versions, coalesce(r.publisher_until, 0) > timestamp()"
    )
    if not rows:
        return Release(None, None, (), False)
    ((live, previous, kept, is_publishing),) = rows
    try:
        versions = {version.name: version for version in (Version(**json.loads(text)) for text in kept or ())}
    except (TypeError, ValueError) as error:
        raise StoreError(
            f"the {RELEASE_LABEL} node of {connection.url} is not understood: {error}; expected what kgrec wrote: "
            "publish with the version of kgrec that wrote it, or delete the node and publish again"
        ) from error
    return Release(versions.get(live), versions.get(previous), tuple(versions.values()), bool(is_publishing))


def roll_back(connection: Connection) -> Release:
    """Makes the previous version live and the live one the previous one; a publish may be at work.

    Raises:
        StoreError: there is no previous version, or another one went live in the meantime.
    """
    found = read_release(connection)
    if found.live is None:
        raise StoreError(f"nothing is published in {connection.url}; expected a live version: publish first")
    if found.previous is None:
        raise StoreError(
            f"{found.live.name} is the only version in {connection.url}; expected a previous one: there is nothing "
            "to go back to until the next publish"
        )
    names = {"live": found.live.name, "previous": found.previous.name, "properties": found.previous.properties}
    switched = connection.write(
        f"MATCH (r:{RELEASE_LABEL} {{name: '{RELEASE_NAME}'}}) SET r.name = r.name "
        "WITH r WHERE r.version = $live AND r.previous = $previous SET r += $properties, r.previous = $live RETURN 1",
        names,
    )
    if not switched:
        raise StoreError(f"another version went live in {connection.url} meanwhile; check it, then try again")
    return replace(found, live=found.previous, previous=found.live)


def to_texts(versions: Iterable[Version]) -> list[str]:
    """Versions as the release node keeps them."""
    return [json.dumps(asdict(version)) for version in versions]
