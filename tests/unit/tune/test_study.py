import os
import subprocess
import sys
from pathlib import Path

import pytest
from optuna.trial import TrialState
from shop import WordEncoder, make_tables
from small_study import BASE, SPACE, make_graph, study_of

from kgrec.errors import RequestError
from kgrec.training.dataset import CatalogueGraph, build_graph
from kgrec.tune.objective import fingerprint
from kgrec.tune.search import tune_catalogue
from kgrec.tune.space import apply_params

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> CatalogueGraph:
    return make_graph(tmp_path_factory.mktemp("cache"))


def test_trials_of_a_killed_process_run_again(graph: CatalogueGraph, tmp_path: Path) -> None:
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
    elsewhere = study.ask()  # a process of another machine may still run
    elsewhere.set_user_attr("worker", "elsewhere 1")
    tuning = tune_catalogue(graph, BASE, file, trials=2, n_splits=2, space=SPACE)
    assert [tried.is_default for tried in tuning.tried] == [True, False]
    assert tuning.tried[0].config == BASE
    assert tuning.tried[1].config.item_item.few_dropout == 0.6
    states = [trial.state for trial in study_of(file, graph).trials]
    assert states == [TrialState.FAIL] * 2 + [TrialState.RUNNING] + [TrialState.COMPLETE] * 2


@pytest.mark.parametrize("change", ["config", "space", "splits", "catalogue"])
def test_a_study_with_other_inputs_is_refused(change: str, graph: CatalogueGraph, tmp_path: Path) -> None:
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


def test_a_study_may_continue_on_another_device(graph: CatalogueGraph) -> None:
    elsewhere = BASE.model_copy(update={"device": "cuda"})
    assert fingerprint(graph, BASE, SPACE, 2) == fingerprint(graph, elsewhere, SPACE, 2)


@pytest.mark.parametrize("text", ["seed = 1", "seed = 1\n", "user,item\n1,2\n", "[1]\n", "1\n", "\xff\n", "{}\n"])
def test_a_foreign_file_is_refused_and_unchanged(text: str, graph: CatalogueGraph, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(RequestError, match=r"mine\.toml is not a study of trials, or is damaged"):
        tune_catalogue(graph, BASE, file, trials=1, n_splits=2, space=SPACE)
    assert file.read_text(encoding="latin-1") == text
