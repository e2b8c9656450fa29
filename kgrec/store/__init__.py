"""Graph databases that hold a catalogue, behind one contract: `open_store`, `load_staged`, `read_tables`."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from graph_schema import CatalogueSchema
from kgrec.errors import StoreError
from kgrec.store.contract import WAIT_S, Counts, GraphStore, NodeRef, OnRows
from kgrec.store.load import LoadReport, load_staged, read_tables

NEO4J_SCHEMES = ("neo4j", "neo4j+s", "neo4j+ssc", "bolt", "bolt+s", "bolt+ssc")


def open_store(
    url: str,
    *,
    mode: Literal["read", "write"] = "read",
    schema: CatalogueSchema | Path | str | None = None,
    wait_s: float = WAIT_S,
    on_wait: Callable[[str], None] | None = None,
    on_empty: Callable[[str], None] | None = None,
) -> GraphStore:
    """Opens a store.

    Args:
        url: `ladybug:PATH`, a database in one file; PATH may be relative. Or `neo4j://HOST[:PORT][/DATABASE]`, a
            database of a Neo4j server (also neo4j+s, neo4j+ssc, bolt, bolt+s, bolt+ssc); user name and password come
            from NEO4J_USERNAME and NEO4J_PASSWORD, or a file with both that NEO4J_CREDENTIALS_FILE names.
        mode: "read", or "write" to change it too; a writer has the store to itself.
        schema: the schema that it must have, or the path of its TOML file; None: any. For Neo4j also the schema of a
            graph that kgrec did not load: `read_tables` reads it as it is. Derived types are no part of a store.
        wait_s: how long to wait for a server that does not answer yet.
        on_wait: called with a sentence about what it waits for.
        on_empty: called with a sentence about each edge type that a graph that kgrec did not load has no edges of, such
            as one whose edges were all deleted; None: that is an error, as for a name that is misspelt.

    Raises:
        StoreError: the url names no known kind of store, the store cannot be opened, or has another schema.
        CatalogueError: the file of the schema does not describe a catalogue.
    """
    if isinstance(schema, str | Path):
        schema = CatalogueSchema.from_toml(Path(schema))
    schema = None if schema is None else schema.declared
    scheme, _, place = url.partition(":")
    if scheme == "ladybug" and place:
        from kgrec.store.ladybug import LadybugStore

        return LadybugStore(Path(place), mode, schema=schema)
    if scheme in NEO4J_SCHEMES and place:
        from kgrec.store.neo4j.store import Neo4jStore

        return Neo4jStore(url, mode, schema=schema, wait_s=wait_s, on_wait=on_wait, on_empty=on_empty)
    raise StoreError(
        f"{url!r} is not a store; expected ladybug:PATH, such as ladybug:catalogue.db, or a Neo4j server, "
        "neo4j://HOST[:PORT][/DATABASE] or bolt://HOST[:PORT][/DATABASE]"
    )


__all__ = [
    "Counts",
    "GraphStore",
    "LoadReport",
    "NodeRef",
    "OnRows",
    "StoreError",
    "load_staged",
    "open_store",
    "read_tables",
]
