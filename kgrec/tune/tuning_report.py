"""Reports a study: tables for the terminal, a sentence, and the settings as a file."""

from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from kgrec.errors import RequestError
from kgrec.tune.space import read_setting, to_toml
from kgrec.tune.trials import Comparison, Slices, Tuning

_HEADER = "# Written by `kgrec tune`"
_MOST_TRIALS = 5
_LONGEST_ERROR = 160


def print_tuning(tuning: Tuning, console: Console) -> None:
    """Prints the best trials, their settings, and their gain on each slice.

    Args:
        tuning: the result of a study.
        console: where to print.
    """
    console.print(_trials_table(tuning))
    failed = [tried for tried in tuning.tried if tried.error is not None]
    for tried in failed[:_MOST_TRIALS]:
        error = " ".join(str(tried.error).split())
        shown = error if len(error) <= _LONGEST_ERROR else f"{error[: _LONGEST_ERROR - 1]}…"
        console.print(f"trial {tried.number} failed: {shown}", markup=False, soft_wrap=True)
    if not tuning.best.is_default:
        console.print(_settings_table(tuning))
    if tuning.comparison is not None:
        console.print(_slices_table(tuning, tuning.comparison))
    console.print(describe_gain(tuning), markup=False, soft_wrap=True)


def describe_gain(tuning: Tuning) -> str:
    """The gain of the best trial on the default, and which of the two to use."""
    best, compared = tuning.best, tuning.comparison
    if best.is_default:
        return f"None of {len(tuning.tried)} trials did better than the default, {best.quality:.4f}: use the default."
    if compared is None:
        return f"Trial {best.number} has {best.quality:.4f}; the default failed, so use trial {best.number}."
    gain, before = fmean(compared.gains), _quality(compared.default)
    each = ", ".join(f"{one:+.4f}" for one in compared.gains)
    found = (
        f"On {len(compared.gains)} fresh validation splits, trial {best.number} has "
        f"{_quality(compared.tuned):.4f} and the default {before:.4f}: {gain:+.4f} ({gain / before:+.1%}; {each})"
    )
    if compared.is_gain:
        return f"{found}, more than noise (±{compared.noise:.4f}): use trial {best.number}."
    return f"{found}, within noise (±{compared.noise:.4f}): use the default."


def write_config(tuning: Tuning, path: Path) -> None:
    """Writes the settings to use that differ from the defaults of `TrainConfig`, with their origin as a comment.

    Raises:
        RequestError: the path holds another file.
    """
    check_config_file(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_name(f".{path.name}.writing")
    text = f"{_HEADER}, {len(tuning.tried)} trials.\n# {describe_gain(tuning)}\n{to_toml(tuning.config)}"
    written.write_text(text, encoding="utf-8")
    written.replace(path)


def check_config_file(path: Path) -> None:
    """Checks that a path is free, or holds a file of `write_config`.

    Raises:
        RequestError: it holds something else, perhaps written by hand.
    """
    if path.is_dir() or (path.exists() and not path.read_bytes().startswith(_HEADER.encode())):
        raise RequestError(f"{path} exists and was not written by `kgrec tune`; name another file")


def _quality(splits: tuple[Slices, ...]) -> float:
    return fmean(fmean(slices.values()) for slices in splits)


def _trials_table(tuning: Tuning) -> Table:
    counts = [(state, sum(tried.state == state for tried in tuning.tried)) for state in ("pruned", "failed")]
    ended = "".join(f", {n} {state}" for state, n in counts if n)
    table = _table(f"{len(tuning.tried)} trials{ended}; the best by mean quality", "trial")
    for name in ("quality", "std. dev.", "gain", "seconds"):
        table.add_column(name, justify="right")
    complete = [tried for tried in tuning.tried if tried.state == "complete"]
    default = next((tried for tried in complete if tried.is_default), None)
    best = sorted(complete, key=lambda tried: (-tried.quality, not tried.is_default))
    shown = best[:_MOST_TRIALS]
    if default is not None and default not in shown:
        shown.append(default)
    for tried in shown:
        gain = "" if default is None or tried is default else f"{tried.quality - default.quality:+.4f}"
        name = f"{tried.number}{', the default' if tried.is_default else ''}"
        table.add_row(name, f"{tried.quality:.4f}", f"{stdev(tried.qualities):.4f}", gain, f"{tried.took_s:.1f}")
    return table


def _settings_table(tuning: Tuning) -> Table:
    table = _table(f"Settings of trial {tuning.best.number}", "setting")
    columns = ["default", f"trial {tuning.best.number}", *(["importance"] if tuning.importances else [])]
    for name in columns:
        table.add_column(name, justify="right")
    for name in sorted(tuning.settings, key=lambda name: -tuning.importances.get(name, 0.0)):
        values = [_show(read_setting(config, name)) for config in (tuning.base, tuning.best.config)]
        share = [f"{tuning.importances.get(name, 0.0):.0%}"] if tuning.importances else []
        table.add_row(name, *values, *share)
    return table


def _slices_table(tuning: Tuning, compared: Comparison) -> Table:
    table = _table("Quality, √(NDCG@20 · Recall@20), on fresh validation splits", "slice")
    for name in ("default", f"trial {tuning.best.number}", "gain", "std. dev."):
        table.add_column(name, justify="right")
    for name in compared.default[0]:
        pairs = [
            (before[name], after[name])
            for before, after in zip(compared.default, compared.tuned, strict=True)
            if name in before and name in after
        ]
        if len(pairs) < len(compared.default):  # some split has no such slice
            continue
        gains = [after - before for before, after in pairs]
        default, tuned = (fmean(side) for side in zip(*pairs, strict=True))
        table.add_row(name, f"{default:.3f}", f"{tuned:.3f}", f"{fmean(gains):+.3f}", f"{stdev(gains):.3f}")
    return table


def _show(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_show, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _table(title: str, first: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column(first)
    return table
