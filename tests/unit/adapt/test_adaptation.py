"""A tiny model learns which word of a text predicts its users."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from planted_words import make_tiny_model, plant_words

from kgrec.adapt.adaptation_report import AdaptationReport
from kgrec.adapt.adaptation_run import adapt_texts
from kgrec.adapt.held_out_items import hold_out, shuffle_items
from kgrec.config import AdaptConfig, ObjectiveWeights
from kgrec.errors import CatalogueError, TextError
from kgrec.language.adapter_folder import CHECKPOINTS, save_adapter
from kgrec.language.tuned_weights import scale_change, tune_few
from kgrec.text.adapter import ADAPTER_FILE, ADAPTER_VERSION, load_adapter
from kgrec.text.language_model import load_language_model

pytestmark = pytest.mark.slow

TEXTS = ["topic1 word3 word8", "topic2", "word5 topic0 word9 word11 word12"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def config(tiny: str) -> AdaptConfig:
    return AdaptConfig(
        encoder=tiny, device="cpu", rank=4, batch_size=96, steps=40, validate_every=20, learning_rate=0.02,
        control_steps=20, validation=0.25, temperature=0.07,
    )  # fmt: skip


@pytest.fixture(scope="module")
def adapted(config: AdaptConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[AdaptationReport, Path]:
    out = tmp_path_factory.mktemp("adapted") / "adapter"
    return adapt_texts(*plant_words(), config, out), out


def test_true_likes_help_and_shuffled_ones_do_not(
    adapted: tuple[AdaptationReport, Path],
) -> None:
    report, out = adapted
    assert report.kept, report
    assert report.adapted.gain > 0.1
    assert report.adapted.ndcg > report.frozen.ndcg
    assert report.control is not None
    assert report.control.gain < report.adapted.gain / 2
    assert 0 < report.n_trained < report.n_weights / 5
    assert report.moved < 0.95
    assert not (out / CHECKPOINTS).exists()
    described = json.loads((out / ADAPTER_FILE).read_text())
    assert described["kept"] is True
    assert described["report"]["adapted"]["gain"] == report.adapted.gain


def test_a_decoder_only_model_learns_too(config: AdaptConfig, tmp_path: Path) -> None:
    tiny = make_tiny_model(tmp_path / "tiny", decoder=True)
    # Tunes all layers, since the first reads the topic's word. Over three seeds and both precisions the gain is 1.5 to
    # 2.1, or 10 to 17 standard errors; on the catalogue of the other tests it was sometimes only three.
    changes = {"encoder": tiny, "layers": 0, "control_steps": 0, "steps": 60}
    planted = plant_words(n_items=960, n_users=360, likes_each=20)
    report = adapt_texts(*planted, config.model_copy(update=changes), tmp_path / "adapter")
    assert report.kept, report
    assert report.adapted.gain > 0.5


def test_an_adapter_changes_the_vectors_and_the_revision(tiny: str, adapted: tuple[AdaptationReport, Path]) -> None:
    frozen, tuned = load_language_model(tiny), load_language_model(tiny, adapter=adapted[1])
    with torch.inference_mode():
        a, b = (model.embed(model.tokenize(TEXTS)) for model in (frozen, tuned))
    assert tuned.dim == 2 * frozen.dim  # both networks' vectors
    weight = adapted[0].ensemble_weight
    adapted_half, frozen_half = b[:, : frozen.dim] / (1 - weight) ** 0.5, b[:, frozen.dim :] / weight**0.5
    assert float((a - frozen_half).abs().max()) < 1e-6
    assert float((a * adapted_half).sum(dim=1).max()) < 0.99
    assert float((b @ b.T - weight * a @ a.T - (1 - weight) * adapted_half @ adapted_half.T).abs().max()) < 1e-6
    assert tuned.revision != frozen.revision
    assert tuned.base_revision == frozen.base_revision


@pytest.mark.parametrize("weights", [(0.95, 0.2), (0.2, 0.95)])
def test_a_useless_frozen_model_gets_the_least_weight(
    config: AdaptConfig, weights: tuple[float, ...], tmp_path: Path
) -> None:
    changes = {"ensemble_weights": weights, "control_steps": 0}
    report = adapt_texts(*plant_words(), config.model_copy(update=changes), tmp_path / "adapter")
    assert report.kept, report
    assert report.ensemble_weight == 0.2
    assert json.loads((tmp_path / "adapter" / ADAPTER_FILE).read_text())["ensemble_weight"] == 0.2


def test_likes_unrelated_to_the_texts_keep_no_adapter(tiny: str, config: AdaptConfig, tmp_path: Path) -> None:
    graph, likes = plant_words()
    report = adapt_texts(graph, shuffle_items(likes, np.random.default_rng(5)), config, tmp_path / "adapter")
    assert not report.kept
    assert {path.name for path in (tmp_path / "adapter").iterdir()} - {".lock"} == {ADAPTER_FILE}
    with pytest.raises(TextError, match=r"was not kept: .*use the model without it"):
        load_language_model(tiny, adapter=tmp_path / "adapter")


def test_without_a_better_step_the_model_stays_frozen(config: AdaptConfig, tmp_path: Path) -> None:
    still = config.model_copy(update={"learning_rate": 1e-12, "control_steps": 0})
    report = adapt_texts(*plant_words(), still, tmp_path / "adapter")
    assert not report.kept
    assert (report.adapted.step, report.moved) == (0, pytest.approx(1.0))
    assert report.adapted.gain == pytest.approx(0.0, abs=1e-6)


def test_an_interrupted_run_resumes_to_the_same_result(
    config: AdaptConfig, adapted: tuple[AdaptationReport, Path], tmp_path: Path
) -> None:
    out, seen = tmp_path / "adapter", []

    def interrupt(step: int, _: int) -> None:
        seen.append(step)
        if step == 13:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        adapt_texts(*plant_words(), config, out, on_step=interrupt)
    assert not (out / ADAPTER_FILE).exists()
    seen.clear()
    report = adapt_texts(*plant_words(), config, out, on_step=lambda step, _: seen.append(step))
    assert seen[0] == 11  # the checkpoint was written after 10 steps
    assert replace(report, seconds=0) == replace(adapted[0], seconds=0)
    resumed, straight = load_adapter(out), load_adapter(adapted[1])
    assert (resumed.config, resumed.weights) == (straight.config, straight.weights)


def test_a_temperature_at_which_chance_would_be_better_is_raised(config: AdaptConfig, tmp_path: Path) -> None:
    metrics: dict[str, list[float]] = {}
    cold = config.model_copy(update={"temperature": 0.005, "control_steps": 0})
    report = adapt_texts(
        *plant_words(), cold, tmp_path / "adapter",
        on_metric=lambda name, value, _: metrics.setdefault(name, []).append(value),
    )  # fmt: skip
    assert metrics["temperature/co_likes"] == [pytest.approx(0.08)]
    chance = np.log(cold.batch_size - 1)  # the loss of texts that collapsed into one point
    assert metrics["loss/co_likes"][-1] < chance - 0.5
    assert report.adapted.gain > 0.3


def test_training_does_not_use_cudnn_attention(config: AdaptConfig, tmp_path: Path) -> None:
    seen: list[bool] = []
    short = config.model_copy(update={"steps": 2, "control_steps": 0})
    before = torch.backends.cuda.cudnn_sdp_enabled()
    adapt_texts(
        *plant_words(), short, tmp_path / "adapter",
        on_step=lambda *_: seen.append(torch.backends.cuda.cudnn_sdp_enabled()),
    )  # fmt: skip
    assert seen == [False, False]
    assert torch.backends.cuda.cudnn_sdp_enabled() == before


def test_a_checkpoint_of_another_run_is_not_resumed(config: AdaptConfig, tmp_path: Path) -> None:
    steps: list[int] = []
    short = config.model_copy(update={"steps": 10, "control_steps": 0})

    def interrupt(step: int, _: int) -> None:
        if step == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        adapt_texts(*plant_words(), short, tmp_path / "adapter", on_step=interrupt)
    other = short.model_copy(update={"seed": 1})
    adapt_texts(*plant_words(), other, tmp_path / "adapter", on_step=lambda step, _: steps.append(step))
    assert steps[0] == 1


@pytest.mark.parametrize("decoder", [False, True])
@pytest.mark.parametrize("method", ["lora", "adalora", "prefix", "ia3"])
def test_saved_and_loaded_vectors_are_the_same(method: str, decoder: bool, tmp_path: Path) -> None:
    tiny = make_tiny_model(tmp_path / "tiny", decoder=decoder)
    model = load_language_model(tiny)
    frozen = model.embed(model.tokenize(TEXTS))
    tuned = tune_few(model, AdaptConfig(method=method, rank=4, prefix_tokens=2))
    with torch.no_grad():
        for number, weight in enumerate(p for p in tuned.parameters() if p.requires_grad):
            weight.add_(0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(number)))
        model = replace(model, network=tuned)
        before = model.embed(model.tokenize(TEXTS))
        described = {"base_revision": model.base_revision, "pooling": model.pooling, "prefix": "", "kept": True}
        described |= {"version": ADAPTER_VERSION, "ensemble_weight": 0.0}
        save_adapter(tuned, described, tmp_path / "adapter")
        loaded = load_language_model(tiny, adapter=tmp_path / "adapter")
        after = loaded.embed(loaded.tokenize(TEXTS))
    assert float((before - frozen).detach().abs().max()) > 1e-3
    assert float((before - after).abs().max()) < 1e-6


@pytest.mark.parametrize("method", ["lora", "adalora", "ia3"])
def test_a_scaled_change_moves_vectors_less(tiny: str, method: str) -> None:
    model = load_language_model(tiny)
    tokens = model.tokenize(TEXTS)
    frozen = model.embed(tokens).detach()
    tuned = tune_few(model, AdaptConfig(method=method, rank=4))
    model = replace(model, network=tuned)
    cosines = []
    with torch.no_grad():
        for weight in tuned.parameters():
            if weight.requires_grad:
                weight.add_(0.2 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
        for strength in (1.0, 0.5, 0.0):
            scale_change(tuned, strength)
            cosines.append(float((model.embed(tokens) * frozen).sum(dim=1).mean()))
    assert cosines[0] < cosines[1] < cosines[2]
    assert cosines[2] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    "objectives",
    [
        {"co_likes": 0.0, "autoencoder": 1.0},
        {"co_likes": 0.0, "distillation": 1.0},
        {"co_likes": 0.0, "neighbours": 1.0, "relations": 0.2},
    ],
)
def test_each_objective_finds_the_word(config: AdaptConfig, objectives: dict[str, float], tmp_path: Path) -> None:
    # The signal is far above noise: over three seeds, in float32 and bfloat16, the gain is 5.8 to 13.6 standard errors.
    changes = {
        "objectives": ObjectiveWeights(**objectives),
        "control_steps": 0,
        "ensemble_weights": (0.0,),
        "steps": 80,
    }
    alone = config.model_copy(update=changes)
    report = adapt_texts(*plant_words(links_each=8), alone, tmp_path / "adapter")
    assert report.kept, report
    assert report.adapted.gain > 0.2
    assert report.control is None


def test_links_of_held_out_items_are_not_learned_from(config: AdaptConfig, tmp_path: Path) -> None:
    graph, likes = plant_words()
    changes = {"objectives": ObjectiveWeights(co_likes=0, neighbours=1), "control_steps": 0, "steps": 10}
    short = config.model_copy(update=changes)
    known, _, _ = hold_out(likes, graph, short.validation, short.most_items, short.seed)
    assert known.links.shape[1] < graph.links.shape[1]
    reports = [adapt_texts(one, likes, short, tmp_path / name) for one, name in ((graph, "all"), (known, "known"))]
    assert reports[0].scores == reports[1].scores
    with pytest.raises(CatalogueError, match="with 0 links between texts that are not held out"):
        adapt_texts(
            replace(graph, links=graph.links[:, :0], relation=graph.relation[:0]), likes, short, tmp_path / "no"
        )


def test_an_adapter_of_another_model_is_an_error(adapted: tuple[AdaptationReport, Path], tmp_path: Path) -> None:
    other = make_tiny_model(tmp_path / "other", seed=1)
    with pytest.raises(TextError, match="was trained for a model of revision"):
        load_language_model(other, adapter=adapted[1])


def test_an_adapter_of_another_version_is_an_error(
    tiny: str, adapted: tuple[AdaptationReport, Path], tmp_path: Path
) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(adapted[1], copied)
    described = json.loads((copied / ADAPTER_FILE).read_text())
    (copied / ADAPTER_FILE).write_text(json.dumps({**described, "version": 2, "ensemble_weight": True}))
    with pytest.raises(TextError, match=r"has version 2; expected 3: train it again"):
        load_language_model(tiny, adapter=copied)


@pytest.mark.parametrize("missing", [ADAPTER_FILE, "adapter_config-*", "adapter_model-*"])
def test_a_half_copied_adapter_is_an_error(
    tiny: str, adapted: tuple[AdaptationReport, Path], tmp_path: Path, missing: str
) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(adapted[1], copied)
    (file,) = copied.glob(missing)
    file.unlink()
    with pytest.raises(TextError, match="adapter"):
        load_language_model(tiny, adapter=copied)


def test_too_little_to_learn_from_is_an_error(config: AdaptConfig, tmp_path: Path) -> None:
    graph, likes = plant_words()
    nothing = config.model_copy(update={"objectives": ObjectiveWeights(co_likes=0)})
    with pytest.raises(CatalogueError, match="nothing to learn from"):
        adapt_texts(graph, likes, nothing, tmp_path / "a")
    with pytest.raises(CatalogueError, match="too few likes"):
        adapt_texts(graph, likes.select(np.arange(len(likes)) < 1), config, tmp_path / "b")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "letter.txt").write_text("keep me")
    with pytest.raises(TextError, match="exists and is no adapter"):
        adapt_texts(graph, likes, config, tmp_path / "c")
    with pytest.raises(TextError, match=r"gradient is not finite.*lower learning_rate"):
        adapt_texts(graph, likes, config.model_copy(update={"learning_rate": 1e30}), tmp_path / "d")
