import os
import subprocess
import sys
from pathlib import Path
from statistics import fmean, median
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from shop import CONFIG, WordEncoder, make_tables

from kgrec.config import PriorConfig, SplitConfig, TrainConfig
from kgrec.errors import KgrecError, RequestError
from kgrec.questions.splits import read_likes
from kgrec.training.dataset import CatalogueGraph, build_graph
from kgrec.training.pipeline import choose_model
from kgrec.tune.objective import fingerprint, measure_split
from kgrec.tune.space import Setting, apply_params
from kgrec.tune.study import Comparison, Tried, Tuning, open_study, tune_catalogue

BASE = CONFIG.model_copy(
    update={
        "seed": 3,
        "validation": SplitConfig(cold_users=0.3, least_likes=4, support_sizes=(0, 3)),
        "prior": PriorConfig(path_dim=4, links_dim=8, regularisation=1.0, regularisations=(), gates=()),
    }
)
SPACE = (
    Setting("item_item.few_dropout", 0.5, 0.95),
    Setting("backbone.alpha", 0.01, 1.0, log=True),
    Setting("backbone.epochs", 1, 6),
)
# On a device that is not there, trials fail.
FAILING = (Setting("device", choices=("cpu", "nowhere")), *SPACE)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> CatalogueGraph:
    return build_graph(make_tables(), WordEncoder(), tmp_path_factory.mktemp("cache"))


def study_of(file: Path, graph: CatalogueGraph, space: tuple[Setting, ...] = SPACE) -> optuna.Study:
    return open_study(file, fingerprint(graph, BASE, space, 2), BASE, space)


def told(tuning: Tuning) -> list[tuple[int, TrainConfig, str, list[float]]]:
    return [(tried.number, tried.config, tried.state, tried.qualities) for tried in tuning.tried]


def test_a_trial_is_measured_as_training_measures_itself(graph: CatalogueGraph, tmp_path: Path) -> None:
    tuning = tune_catalogue(graph, BASE, tmp_path / "study", trials=2, n_splits=2, space=SPACE)
    assert tuning.tried[0].config == BASE  # what it tries inside a training and all
    assert [tried.is_default for tried in tuning.tried] == [True, False]
    for tried in tuning.tried:
        for step, quality in enumerate(tried.qualities):
            seeded = tried.config.model_copy(update={"seed": BASE.seed + step})
            _, choices = choose_model(graph.data, graph.schema, read_likes(graph.data, graph.schema), seeded)
            reached = [verdict.worth for verdict in choices.verdicts]
            assert len(reached) > 2
            assert quality == pytest.approx(fmean(reached), abs=1e-12)


def test_a_study_that_was_gone_on_with_is_the_one_that_never_stopped(graph: CatalogueGraph, tmp_path: Path) -> None:
    at_once = tune_catalogue(graph, BASE, tmp_path / "at-once", trials=4, n_splits=2, space=SPACE)
    told_of: list[Tried] = []
    for trials in (2, 4, 4):
        found = tune_catalogue(
            graph, BASE, tmp_path / "in-parts", trials=trials, n_splits=2, space=SPACE, on_trial=told_of.append
        )
        assert len(found.tried) == trials
    assert told(found) == told(at_once)
    assert [tried.number for tried in told_of] == [0, 1, 2, 3]  # none twice
    assert found.comparison == at_once.comparison
    assert len({tried.config.backbone.alpha for tried in found.tried}) == 4


def test_hopeless_trials_are_pruned_and_the_best_is_at_least_the_default(graph: CatalogueGraph, tmp_path: Path) -> None:
    tuning = tune_catalogue(graph, BASE, tmp_path / "study", trials=12, n_splits=2, space=SPACE)
    by_state = {state: [one for one in tuning.tried if one.state == state] for state in ("complete", "pruned")}
    assert len(by_state["complete"]) >= 5
    assert by_state["pruned"]
    for pruned in by_state["pruned"]:
        before = [one.qualities[0] for one in by_state["complete"] if one.number < pruned.number]
        assert len(pruned.splits) == 1
        assert pruned.quality < median(before)
    assert tuning.best.quality == max(one.quality for one in by_state["complete"])
    assert tuning.best.quality >= tuning.tried[0].quality
    assert set(tuning.importances) == (set(tuning.settings) if len(by_state["complete"]) >= 10 else set())
    if tuning.comparison is not None:
        assert (tuning.config == tuning.best.config) == tuning.comparison.is_gain


def test_the_best_is_compared_on_splits_that_no_trial_saw(
    graph: CatalogueGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(*given: Any, **named: Any) -> dict[str, float]:
        """What is measured, less a half for the default: another trial is the best."""
        config = given[2]
        worse = 0.5 if config.backbone.regularisation == BASE.backbone.regularisation else 0.0
        return {name: worth - worse for name, worth in measure_split(*given, **named).items()}

    monkeypatch.setattr("kgrec.tune.study.measure_split", measure)
    space = (Setting("backbone.regularisation", choices=(BASE.backbone.regularisation, 0.02)),)
    tuning = tune_catalogue(graph, BASE, tmp_path / "study", trials=2, n_splits=2, space=space)
    assert not tuning.best.is_default
    assert tuning.comparison is not None
    assert tuning.comparison.is_gain
    assert tuning.config == tuning.best.config
    likes = read_likes(graph.data, graph.schema)
    for settings, found in ((BASE, tuning.comparison.default), (tuning.best.config, tuning.comparison.tuned)):
        for seed, slices in zip((5, 6), found, strict=True):  # 3 and 4 were searched on
            assert slices == measure(graph, likes, settings, seed)


def test_a_gain_is_one_that_exceeds_noise() -> None:
    def compare(*gains: float) -> Comparison:
        default = tuple({"warm": 0.4, "cold_items": 0.2} for _ in gains)
        return Comparison(default, tuple({"warm": 0.4 + gain, "cold_items": 0.2 + gain} for gain in gains))

    clear = compare(0.01, 0.02, 0.03)
    assert clear.gains == pytest.approx([0.01, 0.02, 0.03])
    assert clear.noise == pytest.approx(2.919986 * 0.01 / 3**0.5, rel=1e-6)  # Student's t, 95%, 2 degrees of freedom
    assert clear.is_gain
    assert not compare(0.00, 0.02, 0.03).is_gain
    assert not compare(-0.02, -0.02, -0.03).is_gain


def test_what_a_killed_process_left_is_run_again(graph: CatalogueGraph, tmp_path: Path) -> None:
    file = tmp_path / "study"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    study = study_of(file, graph)
    host = os.uname().nodename
    for params in ({}, {"item_item.few_dropout": 0.6, "backbone.alpha": 0.5, "backbone.epochs": 2}):
        if params:
            study.enqueue_trial(params)
        trial = study.ask()
        for setting in SPACE:
            setting.suggest(trial)
        trial.set_user_attr("worker", f"{host} {gone.pid}")
    elsewhere = study.ask()  # nothing is known of another machine's processes
    elsewhere.set_user_attr("worker", "elsewhere 1")
    tuning = tune_catalogue(graph, BASE, file, trials=2, n_splits=2, space=SPACE)
    assert [tried.is_default for tried in tuning.tried] == [True, False]
    assert tuning.tried[0].config == BASE
    assert tuning.tried[1].config.item_item.few_dropout == 0.6
    states = [trial.state for trial in study_of(file, graph).trials]
    assert states == [TrialState.FAIL] * 2 + [TrialState.RUNNING] + [TrialState.COMPLETE] * 2


def test_interrupting_keeps_what_has_ended(graph: CatalogueGraph, tmp_path: Path) -> None:
    def interrupt(stage: str) -> None:
        if stage == "trial 1, split 2 of 2":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune_catalogue(graph, BASE, tmp_path / "study", trials=3, n_splits=2, space=SPACE, on_stage=interrupt)
    interrupted = study_of(tmp_path / "study", graph).trials
    assert [trial.state for trial in interrupted] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.WAITING]
    tuning = tune_catalogue(graph, BASE, tmp_path / "study", trials=2, n_splits=2, space=SPACE)
    assert [tried.number for tried in tuning.tried] == [0, 2]
    assert tuning.tried[1].config == apply_params(BASE, interrupted[1].params)


def test_a_trial_that_fails_is_kept_and_the_others_go_on(graph: CatalogueGraph, tmp_path: Path) -> None:
    tuning = tune_catalogue(graph, BASE, tmp_path / "study", trials=6, n_splits=2, space=FAILING)
    for tried in tuning.tried:
        assert (tried.state == "failed") == (tried.config.device == "nowhere")
        assert (tried.error is not None and "nowhere" in tried.error) == (tried.state == "failed")
    assert {tried.state for tried in tuning.tried} >= {"failed", "complete"}


def test_trials_that_all_fail_are_an_error(graph: CatalogueGraph, tmp_path: Path) -> None:
    base = BASE.model_copy(update={"device": "nowhere"})
    with pytest.raises(KgrecError, match=r"all of 2 trials failed, the last one with RuntimeError: .*nowhere"):
        tune_catalogue(graph, base, tmp_path / "study", trials=2, n_splits=2, space=SPACE)


def test_no_trial_starts_after_the_time_is_up(graph: CatalogueGraph, tmp_path: Path) -> None:
    times = iter([0.0, 5.0, 10.0])
    tuning = tune_catalogue(
        graph, BASE, tmp_path / "study", trials=9, n_splits=2, space=SPACE, timeout_s=10, clock=lambda: next(times)
    )
    assert len(tuning.tried) == 1
    assert tuning.comparison is None
    assert tuning.config == BASE
    with pytest.raises(RequestError, match="timeout of more than 0 s, got 0"):
        tune_catalogue(graph, BASE, tmp_path / "other", trials=9, n_splits=2, space=SPACE, timeout_s=0)


@pytest.mark.parametrize("change", ["config", "space", "splits", "catalogue"])
def test_a_study_of_something_else_is_refused(change: str, graph: CatalogueGraph, tmp_path: Path) -> None:
    file = tmp_path / "study"
    study_of(file, graph)
    config, space, n_splits = BASE, SPACE, 2
    if change == "config":
        config = apply_params(BASE, {"head.epochs": 2})
    if change == "space":
        space = SPACE[:-1]
    if change == "splits":
        n_splits = 3
    if change == "catalogue":
        tables = make_tables()
        bought = tables.edges["bought"]
        graph = build_graph(
            type(tables)(tables.schema, tables.nodes, {**tables.edges, "bought": bought.slice(0, len(bought) - 1)}),
            WordEncoder(),
            tmp_path,
        )
    with pytest.raises(RequestError, match=rf"study holds the trials of another {change} \(.*name another storage"):
        tune_catalogue(graph, config, file, trials=1, n_splits=n_splits, space=space)


def test_the_device_does_not_make_another_study(graph: CatalogueGraph) -> None:
    elsewhere = BASE.model_copy(update={"device": "cuda"})
    assert fingerprint(graph, BASE, SPACE, 2) == fingerprint(graph, elsewhere, SPACE, 2)


@pytest.mark.parametrize("text", ["seed = 1", "seed = 1\n", "user,item\n1,2\n", "[1]\n", "1\n", "\xff\n", "{}\n"])
def test_another_file_is_refused_and_left_alone(text: str, graph: CatalogueGraph, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(RequestError, match=r"mine\.toml is no study of trials, or a damaged one"):
        tune_catalogue(graph, BASE, file, trials=1, n_splits=2, space=SPACE)
    assert file.read_text(encoding="latin-1") == text


def test_wrong_numbers_and_too_few_likes_are_errors(graph: CatalogueGraph, tmp_path: Path) -> None:
    for trials, n_splits in ((0, 2), (1, 1)):
        with pytest.raises(RequestError, match=f"at least 1 trial and 2 splits, got {trials} and {n_splits}"):
            tune_catalogue(graph, BASE, tmp_path / "study", trials=trials, n_splits=n_splits, space=SPACE)
    nothing = BASE.model_copy(update={"validation": SplitConfig(cold_users=0, cold_items=0, warm=0)})
    with pytest.raises(RequestError, match="nothing to tune on: of 300 likes none could be held out"):
        tune_catalogue(graph, nothing, tmp_path / "study", trials=1, n_splits=2, space=SPACE)
    assert not (tmp_path / "study").exists()


def test_quality_is_the_plain_mean_over_slices_and_splits() -> None:
    tried = Tried(0, BASE, True, "complete", ({"warm": 0.5, "cold_items": 0.1}, {"warm": 0.6}), 1.0, None)
    assert tried.qualities == pytest.approx([0.3, 0.6])
    assert tried.quality == pytest.approx(fmean([0.3, 0.6]))
