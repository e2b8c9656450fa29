"""What kgrec has published into a Neo4j database: the versions that are there and which of them is live.

All that is published are relationships: SIMILAR_TO and RECOMMENDED between nodes, and one from a node to itself that
holds its vector (ITEM_VECTOR, USER_VECTOR); segments of users are properties. A relationship has a range of versions:
from `version`, which wrote it, up to the one before `until`. A version is thus written next to the live one, shares
with it all that did not change, and goes live by a change of a few properties of the `KgrecRelease` node, in one
transaction. A query that reads the release node once (in a `WITH` of its own: a property that is read again for each
row may change in between) sees that version and no other. The names of versions are times, so that later ones are
greater. The live and the previous version are kept; what is in neither of them is removed.

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

SIMILAR_TO, RECOMMENDED, ITEM_VECTOR, USER_VECTOR = RELEASE_TYPES
VERSION_PREFIX = "kgrec-"
OPEN = f"{VERSION_PREFIX}open"  # the `until` of what no version has replaced; greater than the name of any version
STAMP = "%Y%m%dT%H%M%S"
RELEASE_NAME = "release"  # of the one release node; a uniqueness constraint keeps it the only one

Side = Literal["item", "user"]
SIDES: tuple[Side, ...] = ("item", "user")
VECTOR_TYPES: Mapping[Side, str] = {"item": ITEM_VECTOR, "user": USER_VECTOR}
SEGMENT_SLOTS = ("", "_2", "_3")  # the live version has one, the previous another: the next writes into the third


def is_in(edge: str, version: str) -> str:
    """The Cypher condition for a relationship to belong to a version; both are expressions."""
    return f"{edge}.version <= {version} AND {version} < {edge}.until"


def name_segments(slot: str) -> tuple[str, str]:
    """The properties of users with the number and the name of their segment, in one of SEGMENT_SLOTS."""
    return f"{RELEASE_PREFIX}segment{slot}", f"{RELEASE_PREFIX}segment_name{slot}"


@dataclass(frozen=True)
class Version:
    """One published version.

    Attributes:
        name: such as "kgrec-20260131T093000", the time of its publication in UTC.
        labels: side, "item" or "user" -> label of its nodes, for Cypher.
        is_whole: it was live at some time; else it is being written, or its writing was cut off.
        indexes: side -> the name of the vector index, and of the property with the vectors; versions may share one.
        n_vectors: side -> nodes with a vector.
        n_edges: relationship type -> how many.
        n_written: how many relationships were written for it; it shares the others with the version before.
        segment_slot: which of SEGMENT_SLOTS its segments of users are in; None: it has none.
        about: facts that the publisher keeps with it.
    """

    name: str
    labels: Mapping[str, str]
    is_whole: bool = False
    indexes: Mapping[str, str] = field(default_factory=dict)
    n_vectors: Mapping[str, int] = field(default_factory=dict)
    n_edges: Mapping[str, int] = field(default_factory=dict)
    n_written: int = 0
    segment_slot: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stamp(self) -> str:
        """Its name without the prefix."""
        return self.name.removeprefix(VERSION_PREFIX)

    @property
    def published_at(self) -> int:
        """UTC seconds."""
        return calendar.timegm(time.strptime(self.stamp, STAMP))

    @property
    def n_published(self) -> dict[str, int]:
        """How many items and users have a vector, and how many edges there are of each type."""
        vectors = {f"{side}s": self.n_vectors.get(side, 0) for side in SIDES}
        return vectors | {"similar": self.n_edges.get(SIMILAR_TO, 0), "recommended": self.n_edges.get(RECOMMENDED, 0)}

    @property
    def segments(self) -> tuple[str, str] | None:
        """The properties of users with the number and the name of their segment; None: it has no segments."""
        if self.segment_slot is None:
            return None
        return name_segments(self.segment_slot)

    @property
    def properties(self) -> dict[str, str | None]:
        """The properties of the release node while it is live."""
        vectors = {f"{side}_vectors": self.indexes.get(side) for side in SIDES}
        number, name = self.segments or (None, None)
        return {"version": self.name, **vectors, "segments": number, "segment_names": name}


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

    @property
    def kept(self) -> tuple[Version, ...]:
        """The live version and the previous one, as far as they are there, the older first."""
        found = (version for version in (self.live, self.previous) if version is not None)
        return tuple(sorted(found, key=lambda version: version.name))

    @property
    def newest(self) -> Version | None:
        """The latest of those that are kept, which the next one is compared with; not the live one after a rollback."""
        return self.kept[-1] if self.kept else None

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
