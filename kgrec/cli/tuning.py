"""The command that searches settings of the training: tune."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kgrec.cli.app import app
from kgrec.cli.inputs import read_settings, read_store
from kgrec.cli.options import WAIT_S, ConfigFile, MaxRejects, Rejects, SchemaFile, Seed, Store, Wait
from kgrec.cli.terminal import make_total_counter, open_console, say, show_progress, tell_stages

if TYPE_CHECKING:
    from kgrec.tune.study import Tried


@app.command()
def tune(
    store: Store,
    out: Annotated[Path, typer.Option("--out", metavar="CONFIG.toml", help="The file to write the settings to.")],
    trials: Annotated[int, typer.Option("--trials", min=1, metavar="N", help="How many shall have ended in all.")] = 30,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0, metavar="SECONDS", help="No trial starts after so long.")
    ] = None,
    splits: Annotated[int, typer.Option("--splits", min=2, metavar="N", help="Validation splits of each trial.")] = 3,
    storage: Annotated[
        Path | None,
        typer.Option(
            "--storage",
            metavar="FILE",
            help="Where trials are kept, for several processes to work on and to go on with. Default: beside --out.",
        ),
    ] = None,
    schema: SchemaFile = None,
    config: ConfigFile = None,
    seed: Seed = None,
    rejects: Rejects = None,
    max_rejects: MaxRejects = 0.1,
    wait: Wait = WAIT_S,
) -> None:
    """Searches settings of the training that do better on validation; writes a config for `kgrec train`.

    The same command again goes on where it stopped; several at once share the work.
    """
    import optuna

    from kgrec import cache_dir
    from kgrec.text.encoder import load_config_encoder
    from kgrec.training.dataset import build_graph
    from kgrec.tune.report import check_config_file, print_tuning, write_config
    from kgrec.tune.study import tune_catalogue

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # what it would say of every trial, we do
    settings = read_settings(config, seed)
    check_config_file(out)
    kept = storage or out.with_suffix(".trials")
    tables = read_store(store, schema, wait, rejects, max_rejects)
    started = time.perf_counter()
    try:
        with show_progress() as progress:
            stages = tell_stages(progress)
            stages("encoding texts")
            encoder = load_config_encoder(settings)
            on_texts = make_total_counter(progress, "encoding texts")
            graph = build_graph(tables, encoder, cache_dir(), on_texts=on_texts)
            tuning = tune_catalogue(
                graph, settings, kept, trials=trials, n_splits=splits, timeout_s=timeout,
                on_stage=stages, on_trial=_tell_trial, cache_dir=cache_dir(),
            )  # fmt: skip
    except Exception:
        raise
    except BaseException:
        say(f"trials that have ended are kept in {kept}: the same command goes on from there")
        raise
    write_config(tuning, out)
    print_tuning(tuning, open_console())
    say(f"tuned in {time.perf_counter() - started:.0f} s; settings written to {out}, for `kgrec train --config {out}`")


def _tell_trial(tried: "Tried") -> None:
    what = f"failed: {tried.error}" if tried.error is not None else f"{tried.quality:.4f}, {tried.state}"
    say(f"trial {tried.number}{' (the default)' if tried.is_default else ''}: {what}, {tried.took_s:.1f} s")
