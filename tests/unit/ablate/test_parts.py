"""The parts of a catalogue that an ablation leaves out, with names for people."""

from dataclasses import replace

import pyarrow as pa
from book_club import SCHEMA, make_club

from graph_schema import CatalogueSchema, GraphTables
from kgrec.ablate.parts import Part, list_parts


def test_parts_are_relations_attributes_and_texts_of_users():
    parts = list_parts(make_club(about=True))
    assert [(part.name, part.title, part.unit, part.of_users) for part in parts.values()] == [
        ("friend_of", "reader -friend_of-> reader", "links", True),
        ("lives_in", "reader -lives_in-> town", "links", True),
        ("reader.age", "readers' age", "values", True),
        ("reader.shoe_size", "readers' shoe size", "values", True),
        ("book.genre", "books' genre", "values", False),
        ("book.price", "books' price", "values", False),
        ("town.area", "towns' area", "values", True),
        ("reader texts", "readers' texts", "texts", True),
    ]
    assert (parts["lives_in"].size, parts["reader.age"].size, parts["town.area"].size) == (240, 240, 8)
    assert parts["reader texts"].size == 240


def test_missing_values_and_texts_do_not_count():
    club = make_club(about=True)
    readers = club.nodes["reader"]
    for column in ("about", "age"):
        place = readers.schema.get_field_index(column)
        kept = pa.array(readers[column].to_pylist()[:100] + [None] * 140, readers.schema.field(column).type)
        readers = readers.set_column(place, readers.schema.field(column), kept)
    parts = list_parts(replace(club, nodes={**club.nodes, "reader": readers}))
    assert (parts["reader.age"].size, parts["reader texts"].size) == (100, 100)
    assert list_parts(make_club())["reader texts"].size == 0


def test_relations_between_items_and_entities_have_plain_names_and_wish_lists_both_ends():
    edges = {**SCHEMA.edges, "wishes": SCHEMA.edges["read"].model_copy(update={"type": "WISHES"})}
    edges["sold_in"] = SCHEMA.edges["lives_in"].model_copy(update={"source": "book", "type": "SOLD_IN"})
    schema = CatalogueSchema(name="club", nodes=SCHEMA.nodes, edges=edges, interaction=SCHEMA.interaction)
    club = make_club()
    sold = club.edges["lives_in"].slice(0, 0)
    linked = {**club.edges, "wishes": club.edges["read"].slice(0, 9), "sold_in": sold}
    parts = list_parts(GraphTables(schema, club.nodes, linked))
    assert parts["sold_in"] == Part("sold_in", "sold_in", "links", 0, of_users=False)
    assert parts["wishes"] == Part("wishes", "reader -wishes-> book", "links", 9, of_users=False)
    assert not parts["town.area"].of_users  # towns are linked to books, too


def test_verdicts_on_what_describes_only_users_are_on_cold_users():
    decisive = {name: name for name in ("warm", "cold_items", "cold_users_k0", "cold_users_k3", "cold_users_k10")}
    friends, genre = (Part(name, name, "links", 1, of_users=name == "friends") for name in ("friends", "genre"))
    assert list(friends.select_judged(decisive)) == ["cold_users_k0", "cold_users_k3"]
    assert genre.select_judged(decisive) == decisive
    assert friends.select_judged({"warm": "warm"}) == {"warm": "warm"}
