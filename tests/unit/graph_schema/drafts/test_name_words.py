import pytest

from graph_schema.drafts.name_words import (
    is_document_name,
    is_gathering_name,
    is_item_name,
    is_person_name,
    is_postcode_name,
    is_sensitive_name,
    is_street_name,
    split_words,
)


@pytest.mark.parametrize(
    "name",
    ["name", "first_name", "lastName", "last_name", "Vorname", "Nachname", "nom", "prénom", "nom_de_famille", "nombre",
     "Apellidos", "username", "contactName", "customer_name", "full_name"],
)  # fmt: skip
def test_names_of_people_are_known_in_four_languages(name):
    assert is_person_name(name)


@pytest.mark.parametrize(
    "name", ["city_name", "companyName", "title", "in", "team_name", "productName", "nominal", "Wohnort", "namespace"]
)
def test_names_of_other_things_are_no_names_of_people(name):
    assert not is_person_name(name)


@pytest.mark.parametrize(
    "name", ["Straße", "strasse", "street_address", "address", "Hausnummer", "rue", "calle", "dirección", "Wohnstraße"]
)
def test_streets_are_known_in_four_languages(name):
    assert is_street_name(name)


@pytest.mark.parametrize("name", ["city", "Wohnort", "called", "structure", "region", "ville", "ciudad", "strength"])
def test_towns_are_no_streets(name):
    assert not is_street_name(name)


def test_postcodes_are_known():
    assert all(map(is_postcode_name, ("PLZ", "zip", "zip_code", "postalCode", "code postal")))
    assert not is_postcode_name("zipper")


@pytest.mark.parametrize(
    "name",
    ["Geburtsdatum", "Geburtsjahr", "Geschlecht", "Alter", "Alter (Jahre)", "sexe", "date_de_naissance", "âge", "edad",
     "sexo", "fecha_nacimiento", "género", "birthDate", "age", "gender", "Anrede", "estado civil"],
)  # fmt: skip
def test_what_must_not_steer_is_sensitive_in_four_languages(name):
    assert is_sensitive_name(name)


@pytest.mark.parametrize("name", ["Beitritt", "alternative", "género_favorito", "genre", "average", "Wohnort"])
def test_other_words_that_begin_so_are_not_sensitive(name):
    assert not is_sensitive_name(name)


@pytest.mark.parametrize(
    "name",
    ["Buchungen", "Kursbuchungen", "Bestellungen", "Belege", "Rechnungen", "Aufträge", "Warenkörbe", "pedidos",
     "commandes", "factures", "reservations", "bookings", "orders", "Buchungspositionen", "Bestellpositionen"],
)  # fmt: skip
def test_what_stands_between_users_and_items_is_a_document_and_no_item(name):
    assert is_document_name(split_words(name)) and not is_item_name(split_words(name))


@pytest.mark.parametrize("name", ["Buch", "Rezepte", "books", "events"])
def test_items_are_no_documents(name):
    assert is_item_name(split_words(name)) and not is_document_name(split_words(name))


def test_compositions_are_no_lines_of_an_order():
    assert not is_document_name(["composition"])


def test_the_lines_of_an_order_gather_only_as_part_of_its_name():
    assert is_gathering_name(["order", "details"]) and is_gathering_name(["kursbuchungen"])
    assert not is_gathering_name(["details"]) and not is_gathering_name(["products"])
