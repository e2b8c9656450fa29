"""Writes results to the terminal or a file, in the chosen format."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgrec.cli.options import Format
from kgrec.terminal import say, to_rich_table

if TYPE_CHECKING:
    import pyarrow as pa

    from kgrec.recommend import Recommendations


def choose_format(format_: Format | None, out: Path | None) -> Format:
    """Chooses the format: the one given, or by the ending of the file, or a table."""
    from kgrec.errors import RequestError

    if format_ is None and out is not None:
        ending = out.suffix.removeprefix(".")
        if ending not in set(Format) - {Format.TABLE}:
            raise RequestError(
                f"the ending of {out} is no format; expected .json, .jsonl, .csv or .parquet, or --format"
            )
        format_ = Format(ending)
    if format_ == Format.PARQUET and out is None:
        raise RequestError("Parquet cannot be printed; expected --out FILE")
    return format_ or Format.TABLE


def write_table(table: "pa.Table", format_: Format | None, out: Path | None, title: str) -> None:
    """Writes a table to a file or to the terminal."""
    chosen = choose_format(format_, out)
    if chosen not in (Format.CSV, Format.PARQUET):
        _write_rows(table.column_names, table.to_pylist(), chosen, out, title)
        return
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
    if chosen == Format.PARQUET:
        import pyarrow.parquet as pq

        pq.write_table(table, out)
        return
    import pyarrow.csv as pa_csv

    with out.open("wb") if out is not None else open(sys.stdout.fileno(), "wb", closefd=False) as file:
        pa_csv.write_csv(table, file)


def write_answer(
    answer: "Recommendations", format_: Format | None, out: Path | None, title: str, keep: Sequence[str] = ()
) -> None:
    """Writes recommendations, with the columns `keep` of reasons and pitches, and prints their notes to stderr."""
    for note in answer.notes:
        say(note)
    columns = ["item", "rank", "score", "title", *keep]
    chosen = choose_format(format_, out)
    if chosen in (Format.CSV, Format.PARQUET):
        table = answer.to_table()  # an answer without items has no pitches
        kept = [column for column in columns if column in table.column_names]
        write_table(table.select(kept), format_, out, title)
        return
    # not by `to_table`: to make an Arrow array, pyarrow imports pandas, which takes as long as the answer itself
    rows = [{column: getattr(found, column) for column in columns} for found in answer]
    _write_rows(columns, rows, chosen, out, title)


def _write_rows(
    columns: Sequence[str], rows: Sequence[Mapping[str, Any]], chosen: Format, out: Path | None, title: str
) -> None:
    if chosen == Format.TABLE:
        text = _to_text(columns, rows, title, None if out is None else 120)
    elif chosen == Format.JSON:
        text = json.dumps(rows, ensure_ascii=False, indent=1) + "\n"
    else:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if out is None:
        sys.stdout.write(text)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")


def _to_text(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], title: str, width: int | None) -> str:
    from rich.console import Console

    console = Console(highlight=False, width=width)
    with console.capture() as captured:
        console.print(to_rich_table(title, columns, [tuple(row.values()) for row in rows]))
    return captured.get()
