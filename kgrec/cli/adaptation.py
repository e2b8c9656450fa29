"""The command that teaches a language model a catalogue: adapt."""

from pathlib import Path
from typing import Annotated

import typer

from kgrec.cli.app import app
from kgrec.cli.inputs import read_store
from kgrec.cli.options import WAIT_S, LogDir, MaxRejects, Rejects, SchemaFile, Seed, Store, Wait
from kgrec.cli.terminal import make_total_counter, open_console, say, show_progress, tell_stages


@app.command()
def adapt(
    store: Store,
    out: Annotated[Path, typer.Option("--out", metavar="ADAPTER", help="The folder to write the adapter to.")],
    schema: SchemaFile = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE.toml", help="Settings of the adaptation.")
    ] = None,
    seed: Seed = None,
    encoder: Annotated[
        str | None, typer.Option("--encoder", metavar="MODEL", help="A folder with a language model, or its hub name.")
    ] = None,
    log_dir: LogDir = None,
    rejects: Rejects = None,
    max_rejects: MaxRejects = 0.1,
    wait: Wait = WAIT_S,
) -> None:
    """Teaches the language model a store's texts, links and likes; goes on where an interrupted run stopped."""
    from kgrec.config import AdaptConfig

    settings = AdaptConfig() if config is None else AdaptConfig.from_toml(config)
    given = {"seed": seed, "encoder": encoder}
    settings = settings.model_copy(update={name: value for name, value in given.items() if value is not None})
    tables = read_store(store, schema, wait, rejects, max_rejects)
    from kgrec.adapt.report import to_rich_table, to_sentences
    from kgrec.adapt.run import adapt_catalogue
    from kgrec.training.logging import log_run

    with log_run(settings, log_dir) as on_metric, show_progress() as progress:
        report = adapt_catalogue(
            tables,
            settings,
            out,
            on_stage=tell_stages(progress),
            on_step=make_total_counter(progress, "steps"),
            on_metric=on_metric,
        )
    open_console().print(to_rich_table(report))
    for sentence in to_sentences(report):
        say(sentence)
    used = f"use it with: kgrec train {store} --adapter {out} --out BUNDLE" if report.kept else "train without it"
    say(f"adapted in {report.seconds:.0f} s; written to {out}; {used}")
