"""Values of every type in a foreign graph, and in a loaded one that was changed from outside."""

import csv
import json
from pathlib import Path

import pyarrow as pa
import pytest

from graph_schema import CatalogueSchema, NodeType
from graph_schema.schema_types import Attribute
from kgrec.errors import StoreError
from kgrec.store import open_store, read_tables
from kgrec.store.neo4j.connection import Connection

SCHEMA = CatalogueSchema.parse("""
name = "films"
[nodes.film]
label = "Film"
key = "id"
name = "title"
attributes = { year = "int", price = "float", on_sale = "bool", since = "time", shape = "vector" }
[nodes.fan]
label = "Fan"
key = "id"
[edges.seen]
source = "fan"
type = "SEEN"
target = "film"
attributes = { stars = "float", at = "time" }
[interaction]
edge = "seen"
weight = "stars"
at = "at"
""")


def with_film(*columns: str) -> CatalogueSchema:
    """The schema with these columns of films alone: what a schema names must be in the graph."""
    told = SCHEMA.model_dump()
    film = told["nodes"]["film"]
    film["attributes"] = {name: one for name, one in film["attributes"].items() if name in columns}
    film["name"] = "title" if "title" in columns else None
    return CatalogueSchema.model_validate(told)


MOMENT = 1704103200  # 2024-01-01T10:00:00Z
TIMES = {  # a time in Cypher -> its UTC seconds, or a part of the reject reason
    "datetime('2024-01-01T10:00:00Z')": MOMENT,
    "datetime('2024-01-01T11:00:00+01:00')": MOMENT,
    "datetime('2024-01-01T11:00:00[Europe/Paris]')": MOMENT,
    "datetime('2024-01-01T10:00:00.123456789Z')": MOMENT,
    "localdatetime('2024-01-01T10:00:00')": MOMENT,
    "date('2024-01-01')": MOMENT - 36_000,
    "'20240101'": MOMENT - 36_000,
    "20240101": 20240101,  # a number is epoch seconds
    f"{MOMENT}": MOMENT,
    f"{MOMENT}.5": MOMENT,
    f"{MOMENT}123": MOMENT,
    f"{MOMENT}123456": MOMENT,
    f"{MOMENT}123456789": MOMENT,
    "' 2024-01-01 10:00:00 '": MOMENT,
    "datetime('0001-01-01T00:00:00Z')": "out of range",
    "datetime('0001-01-01T00:00:00[Europe/Paris]')": "out of range",
    "datetime('9999-12-31T23:59:59.999999999-18:00')": "out of range",
    "date('9999-12-31')": "out of range",
    "datetime({year: 12000})": "is not a time",
    "datetime({year: 0})": "at is ",
    "date({year: -44})": "is not a time",
    "'31.12.2023'": "the year comes last",
    "'20240230'": "no date such as",
    "'2024-01-01T10:00:00[Europe/Paris]'": "is not a time",
    "time('10:00')": "is not a time",
    "localtime('10:00')": "is not a time",
    "duration('P1D')": "is not a time",
    "point({x: 1, y: 2})": "is not a time",
    "[1, 2]": "is not a time",
    "true": "is not a time",
    "0.0 / 0.0": "at is empty",
    "1.0 / 0.0": "is not a time",
}


def read_reasons(rejects: Path) -> dict[str, str]:
    """Maps the end of a rejected edge, or the key of a node, to the reject reason."""
    with rejects.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    contents = [json.loads(row["content"]) for row in rows]
    return {
        str(content.get("source", content.get("id"))): row["reason"]
        for row, content in zip(rows, contents, strict=True)
    }


@pytest.mark.parametrize("one_by_one", [False, True])
def test_every_kind_of_time_is_read_or_rejected(
    neo4j_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_by_one: bool
) -> None:
    """Reads all values in one batch and each in its own batch; both must agree."""
    if one_by_one:
        monkeypatch.setattr("kgrec.store.neo4j.export.PIECE_EDGES", 1)
    with Connection(neo4j_url, "write") as connection:
        connection.write("CREATE (:Film {id: 'f'}), (:Fan {id: 'fine'})")
        connection.write("MATCH (f:Film), (u:Fan) CREATE (u)-[:SEEN {stars: 1, at: 0}]->(f)")
        for place, value in enumerate(TIMES):
            connection.write(
                f"MATCH (f:Film) CREATE (:Fan {{id: $id}})-[:SEEN {{stars: 1, at: {value}}}]->(f)", {"id": str(place)}
            )
    with open_store(neo4j_url, mode="read", schema=with_film()) as store:
        tables = read_tables(store, rejects=tmp_path / "rejects.csv", max_rejects=1)
    found = dict(zip(*(tables.interactions[name].to_pylist() for name in ("source", "at")), strict=True))
    reasons = read_reasons(tmp_path / "rejects.csv")
    for place, (value, expected) in enumerate(TIMES.items()):
        if isinstance(expected, int):
            assert found[str(place)] == expected, value
        else:
            assert expected in reasons[str(place)], value
    assert len(found) + len(reasons) == len(TIMES) + 1


@pytest.mark.parametrize(
    "value",
    ["datetime()", "date('9999-12-31')", "datetime({year: 12000})", "duration('P1D')", "point({x: 1, y: 2})", "time()"],
)
def test_a_date_in_a_column_of_another_type_is_rejected_and_the_rest_is_read(
    neo4j_url: str, tmp_path: Path, value: str
) -> None:
    with Connection(neo4j_url, "write") as connection:
        for name in ("year", "price", "on_sale"):
            connection.write(f"CREATE (:Film {{id: $name, {name}: {value}}})", {"name": name})
        connection.write("CREATE (:Fan {id: 'u'})-[:SEEN {stars: 1, at: 0}]->(:Film {id: 'f', shape: [1.0, 2.0]})")
        connection.write(f"CREATE (:Film {{id: 'titled', title: {value}}})")
        connection.write(f"MATCH (u:Fan), (f:Film {{id: 'f'}}) CREATE (u)-[:SEEN {{stars: {value}, at: 0}}]->(f)")
    with open_store(neo4j_url, mode="read", schema=with_film("title", "year", "price", "on_sale", "shape")) as store:
        tables = read_tables(store, rejects=tmp_path / "rejects.csv", max_rejects=1)
    films = {film.pop("id"): film for film in tables.nodes["film"].to_pylist()}
    assert list(films) == ["f", "on_sale", "price", "titled", "year"]
    assert films["titled"]["title"]  # a title is any text
    assert not any(any(films[name].values()) for name in ("on_sale", "price", "year"))
    assert tables.interactions.to_pylist() == [{"source": "u", "target": "f", "stars": 1.0, "at": 0}]
    reasons = read_reasons(tmp_path / "rejects.csv")
    assert set(reasons) == {"year", "price", "on_sale", "u"}
    for id_, reason in reasons.items():
        assert reason.startswith(f"{'stars' if id_ == 'u' else id_} is not a")


def test_a_value_is_read_independently_of_the_others(neo4j_url: str, tmp_path: Path) -> None:
    with Connection(neo4j_url, "write") as connection:
        connection.write(
            "CREATE (:Film {id: 'a', on_sale: 1, year: 7, price: [1.5]}), (:Film {id: 'b', on_sale: 'no', year: [7]}), "
            "(:Film {id: 'c', on_sale: true, year: '7', price: 2}), (:Film {id: 'd', year: true}), "
            "(:Fan {id: 'u'})-[:SEEN {stars: 1, at: 0}]->(:Film {id: 'e', price: '2.5', shape: ['1', '2']})"
        )
    with open_store(neo4j_url, mode="read", schema=with_film("year", "price", "on_sale", "shape")) as store:
        films = read_tables(store, rejects=tmp_path / "rejects.csv", max_rejects=1).nodes["film"].to_pylist()
    assert [(film["id"], film["on_sale"], film["year"], film["price"], film["shape"]) for film in films] == [
        ("a", True, 7, None, None),
        ("b", False, None, None, None),
        ("c", True, 7, 2.0, None),
        ("d", None, None, None, None),
        ("e", None, None, 2.5, [1.0, 2.0]),
    ]
    assert read_reasons(tmp_path / "rejects.csv") == {
        "a": "price is not a float, left out of its row",
        "b": "year is not an int, left out of its row",
        "d": "year is not an int, left out of its row",
    }


SHOPS = SCHEMA.model_copy(
    update={
        "nodes": {
            **SCHEMA.nodes,
            "film": NodeType(
                label="Film",
                key="id",
                attributes={"tags": Attribute(type="list"), "place": Attribute(type="point")},
            ),
        }
    }
)
NO_POINT = "place is not a point (two finite numbers: latitude and longitude, or x and y), left out of its row"
NO_LIST = 'tags is not a list (such as "a|b", "a; b", "a, b" or JSON), left out of its row'
LISTS: dict[str, list[str] | str | None] = {  # a value of tags in Cypher -> the list, or the reject reason
    "['a', ' b ', 'a', '']": ["a", "b"],
    "['a|b', 'c, d', '[e']": ["a|b", "c, d", "[e"],
    "'a|b'": ["a", "b"],
    "'a, b'": ["a", "b"],
    "'alone'": ["alone"],
    "[1, 2]": ["1", "2"],
    "[true]": ["true"],
    "[]": None,
    "5": ["5"],
    "date('2020-01-02')": ["2020-01-02"],
    "[date('2020-01-02')]": ["2020-01-02"],
    "duration('P1D')": NO_LIST,
    "point({x: 1, y: 2})": NO_LIST,
    "[point({x: 1, y: 2})]": NO_LIST,
}
POINTS: dict[str, list[float] | str | None] = {
    "point({latitude: 59.9, longitude: 10.7})": [59.9, 10.7],
    "point({latitude: 59.9, longitude: 10.7, height: 3})": [59.9, 10.7],
    "point({x: 500.0, y: 2.0})": [500.0, 2.0],
    "point({x: 5, y: 2, z: 1})": NO_POINT,
    "[59.9, 10.7]": [59.9, 10.7],
    "[59, 10]": [59.0, 10.0],
    "'59.9, 10.7'": [59.9, 10.7],
    "'POINT(10.7 59.9)'": [59.9, 10.7],
    "[1.0]": NO_POINT,
    "[0.0 / 0.0, 1.0]": NO_POINT,
    "['1', '2']": [1.0, 2.0],
    "['a', 'b']": NO_POINT,
    "5": NO_POINT,
    "true": NO_POINT,
    "date('2020-01-02')": NO_POINT,
    "duration('P1D')": NO_POINT,
    "null": None,
}


@pytest.mark.parametrize("one_by_one", [False, True])
def test_every_kind_of_list_and_point_is_read_or_left_out(
    neo4j_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_by_one: bool
) -> None:
    """Reads all values in one batch and each in its own batch; both must agree."""
    if one_by_one:
        monkeypatch.setattr("kgrec.store.neo4j.export.PIECE_NODES", 1)
    with Connection(neo4j_url, "write") as connection:
        connection.write("CREATE (:Fan {id: 'u'})-[:SEEN {stars: 1, at: 0}]->(:Film {id: 'f'})")
        for name, values in (("tags", LISTS), ("place", POINTS)):
            for place, value in enumerate(values):
                connection.write(f"CREATE (:Film {{id: $id, {name}: {value}}})", {"id": f"{name} {place}"})
    with open_store(neo4j_url, mode="read", schema=SHOPS) as store:
        tables = read_tables(store, rejects=tmp_path / "rejects.csv", max_rejects=1)
    films = {film["id"]: film for film in tables.nodes["film"].to_pylist()}
    reasons = read_reasons(tmp_path / "rejects.csv")
    for name, values in (("tags", LISTS), ("place", POINTS)):
        for place, (value, expected) in enumerate(values.items()):
            id_ = f"{name} {place}"
            assert reasons.get(id_, films[id_][name]) == expected, value
            assert (id_ in reasons) == isinstance(expected, str), value


def test_nan_is_a_missing_value(neo4j_url: str, tmp_path: Path) -> None:
    with Connection(neo4j_url, "write") as connection:
        connection.write(
            "CREATE (f:Film {id: 'f', year: 0.0 / 0.0, price: 0.0 / 0.0, since: 0.0 / 0.0}), "
            "(:Fan {id: 'u'})-[:SEEN {stars: 1, at: 0}]->(f), (:Fan {id: 'v'})-[:SEEN {stars: 0.0 / 0.0, at: 0}]->(f)"
        )
    with open_store(neo4j_url, mode="read", schema=with_film("year", "price", "since")) as store:
        tables = read_tables(store, rejects=tmp_path / "rejects.csv", max_rejects=1)
    (film,) = tables.nodes["film"].to_pylist()
    assert (film["year"], film["price"], film["since"]) == (None, None, None)
    assert read_reasons(tmp_path / "rejects.csv") == {"v": "stars is empty"}  # an interaction needs its weight


@pytest.mark.parametrize("value", ["datetime()", "'long ago'", "[1, 2]", "point({x: 1, y: 2})"])
def test_values_changed_from_outside_are_an_error_until_a_new_load(neo4j_url: str, value: str) -> None:
    films = pa.Table.from_pylist(
        [{"id": "f", "year": 1995}, {"id": "g", "year": 1996}], SCHEMA.nodes["film"].arrow_schema
    )
    fans = pa.Table.from_pylist([{"id": "u"}], SCHEMA.nodes["fan"].arrow_schema)
    seen = pa.Table.from_pylist(
        [{"source": "u", "target": id_, "stars": 4.0, "at": MOMENT} for id_ in ("f", "g")],
        SCHEMA.edges["seen"].arrow_schema,
    )
    with open_store(neo4j_url, mode="write") as store:
        store.ensure_schema(SCHEMA)

        def load() -> None:
            store.upsert_nodes("film", films)
            store.upsert_nodes("fan", fans)
            store.upsert_edges("seen", seen)

        load()
        with Connection(neo4j_url, "write") as connection:
            connection.write(f"MATCH (f:Film {{id: 'f'}})<-[r:SEEN]-() SET f.year = {value}, r.at = {value}")
        for read in (store.read_nodes, store.read_edges):
            with pytest.raises(StoreError, match="a value that is not as loaded"):
                list(read("film" if read == store.read_nodes else "seen"))
        load()
        tables = read_tables(store)
    assert tables.nodes["film"].equals(films)
    assert tables.interactions.equals(seen)


def test_a_date_that_the_driver_cannot_read_is_an_error(neo4j_url: str) -> None:
    with Connection(neo4j_url, "read") as connection, pytest.raises(StoreError, match="of the years 1 to 9999"):
        connection.read("RETURN date({year: 12000})")
