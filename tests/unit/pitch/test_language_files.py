"""Language files of users, whose errors are one sentence; and how the sentences of an answer vary."""

import re
from importlib.resources import files
from pathlib import Path

import pytest
from pitch_examples import LIKE, OF_KIND, PEOPLE, POPULAR, facts_of

from kgrec.errors import RequestError
from kgrec.pitch import Fact, Pitches, compose_pitches, find_fault, load_language
from kgrec.pitch.facts import clean_name, cut_name
from kgrec.pitch.language_files import list_languages

ENGLISH = (files("kgrec.pitch") / "templates" / "en.toml").read_text(encoding="utf-8")
EN = load_language("en")


def test_a_user_may_have_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(ENGLISH.replace('"{item} fits what you asked for."', '"Gnome, {item} it is!"'), encoding="utf-8")
    for path in (file, str(file)):
        assert Pitches(path).write([facts_of(Fact("words"))]) == (["Gnome, “Aladdin” it is!"], [])


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("[kinds.people]", "[kinds.persons]", "kinds.persons"),
        ('name = "English"', 'name = "English', "is not TOML"),
        ("{item} {also}", "{item} {film}", "unknown placeholder {film}"),
        ("directed by {node}", "directed by {like}", "unknown placeholder {like}"),
        ('"{item} fits what you asked for."', '"It fits what you asked for."', "expected {item} in"),
        ('"{item} fits what you asked for."', '"{item fits what you asked for."', "write {{ for a brace"),
        ('"{item} fits what you asked for."', '"{item!r} fits."', "expected plain placeholders"),
        ("It also has something of {like}: {both}.", "Also, {both}.", "expected {like} in"),
        ('title = "“{}”"', 'title = "“”"', "expected quotes around {}"),
        ('thousands = ","', 'thousand = ","', "thousand"),
    ],
)
def test_a_bad_file_is_told_of(tmp_path: Path, old: str, new: str, expected: str) -> None:
    file = tmp_path / "bad.toml"
    assert old in ENGLISH
    file.write_text(ENGLISH.replace(old, new), encoding="utf-8")
    with pytest.raises(RequestError) as raised:
        load_language(file)
    assert expected in str(raised.value) and str(file) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_kind_is_named(tmp_path: Path) -> None:
    file, begin = tmp_path / "bad.toml", ENGLISH.index("[kinds.few]")
    file.write_text(ENGLISH[:begin] + ENGLISH[ENGLISH.index("[kinds.new]") :], encoding="utf-8")
    with pytest.raises(RequestError, match="kinds: few missing"):
        load_language(file)


@pytest.mark.parametrize("name", ["none.toml", "", "\0", "latin.toml"])
def test_what_is_no_file_is_told_of(tmp_path: Path, name: str) -> None:
    (tmp_path / "latin.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(RequestError, match="expected one of de, en, fr, or the path of a language file"):
        load_language(str(tmp_path / name))


@pytest.mark.parametrize("language", list_languages())
def test_all_languages_word_the_same_relations(language: str) -> None:
    words = load_language(language)
    for phrase in ("director", "actor", "author", "genre", "publisher", "award won", "award nomination", "subject"):
        relation = words.find_relation(phrase)
        assert relation is not None
        assert None not in (relation.also, relation.both, relation.also_unnamed, relation.both_unnamed)


def test_neighbours_differ_and_the_same_facts_give_the_same_pitches() -> None:
    listed = [
        facts_of(OF_KIND["same"], PEOPLE, Fact("near", LIKE), POPULAR, item=f"Film {place}") for place in range(8)
    ]
    texts = [text for text, _ in compose_pitches(EN, listed)]
    assert texts == [text for text, _ in compose_pitches(EN, listed)]
    bare = [text.replace(f"Film {place}", "") for place, text in enumerate(texts)]
    assert len(set(bare)) == 8
    kinds = [used.facts[0].kind for _, used in compose_pitches(EN, listed)]
    assert kinds[0] == "same"  # the strongest comes first
    assert set(kinds) == {"same", "people", "near"}


def test_every_second_pitch_has_an_aside_on_something_else() -> None:
    listed = [facts_of(OF_KIND["same"], Fact("people", LIKE), POPULAR)] * 2
    found = compose_pitches(EN, listed)
    assert [len(used.facts) for _, used in found] == [1, 2]
    assert found[1][1].facts[1] == POPULAR  # not the same like once more
    assert found[1][0].endswith(". 1,234 people like it.")
    few = [facts_of(OF_KIND["same"], Fact("popular", count=19))] * 2
    assert [len(used.facts) for _, used in compose_pitches(EN, few)] == [1, 1]


def test_a_name_that_ends_in_a_dot_ends_the_sentence() -> None:
    maker = Fact("same", LIKE, "made_by", "maker", True, "Warner Bros.")
    assert compose_pitches(EN, [facts_of(maker)])[0][0].endswith("was also made by Warner Bros.")


def test_what_a_language_cannot_word_is_passed_over() -> None:
    unnamed = Fact("same", LIKE, "has_scent", "scent")
    assert (
        compose_pitches(load_language("de"), [facts_of(unnamed, POPULAR)])[0][0] == "„Aladdin“ gefällt 1.234 Menschen."
    )
    assert "has the same scent" in compose_pitches(EN, [facts_of(unnamed, Fact("few"))])[0][0]


@pytest.mark.parametrize("other", [PEOPLE, POPULAR, Fact("same", LIKE, "has_genre", "genre", True, "Animation")])
def test_a_node_without_a_name_is_told_of_only_where_nothing_else_is_true(other: Fact) -> None:
    unnamed = Fact("same", LIKE, "won", "award won")
    ((_, used),) = compose_pitches(EN, [facts_of(unnamed, other)])
    assert used.facts == (other,)
    ((text, _),) = compose_pitches(EN, [facts_of(unnamed, Fact("new"))])
    assert text == "Because you liked “Toy Story”: “Aladdin” won the same award."


@pytest.mark.parametrize("language", list_languages())
def test_a_second_sentence_never_tells_of_a_node_without_a_name(language: str) -> None:
    unnamed = Fact("same", "Heat", "is_about", "subject")
    second = facts_of(Fact("people", LIKE), unnamed, Fact("few"))
    pitches = compose_pitches(load_language(language), [second, second])
    assert [used.facts for _, used in pitches] == [(Fact("people", LIKE),)] * 2


def test_a_second_sentence_is_left_out_where_a_pitch_gets_long() -> None:
    item, like, other = (cut_name(f"{name} word " * 30) for name in "ABC")

    def second(*names: str) -> str:
        own, liked, aside = names
        facts = facts_of(Fact("people", liked), Fact("people", aside), POPULAR, Fact("followed", aside), item=own)
        return compose_pitches(EN, [facts, facts])[1][0]

    assert "“Heat”" in second("Aladdin", LIKE, "Heat")
    long = second(item, like, other)
    assert long.count("“") == 2  # no room for a third title
    assert len(long) <= 250


def test_long_names_are_cut_at_a_word() -> None:
    name = "Wireless Over-Ear Headphones with Active Noise Cancelling, 40 Hours of Playtime, Black"
    assert cut_name(name) == "Wireless Over-Ear Headphones with Active Noise Cancelling, 40 Hours\u2026"
    assert cut_name(name[:70]) == name[:70]
    assert cut_name("x" * 71) == "x" * 69 + "\u2026"
    assert cut_name("An " + "x" * 90) == "An " + "x" * 66 + "\u2026"


@pytest.mark.parametrize("language", list_languages())
def test_pitches_with_cut_names_pass_the_check(language: str) -> None:
    words = load_language(language)
    like, item = cut_name("The Long Story of a Lamp. " * 5), cut_name("Lamps, Brass (and Others), " * 5)
    for kind in ("people", "near", "followed"):
        ((text, used),) = compose_pitches(words, [facts_of(Fact(kind, like), item=item)])
        assert find_fault(words, used, text) is None
        assert words.quote(item) in text
        assert words.quote(like) in text


@pytest.mark.parametrize("language", list_languages())
def test_no_pitch_speaks_of_a_description(language: str) -> None:
    for kind, wording in load_language(language).kinds.items():
        for text in (*wording.pitches, *wording.asides):
            assert not re.search("descri|beschreib|décri", text.casefold()), kind


def test_names_are_one_line() -> None:
    assert clean_name("A\nB\t\x1b[31mC\u202eD\u2028E  F ") == "A B [31mC D E F"
    assert clean_name("Pokémon: 名探偵 — Zoë\u2019s 👩\u200d🚀") == "Pokémon: 名探偵 — Zoë\u2019s 👩\u200d🚀"
