import csv
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_schema import CatalogueError, CatalogueSchema, EdgeType, Interaction, NodeType
from graph_schema.checks.rejects import open_reject_log
from graph_schema.checks.staging import build_tables, stage_tables
from graph_schema.sources import BrokenRow, MemorySource, RawBatch, split_table

SCHEMA = CatalogueSchema.parse("""
name = "shop"
[nodes.user]
label = "User"
key = "user_id"
[nodes.item]
label = "Item"
key = "item_id"
name = "title"
text = ["title"]
attributes = { price = "float", made_at = "time" }
ignore = ["shelf"]
[nodes.tag]
label = "Tag"
key = "tag"
from_edges = true
attributes = { colour = "string" }
[edges.rated]
source = "user"
type = "RATED"
target = "item"
attributes = { stars = "float", at = "time" }
[edges.has_tag]
source = "item"
type = "HAS_TAG"
target = "tag"
[interaction]
edge = "rated"
weight = "stars"
at = "at"
positive = 4
""")
USERS = pa.table({"user_id": ["007", "u2"]})
ITEMS = pa.table({"item_id": ["a", "b"], "title": ["A", None], "price": [1.5, None], "made_at": [0, None]})
RATED = pa.table({"source": ["007", "u2"], "target": ["a", "b"], "stars": [5.0, 3.0], "at": [10, 20]})
TAGS = pa.table({"source": ["a", "b", "a"], "target": ["red", "blue", "blue"]})


def tables(**changed):
    nodes = {"user": USERS, "item": ITEMS}
    edges = {"rated": RATED, "has_tag": TAGS}
    for name, table in changed.items():
        (nodes if name in nodes else edges)[name] = table
    return nodes, edges


def stage(directory, *, max_rejects=1.0, **changed):
    source = MemorySource.from_tables(SCHEMA, *tables(**changed))
    staged = stage_tables(source, directory / "staged", rejects=directory / "rejects.csv", max_rejects=max_rejects)
    return staged, read_rejects(directory / "rejects.csv")


def read_rejects(path):
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [(row["file"], int(row["row"]), row["table"], row["reason"], json.loads(row["content"])) for row in rows]


def with_rows(table, **columns):
    return pa.concat_tables([table, pa.table(columns, schema=table.schema)])


def test_clean_tables_are_staged_whole(tmp_path):
    staged, rejects = stage(tmp_path, max_rejects=0.0)
    built = staged.to_tables()
    assert rejects == []
    assert (staged.n_rejects, staged.n_repeats) == (0, 0)
    assert staged.n_nodes == {"user": 2, "item": 2, "tag": 2}
    assert staged.n_edges == {"rated": 2, "has_tag": 3}
    assert built.ids("user").to_pylist() == ["007", "u2"]
    assert built.nodes["item"].to_pylist() == ITEMS.to_pylist()
    assert built.nodes["tag"].to_pylist() == [{"tag": "red", "colour": None}, {"tag": "blue", "colour": None}]
    assert built.interactions.to_pylist() == RATED.to_pylist()
    assert built.likes.to_pylist() == RATED.to_pylist()[:1]
    assert staged.nodes_path("item").is_file()
    assert [batch.num_rows for batch in staged.iter_edges("has_tag", 2)] == [2, 1]
    assert not list((tmp_path / "staged").rglob("*.before"))


@pytest.mark.parametrize(
    ("table", "row", "reason"),
    [
        ("rated", ("nobody", "a", 5.0, 10), "source is not in the user table"),
        ("rated", ("007", "nothing", 5.0, 10), "target is not in the item table"),
        ("rated", (None, "a", 5.0, 10), "source is empty"),
        ("rated", ("007", "", 5.0, 10), "target is empty"),
        ("rated", ("007", "a", float("nan"), 10), "stars is empty"),
        ("rated", ("007", "a", None, 10), "stars is empty"),
        ("rated", ("007", "a", float("inf"), 10), "stars is infinite"),
        ("rated", ("007", "a", 5.0, None), "at is empty"),
        ("rated", ("007", "a", 5.0, -1), "at is out of range: expected 1970 to 2100"),
        ("rated", ("007", "a", 5.0, 881250949000),
         "at is out of range, it looks like milliseconds: expected seconds or ISO 8601"),
        ("rated", ("00\x007", "a", 5.0, 10), "source has a NUL character"),
        ("has_tag", ("a", None), "target is empty"),
        ("item", ("", "C", 1.0, 0), "item_id is empty"),
        ("item", ("a", "A again", 1.0, 0), "item_id is there twice; the first is kept"),
    ],
)  # fmt: skip
def test_a_bad_row_is_rejected_with_its_reason_and_the_others_load(tmp_path, table, row, reason):
    good = {"rated": RATED, "has_tag": TAGS, "item": ITEMS}[table]
    columns = {name: [value] for name, value in zip(good.schema.names, row, strict=True)}
    staged, rejects = stage(tmp_path, **{table: with_rows(good, **columns)})
    assert [reject[:4] for reject in rejects] == [(table, good.num_rows + 1, table, reason)]
    assert set(rejects[0][4]) == set(good.schema.names)
    assert staged.n_rejects == 1
    built = staged.to_tables()
    assert (built.nodes | built.edges)[table].to_pylist() == good.to_pylist()


def test_a_node_is_kept_without_values_that_do_not_fit(tmp_path):
    items = pa.table(
        {"item_id": ["a", "b", "c", "d", "", "e"], "title": ["A", "B\x00", "C", None, "F", "E"],
         "price": ["$1.50", "2 €", "cheap", "$4", "inf", "$5"],
         "made_at": ["0", "1", "soon", "9" * 12, "x", "2"]})  # fmt: skip
    staged, rejects = stage(tmp_path, item=items)
    assert [(row, reason) for _, row, _, reason, _ in rejects] == [
        (2, "title has a NUL character, left out of its row"),
        (2, "price has the unit '€': most rows have '$', left out of its row"),
        (3, "price is not a float, left out of its row"),
        (3, "made_at is not a time (epoch seconds or ISO 8601), left out of its row"),
        (4, "made_at is out of range, it looks like milliseconds: expected seconds or ISO 8601, left out of its row"),
        (5, "item_id is empty"),
    ]
    assert (staged.n_rejects, staged.n_incomplete) == (1, 3)
    assert [tuple(row.values()) for row in staged.to_tables().nodes["item"].to_pylist()] == [
        ("a", "A", 1.5, 0), ("b", None, None, 1), ("c", "C", None, None), ("d", None, 4.0, None), ("e", "E", 5.0, 2),
    ]  # fmt: skip


def test_rows_with_values_left_out_count_as_bad_once(tmp_path):
    items = ITEMS.set_column(2, "price", pa.array(["x", "1"])).set_column(3, "made_at", pa.array(["soon", "1"]))
    with pytest.raises(CatalogueError, match=r"1 of 9 rows are bad .*price is not a float, left out of its row"):
        stage(tmp_path, max_rejects=0.1, item=items)
    assert stage(tmp_path, max_rejects=0.12, item=items)[0].n_incomplete == 1


def test_an_edge_is_kept_without_a_value_that_it_does_not_need(tmp_path):
    has_tag = EdgeType(source="item", type="HAS_TAG", target="tag", attributes={"since": "int", "where": "point"})
    schema = SCHEMA.model_copy(update={"edges": {**SCHEMA.edges, "has_tag": has_tag}})
    nodes, edges = tables()
    tags = TAGS.append_column("since", pa.array(["1", "x", None])).append_column("where", pa.array(["1 2", "3", ""]))
    source = MemorySource.from_tables(schema, nodes, {**edges, "has_tag": tags})
    staged = stage_tables(source, tmp_path / "staged", rejects=tmp_path / "rejects.csv", max_rejects=1.0)
    found = staged.to_tables().edges["has_tag"]
    assert (found["since"].to_pylist(), found["where"].to_pylist()) == ([1, None, None], [[1.0, 2.0], None, None])
    assert [(row, reason.split(" (")[0]) for _, row, _, reason, _ in read_rejects(tmp_path / "rejects.csv")] == [
        (2, "since is not an int, left out of its row"),
        (2, "where is not a point"),
    ]


def test_the_first_batch_that_shows_a_unit_decides_for_the_column(tmp_path):
    prices = ["1", "2", "$3", "$4", "5 €", "6 €", "7 €", "$8"]
    items = pa.table({"item_id": list("abcdefgh"), "title": ["T"] * 8, "price": prices, "made_at": [0] * 8})
    source = MemorySource.from_tables(SCHEMA, *tables())
    source = MemorySource(SCHEMA, {**source.nodes, "item": split_table(items, "item", 2)}, source.edges)
    found = stage_tables(source, tmp_path, rejects=None, max_rejects=1.0).to_tables()
    assert found.nodes["item"]["price"].to_pylist() == [1.0, 2.0, 3.0, 4.0, None, None, None, 8.0]


def test_text_columns_are_read_row_by_row(tmp_path):
    rated = pa.table({"user_id": ["007", "u2", "u2"], "item_id": ["a", "b", "a"], "stars": ["5", "good", "4.5"],
                      "at": ["1997-12-04", "0", "yesterday"]})  # fmt: skip
    staged, rejects = stage(tmp_path, rated=rated)
    assert staged.n_edges["rated"] == 1
    assert [(row, reason) for _, row, _, reason, _ in rejects] == [
        (2, "stars is not a float"),
        (3, "at is not a time (epoch seconds or ISO 8601)"),
    ]
    assert rejects[0][4] == {"user_id": "u2", "item_id": "b", "stars": "good", "at": "0"}  # as in the source


def test_a_column_of_milliseconds_takes_dates_and_rejects_finer_units(tmp_path):
    rated = SCHEMA.edges["rated"].model_copy(update={"milliseconds": ("at",)})
    schema = SCHEMA.model_copy(update={"edges": {**SCHEMA.edges, "rated": rated}})
    at = ["881250949000", "19971204", "1997-12-04T15:55:49Z", "881250949000000", "881250949000000000", "04.12.1997"]
    items = pa.table({"item_id": [f"i{row}" for row in range(len(at))], "title": ["T"] * len(at)})
    items = items.append_column("price", pa.nulls(len(at), pa.float64())).append_column("made_at", pa.nulls(len(at)))
    likes = pa.table({"source": ["u2"] * len(at), "target": items["item_id"], "stars": [5.0] * len(at), "at": at})
    source = MemorySource.from_tables(
        schema, {"user": USERS, "item": items}, {"rated": likes, "has_tag": TAGS.slice(0, 0)}
    )
    staged = stage_tables(source, tmp_path / "staged", rejects=tmp_path / "rejects.csv", max_rejects=1.0)
    assert staged.to_tables().interactions["at"].to_pylist() == [881250949, 881193600, 881250949]
    finer = "at is out of range, it looks like {}: expected milliseconds or ISO 8601"
    assert [
        (row, reason.split(": the year")[0]) for _, row, _, reason, _ in read_rejects(tmp_path / "rejects.csv")
    ] == [
        (4, finer.format("microseconds")),
        (5, finer.format("nanoseconds")),
        (6, "at is not a time (epoch seconds or ISO 8601)"),
    ]


def test_of_repeated_pairs_the_latest_is_kept(tmp_path):
    rated = pa.table(
        {"source": ["007"] * 4 + ["u2"], "target": ["a", "a", "a", "b", "b"], "stars": [1.0, 2.0, 3.0, 4.0, 5.0],
         "at": [30, 50, 50, 1, 2]})  # fmt: skip
    tags = pa.concat_tables([TAGS, TAGS])
    staged, rejects = stage(tmp_path, rated=rated, has_tag=tags)
    assert staged.to_tables().interactions.to_pylist() == rated.to_pylist()[2:]
    assert staged.to_tables().edges["has_tag"].to_pylist() == TAGS.to_pylist()
    assert (staged.n_repeats, rejects) == (5, [])


def test_repeats_are_found_across_batches(tmp_path):
    n_edges = 200_000  # more than two batches of the staged file
    generator = np.random.default_rng(0)
    users, items = generator.integers(0, 300, n_edges), generator.integers(0, 300, n_edges)
    rated = pa.table({"source": users.astype(str), "target": items.astype(str), "stars": generator.random(n_edges),
                      "at": generator.integers(0, 1000, n_edges)})  # fmt: skip
    keys = [str(key) for key in range(300)]
    source = MemorySource(
        SCHEMA,
        {"user": split_table(pa.table({"user_id": keys}), "user", 7),
         "item": split_table(pa.table({"item_id": keys, "title": keys, "price": [1.0] * 300, "made_at": [0] * 300}),
                             "item")},
        {"rated": split_table(rated, "rated", 30_000), "has_tag": []},
    )  # fmt: skip
    staged = stage_tables(source, tmp_path, rejects=None)
    latest = {}
    for row in rated.to_pylist():
        pair = row["source"], row["target"]
        if pair not in latest or row["at"] >= latest[pair]["at"]:
            latest[pair] = row
    got = staged.to_tables().interactions.to_pylist()
    assert {(row["source"], row["target"]): row for row in got} == latest
    assert len(got) == len(latest) == n_edges - staged.n_repeats


def test_too_many_bad_rows_stop_and_leave_the_reject_file(tmp_path):
    rated = with_rows(RATED, source=["x", "y"], target=["a", "a"], stars=[1.0, 1.0], at=[1, 1])
    with pytest.raises(CatalogueError) as stopped:
        stage(tmp_path, max_rejects=0.1, rated=rated)  # 2 of 11 rows
    message = str(stopped.value)
    assert "2 of 11 rows are bad (18.2%), more than the limit of 10.0%, so nothing was loaded" in message
    assert "2 in rated: source is not in the user table (first: rated row 3)" in message
    assert str(tmp_path / "rejects.csv") in message
    assert "--max-rejects 0.19" in message
    assert len(read_rejects(tmp_path / "rejects.csv")) == 2
    assert stage(tmp_path, max_rejects=0.19, rated=rated)[0].n_rejects == 2


def test_rows_that_the_reader_could_not_parse_are_rejected(tmp_path):
    nodes, edges = tables()
    source = MemorySource.from_tables(SCHEMA, nodes, edges)
    broken = [BrokenRow(3, "has 2 fields; expected 4", "u2,a")]
    batch = source.edges["rated"][0]
    source = MemorySource(
        SCHEMA, source.nodes, {**source.edges, "rated": [RawBatch(batch.columns, "rated.csv", batch.rows, broken)]}
    )
    read = []
    staged = stage_tables(
        source, tmp_path, rejects=tmp_path / "r.csv", on_rows=lambda name, n_rows: read.append((name, n_rows))
    )
    assert read_rejects(tmp_path / "r.csv") == [("rated.csv", 3, "rated", "has 2 fields; expected 4", "u2,a")]
    assert (staged.n_rejects, staged.n_edges["rated"]) == (1, 2)
    assert read == [("user", 2), ("item", 2), ("rated", 3), ("has_tag", 3)]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rated": RATED.drop_columns(["stars"])}, r"missing: stars; add them to the file or take them out of \[edges"),
        ({"rated": RATED.drop_columns(["source"])},
         r"source, target, stars, at \(or user_id, item_id for source, target\)"),
        ({"rated": RATED.append_column("note", pa.array(["x", "y"]))},
         r'unknown: note; .*\[edges.rated.attributes\] .* ignore = \["note"\] under \[edges.rated\]'),
        ({"user": USERS.append_column("user_id", USERS["user_id"])}, "there twice: user_id"),
        ({"rated": RATED.set_column(0, "source", pa.array([1.5, 2.5]))}, "rated: column 'source': ids of type double"),
        ({"rated": RATED.slice(0, 0)}, "no interactions: the table 'rated' has no rows to load; expected at least one"),
        ({"user": USERS.slice(0, 0)}, "no interactions.*2 in rated: source is not in the user table"),
    ],
)  # fmt: skip
def test_an_error_that_stops_a_load_gives_advice(tmp_path, changed, message):
    with pytest.raises(CatalogueError, match=message):
        stage(tmp_path, **changed)
    assert (tmp_path / "rejects.csv").is_file()


def test_ignored_columns_are_left_out(tmp_path):
    staged, _ = stage(tmp_path, item=ITEMS.append_column("shelf", pa.array(["x", "y"])))
    assert "shelf" not in staged.to_tables().nodes["item"].schema.names


def test_a_reject_file_that_cannot_be_written_stops_before_reading(tmp_path):
    source = MemorySource.from_tables(SCHEMA, *tables())
    with pytest.raises(CatalogueError, match="cannot write the reject file"):
        stage_tables(source, tmp_path, rejects=tmp_path / "absent" / "rejects.csv")


def test_rejected_edges_create_no_nodes(tmp_path):
    tags = with_rows(TAGS, source=["nothing"], target=["ghost"])
    assert stage(tmp_path, has_tag=tags)[0].to_tables().ids("tag").to_pylist() == ["red", "blue"]


def test_types_with_from_edges_may_have_a_table_too(tmp_path):
    source = MemorySource.from_tables(SCHEMA, *tables())
    known = split_table(pa.table({"tag": ["blue"], "colour": ["#00f"]}), "tag")
    source = MemorySource(SCHEMA, {**source.nodes, "tag": known}, source.edges)
    built = stage_tables(source, tmp_path, rejects=None).to_tables()
    assert built.nodes["tag"].to_pylist() == [{"tag": "blue", "colour": "#00f"}, {"tag": "red", "colour": None}]


def test_build_tables_checks_as_a_load_does():
    assert build_tables(SCHEMA, *tables()).interactions.to_pylist() == RATED.to_pylist()
    with pytest.raises(CatalogueError, match=r"1 of 10 rows are bad .* target is empty"):
        build_tables(SCHEMA, *tables(has_tag=with_rows(TAGS, source=["a"], target=[None])))
    with pytest.raises(CatalogueError, match="no table for the edge type 'has_tag'"):
        build_tables(SCHEMA, tables()[0], {"rated": RATED})


IDS = st.sampled_from(["", "a", "b", "c", "é", "0", "00"])
ROWS = st.lists(
    st.tuples(
        IDS, IDS, st.sampled_from(["1", "5", "nan", "inf", "x", ""]), st.sampled_from(["0", "7", "-1", "1997-01-02"])
    ),
    max_size=30,
)


@settings(max_examples=30, deadline=None)
@given(users=st.lists(IDS, max_size=8), items=st.lists(IDS, max_size=8), rows=ROWS, batch_rows=st.integers(1, 40))
def test_every_row_is_staged_or_rejected_or_a_repeat(tmp_path_factory, users, items, rows, batch_rows):
    directory = tmp_path_factory.mktemp("staged")
    columns = [list(column) for column in zip(*rows, strict=True)] or [[]] * 4
    rated = pa.table(dict(zip(["source", "target", "stars", "at"], columns, strict=True)), schema=pa.schema(
        [(name, pa.string()) for name in ("source", "target", "stars", "at")]))  # fmt: skip
    item_table = pa.table({name: pa.array(items, pa.string()) for name in ("item_id", "title")} | {
        name: pa.nulls(len(items), pa.float64()) for name in ("price", "made_at")})  # fmt: skip
    user_table = pa.table({"user_id": pa.array(users, pa.string())})
    # one valid interaction, so the load never stops for having none
    sure = pa.table({"source": ["sure"], "target": ["sure"], "stars": ["5"], "at": ["9"]})
    user_table = pa.concat_tables([user_table, pa.table({"user_id": ["sure"]})])
    sure_item = pa.table({"item_id": ["sure"], "title": ["sure"], "price": pa.nulls(1, pa.float64()),
                          "made_at": pa.nulls(1, pa.float64())})  # fmt: skip
    source = MemorySource(
        SCHEMA,
        {"user": split_table(user_table, "user", batch_rows),
         "item": split_table(pa.concat_tables([item_table, sure_item]), "item", batch_rows)},
        {"rated": split_table(pa.concat_tables([rated, sure]), "rated", batch_rows), "has_tag": []},
    )  # fmt: skip
    staged = stage_tables(source, directory, rejects=directory / "rejects.csv", max_rejects=1.0)
    built, rejects = staged.to_tables(), read_rejects(directory / "rejects.csv")
    n_staged = sum(staged.n_nodes.values()) + sum(staged.n_edges.values())
    assert n_staged + len(rejects) + staged.n_repeats == len(users) + len(items) + len(rows) + 3
    assert set(built.ids("user").to_pylist()) == (set(users) - {""}) | {"sure"}
    # by an independent implementation of the rules
    good = {(u, i) for u, i, stars, at in rows
            if u in set(users) - {""} and i in set(items) - {""} and stars in ("1", "5") and at != "-1"}  # fmt: skip
    assert set(zip(*(built.interactions[end].to_pylist() for end in ("source", "target")), strict=True)) == (
        good | {("sure", "sure")}
    )
    assert all(rejects[k][1] >= 1 for k in range(len(rejects)))
    contents = {"rated": pa.concat_tables([rated, sure]).to_pylist()}
    for _, row, table, _, content in rejects:
        if table == "rated":
            assert contents["rated"][row - 1] == content


def test_ids_that_are_written_in_another_way_are_told_with_the_near_match(tmp_path):
    items = pa.table({"item_id": ["12", "B1"], "title": ["A", "B"], "price": [1.0, 1.0], "made_at": [0, 0]})
    tags = pa.table({"source": [], "target": []}, schema=TAGS.schema)
    likes = {
        "source": ["007"] * 6,
        "target": ["12", "12.0", "13", " b1", "nan", "12 "],
        "stars": [5.0] * 6,
        "at": list(range(6)),
    }
    source = MemorySource.from_tables(SCHEMA, *tables(item=items, has_tag=tags, rated=pa.table(likes)))
    source = MemorySource(SCHEMA, source.nodes, {**source.edges, "rated": split_table(pa.table(likes), "rated", 2)})
    with open_reject_log(tmp_path / "rejects.csv") as log:
        stage_tables(source, tmp_path / "staged", rejects=log, max_rejects=1.0)
    unknown = "target is not in the item table"
    near = f"{unknown}: there is an id that differs only by"
    assert [(row, reason) for _, row, _, reason, _ in read_rejects(tmp_path / "rejects.csv")] == [
        (2, f'{near} a point, as in "12.0"'),
        (3, unknown),
        (4, f"{near} spaces around it and upper and lower case"),
        (5, "target is empty"),
        (6, f"{near} spaces around it"),
    ]
    assert "(first: rated row 2: '12.0', there is '12')" in log.describe()  # an example of a row, not of all


def test_entities_in_names_and_texts_become_characters_and_keys_stay(tmp_path):
    titles = ["Tom &amp; Jerry", "L&#39;&eacute;t&eacute; &amp;c"]
    items = pa.table({"item_id": ["a", "b&amp;"], "title": titles, "price": [1.0, 1.0], "made_at": [0, 0]})
    tags = pa.table({"source": ["a"], "target": ["R&amp;B"]})
    built = stage(tmp_path, item=items, has_tag=tags)[0].to_tables()
    assert built.nodes["item"]["title"].to_pylist() == ["Tom & Jerry", "L'été &c"]
    assert built.ids("item").to_pylist() == ["a", "b&amp;"]
    assert built.ids("tag").to_pylist() == ["R&amp;B"]


def test_entities_in_attributes_and_entries_of_lists_become_characters(tmp_path):
    item = NodeType(label="Item", key="id", attributes={"author": "string", "genres": "list"})
    user = NodeType(label="User", key="id")
    schema = CatalogueSchema(
        name="books",
        nodes={"item": item, "user": user},
        edges={"rated": EdgeType(source="user", type="RATED", target="item")},
        interaction=Interaction(edge="rated"),
    )
    genres = ["R&amp;B; Soul", "R&amp;B", '["Tom &quot;T&quot; &amp; Co", "Soul"]', None]
    items = pa.table(
        {"id": ["a&amp;", "b", "c", "d"], "author": ["Rosi &amp; Max", None, "Max", "&"], "genres": genres}
    )
    likes = pa.table({"source": ["u"], "target": ["b"]})
    source = MemorySource.from_tables(schema, {"item": items, "user": pa.table({"id": ["u"]})}, {"rated": likes})
    built = stage_tables(source, tmp_path / "staged", rejects=None).to_tables()
    assert built.nodes["item"]["author"].to_pylist() == ["Rosi & Max", None, "Max", "&"]
    assert built.nodes["item"]["genres"].to_pylist() == [["R&B", "Soul"], ["R&B"], ['Tom "T" & Co', "Soul"], None]
    assert built.ids("item").to_pylist() == ["a&amp;", "b", "c", "d"]


def test_words_for_missing_values_are_no_values_of_text(tmp_path):
    titles = ["NULL", "None"]  # people write the second one
    staged, *_ = stage(tmp_path, item=ITEMS.set_column(1, "title", pa.array(titles)))
    assert staged.to_tables().nodes["item"]["title"].to_pylist() == [None, "None"]


def test_the_schema_says_how_times_are_written(tmp_path):
    rated = SCHEMA.edges["rated"].model_copy(update={"time_formats": {"at": "%d/%m/%Y %I:%M %p"}})
    schema = SCHEMA.model_copy(update={"edges": {**SCHEMA.edges, "rated": rated}})
    at = ["04/12/1997 03:55 PM", "12/04/1997 03:55 AM", "1997-12-04"]
    likes = pa.table({"source": ["007", "u2", "u2"], "target": ["a", "a", "b"], "stars": [5.0] * 3, "at": at})
    source = MemorySource.from_tables(schema, *tables(rated=likes))
    staged = stage_tables(source, tmp_path / "staged", rejects=tmp_path / "rejects.csv", max_rejects=1.0)
    assert staged.to_tables().interactions["at"].to_pylist() == [881250900, 860817300]
    assert [(row, reason) for _, row, _, reason, _ in read_rejects(tmp_path / "rejects.csv")] == [
        (3, "at is not a time as '%d/%m/%Y %I:%M %p' reads it, such as '31/12/2024 09:05 PM'"),
    ]


def many_users(n_ratings, n_bad):
    users = pa.table({"user_id": [f"u{row}" for row in range(2_000)]})
    items = pa.table({"item_id": ["a"], "title": ["A"], "price": [1.0], "made_at": [0]})
    ratings = pa.table({"source": [f"u{row}" for row in range(n_ratings)],
                        "target": ["a"] * (n_ratings - n_bad) + ["gone"] * n_bad,
                        "stars": [5.0] * n_ratings, "at": [1] * n_ratings})  # fmt: skip
    return {"user": users, "item": items, "has_tag": TAGS.slice(0, 0), "rated": ratings}


def test_the_limit_of_bad_rows_holds_for_each_table(tmp_path):
    with pytest.raises(CatalogueError) as stopped:
        stage(tmp_path, max_rejects=0.1, **many_users(600, 547))
    assert str(stopped.value).startswith(
        "547 of 600 rows of 'rated' are bad (91.2%), more than the limit of 10.0%, so nothing was loaded: "
        "547 in rated: target is not in the item table (first: rated row 54). Each"
    )
    assert str(stopped.value).endswith("or load without them by --max-rejects 0.92")
    assert stage(tmp_path, max_rejects=0.92, **many_users(600, 547))[0].n_edges["rated"] == 53


def test_one_bad_row_of_a_small_table_does_not_stop_a_large_load(tmp_path):
    assert stage(tmp_path, max_rejects=0.1, **many_users(3, 1))[0].n_rejects == 1
    with pytest.raises(CatalogueError, match="3 of 20 rows of 'rated' are bad"):
        stage(tmp_path, max_rejects=0.1, **many_users(20, 3))
