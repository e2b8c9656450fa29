"""The command that says what a catalogue's relations and texts are good for: ablate."""

from pathlib import Path
from typing import Annotated

import typer

from kgrec.cli.app import app
from kgrec.cli.inputs import read_settings, read_store
from kgrec.cli.options import WAIT_S, ConfigFile, MaxRejects, Rejects, SchemaFile, Seed, Store, Wait
from kgrec.cli.terminal import make_total_counter, open_console, say, show_progress, tell_stages


@app.command()
def ablate(
    store: Store,
    out: Annotated[Path, typer.Option("--out", metavar="REPORT_DIR", help="The folder for the page and the JSON.")],
    relations: Annotated[
        str | None, typer.Option("--relations", metavar="A,B,...", help="Leave only these out, each. Default: all.")
    ] = None,
    schema: SchemaFile = None,
    config: ConfigFile = None,
    seed: Seed = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many splits are averaged over.")] = 1,
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0, max=1, help="A loss of less than this share of a slice is none.")
    ] = 0.05,
    rejects: Rejects = None,
    max_rejects: MaxRejects = 0.1,
    wait: Wait = WAIT_S,
) -> None:
    """Says whether the graph helps: trains without each relation, without texts, without links, and on links shuffled.

    Each training is kept in REPORT_DIR, and the same command goes on where it was interrupted.
    """
    import datetime

    from kgrec import cache_dir
    from kgrec.ablate.report import to_rich_tables, write_ablation
    from kgrec.ablate.run import TRAININGS_DIR, ablate_catalogue
    from kgrec.errors import RequestError
    from kgrec.text.encoder import load_config_encoder

    settings = read_settings(config, seed)
    if settings.adapter is not None:
        raise RequestError(
            f"the config names the adapter {settings.adapter}, which has learned from likes that some of these splits "
            f"hold out; expected none: leave it out, the texts are encoded without it"
        )
    tables = read_store(store, schema, wait, rejects, max_rejects)
    begun = False

    with show_progress() as progress:
        trainings = progress.add_task("", total=None, visible=False)

        def tell_training(what: str, done: int, total: int, left_s: float | None) -> None:
            nonlocal begun
            begun = True
            left = "" if left_s is None else f", {_say_time(left_s)} left"
            progress.update(trainings, description=f"{what}{left}", completed=done, total=total, visible=True)
            if not progress.console.is_terminal:
                say(f"training {done + 1} of {total}: {what}{left}")

        try:
            ablation = ablate_catalogue(
                tables,
                settings,
                load_config_encoder(settings),
                cache_dir(),
                directory=out,
                ablated_at=datetime.datetime.now(datetime.UTC),
                relations=None if relations is None else [name.strip() for name in relations.split(",")],
                n_splits=seeds,
                tolerance=tolerance,
                on_training=tell_training,
                on_stage=tell_stages(progress) if progress.console.is_terminal else None,
                on_texts=make_total_counter(progress, "encoding texts"),
            )
        except BaseException:
            if begun:
                say(f"trainings that are done are kept in {out / TRAININGS_DIR}: the same command goes on from there")
            raise
    page = write_ablation(ablation, out)
    console = open_console()
    for table in to_rich_tables(ablation):
        console.print(table)
    for finding in ablation.findings:
        console.print(f"- {finding}", markup=False, soft_wrap=True)
    say(f"{ablation.about.n_trainings} trainings; report written to {page}")


def _say_time(seconds: float) -> str:
    minute = 60
    return f"about {seconds:.0f} s" if seconds < 2 * minute else f"about {seconds / minute:.0f} min"
