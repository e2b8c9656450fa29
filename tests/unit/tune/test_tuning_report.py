from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from kgrec.config import TrainConfig
from kgrec.errors import RequestError
from kgrec.tune.space import apply_params
from kgrec.tune.trials import Comparison, Slices, Tried, Tuning
from kgrec.tune.tuning_report import describe_gain, print_tuning, write_config

BASE = TrainConfig(embedding_dim=48)
TUNED = apply_params(BASE, {"head.epochs": 5, "backbone.alphas": 0.2})


def splits(*qualities: float) -> tuple[Slices, ...]:
    return tuple({"warm": quality + 0.1, "cold_items": quality - 0.1} for quality in qualities)


TRIED = (
    Tried(0, BASE, True, "complete", splits(0.30, 0.32, 0.31), 10.0, None),
    Tried(1, TUNED, False, "complete", splits(0.34, 0.36, 0.35), 12.0, None),
    Tried(2, TUNED, False, "pruned", splits(0.2), 3.0, None),
    Tried(3, TUNED, False, "failed", (), 0.1, "RuntimeError: [out of\nmemory]"),
)
GAIN = Tuning(
    BASE,
    ("backbone.alphas", "head.epochs"),
    TRIED,
    TRIED[1],
    Comparison(splits(0.30, 0.30, 0.30), splits(0.31, 0.32, 0.33)),
    {"head.epochs": 0.9, "backbone.alphas": 0.1},
)
NOISE = replace(GAIN, comparison=Comparison(splits(0.30, 0.30, 0.30), splits(0.28, 0.32, 0.33)))
NOTHING = replace(GAIN, best=TRIED[0], comparison=None)
BROKEN = replace(GAIN, tried=(replace(TRIED[0], state="failed", splits=(), error="no"), *TRIED[1:]), comparison=None)


@pytest.mark.parametrize(
    ("tuning", "sentence", "config"),
    [
        (
            GAIN,
            "On 3 fresh validation splits, trial 1 has 0.3200 and the default 0.3000: +0.0200 (+6.7%; "
            "+0.0100, +0.0200, +0.0300), more than noise (±0.0169): use trial 1.",
            TUNED,
        ),
        (
            NOISE,
            "On 3 fresh validation splits, trial 1 has 0.3100 and the default 0.3000: +0.0100 (+3.3%; "
            "-0.0200, +0.0200, +0.0300), within noise (±0.0446): use the default.",
            BASE,
        ),
        (NOTHING, "None of 4 trials did better than the default, 0.3100: use the default.", BASE),
        (BROKEN, "Trial 1 has 0.3500; the default failed, so use trial 1.", TUNED),
    ],
    ids=["gain", "noise", "nothing", "broken"],
)
def test_the_sentence_and_the_file_name_the_settings_to_use(
    tuning: Tuning, sentence: str, config: TrainConfig, tmp_path: Path
) -> None:
    assert describe_gain(tuning) == sentence
    file = tmp_path / "new" / "tuned.toml"
    write_config(tuning, file)
    assert TrainConfig.from_toml(file) == config
    assert file.read_text(encoding="utf-8").startswith(f"# Written by `kgrec tune`, 4 trials.\n# {sentence}\n")
    write_config(GAIN, file)  # its own file is replaced
    assert TrainConfig.from_toml(file) == TUNED
    assert [entry.name for entry in file.parent.iterdir()] == ["tuned.toml"]


def test_a_hand_written_file_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("seed = 1\n")
    for path in (file, tmp_path):
        with pytest.raises(RequestError, match="exists and was not written by `kgrec tune`"):
            write_config(GAIN, path)
    assert file.read_text() == "seed = 1\n"


def test_the_tables_show_the_best_trials_their_settings_and_each_slice() -> None:
    console = Console(width=120, highlight=False)
    with console.capture() as captured:
        print_tuning(GAIN, console)
    rows = [" ".join(line.split()) for line in captured.get().splitlines()]
    assert "4 trials, 1 pruned, 1 failed; the best by mean quality" in rows
    assert rows.index("1 0.3500 0.0100 +0.0400 12.0") < rows.index("0, the default 0.3100 0.0100 10.0")
    assert "trial 3 failed: RuntimeError: [out of memory]" in rows
    # the settings that mattered most first
    alphas = ", ".join(f"{alpha:g}" for alpha in BASE.backbone.alphas)
    assert rows.index("head.epochs 3 5 90%") < rows.index(f"backbone.alphas {alphas} 0.2 10%")
    assert "warm 0.400 0.420 +0.020 0.010" in rows
    assert "cold_items 0.200 0.220 +0.020 0.010" in rows
    assert rows[-1] == describe_gain(GAIN)
