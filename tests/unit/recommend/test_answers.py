"""Answers as Python users handle them: slices, tables, notebooks, and the names that `kgrec` has."""

import kgrec
import kgrec.errors
from kgrec.recommend import Recommendation, Recommendations

ANSWER = Recommendations(
    (
        Recommendation("a", 1, 2.5, "Tea & <b>milk</b>"),
        Recommendation("b", 2, 1.25),
        Recommendation("<i>", 3, -0.0625, "Bell", "same maker as <Saddle>, which you liked"),
    ),
    unknown=("x",),
    notes=("unknown ids, ignored: '<x>'",),
)


def test_a_slice_is_an_answer() -> None:
    assert ANSWER[:2] == Recommendations(ANSWER.items[:2], ANSWER.unknown, ANSWER.notes)
    assert [found.rank for found in ANSWER[1:]] == [2, 3]
    assert ANSWER[::-1].ids == ("<i>", "b", "a")
    assert ANSWER[5:].items == ()
    assert ANSWER[5:].notes == ANSWER.notes
    assert ANSWER[-1] == ANSWER.items[2]


def test_a_frame_has_the_columns_of_the_table() -> None:
    frame = ANSWER.to_pandas()
    assert list(frame.columns) == ["item", "rank", "score", "title", "reason"]
    assert frame["item"].tolist() == ["a", "b", "<i>"]
    assert frame["rank"].tolist() == [1, 2, 3]
    assert frame["score"].tolist() == [2.5, 1.25, -0.0625]
    assert frame["title"].isna().tolist() == [False, True, False]
    assert frame["reason"][2] == "same maker as <Saddle>, which you liked"
    empty = Recommendations(()).to_pandas()
    assert (list(empty.columns), len(empty)) == (list(frame.columns), 0)


def test_a_notebook_shows_a_table_with_the_notes_below() -> None:
    assert ANSWER._repr_html_() == (
        "<table><thead><tr><th>item</th><th>rank</th><th>score</th><th>title</th><th>reason</th></tr></thead><tbody>"
        "<tr><td>a</td><td>1</td><td>2.500</td><td>Tea &amp; &lt;b&gt;milk&lt;/b&gt;</td><td></td></tr>"
        "<tr><td>b</td><td>2</td><td>1.250</td><td></td><td></td></tr>"
        "<tr><td>&lt;i&gt;</td><td>3</td><td>-0.062</td><td>Bell</td>"
        "<td>same maker as &lt;Saddle&gt;, which you liked</td></tr>"
        "</tbody></table><p>unknown ids, ignored: &#x27;&lt;x&gt;&#x27;</p>"
    )
    assert Recommendations(ANSWER.items[1:2])._repr_html_() == (
        "<table><thead><tr><th>item</th><th>rank</th><th>score</th><th>title</th></tr></thead><tbody>"
        "<tr><td>b</td><td>2</td><td>1.250</td><td></td></tr></tbody></table>"
    )


def test_errors_have_their_names_in_kgrec() -> None:
    for name in kgrec.errors.__all__:
        assert getattr(kgrec, name) is getattr(kgrec.errors, name)
        assert name in kgrec.__all__
        assert issubclass(getattr(kgrec, name), kgrec.KgrecError)
    assert all(hasattr(kgrec, name) for name in kgrec.__all__)
    assert not hasattr(kgrec, "NoSuchError")
