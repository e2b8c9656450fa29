"""The preview command."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kgrec.cli.app import app
from kgrec.cli.options import STORE_HELP, WAIT_S, Encoding, Wait
from kgrec.terminal import open_console, say

if TYPE_CHECKING:
    from graph_schema import CatalogueSchema
    from kgrec.preview import FirstRows


@app.command()
def preview(
    place: Annotated[str, typer.Argument(metavar="STORE|DIR", help=f"{STORE_HELP}; or a folder of files.")],
    schema: Annotated[
        Path | None,
        typer.Option("--schema", metavar="FILE.toml", help="The schema; a store that kgrec loaded has its own."),
    ] = None,
    encoding: Encoding = None,
    wait: Wait = WAIT_S,
) -> None:
    """Shows some users with their likes and some items as the model reads them.

    What is wrong in a schema shows here, before anything is loaded or trained. Of a large catalogue only the first rows
    of each table are read.
    """
    from graph_schema import CatalogueSchema
    from kgrec.preview import make_preview, read_first
    from kgrec.preview.panels import print_preview
    from kgrec.store import open_store

    given = None if schema is None else CatalogueSchema.from_toml(schema)
    if Path(place).is_dir():
        first = _read_folder(Path(place), given, encoding)
    else:
        with open_store(place, mode="read", schema=given, wait_s=wait, on_wait=say) as store:
            first = read_first(store)
    print_preview(open_console(), make_preview(first.tables), first.cut, first.notes)


def _read_folder(folder: Path, schema: "CatalogueSchema | None", encoding: str | None) -> "FirstRows":
    from graph_schema import CatalogueSchema
    from kgrec import cache_dir
    from kgrec.errors import RequestError
    from kgrec.preview import stage_first
    from loaders import open_source
    from loaders.known_layouts import find_layout

    found = find_layout(folder)
    if schema is None and found is None:
        raise RequestError(
            f"the preview of a folder needs --schema FILE.toml; draft one: kgrec inspect {folder} --out FILE.toml"
        )
    source = "tabular" if found is None else found.source
    if schema is None and found is not None and source == "tabular":
        schema = CatalogueSchema.from_toml(found.schema_file)
    if source != "tabular":
        schema = None  # a named loader has its own
    return stage_first(open_source(source, path=folder, schema=schema, cache_dir=cache_dir(), encoding=encoding))
