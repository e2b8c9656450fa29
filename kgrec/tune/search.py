"""The search for better training settings: trials on validation splits, then a comparison on fresh splits."""

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean

import optuna
from optuna.trial import TrialState

from kgrec.config import TrainConfig
from kgrec.errors import KgrecError, RequestError
from kgrec.training.dataset import CatalogueGraph
from kgrec.tune.objective import fingerprint, measure_split, read_tunable_likes, to_quality
from kgrec.tune.space import SPACE, Setting, apply_params, suggest_params
from kgrec.tune.study import (
    DEFAULT,
    ERROR,
    SPLITS,
    WORKER,
    list_ended,
    measure_importances,
    name_worker,
    open_study,
    read_trial,
    requeue,
)
from kgrec.tune.trials import Comparison, Slices, Tried, Tuning


def tune_catalogue(
    graph: CatalogueGraph,
    config: TrainConfig,
    storage: Path,
    *,
    trials: int,
    n_splits: int = 3,
    space: Sequence[Setting] = SPACE,
    timeout_s: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    on_stage: Callable[[str], None] | None = None,
    on_trial: Callable[[Tried], None] | None = None,
) -> Tuning:
    """Searches for training settings that do better on validation.

    Each trial trains on `n_splits` validation splits (seeds `config.seed` and the following ones). It is pruned between
    splits when its mean so far is below the median of the other trials. The first trial is `config` itself. The best
    trial is then compared with it on as many fresh splits: the best of many trials looks better than it is.

    Args:
        graph: the catalogue, without test likes.
        config: the settings to start from, and all settings that are not tuned.
        storage: the file that keeps the trials. A study in it is continued; several processes may share it.
        trials: the number of finished trials to reach, at least 1; parallel processes may finish a few more.
        n_splits: validation splits of each trial, at least 2.
        space: the settings to tune.
        timeout_s: no trial starts after this many seconds, more than 0; None: no limit.
        clock: returns seconds.
        on_stage: called with a line for each stage.
        on_trial: called with each trial that this process finishes.

    Raises:
        RequestError: a number is too small, there are too few likes, or the file holds something else.
        CatalogueError: the catalogue has no likes.
        KgrecError: every trial failed.
    """
    if trials < 1 or n_splits < 2:  # noqa: PLR2004
        raise RequestError(f"expected at least 1 trial and 2 splits, got {trials} and {n_splits}")
    if timeout_s is not None and not timeout_s > 0:
        raise RequestError(f"expected a timeout of more than 0 s, got {timeout_s}")
    likes = read_tunable_likes(graph, config)
    study = open_study(storage, fingerprint(graph, config, space, n_splits), config, space)
    started = clock()
    seeds = range(config.seed, config.seed + n_splits)
    measure = partial(measure_split, graph, likes)
    while len(list_ended(study)) < trials and (timeout_s is None or clock() - started < timeout_s):
        _run_trial(study, measure, config, space, seeds, on_stage, on_trial)
    ended = [read_trial(trial, config) for trial in list_ended(study)]
    complete = [tried for tried in ended if tried.state == "complete"]
    if not complete:
        raise KgrecError(f"all of {len(ended)} trials failed, the last one with {ended[-1].error}")
    best = max(complete, key=lambda tried: (tried.quality, tried.is_default))
    comparison = None
    if not best.is_default and any(tried.is_default for tried in complete):
        if on_stage is not None:
            on_stage(f"comparing trial {best.number} with the default on fresh splits")
        fresh = range(seeds.stop, seeds.stop + n_splits)
        measured = [
            _measure_fresh(study, name, measure, settings, fresh)
            for name, settings in ((DEFAULT, config), (f"trial {best.number}", best.config))
        ]
        comparison = Comparison(*measured)
    names = tuple(setting.name for setting in space)
    return Tuning(config, names, tuple(ended), best, comparison, measure_importances(study))


def _run_trial(
    study: optuna.Study,
    measure: Callable[[TrainConfig, int], Slices],
    config: TrainConfig,
    space: Sequence[Setting],
    seeds: range,
    on_stage: Callable[[str], None] | None,
    on_trial: Callable[[Tried], None] | None,
) -> None:
    trial = study.ask()
    trial.set_user_attr(WORKER, name_worker(os.getpid()))
    splits: list[Slices] = []
    try:
        params = suggest_params(trial, space)
        is_default = DEFAULT in trial.user_attrs
        settings = config if is_default else apply_params(config, params)
        for step, seed in enumerate(seeds):
            if on_stage is not None:
                on_stage(f"trial {trial.number}, split {step + 1} of {len(seeds)}")
            splits.append(measure(settings, seed))
            trial.set_user_attr(SPLITS, splits)
            trial.report(fmean(map(to_quality, splits)), step)
            if step + 1 < len(seeds) and not is_default and trial.should_prune():
                study.tell(trial, state=TrialState.PRUNED)
                break
        else:
            study.tell(trial, fmean(map(to_quality, splits)))
    except Exception as error:  # other settings may still work
        trial.set_user_attr(ERROR, f"{type(error).__name__}: {error}")
        study.tell(trial, state=TrialState.FAIL)
    except BaseException:  # interrupted: the trial runs again later
        requeue(study, study.trials[trial.number])
        raise
    if on_trial is not None:
        on_trial(read_trial(study.trials[trial.number], config))


def _measure_fresh(
    study: optuna.Study,
    name: str,
    measure: Callable[[TrainConfig, int], Slices],
    config: TrainConfig,
    seeds: range,
) -> tuple[Slices, ...]:
    """Measures on fresh splits, and keeps the result in the study for a later run."""
    key = f"{SPLITS} of {name}"
    if key not in study.user_attrs:
        try:
            study.set_user_attr(key, [measure(config, seed) for seed in seeds])
        except Exception as error:
            raise KgrecError(
                f"the {name} cannot be trained on fresh splits: {type(error).__name__}: {error}; "
                "use another seed and another storage"
            ) from error
    return tuple(study.user_attrs[key])
