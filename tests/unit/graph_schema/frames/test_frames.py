"""DataFrames become the tables that a hand-written schema would give."""

import warnings
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from graph_schema import CatalogueError, GraphTables
from graph_schema.checks.rejects import RejectLog, open_reject_log
from graph_schema.frames.frame_tables import build_frame_tables

RATINGS = pd.DataFrame(
    {"user": [1, 1, 2], "item": [10, 11, 10], "rating": [5.0, 2.0, 4.0], "timestamp": [86_400, 86_401, 86_402]}
)


def ids(tables: GraphTables, node_type: str) -> list[str]:
    return sorted(tables.ids(node_type).to_pylist())


def rows(tables: GraphTables, edge_type: str = "interacted") -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in tables.edges[edge_type].to_pylist()]


def test_interactions_alone_make_a_catalogue() -> None:
    tables = build_frame_tables(RATINGS, positive=4)
    assert rows(tables) == [("1", "10", 5.0, 86_400), ("1", "11", 2.0, 86_401), ("2", "10", 4.0, 86_402)]
    assert (ids(tables, "user"), ids(tables, "item")) == (["1", "2"], ["10", "11"])
    assert tables.likes["target"].to_pylist() == ["10", "10"]
    chosen = tables.schema.interaction
    assert (chosen.weight, chosen.at, chosen.positive) == ("rating", "timestamp", 4)


def test_without_a_threshold_every_interaction_is_a_like() -> None:
    assert build_frame_tables(RATINGS).likes.num_rows == 3
    plain = build_frame_tables(RATINGS[["user", "item"]])
    assert plain.likes.num_rows == 3
    assert plain.schema.interaction.weight is None


def test_without_a_threshold_a_rating_of_0_or_below_is_no_like() -> None:
    tables = build_frame_tables(RATINGS.assign(rating=[0, -1, 1]))
    assert tables.interactions.num_rows == 3
    assert rows(GraphTables.with_interactions(tables, tables.likes)) == [("2", "10", 1.0, 86_402)]


@pytest.mark.parametrize(
    "values",
    [
        lambda: pd.Series([7, 8, 9]),
        lambda: pd.Series(["7", "8", "9"]),
        lambda: pd.Series(["7", "8", "9"], dtype=object),
        lambda: pd.Series([7, 8, 9], dtype="Int64"),
        lambda: pd.Series([7, 8, 9], dtype="uint8"),
        lambda: pd.Series([7.0, 8.0, 9.0]),
        lambda: pd.Series(["7", "8", "9"], dtype="category"),
        lambda: pd.Series([7, 8, 9], dtype="category"),
        lambda: pd.Series([7.0, 8.0, 9.0], dtype="category"),
        lambda: pd.Series(["7", "8", "9"], dtype="string"),
        lambda: pd.Series(["7", "8", "9"], dtype=pd.ArrowDtype(pa.string())),
        lambda: pd.Series(["7", "8", "9"], dtype=pd.ArrowDtype(pa.large_string())),
        lambda: pd.Series([7, 8, 9], dtype=pd.ArrowDtype(pa.int32())),
        lambda: pd.Series([7, "8", Decimal(9)], dtype=object),
    ],
)
def test_ids_of_any_type_become_the_same_text(values: Callable[[], pd.Series]) -> None:
    tables = build_frame_tables(pd.DataFrame({"user": values(), "item": values()}))
    assert ids(tables, "user") == ids(tables, "item") == ["7", "8", "9"]


@pytest.mark.parametrize(
    "missing",
    [
        lambda: pd.Series([7, np.nan, 9]),
        lambda: pd.Series([7, None, 9], dtype="Int64"),
        lambda: pd.Series(["7", None, "9"]),
        lambda: pd.Series(["7", "", "9"]),
        lambda: pd.Series(["7", pd.NA, "9"], dtype="string"),
        lambda: pd.Series(["7", None, "9"], dtype="category"),
        lambda: pd.Series([7, None, "9"], dtype=object),
        lambda: pd.Series([7, pd.NaT, "9"], dtype=object),
    ],
)
def test_a_missing_id_rejects_only_its_row(missing: Callable[[], pd.Series], tmp_path: Path) -> None:
    frame = pd.DataFrame({"user": missing(), "item": ["a", "b", "c"]})
    with open_reject_log(tmp_path / "rejects.csv") as log:
        tables = build_frame_tables(frame, log=log)
    assert rows(tables) == [("7", "a"), ("9", "c")]
    assert log.describe() == "1 in interacted: user is empty (first: interactions row 2)"
    (found,) = pd.read_csv(tmp_path / "rejects.csv").to_dict("records")
    assert (found["file"], found["row"], found["reason"]) == ("interactions", 2, "user is empty")
    assert '"item": "b"' in found["content"]


def test_bad_values_are_rejected_with_the_row_of_the_frame() -> None:
    frame = pd.DataFrame({"user": [None, "b", "c", "d"], "item": list("wxyz"), "rating": ["1", "many", "3", None]})
    log = RejectLog()
    tables = build_frame_tables(frame, log=log)
    assert rows(tables) == [("c", "y", 3.0)]
    assert log.n_rejects == 3
    for message in ("user is empty (first: interactions row 1)", "rating is not a float (first: interactions row 2)",
                 "rating is empty (first: interactions row 4)"):  # fmt: skip
        assert message in log.describe()


SECONDS = [1_700_000_000, 1_700_000_060]


@pytest.mark.parametrize(
    "times",
    [
        lambda: pd.Series(SECONDS),
        lambda: pd.Series(SECONDS, dtype="float64"),
        lambda: pd.Series(SECONDS) * 1000,
        lambda: pd.Series(SECONDS) * 10**6,
        lambda: pd.Series(SECONDS) * 10**9,
        lambda: pd.to_datetime(pd.Series(SECONDS), unit="s"),
        lambda: pd.to_datetime(pd.Series(SECONDS), unit="s", utc=True),
        lambda: pd.to_datetime(pd.Series(SECONDS), unit="s", utc=True).dt.tz_convert("Asia/Tokyo"),
        lambda: pd.Series(["2023-11-14T22:13:20", "2023-11-14 22:14:20"]),
        lambda: pd.Series(["2023-11-14T22:13:20Z", "2023-11-14T23:14:20+01:00"]),
    ],
)
@pytest.mark.parametrize("name", ["timestamp", "at"])
def test_times_of_any_type_become_the_same_seconds(times: Callable[[], pd.Series], name: str) -> None:
    tables = build_frame_tables(pd.DataFrame({"user": [1, 2], "item": [1, 2], name: times()}))
    assert tables.interactions[name].to_pylist() == SECONDS


def test_dates_are_times() -> None:
    tables = build_frame_tables(pd.DataFrame({"user": [1], "item": [1], "at": [date(1970, 1, 2)]}))
    assert tables.interactions["at"].to_pylist() == [86_400]


@pytest.mark.filterwarnings("ignore:the model does not read")
def test_item_columns_of_text_are_texts_and_lists_of_numbers_are_vectors() -> None:
    items = pd.DataFrame(
        {
            "item": [10, 12],
            "plot": ["A thief.", None],
            "title": ["Heat", "Ran"],
            "genres": [["Crime", "Drama"], None],
            "isbn": ["0-19-853453-1", "x9"],
            "year": [1995, 1985],
            "picture": [[0.5, 1.0], [0.25, 0.0]],
            "Mood (user's)": ["dark", "grave"],
        }
    )
    tables = build_frame_tables(RATINGS, items)
    node = tables.schema.nodes["item"]
    assert (node.name, node.text) == ("title", ("title", "plot", "Mood _user_s_"))
    assert (node.vectors, node.features) == (("picture",), ("genres", "year"))
    by_id = {row["item"]: row for row in tables.nodes["item"].to_pylist()}
    assert sorted(by_id) == ["10", "11", "12"]  # 11 is only in the interactions, 12 only among the items
    assert by_id["10"] == {
        "item": "10", "title": "Heat", "plot": "A thief.", "genres": ["Crime", "Drama"], "year": 1995,
        "Mood _user_s_": "dark", "picture": [0.5, 1.0],
    }  # fmt: skip
    assert by_id["11"]["title"] is by_id["11"]["picture"] is None


def test_ids_may_be_the_index_and_columns_may_end_in_id() -> None:
    items = pd.DataFrame({"title": ["Heat"]}, index=pd.Index([10], name="item_id"))
    tables = build_frame_tables(RATINGS.rename(columns={"user": "user_id", "item": "item_id"}), items)
    assert tables.nodes["item"].to_pylist()[0] == {"item": "10", "title": "Heat"}
    assert ids(tables, "user") == ["1", "2"]


def test_links_are_an_edge_type_per_relation_with_targets_of_their_own() -> None:
    links = pd.DataFrame(
        {"item": [10, 11, 12], "relation": ["genre", "genre", "shot in"], "target": ["Crime", "Drama", "Crime"]}
    )
    tables = build_frame_tables(RATINGS, links=links)
    assert rows(tables, "genre") == [("10", "Crime"), ("11", "Drama")]
    assert rows(tables, "shot in") == [("12", "Crime")]
    assert ids(tables, "item") == ["10", "11", "12"]
    genre, place = (tables.schema.edges[name].target for name in ("genre", "shot in"))
    assert genre != place
    assert (ids(tables, genre), ids(tables, place)) == (["Crime", "Drama"], ["Crime"])
    assert tables.schema.nodes[genre].name == tables.schema.nodes[genre].key  # text that is an id can also be a name
    assert tables.schema.edges["genre"].phrase == "genre"


def test_typed_targets_are_shared_and_items_may_be_linked() -> None:
    links = pd.DataFrame(
        {
            "item": [10, 10, 11],
            "relation": ["director", "writer", "sequel_of"],
            "target": [1, 1, 10],
            "target_type": ["person", "person", "item"],
            "target_name": ["Mann", None, None],
        }
    )
    tables = build_frame_tables(RATINGS, links=links)
    edges = tables.schema.edges
    assert edges["director"].target == edges["writer"].target == "person"
    assert tables.nodes["person"].to_pylist() == [{"id": "1", "name": "Mann"}]
    assert rows(tables, "sequel_of") == [("11", "10")]
    assert edges["sequel_of"].target == "item"


def test_a_relation_may_be_called_anything() -> None:
    names = ["user", "interacted", "3d", "made by / in", "person"]
    links = pd.DataFrame({"item": 10, "relation": names, "target": 1, "target_type": ["person"] * 5})
    tables = build_frame_tables(RATINGS, links=links)
    assert list(tables.schema.edges)[1:] == ["user", "interacted_2", "x_3d", "made by _ in", "person"]
    assert len({*tables.schema.nodes, *tables.schema.edges}) == len(tables.schema.nodes) + 6 - 1  # "user" alone is both


def test_users_without_interactions_are_known() -> None:
    tables = build_frame_tables(RATINGS, users=pd.DataFrame({"user": [3], "name": ["Ann"]}))
    assert ids(tables, "user") == ["1", "2", "3"]
    assert {"user": "3", "name": "Ann"} in tables.nodes["user"].to_pylist()


BOOKS = pd.DataFrame(
    {
        "item": ["a", "b", "c", "d"],
        "title": ["Heat", "Ran", "Soil", "Rose"],
        "year": [1995, None, 1985, 2001],  # pandas has these as floats
        "price": [9.5, 12.25, np.nan, 7.0],
        "in_print": [True, False, True, True],
        "released": pd.to_datetime(["1995-01-02", "1970-01-02", None, "2001-01-01"]),
        "binding": ["soft", "hard", "hard", "soft"],
        "genres": [["Crime", "Drama"], ["Drama"], None, []],
        "topics": ["garden|home", "war", "garden|soil", "garden|roses"],
        "pages": ["120", "90", "", "300"],  # as read_csv(dtype=str) has them
        "cost": ["$5", "$7.50", "$8", "$9"],
        "plot": ["A thief and a cop meet.", "A king parts his land.", "How the soil is made.", "A rose is a rose."],
    }
)


def test_what_items_say_of_themselves_are_attributes() -> None:
    tables = build_frame_tables(RATINGS.astype({"item": str}), BOOKS)
    node = tables.schema.nodes["item"]
    assert node.text == ("title", "plot")
    assert {name: attribute.type for name, attribute in node.attributes.items()} == {
        "year": "int", "price": "float", "in_print": "bool", "released": "time", "binding": "string",
        "genres": "list", "topics": "list", "pages": "int", "cost": "float",
    }  # fmt: skip
    assert node.features == (*node.attributes,)
    assert {name: tables.nodes["item"][name].to_pylist()[:4] for name in node.features} == {
        "year": [1995, None, 1985, 2001],
        "price": [9.5, 12.25, None, 7.0],
        "in_print": [True, False, True, True],
        "released": [789_004_800, 86_400, None, 978_307_200],
        "binding": ["soft", "hard", "hard", "soft"],
        "genres": [["Crime", "Drama"], ["Drama"], None, None],
        "topics": [["garden", "home"], ["war"], ["garden", "soil"], ["garden", "roses"]],
        "pages": [120, 90, None, 300],
        "cost": [5.0, 7.5, 8.0, 9.0],
    }


def test_ids_codes_and_results_of_interactions_are_not_read_and_a_warning_names_them() -> None:
    books = BOOKS[["item", "title", "year"]].assign(
        average_rating=[4.5, 3.0, 2.0, 5.0],
        publisher_id=[1, 1, 2, 2],
        shelf=["A/1", "A/2", "B/1", "B/2"],
        size=[{"cm": 1}] * 4,
        note=None,
        phone=["1 22", "1 22", "3 44", "3 44"],
    )
    with pytest.warns(UserWarning) as caught:
        tables = build_frame_tables(RATINGS, books)
    assert [str(one.message) for one in caught] == [
        "the model does not read these columns of items: average_rating (looks computed from interactions), "
        "publisher_id (an id), shelf (codes), size (values of type struct<cm: int64>), note (no values), "
        "phone (personal); features=[...] names columns to read all the same"
    ]
    node = tables.schema.nodes["item"]
    assert (node.text, node.features) == (("title",), ("year",))
    assert tables.nodes["item"]["average_rating"].to_pylist()[:4] == [4.5, 3.0, 2.0, 5.0]


READERS = pd.DataFrame(
    {
        "user": [1, 2, 3, 4],
        "name": ["Ann", "Bob", "Cy", "Di"],
        "gender": ["f", "m", "m", "f"],
        "age": [31, 40, 22, 67],
        "town": ["Oslo", "Oslo", "Bergen", "Bergen"],
        "joined": pd.to_datetime(["1970-01-02"] * 4),
        "about": ["I like to read about roses.", None, "Give me a good murder!", "I read what I find."],
        "motto": ["carpe diem", "veni", "per aspera", "sic"],
    }
)


def test_users_have_attributes_and_texts_and_sensitive_ones_are_not_read() -> None:
    with pytest.warns(UserWarning) as caught:
        tables = build_frame_tables(RATINGS, users=READERS)
    assert [str(one.message) for one in caught] == [
        "the model does not read these columns of users: gender (sensitive), age (sensitive), "
        "motto (neither sentences nor values that repeat); features=[...] names columns to read all the same"
    ]
    node = tables.schema.nodes["user"]
    assert (node.name, node.text) == ("name", ("about",))
    assert (node.features, node.sensitive) == (("town", "joined"), ("gender", "age"))
    assert tables.nodes["user"].to_pylist()[0] == {
        "user": "1", "name": "Ann", "about": "I like to read about roses.", "gender": "f", "age": 31, "town": "Oslo",
        "joined": 86_400,
    }  # fmt: skip


def test_columns_that_features_names_are_read() -> None:
    with pytest.warns(UserWarning, match=r"columns of users: gender \(sensitive\); features"):
        tables = build_frame_tables(RATINGS, users=READERS, features=["age", "motto", "about"])
    node = tables.schema.nodes["user"]
    assert node.features == ("age", "town", "joined", "motto")
    assert node.sensitive == ("gender", "age")
    assert node.text == ("about",)  # sentences stay a text
    assert tables.nodes["user"]["motto"].to_pylist() == ["carpe diem", "veni", "per aspera", "sic"]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (
            ["agee", "town"],
            "features names 'agee'; expected columns of items or users other than their ids, which are: title, year, "
            "picture, name, gender, age, town, joined, about, motto",
        ),
        (["item"], "features names 'item'; expected columns of items or users other than their ids"),
        (
            ["picture"],
            r"features names 'picture', a column of items with values of type list<.*>; expected a column of",
        ),
    ],
)
def test_features_that_cannot_be_read_are_one_clear_error(features: list[str], message: str) -> None:
    books = BOOKS[["item", "title", "year"]].assign(picture=[[1.0, 2.0]] * 4)
    with pytest.raises(CatalogueError, match=message):
        build_frame_tables(RATINGS, books, users=READERS, features=features)


def test_a_bad_value_of_an_attribute_counts_as_missing_and_its_row_stays(tmp_path: Path) -> None:
    books = BOOKS[["item", "title", "price"]].assign(price=[9.5, np.inf, np.nan, -np.inf])
    with open_reject_log(tmp_path / "rejects.csv") as log:
        tables = build_frame_tables(RATINGS.astype({"item": str}), books, log=log)
    assert tables.nodes["item"]["price"].to_pylist()[:4] == [9.5, None, None, None]
    assert (log.n_rejects, log.n_incomplete) == (0, 2)
    found = pd.read_csv(tmp_path / "rejects.csv").to_dict("records")
    assert [(one["file"], one["row"], one["table"]) for one in found] == [("items", 2, "item"), ("items", 4, "item")]
    assert all(one["reason"].startswith("price is infinite") for one in found)


def test_users_are_linked_to_users_items_and_anything_else() -> None:
    links = pd.DataFrame({"item": [10], "relation": ["set_in"], "target": ["Oslo"], "target_type": ["city"]})
    user_links = pd.DataFrame(
        [
            (1, "friend_of", "2", "user"),
            (2, "friend_of", "9", "user"),  # only known by this link
            (2, "friend_of", "2", "user"),
            (1, "wishes", "11", "item"),
            (2, "lives_in", "Oslo", "city"),
            (2, "lives_in", "2", "city"),  # a city may be called like the user
            (None, "lives_in", "Oslo", "city"),
        ],
        columns=["user", "relation", "target", "target_type"],
    )
    log = RejectLog()
    tables = build_frame_tables(RATINGS, links=links, user_links=user_links, log=log)
    edges = tables.schema.edges
    assert {name: (edges[name].source, edges[name].target) for name in [*edges][1:]} == {
        "set_in": ("item", "city"),
        "friend_of": ("user", "user"),
        "wishes": ("user", "item"),
        "lives_in": ("user", "city"),
    }
    assert rows(tables, "friend_of") == [("1", "2"), ("2", "9")]
    assert rows(tables, "wishes") == [("1", "11")]
    assert rows(tables, "lives_in") == [("2", "Oslo"), ("2", "2")]
    assert (ids(tables, "user"), ids(tables, "city")) == (["1", "2", "9"], ["2", "Oslo"])
    assert tables.likes.num_rows == 3
    assert log.n_rejects == 2
    for reason in ("the user is linked to itself (first: user_links row 3)", "user is empty (first: user_links row 7)"):
        assert f"1 in user_links: {reason}" in log.describe()


def test_links_of_items_and_users_share_targets_and_their_names() -> None:
    links = pd.DataFrame({"item": [10, 11], "relation": "tag", "target": [1, 2], "target_name": ["noir", None]})
    user_links = pd.DataFrame(
        {"user_id": [1, 1, 2], "relation": ["tag", "group", "tag"], "target": [2, 1, 3], "name": ["war", "club", "sea"]}
    )
    tables = build_frame_tables(RATINGS, links=links, user_links=user_links)
    edges = tables.schema.edges
    assert rows(tables, "tag") == [("10", "1"), ("11", "2")]
    assert rows(tables, "user_tag") == [("1", "2"), ("2", "3")]
    assert edges["tag"].target == edges["user_tag"].target != edges["group"].target
    assert edges["user_tag"].phrase == "tag"
    tags, groups = (tables.nodes[edges[name].target].to_pylist() for name in ("tag", "group"))
    assert [tuple(row.values()) for row in tags] == [("1", "noir"), ("2", "war"), ("3", "sea")]
    assert [tuple(row.values()) for row in groups] == [("1", "club")]


def test_of_a_repeated_pair_the_last_is_kept() -> None:
    log = RejectLog()
    twice = pd.concat([RATINGS, RATINGS.iloc[:1].assign(rating=1.0, timestamp=86_399)])
    tables = build_frame_tables(twice, log=log)
    assert sorted(rows(tables)) == sorted(rows(build_frame_tables(RATINGS)))
    assert (log.n_rejects, log.repeats["interacted"].n_edges) == (0, 1)


def test_arrow_tables_are_read_as_frames() -> None:
    assert rows(build_frame_tables(pa.table(RATINGS))) == rows(build_frame_tables(RATINGS))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            lambda: {"interactions": [1, 2]},
            r"interactions is of type list; expected a pandas DataFrame",
        ),
        (lambda: {"interactions": RATINGS[:0]}, "interactions has no rows; expected at least one"),
        (
            lambda: {"interactions": RATINGS.rename(columns={"item": "movieId"})},
            r"interactions has no column 'item'; expected 'item' or 'item_id' or 'target', got 'user', 'movieId', "
            r"'rating', 'timestamp': rename the column that holds it to 'item'",
        ),
        (
            lambda: {"interactions": RATINGS[["user", "item"]], "positive": 4},
            "positive=4 needs a column 'rating'",
        ),
        (lambda: {"interactions": pd.concat([RATINGS, RATINGS["user"]], axis=1)}, "the column 'user' twice"),
        (
            lambda: {"interactions": RATINGS.assign(user=1.5)},
            "interactions: column 'user': ids of type double",
        ),
        (
            lambda: {"interactions": RATINGS.assign(user=None)},
            "are left: 3 in interacted: user is empty",
        ),
        (
            lambda: {"interactions": RATINGS.assign(rating=np.nan)},
            "no interactions: .* 3 in .*: rating is empty",
        ),
        (
            lambda: {"items": pd.DataFrame({"item": [1, 1, 2], "title": ["a", "b", "c"]})},
            r"items has several rows with the same id: '1'; expected a row for each: drop_duplicates\('item'\)",
        ),
        (lambda: {"links": pd.DataFrame({"item": [1], "target": [2]})}, "links has no column 'relation'"),
        (lambda: {"users": pd.Series([1])}, "users is of type Series"),
        (lambda: {"user_links": pd.DataFrame({"user": [1], "target": [2]})}, "user_links has no column 'relation'"),
    ],
)
def test_unusable_frames_are_one_clear_error(arguments: Callable[[], dict[str, object]], message: str) -> None:
    with pytest.raises(CatalogueError, match=message):
        build_frame_tables(**{"interactions": RATINGS, **arguments()})


def test_a_warning_names_columns_of_interactions_that_are_not_read_and_where_times_are_read_from() -> None:
    days = pd.DataFrame({"user": [1, 2], "item": [1, 2], "day": ["2024-01-02", "2024-01-01"], "place": [2, 1]})
    with pytest.warns(UserWarning) as caught:
        tables = build_frame_tables(days)
    assert [str(one.message) for one in caught] == [
        "the model does not read these columns of interactions: day, place; the time is read from 'timestamp' or 'at' "
        "or 'datetime', here from none, and the weight from 'rating' or 'weight', here from none: "
        "rename or drop columns"
    ]
    assert tables.schema.interaction.at is None
    with pytest.warns(UserWarning, match="interactions: at; the time is read from .*, here from timestamp, and"):
        tables = build_frame_tables(RATINGS.assign(at=[3, 2, 1]))
    assert tables.interactions["timestamp"].to_pylist() == [86_400, 86_401, 86_402]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build_frame_tables(RATINGS)
