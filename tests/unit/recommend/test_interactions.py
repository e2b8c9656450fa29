"""What counts of a table of interactions, by the catalogue's schema."""

import time

import pyarrow as pa
import pytest
from bookshop import SCHEMA as BOOKS
from films import SCHEMA

from kgrec.errors import RequestError
from kgrec.recommend.asked import Asked
from kgrec.recommend.interactions import Interactions, read_interactions, read_many

DAYS = SCHEMA.model_copy(
    update={
        "edges": SCHEMA.edges
        | {
            SCHEMA.interaction.edge: SCHEMA.edges[SCHEMA.interaction.edge].model_copy(
                update={"time_formats": {"rated_at": "%d.%m.%Y"}}
            )
        }
    }
)
POSITIVE = SCHEMA.model_copy(update={"interaction": SCHEMA.interaction.model_copy(update={"positive": 4.0})})
TABLE = pa.table({"user": ["u", "v", "u", "u"], "item": ["a", "a", "b", "a"], "rating": [4.0, 3.5, 5.0, 1.0]})


def positive_of(found: Interactions) -> dict[tuple[str, str], bool]:
    pairs = list(zip(found.users, found.items, strict=True))
    assert len(set(pairs)) == len(pairs)
    return dict(zip(pairs, found.positive.tolist(), strict=True))


def test_without_a_least_weight_every_interaction_is_a_like() -> None:
    likes = dict.fromkeys([("u", "a"), ("v", "a"), ("u", "b")], True)
    assert positive_of(read_interactions(TABLE, SCHEMA)) == likes
    assert positive_of(read_interactions(TABLE.drop_columns(["rating"]), SCHEMA)) == likes
    with pytest.raises(RequestError, match="lack the column 'rating'"):
        read_interactions(TABLE.drop_columns(["rating"]), POSITIVE)


def test_the_last_row_of_a_pair_counts_or_the_latest_by_time() -> None:
    others = {("v", "a"): False, ("u", "b"): True}
    assert positive_of(read_interactions(TABLE, POSITIVE)) == {("u", "a"): False, **others}
    for times, expected in (([9, 1, 1, 8], True), ([8, 1, 1, 9], False), ([8, 1, 1, 8], False)):
        timed = TABLE.append_column("rated_at", pa.array(times))
        assert positive_of(read_interactions(timed, POSITIVE)) == {("u", "a"): expected, **others}
    assert positive_of(read_interactions(TABLE.slice(0, 1), POSITIVE)) == {("u", "a"): True}  # 4 is enough


def test_without_a_least_weight_a_rating_of_0_or_below_is_no_like() -> None:
    table = pa.table({"user": ["u", "u", "u"], "item": ["a", "b", "c"], "rating": [0.0, -1.0, 0.5]})
    assert positive_of(read_interactions(table, SCHEMA)) == {("u", "a"): False, ("u", "b"): False, ("u", "c"): True}


@pytest.mark.parametrize(
    ("repeats", "positive", "liked"),
    [("latest", None, False), ("sum", None, True), ("sum", 12.0, False), ("greatest", 6.0, True), ("count", 3.0, True)],
)
def test_repeats_in_the_table_count_as_the_schema_says(repeats: str, positive: float | None, liked: bool) -> None:
    chosen = SCHEMA.interaction.model_copy(update={"repeats": repeats, "positive": positive})
    schema = SCHEMA.model_copy(update={"interaction": chosen})
    table = pa.table(
        {
            "user": ["z", "x", "y", "x", "x", "z"],
            "item": ["c", "a", "a", "a", "a", "c"],
            "rating": [-1.0, 6.0, 99.0, 6.0, -1.0, -1.0],
            "rated_at": [1, 3, 1, 1, 9, 1],
        }
    )
    found = positive_of(read_interactions(table, schema))
    assert found["x", "a"] == liked
    assert set(found) == {("z", "c"), ("x", "a"), ("y", "a")}
    assert found["y", "a"] == (repeats != "count")
    assert not found["z", "c"]


def test_no_rows_are_no_interactions() -> None:
    assert positive_of(read_interactions(TABLE.slice(0, 0), POSITIVE)) == {}


def test_the_likes_of_each_user_in_the_order_of_the_rows() -> None:
    expected = {"u": Asked(likes=("b", "a")), "v": Asked(likes=("a",))}  # the last row of a pair counts
    assert read_many(TABLE, SCHEMA) == expected  # the interaction's own rating is not read
    renamed = TABLE.rename_columns({"user": "source", "item": "target"})
    assert read_many(renamed, SCHEMA) == expected
    timed = TABLE.append_column("rated_at", pa.array([9, 1, None, 3]))
    assert read_many(timed, SCHEMA) == {
        "u": Asked(likes=("a", "b", "a"), times=(9, None, 3)),
        "v": Asked(likes=("a",), times=(1,)),
    }
    untimed = TABLE.append_column("rated_at", pa.nulls(4, pa.int64()))
    assert read_many(untimed, SCHEMA) == expected


@pytest.mark.parametrize("moment", [-1, 10**12, 4_000_000_000])
def test_a_time_that_cannot_be_is_named(moment: int) -> None:
    timed = TABLE.append_column("rated_at", pa.array([1, 2, moment, 3]))
    with pytest.raises(RequestError, match=r"in row 3 rated_at is (out of range|in the future)"):
        read_many(timed, SCHEMA)


def test_interactions_have_the_times_of_the_rows_that_count() -> None:
    timed = TABLE.append_column("rated_at", pa.array([9, 1, 5, 8]))
    found = read_interactions(timed, SCHEMA)
    assert found.times is not None
    pairs = zip(found.users, found.items, found.times.tolist(), found.places.tolist(), strict=True)
    assert set(pairs) == {("v", "a", 1, 1), ("u", "b", 5, 2), ("u", "a", 9, 0)}
    assert read_interactions(TABLE, SCHEMA).times is None
    untimed = read_interactions(TABLE, SCHEMA)
    places = zip(untimed.users, untimed.items, untimed.places.tolist(), strict=True)
    assert set(places) == {("v", "a", 1), ("u", "b", 2), ("u", "a", 3)}
    with pytest.raises(RequestError, match="in row 2 rated_at is out of range"):
        read_interactions(TABLE.append_column("rated_at", pa.array([9, -1, 5, 8])), SCHEMA)


def test_times_are_read_as_the_schema_says_that_they_are_written() -> None:
    # 02.01.1970 is the 2nd of January, not the 1st of February
    timed = TABLE.append_column("rated_at", pa.array(["02.01.1970", "01.02.1970", "03.01.1970", "01.01.1970"]))
    found = read_interactions(timed, DAYS)
    assert found.times is not None
    pairs = set(zip(found.users, found.items, found.times.tolist(), strict=True))
    assert pairs == {("u", "a", 86_400), ("v", "a", 31 * 86_400), ("u", "b", 2 * 86_400)}
    assert read_many(timed, DAYS)["u"] == Asked(likes=("a", "b", "a"), times=(86_400, 2 * 86_400, 0))
    for read in (read_interactions, read_many):
        with pytest.raises(RequestError, match=r"in row 1 rated_at is not a time .*the year comes last"):
            read(timed, SCHEMA)
        with pytest.raises(RequestError, match=r"in row 1 rated_at is not a time as '%d.%m.%Y' reads it"):
            read(TABLE.append_column("rated_at", pa.array(["1970-01-02"] * 4)), DAYS)


def test_columns_that_are_not_read_are_refused_with_those_that_are() -> None:
    other = TABLE.append_column("timestamp", pa.array([9, 1, 5, 8]))
    with pytest.raises(RequestError) as refused:
        read_interactions(other, SCHEMA)
    assert str(refused.value) == (
        "interactions have a column 'timestamp', which the model does not read; expected 'user', 'item', 'rated_at' "
        "(the time) and 'rating' (the weight): rename the column or leave it out"
    )
    with pytest.raises(RequestError, match=r"'timestamp', which .* 'rated_at' \(the time\) and links or features"):
        read_many(other, SCHEMA)
    with pytest.raises(RequestError, match=r"have a column 'rated'.*did you mean 'rated_at'"):
        read_interactions(TABLE.append_column("rated", pa.array([9, 1, 5, 8])), SCHEMA)


def test_an_interaction_in_the_future_is_refused_but_a_clock_may_be_ahead() -> None:
    now = int(time.time())
    for ahead in (-60, 14 * 3600):
        found = read_interactions(TABLE.append_column("rated_at", pa.array([1, 1, 1, now + ahead])), SCHEMA)
        assert found.times is not None
        assert now + ahead in found.times
    with pytest.raises(RequestError, match="in row 4 rated_at is in the future"):
        read_interactions(TABLE.append_column("rated_at", pa.array([1, 1, 1, now + 3 * 86_400])), SCHEMA)


def test_further_columns_are_links_and_features_of_users() -> None:
    table = pa.table(
        {
            "user": ["b", "a", "b", "c"],
            "item": [None, "i1", "i2", ""],
            "friend_of": ["a", "", "c", None],
            "age": ["31", None, "31", "44"],
            "interests": ["crime, war", None, "space", None],
        }
    )
    assert read_many(table, BOOKS) == {
        "b": Asked(
            likes=("i2",),
            links=(("friend_of", "a"), ("friend_of", "c")),
            values=(("age", 31), ("interests", ("crime", "war", "space"))),
        ),
        "a": Asked(likes=("i1",)),
        "c": Asked(values=(("age", 44),)),
    }
