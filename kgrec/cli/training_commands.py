"""The commands for a bundle: train, evaluate, sync."""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kgrec.cli.app import app
from kgrec.cli.command_inputs import check_unseen, read_settings, read_store
from kgrec.cli.options import (
    WAIT_S,
    AdapterFolder,
    BundlePath,
    ConfigFile,
    EncoderBackend,
    LogDir,
    MaxRejects,
    Rejects,
    ReportFormat,
    SchemaFile,
    Seed,
    Store,
    Wait,
)
from kgrec.terminal import (
    count_of,
    make_total_counter,
    open_console,
    print_table,
    say,
    show_progress,
    show_stages,
)

if TYPE_CHECKING:
    from kgrec.config import TrainConfig


@app.command()
def train(
    store: Store,
    out: Annotated[Path, typer.Option("--out", metavar="BUNDLE", help="The folder to write the bundle to.")],
    schema: SchemaFile = None,
    config: ConfigFile = None,
    seed: Seed = None,
    adapter: AdapterFolder = None,
    backend: EncoderBackend = None,
    private: Annotated[
        float | None,
        typer.Option(
            "--private",
            metavar="EPSILON",
            help="Train under differential privacy at the level of a user: 1 is strict, 8 is loose. The bundle has no "
            "users: ask it by likes, or see --keep-users.",
        ),
    ] = None,
    delta: Annotated[
        float | None,
        typer.Option(
            "--delta",
            metavar="D",
            help="By which probability --private may fail; less than one over the number of users. Default: 1e-6.",
        ),
    ] = None,
    keep_users: Annotated[
        bool,
        typer.Option(
            "--keep-users",
            help="With --private: keep the users' own likes in the bundle, to answer users by their ids. What all "
            "users share stays private; the bundle's files do not.",
        ),
    ] = False,
    log_dir: LogDir = None,
    wandb: Annotated[
        str | None, typer.Option("--wandb", metavar="PROJECT", help="Write the same to Weights & Biases.")
    ] = None,
    rejects: Rejects = None,
    max_rejects: MaxRejects = 0.1,
    wait: Wait = WAIT_S,
) -> None:
    """Trains on the catalogue of a store; writes a bundle."""
    import kgrec

    started = time.perf_counter()
    settings = make_private(read_settings(config, seed, adapter, backend), private, delta, keep_users=keep_users)
    tables = read_store(store, schema, wait, rejects, max_rejects)
    from kgrec.bundle import check_folder  # here, since it imports torch
    from kgrec.model.model import describe_order
    from kgrec.recommend.notes import note_few_likes
    from kgrec.training.logging import log_run

    check_folder(out)  # before the training, not after it
    with log_run(settings, log_dir, wandb) as on_metric:
        recommender = kgrec.train(tables, config=settings, on_metric=on_metric, progress=True)
    recommender.save(out)
    choices = recommender.bundle.choices
    if choices["privacy"] is None:
        print_verdicts(choices["verdicts"])
    else:
        print_privacy(choices["privacy"])
    if choices["privacy"] is None and recommender.bundle.liked_at is not None:
        say(describe_order(recommender.bundle.model))
    few = note_few_likes(recommender.bundle.lineage.n_likes)
    if few:
        say(f"{few}, which is little: lists rest on texts and links too")
    say(f"trained in {time.perf_counter() - started:.0f} s; bundle written to {out}")


def make_private(
    settings: "TrainConfig", epsilon: float | None, delta: float | None, *, keep_users: bool
) -> "TrainConfig":
    """The settings with the options of a private training.

    Raises:
        RequestError: epsilon or delta is no such number, or options of a private training are given without it.
    """
    from pydantic import ValidationError

    from graph_schema.catalogue_schema import describe_problem
    from kgrec.config import PrivateConfig
    from kgrec.errors import RequestError

    given = {"epsilon": epsilon, "delta": delta, "keep_users": keep_users or None}
    given = {name: value for name, value in given.items() if value is not None}
    if not given:
        return settings
    before = {} if settings.private is None else settings.private.model_dump()
    if "epsilon" not in before | given:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in given)
        raise RequestError(f"got {names} without --private EPSILON; expected all of them, or none")
    try:
        private = PrivateConfig.model_validate(before | given)
    except ValidationError as error:
        problem = error.errors()[0]
        raise RequestError(
            f"--private got {problem['input']} for {describe_problem(problem, PrivateConfig)}; choose an epsilon such "
            "as 1 (strict) to 8 (loose), and a delta below one over the number of users"
        ) from error
    return settings.model_copy(update={"private": private})


def print_privacy(report: Mapping[str, Any]) -> None:
    """Prints what a private training promises, and what it was bought with."""
    say(
        f"private: epsilon {report['epsilon']:g}, delta {report['delta']:g}, by the {report['accountant']}; it "
        f"compares {report['neighbours']}"
    )
    say(
        f"at most {count_of(report['most_likes'], 'like')} of a user counted; noise of deviation "
        f"{report['counts_noise']:.3g} in an item's number of likes, {report['gram_noise']:.3g} in the sum of a pair "
        "of items, where all that a user adds has at most length 1"
    )
    say(
        f"{count_of(report['n_selected'], 'item')} learned from likes, in {count_of(report['rank'], 'direction')} that "
        "stand out of the noise; the others by text and links. No setting was chosen on likes"
    )
    say(report["public"])
    if report["keeps_users"]:
        say(
            "the bundle keeps the users' own likes, to answer each by their own: protect its files; answers about "
            "other users (similar users, what the same people like, the tail dial) read these likes and are not private"
        )
    else:
        say("the bundle has no users: whatever its files hold and answer is private")


_SHORTER = {
    " likes or more": "+ likes",
    " to ": "-",
    ", cold items": ": cold",
    ", all items": ": all",
    "items met but not": "met, not",
}


def print_verdicts(verdicts: Sequence[Mapping[str, Any]]) -> None:
    """Prints the validation scores that the gate was chosen by, next to the best baseline."""
    if not verdicts:
        say("too few likes to hold any out; all settings are the defaults")
        return
    rows = []
    for verdict in verdicts:
        title = verdict["title"]
        for long, short in _SHORTER.items():
            title = title.replace(long, short)
        row = [title, f"{verdict['n_users']:,}", f"{verdict['worth']:.3f}", "", "", f"{verdict['popular']:.1f}"]
        if verdict["baseline"]:
            error = "" if verdict["error"] is None else f" ± {verdict['error']:.3f}"
            row[3] = f"{verdict['baseline_worth']:.3f} {verdict['baseline']}"
            row[4] = f"{verdict['worth'] - verdict['baseline_worth']:+.3f}{error}"
        rows.append(row)
    columns = ("question", "users", "quality", "best baseline", "difference", "popular")
    print_table("On likes held out for validation", columns, rows)
    say("quality: geometric mean of recall, NDCG and stratified recall at 20; popular: of the first 10, how many are")
    say("among the 20 most liked; difference: to the best baseline, what is within ± is chance; cold: new items among")
    say("each other; all: among all items; in order: each user's last like; ridge: an item-item ridge, few: for few")
    say("likes")


@app.command()
def evaluate(
    store: Store,
    out: Annotated[Path, typer.Option("--out", metavar="REPORT_DIR", help="The folder for the page and the JSON.")],
    schema: SchemaFile = None,
    config: ConfigFile = None,
    seed: Seed = None,
    adapter: AdapterFolder = None,
    backend: EncoderBackend = None,
    rejects: Rejects = None,
    max_rejects: MaxRejects = 0.1,
    wait: Wait = WAIT_S,
) -> None:
    """Measures kgrec on held-out likes, next to baselines.

    Trains on the other likes; writes a page with plots, and JSON.
    """
    import datetime

    from kgrec import cache_dir
    from kgrec.config import SplitConfig
    from kgrec.evaluate.evaluation import evaluate_catalogue
    from kgrec.evaluate.evaluation_page import write_report
    from kgrec.evaluate.evaluation_tables import to_rich_audit, to_rich_tables
    from kgrec.text.encoder import load_config_encoder
    from kgrec.text.node_texts import has_texts
    from kgrec.training.dataset import build_graph

    settings = read_settings(config, seed, adapter, backend)
    check_unseen(settings)
    tables = read_store(store, schema, wait, rejects, max_rejects)
    with show_progress() as progress:
        stages = show_stages(progress)
        stages("encoding texts" if has_texts(tables.schema) else "reading the graph")
        graph = build_graph(
            tables,
            load_config_encoder(settings),
            cache_dir(),
            on_texts=make_total_counter(progress, "encoding texts"),
        )
        report = evaluate_catalogue(
            graph.data,
            graph.schema,
            settings,
            split=SplitConfig(),
            seed=settings.seed,
            evaluated_at=datetime.datetime.now(datetime.UTC),
            tables=tables,
            on_stage=stages,
        )
    page = write_report(report, out)
    open_console().print(to_rich_tables(report), to_rich_audit(report))
    say(f"report written to {page}")


@app.command()
def sync(
    store: Store,
    bundle: BundlePath,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="BUNDLE", help="The folder to write to. Default: BUNDLE itself.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report what would change, and write nothing.")] = False,
    format_: Annotated[ReportFormat, typer.Option("--format", help="The format of the report.")] = ReportFormat.TABLE,
    rejects: Rejects = None,
    max_rejects: MaxRejects = 0.1,
    wait: Wait = WAIT_S,
) -> None:
    """Updates a bundle from its store, without training.

    Reports what was added, changed and removed, and when to train again.
    """
    from kgrec import cache_dir
    from kgrec.bundle import check_folder, load_bundle, save_bundle
    from kgrec.sync import preview_sync, sync_bundle
    from kgrec.sync.report import print_report, to_json

    started, now = time.perf_counter(), int(time.time())
    before = load_bundle(bundle)
    if out is not None:
        check_folder(out)
    tables = read_store(store, before.schema, wait, rejects, max_rejects)
    if dry_run:
        report = preview_sync(before, tables, now=now)
    else:
        with show_progress() as progress:
            encoding = make_total_counter(progress, "encoding texts")
            synced, report = sync_bundle(before, tables, None, cache_dir(), now=now, on_texts=encoding)
        # An unchanged bundle is not written, so that a service that watches the folder does not reload it.
        if out is not None or report.changes:
            save_bundle(synced, out or bundle)
    if format_ == ReportFormat.JSON:
        sys.stdout.write(to_json(report, before, store=store, now=now))
    else:
        print_report(report, open_console(), store=store)
    encode, place = ("would encode", "place") if dry_run else ("encoded", "placed")
    texts, items = count_of(report.n_encoded, "text"), count_of(report.n_placed, "item")
    say(f"{encode} {texts}, {place} {items} by text and links")
    if dry_run:
        say("nothing was written; sync without --dry-run to write it")
    elif out is None and not report.changes:
        say("nothing changed: the bundle stays as it is")
    else:
        say(f"synced in {time.perf_counter() - started:.1f} s; bundle written to {out or bundle}")
