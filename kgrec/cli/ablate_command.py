"""The ablate command."""

from pathlib import Path
from typing import Annotated

import typer

from kgrec.cli.app import app
from kgrec.cli.command_inputs import read_settings, read_store
from kgrec.cli.options import WAIT_S, ConfigFile, MaxRejects, Rejects, SchemaFile, Seed, Store, Wait
from kgrec.terminal import count_of, make_total_counter, open_console, say, show_progress, show_stages


@app.command()
def ablate(
    store: Store,
    out: Annotated[Path, typer.Option("--out", metavar="REPORT_DIR", help="The folder for the page and the JSON.")],
    relations: Annotated[
        str | None, typer.Option("--relations", metavar="A,B,...", help="Test only these relations. Default: all.")
    ] = None,
    schema: SchemaFile = None,
    config: ConfigFile = None,
    seed: Seed = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="The number of splits to average over.")] = 1,
    tolerance: Annotated[
        float,
        typer.Option("--tolerance", min=0, max=1, help="Smaller losses, as a share of a slice's score, do not count."),
    ] = 0.05,
    rejects: Rejects = None,
    max_rejects: MaxRejects = 0.1,
    wait: Wait = WAIT_S,
) -> None:
    """Measures what each relation and the texts add.

    Trains without each relation, without texts, without links, and on shuffled links. Finished trainings are kept in
    REPORT_DIR; run the same command again to continue.
    """
    import datetime

    from kgrec import cache_dir
    from kgrec.ablate.ablation_page import write_ablation
    from kgrec.ablate.ablation_study import ablate_catalogue
    from kgrec.ablate.ablation_tables import to_rich_tables
    from kgrec.ablate.variant_training import TRAININGS_DIR
    from kgrec.errors import RequestError
    from kgrec.text.encoder import load_config_encoder

    settings = read_settings(config, seed)
    if settings.adapter is not None:
        raise RequestError(
            f"the config names the adapter {settings.adapter}, which was trained on likes that some of these splits "
            f"hold out; expected none: remove it from the config"
        )
    tables = read_store(store, schema, wait, rejects, max_rejects)
    begun = False

    with show_progress() as progress:
        trainings = progress.add_task("", total=None, visible=False)

        def show_training(what: str, done: int, total: int, left_s: float | None) -> None:
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
                on_training=show_training,
                on_stage=show_stages(progress) if progress.console.is_terminal else None,
                on_texts=make_total_counter(progress, "encoding texts"),
            )
        except BaseException:
            if begun:
                say(f"finished trainings are kept in {out / TRAININGS_DIR}; run the same command again to continue")
            raise
    page = write_ablation(ablation, out)
    console = open_console()
    for table in to_rich_tables(ablation):
        console.print(table)
    for finding in ablation.findings:
        console.print(f"- {finding}", markup=False, soft_wrap=True)
    say(f"{count_of(ablation.about.n_trainings, 'training')}; report written to {page}")


def _say_time(seconds: float) -> str:
    minute = 60
    return f"about {seconds:.0f} s" if seconds < 2 * minute else f"about {seconds / minute:.0f} min"
