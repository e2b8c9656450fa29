"""The commands for a bundle: train, evaluate, sync."""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

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


@app.command()
def train(
    store: Store,
    out: Annotated[Path, typer.Option("--out", metavar="BUNDLE", help="The folder to write the bundle to.")],
    schema: SchemaFile = None,
    config: ConfigFile = None,
    seed: Seed = None,
    adapter: AdapterFolder = None,
    backend: EncoderBackend = None,
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
    settings = read_settings(config, seed, adapter, backend)
    tables = read_store(store, schema, wait, rejects, max_rejects)
    from kgrec.bundle import check_folder  # here, since it imports torch
    from kgrec.model.model import describe_order
    from kgrec.recommend.notes import note_few_likes
    from kgrec.training.logging import log_run

    check_folder(out)  # before the training, not after it
    with log_run(settings, log_dir, wandb) as on_metric:
        recommender = kgrec.train(tables, config=settings, on_metric=on_metric, progress=True)
    recommender.save(out)
    print_verdicts(recommender.bundle.choices["verdicts"])
    if recommender.bundle.liked_at is not None:
        say(describe_order(recommender.bundle.model))
    few = note_few_likes(recommender.bundle.lineage.n_likes)
    if few:
        say(f"{few}, which is little: lists rest on texts and links too")
    say(f"trained in {time.perf_counter() - started:.0f} s; bundle written to {out}")


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
