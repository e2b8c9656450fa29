import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from shop import CONFIG, WordEncoder, make_tables, train_shop

from kgrec.config import TrainConfig
from kgrec.errors import RequestError
from kgrec.training.logging import log_run, time_stages
from kgrec.training.train_bundle import train_bundle

Metric = tuple[str, float, int]


def test_a_stage_ends_where_the_next_begins() -> None:
    times, stages, metrics = iter([1.0, 3.0, 3.5, 7.5]), [], []
    with time_stages(stages.append, lambda *metric: metrics.append(metric), lambda: next(times)) as begin:
        begin("reading")
        begin("writing")
    assert stages == ["reading", "writing"]
    assert metrics == [("seconds/reading", 2.0, 0), ("seconds/writing", 4.0, 1)]


def test_reporting_metrics_does_not_change_training(tmp_path: Path) -> None:
    metrics: list[Metric] = []
    stages: list[str] = []
    config = CONFIG.model_copy(update={"head": CONFIG.head.model_copy(update={"epochs": 2, "more_epochs": 2})})
    bundle, silent = (
        train_bundle(
            make_tables(), config, WordEncoder(), tmp_path, trained_at=0,
            on_stage=stages.append if on_metric else None, on_metric=on_metric,
        )
        for on_metric in (lambda *metric: metrics.append(metric), None)
    )  # fmt: skip
    by_kind = Counter(name.partition("/")[0] for name, _, _ in metrics)
    seen = bundle.choices["quality"] | {one["title"]: one["worth"] for one in bundle.choices["verdicts"]}
    assert by_kind == {"loss": 4, "validation": len(seen), "seconds": len(stages)}
    losses = [(name, step) for name, _, step in metrics if name.startswith("loss/")]
    assert losses == [(f"loss/head, {part}", epoch) for part in ("validation", "all likes") for epoch in (1, 2)]
    qualities = {name.removeprefix("validation/"): value for name, value, _ in metrics if "validation/" in name}
    assert qualities == seen
    assert [name for name, _, _ in metrics if "seconds/" in name] == [f"seconds/{stage}" for stage in stages]
    support = train_shop().liked
    assert np.array_equal(bundle.model.score(support), silent.model.score(support))
    assert bundle.choices == silent.choices


def test_an_event_file_holds_the_logged_metrics(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with log_run(TrainConfig(embedding_dim=77), tmp_path / "run") as on_metric:
        assert on_metric is not None
        for step, loss in ((1, 3.5), (2, 2.25)):
            on_metric("loss/head, validation", loss, step)
        on_metric("validation/prior gate text:author=0.5", 0.75, 7)
    found = accumulator.EventAccumulator(str(tmp_path / "run")).Reload()
    scalars = {name: [(event.step, event.value) for event in found.Scalars(name)] for name in found.Tags()["scalars"]}
    assert scalars == {
        "loss/head, validation": [(1, 3.5), (2, 2.25)],
        "validation/prior gate text:author=0.5": [(7, 0.75)],
    }
    assert b'"embedding_dim": 77' in found.Tensors("config/text_summary")[0].tensor_proto.string_val[0]


def test_without_a_log_there_is_no_callback() -> None:
    with log_run(TrainConfig()) as on_metric:
        assert on_metric is None


def test_a_run_in_weights_and_biases_is_written_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="needs kgrec[wandb]")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    with log_run(TrainConfig(), wandb_project="test") as on_metric:
        assert on_metric is not None
        on_metric("loss/head", 1.0, 1)
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))


@pytest.mark.parametrize(("package", "wanted"), [("tensorboard", "log_dir"), ("wandb", "wandb_project")])
def test_a_missing_extra_is_one_clear_error(
    package: str, wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    log_dir, project = (tmp_path / "run", None) if wanted == "log_dir" else (None, "test")
    with (
        pytest.raises(RequestError, match=rf"needs its package .*pip install 'kgrec\[{package}\]'"),
        log_run(TrainConfig(), log_dir, project),
    ):
        pass
    assert not (tmp_path / "run").exists()
