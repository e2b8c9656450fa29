"""A bundle whose item encoder is message passing answers, takes new items, is saved and synced as any other."""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from shop import CONFIG, KINDS, N_USERS, WORDS, WordEncoder, make_tables
from shop_changes import with_edges, with_nodes

from kgrec.bundle import Bundle, load_bundle, save_bundle
from kgrec.config import TrainConfig
from kgrec.model.gnn import GnnEncoder
from kgrec.recommend import Recommender
from kgrec.sync import sync_bundle
from kgrec.training.train_bundle import train_bundle

TITLE, LINKS = "tea green late", [("made_by", "m-tea-0")]


@cache
def train_gnn(encoder: str) -> Bundle:
    prior = {
        "encoder": encoder, "hidden": 0, "network": {"hidden": 16, "steps": 40, "learning_rate": 0.01},
        "regularisations": [1.0], "gates": [1.0], "path_dim": 4, "links_dim": 8,
    }  # fmt: skip
    config = TrainConfig.model_validate({**CONFIG.model_dump(), "prior": prior})
    with tempfile.TemporaryDirectory() as folder:
        return train_bundle(make_tables(), config, WordEncoder(), Path(folder), trained_at=1_700_000_000)


@pytest.mark.parametrize("encoder", ["sage", "hgt", "lightgcn", "elsa"])
def test_a_saved_bundle_answers_as_before_and_is_written_the_same(encoder: str, tmp_path: Path) -> None:
    bundle = train_gnn(encoder)
    assert isinstance(bundle.model.prior, GnnEncoder)
    save_bundle(bundle, tmp_path / "bundle")
    loaded = load_bundle(tmp_path / "bundle")
    save_bundle(loaded, tmp_path / "again")
    for file in (tmp_path / "bundle").iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()
    answers = []
    for one in (bundle, loaded):
        recommender = Recommender(one, WordEncoder())
        recommender.add_item("new", text=TITLE, links=LINKS)
        answers.append(recommender.recommend(likes=["sku-00", "sku-02"], text="black tea", k=30))
    assert answers[0] == answers[1]
    assert "new" in answers[0].ids


@pytest.mark.parametrize("encoder", ["sage", "hgt", "elsa"])
def test_an_added_item_is_placed_and_has_reasons(encoder: str) -> None:
    recommender = Recommender(train_gnn(encoder), WordEncoder())
    for kind in KINDS:
        words = f"{kind} {WORDS[kind][0]}"
        recommender.add_item(f"new {kind}", text=words, links=[("made_by", f"m-{kind}-{KINDS.index(kind)}")])
    best = [
        recommender.recommend(f"c{place:02}", k=1, candidates=[f"new {kind}" for kind in KINDS])[0].item
        for place in range(N_USERS)
    ]
    assert np.mean([found == f"new {KINDS[place % 2]}" for place, found in enumerate(best)]) >= 0.9
    share = next(s for s in recommender.explain("new tea", likes=["sku-06"]).shares if s.source == "like")
    assert any(step.relation == "made_by" for path in share.paths for step in path.steps)


def test_a_synced_item_is_placed_as_an_added_one(tmp_path: Path) -> None:
    tables = with_nodes(make_tables(), "product", [("new", TITLE)])
    tables = with_edges(tables, "made_by", [("new", LINKS[0][1])])
    synced, report = sync_bundle(train_gnn("sage"), tables, WordEncoder(), tmp_path / "texts", now=1_700_100_000)
    assert report.n_placed == 1
    by_hand = Recommender(train_gnn("sage"), WordEncoder())
    by_hand.add_item("new", text=TITLE, links=LINKS, name=TITLE)
    found, expected = Recommender(synced, WordEncoder()).similar("new", 5), by_hand.similar("new", 5)
    assert found.ids == expected.ids
    np.testing.assert_allclose([f.score for f in found], [e.score for e in expected], rtol=1e-4, atol=1e-5)
