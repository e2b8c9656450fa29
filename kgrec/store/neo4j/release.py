"""What kgrec publishes into a Neo4j database: vectors and lists under a version, and the node that says which is live.

A version is written beside the live one, whole, and becomes live by a change of a few properties of the `KgrecRelease`
node in one transaction. A version's edges carry its name, its vectors are properties of its own with an index of their
own. So a query that reads one property of that node, once (in a `WITH` of its own: a property that is read again for
each row may change in between), sees that version and no other. Live and previous are kept, all others are removed.

Nothing but that is ever changed: a relationship is kgrec's when its `version` begins with VERSION_PREFIX, and
properties and indexes when their names begin with RELEASE_PREFIX.
"""

import calendar
import json
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from graph_schema import SOURCE, TARGET, CatalogueSchema
from kgrec.errors import StoreError
from kgrec.store.contract import OnRows
from kgrec.store.neo4j.connection import Connection, TransactionTooLarge, quote
from kgrec.store.neo4j.layout import RELEASE_LABEL, RELEASE_PREFIX, RELEASE_TYPES

SIMILAR_TO, RECOMMENDED = RELEASE_TYPES
VERSION_PREFIX = "kgrec-"
LEASE_S = 30.0  # a publish that was not heard of for so long is taken for dead
SEARCH_VERSION = (2026, 1)  # the first Neo4j with the SEARCH clause
MOST_DIM = 4096  # of a vector index
INDEX_WAIT_S = 3600.0
BATCH_VECTORS, BATCH_EDGES, BATCH_NODES = 500, 10_000, 200  # rows of one transaction; less where that is too much
_POLL_S = 0.2
_STAMP = "%Y%m%dT%H%M%S"
_ONLY = "release"  # the name of the one node; a constraint keeps it one
_HELD = (  # SET waits for the node's lock, and only then is the publisher read: one that slept must not write any more
    f"MATCH (r:{RELEASE_LABEL} {{name: '{_ONLY}'}}) SET r.name = r.name "
    "WITH r WHERE r.publisher = $owner SET r.publisher_until = timestamp() + $lease_ms WITH r "
)

Side = Literal["item", "user"]
SIDES: tuple[Side, ...] = ("item", "user")


@dataclass(frozen=True)
class Version:
    """One published version.

    Attributes:
        name: such as "kgrec-20260131T093000", the time of its publication in UTC.
        labels: side, "item" or "user" -> label of its nodes.
        is_whole: it was live at some time; else its writing was cut off, or goes on.
        n_vectors: side -> nodes with a vector.
        n_edges: relationship type -> how many.
        about: what the publisher says of it; kept as it is.
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
        return calendar.timegm(time.strptime(self.stamp, _STAMP))

    def vectors(self, side: str) -> str:
        """The vector index of one side, and the property with the vectors to ask it with: one name for both."""
        return f"{RELEASE_PREFIX}{side}s_{self.stamp}"

    @property
    def n_published(self) -> dict[str, int]:
        """How much there is of what: items and users with a vector, then edges."""
        vectors = {f"{side}s": self.n_vectors.get(side, 0) for side in SIDES}
        return vectors | {"similar": self.n_edges.get(SIMILAR_TO, 0), "recommended": self.n_edges.get(RECOMMENDED, 0)}

    @property
    def used_labels(self) -> set[str]:
        """The labels of nodes that may have something of it."""
        nothing_of_users = self.is_whole and not self.n_vectors.get("user") and RECOMMENDED not in self.n_edges
        return {label for side, label in self.labels.items() if side == "item" or not nothing_of_users}

    @property
    def properties(self) -> dict[str, str | None]:
        """What the release node says while it is live."""
        vectors = {f"{side}_vectors": self.vectors(side) if self.n_vectors.get(side) else None for side in SIDES}
        return {"version": self.name, **vectors}


@dataclass(frozen=True)
class Release:
    """What is published.

    Attributes:
        live: the live version; None: none yet.
        previous: the one to go back to; None: there is none.
        versions: all of which anything is there, the oldest first.
        is_publishing: a publish is at work.
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


@dataclass(frozen=True)
class GraphNodes:
    """The nodes of a type that are in the graph.

    Attributes:
        elements: id -> the node's element id.
        n_repeated: further nodes with the id of another; they are left alone.
        n_without_id: nodes without a key, or with one that is neither text nor an integer.
    """

    elements: Mapping[str, str]
    n_repeated: int
    n_without_id: int


def read_release(connection: Connection) -> Release:
    """Reads what is published.

    Raises:
        StoreError: the database fails.
    """
    rows = connection.read(
        f"MATCH (r:{RELEASE_LABEL} {{name: '{_ONLY}'}}) "
        "RETURN r.version, r.previous, r.versions, coalesce(r.publisher_until, 0) > timestamp()"
    )
    if not rows:
        return Release(None, None, (), False)
    ((live, previous, kept, is_publishing),) = rows
    try:
        versions = {version.name: version for version in (Version(**json.loads(text)) for text in kept or ())}
    except (TypeError, ValueError) as error:
        raise StoreError(
            f"what the {RELEASE_LABEL} node of {connection.url} says is not understood: {error}; expected what kgrec "
            f"wrote: publish with the kgrec that wrote it, or delete the node and publish again"
        ) from error
    return Release(versions.get(live), versions.get(previous), tuple(versions.values()), bool(is_publishing))


def roll_back(connection: Connection) -> Release:
    """Makes the version live that was live before; what was live becomes the previous one. Also during a publish.

    Raises:
        StoreError: there is no version before, or another one went live in the meantime.
    """
    found = read_release(connection)
    if found.live is None:
        raise StoreError(f"nothing is published in {connection.url}; expected a version to go back from: publish first")
    if found.previous is None:
        raise StoreError(
            f"{found.live.name} is the only version in {connection.url}; expected one before it: there is nothing to "
            "go back to until the next publish"
        )
    names = {"live": found.live.name, "previous": found.previous.name, "properties": found.previous.properties}
    switched = connection.write(
        f"MATCH (r:{RELEASE_LABEL} {{name: '{_ONLY}'}}) SET r.name = r.name "
        "WITH r WHERE r.version = $live AND r.previous = $previous SET r += $properties, r.previous = $live RETURN 1",
        names,
    )
    if not switched:
        raise StoreError(f"another version went live in {connection.url} at this moment; look at it, then try again")
    return replace(found, live=found.previous, previous=found.live)


class Draft:
    """A version that is being written: `with` holds the right to publish, `finish` makes it live.

    To begin removes what an earlier publish that was cut off left behind. Without `finish` the live version stays, and
    the next publish removes what was written.

    Args:
        connection: where to, opened to write.
        schema: what the items and users are; the nodes may have been loaded by kgrec or not.
        published_at: UTC seconds.

    Raises:
        StoreError: another publish is at work, or the database fails.
    """

    def __init__(self, connection: Connection, schema: CatalogueSchema, *, published_at: int) -> None:
        self.connection = connection
        self._owner = secrets.token_hex(8)
        self._most_rows: dict[str, int] = {}  # query -> rows of one transaction, where fewer are to be written at once
        self._take_lease()
        try:
            found = read_release(connection)
            # later than the latest, also twice in a second and by a clock that went back
            latest = max((version.published_at for version in found.versions), default=-1)
            stamp = time.strftime(_STAMP, time.gmtime(max(published_at, latest + 1)))
            sides = {"item": schema.item_type, "user": schema.user_type}
            self._keys = {side: schema.nodes[node_type].key for side, node_type in sides.items()}
            labels = {side: schema.nodes[node_type].label for side, node_type in sides.items()}
            self.version = Version(f"{VERSION_PREFIX}{stamp}", labels)
            self._remove_others(found)
            self._nodes: dict[str, GraphNodes] = {}
            self._keep([*self._others(), self.version])  # before anything is written, so that its remains can be found
        except BaseException:
            with suppress(StoreError):
                self.close()
            raise

    def nodes(self, side: Side) -> GraphNodes:
        """The items or the users that the graph has."""
        if side not in self._nodes:
            self._nodes[side] = self._read_nodes(side)
        return self._nodes[side]

    def write_vectors(
        self,
        side: Side,
        ids: Sequence[str],
        vectors: NDArray[np.float32],
        on_rows: OnRows | None = None,
    ) -> None:
        """Writes vectors to nodes and begins their index, by cosine.

        Args:
            side: of which nodes.
            ids: of nodes that the graph has.
            vectors: (n, dim), none of them all zeros.
            on_rows: called with (what, nodes just written).

        Raises:
            StoreError: another publish took over, the vectors are too wide for an index, or the database fails.
        """
        dim = vectors.shape[1]
        if dim > MOST_DIM:
            raise StoreError(f"vectors of width {dim}; expected at most {MOST_DIM}: train with a smaller embedding_dim")
        elements, label = self.nodes(side).elements, quote(self.version.labels[side])
        name = self.version.vectors(side)
        query = (
            f"UNWIND $rows AS row MATCH (n) WHERE elementId(n) = row[0] AND n:{label} "
            "CALL db.create.setNodeVectorProperty(n, $name, row[1]) RETURN count(n)"
        )
        n_written = 0
        for start in range(0, len(ids), BATCH_VECTORS):
            part = slice(start, start + BATCH_VECTORS)
            rows = [[elements[id_], vector] for id_, vector in zip(ids[part], vectors[part].tolist(), strict=True)]
            n_written += self._write(query, rows, {"name": name})
            if on_rows is not None:
                on_rows(f"{side} vectors", len(rows))
        self.version = replace(self.version, n_vectors={**self.version.n_vectors, side: n_written})
        # Of the first 10 neighbours of 9,125 films, vectors 832 wide, it finds 99.98% with 200 asked for, 99% with 50
        # and 92% with 11; quantised, as is the server's default, 90% however many are asked for.
        config = (
            f"`vector.dimensions`: {dim}, `vector.similarity_function`: 'cosine', "
            "`vector.quantization.enabled`: false, `vector.hnsw.ef_construction`: 400"
        )
        self._run(
            f"CREATE VECTOR INDEX {quote(name)} IF NOT EXISTS FOR (n:{label}) ON (n.{quote(name)}) "
            f"OPTIONS {{indexConfig: {{{config}}}}}"
        )

    def write_lists(self, kind: str, source: Side, lists: Iterable[pa.Table], on_rows: OnRows | None = None) -> None:
        """Writes ranked lists of items as relationships with `score`, `rank` and `version`.

        Args:
            kind: SIMILAR_TO or RECOMMENDED.
            source: whose lists.
            lists: tables with the columns source, target (ids that the graph has), rank and score; a list is never
                split between two of them.
            on_rows: called with (kind, relationships just written).

        Raises:
            StoreError: another publish took over, or the database fails.
        """
        sources, targets = self.nodes(source).elements, self.nodes("item").elements
        query = (
            f"UNWIND $rows AS row MATCH (a) WHERE elementId(a) = row[0] AND a:{quote(self.version.labels[source])} "
            "UNWIND range(0, size(row[1]) - 1) AS place "
            f"MATCH (b) WHERE elementId(b) = row[1][place] AND b:{quote(self.version.labels['item'])} "
            f"CREATE (a)-[:{quote(kind)} {{rank: row[2][place], score: row[3][place], version: $version}}]->(b) "
            "RETURN count(*)"
        )
        n_written = 0
        for table in lists:
            for rows in _batch_lists(table, sources, targets):
                n_written += self._write(query, rows, {"version": self.version.name})
                if on_rows is not None:
                    on_rows(kind, sum(len(row[1]) for row in rows))
        self.version = replace(self.version, n_edges={**self.version.n_edges, kind: n_written})

    def finish(self, about: Mapping[str, Any]) -> None:
        """Waits for the indexes, makes the version live in one transaction, and removes those before the previous one.

        Args:
            about: what to keep with the version; JSON.

        Raises:
            StoreError: an index failed or was not ready in time, another publish took over, or the database fails.
        """
        for side in self.version.n_vectors:
            self._await_index(self.version.vectors(side))
        self.version = replace(self.version, is_whole=True, about=about)
        self._run(
            _HELD + "SET r.previous = r.version, r += $properties, r.versions = $versions RETURN 1",
            {"properties": self.version.properties, "versions": _to_texts([*self._others(), self.version])},
        )
        self._remove_others(read_release(self.connection))

    def close(self) -> None:
        """Lets others publish."""
        self.connection.write(
            f"MATCH (r:{RELEASE_LABEL} {{name: '{_ONLY}'}}) WHERE r.publisher = $owner "
            "REMOVE r.publisher, r.publisher_until",
            {"owner": self._owner},
        )

    def __enter__(self) -> Self:
        """The draft itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Lets others publish, whatever happened."""
        try:
            self.close()
        except StoreError:
            if error is None:
                raise  # else that error tells more; the lease runs out by itself

    def _take_lease(self) -> None:
        self.connection.write(
            f"CREATE CONSTRAINT {quote(f'{RELEASE_PREFIX}release')} IF NOT EXISTS "
            f"FOR (r:{RELEASE_LABEL}) REQUIRE r.name IS UNIQUE"
        )
        ((left_ms,),) = self.connection.write(
            f"MERGE (r:{RELEASE_LABEL} {{name: '{_ONLY}'}}) SET r.name = r.name "
            "WITH r, coalesce(r.publisher_until, 0) - timestamp() AS left_ms "
            "FOREACH (_ IN CASE WHEN left_ms <= 0 THEN [1] ELSE [] END | "
            "SET r.publisher = $owner, r.publisher_until = timestamp() + $lease_ms) RETURN left_ms",
            self._held_by(),
        )
        if left_ms > 0:
            raise StoreError(
                f"another publish is at work in {self.connection.url}; wait for it to end, then try again (if it was "
                f"killed: in {left_ms / 1000:.0f} s)"
            )

    def _held_by(self) -> dict[str, Any]:
        return {"owner": self._owner, "lease_ms": round(LEASE_S * 1000)}

    def _write(self, query: str, rows: list[Any], parameters: Mapping[str, Any]) -> int:
        """Runs a query that begins by UNWIND $rows and returns a count, while this publish holds the right to.

        Rows that are too many for one transaction are halved, and so are those that come after them.
        """
        n_done = start = 0
        while start < len(rows):
            part = rows[start : start + self._most_rows.get(query, len(rows))]
            try:
                n_done += self._run(_HELD + query, {**parameters, "rows": part}, part)
            except TransactionTooLarge:
                if len(part) == 1:
                    raise
                self._most_rows[query] = len(part) // 2
            else:
                start += len(part)
        return n_done

    def _run(self, query: str, parameters: Mapping[str, Any] | None = None, rows: Sequence[Any] = ()) -> int:
        found = self.connection.write(query, {**(parameters or {}), **self._held_by()})
        n_done = int(found[0][0]) if found else 0
        if n_done < max(len(rows), query.startswith(_HELD)) and not self._is_held():
            raise StoreError(
                f"another publish took over in {self.connection.url}, since nothing was heard of this one for "
                f"{LEASE_S:g} s; what it publishes is whole: let it finish, then publish again if this is wanted too"
            )
        return n_done

    def _is_held(self) -> bool:
        query = f"MATCH (r:{RELEASE_LABEL} {{name: '{_ONLY}', publisher: $owner}}) RETURN 1"
        return bool(self.connection.read(query, self._held_by()))

    def _others(self) -> list[Version]:
        return [found for found in read_release(self.connection).versions if found.name != self.version.name]

    def _keep(self, versions: Iterable[Version]) -> None:
        self._run(_HELD + "SET r.versions = $versions RETURN 1", {"versions": _to_texts(versions)})

    def _read_nodes(self, side: Side) -> GraphNodes:
        key, label = quote(self._keys[side]), quote(self.version.labels[side])
        elements: dict[str, str] = {}
        n_without_id = n_nodes = 0
        for value, element in self.connection.read(f"MATCH (n:{label}) RETURN n.{key}, elementId(n)"):
            n_nodes += 1
            if isinstance(value, bool) or not isinstance(value, str | int):
                n_without_id += 1
            else:
                elements.setdefault(str(value), element)
        return GraphNodes(elements, n_nodes - n_without_id - len(elements), n_without_id)

    def _await_index(self, name: str) -> None:
        deadline = time.monotonic() + INDEX_WAIT_S
        while True:
            self._run(_HELD + "RETURN 1")  # a sign of life
            rows = self.connection.read(
                "SHOW INDEXES YIELD name, state, populationPercent, failureMessage WHERE name = $name "
                "RETURN state, populationPercent, failureMessage",
                {"name": name},
            )
            state, percent, failure = rows[0] if rows else ("FAILED", 0.0, "it was dropped")
            if state == "ONLINE":
                return
            if state == "FAILED":
                raise StoreError(f"the vector index {name} failed in {self.connection.url}: {failure}; publish again")
            if time.monotonic() > deadline:
                raise StoreError(
                    f"the vector index {name} was not ready in {self.connection.url} within {INDEX_WAIT_S:g} s (it is "
                    f"at {percent:.0f}%); what was live is live: publish again when the server has less to do"
                )
            time.sleep(_POLL_S)

    def _remove_others(self, found: Release) -> None:
        """Removes all versions but the live, the previous and this one."""
        kept = {version.name for version in (found.live, found.previous, self.version) if version is not None}
        indexes = self.connection.read(
            "SHOW INDEXES YIELD name, type, labelsOrTypes WHERE type = 'VECTOR' AND name STARTS WITH $prefix "
            "RETURN name, labelsOrTypes[0]",
            {"prefix": RELEASE_PREFIX},
        )
        gone = {version.name: version for version in found.versions if version.name not in kept}
        for name, label in indexes:  # also of versions that the release node, deleted by hand, does not know any more
            made = re.fullmatch(rf"{RELEASE_PREFIX}(item|user)s_(\w+)", name)
            if made is not None and (version := f"{VERSION_PREFIX}{made[2]}") not in kept:
                self._run(f"DROP INDEX {quote(name)} IF EXISTS")
                before = gone.get(version, Version(version, {}))
                gone[version] = replace(before, labels={made[1]: label, **before.labels})
        for label in {label for version in gone.values() for label in version.used_labels}:
            self._remove_from(label, list(gone.values()), sorted(kept))
        if gone:
            self._keep(version for version in found.versions if version.name in kept)

    def _remove_from(self, label: str, versions: Sequence[Version], kept: Sequence[str]) -> None:
        """Removes vectors and lists from the nodes of a label."""
        nodes = [element for (element,) in self.connection.read(f"MATCH (n:{quote(label)}) RETURN elementId(n)")]
        names = [one.vectors(side) for one in versions for side in SIDES]
        find = "UNWIND $rows AS element MATCH (n) WHERE elementId(n) = element "
        properties = find + "REMOVE " + ", ".join(f"n.{quote(name)}" for name in names) + " RETURN count(*)"
        edges = (
            f"{find}OPTIONAL MATCH (n)-[s:{'|'.join(map(quote, RELEASE_TYPES))}]->() "
            f"WHERE s.version STARTS WITH '{VERSION_PREFIX}' AND NOT s.version IN $kept DELETE s "
            "RETURN count(DISTINCT n)"
        )
        for start in range(0, len(nodes), BATCH_NODES):
            batch = nodes[start : start + BATCH_NODES]
            self._write(edges, batch, {"kept": kept})
            self._write(properties, batch, {})


def describe_queries(schema: CatalogueSchema, version: Version, server: tuple[int, ...]) -> dict[str, str]:
    """The Cypher that a backend asks with: what it finds -> the query, with parameters.

    The parameters are `$item` or `$user`, a key as the graph has it, and `$k`; those of vector queries also take `$n`,
    how many nearest ones are looked at before they are filtered: 200 or more, since the index is approximate.

    Args:
        schema: what the items and users are.
        version: the live version; queries for what it lacks are left out.
        server: the server's version; from SEARCH_VERSION on vectors are asked for by the SEARCH clause, which takes
            the index by its name, so that these two queries are to be made anew, with `item_vectors` and `user_vectors`
            of the release node, when a version goes live.
    """
    item, user = schema.nodes[schema.item_type], schema.nodes[schema.user_type]
    item_label, item_key, user_label, user_key = map(_name, (item.label, item.key, user.label, user.key))
    interaction = _name(schema.edges[schema.interaction.edge].type)
    an_item, a_user = f"(i:{item_label} {{{item_key}: $item}})", f"(u:{user_label} {{{user_key}: $user}})"
    live = f"MATCH (r:{RELEASE_LABEL})\n"
    in_stock = "coalesce(other.in_stock, true)"
    queries = {
        "similar items that are in stock": (
            f"{live}WITH r.version AS live\n"
            f"MATCH {an_item}-[s:{SIMILAR_TO} {{version: live}}]->(other)\n"
            f"WHERE {in_stock}\n"
            f"RETURN other.{item_key} AS item, s.score AS score\nORDER BY s.rank LIMIT $k"
        )
    }
    returned = "RETURN other.{key} AS {what}, score\nORDER BY score DESC LIMIT $k"
    if version.n_vectors.get("item"):
        found = _near(an_item, "i", "item", item_label, version, server)
        queries["the same by the vector index, where a filter leaves few of the neighbours"] = (
            f"{found}WHERE other <> i AND {in_stock}\n{returned.format(key=item_key, what='item')}"
        )
    if version.n_vectors.get("user"):
        found = _near(a_user, "u", "user", user_label, version, server)
        queries["people like you"] = f"{found}WHERE other <> u\n{returned.format(key=user_key, what='user')}"
    if version.n_edges.get(RECOMMENDED):
        queries["recommended for you, less what you have met since"] = (
            f"{live}WITH r.version AS live\n"
            f"MATCH {a_user}-[s:{RECOMMENDED} {{version: live}}]->(other)\n"
            f"WHERE NOT EXISTS {{ (u)-[:{interaction}]-(other) }}\n"
            f"RETURN other.{item_key} AS item, s.score AS score\nORDER BY s.rank LIMIT $k"
        )
    return queries


def _near(node: str, name: str, side: str, label: str, version: Version, server: tuple[int, ...]) -> str:
    """The beginning of a vector query, which binds `other` and `score`."""
    if server >= SEARCH_VERSION:
        vectors = version.vectors(side)
        return (
            f"CYPHER 25\nMATCH {node} WHERE {name}.{vectors} IS NOT NULL\n"
            f"MATCH (other:{label})\n"
            f"  SEARCH other IN (VECTOR INDEX {vectors} FOR {name}.{vectors} LIMIT $n) SCORE AS score\n"
            f"WITH {name}, other, score\n"
        )
    return (
        f"MATCH (r:{RELEASE_LABEL})\nWITH r.{side}_vectors AS vectors\n"
        f"MATCH {node} WHERE {name}[vectors] IS NOT NULL\n"
        f"CALL db.index.vector.queryNodes(vectors, $n, {name}[vectors]) YIELD node AS other, score\n"
        f"WITH {name}, other, score\n"
    )


def _name(name: str) -> str:
    """As `quote`, but plain names stay as people write them."""
    return name if re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) else quote(name)


def _to_texts(versions: Iterable[Version]) -> list[str]:
    return [json.dumps(asdict(version)) for version in versions]


def _batch_lists(table: pa.Table, sources: Mapping[str, str], targets: Mapping[str, str]) -> Iterator[list[list[Any]]]:
    """Rows [source, targets, ranks, scores], about BATCH_EDGES relationships at a time."""
    if not len(table):
        return
    ids = table[SOURCE].to_pylist()
    columns = [
        [targets[id_] for id_ in table[TARGET].to_pylist()],
        table["rank"].to_pylist(),
        table["score"].to_pylist(),
    ]
    starts = [place for place in range(len(ids)) if place == 0 or ids[place] != ids[place - 1]]
    batch: list[list[Any]] = []
    n_edges = 0
    for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
        batch.append([sources[ids[start]], *(column[start:end] for column in columns)])
        n_edges += end - start
        if n_edges >= BATCH_EDGES:
            yield batch
            batch, n_edges = [], 0
    if batch:
        yield batch
