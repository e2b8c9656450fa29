import csv

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loaders.files.quote_repair import repair_quotes


def repair(text, delimiter=",", n_fields=3, block=1 << 20):
    lines = text.encode().splitlines(keepends=True)
    size = max(1, block)
    blocks = [b"".join(lines[start : start + size]) for start in range(0, len(lines), size)]
    mended = b"".join(repair_quotes(blocks, delimiter, n_fields, 1 << 20)).decode()
    return list(csv.reader(mended.splitlines(keepends=True), delimiter=delimiter))


@pytest.mark.parametrize("block", [1, 2, 1000])
@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('1,"a ""b"", c",2\n3,d,4\n', [["1", 'a "b", c', "2"], ["3", "d", "4"]]),
        ('1,"a\nb\n",2\n3,d,4\n', [["1", "a\nb\n", "2"], ["3", "d", "4"]]),
        ('1,"open,2\n3,d,4\n5,e,6\n', [["1", '"open', "2"], ["3", "d", "4"], ["5", "e", "6"]]),
        ('1,"open,2\n3,d,4\n5,"e,6\n', [["1", '"open', "2"], ["3", "d", "4"], ["5", '"e', "6"]]),
        ('1,12" disc,"x, y"\n3,d,4\n', [["1", '12" disc', "x, y"], ["3", "d", "4"]]),
        ('1,12","x\n3,d,4\n', [["1", '12"', '"x'], ["3", "d", "4"]]),
        ('"1","Wally\\"s, World","2"\n3,d,4\n', [["1", 'Wally"s, World', "2"], ["3", "d", "4"]]),
        ('"1","C:\\","2"\n3,d,4\n', [["1", "C:\\", "2"], ["3", "d", "4"]]),
    ],
)
def test_quotes_are_read_as_they_are_meant(text, rows, block):
    assert repair(text, block=block) == rows


def test_in_tables_with_tabs_quotes_are_text_where_they_do_not_pair():
    text = '1\t"Heroes\t2\n3\t"Q" x\t4\n5\tA "b"\t6\n7\t"a\tb"\t8\n9\t"sound ""x"""\t10\n'
    assert repair(text, "\t") == [
        ["1", '"Heroes', "2"], ["3", '"Q" x', "4"], ["5", 'A "b"', "6"], ["7", "a\tb", "8"], ["9", 'sound "x"', "10"],
    ]  # fmt: skip


def test_two_stray_quotes_do_not_swallow_the_rows_between_them():
    rows = [[str(n), f"text {n}", "x"] for n in range(40)]
    rows[3][2], rows[30][2] = '"x', 'x"'  # together they look like one quoted field
    assert repair("".join(",".join(row) + "\n" for row in rows)) == rows


def test_mended_lines_are_counted():
    told = []
    list(repair_quotes([b'1,"a",2\n3,"b,4\n', b'5,"c\nd",6\n7,8" x,9\n'], ",", 3, 1 << 20, told.append))
    assert told == [1]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(*[st.text(st.sampled_from('ab",\n\\; '), max_size=6)] * 2, st.just("end")), min_size=1, max_size=8
    ),
    block=st.integers(1, 5),
)
def test_what_python_writes_stays_as_it_is(rows, block):
    lines = []
    for row in rows:
        cells = ['"' + cell.replace('"', '""') + '"' for cell in row]
        lines.append(",".join(cells) + "\n")
    assert repair("".join(lines), block=block) == [list(row) for row in rows]
