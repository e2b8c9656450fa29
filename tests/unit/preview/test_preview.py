"""What a preview shows of a catalogue, and what looks wrong in it."""

import io

import pyarrow as pa
import pytest
from rich.console import Console

from graph_schema import CatalogueError, CatalogueSchema, GraphTables
from graph_schema.checks.staging import build_tables
from graph_schema.schema_types import NodeType
from graph_schema.sources import MemorySource
from kgrec.preview import first_rows, make_preview, stage_first
from kgrec.preview.oddities import find_oddities
from kgrec.preview.panels import print_preview

SCHEMA = """
name = "films"
[nodes.film]
label = "Film"
key = "id"
name = "title"
text = ["title", "plot"]
attributes = { year = "int", genres = { type = "list", feature = true } }
[nodes.studio]
label = "Studio"
key = "id"
name = "name"
[nodes.user]
label = "User"
key = "id"
attributes = { age = { type = "int", sensitive = true } }
[edges.made_by]
source = "film"
type = "MADE_BY"
target = "studio"
phrase = "studio"
[edges.rated]
source = "user"
type = "RATED"
target = "film"
attributes = { stars = "float", at = "time" }
[interaction]
edge = "rated"
weight = "stars"
at = "at"
positive = 4
"""
DAY = 86_400
FILMS = [
    ("f1", "Heat", "A thief.", 1995, ["Crime", "Drama"]),
    ("f2", "Big", None, 1988, None),
    ("f3", None, None, None, None),
]
RATED = [
    ("u1", "f1", 5.0, 2 * DAY), ("u1", "f2", 4.0, 3 * DAY), ("u1", "f3", 1.0, 4 * DAY), ("u2", "f1", 4.5, DAY),
]  # fmt: skip


def columns(names, rows):
    return pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


def make_nodes(films=FILMS):
    return {
        "film": columns(("id", "title", "plot", "year", "genres"), films),
        "studio": columns(("id", "name"), [("s1", "North")]),
        "user": columns(("id", "age"), [("u1", 31), ("u2", 40)]),
    }


def make_edges(rated=RATED):
    return {
        "made_by": columns(("source", "target"), [("f1", "s1"), ("f2", "s1")]),
        "rated": columns(("source", "target", "stars", "at"), rated),
    }


def build(films=FILMS, rated=RATED, schema=SCHEMA):
    return build_tables(CatalogueSchema.parse(schema), make_nodes(films), make_edges(rated))


def test_users_are_shown_with_their_latest_likes_in_words():
    first, second = make_preview(build()).users
    assert (first.id, first.about, first.n_likes, first.n_others) == ("u1", ("age 31",), 2, 1)
    assert [(like.item, like.weight, like.day) for like in first.likes] == [
        ("Big", 4.0, "1970-01-04"),
        ("Heat", 5.0, "1970-01-03"),
    ]
    assert second.id == "u2"


def test_items_are_shown_as_the_model_reads_them():
    preview = make_preview(build())
    items = {item.id: item for item in preview.items}
    heat = items["f1"]
    assert preview.items[0] == heat  # the one with the most users
    assert (heat.text, heat.about, heat.n_users) == ("Heat. A thief.", ("year 1995",), 2)
    assert heat.links == ("genres: Crime, Drama", "studio: North")
    assert (items["f3"].name, items["f3"].text, items["f3"].links) == (None, None, ())
    assert (preview.n_likes, preview.n_interactions, preview.rule) == (3, 4, "stars >= 4")


@pytest.mark.parametrize(
    ("films", "rated", "schema", "sentence"),
    [
        (FILMS, RATED, SCHEMA, "1 of 3 have no title"),
        (FILMS, RATED, SCHEMA, "1 of 3 items have no text"),
        (FILMS, RATED, SCHEMA.replace("positive = 4", "positive = 1"), "every interaction is a like (stars >= 1)"),
        (FILMS, RATED, SCHEMA.replace("positive = 4", "positive = 9"), "no interaction is a like (stars >= 9)"),
        ([("12.0", "A", "b", 1, None), *FILMS], RATED, SCHEMA, "1 ids look like decimal numbers (12.0)"),
        ([("f4", "AmÃ©lie", "b", 1, None), *FILMS], RATED, SCHEMA, "1 names were read in another encoding"),
        ([(f"g{n}", "Heat", "b", 1, None) for n in range(9)] + FILMS, RATED, SCHEMA, "items share 2 names"),
    ],
)
def test_what_looks_wrong_is_said(films, rated, schema, sentence):
    assert any(sentence in found for found in make_preview(build(films, rated, schema)).oddities)


@pytest.mark.parametrize(
    ("is_linked", "has_texts", "sentences"),
    [
        (False, False, ["items have neither texts nor links nor features: only their users say what they are like, "
                        "and new items cannot be placed"]),
        (False, True, ["items have neither links nor features: new ones are placed by their texts alone"]),
        (True, False, ["2 of 2 items have no text: they are placed by their links alone"]),
        (True, True, []),
    ],
)  # fmt: skip
def test_what_describes_items_is_said_without_contradiction(is_linked, has_texts, sentences):
    tables = build(FILMS[:2], [row for row in RATED if row[1] != "f3"])
    schema = tables.schema
    if not is_linked:
        film = NodeType(label="Film", key="id", name="title", attributes={"year": "int"})
        edges = {"rated": schema.edges["rated"]}
        schema = schema.model_copy(update={"nodes": {**schema.nodes, "film": film}, "edges": edges})
    nodes = {name: tables.nodes[name].select(list(node.columns)) for name, node in schema.nodes.items()}
    tables = GraphTables(schema, nodes, {name: tables.edges[name] for name in schema.edges})
    texts = ["A thief.", "A boy."] if has_texts else [None, None]
    found = [one for one in find_oddities(tables, texts) if "placed" in one or "describes" in one]
    assert found == sentences


def test_nothing_looks_wrong_in_a_sound_catalogue():
    assert (
        make_preview(build(FILMS[:2], [row for row in RATED if row[1] != "f3"] + [("u2", "f2", 1.0, 9)])).oddities == ()
    )


def test_only_the_first_rows_are_read(monkeypatch):
    monkeypatch.setattr(first_rows, "MOST_NODES", 2)
    monkeypatch.setattr(first_rows, "MOST_EDGES", 3)
    first = stage_first(MemorySource.from_tables(CatalogueSchema.parse(SCHEMA), make_nodes(), make_edges()))
    assert first.cut == {"film": 2, "rated": 3}
    assert first.tables.interactions["target"].to_pylist() == ["f1", "f2"]  # the third film was not read
    assert first.notes == ()
    out = io.StringIO()
    print_preview(Console(file=out, width=100), make_preview(first.tables), first.cut, first.notes)
    shown = out.getvalue()
    assert "only the first rows were read of: film (2), rated (3)" in shown
    assert "Heat (5, 1970-01-03)" in shown and "studio: North" in shown


def test_bad_rows_are_noted_and_lost_interactions_are_explained(monkeypatch):
    rated = [*RATED, ("u9", "f1", 5.0, 9)]
    source = MemorySource.from_tables(CatalogueSchema.parse(SCHEMA), make_nodes(), make_edges(rated))
    [note] = stage_first(source).notes
    assert note.startswith("rated: 1 of 5 rows: source is not in the user table")
    monkeypatch.setattr(first_rows, "MOST_NODES", 0)
    with pytest.raises(CatalogueError, match="only the first rows were read: 0 of film"):
        stage_first(source)
