from datetime import UTC, datetime

import pyarrow as pa
import pytest

from graph_schema.checks.time_texts import find_time_format, parse_times


@pytest.mark.parametrize(
    ("texts", "pattern"),
    [
        (["12/1/2010 8:26", "12/13/2010 18:00"], "%m/%d/%Y %H:%M"),
        (["12/13/10 8:26", "1/2/11 18:00"], "%m/%d/%y %H:%M"),
        (["1/12/2010 8:26", "13/12/2010 08:26"], "%d/%m/%Y %H:%M"),
        (["11/13/2019 9:05:58 AM", "11/11/2019 11:05:58 PM", "NULL", ""], "%m/%d/%Y %I:%M:%S %p"),
        (["31.12.2024", "01.02.2023"], "%d.%m.%Y"),
        (["09 13, 2009", "01 2, 2010"], "%m %d, %Y"),  # as reviews of a large shop have it
        (["2024/05/03 10:00:00.123"], "%Y/%m/%d %H:%M:%S.%f"),
        (["01-Jan-1995", "02-Feb-1996"], "%d-%b-%Y"),
        (["January 5, 2020", "May 6, 2021"], "%B %d, %Y"),
        (["5/3/2024", "6/4/2024"], "%m/%d/%Y"),  # in doubt: the month comes before a slash
        (["05.03.2024", "06.04.2024"], "%d.%m.%Y"),
        (["05-03-2024"], "%d-%m-%Y"),
        (["2024-01-01", "2024-01-01T10:00:00Z", "nan"], ""),
        (["20260101", "20260202"], ""),
        (["881250949", "881250949000", "1.5e9"], ""),
        (["apple", "pear 7"], ""),
        (["Apr 3, 1998 to Apr 24, 1999"], ""),
        (["10:00"], ""),
        (["nan"], ""),
        ([], ""),
    ],
)
def test_the_pattern_of_a_column_is_found(texts, pattern):
    assert find_time_format(texts) == pattern


def test_a_few_other_texts_do_not_hide_the_pattern():
    assert find_time_format(["13.12.2024"] * 19 + ["soon"]) == "%d.%m.%Y"
    assert find_time_format(["13.12.2024"] * 8 + ["soon"] * 2) == ""


def seconds(*parts):
    return int(datetime(*parts, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("pattern", "texts", "expected"),
    [
        ("%m/%d/%y %H:%M", ["12/31/10 8:26", " 1/2/11 18:00 ", None, "", "nan"],
         [seconds(2010, 12, 31, 8, 26), seconds(2011, 1, 2, 18), None, None, None]),
        ("%d/%m/%Y", ["01/02/2020", "29/02/2020", "29/02/2021", "13/13/2020", "2020-01-01"],
         [seconds(2020, 2, 1), seconds(2020, 2, 29), "bad", "bad", "bad"]),
        ("%I:%M %p %d.%m.%Y", ["12:05 AM 31.12.1500", "12:05 pm 2.1.2020"],
         [seconds(1500, 12, 31, 0, 5), seconds(2020, 1, 2, 12, 5)]),
        ("%Y/%m/%d %H:%M:%S.%f", ["2024/05/03 10:00:00.999"], [seconds(2024, 5, 3, 10)]),
        ("%Y-%m-%d %H:%M %z", ["2024-05-03 10:00 +0200", "2024-05-03 10:00 -0100"],
         [seconds(2024, 5, 3, 8), seconds(2024, 5, 3, 11)]),
    ],
)  # fmt: skip
def test_texts_of_a_pattern_become_utc_seconds(pattern, texts, expected):
    values, problems = parse_times(pa.array(texts, pa.string()), pattern)
    found = values.to_pylist()
    for bad, reason in problems:
        for row in bad.nonzero()[0]:
            assert found[row] is None
            assert repr(pattern) in reason
            found[row] = "bad"
    assert found == expected
