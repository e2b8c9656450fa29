"""Shared by all tests: marks, the number of threads, the precision, and one Neo4j server."""

import os
from collections.abc import Iterator
from pathlib import Path

# numpy and torch read these when they are imported. On the tests' tiny matrices one thread is the fastest.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

import hypothesis
import pytest
import torch
from neo4j_server import GIVEN_URL, PASSWORD, SERVE, USERNAME, Server, empty_database

from kgrec.store.neo4j.connection import Connection

BF16 = os.environ.get("KGREC_TEST_BF16", "0") == "1"
E2E = Path(__file__).parent / "e2e"
SERVER_FIXTURES, SLOW_FIXTURES = {"neo4j_server", "_neo4j"}, {"_movielens"}

# Hypothesis has no deadline, so slow machines do not fail.
hypothesis.settings.register_profile(
    "any speed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any speed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that need a server, by their fixtures, and those of end-to-end runs as slow.

    Other slow tests and modules have `pytest.mark.slow` themselves.
    """
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        store = item.callspec.id.split("-") if hasattr(item, "callspec") else []  # of tests that run on every store
        if fixtures & SERVER_FIXTURES or "neo4j" in store:
            item.add_marker("server")
        if fixtures & SLOW_FIXTURES or E2E in item.path.parents:
            item.add_marker("slow")


@pytest.fixture(scope="session", autouse=True)
def _precision() -> Iterator[None]:
    """Makes every CPU compute in fp32, or in bf16 with KGREC_TEST_BF16=1, whichever is fastest."""
    found = {**torch.cpu.get_capabilities(), "amx_bf16": False, "avx512_bf16": BF16}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch.cpu, "get_capabilities", lambda: found)
        yield


@pytest.fixture(scope="session")
def neo4j_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that runs for the whole session; its credentials are in the environment."""
    if not SERVE.exists():
        if GIVEN_URL is None:
            pytest.skip("no ../shared/neo4j beside the project, and KGREC_TEST_NEO4J_URI names no server")
        yield GIVEN_URL
        return
    os.environ |= {"NEO4J_USERNAME": USERNAME, "NEO4J_PASSWORD": PASSWORD}
    server = Server(tmp_path_factory.mktemp("neo4j")).start()
    yield server.url
    server.kill()  # the folder is temporary


@pytest.fixture
def neo4j_url(request: pytest.FixtureRequest, neo4j_server: str) -> str:
    """The url of an empty database."""
    assert request.node.get_closest_marker("server"), "mark this test: it needs a server"
    with Connection(neo4j_server, "write") as connection:
        empty_database(connection)
    return neo4j_server
