"""The tune command."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kgrec.cli.app import app
from kgrec.cli.command_inputs import read_settings, read_store
from kgrec.cli.options import WAIT_S, ConfigFile, MaxRejects, Rejects, SchemaFile, Seed, Store, Wait
from kgrec.terminal import make_total_counter, open_console, say, show_progress, show_stages

if TYPE_CHECKING:
    from kgrec.tune.trials import Tried


@app.command()
def tune(
    store: Store,
    out: Annotated[Path, typer.Option("--out", metavar="CONFIG.toml", help="The file to write the settings to.")],
    trials: Annotated[
        int, typer.Option("--trials", min=1, metavar="N", help="The number of finished trials to stop at.")
    ] = 30,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0, metavar="SECONDS", help="Start no trial after this time.")
    ] = None,
    splits: Annotated[int, typer.Option("--splits", min=2, metavar="N", help="Validation splits per trial.")] = 3,
    storage: Annotated[
        Path | None,
        typer.Option(
            "--storage",
            metavar="FILE",
            help="Where trials are kept; processes that share it share the work. Default: next to --out.",
        ),
    ] = None,
    schema: SchemaFile = None,
    config: ConfigFile = None,
    seed: Seed = None,
    rejects: Rejects = None,
    max_rejects: MaxRejects = 0.1,
    wait: Wait = WAIT_S,
) -> None:
    """Searches for better training settings.

    Writes a config for `kgrec train`. Run it again to continue, or several times at once to share the work.
    """
    import optuna

    from kgrec import cache_dir
    from kgrec.text.encoder import load_config_encoder
    from kgrec.text.node_texts import has_texts
    from kgrec.training.dataset import build_graph
    from kgrec.tune.search import tune_catalogue
    from kgrec.tune.tuning_report import check_config_file, print_tuning, write_config

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # _say_trial prints each trial
    settings = read_settings(config, seed)
    check_config_file(out)
    kept = storage or out.with_suffix(".trials")
    tables = read_store(store, schema, wait, rejects, max_rejects)
    started = time.perf_counter()
    try:
        with show_progress() as progress:
            stages = show_stages(progress)
            stages("encoding texts" if has_texts(tables.schema) else "reading the graph")
            encoder = load_config_encoder(settings)
            on_texts = make_total_counter(progress, "encoding texts")
            graph = build_graph(tables, encoder, cache_dir(), on_texts=on_texts)
            tuning = tune_catalogue(
                graph, settings, kept, trials=trials, n_splits=splits, timeout_s=timeout,
                on_stage=stages, on_trial=_say_trial,
            )  # fmt: skip
    except Exception:
        raise
    except BaseException:
        say(f"finished trials are kept in {kept}; run the same command again to continue")
        raise
    write_config(tuning, out)
    print_tuning(tuning, open_console())
    say(f"tuned in {time.perf_counter() - started:.0f} s; settings written to {out}, for `kgrec train --config {out}`")


def _say_trial(tried: "Tried") -> None:
    what = f"failed: {tried.error}" if tried.error is not None else f"{tried.quality:.4f}, {tried.state}"
    say(f"trial {tried.number}{' (the default)' if tried.is_default else ''}: {what}, {tried.took_s:.1f} s")
