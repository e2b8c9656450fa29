"""Reads a reject file back: what a load left out, by table."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pv

from graph_schema.base_errors import CatalogueError
from graph_schema.checks.rejects import COLUMNS, KEPT_ROW, MOST_EXAMPLES

_BLOCK_BYTES = 16 << 20


@dataclass
class RejectedRows:
    """What a load left out of one table.

    Attributes:
        n_rejects: rows that were left out.
        n_incomplete: rows that were kept without some of their values.
        reasons: reason -> how often it was given.
        examples: the first rows, as they were read, in JSON.
    """

    n_rejects: int = 0
    n_incomplete: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)


def read_reject_file(path: Path) -> Mapping[str, RejectedRows]:
    """Reads a reject file.

    Args:
        path: CSV, as `open_reject_log` writes it.

    Returns:
        Node type or edge type -> what was left out of it.

    Raises:
        CatalogueError: the file cannot be read, or is none.
    """
    found: dict[str, RejectedRows] = {}
    incomplete: dict[str, set[tuple[str, str]]] = {}
    try:
        with pv.open_csv(
            path,
            read_options=pv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False),
            parse_options=pv.ParseOptions(newlines_in_values=True),
            convert_options=pv.ConvertOptions(column_types=dict.fromkeys(COLUMNS, pa.string())),
        ) as reader:
            for batch in reader:
                for file, row, table, reason, content in zip(
                    *(batch[name].to_pylist() for name in COLUMNS), strict=True
                ):
                    rows = found.setdefault(table, RejectedRows())
                    rows.reasons[reason] += 1
                    if len(rows.examples) < MOST_EXAMPLES:
                        rows.examples.append(content)
                    if reason.endswith(KEPT_ROW):
                        incomplete.setdefault(table, set()).add((file, row))
                    else:
                        rows.n_rejects += 1
    except (OSError, KeyError, pa.ArrowInvalid) as error:
        raise CatalogueError(
            f"cannot read the reject file {path}: {error}; expected the columns {', '.join(COLUMNS)}"
        ) from error
    for table, places in incomplete.items():
        found[table].n_incomplete = len(places)
    return found
