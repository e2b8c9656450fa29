"""One Neo4j server for all tests that want one; each gets an empty database."""

import os
from collections.abc import Iterator

import pytest
from neo4j_server import GIVEN_URL, PASSWORD, SERVE, USERNAME, Server, empty_database

from kgrec.store.neo4j.connection import Connection


@pytest.fixture(scope="session")
def neo4j_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The url of a server that runs as long as the tests; its credentials are in the environment."""
    if not SERVE.exists():
        if GIVEN_URL is None:
            pytest.skip("no ../shared/neo4j beside the project, and KGREC_TEST_NEO4J_URI names no server")
        yield GIVEN_URL
        return
    os.environ |= {"NEO4J_USERNAME": USERNAME, "NEO4J_PASSWORD": PASSWORD}
    server = Server(tmp_path_factory.mktemp("neo4j")).start()
    yield server.url
    server.kill()  # nothing of it is kept


@pytest.fixture
def neo4j_url(neo4j_server: str) -> str:
    """The url of a database with nothing in it."""
    with Connection(neo4j_server, "write") as connection:
        empty_database(connection)
    return neo4j_server
