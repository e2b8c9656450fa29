"""The arguments of `kgrec.train`: reads tables or DataFrames, and shows progress."""

import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING

from graph_schema import SOURCE, TARGET, CatalogueSchema, GraphTables
from graph_schema.checks.rejects import open_reject_log
from graph_schema.frames.frame_tables import build_frame_tables
from kgrec.errors import CatalogueError, RequestError
from kgrec.terminal import count_of, make_total_counter, open_console, show_progress, show_stages
from kgrec.text.encoder import OnTexts

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

OnStage = Callable[[str], None]


def read_catalogue(
    tables: "GraphTables | pd.DataFrame | pa.Table | None",
    schema: CatalogueSchema | None,
    interactions: "pd.DataFrame | pa.Table | None",
    items: "pd.DataFrame | pa.Table | None",
    links: "pd.DataFrame | pa.Table | None",
    users: "pd.DataFrame | pa.Table | None",
    user_links: "pd.DataFrame | pa.Table | None",
    features: Collection[str],
    positive: float | None,
    rejects: Path | str | None,
    *,
    private: bool = False,
) -> GraphTables:
    """Reads the catalogue from the arguments of `kgrec.train`; see there.

    With `private`, an item that interactions alone name is an error: that it is there gives a user away.
    """
    if positive is not None and (not isinstance(positive, Real) or isinstance(positive, bool)):
        raise RequestError(f"expected positive as a number, the least rating of a like, got {positive!r}")
    if isinstance(features, str):
        raise RequestError(f"expected features as a list of names of columns, got {features!r}")
    if tables is not None and interactions is not None:
        raise RequestError("got interactions twice, by position and by name; expected them once")
    if isinstance(tables, GraphTables):
        frames = {"items": items, "links": links, "users": users, "user_links": user_links}
        frames |= {"features": features or None, "positive": positive, "rejects": rejects}
        given = [name for name, value in frames.items() if value is not None]
        if given:
            raise RequestError(
                f"{', '.join(given)} cannot be combined with GraphTables, whose schema has all of it; "
                "expected GraphTables alone, or DataFrames"
            )
        if schema is not None and schema.digest != tables.schema.digest:
            raise CatalogueError(f"the tables have the schema {tables.schema.name!r}, expected {schema.name!r}")
        return tables
    found = interactions if tables is None else tables
    if found is None:
        raise RequestError("got no interactions; expected GraphTables, or a DataFrame with the columns user and item")
    if schema is not None:
        raise RequestError("got a schema with DataFrames; their columns are the schema: leave it out")
    if private and items is None:
        raise RequestError(
            "got no items; a private training needs items=, a DataFrame with the column item: a list of items that "
            "comes from the interactions would tell of the users"
        )
    with open_reject_log(None if rejects is None else Path(rejects)) as log:
        built = build_frame_tables(
            found, items, links, users, user_links, features=features, positive=positive, log=log
        )
    if private and items is not None:
        _check_public_items(built, {str(id_) for id_ in items["item"].to_numpy().tolist()})
    if log.counts:
        counts = {"left out": log.n_rejects, "read without a bad value": log.n_incomplete}
        found_bad = " and ".join(f"{count_of(n, 'row')} {what}" for what, n in counts.items() if n)
        where = f"all of them are in {rejects}" if rejects is not None else "rejects=FILE writes them all to a CSV file"
        warnings.warn(f"{found_bad}: {log.describe()}; {where}", stacklevel=3)
    return built


def _check_public_items(tables: GraphTables, listed: set[str]) -> None:
    """Raises a RequestError where an item is neither listed nor linked to: interactions alone name it."""
    schema, public = tables.schema, set(listed)
    for name, edge in schema.graph_edges.items():
        if schema.user_type in (edge.source, edge.target):
            continue
        for end, node_type in ((SOURCE, edge.source), (TARGET, edge.target)):
            if node_type == schema.item_type:
                public.update(tables.edges[name][end].to_pylist())
    unlisted = sorted(set(tables.ids(schema.item_type).to_pylist()) - public)
    if unlisted:
        raise RequestError(
            f"{count_of(len(unlisted), 'item')} of the interactions, {unlisted[0]!r} first, not found in items=; which "
            "items there are must not come from the users of a private training: list all of them in items="
        )


@contextmanager
def show_training(
    progress: bool | None, on_stage: OnStage | None, on_texts: OnTexts | None
) -> Iterator[tuple[OnStage | None, OnTexts | None]]:
    """Shows the progress of a training in the terminal or the notebook, and calls the caller's callbacks too.

    Args:
        progress: whether to show it; None: only in a terminal or a notebook.
        on_stage: the caller's callback for stages.
        on_texts: the caller's callback for texts.

    Yields:
        The callbacks to use instead of these two.
    """
    console = open_console(stderr=True)
    if progress is None:
        progress = console.is_terminal or console.is_jupyter
    if not progress:
        yield on_stage, on_texts
        return
    with show_progress(console) as shown:
        draw_stage, draw_texts = show_stages(shown), make_total_counter(shown, "encoding texts")

        def show_stage(stage: str) -> None:
            draw_stage(stage)
            if on_stage is not None:
                on_stage(stage)

        def show_texts(done: int, total: int) -> None:
            draw_texts(done, total)
            if on_texts is not None:
                on_texts(done, total)

        yield show_stage, show_texts
