"""`kgrec.train` on DataFrames: the bundle finds planted structure, and is like any other."""

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from shop import CONFIG, WordEncoder, make_tables

import kgrec
from graph_schema import GraphTables
from kgrec.config import SequenceConfig, TrainConfig

SMALL = Path(__file__).parents[4] / "shared" / "data" / "ml-latest-small" / "cold_users"


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> GraphTables:
    monkeypatch.setattr("kgrec.text.encoder.load_config_encoder", lambda config: WordEncoder())
    monkeypatch.setattr("kgrec.cache_dir", lambda: tmp_path / "cache")
    return make_tables()


@pytest.fixture
def ratings(tables: GraphTables) -> pd.DataFrame:
    return tables.interactions.to_pandas().rename(columns={"source": "user", "target": "item", "stars": "rating"})


@pytest.fixture
def items(tables: GraphTables) -> pd.DataFrame:
    return tables.nodes["product"].to_pandas().rename(columns={"sku": "item"})


@pytest.fixture
def links(tables: GraphTables) -> pd.DataFrame:
    made = tables.edges["made_by"].to_pandas().rename(columns={"source": "item"}).assign(relation="maker")
    return made.assign(target_name="House of " + made["target"])


def test_a_bundle_from_frames_finds_the_planted_structure(
    ratings: pd.DataFrame, items: pd.DataFrame, links: pd.DataFrame, tmp_path: Path
) -> None:
    kgrec.train(interactions=ratings, items=items, links=links, positive=4, config=CONFIG).save(tmp_path / "bundle")
    rec = kgrec.Recommender.load(tmp_path / "bundle", encoder=WordEncoder())
    tea, bike = ({f"sku-{place:02}" for place in range(start, 30, 2)} for start in (0, 1))
    assert set(rec.recommend("c00", k=5).ids) <= tea
    assert set(rec.recommend(likes=["sku-01", "sku-03"], k=8, explain=True).ids) <= bike
    assert set(rec.recommend(text="herbal tea", k=5).ids) <= tea
    assert rec.bundle.names["item"][rec.bundle.items.row("sku-04")] == items["title"][4]
    seen = ratings.loc[ratings["user"] == "c00", "item"]
    assert not set(rec.recommend("c00", k=20).ids) & set(seen)
    ran = subprocess.run(
        [sys.executable, "-m", "kgrec.cli", "recommend", tmp_path / "bundle", "--like", "sku-01", "-k", "3"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout.count("sku-")) == (0, 4), ran.stderr  # the title and three rows


def test_frames_train_like_the_same_tables(
    tables: GraphTables, ratings: pd.DataFrame, items: pd.DataFrame, links: pd.DataFrame
) -> None:
    parts = tables.edges["spare_part_of"].to_pandas().rename(columns={"source": "item"})
    links = pd.concat([links.assign(target_type="maker"), parts.assign(relation="spare_part_of", target_type="item")])
    users = tables.nodes["customer"].to_pandas().rename(columns={"customer_id": "user"})
    by_tables = kgrec.train(tables, config=CONFIG)
    by_frames = kgrec.train(ratings, items=items, links=links, users=users, positive=4, config=CONFIG)
    assert by_frames.bundle.items.ids == by_tables.bundle.items.ids
    assert by_frames.bundle.users.ids == by_tables.bundle.users.ids
    np.testing.assert_array_equal(by_frames.bundle.liked.toarray(), by_tables.bundle.liked.toarray())
    for edge_type in ("maker", "spare_part_of"):
        name = "made_by" if edge_type == "maker" else edge_type
        np.testing.assert_array_equal(by_frames.bundle.edges[edge_type], by_tables.bundle.edges[name])
    both = [set(one.recommend("c01", k=6).ids) for one in (by_frames, by_tables)]
    assert len(both[0] & both[1]) >= 5


def test_frames_of_users_and_their_links_reach_the_bundle(ratings: pd.DataFrame, items: pd.DataFrame) -> None:
    known = ratings["user"].unique().tolist()
    users = pd.DataFrame(
        {"user": known, "age": range(20, 20 + len(known)), "club": [f"club {name[-1]}" for name in known]}
    )
    user_links = pd.DataFrame({"user": known[:-1], "relation": "friend_of", "target": known[1:], "target_type": "user"})
    rec = kgrec.train(
        ratings, items=items, users=users, user_links=user_links, features=["age"], positive=4, config=CONFIG
    )
    node = rec.bundle.schema.nodes["user"]
    assert (node.features, node.sensitive) == (("age", "club"), ("age",))
    assert rec.bundle.schema.edges["friend_of"].ends == ("user", "user")
    assert {f"sku-{place:02}" for place in range(0, 30, 2)} >= set(rec.recommend("c00", k=5).ids)


def test_the_first_positional_frame_is_the_interactions(ratings: pd.DataFrame) -> None:
    numbered = ratings.assign(user=ratings["user"].str[1:].replace("urker", "99").astype(int))
    rec = kgrec.train(numbered, positive=4, config=CONFIG)
    assert set(rec.recommend("0", k=5).ids) <= {f"sku-{place:02}" for place in range(0, 30, 2)}


def test_bad_rows_are_left_out_with_a_warning_and_the_log(
    ratings: pd.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ratings.loc[0, "user"] = None
    ratings["rating"] = ratings["rating"].astype(object)
    ratings.loc[1, "rating"] = "many"
    caplog.set_level(logging.DEBUG, "kgrec")
    with pytest.warns(UserWarning, match=r"2 rows left out: .*; all of them are in .*bad\.csv"):
        rec = kgrec.train(ratings, positive=4, config=CONFIG, rejects=tmp_path / "bad.csv")
    assert rec.recommend("c05", k=3).ids
    assert list(pd.read_csv(tmp_path / "bad.csv")["row"]) == [1, 2]
    records = [(record.name, record.levelname, record.getMessage()) for record in caplog.records]
    assert any(name == "kgrec.staging" and level == "WARNING" and "rating" in text for name, level, text in records)
    assert ("kgrec.training.logging", "INFO", "choosing the gate") in records
    assert any(level == "DEBUG" and text.startswith("choosing the gate: ") for _, level, text in records)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("nothing", r"got no interactions; expected GraphTables, or a DataFrame with the columns user and item"),
        ("twice", "got interactions twice"),
        ("schema", "got a schema with DataFrames"),
        ("both", "items, user_links, features cannot be combined with GraphTables"),
        ("features", "expected features as a list of names of columns, got 'age'"),
        ("list", "interactions is of type list; expected a pandas DataFrame"),
        ("column", "interactions has no column 'item'"),
    ],
)
def test_wrong_arguments_are_one_clear_error(
    case: str, message: str, tables: GraphTables, ratings: pd.DataFrame, items: pd.DataFrame
) -> None:
    arguments = {
        "nothing": {},
        "twice": {"tables": ratings, "interactions": ratings},
        "schema": {"interactions": ratings, "schema": tables.schema},
        "both": {"tables": tables, "items": items, "user_links": items, "features": ["age"]},
        "features": {"tables": ratings, "features": "age"},
        "list": {"tables": [1]},
        "column": {"tables": ratings.drop(columns="item")},
    }
    with pytest.raises(kgrec.KgrecError, match=message):
        kgrec.train(**arguments[case])


def test_progress_is_shown_when_asked_for_and_callbacks_still_run(
    ratings: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: dict[bool | None, list[str]] = {}
    lines: dict[bool | None, str] = {}
    for progress in (None, True, False):
        shown[progress] = []
        kgrec.train(ratings, config=CONFIG, progress=progress, on_stage=shown[progress].append)
        lines[progress] = capsys.readouterr().err
    assert shown[None] == shown[True] == shown[False]
    assert "choosing the gate" in shown[None]
    assert "encoding texts" not in shown[None]  # ratings have none
    assert lines[None] == lines[False] == ""  # stderr is not a terminal here
    assert lines[True].splitlines() == shown[True]


@pytest.mark.slow
def test_real_ratings_rank_held_out_likes_above_popularity(tables: GraphTables) -> None:
    if not SMALL.is_dir():
        pytest.skip(f"needs the ratings in {SMALL}")
    ratings = pd.read_parquet(SMALL / "interactions.parquet")
    often = ratings["item"].value_counts().loc[lambda counts: counts >= 40].index
    held_out = pd.read_parquet(SMALL / "test.parquet").astype(str).groupby("user")["item"].agg(set)
    support = pd.read_parquet(SMALL / "support_k10.parquet").astype(str).groupby("user")["item"].agg(list)
    config = TrainConfig(device="cpu", sequence=SequenceConfig(layers=0))  # it takes most of the time
    rec = kgrec.train(ratings[ratings["item"].isin(often)], positive=4, config=config)
    popular = rec.recommend(k=40).ids
    hits = n_popular = 0
    for user, shown in support.items():
        likes = [item for item in shown if item in rec.bundle.items]
        if not likes:
            continue
        rest = held_out[user] - set(likes)
        hits += len(rest & set(rec.recommend(likes=likes, k=20).ids))
        n_popular += len(rest & set([item for item in popular if item not in likes][:20]))
    assert hits > n_popular > 0
