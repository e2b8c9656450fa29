"""The columns of DataFrames and pyarrow tables that Python users pass in, as Arrow arrays."""

import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from graph_schema.base_errors import CatalogueError

if TYPE_CHECKING:
    import pandas as pd


def read_columns(name: str, frame: Any) -> dict[str, pa.Array]:
    """Reads the columns of a DataFrame, its named index levels included, or of a pyarrow table.

    A column with values of several types becomes text.

    Args:
        name: what the frame is called in errors.
        frame: a pandas DataFrame or a pyarrow table.

    Raises:
        CatalogueError: it is neither, or a column is there twice.
    """
    if isinstance(frame, pa.Table):
        columns = [(str(column), frame.column(place)) for place, column in enumerate(frame.column_names)]
    else:
        import pandas as pd

        if not isinstance(frame, pd.DataFrame):
            raise CatalogueError(
                f"{name} is of type {type(frame).__name__}; expected a pandas DataFrame or a pyarrow table"
            )
        index = [level for level in frame.index.names if level is not None and level not in frame.columns]
        if index:  # ids are often the index
            frame = frame.reset_index(level=index)
        columns = [(str(column), _to_arrow(frame.iloc[:, place])) for place, column in enumerate(frame.columns)]
    names = [column for column, _ in columns]
    twice = sorted({column for column in names if names.count(column) > 1})
    if twice:
        raise CatalogueError(f"{name} has the column {twice[0]!r} twice; expected each once: rename or drop one")
    return {
        column: values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values for column, values in columns
    }


def to_schema_name(text: str) -> str:
    """The text as a name that a schema can hold."""
    name = re.sub(r"[^\w .-]+", "_", text).strip()
    return name if re.match(r"[^\W\d_]", name) else f"x_{name}"


def _to_arrow(values: "pd.Series") -> pa.Array:
    try:
        return pa.Array.from_pandas(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):  # objects of several types
        return pa.array([None if _is_missing(value) else _to_word(value) for value in values], pa.string())


def _is_missing(value: object) -> bool:
    return value is None or (not isinstance(value, str) and value != value) or str(value) in ("<NA>", "NaT")  # noqa: PLR0124


def _to_word(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
