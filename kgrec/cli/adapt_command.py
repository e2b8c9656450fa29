"""The adapt command."""

from pathlib import Path
from typing import Annotated

import typer

from kgrec.cli.app import app
from kgrec.cli.command_inputs import read_store
from kgrec.cli.options import WAIT_S, LogDir, MaxRejects, Rejects, SchemaFile, Seed, Store, Wait
from kgrec.terminal import make_total_counter, open_console, say, show_progress, show_stages


@app.command()
def adapt(
    store: Store,
    out: Annotated[Path, typer.Option("--out", metavar="ADAPTER", help="The folder to write the adapter to.")],
    schema: SchemaFile = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE.toml", help="The settings of the adaptation.")
    ] = None,
    seed: Seed = None,
    encoder: Annotated[
        str | None, typer.Option("--encoder", metavar="MODEL", help="The folder or the hub name of a language model.")
    ] = None,
    log_dir: LogDir = None,
    rejects: Rejects = None,
    max_rejects: MaxRejects = 0.1,
    wait: Wait = WAIT_S,
) -> None:
    """Adapts the language model to a store's catalogue.

    Learns from its texts, links and likes. Run the same command again to continue an interrupted run.
    """
    from kgrec.config import AdaptConfig

    settings = AdaptConfig() if config is None else AdaptConfig.from_toml(config)
    given = {"seed": seed, "encoder": encoder}
    settings = settings.model_copy(update={name: value for name, value in given.items() if value is not None})
    tables = read_store(store, schema, wait, rejects, max_rejects)
    from kgrec.adapt.adaptation_report import to_rich_table, to_sentences
    from kgrec.adapt.adaptation_run import adapt_catalogue
    from kgrec.training.logging import log_run

    with log_run(settings, log_dir) as on_metric, show_progress() as progress:
        report = adapt_catalogue(
            tables,
            settings,
            out,
            on_stage=show_stages(progress),
            on_step=make_total_counter(progress, "steps"),
            on_metric=on_metric,
        )
    open_console().print(to_rich_table(report))
    for sentence in to_sentences(report):
        say(sentence)
    used = f"use it with: kgrec train {store} --adapter {out} --out BUNDLE" if report.kept else "train without it"
    say(f"adapted in {report.seconds:.0f} s; written to {out}; {used}")
