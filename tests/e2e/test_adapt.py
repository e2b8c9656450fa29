"""`kgrec adapt` on the shop, and bundles that were trained with an adapter."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import RunCommand, Shop

from kgrec.config import AdaptConfig
from kgrec.language.adapter_folder import save_adapter
from kgrec.language.tuned_weights import tune_few
from kgrec.recommend import Recommender
from kgrec.text.adapter import ADAPTER_FILE, ADAPTER_VERSION
from kgrec.text.language_model import load_language_model

SETTINGS = """
steps = 2
validate_every = 1
control_steps = 1
batch_size = 16
[objectives]
co_likes = 1.0
neighbours = 0.5
relations = 0.1
"""


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that rotates the default model's vectors, marked as kept, with seed 0."""
    out = tmp_path_factory.mktemp("adapter") / "adapter"
    model = load_language_model()
    tuned = tune_few(model, AdaptConfig(rank=2, layers=1))
    with torch.no_grad():
        for weight in tuned.parameters():
            if weight.requires_grad:
                weight.add_(0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))
    described = {
        "base_revision": model.base_revision, "pooling": model.pooling, "prefix": model.prefix, "kept": True,
        "version": ADAPTER_VERSION, "ensemble_weight": 0.0, "report": {"split_seed": 0},
    }  # fmt: skip
    save_adapter(tuned, described, out)
    return out


def test_adapt_reports_its_result_and_train_uses_only_a_kept_adapter(
    shop: Shop, tmp_path: Path, run: RunCommand
) -> None:
    (tmp_path / "adapt.toml").write_text(SETTINGS)
    out = tmp_path / "adapter"
    ran = run("adapt", shop.store, "--out", out, "--config", tmp_path / "adapt.toml")
    assert ran.code == 0, ran
    assert "the frozen model" in ran.out
    described = json.loads((out / ADAPTER_FILE).read_text())
    report = described["report"]
    kept = "yes" if described["kept"] else "no"
    assert f"kept: {kept}: {report['reason']}" in ran.err
    assert f"{report['n_trained']:,} of {report['n_weights']:,} weights trained" in ran.err
    assert report["split_seed"] == 0
    # Two steps on 24 products are too few to judge; the rest of the test is for an adapter that is not kept.
    (out / ADAPTER_FILE).write_text(json.dumps({**described, "kept": False, "report": {**report, "reason": "no gain"}}))
    trained = run("train", shop.store, "--out", tmp_path / "b", "--config", shop.config, "--adapter", out)
    assert trained.code == 0, trained
    assert f"the adapter {out} is not used: no gain" in trained.err


def test_a_bundle_answers_sentences_in_the_adapted_space(
    shop: Shop, adapter: Path, tmp_path: Path, run: RunCommand
) -> None:
    moved = tmp_path / "adapter"
    shutil.copytree(adapter, moved)
    plain, adapted = shop.bundle, tmp_path / "adapted"
    trained = run("train", shop.store, "--out", adapted, "--config", shop.config, "--adapter", moved)
    assert trained.code == 0, trained
    revisions = [json.loads((path / "bundle.json").read_text())["encoder"]["revision"] for path in (plain, adapted)]
    assert revisions[0] != revisions[1] == load_language_model(adapter=moved).revision
    answer = run("recommend", adapted, "--text", "something to drink", "--format", "json")
    assert answer.code == 0, answer
    assert len(json.loads(answer.out)) > 0
    shutil.rmtree(moved)  # the bundle has its own copy
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(adapted, elsewhere)
    shutil.rmtree(adapted)
    assert str(tmp_path) not in (elsewhere / "bundle.json").read_text()
    again = run("recommend", elsewhere, "--text", "something to drink", "--format", "json")
    assert json.loads(again.out) == json.loads(answer.out)
    synced = run("sync", shop.store, elsewhere)
    assert synced.code == 0, synced
    loaded = Recommender.load(elsewhere)  # the first text loads its encoder
    expected = [one["item"] for one in json.loads(answer.out)]
    shutil.rmtree(elsewhere)
    assert [one.item for one in loaded.recommend(text="something to drink", k=len(expected))] == expected


def test_an_adapter_that_has_seen_the_test_likes_is_not_evaluated(
    shop: Shop, adapter: Path, tmp_path: Path, run: RunCommand
) -> None:
    ran = run(
        "evaluate", shop.store, "--out", tmp_path / "report", "--config", shop.config, "--adapter", adapter,
        "--seed", 1,
    )  # fmt: skip
    assert ran.code == 2
    assert "run both commands with the same --seed" in ran.err
    assert not (tmp_path / "report").exists()


def test_a_folder_without_an_adapter_is_an_error(shop: Shop, tmp_path: Path, run: RunCommand) -> None:
    ran = run("train", shop.store, "--out", tmp_path / "b", "--config", shop.config, "--adapter", tmp_path / "none")
    assert ran.code == 2
    assert "no adapter in" in ran.err
    (tmp_path / "wrong.toml").write_text("[objectives]\nclicks = 1.0\n")
    ran = run("adapt", shop.store, "--out", tmp_path / "a", "--config", tmp_path / "wrong.toml")
    assert ran.code == 2
    assert "wrong setting: objectives.clicks" in ran.err


def test_an_ablation_takes_no_adapter(shop: Shop, adapter: Path, tmp_path: Path, run: RunCommand) -> None:
    (tmp_path / "adapted.toml").write_text(f'adapter = "{adapter}"\n')
    ran = run("ablate", shop.store, "--out", tmp_path / "ablation", "--config", tmp_path / "adapted.toml")
    assert ran.code == 2
    assert "was trained on likes that some of these splits hold out" in ran.err
