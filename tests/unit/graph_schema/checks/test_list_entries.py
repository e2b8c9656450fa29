"""What is between the entries of lists that are written as text."""

import pytest

from graph_schema.checks.list_entries import find_separator, split_entries


@pytest.mark.parametrize(
    ("name", "texts", "separator"),
    [
        ("genres", ["Drama|War", "Comedy", "War|Comedy|Drama"], "|"),
        ("subjects", ["sea; war", "love; war", "sea"], ";"),
        ("genre", ["Drama, War", "Comedy", "War, Comedy, Drama"], ", "),
        ("authors", ["Ann Lake", "Bob Hill, Ann Lake", "Eve Sea"], ", "),
        ("author", ["Lake, Ann", "Hill, Bob", "Sea, Eve"], ""),  # one author each
        ("title", ["Misérables, Les", "Sea Story, The", "Hill"], ""),
        ("description", ["A long, long, story of the sea", "A hill, then a lake, then nothing"], ""),
        ("city", ["Oslo, Norway", "Bergen, Norway"], ""),
        ("category", ["Books > Fiction > Sea", "Books > War"], " > "),
        ("genres", ["['Drama', 'War']", "[]", "['War']"], "[]"),
        ("tags", ['["a", "b"]', '["b"]'], "[]"),
        ("embedding", ["[0.1, 0.25]", "[0.5, 0.125]"], ""),
        ("actor_ids", ["12,15,9", "3", "7,12"], ","),
        ("price", ["12,99", "3,50", "7,00"], ""),
        ("name", ["Ann", "Bob"], ""),
        ("genres", [], ""),
    ],
)
def test_lists_are_told_from_titles_names_and_vectors(name: str, texts: list[str], separator: str) -> None:
    assert find_separator(name, texts) == separator


def test_entries_are_split_by_separators_and_as_json_or_python_writes_them() -> None:
    assert split_entries(["Drama| War |", "Comedy"], "|") == ["Drama", "War", "Comedy"]
    assert split_entries(['["a, b", 7]', "['it''s', \"c\"]", "[broken", "{}"], "[]") == ["a, b", "7", "its", "c"]
