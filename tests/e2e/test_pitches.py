"""Pitches on the command line."""

import csv
import json
import re

import pytest
from conftest import RunCommand, Shop

from kgrec.language import LocalLanguageModel


def test_pitches_are_a_column(run: RunCommand, shop: Shop) -> None:
    request = ["recommend", shop.bundle, "--like", "sku-00", "-k", 3, "--pitch"]
    rows = json.loads(run(*request, "--format", "json").out)
    assert [list(row) for row in rows] == [["item", "rank", "score", "title", "pitch"]] * 3
    assert all(f"“{row['title']}”" in row["pitch"] for row in rows)
    assert any("“Green Tea 0”" in row["pitch"] for row in rows)
    german = json.loads(run(*request, "--language", "de", "--explain", "--format", "json").out)
    assert [list(row)[4:] for row in german] == [["reason", "pitch"]] * 3
    assert all(f"„{row['title']}“" in row["pitch"] for row in german)
    assert "pitch" in run(*request).out
    out = shop.folder / "pitches.csv"
    assert run(*request, "--out", out).code == 0
    assert [row["pitch"] for row in csv.DictReader(out.open(encoding="utf-8"))] == [row["pitch"] for row in rows]


def test_many_users_get_pitches(run: RunCommand, shop: Shop) -> None:
    (shop.folder / "asked.csv").write_text("user\nc-000\nc-001\n")
    ran = run("recommend", shop.bundle, "--users", shop.folder / "asked.csv", "-k", 2, "--pitch", "--format", "json")
    rows = json.loads(ran.out)
    assert len(rows) == 4
    assert all(f"“{row['title']}”" in row["pitch"] for row in rows)


def test_bad_languages_are_one_error(run: RunCommand, shop: Shop) -> None:
    request = ["recommend", shop.bundle, "--like", "sku-00"]
    for more, expected in (
        (["--language", "de"], "--language and --language-model are for pitches: give --pitch, too"),
        (["--language-model", "x"], "--language and --language-model are for pitches: give --pitch, too"),
        (["--pitch", "--language", "xx"], "no language 'xx': expected one of de, en, fr"),
        (["--pitch", "--language-model", str(shop.folder / "none")], "none"),
    ):
        ran = run(*request, *more)
        assert ran.code == 2
        assert expected in " ".join(ran.err.split())
        assert "Traceback" not in ran.err


def test_a_language_model_rewrites_what_it_says_truly(
    run: RunCommand, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Model:
        asked = 0

        def generate(self, prompt: str, *, max_new_tokens: int, stop: object, time_limit_s: float) -> str:
            Model.asked += 1
            item, like = json.loads(re.findall("Names: (.*)", prompt)[-1])[:2]
            honest = f"You liked “{like}”, so try “{item}”"
            return f"{honest}!" if Model.asked == 1 else f"{honest}, which won an award!"

    monkeypatch.setattr(LocalLanguageModel, "load", lambda source: Model())
    request = ["recommend", shop.bundle, "--like", "sku-00", "-k", 2, "--pitch", "--format", "json"]
    template = json.loads(run(*request).out)
    rows = json.loads(run(*request, "--language-model", "any").out)
    assert rows[0]["pitch"] == f"You liked “Green Tea 0”, so try “{rows[0]['title']}”!"
    assert rows[1]["pitch"] == template[1]["pitch"]
