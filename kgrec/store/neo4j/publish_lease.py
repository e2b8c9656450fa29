"""The right to publish into a Neo4j database: one publish at a time, and none that was cut off blocks it for long."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kgrec.errors import StoreError
from kgrec.store.neo4j.connection import Connection, TransactionTooLarge
from kgrec.store.neo4j.layout import RELEASE_LABEL, RELEASE_PREFIX
from kgrec.store.neo4j.release import RELEASE_NAME, Version, to_texts

_CONSTRAINT = f"{RELEASE_PREFIX}release"
LEASE_S = 30.0  # a publish that writes nothing for this long counts as dead
# SET waits for the node's lock, and the publisher is read after that: a publish that slept must not write any more
_HELD = (
    f"MATCH (r:{RELEASE_LABEL} {{name: '{RELEASE_NAME}'}}) SET r.name = r.name "
    "WITH r WHERE r.publisher = $owner SET r.publisher_until = timestamp() + $lease_ms WITH r "
)


class Lease:
    """The right to publish, taken when it is made and renewed by every write; `give_back` ends it.

    Args:
        connection: the database, opened to write.

    Raises:
        StoreError: another publish is at work, or the database fails.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._owner = secrets.token_hex(8)
        self._most_rows: dict[str, int] = {}  # query -> rows of one transaction, once more of them were too many
        connection.write(
            f"CREATE CONSTRAINT {_CONSTRAINT} IF NOT EXISTS FOR (r:{RELEASE_LABEL}) REQUIRE r.name IS UNIQUE"
        )
        ((left_ms,),) = connection.write(
            f"MERGE (r:{RELEASE_LABEL} {{name: '{RELEASE_NAME}'}}) SET r.name = r.name "
            "WITH r, coalesce(r.publisher_until, 0) - timestamp() AS left_ms "
            "FOREACH (_ IN CASE WHEN left_ms <= 0 THEN [1] ELSE [] END | "
            "SET r.publisher = $owner, r.publisher_until = timestamp() + $lease_ms) RETURN left_ms",
            self._parameters,
        )
        if left_ms > 0:
            raise StoreError(
                f"another publish is at work in {connection.url}; wait for it to end, then try again (if it was "
                f"killed: in {left_ms / 1000:.0f} s)"
            )

    @property
    def _parameters(self) -> dict[str, Any]:
        return {"owner": self._owner, "lease_ms": round(LEASE_S * 1000)}

    def write(self, query: str, parameters: Mapping[str, Any] | None = None, n_expected: int = 1) -> int:
        """Runs a query while this publish holds the right; the release node is bound to `r`.

        Args:
            query: it returns a count.
            parameters: of the query.
            n_expected: the count when all is well; the lease is looked at again where it is less.

        Returns:
            The count; 0 where the query gave no row.

        Raises:
            StoreError: another publish took over, or the database fails.
        """
        found = self.connection.write(_HELD + query, {**(parameters or {}), **self._parameters})
        n_done = int(found[0][0]) if found else 0
        if n_done < n_expected and not self._is_held():
            raise StoreError(
                f"another publish took over in {self.connection.url}, since this one wrote nothing for {LEASE_S:g} s; "
                "what the other one publishes is whole: let it finish, then publish again if you still want to"
            )
        return n_done

    def write_rows(self, query: str, rows: Sequence[Any], parameters: Mapping[str, Any]) -> int:
        """Runs a query that begins by UNWIND $rows and returns a count; see `write`.

        Rows that are too many for one transaction are halved, and later batches of that query are as small.
        """
        n_done = start = 0
        while start < len(rows):
            part = rows[start : start + self._most_rows.get(query, len(rows))]
            try:
                n_done += self.write(query, {**parameters, "rows": part}, len(part))
            except TransactionTooLarge:
                if len(part) == 1:
                    raise
                self._most_rows[query] = len(part) // 2
            else:
                start += len(part)
        return n_done

    def note_versions(self, versions: Iterable[Version]) -> None:
        """Writes into the release node which versions are there."""
        self.write("SET r.versions = $versions RETURN 1", {"versions": to_texts(versions)})

    def give_back(self) -> None:
        """Lets others publish. Where nothing is published, the release node and its constraint go too."""
        self.connection.write(
            f"MATCH (r:{RELEASE_LABEL} {{name: '{RELEASE_NAME}'}}) WHERE r.publisher = $owner "
            "REMOVE r.publisher, r.publisher_until "
            "WITH r WHERE r.version IS NULL AND size(coalesce(r.versions, [])) = 0 DELETE r",
            {"owner": self._owner},
        )
        if not self.connection.read(f"MATCH (r:{RELEASE_LABEL}) RETURN 1 LIMIT 1"):
            self.connection.write(f"DROP CONSTRAINT {_CONSTRAINT} IF EXISTS")

    def _is_held(self) -> bool:
        query = f"MATCH (r:{RELEASE_LABEL} {{name: '{RELEASE_NAME}', publisher: $owner}}) RETURN 1"
        return bool(self.connection.read(query, self._parameters))
