"""A study: trials of settings, kept in a file that several processes may work on, and what came of them."""

import json
import math
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import t as student

from kgrec.config import TrainConfig
from kgrec.errors import KgrecError, RequestError
from kgrec.training.dataset import CatalogueGraph
from kgrec.tune.objective import fingerprint, measure_split, read_tunable_likes, to_quality
from kgrec.tune.space import SPACE, Setting, apply_params, nearest_params, suggest_params

_STUDY = "kgrec"
_FINGERPRINT, _DEFAULT, _WORKER, _ERROR, _SPLITS = "fingerprint", "default", "worker", "error", "splits"
_STARTUP_TRIALS = 5  # none is pruned before so many are complete
_LEAST_FOR_IMPORTANCES = 10
_LEVEL = 0.95  # how sure a gain must be
_LOCK_S = 10  # a lock so old is of a process that was killed
Slices = dict[str, float]  # validation slice -> quality


@dataclass(frozen=True)
class Tried:
    """One trial that has ended.

    Attributes:
        number: from 0.
        config: its settings.
        is_default: whether they are those that the study began with.
        state: "complete", "pruned" or "failed".
        splits: the quality on each slice, for each split that it got to.
        took_s: seconds.
        error: what it failed with.
    """

    number: int
    config: TrainConfig
    is_default: bool
    state: str
    splits: tuple[Slices, ...]
    took_s: float
    error: str | None

    @property
    def qualities(self) -> list[float]:
        """The quality on each split."""
        return [to_quality(slices) for slices in self.splits]

    @property
    def quality(self) -> float:
        """Their mean."""
        return fmean(self.qualities)


@dataclass(frozen=True)
class Comparison:
    """The best trial beside the default, on validation splits that chose neither.

    Attributes:
        default, tuned: the quality on each slice, for each split.
    """

    default: tuple[Slices, ...]
    tuned: tuple[Slices, ...]

    @property
    def gains(self) -> list[float]:
        """How much better the tuned settings are on each split."""
        return [to_quality(after) - to_quality(before) for before, after in zip(self.default, self.tuned, strict=True)]

    @property
    def noise(self) -> float:
        """What the mean gain must exceed: Student's one-sided 95% bound on the mean of as many paired differences."""
        n = len(self.gains)
        return float(student.ppf(_LEVEL, n - 1)) * stdev(self.gains) / math.sqrt(n)

    @property
    def is_gain(self) -> bool:
        """Whether the tuned settings are better by more than noise."""
        return fmean(self.gains) > self.noise


@dataclass(frozen=True)
class Tuning:
    """What came of a study.

    Attributes:
        base: the settings that it began with, the default.
        settings: the names of those that were tuned.
        tried: the trials that have ended, in their order.
        best: the complete one of the highest quality.
        comparison: of the best with the default; None where the default is the best, or failed.
        importances: setting -> its share in what moved the quality, highest first; empty after few trials.
    """

    base: TrainConfig
    settings: tuple[str, ...]
    tried: tuple[Tried, ...]
    best: Tried
    comparison: Comparison | None
    importances: Mapping[str, float]

    @property
    def config(self) -> TrainConfig:
        """The settings to use: the best trial's, unless what they gain on the default is within noise."""
        return self.best.config if self.comparison is None or self.comparison.is_gain else self.base


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
    cache_dir: Path | None = None,
) -> Tuning:
    """Searches settings of the training that do better on validation.

    Each trial trains on `n_splits` validation splits (seeds `config.seed` and those after it) and is pruned between
    them where its mean so far is below the median of the others'. The first trial is `config` itself. The best one is
    then compared with it on as many splits that were not searched on: of many trials the best looks better than it is.

    Args:
        graph: the catalogue. Test likes must not be in it.
        config: where to start, and all that is not tuned.
        storage: the file that keeps the trials; a study that is there is gone on with. Several processes may share it.
        trials: how many shall have ended in all; processes side by side may end a few more.
        n_splits: validation splits of each trial, at least 2.
        space: the settings that are tuned.
        timeout_s: no trial starts after so many seconds.
        clock: seconds.
        on_stage: called with what is being done, a line each.
        on_trial: called with each trial that this process ends.
        cache_dir: where propagated features are kept, which many trials share; None: nowhere.

    Raises:
        RequestError: a number is too small, there are too few likes, or the file holds something else.
        CatalogueError: the catalogue has no likes.
        KgrecError: every trial failed.
    """
    if trials < 1 or n_splits < 2:  # noqa: PLR2004
        raise RequestError(f"expected at least 1 trial and 2 splits, got {trials} and {n_splits}")
    likes = read_tunable_likes(graph, config)
    study = open_study(storage, fingerprint(graph, config, space, n_splits), config, space)
    started = clock()
    seeds = range(config.seed, config.seed + n_splits)
    measure = partial(measure_split, graph, likes, cache_dir=cache_dir)
    while len(_ended(study)) < trials and (timeout_s is None or clock() - started < timeout_s):
        _run_trial(study, measure, config, space, seeds, on_stage, on_trial)
    ended = [_read_trial(trial, config) for trial in _ended(study)]
    complete = [tried for tried in ended if tried.state == "complete"]
    if not complete and ended:
        raise KgrecError(f"all of {len(ended)} trials failed, the last one with {ended[-1].error}")
    if not complete:
        raise RequestError(f"no trial was run: expected a timeout of more than 0 s, got {timeout_s}")
    best = max(complete, key=lambda tried: (tried.quality, tried.is_default))
    comparison = None
    if not best.is_default and any(tried.is_default for tried in complete):
        if on_stage is not None:
            on_stage(f"comparing trial {best.number} with the default on splits that were not searched on")
        fresh = range(seeds.stop, seeds.stop + n_splits)
        measured = [
            _measure_fresh(study, name, measure, settings, fresh)
            for name, settings in ((_DEFAULT, config), (f"trial {best.number}", best.config))
        ]
        comparison = Comparison(*measured)
    names = tuple(setting.name for setting in space)
    return Tuning(config, names, tuple(ended), best, comparison, _importances(study))


def open_study(storage: Path, expected: dict[str, str], config: TrainConfig, space: Sequence[Setting]) -> optuna.Study:
    """Opens the study of a file, or begins one; trials of processes that were killed are queued again.

    Args:
        storage: the file.
        expected: what its trials must have been measured on, from `fingerprint`.
        config: the settings of the first trial.
        space: the settings that are tuned.

    Raises:
        RequestError: the file holds something else.
    """
    storage.parent.mkdir(parents=True, exist_ok=True)
    try:
        _check_journal(storage)
        lock = JournalFileSymlinkLock(str(storage), grace_period=_LOCK_S)
        study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(storage), lock)),
            study_name=_STUDY,
            direction="maximize",
            load_if_exists=True,
            sampler=_NumberedSampler(config.seed),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RequestError(
            f"{storage} is no study of trials, or a damaged one ({error}); expected a new file, or one that "
            "`kgrec tune` wrote: name another, or delete it"
        ) from error
    if _FINGERPRINT not in study.user_attrs:
        study.enqueue_trial(nearest_params(config, space), {_DEFAULT: True}, skip_if_exists=True)
        study.set_user_attr(_FINGERPRINT, expected)
    found = study.user_attrs[_FINGERPRINT]
    differing = [name for name in expected if found.get(name) != expected[name]]
    if differing:
        name = differing[0]
        raise RequestError(
            f"{storage} holds the trials of another {' and another '.join(differing)} ({name}: {found.get(name)}, "
            f"here {expected[name]}), and qualities cannot be compared: name another storage, or delete it"
        )
    _requeue_killed(study)
    return study


def _check_journal(storage: Path) -> None:
    """Optuna would take a last line that it cannot read for one that is being written, and append to the file."""
    if storage.exists() and storage.stat().st_size:
        with storage.open("rb") as opened:
            json.loads(opened.readline())["op_code"]


class _NumberedSampler(optuna.samplers.BaseSampler):
    """TPE whose draws depend on the trial's number: processes side by side draw different ones, and a study that was
    gone on with draws what it would have drawn.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._tpe = optuna.samplers.TPESampler(seed=seed)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        seed = np.random.SeedSequence([self._seed, trial.number]).generate_state(1)[0]
        self._tpe = optuna.samplers.TPESampler(seed=int(seed))

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._tpe.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._tpe.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._tpe.sample_independent(study, trial, param_name, param_distribution)


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
    trial.set_user_attr(_WORKER, _worker(os.getpid()))
    splits: list[Slices] = []
    try:
        params = suggest_params(trial, space)
        is_default = _DEFAULT in trial.user_attrs
        settings = config if is_default else apply_params(config, params)
        for step, seed in enumerate(seeds):
            if on_stage is not None:
                on_stage(f"trial {trial.number}, split {step + 1} of {len(seeds)}")
            splits.append(measure(settings, seed))
            trial.set_user_attr(_SPLITS, splits)
            trial.report(fmean(map(to_quality, splits)), step)
            if step + 1 < len(seeds) and not is_default and trial.should_prune():
                study.tell(trial, state=TrialState.PRUNED)
                break
        else:
            study.tell(trial, fmean(map(to_quality, splits)))
    except Exception as error:  # whatever it is, other settings may do
        trial.set_user_attr(_ERROR, f"{type(error).__name__}: {error}")
        study.tell(trial, state=TrialState.FAIL)
    except BaseException:  # interrupted: the trial has not failed, it is to be run again
        _requeue(study, study.trials[trial.number])
        raise
    if on_trial is not None:
        on_trial(_read_trial(study.trials[trial.number], config))


def _measure_fresh(
    study: optuna.Study,
    name: str,
    measure: Callable[[TrainConfig, int], Slices],
    config: TrainConfig,
    seeds: range,
) -> tuple[Slices, ...]:
    """Measures on splits that trials do not see; kept in the study, which may be gone on with."""
    key = f"{_SPLITS} of {name}"
    if key not in study.user_attrs:
        try:
            study.set_user_attr(key, [measure(config, seed) for seed in seeds])
        except Exception as error:
            raise KgrecError(
                f"the {name} can be trained on the splits of the trials, and on others not: {type(error).__name__}: "
                f"{error}; name another seed and another storage"
            ) from error
    return tuple(study.user_attrs[key])


def _ended(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that came to an end of their own: one that was killed is failed and names no error."""
    return [
        trial
        for trial in study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
        if trial.state != TrialState.FAIL or _ERROR in trial.user_attrs
    ]


def _worker(process: int) -> str:
    return f"{socket.gethostname()} {process}"


def _requeue_killed(study: optuna.Study) -> None:
    """Queues the trials again whose process, on this machine, is no more; of other machines nothing is known."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        host, _, process = trial.user_attrs.get(_WORKER, "").rpartition(" ")
        if host == socket.gethostname() and (int(process) == os.getpid() or not _is_alive(int(process))):
            _requeue(study, trial)


def _requeue(study: optuna.Study, trial: FrozenTrial) -> None:
    try:
        study.tell(trial.number, state=TrialState.FAIL)
    except (ValueError, optuna.exceptions.UpdateFinishedTrialError):  # another process was faster
        return
    study.enqueue_trial(trial.params, {_DEFAULT: True} if _DEFAULT in trial.user_attrs else None)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _read_trial(trial: FrozenTrial, config: TrainConfig) -> Tried:
    state = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}[trial.state]
    attributes = trial.user_attrs
    is_default = _DEFAULT in attributes
    settings = config if is_default else apply_params(config, trial.params)
    took = 0.0 if trial.duration is None else trial.duration.total_seconds()
    return Tried(
        trial.number, settings, is_default, state, tuple(attributes.get(_SPLITS, ())), took, attributes.get(_ERROR)
    )


def _importances(study: optuna.Study) -> dict[str, float]:
    complete = study.get_trials(states=(TrialState.COMPLETE,))
    if len(complete) < _LEAST_FOR_IMPORTANCES or len({trial.value for trial in complete}) == 1:
        return {}
    return optuna.importance.get_param_importances(study)
