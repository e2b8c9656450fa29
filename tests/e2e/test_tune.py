"""`kgrec tune` and what `kgrec train` logs, on the shop."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Ran, RunCommand, Shop

from kgrec.config import TrainConfig

LIMIT_S = 300


def tune_args(shop: Shop, out: Path, *more: object) -> list[object]:
    return ["tune", shop.store, "--config", shop.config, "--out", out, "--splits", 2, *more]


def ended_trials(ran: Ran) -> list[int]:
    """The numbers of the trials that a command reports as ended."""
    return [int(number) for number in re.findall(r"^trial (\d+)(?: \(the default\))?: ", ran.err, re.MULTILINE)]


def assert_fails(ran: Ran, *parts: str) -> None:
    assert ran.code == 2, ran
    message = ran.err[ran.err.index("kgrec: error:") :]
    assert message.count("\n") == 1
    assert "Traceback" not in ran.out + ran.err
    for part in parts:
        assert part in message, message


def test_tuned_settings_train_a_bundle_and_the_study_continues(shop: Shop, tmp_path: Path, run: RunCommand) -> None:
    out = tmp_path / "tuned.toml"
    ran = run(*tune_args(shop, out, "--trials", 2))
    assert ran.code == 0, ran
    assert "2 trials" in ran.out
    assert re.search(r"^trial 0 \(the default\): 0\.\d{4}, complete", ran.err, re.MULTILINE)
    assert re.search(r"use (trial 1|the default)\.", ran.out)
    chosen = TrainConfig.from_toml(out)
    assert chosen.prior.gates == TrainConfig.from_toml(shop.config).prior.gates  # settings that are not tuned stay
    again = run(*tune_args(shop, out, "--trials", 2))
    assert ended_trials(again) == []  # nothing is left to do
    assert again.out == ran.out
    assert TrainConfig.from_toml(out) == chosen
    trained = run("train", shop.store, "--out", tmp_path / "bundle", "--config", out, "--log-dir", tmp_path / "log")
    assert trained.code == 0, trained
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    logged = accumulator.EventAccumulator(str(tmp_path / "log")).Reload().Tags()["scalars"]
    assert {"loss/head, all likes", "seconds/fitting everything to all likes"} <= set(logged)
    assert "validation/1 like" in logged
    other = run(*tune_args(shop, out, "--trials", 3, "--seed", 1))
    assert_fails(other, "tuned.trials holds the trials of another config", "name another storage")


def test_an_impossible_tuning_is_one_error(shop: Shop, tmp_path: Path, run: RunCommand) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    for option, value in (("--trials", 0), ("--splits", 1), ("--timeout", -1)):
        wrong = run(*tune_args(shop, tmp_path / "a.toml", option, value))
        assert wrong.code == 2
        assert f"Invalid value for '{option}'" in wrong.err
    assert_fails(run(*tune_args(shop, shop.config)), "tiny.toml exists and was not written by `kgrec tune`")
    assert_fails(run(*tune_args(shop, taken / "a.toml")), str(taken))
    assert_fails(run(*tune_args(shop, tmp_path / "a.toml", "--storage", taken)), "taken is not a study of trials")
    assert taken.read_text() == "mine"
    assert not (tmp_path / "a.toml").exists()
    assert_fails(run("train", shop.store, "--out", tmp_path / "b", "--log-dir", taken), str(taken))
    assert not (tmp_path / "b").exists()


def test_two_processes_share_a_study_and_an_interrupted_one_keeps_its_trials(
    shop: Shop, tmp_path: Path, run: RunCommand
) -> None:
    out = tmp_path / "tuned.toml"
    args = [sys.executable, "-m", "kgrec.cli", *map(str, tune_args(shop, tmp_path / "other.toml"))]
    args += ["--storage", str(tmp_path / "tuned.trials")]
    with subprocess.Popen(args, stderr=subprocess.PIPE, text=True) as other:
        assert other.stderr is not None
        for line in other.stderr:
            if line == "trial 1, split 1 of 2\n":
                other.send_signal(signal.SIGSTOP)  # while that process works on its trial, this one does two more
                break
        ran = run(*tune_args(shop, out, "--trials", 3))
        other.send_signal(signal.SIGINT)
        other.send_signal(signal.SIGCONT)
        _, rest = other.communicate(timeout=LIMIT_S)
    assert ran.code == 0, ran
    assert ended_trials(ran) == [2, 3]
    assert other.returncode == 2
    assert "tuned.trials; run the same command again to continue\nkgrec: error: interrupted" in rest
    assert "Traceback" not in rest
    assert not (tmp_path / "other.toml").exists()
    after = run(*tune_args(shop, out, "--trials", 4))
    assert ended_trials(after) == [4]  # the interrupted trial runs again
    assert "4 trials" in after.out
    assert TrainConfig.from_toml(out)
