"""How results are written: to the terminal or a file, in the format that was asked for."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kgrec.cli.options import Format
from kgrec.cli.terminal import say, to_rich_table

if TYPE_CHECKING:
    import pyarrow as pa

    from kgrec.recommend import Recommendations


def choose_format(format_: Format | None, out: Path | None) -> Format:
    """The format that was asked for, or that a file's ending says, or a table."""
    from kgrec.errors import RequestError

    if format_ is None and out is not None:
        ending = out.suffix.removeprefix(".")
        if ending not in set(Format) - {Format.TABLE}:
            raise RequestError(
                f"cannot tell a format from {out}: expected .json, .jsonl, .csv or .parquet, or --format"
            )
        format_ = Format(ending)
    if format_ == Format.PARQUET and out is None:
        raise RequestError("Parquet is no text: give --out FILE")
    return format_ or Format.TABLE


def write_table(table: "pa.Table", format_: Format | None, out: Path | None, title: str) -> None:
    """Writes rows to a file or to the terminal."""
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    chosen = choose_format(format_, out)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
    if chosen == Format.PARQUET:
        pq.write_table(table, out)
        return
    if chosen == Format.CSV:
        with out.open("wb") if out is not None else open(sys.stdout.fileno(), "wb", closefd=False) as file:
            pa_csv.write_csv(table, file)
        return
    if chosen == Format.TABLE:
        text = _to_text(table, title, None if out is None else 120)
    elif chosen == Format.JSON:
        text = json.dumps(table.to_pylist(), ensure_ascii=False, indent=1) + "\n"
    else:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist())
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text, encoding="utf-8")


def write_answer(
    answer: "Recommendations", format_: Format | None, out: Path | None, title: str, *, keep: bool = False
) -> None:
    """Writes recommendations, with their reasons where `keep` says so, and tells what is to know about them."""
    for note in answer.notes:
        say(note)
    table = answer.to_table()
    write_table(table if keep else table.drop_columns(["reason"]), format_, out, title)


def _to_text(table: "pa.Table", title: str, width: int | None) -> str:
    from rich.console import Console

    rows = [tuple(row.values()) for row in table.to_pylist()]
    console = Console(highlight=False, width=width)
    with console.capture() as captured:
        console.print(to_rich_table(title, table.column_names, rows))
    return captured.get()
