"""Graph databases that hold a catalogue, behind one contract: `open_store`, `load_staged`, `read_tables`."""

from pathlib import Path
from typing import Literal

from kgrec.errors import StoreError
from kgrec.store.contract import Counts, GraphPath, GraphStore, NodeRef, OnRows, Step
from kgrec.store.load import LoadReport, load_staged, read_tables

NEO4J_SCHEMES = ("neo4j", "neo4j+s", "neo4j+ssc", "bolt", "bolt+s", "bolt+ssc")


def open_store(url: str, *, mode: Literal["read", "write"]) -> GraphStore:
    """Opens a store.

    Args:
        url: "ladybug:PATH", a database in one file; PATH may be relative.
        mode: "read", or "write" to change it too; a writer has the store to itself.

    Raises:
        StoreError: the url names no known kind of store, or the store cannot be opened.
    """
    scheme, _, place = url.partition(":")
    if scheme == "ladybug" and place:
        from kgrec.store.ladybug import LadybugStore

        return LadybugStore(Path(place), mode)
    if scheme in NEO4J_SCHEMES:
        raise StoreError(f"{url}: Neo4j is not supported yet, it comes with the next release; expected ladybug:PATH")
    raise StoreError(f"{url!r} names no store; expected ladybug:PATH, such as ladybug:catalogue.db")


__all__ = [
    "Counts",
    "GraphPath",
    "GraphStore",
    "LoadReport",
    "NodeRef",
    "OnRows",
    "Step",
    "StoreError",
    "load_staged",
    "open_store",
    "read_tables",
]
