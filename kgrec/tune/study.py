"""A study: trials in a file that several processes may work on."""

import ctypes
import json
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalFileSymlinkLock
from optuna.trial import FrozenTrial, TrialState

from kgrec.config import TrainConfig
from kgrec.errors import RequestError
from kgrec.tune.space import Setting, apply_params, nearest_params
from kgrec.tune.trials import Tried

DEFAULT, WORKER, ERROR, SPLITS = "default", "worker", "error", "splits"  # attributes of a trial
_STUDY, _FINGERPRINT = "kgrec", "fingerprint"
_STARTUP_TRIALS = 5  # none is pruned before this many are complete
_LEAST_FOR_IMPORTANCES = 10
_Lock = JournalFileOpenLock if sys.platform == "win32" else JournalFileSymlinkLock  # Windows restricts links
_SYNCHRONIZE = 0x100000  # the least right that OpenProcess can ask for
_LOCK_S = 10  # an older lock was left by a killed process


def open_study(storage: Path, expected: dict[str, str], config: TrainConfig, space: Sequence[Setting]) -> optuna.Study:
    """Opens the study in a file, or starts one; trials of killed processes are queued again.

    Args:
        storage: the file.
        expected: the fingerprint that its trials must have, from `fingerprint`.
        config: the settings of the first trial.
        space: the settings to tune.

    Raises:
        RequestError: the file holds something else.
    """
    storage.parent.mkdir(parents=True, exist_ok=True)
    try:
        _check_journal(storage)
        lock = _Lock(str(storage), grace_period=_LOCK_S)
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
            f"{storage} is not a study of trials, or is damaged ({error}); expected a new file, or one that "
            "`kgrec tune` wrote: name another file, or delete this one"
        ) from error
    if _FINGERPRINT not in study.user_attrs:
        study.enqueue_trial(nearest_params(config, space), {DEFAULT: True}, skip_if_exists=True)
        study.set_user_attr(_FINGERPRINT, expected)
    found = study.user_attrs[_FINGERPRINT]
    differing = [name for name in expected if found.get(name) != expected[name]]
    if differing:
        name = differing[0]
        raise RequestError(
            f"{storage} holds the trials of another {' and another '.join(differing)} ({name}: {found.get(name)}, "
            f"here {expected[name]}), whose qualities are not comparable: name another storage, or delete this one"
        )
    _requeue_killed(study)
    return study


def _check_journal(storage: Path) -> None:
    """Raises for a file that is not a journal: Optuna would treat its last line as unfinished and append to it."""
    if storage.exists() and storage.stat().st_size:
        with storage.open("rb") as opened:
            json.loads(opened.readline())["op_code"]


class _NumberedSampler(optuna.samplers.BaseSampler):
    """TPE with a seed for each trial number: parallel processes draw different values, and a continued study draws the
    same values as an uninterrupted one.
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


def list_ended(study: optuna.Study) -> list[FrozenTrial]:
    """The finished trials, without killed ones, which have failed without an error."""
    return [
        trial
        for trial in study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
        if trial.state != TrialState.FAIL or ERROR in trial.user_attrs
    ]


def name_worker(process: int) -> str:
    """The name of a process of this machine, as trials record it."""
    return f"{socket.gethostname()} {process}"


def _requeue_killed(study: optuna.Study) -> None:
    """Queues the trials of ended processes on this machine again; those of other machines may still run."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        host, _, process = trial.user_attrs.get(WORKER, "").rpartition(" ")
        if host == socket.gethostname() and (int(process) == os.getpid() or not _is_alive(int(process))):
            requeue(study, trial)


def requeue(study: optuna.Study, trial: FrozenTrial) -> None:
    """Queues the settings of a running trial again."""
    try:
        study.tell(trial.number, state=TrialState.FAIL)
    except (ValueError, optuna.exceptions.UpdateFinishedTrialError):  # another process has queued it
        return
    study.enqueue_trial(trial.params, {DEFAULT: True} if DEFAULT in trial.user_attrs else None)


def _is_alive(process: int) -> bool:
    if sys.platform == "win32":  # there, os.kill(process, 0) sends Ctrl-C
        handle = ctypes.windll.kernel32.OpenProcess(_SYNCHRONIZE, False, process)
        if handle:
            ctypes.windll.kernel32.CloseHandle(handle)
        return bool(handle)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's process
        return True
    return True


def read_trial(trial: FrozenTrial, config: TrainConfig) -> Tried:
    """A finished trial; `config` is the default of its study."""
    state = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}[trial.state]
    attributes = trial.user_attrs
    is_default = DEFAULT in attributes
    settings = config if is_default else apply_params(config, trial.params)
    took = 0.0 if trial.duration is None else trial.duration.total_seconds()
    return Tried(
        trial.number, settings, is_default, state, tuple(attributes.get(SPLITS, ())), took, attributes.get(ERROR)
    )


def measure_importances(study: optuna.Study) -> dict[str, float]:
    """Setting -> its share of the changes in quality, highest first; empty with fewer than 10 complete trials."""
    complete = study.get_trials(states=(TrialState.COMPLETE,))
    if len(complete) < _LEAST_FOR_IMPORTANCES or len({trial.value for trial in complete}) == 1:
        return {}
    return optuna.importance.get_param_importances(study)
