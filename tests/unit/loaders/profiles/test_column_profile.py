"""The kinds of columns, from their types in Parquet files and from their texts."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graph_schema.schema_types import SourceTable
from loaders import read_profile
from loaders.profiles.table_columns import read_columns


def read_kind(column: pa.Array, folder: Path, block: int = 1 << 20) -> tuple[str | None, tuple[str, ...]]:
    """The kind and the samples of a column of a Parquet file."""
    pq.write_table(pa.table({"value": column}), folder / "t.parquet", row_group_size=block)
    profile = read_columns("t", [folder / "t.parquet"], SourceTable()).columns["value"].profile()
    assert sum(profile.kinds.values()) == len(column) - column.null_count
    return next(iter(profile.kinds), None), profile.samples


@pytest.mark.parametrize(
    ("column", "kind", "samples"),
    [
        (pa.array([["a", "b"], None, [" c", ""]]), "list", ("a | b", "c")),
        (pa.array([["a"]], pa.large_list(pa.large_string())), "list", ("a",)),
        (pa.array([["a"], ["b"]], pa.list_(pa.dictionary(pa.int32(), pa.string()), 1)), "list", ("a", "b")),
        (pa.array([[0.5, 1], [2, 3]]), "vector", ()),
        (pa.array([[1, 2]], pa.list_(pa.int64(), 2)), "vector", ()),
        (pa.array([{"lat": 1.0, "lon": 2.0}]), "point", ()),
        (pa.array([{"x": 1, "y": 2}]), "point", ()),
        (pa.array([{"a": 1, "x": 2}]), "other", ()),
        (pa.array([[["a"]]]), "other", ()),
        (pa.array([1], pa.duration("s")), "other", ()),
    ],
)
def test_lists_and_points_in_parquet_have_their_kind(
    tmp_path: Path, column: pa.Array, kind: str, samples: tuple[str, ...]
) -> None:
    assert read_kind(column, tmp_path) == (kind, samples)


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["$12.99", "$5"], "float"),
        (["12 kg", "3 kg"], "int"),
        (["1.299,50 €", "3 €"], "float"),
        (["$5.50"] * 19 + ["5 €"], "float"),  # a few in another currency, which a load reports
        (["$5", "5 €"], "string"),
        (["12 Angry Men", "7 Samurai", "8 Mile"], "string"),
        (["12 Monkeys", "7 Samurai", "8 Mile"], "string"),
        (["123X", "124X"], "string"),  # a code
        (["080 123 456"], "string"),
    ],
)
def test_texts_with_one_unit_are_numbers(tmp_path: Path, texts: list[str], kind: str) -> None:
    assert read_kind(pa.array(texts), tmp_path)[0] == kind


def test_whole_numbers_among_decimals_are_no_other_column(tmp_path: Path) -> None:
    (tmp_path / "food.jsonl").write_text(
        "".join(f'{{"id": "f{n}", "nutrition": {{"protein": {n / 2}}}}}\n' for n in range(20)), encoding="utf-8"
    )
    profile = read_profile(tmp_path).nodes["food"].properties["nutrition.protein"]
    assert (profile.kinds, profile.coverage, profile.distinct) == ({"float": 20}, 1.0, 1.0)
    assert (profile.low, profile.high, profile.samples[:3]) == (0.0, 9.5, ("0", "0.5", "1"))
