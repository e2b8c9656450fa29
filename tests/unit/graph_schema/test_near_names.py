import pytest

from graph_schema.near_names import find_near_name


@pytest.mark.parametrize(
    ("name", "names", "near"),
    [
        ("ACTEDIN", ["DIRECTED", "ACTED_IN"], "ACTED_IN"),
        ("title", ["Title", "tile"], "Title"),
        ("lable", ["table", "label"], "label"),
        ("ORDERD", ["ORDERS", "PURCHASED"], "ORDERS"),
        ("price", ["genre"], None),
        ("Anzahl Platze", ["Einzelpreis", "Anzahl Plätze"], "Anzahl Plätze"),
        ("Strase", ["Stadt", "Straße"], "Straße"),
        ("STRASSE", ["Strasa", "Straße"], "Straße"),
        ("prénom", ["nom", "Prenom"], "Prenom"),
        ("x", [], None),
    ],
)
def test_the_near_name(name, names, near):
    assert find_near_name(name, names) == near
