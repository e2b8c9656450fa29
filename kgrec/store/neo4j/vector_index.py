"""The vector indexes of published versions."""

import time

from kgrec.errors import StoreError
from kgrec.store.neo4j.connection import Connection, quote
from kgrec.store.neo4j.publish_lease import Lease

MOST_DIM = 4096
INDEX_WAIT_S = 3600.0
_POLL_S = 0.2


def check_width(dim: int) -> None:
    """Checks that vectors are not too wide for an index.

    Raises:
        StoreError: they are.
    """
    if dim > MOST_DIM:
        raise StoreError(f"vectors of width {dim}; expected at most {MOST_DIM}: train with a smaller embedding_dim")


def make_index(connection: Connection, name: str, kind: str, dim: int) -> None:
    """Begins an index by cosine, where it is not there yet.

    Args:
        connection: the database, opened to write.
        name: of the index, and of the property with the vectors.
        kind: the type of the relationships that hold them.
        dim: the width of the vectors.

    Raises:
        StoreError: the database fails.
    """
    # Of the first 10 neighbours of 9,125 films, vectors 832 wide, it finds all with 200 asked for, 99% with 50 and 91%
    # with 11; quantised, as is the server's default, 90% however many are asked for.
    config = (
        f"`vector.dimensions`: {dim}, `vector.similarity_function`: 'cosine', "
        "`vector.quantization.enabled`: false, `vector.hnsw.ef_construction`: 400"
    )
    connection.write(
        f"CREATE VECTOR INDEX {quote(name)} IF NOT EXISTS FOR ()-[v:{kind}]-() ON (v.{quote(name)}) "
        f"OPTIONS {{indexConfig: {{{config}}}}}"
    )


def await_index(lease: Lease, name: str) -> None:
    """Waits until an index finds all vectors.

    Raises:
        StoreError: the index failed or was not ready in time, or another publish took over.
    """
    url = lease.connection.url
    deadline = time.monotonic() + INDEX_WAIT_S
    while True:
        lease.write("RETURN 1")  # renews the lease
        rows = lease.connection.read(
            "SHOW INDEXES YIELD name, state, populationPercent, failureMessage WHERE name = $name "
            "RETURN state, populationPercent, failureMessage",
            {"name": name},
        )
        state, percent, failure = rows[0] if rows else ("FAILED", 0.0, "it was dropped")
        if state == "ONLINE":
            return
        if state == "FAILED":
            raise StoreError(f"the vector index {name} failed in {url}: {failure}; publish again")
        if time.monotonic() > deadline:
            raise StoreError(
                f"the vector index {name} was not ready in {url} within {INDEX_WAIT_S:g} s (at {percent:.0f}%); the "
                "live version has not changed: publish again when the server has less to do"
            )
        time.sleep(_POLL_S)
