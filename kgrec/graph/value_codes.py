"""How the values of an attribute become codes: bins, categories, seasons and cells, so that near values share codes.

A number has the code of its bin and of the two pairs of neighbouring bins that hold it; a category, a boolean and each
entry of a list have their own; a time also has a season; a point has the cells of three shifted grids, so that near
points share a cell of one at least. A missing value has a code of its own.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from graph_schema.schema_types import AttributeType

MISSING, _YES = "missing", "yes"
_EMPTY_WORDS = frozenset(
    ["true", "false", "yes", "no", "t", "f", "y", "n", "?", "-", "unknown", "none", "null", "n/a", "other"]
)  # say nothing by themselves
_BINS = 10
_FEW_VALUES = 12  # distinct numbers that are bins of their own
_LEAST_WINDOWED = 4  # bins, for windows over two of them to say more than the bins
_FIRST_YEAR, _LAST_YEAR, _DECADES = 1000, 2100, 30  # years over a longer span have bins of ten years
_CELLS = 4  # to the middle half of the points
_GRIDS = 3  # each shifted by a third of a cell: two near points lie in different cells of at most one for each axis
_ONE_MONTH = 0.9  # share of times in one month; more are dates of which the year alone is known
_SEASONS = ("December to February", "March to May", "June to August", "September to November")
_YEAR = re.compile(r"year|jahr|ann[eé]e", re.IGNORECASE)
_THREE_DIGITS, _MOST_PLAIN = 100, 1e15  # numbers between them have no decimals in a label
_CHEAP, _DEAR = 0.3, 0.7  # of the bins of a price, from below
_PRICE = re.compile(r"price|preis|(?<![a-z])(?:cost|fee)s?(?![a-z])", re.IGNORECASE)
Kind = Literal["category", "flag", "number", "time", "point"]


@dataclass(frozen=True)
class ValueCodes:
    """How the values of one attribute become nodes.

    Attributes:
        kind: what the values are.
        cuts: ascending numbers between two bins.
        labels: a name for each bin.
        seasons: whether times have a season.
        cell: the width of a cell of points.
    """

    kind: Kind
    cuts: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    seasons: bool = False
    cell: float = 1.0

    def encode(self, column: pa.ChunkedArray | pa.Array) -> tuple[NDArray[np.int64], list[str]]:
        """The rows and the value nodes' ids of all links of a column; a row may have several.

        Args:
            column: (n,) values of the attribute's Arrow type.
        """
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()
        if self.kind in ("category", "flag"):
            return _encode_categories(column)
        if self.kind == "point":
            return self._encode_points(column)
        numbers = _to_numbers(column)
        known = np.flatnonzero(np.isfinite(numbers))
        bins = np.searchsorted(self.cuts, numbers[known], side="right")
        rows, ids = [known], [str(place) for place in bins.tolist()]
        if len(self.labels) >= _LEAST_WINDOWED:
            for shift in (-1, 0):
                first = bins + shift
                inside = (first >= 0) & (first < len(self.labels) - 1)
                rows.append(known[inside])
                ids += [f"{place}-{place + 1}" for place in first[inside].tolist()]
        if self.seasons:
            rows.append(known)
            ids += [f"season {season}" for season in _find_seasons(numbers[known]).tolist()]
        missing = np.flatnonzero(~np.isfinite(numbers))
        return np.concatenate([*rows, missing]), [*ids, *[MISSING] * len(missing)]

    def name(self, id_: str, attribute: str) -> str | None:
        """The name of a value of an attribute; None: reasons do not name it, as a missing value or a window of bins."""
        words = attribute.replace("_", " ")
        if id_ == MISSING:
            return None
        if self.kind == "category":
            return None if id_.casefold() in _EMPTY_WORDS else id_
        if self.kind == "flag":
            return words if id_ == _YES else None
        if self.kind == "point":
            return f"{words} around {self._name_cell(id_)}" if id_.startswith("0:") else None
        if id_.startswith("season "):
            return f"{words} from {_SEASONS[int(id_.removeprefix('season '))]}"
        return self._name_bin(id_, attribute, words) if id_.isdigit() else None

    def _name_bin(self, id_: str, attribute: str, words: str) -> str:
        place, label = int(id_), self.labels[int(id_)]
        if _PRICE.search(attribute) and len(self.labels) >= _LEAST_WINDOWED:
            share = (place + 0.5) / len(self.labels)
            words = f"cheap, {words}" if share < _CHEAP else f"expensive, {words}" if share > _DEAR else words
        return f"from the {label}" if label.endswith("0s") else f"{words} {label}"

    def _encode_points(self, column: pa.Array) -> tuple[NDArray[np.int64], list[str]]:
        points, known = _to_points(column)
        rows, ids = [], list[str]()
        for grid in range(_GRIDS):
            cells = np.floor(points / self.cell + grid / _GRIDS)
            ids += [f"{grid}:{first:.0f}:{second:.0f}" for first, second in cells.tolist()]
            rows.append(known)
        missing = np.setdiff1d(np.arange(len(column)), known)
        return np.concatenate([*rows, missing]), [*ids, *[MISSING] * len(missing)]

    def _name_cell(self, id_: str) -> str:
        """The middle of a cell of the first grid, to a tenth of its width."""
        digits = max(1 - int(np.floor(np.log10(self.cell))), 0)
        return ", ".join(f"{(float(place) + 0.5) * self.cell:.{digits}f}" for place in id_.split(":")[1:])


def fit_codes(name: str, kind: AttributeType, column: pa.Array) -> ValueCodes:
    """Chooses the codes of an attribute by its type, its name and its values: bins from quantiles, years as decades.

    Args:
        name: the attribute's.
        kind: its type.
        column: (n,) its values.
    """
    if kind in ("string", "list", "bool"):
        return ValueCodes("flag" if kind == "bool" else "category")
    if kind == "point":
        points, _ = _to_points(column)
        spread = np.subtract(*np.quantile(points, [0.75, 0.25], axis=0)).max() if len(points) else 0.0
        return ValueCodes("point", cell=float(spread) / _CELLS or 1.0)
    numbers = _to_numbers(column)
    numbers = numbers[np.isfinite(numbers)]
    if kind == "time":
        cuts, _ = _cut(numbers)
        months = np.bincount(_find_months(numbers), minlength=12)
        seasons = bool(months.sum()) and float(months.max()) < _ONE_MONTH * float(months.sum())
        return ValueCodes("time", cuts, _label_times(numbers, cuts), seasons)
    years = kind == "int" and _YEAR.search(name) and len(numbers)
    if years and numbers.min() >= _FIRST_YEAR and numbers.max() <= _LAST_YEAR and np.ptp(numbers) > _DECADES:
        # Years far from most, such as 1000 for "unknown", would make many empty bins.
        low, high = (int(np.quantile(numbers, share)) // 10 * 10 for share in (0.01, 1))
        decades = range(low, high + 10, 10)
        return ValueCodes("number", tuple(map(float, decades[1:])), tuple(f"{decade}s" for decade in decades))
    return ValueCodes("number", *_cut(numbers))


def _cut(numbers: NDArray[np.float64]) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Cuts between bins of about as many numbers each, and a label for each bin."""
    values = np.unique(numbers)
    if len(values) <= _FEW_VALUES:
        cuts = (values[1:] + values[:-1]) / 2
    else:
        quantiles = np.quantile(numbers, np.arange(1, _BINS) / _BINS)
        heavy = quantiles[1:][np.diff(quantiles) == 0]  # values that fill more than a bin, such as 0: bins of their own
        below = np.concatenate([np.searchsorted(values, quantiles), np.searchsorted(values, heavy, side="right")])
        below = np.unique(below[(below > 0) & (below < len(values))])  # a cut lies between two values
        cuts = (values[below - 1] + values[below]) / 2
    bins = np.searchsorted(cuts, values, side="right")
    labels = []
    for place in range(len(cuts) + 1):
        inside = values[bins == place]
        low, high = (_format_number(number) for number in (inside[0], inside[-1])) if len(inside) else ("", "")
        labels.append(low if low == high else f"{low} to {high}")
    return tuple(cuts.tolist()), tuple(labels)


def _format_number(number: float) -> str:
    is_plain = number == int(number) or abs(number) >= _THREE_DIGITS
    return f"{number:.0f}" if is_plain and abs(number) < _MOST_PLAIN else f"{number:.3g}"


def _to_numbers(column: pa.Array) -> NDArray[np.float64]:
    """(n,) NaN for a missing number; large integers lose their last digits."""
    found: NDArray[np.float64] = column.cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy(zero_copy_only=False)
    return found


def _label_times(times: NDArray[np.float64], cuts: Sequence[float]) -> tuple[str, ...]:
    bins, labels = np.searchsorted(cuts, times, side="right"), []
    for place in range(len(cuts) + 1):
        inside = times[bins == place]
        if not len(inside):  # no time at all
            labels.append("")
            continue
        months = [str(np.datetime64(int(one), "s").astype("datetime64[M]")) for one in (inside.min(), inside.max())]
        labels.append(months[0] if months[0] == months[1] else f"{months[0]} to {months[1]}")
    return tuple(labels)


def _find_months(times: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) 0 to 11."""
    found: NDArray[np.int64] = times.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64) % 12
    return found


def _find_seasons(times: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) 0 to 3, 0 from December."""
    return (_find_months(times) + 1) % 12 // 3


def _to_points(column: pa.Array) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The points that are there, (n_known, 2), and their rows."""
    known = np.flatnonzero(pc.equal(pc.list_value_length(column), 2).fill_null(False).to_numpy(zero_copy_only=False))
    points = column.take(pa.array(known)).flatten().to_numpy(zero_copy_only=False).astype(np.float64).reshape(-1, 2)
    finite = np.isfinite(points).all(axis=1)
    return points[finite], known[finite]


def _encode_categories(column: pa.Array) -> tuple[NDArray[np.int64], list[str]]:
    if pa.types.is_list(column.type):
        rows, values = pc.list_parent_indices(column), pc.list_flatten(column)
    else:
        rows, values = pa.array(np.arange(len(column))), column
    if pa.types.is_boolean(values.type):
        values = pc.if_else(values, _YES, "no")
    values = pc.utf8_trim_whitespace(values.cast(pa.string()))
    there = pc.fill_null(pc.not_equal(values, ""), False)
    owners = rows.filter(there).to_numpy().astype(np.int64)
    missing = np.setdiff1d(np.arange(len(column)), owners)
    return np.concatenate([owners, missing]), [*values.filter(there).to_pylist(), *[MISSING] * len(missing)]
