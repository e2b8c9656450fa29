"""Likes in order, with and without times, on the command line."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import RunCommand, Shop

from kgrec.bundle import load_bundle, save_bundle

IN_ORDER = ["sku-02", "sku-04", "sku-01"]


@pytest.fixture
def bundle(shop: Shop) -> Path:
    """The shop's bundle, with recent likes weighed more."""
    trained = load_bundle(Path(shop.bundle))
    gate = replace(trained.model.gate, recency=np.full_like(trained.model.gate.recency, 0.5))
    path = shop.folder / "in_order"
    save_bundle(replace(trained, model=replace(trained.model, gate=gate)), path)
    return path


def write(shop: Shop, name: str, *rows: str) -> Path:
    file = shop.folder / name
    file.write_text("\n".join(rows) + "\n")
    return file


def scores(run: RunCommand, *asked: object) -> dict[str, float]:
    ran = run("recommend", *asked, "-k", 10, "--format", "json")
    assert ran.code == 0, ran.err
    return {row["item"]: row["score"] for row in json.loads(ran.out)}


def test_a_sequence_is_in_the_order_of_its_times_or_rows(run: RunCommand, shop: Shop, bundle: Path) -> None:
    likes = [part for item in IN_ORDER for part in ("--like", item)]
    expected = scores(run, bundle, *likes)
    assert expected != scores(run, bundle, "--like", "sku-01", "--like", "sku-04", "--like", "sku-02")
    plain = write(shop, "plain.csv", "item", *IN_ORDER)
    assert scores(run, bundle, "--sequence", plain) == expected
    backward = [f"{item},2024-05-31T10:00:0{place}" for place, item in enumerate(IN_ORDER)][::-1]
    for name in ("bought_at", "time", "at"):
        timed = write(shop, f"by_{name}.csv", f"item,{name}", *backward)
        assert scores(run, bundle, "--sequence", timed) == pytest.approx(expected, rel=1e-4)
    gap = write(shop, "gap.csv", "item,time", "sku-02,2024-05-31", "sku-04,", "sku-01,2024-06-01")
    assert scores(run, bundle, "--sequence", gap) == pytest.approx(expected, rel=0.1)


def test_columns_of_a_sequence_that_change_nothing_are_named(run: RunCommand, shop: Shop, bundle: Path) -> None:
    rows = [f"ann,{item},Tea,5,{place}" for place, item in enumerate(IN_ORDER)][::-1]
    file = write(shop, "exported.csv", "user,item,title,stars,bought_at", *rows)
    ran = run("recommend", bundle, "--sequence", file, "-k", 10, "--format", "json")
    assert ran.code == 0
    assert "not read: 'user', 'title', 'stars'; times are read from 'bought_at' or" in " ".join(ran.err.split())
    likes = [part for item in IN_ORDER for part in ("--like", item)]
    assert {row["item"]: row["score"] for row in json.loads(ran.out)} == pytest.approx(
        scores(run, bundle, *likes), rel=1e-4
    )


def test_times_are_read_as_the_schema_writes_them(run: RunCommand, shop: Shop, bundle: Path) -> None:
    trained = load_bundle(bundle)
    edge = trained.schema.interaction.edge
    written = trained.schema.edges[edge].model_copy(update={"time_formats": {"bought_at": "%d.%m.%Y"}})
    schema = trained.schema.model_copy(update={"edges": trained.schema.edges | {edge: written}})
    path = shop.folder / "days"
    save_bundle(replace(trained, schema=schema), path)
    days = ["03.01.2024", "01.02.2024", "02.02.2024"]
    rows = [f"ann,{item},{day}" for item, day in zip(IN_ORDER, days, strict=True)][::-1]
    likes = [part for item in IN_ORDER for part in ("--like", item)]
    expected = pytest.approx(scores(run, bundle, *likes), rel=0.1)
    file = write(shop, "days.csv", "user,item,bought_at", *rows)
    assert scores(run, path, "--sequence", file) == expected
    assert scores(run, path, "--likes", file) == expected
    ran = run("recommend", path, "--sequence", write(shop, "iso.csv", "item,bought_at", "sku-02,2024-01-03"))
    assert ran.code == 2
    assert "iso.csv: in row 1 ('sku-02') bought_at is not a time as '%d.%m.%Y' reads it" in " ".join(ran.err.split())


def test_likes_of_many_users_are_in_order(run: RunCommand, shop: Shop, bundle: Path) -> None:
    rows = [f"a,{item},{100 - place}\nb,{item},{place}" for place, item in enumerate(IN_ORDER[::-1])]
    by_time = write(shop, "by_time.csv", "user,item,bought_at", *rows)
    ran = run("recommend", bundle, "--likes", by_time, "-k", 10, "--format", "json")
    assert ran.code == 0, ran.err
    for user, items in (("a", IN_ORDER), ("b", IN_ORDER[::-1])):
        found = {row["item"]: row["score"] for row in json.loads(ran.out) if row["user"] == user}
        assert found == pytest.approx(scores(run, bundle, *(p for item in items for p in ("--like", item))), rel=1e-4)


def test_an_explanation_of_a_sequence(run: RunCommand, shop: Shop, bundle: Path) -> None:
    file = write(shop, "explained.csv", "item,time", "sku-02,2024-05-31", "sku-unknown,2024-06-01", "sku-04,")
    ran = run("explain", bundle, "--item", "sku-06", "--sequence", file, "--format", "json")
    assert ran.code == 0, ran.err
    assert {row["item"] for row in json.loads(ran.out)} == {"sku-02", "sku-04", None}
    assert "unknown ids, ignored: 'sku-unknown'" in ran.err
    assert "sum of the shares" in run("explain", bundle, "--item", "sku-06", "--sequence", file).out


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["thing,time", "sku-02,1"], "lacks the column 'item'"),
        (
            ["item,when", "sku-02,1"],
            "columns that are not read: 'when'; expected 'item', and the time in 'bought_at' or",
        ),
        (["item,time,bought_at", "sku-02,1,2"], "columns that are not read: 'time'; expected 'item', and the time in"),
        (["user,item", "a,sku-02", "b,sku-04"], "has likes of several users"),
        (["item,time", "sku-02,soon"], "bad.csv: in row 1 ('sku-02') time is not a time"),
        (["item,time", "sku-02,1", "sku-04,31/12/2024"], "bad.csv: in row 2 ('sku-04') time is not a time"),
        (["item,time", "sku-02,1704067200000"], "it looks like milliseconds"),
        (["item,time", "sku-02,2099-01-01"], "is in the future"),
        (["item,time", "nothing,1"], "none of the 1 ids given as sequence is an item"),
        (["item,time", "sku-02,1", ",1"], "rows with an empty field: row 2 has no item"),
    ],
)
def test_a_bad_sequence_is_one_message(run: RunCommand, shop: Shop, rows: list[str], said: str) -> None:
    file = write(shop, "bad.csv", *rows)
    for command in (("recommend", shop.bundle), ("explain", shop.bundle, "--item", "sku-06")):
        ran = run(*command, "--sequence", file)
        assert ran.code == 2
        assert said in " ".join(ran.err.split())
        assert "Traceback" not in ran.err


def test_likes_and_a_sequence_are_one_too_many(run: RunCommand, shop: Shop) -> None:
    file = write(shop, "one.csv", "item", "sku-02")
    ran = run("recommend", shop.bundle, "--sequence", file, "--like", "sku-04")
    assert ran.code == 2
    assert "got both likes and a sequence" in ran.err
    for option in ("--users", "--likes"):
        ran = run("recommend", shop.bundle, "--sequence", file, option, file)
        assert ran.code == 2
        assert "which combine; got several" in " ".join(ran.err.split())
    assert run("recommend", shop.bundle, "--sequence", shop.folder / "nowhere.csv").code == 2
