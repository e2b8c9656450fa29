"""Golden pitches: one for each kind of fact in each language, in golden_pitches.json."""

import json
from pathlib import Path

import pytest
from pitch_examples import OF_KIND, facts_of

from kgrec.pitch import compose_pitches, load_language
from kgrec.pitch.language_files import list_languages

PITCHES = json.loads((Path(__file__).parent / "golden_pitches.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("language", "kind"), [(language, kind) for language in PITCHES for kind in OF_KIND])
def test_each_kind_of_fact_has_its_sentence(language: str, kind: str) -> None:
    ((text, used),) = compose_pitches(load_language(language), [facts_of(OF_KIND[kind])])
    assert text == PITCHES[language][kind]
    assert used == facts_of(OF_KIND[kind])


def test_all_languages_have_golden_pitches() -> None:
    assert list(PITCHES) == list_languages()
    assert all(list(of_language) == list(OF_KIND) for of_language in PITCHES.values())
