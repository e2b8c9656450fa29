"""Validates the catalogue of a store: bad rows are read too, and reported."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from graph_schema import CatalogueSchema
from graph_schema.checks.reject_file import RejectedRows, read_reject_file
from graph_schema.checks.rejects import open_reject_log
from graph_schema.checks.staging import stage_tables
from kgrec.store import GraphStore, OnRows, read_tables
from kgrec.validate.checks import validate_tables
from kgrec.validate.findings import Validation
from kgrec.validate.queries import QueryDialect

if TYPE_CHECKING:
    from kgrec.store.neo4j.store import Neo4jStore


def validate_store(
    store: GraphStore,
    *,
    now: int,
    rejects: Path | None = None,
    load_rejects: Path | None = None,
    on_rows: OnRows | None = None,
) -> Validation:
    """Looks for what would hurt recommendations in a store's catalogue.

    Every row of a Neo4j database is checked, even if kgrec wrote it: others may have changed it since it was loaded.

    Args:
        store: the catalogue; nothing is written to it.
        now: UTC seconds; later times are in the future.
        rejects: CSV file for the rows that cannot be used; None writes none.
        load_rejects: the reject file of the last load; passed over if it is not there, or kgrec loaded nothing.
        on_rows: called with a type's name and how many of its rows were just read.

    Raises:
        StoreError: the store holds no catalogue, is half-written, or fails.
        CatalogueError: no interaction is left, or a column is of a type that can never be read as declared.
    """
    schema = store.read_schema()
    at_load = None if load_rejects is None or not load_rejects.is_file() else read_reject_file(load_rejects)
    if not store.url.startswith("ladybug:"):
        from kgrec.store.neo4j.store import Neo4jStore

        if isinstance(store, Neo4jStore):
            return _validate_neo4j(store, schema, now, rejects, at_load, on_rows)
    # tables and types of the embedded store are fixed, and kgrec alone writes it
    return validate_tables(read_tables(store, on_rows), QueryDialect.of_ladybug(schema), now=now, at_load=at_load)


def _validate_neo4j(
    store: "Neo4jStore",
    schema: CatalogueSchema,
    now: int,
    rejects: Path | None,
    at_load: Mapping[str, RejectedRows] | None,
    on_rows: OnRows | None,
) -> Validation:
    from kgrec.store.neo4j.foreign import ForeignGraph

    is_foreign = store.foreign_rows() is not None
    store.counts()  # refuses a store that is half-written
    if not is_foreign:  # what kgrec loaded is gathered already
        chosen = schema.interaction.model_copy(update={"repeats": "latest"})
        schema = schema.model_copy(update={"interaction": chosen})
    with tempfile.TemporaryDirectory(prefix="kgrec-") as folder, open_reject_log(rejects) as log:
        rows = ForeignGraph(store.connection, schema)
        tables = stage_tables(rows, Path(folder), rejects=log, max_rejects=1.0, on_rows=on_rows).to_tables()
    dialect = QueryDialect.of_neo4j(schema, is_foreign=is_foreign or bool(log.counts))
    return validate_tables(tables, dialect, now=now, rejects=log, at_load=None if is_foreign else at_load)
