"""Folders with orders and their lines, in other languages, alone and beside ratings."""

from pathlib import Path

import pytest

from graph_schema import CatalogueSchema
from graph_schema.checks.staging import stage_tables
from graph_schema.drafts.draft import draft_schema
from loaders import open_source, read_profile


def write(folder: Path, **tables) -> Path:
    folder.mkdir(exist_ok=True)
    for name, rows in tables.items():
        (folder / f"{name}.csv").write_text("".join(",".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")
    return folder


def make_orders(order: str, user: str, item: str) -> dict[str, list[tuple]]:
    """Orders of 20 users, each with 3 of 30 items."""
    return {
        "orders": [(f"{order}-Nr", user, "Datum"), *((9000 + n, f"M{n % 20:03}", f"2024-01-{n % 28 + 1:02}")
                                                     for n in range(60))],
        "lines": [(f"{order}-Nr", f"{item}-Nr", "Anzahl"),
                  *((9000 + n // 3, f"{n * 7 % 30:04}", n % 4 + 1) for n in range(180))],
        "users": [(f"{user}s-Nr", "Ort"), *((f"M{n:03}", ("Ulm", "Kiel")[n % 2]) for n in range(20))],
        "items": [(f"{item}_id", "Titel"), *((f"{n:04}", f"Ein Ding Nummer {n}") for n in range(30))],
    }  # fmt: skip


def draft(folder: Path) -> CatalogueSchema:
    return CatalogueSchema.parse(draft_schema(read_profile(folder)).toml)


@pytest.mark.parametrize("name", ["buchungen", "bestellungen", "auftraege", "vorgaenge", "commandes", "pedidos"])
def test_orders_alone_are_the_interaction_whatever_they_are_called(tmp_path, name):
    made = make_orders("Vorgang" if name == "vorgaenge" else "Beleg", "Mitglied", "Rezept")
    folder = write(
        tmp_path / "shop", **{name: made["orders"], "zeilen": made["lines"]}, mitglieder=made["users"],
        rezepte=made["items"],
    )  # fmt: skip
    schema = draft(folder)
    edge = schema.edges[schema.interaction.edge]
    assert (schema.user_type, schema.item_type) == ("mitglieder", "rezepte")
    assert edge.path == (name, "zeilen") and set(schema.nodes) == {"mitglieder", "rezepte"}
    assert (schema.interaction.weight, schema.interaction.at) == ("Anzahl", "Datum")


def test_orders_beside_ratings_are_other_feedback_and_no_nodes(tmp_path):
    made = make_orders("Buchung", "Mitglied", "Rezept")
    ratings = [("Mitglied", "Rezept", "Sterne", "Tag")]
    ratings += [(f"M{n % 20:03}", f"{n * 11 % 30:04}", n % 5 + 1, f"2024-02-{n % 28 + 1:02}") for n in range(150)]
    folder = write(
        tmp_path / "shop", buchungen=made["orders"], buchungspositionen=made["lines"], mitglieder=made["users"],
        rezepte=made["items"], bewertungen=ratings,
    )  # fmt: skip
    schema = draft(folder)
    assert (schema.interaction.edge, schema.interaction.weight) == ("bewertungen", "Sterne")
    assert dict(schema.interaction.other_feedback) == {"buchungspositionen": 1.0}
    assert schema.edges["buchungspositionen"].path == ("buchungen", "buchungspositionen")
    assert set(schema.nodes) == {"mitglieder", "rezepte"} and not schema.graph_edges
    source = open_source("tabular", path=folder, schema=schema, cache_dir=tmp_path)
    tables = stage_tables(source, tmp_path / "staged", rejects=None, max_rejects=0).to_tables()
    bought = {(f"M{n // 3 % 20:03}", f"{n * 7 % 30:04}") for n in range(180)}
    read = tables.edges["buchungspositionen"].to_pylist()
    assert {(row["source"], row["target"]) for row in read} == bought


def test_films_of_a_studio_with_tags_are_no_orders(tmp_path):
    folder = write(
        tmp_path / "films",
        films=[("film_id", "title", "user_id"), *((f"f{n}", f"The Film {n}", f"u{n % 9}") for n in range(40))],
        film_tags=[("film_id", "tag_id"), *((f"f{n % 40}", f"t{n % 7}") for n in range(120))],
        tags=[("tag_id", "name"), *((f"t{n}", f"tag {n}") for n in range(7))],
        ratings=[("user_id", "film_id", "rating"), *((f"u{n % 9}", f"f{n * 7 % 40}", n % 5 + 1) for n in range(200))],
    )
    schema = draft(folder)
    assert (schema.item_type, schema.interaction.edge) == ("films", "ratings")
    assert "tags" in schema.nodes and not any(edge.path for edge in schema.edges.values())


@pytest.mark.parametrize(("title", "shown"), [("NULL", "0000"), ("Salz &amp; Kraut", "Salz & Kraut")])
def test_an_example_shows_names_as_people_read_them(tmp_path, title, shown):
    made = make_orders("Buchung", "Mitglied", "Rezept")
    items = [made["items"][0], ("0000", title), *made["items"][2:]]
    folder = write(
        tmp_path / "shop", buchungen=made["orders"], zeilen=made["lines"], mitglieder=made["users"], rezepte=items
    )
    [path] = [one for one in read_profile(folder).relationships if one.path]
    assert path.example.startswith(f"M000 -> {shown}, Anzahl 1")
