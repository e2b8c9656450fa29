from pathlib import Path
from statistics import fmean, median
from typing import Any

import pytest
from optuna.trial import TrialState
from small_study import BASE, FAILING, SPACE, make_graph, study_of

from kgrec.config import SplitConfig, TrainConfig
from kgrec.errors import KgrecError, RequestError
from kgrec.questions.splits import read_likes
from kgrec.training.dataset import CatalogueGraph
from kgrec.training.pipeline import choose_model
from kgrec.tune.objective import measure_split
from kgrec.tune.search import tune_catalogue
from kgrec.tune.space import Setting, apply_params
from kgrec.tune.trials import Tried, Tuning

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> CatalogueGraph:
    return make_graph(tmp_path_factory.mktemp("cache"))


def list_trials(tuning: Tuning) -> list[tuple[int, TrainConfig, str, list[float]]]:
    return [(tried.number, tried.config, tried.state, tried.qualities) for tried in tuning.tried]


def test_a_trial_has_the_score_of_training(graph: CatalogueGraph, tmp_path: Path) -> None:
    tuning = tune_catalogue(graph, BASE, tmp_path / "study", trials=2, n_splits=2, space=SPACE)
    assert tuning.tried[0].config == BASE  # with the values that training tries
    assert [tried.is_default for tried in tuning.tried] == [True, False]
    for tried in tuning.tried:
        for step, quality in enumerate(tried.qualities):
            seeded = tried.config.model_copy(update={"seed": BASE.seed + step})
            _, choices = choose_model(graph.data, graph.schema, read_likes(graph.data, graph.schema), seeded)
            reached = [verdict.worth for verdict in choices.verdicts]
            assert len(reached) > 2
            assert quality == pytest.approx(fmean(reached), abs=1e-12)


def test_a_continued_study_equals_an_uninterrupted_one(graph: CatalogueGraph, tmp_path: Path) -> None:
    at_once = tune_catalogue(graph, BASE, tmp_path / "at-once", trials=4, n_splits=2, space=SPACE)
    finished: list[Tried] = []
    for trials in (2, 4, 4):
        found = tune_catalogue(
            graph, BASE, tmp_path / "in-parts", trials=trials, n_splits=2, space=SPACE, on_trial=finished.append
        )
        assert len(found.tried) == trials
    assert list_trials(found) == list_trials(at_once)
    assert [tried.number for tried in finished] == [0, 1, 2, 3]  # none twice
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


def test_the_best_is_compared_on_fresh_splits(
    graph: CatalogueGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(*given: Any, **named: Any) -> dict[str, float]:
        """Subtracts a half from the default, so that another trial is the best."""
        config = given[2]
        worse = 0.5 if config.backbone.regularisation == BASE.backbone.regularisation else 0.0
        return {name: worth - worse for name, worth in measure_split(*given, **named).items()}

    monkeypatch.setattr("kgrec.tune.search.measure_split", measure)
    space = (Setting("backbone.regularisation", choices=(BASE.backbone.regularisation, 0.02)),)
    tuning = tune_catalogue(graph, BASE, tmp_path / "study", trials=2, n_splits=2, space=space)
    assert not tuning.best.is_default
    assert tuning.comparison is not None
    assert tuning.comparison.is_gain
    assert tuning.config == tuning.best.config
    likes = read_likes(graph.data, graph.schema)
    for settings, found in ((BASE, tuning.comparison.default), (tuning.best.config, tuning.comparison.tuned)):
        for seed, slices in zip((5, 6), found, strict=True):  # the trials used 3 and 4
            assert slices == measure(graph, likes, settings, seed)


def test_an_interrupt_keeps_finished_trials(graph: CatalogueGraph, tmp_path: Path) -> None:
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


def test_no_trial_starts_after_the_timeout(graph: CatalogueGraph, tmp_path: Path) -> None:
    times = iter([0.0, 5.0, 10.0])
    tuning = tune_catalogue(
        graph, BASE, tmp_path / "study", trials=9, n_splits=2, space=SPACE, timeout_s=10, clock=lambda: next(times)
    )
    assert len(tuning.tried) == 1
    assert tuning.comparison is None
    assert tuning.config == BASE
    with pytest.raises(RequestError, match="expected a timeout of more than 0 s, got 0"):
        tune_catalogue(graph, BASE, tmp_path / "other", trials=9, n_splits=2, space=SPACE, timeout_s=0)


def test_wrong_numbers_and_too_few_likes_are_errors(graph: CatalogueGraph, tmp_path: Path) -> None:
    for trials, n_splits in ((0, 2), (1, 1)):
        with pytest.raises(RequestError, match=f"at least 1 trial and 2 splits, got {trials} and {n_splits}"):
            tune_catalogue(graph, BASE, tmp_path / "study", trials=trials, n_splits=n_splits, space=SPACE)
    nothing = BASE.model_copy(update={"validation": SplitConfig(cold_users=0, cold_items=0, warm=0)})
    with pytest.raises(RequestError, match="nothing to tune on: none of 300 likes can be held out"):
        tune_catalogue(graph, nothing, tmp_path / "study", trials=1, n_splits=2, space=SPACE)
    assert not (tmp_path / "study").exists()
