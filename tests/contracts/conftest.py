"""The stores that the contract suite runs on."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kgrec.store import GraphStore, open_store

# name -> the url of an empty store; a new store is one more entry
STORES: dict[str, Callable[[pytest.FixtureRequest, Path], str]] = {
    "ladybug": lambda request, folder: f"ladybug:{folder / 'graph.db'}",
    "neo4j": lambda request, folder: str(request.getfixturevalue("neo4j_url")),
}


@pytest.fixture(params=STORES)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return STORES[request.param](request, tmp_path)


@pytest.fixture
def store(store_url: str) -> Iterator[GraphStore]:
    with open_store(store_url, mode="write") as opened:
        yield opened
