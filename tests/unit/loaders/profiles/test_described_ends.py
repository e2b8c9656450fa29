import pyarrow as pa
import pytest

from loaders.profiles.column_profile import Column
from loaders.profiles.described_ends import find_described
from loaders.profiles.table_columns import TableColumns
from loaders.profiles.table_ends import End

N = 200
READERS = [f"r{n % 11}" for n in range(N)]
BOOKS = [f"b{n % 17}" for n in range(N)]
ENDS = [End("reader", "reader", "", 1.0, ""), End("book", "book", "", 1.0, "")]


def loans(**columns) -> TableColumns:
    table = pa.table({"reader": READERS, "book": BOOKS, **{name: list(map(str, one)) for name, one in columns.items()}})
    read = {}
    for name in table.column_names:
        read[name] = Column(name)
        read[name].add(table[name].combine_chunks())
    return TableColumns("loans", N, 0, read, [], table)


@pytest.mark.parametrize(
    ("name", "values", "end"),
    [
        ("Pub. Year", [1990 + n % 17 for n in range(N)], "book"),
        ("length_cm", [n % 17 / 4 for n in range(N)], "book"),
        ("joined", [2001 + n % 11 for n in range(N)], "reader"),
        ("language", ["de" if n % 17 % 2 else "fr" for n in range(N)], "book"),
        ("renewals", [n % 3 for n in range(N)], None),  # of the loan itself
        ("copies", [1 if n == 180 else n % 17 for n in range(N)], "book"),  # one slip of the pen
        ("desk", [3 if n % 19 == 0 else n % 17 for n in range(N)], None),  # mostly, but not always
        ("rating", [n % 17 for n in range(N)], None),  # a strength is the interaction's, though it may agree
        ("floor", [1] * N, None),  # says nothing of anything
    ],
)
def test_what_is_the_same_for_all_loans_of_a_book_or_reader_is_theirs(name, values, end):
    found = find_described(loans(**{name: values}), ENDS, {"reader", "book"})
    assert found == {one.column: [name] if one.column == end else [] for one in ENDS}


def test_a_few_repeats_prove_nothing_of_numbers():
    table = loans(year=[n % 17 for n in range(N)])
    few = TableColumns("loans", 30, 0, table.columns, [], table.first_rows.slice(0, 30))  # 13 books twice
    assert find_described(few, ENDS[1:], {"reader", "book"}) == {"book": []}
