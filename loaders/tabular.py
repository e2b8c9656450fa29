"""Your own catalogue: a folder of CSV or Parquet files, and a schema for them.

A table is named after its node type or edge type: rated.csv, rated.tsv, rated.csv.gz, rated.tsv.gz or rated.parquet, or
in parts: rated.1.csv, rated-2024.csv, or any of these formats in a folder rated/. CSV files have a header; the
delimiter is found among , ; tab and |; quoted fields (") may hold line breaks. All values are read as text, so that ids
do not change. Files are read in blocks and may be larger than memory.
"""

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq

from graph_schema import CatalogueError, CatalogueSchema, EdgeType
from graph_schema.column_names import rename_ends
from graph_schema.sources import BrokenRow, RawBatch

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")
DELIMITERS = (",", ";", "\t", "|")
BLOCK_BYTES = 16 << 20  # also the longest row that can be read
BATCH_ROWS = 262_144
_BOMS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8"}


def open_source(
    path: Path | None, schema: CatalogueSchema | None, cache_dir: Path, encoding: str | None = None
) -> "TabularSource":
    """Opens a folder of tables.

    Args:
        path: the folder.
        schema: the schema of the tables.
        cache_dir: not used.
        encoding: of CSV files; None for UTF-8, or UTF-16 with a byte order mark.

    Raises:
        CatalogueError: the folder or the schema is missing, or a type has no file.
    """
    if path is None or schema is None:
        missing = " and ".join(
            option for option, value in (("--path DIR", path), ("--schema FILE.toml", schema)) if not value
        )
        raise CatalogueError(f"the source 'tabular' needs {missing}: a folder of CSV or Parquet files and their schema")
    if not path.is_dir():
        raise CatalogueError(f"no folder {path}; expected one with a CSV or Parquet file per node type and edge type")
    shared = sorted(set(schema.nodes) & set(schema.edges))
    if shared:
        raise CatalogueError(
            f"node and edge types share the names {', '.join(shared)}, so their files would too: rename one"
        )
    files = find_files(path, [*schema.nodes, *schema.edges])
    needed = [*(name for name, node in schema.nodes.items() if not node.from_edges), *schema.edges]
    absent = [name for name in needed if not files[name]]
    if absent:
        found = sorted(entry.name for entry in path.iterdir() if entry.is_dir() or entry.name.endswith(SUFFIXES))
        raise CatalogueError(
            f"{path} has no table for {', '.join(absent)}; expected {absent[0]}.csv or {absent[0]}.parquet; "
            f"found {', '.join(found[:20]) or 'no tables'}"
        )
    return TabularSource(schema, files, encoding)


@dataclass(frozen=True)
class TabularSource:
    """The rows of CSV and Parquet files.

    Attributes:
        schema: their schema.
        files: node type or edge type -> its files, in the order in which they are read.
        encoding: of CSV files; None for UTF-8, or UTF-16 with a byte order mark.
    """

    schema: CatalogueSchema
    files: dict[str, list[Path]]
    encoding: str | None = None

    def read_nodes(self, node_type: str) -> Iterator[RawBatch]:
        """The raw rows of a node type."""
        return self._read(node_type)

    def read_edges(self, edge_type: str) -> Iterator[RawBatch]:
        """The raw rows of an edge type."""
        return self._read(edge_type)

    def _read(self, name: str) -> Iterator[RawBatch]:
        declared = self.schema.edges[name] if name in self.schema.edges else self.schema.nodes[name]

        def count_known(names: list[str]) -> int:
            known = rename_ends(self.schema, declared, names) if isinstance(declared, EdgeType) else names
            return len(set(known) & set(declared.columns))

        for file in self.files[name]:
            yield from read_file(file, self.encoding, count_known, f"the columns {', '.join(declared.columns)}")


def read_file(
    file: Path, encoding: str | None, count_known: Callable[[list[str]], int], expected: str
) -> Iterator[RawBatch]:
    """Reads all columns of a CSV or Parquet file, in blocks.

    Args:
        file: the file; its suffix tells whether it is CSV (possibly compressed) or Parquet.
        encoding: of CSV files; None for UTF-8, or UTF-16 with a byte order mark.
        count_known: counts the known names in a header; the delimiter with the highest count wins.
        expected: the expected content of a header, for the error if no delimiter gives a known name.

    Raises:
        CatalogueError: the file cannot be read.
    """
    try:
        if file.name.endswith(".parquet"):
            yield from _read_parquet(file)
        else:
            yield from _read_csv(file, encoding, count_known, expected)
    except (OSError, EOFError) as error:
        raise CatalogueError(f"cannot read {file}: {error}; expected a readable file") from error
    except (UnicodeError, LookupError) as error:
        raise CatalogueError(f"cannot decode {file}: {error}; name its encoding, as in --encoding latin-1") from error
    except pa.ArrowInvalid as error:
        raise CatalogueError(f"cannot read {file}: {_explain(error)}") from error


def find_files(folder: Path, names: Sequence[str]) -> dict[str, list[Path]]:
    """The files of each name; a file such as rated-old.csv belongs to the longest name that fits."""
    files: dict[str, list[Path]] = {name: [] for name in names}
    for entry in folder.iterdir():
        suffix = find_suffix(entry.name)
        if entry.is_dir() and entry.name in files:
            files[entry.name] += [part for part in entry.iterdir() if part.name.endswith(SUFFIXES)]
        elif entry.is_file() and suffix is not None:
            stem = entry.name.removesuffix(suffix)
            fitting = [name for name in names if stem == name or stem.startswith((f"{name}.", f"{name}-"))]
            if fitting:
                files[max(fitting, key=len)].append(entry)
    return {name: sorted(found, key=number_order) for name, found in files.items()}


def find_suffix(name: str) -> str | None:
    """The suffix that makes a file a table; None: the file is not a table."""
    return next((suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if name.endswith(suffix)), None)


def number_order(file: Path) -> list[tuple[int, str]]:
    """Sorts part 2 before part 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", file.name)]


def _read_parquet(file: Path) -> Iterator[RawBatch]:
    with pq.ParquetFile(file) as opened:
        start = 0
        empty = pa.RecordBatch.from_pylist([], schema=opened.schema_arrow)
        yield RawBatch(empty, file.name, np.arange(0))  # so that the columns of an empty file are checked
        for batch in opened.iter_batches(BATCH_ROWS):
            yield RawBatch(batch, file.name, np.arange(start + 1, start + 1 + batch.num_rows))
            start += batch.num_rows


def _read_csv(
    file: Path, encoding: str | None, count_known: Callable[[list[str]], int], expected: str
) -> Iterator[RawBatch]:
    encoding = encoding or _detect_encoding(file)
    names, delimiter = _read_header(file, encoding, count_known, expected)
    broken: list[BrokenRow] = []
    unparsed: list[int] = []

    def note_broken(row: pv.InvalidRow) -> str:
        number = row.number - 1  # the header is row 1
        unparsed.append(number)
        reason = f"has {row.actual_columns} fields; expected {row.expected_columns}"
        # an unclosed quote swallows the lines after it: each is a lost row
        broken.extend(BrokenRow(number, reason, line) for line in row.text.split("\n"))
        return "skip"

    with pa.input_stream(str(file), compression="detect") as stream:
        reader = pv.open_csv(
            stream,
            read_options=pv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES, encoding=encoding),
            parse_options=pv.ParseOptions(
                delimiter=delimiter,
                newlines_in_values=True,
                ignore_empty_lines=False,  # otherwise the row numbers would skip them
                invalid_row_handler=note_broken,
            ),
            convert_options=pv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
            ),
        )
        start, taken = 1, 0
        for batch in reader:
            # parsed rows get the numbers between the broken rows; a block is parsed before it is yielded
            places = np.arange(start, start + batch.num_rows + len(unparsed) - taken)
            rows = places[~np.isin(places, unparsed[taken:])][: batch.num_rows]
            while len(rows) and taken < len(unparsed) and unparsed[taken] < rows[-1]:
                taken += 1
            start = int(rows[-1]) + 1 if len(rows) else start
            found, broken[:] = list(broken), []
            yield _drop_blank(RawBatch(batch, file.name, rows, found))
        if broken or start == 1:
            nothing = pa.RecordBatch.from_pylist([], schema=pa.schema([(column, pa.string()) for column in names]))
            yield RawBatch(nothing, file.name, np.arange(0), broken)


def _drop_blank(batch: RawBatch) -> RawBatch:
    """Drops rows without any value: blank lines, and the lines of delimiters that spreadsheets append."""
    blank = np.ones(batch.columns.num_rows, dtype=bool)
    for column in batch.columns.columns:
        if column.null_count == 0:
            return batch
        blank &= column.is_null().to_numpy(zero_copy_only=False)
    return RawBatch(batch.columns.filter(pa.array(~blank)), batch.file, batch.rows[~blank], batch.broken)


def _detect_encoding(file: Path) -> str:
    with pa.input_stream(str(file), compression="detect") as stream:
        start = stream.read(3)
    return next((encoding for mark, encoding in _BOMS.items() if start.startswith(mark)), "utf-8")


def _read_header(
    file: Path, encoding: str, count_known: Callable[[list[str]], int], expected: str
) -> tuple[list[str], str]:
    """The names of a CSV file's columns and its delimiter: the one that finds most of the known columns."""
    with pa.input_stream(str(file), compression="detect") as stream:
        start = stream.read(1 << 16)
    # the block may end inside a character
    text = start.decode(encoding, "strict" if len(start) < 1 << 16 else "ignore").removeprefix("\ufeff")
    lines = text.splitlines()
    if not lines or not lines[0].strip():
        raise CatalogueError(f"{file}: the first line is empty; expected a header with the names of its columns")
    best: tuple[int, list[str], str] = (0, [], "")
    for delimiter in DELIMITERS:
        names = next(csv.reader(lines[:1], delimiter=delimiter))
        n_known = count_known(names)
        if n_known > best[0]:
            best = n_known, names, delimiter
    if best[0] == 0:
        raise CatalogueError(f"{file}: expected a header with {expected} by one of , ; tab |; got {lines[0][:200]!r}")
    return best[1], best[2]


def _explain(error: pa.ArrowInvalid) -> str:
    text = str(error)
    if "invalid UTF8" in text:
        return f"it is not UTF-8 ({text}); name its encoding, as in --encoding latin-1"
    if "straddling" in text or "out of sync" in text:
        return f"a row is longer than {BLOCK_BYTES >> 20} MiB; expected a closing quote before that"
    return f"{text}; expected a complete CSV or Parquet file"
