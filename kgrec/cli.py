"""The command line: thin commands over the library; every error is one message and exit code 2."""

import json
import re
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.progress import Progress, TaskID

    from graph_schema import CatalogueSchema
    from kgrec.config import TrainConfig
    from kgrec.recommend import Recommendations

EXIT_ERROR = 2
WAIT_S = 30.0
_STORE_HELP = "ladybug:PATH, or neo4j://HOST[:PORT][/DATABASE] (NEO4J_USERNAME and NEO4J_PASSWORD say who asks)"

app = typer.Typer(
    name="kgrec",
    help="Recommendations from a knowledge graph that are good from the first click.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class Format(StrEnum):
    """How results are written."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


Store = Annotated[str, typer.Argument(metavar="STORE", help=_STORE_HELP)]
BundlePath = Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder that `kgrec train` wrote.")]
SchemaFile = Annotated[
    Path | None,
    typer.Option(
        "--schema",
        metavar="FILE.toml",
        help="The schema that the store must have, or what a graph means that kgrec did not load.",
    ),
]
Rejects = Annotated[
    Path | None,
    typer.Option("--rejects", metavar="FILE", help="Where bad rows of a graph go that kgrec did not load."),
]
MaxRejects = Annotated[
    float, typer.Option("--max-rejects", min=0, max=1, help="Share of bad rows above which nothing is done.")
]
Wait = Annotated[
    float,
    typer.Option(
        "--wait", min=0, metavar="SECONDS", envvar="KGREC_WAIT", help="How long a server may take until it answers."
    ),
]
LiveStore = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="STORE",
        help=f"Where the paths in reasons are read from, as the graph is now: {_STORE_HELP}. Default: the bundle.",
    ),
]
ConfigFile = Annotated[Path | None, typer.Option("--config", metavar="FILE.toml", help="Settings of the training.")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Of everything drawn at random.")]
K = Annotated[int, typer.Option("-k", help="How many recommendations.")]
OutFormat = Annotated[Format | None, typer.Option("--format", help="Default: by --out's ending, else a table.")]
OutFile = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where to write the results.")]


@app.command()
def load(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="movielens-100k, or tabular for one's own files.")],
    to: Annotated[str, typer.Option("--to", metavar="STORE", help=_STORE_HELP)],
    path: Annotated[
        Path | None, typer.Option("--path", metavar="DIR", help="The folder of the source's files.")
    ] = None,
    schema: Annotated[
        Path | None, typer.Option("--schema", metavar="FILE.toml", help="What the files mean (tabular needs it).")
    ] = None,
    rejects: Annotated[
        Path | None, typer.Option("--rejects", metavar="FILE", help="Where bad rows go. Default: beside the store.")
    ] = None,
    max_rejects: MaxRejects = 0.1,
    encoding: Annotated[str | None, typer.Option("--encoding", help="Of text files that are not UTF-8.")] = None,
    wait: Wait = WAIT_S,
) -> None:
    """Loads a catalogue into a store: what is there is updated, bad rows go to a reject file."""
    from graph_schema import CatalogueSchema
    from graph_schema.staging import stage_tables
    from kgrec import cache_dir
    from kgrec.store import load_staged, open_store
    from loaders import open_source

    started = time.perf_counter()
    given = None if schema is None else CatalogueSchema.from_toml(schema)
    reject_file = rejects or _default_rejects(to)
    with _progress() as progress, _without_header_only(reject_file, keep=rejects is not None):
        reading = _counter(progress, "reading and checking")
        opened = open_source(source, path=path, schema=given, cache_dir=cache_dir(), encoding=encoding)
        with tempfile.TemporaryDirectory(prefix="kgrec-") as folder:
            reject_file.parent.mkdir(parents=True, exist_ok=True)
            staged = stage_tables(opened, Path(folder), rejects=reject_file, max_rejects=max_rejects, on_rows=reading)
            writing = _counter(progress, "writing", total=sum(staged.n_nodes.values()) + sum(staged.n_edges.values()))
            with open_store(to, mode="write", wait_s=wait, on_wait=_say) as store:
                report = load_staged(store, staged, writing)
    took = time.perf_counter() - started
    rows = [("node", name, n, report.counts.nodes[name]) for name, n in report.n_nodes.items()]
    rows += [("edge", name, n, report.counts.edges[name]) for name, n in report.n_edges.items()]
    _print_table(f"{opened.schema.name} in {to}", ("kind", "type", "loaded", "in the store"), rows)
    total = sum(report.n_nodes.values()) + sum(report.n_edges.values())
    _say(f"{total:,} rows in {took:.1f} s, {total / took:,.0f} rows/s")
    if report.n_repeats:
        _say(f"{report.n_repeats:,} edges were there more than once: the latest of each is kept")
    if report.n_rejects:
        _say(f"{report.n_rejects:,} rows were rejected: see {reject_file}")


@app.command()
def train(
    store: Store,
    out: Annotated[Path, typer.Option("--out", metavar="BUNDLE", help="The folder to write the bundle to.")],
    schema: SchemaFile = None,
    config: ConfigFile = None,
    seed: Seed = None,
    rejects: Rejects = None,
    max_rejects: MaxRejects = 0.1,
    wait: Wait = WAIT_S,
) -> None:
    """Trains a recommender on a store's catalogue and writes a bundle."""
    import kgrec

    started = time.perf_counter()
    settings = _settings(config, seed)
    tables = _read_store(store, schema, wait, rejects, max_rejects)
    from kgrec.model.bundle import check_folder  # here, since it imports torch

    check_folder(out)  # now, not when the training is done
    with _progress() as progress:
        recommender = kgrec.train(
            tables,
            config=settings,
            on_stage=_stages(progress),
            on_texts=_counter_of(progress, "encoding texts"),
        )
    recommender.save(out)
    quality = recommender.bundle.choices["quality"]
    shown = [
        (name.removeprefix("gate "), f"{worth:.3f}") for name, worth in quality.items() if name.startswith("gate ")
    ]
    _print_table("On likes held out for validation", ("slice", "√(NDCG@20 · Recall@20)"), shown)
    _say(f"trained in {time.perf_counter() - started:.0f} s; bundle written to {out}")


@app.command()
def evaluate(
    store: Store,
    out: Annotated[Path, typer.Option("--out", metavar="REPORT_DIR", help="The folder for the page and the JSON.")],
    schema: SchemaFile = None,
    config: ConfigFile = None,
    seed: Seed = None,
    rejects: Rejects = None,
    max_rejects: MaxRejects = 0.1,
    wait: Wait = WAIT_S,
) -> None:
    """Holds likes out, trains on the rest, and measures it beside baselines: a page with plots, and JSON."""
    import datetime

    from kgrec import cache_dir
    from kgrec.config import SplitConfig
    from kgrec.evaluate.report import to_rich_table, write_report
    from kgrec.evaluate.run import evaluate_catalogue
    from kgrec.text.encoder import load_encoder
    from kgrec.training.dataset import build_graph

    settings = _settings(config, seed)
    tables = _read_store(store, schema, wait, rejects, max_rejects)
    with _progress() as progress:
        stages = _stages(progress)
        stages("encoding texts")
        graph = build_graph(
            tables,
            load_encoder(settings.encoder, settings.device or "cpu"),
            cache_dir(),
            on_texts=_counter_of(progress, "encoding texts"),
        )
        report = evaluate_catalogue(
            graph.data,
            graph.schema,
            settings,
            split=SplitConfig(),
            seed=settings.seed,
            evaluated_at=datetime.datetime.now(datetime.UTC),
            on_stage=stages,
        )
    page = write_report(report, out)
    _console().print(to_rich_table(report))
    _say(f"report written to {page}")


@app.command()
def recommend(
    bundle: BundlePath,
    user: Annotated[str | None, typer.Option("--user", metavar="ID", help="A known user.")] = None,
    like: Annotated[list[str] | None, typer.Option("--like", metavar="ID", help="An item liked; repeatable.")] = None,
    text: Annotated[str | None, typer.Option("--text", help="What is wanted, in words.")] = None,
    users: Annotated[
        Path | None, typer.Option("--users", metavar="FILE", help="CSV or Parquet with `user`: many known users.")
    ] = None,
    likes: Annotated[
        Path | None, typer.Option("--likes", metavar="FILE", help="CSV or Parquet with `user, item`: likes of anybody.")
    ] = None,
    k: K = 10,
    candidates: Annotated[
        Path | None, typer.Option("--candidates", metavar="FILE", help="CSV or Parquet with `item`: only these.")
    ] = None,
    exclude: Annotated[
        Path | None, typer.Option("--exclude", metavar="FILE", help="CSV or Parquet with `item`: none of these.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="With a reason for each.")] = False,
    store: LiveStore = None,
    wait: Wait = WAIT_S,
    format_: OutFormat = None,
    out: OutFile = None,
) -> None:
    """Recommends to a user known by id, by likes, by a sentence, or to many users at once."""
    from kgrec.errors import RequestError

    single = user is not None or bool(like) or text is not None
    if (users is not None) + (likes is not None) + single > 1:
        raise RequestError("expected one of --users, --likes, or --user, --like and --text, which combine; got several")
    if store is not None and not explain:
        raise RequestError("--store says where reasons are read from: add --explain, or leave --store out")
    allowed = None if candidates is None else _read_columns(candidates, ("item",))["item"]
    left_out = None if exclude is None else _read_columns(exclude, ("item",))["item"]
    with _open_live_bundle(bundle, store, wait) as recommender:
        if users is not None or likes is not None:
            support: dict[str, list[str]] | None = None
            if likes is not None:
                found = _read_columns(likes, ("user", "item"))
                support = {}
                for key, item in zip(found["user"], found["item"], strict=True):
                    support.setdefault(key, []).append(item)
            wanted = None if users is None else _read_columns(users, ("user",))["user"]
            with _progress() as progress:
                told = _counter(progress, "recommending", total=len(wanted or support or ()))
                table = recommender.recommend_many(
                    wanted, likes=support, k=k, candidates=allowed, exclude=left_out, explain=explain,
                    on_users=lambda n: told("users", n),
                )  # fmt: skip
            about = {key.decode(): json.loads(value) for key, value in (table.schema.metadata or {}).items()}
            for name, what in (
                ("unknown_users", "unknown users, left aside"),
                ("unknown_items", "unknown items, left aside"),
                ("without_likes", "without likes, given what is liked most"),
            ):
                if about.get(name):
                    _say(f"{what}: {_some(about[name])}")
            _write(table, format_, out, "Recommendations")
            return
        answer = recommender.recommend(
            user, like or None, text, k=k, candidates=allowed, exclude=left_out, explain=explain
        )
        _write_answer(answer, format_, out, _describe(user, like, text), keep=explain)


@app.command()
def similar(
    bundle: BundlePath,
    item: Annotated[str, typer.Argument(metavar="ITEM")],
    k: K = 10,
    format_: OutFormat = None,
    out: OutFile = None,
) -> None:
    """Finds the items that a like of one item speaks for most."""
    recommender = _open_bundle(bundle)
    _write_answer(recommender.similar(item, k), format_, out, f"Similar to {_title(recommender, item)}")


@app.command()
def explain(
    bundle: BundlePath,
    item: Annotated[str, typer.Option("--item", metavar="ID")],
    user: Annotated[str | None, typer.Option("--user", metavar="ID")] = None,
    like: Annotated[list[str] | None, typer.Option("--like", metavar="ID", help="Repeatable.")] = None,
    text: Annotated[str | None, typer.Option("--text")] = None,
    k: Annotated[int, typer.Option("-k", help="How many shares are shown in a table; files have all.")] = 10,
    store: LiveStore = None,
    wait: Wait = WAIT_S,
    format_: OutFormat = None,
    out: OutFile = None,
) -> None:
    """Takes an item's score apart: what each like adds, with real paths through the graph."""
    import pyarrow as pa

    from kgrec.errors import RequestError

    if user is None and not like and text is None:
        raise RequestError("expected for whom: --user, --like or --text; got none")
    with _open_live_bundle(bundle, store, wait) as recommender:
        found = recommender.explain(item, user=user, likes=like or None, text=text)
    table = pa.table(
        {
            "source": [share.source for share in found.shares],
            "item": pa.array([share.item for share in found.shares], pa.string()),
            "title": pa.array([share.title for share in found.shares], pa.string()),
            "share": [share.value for share in found.shares],
            "path": pa.array([_path(share.paths) for share in found.shares], pa.string()),
        }
    )
    title = f"{found.title or found.item}: score {found.score:.3f} = sum of the shares; {found.reason}"
    if _format(format_, out) == Format.TABLE and table.num_rows > k:
        rest = sum(table["share"].to_pylist()[k:])
        _write(table.slice(0, k), format_, out, title)
        _say(f"and {table.num_rows - k} more, {rest:+.3f} together")
    else:
        _write(table, format_, out, title)


class _ReportFormat(StrEnum):
    TABLE = "table"
    JSON = "json"


class _FailOn(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    NEVER = "never"


@app.command()
def inspect(
    place: Annotated[
        str, typer.Argument(metavar="STORE|DIR", help=f"{_STORE_HELP}; or a folder of CSV or Parquet tables.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.toml", help="Where to write the draft. Default: stdout.")
    ] = None,
    encoding: Annotated[str | None, typer.Option("--encoding", help="Of text files that are not UTF-8.")] = None,
    wait: Wait = WAIT_S,
) -> None:
    """Drafts a catalogue schema from a graph or a folder of tables, and says what it guessed; changes neither.

    Exit status 1: nobody's choices are in it, and the draft has a place to fill in.
    """
    from graph_schema.draft import draft_schema, to_toml
    from kgrec.errors import RequestError

    if out is not None and out.exists():
        raise RequestError(f"{out} is there already, maybe mended by hand; name another --out, or delete it first")
    profile, held = _read_profile(place, encoding, wait)
    if held is not None:
        _write_draft(to_toml(held), out)
        _say(f"{place} holds the catalogue {held.name!r}, which kgrec loaded: this is its schema, nothing is guessed")
        return
    draft = draft_schema(profile)
    _write_draft(draft.toml, out)
    console = _console(stderr=out is None)
    n_nodes, n_edges = (sum(one.count for one in found) for found in (profile.nodes.values(), profile.relationships))
    title = f"{place}: {n_nodes:,} nodes, {n_edges:,} {'edges' if profile.is_tables else 'relationships'}"
    rows = [(guess.about, guess.choice, guess.sure, guess.why) for guess in draft.guesses]
    console.print(_rich_table(title, ("what", "guess", "how sure", "why"), rows))
    for sentence in draft.left_out:
        console.print(f"left out: {sentence}", markup=False)
    file = shlex.quote(str(out or "FILE.toml"))
    if draft.is_complete:
        encoded = "" if encoding is None else f" --encoding {shlex.quote(encoding)}"
        name = re.sub(r"[^\w.-]+", "-", draft.schema.name)
        following = (
            f"kgrec load tabular --path {shlex.quote(place)} --schema {file}{encoded} --to ladybug:{name}.db"
            if profile.is_tables
            else f"kgrec train {shlex.quote(place)} --schema {file} --out BUNDLE"
        )
        console.print(f"next, when the draft is right: {following}", markup=False, soft_wrap=True)
        return
    told = f"\nThe draft is not complete: kgrec learns from interactions, and there are none. {draft.advice}"
    console.print(told, markup=False, soft_wrap=True)
    console.print(f"next, when they are there: kgrec inspect {shlex.quote(place)}", markup=False, soft_wrap=True)
    raise typer.Exit(1)


@app.command()
def validate(
    store: Store,
    schema: SchemaFile = None,
    fail_on: Annotated[
        _FailOn, typer.Option("--fail-on", help="What makes the exit status 1; it is 2 where validate cannot run.")
    ] = _FailOn.ERROR,
    format_: Annotated[
        _ReportFormat | None, typer.Option("--format", help="Default: json where --out ends so, else a table.")
    ] = None,
    out: OutFile = None,
    rejects: Rejects = None,
    wait: Wait = WAIT_S,
) -> None:
    """Says what is wrong with the data in a store: how much, what it does, and the Cypher that shows it."""
    from rich.console import Console

    from graph_schema import CatalogueSchema
    from kgrec.store import open_store
    from kgrec.validate import Severity, print_validation, to_json, validate_store

    given = None if schema is None else CatalogueSchema.from_toml(schema)
    now = int(time.time())
    with (
        _progress() as progress,
        open_store(store, mode="read", schema=given, wait_s=wait, on_wait=_say) as opened,
    ):
        found = validate_store(opened, now=now, rejects=rejects, on_rows=_counter(progress, "reading"))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
    if (format_ or ("json" if out is not None and out.suffix == ".json" else "table")) == "json":
        text = to_json(found, store=store, validated_at=now)
        if out is None:
            sys.stdout.write(text)
        else:
            out.write_text(text, encoding="utf-8")
    elif out is None:
        print_validation(found, _console(), store=store)
    else:
        with out.open("w", encoding="utf-8") as file:
            print_validation(found, Console(file=file, width=120, highlight=False), store=store)
    if fail_on != _FailOn.NEVER and found.has(Severity(fail_on)):
        raise typer.Exit(1)


@app.command()
def publish(
    to: Annotated[str, typer.Option("--to", metavar="STORE", help="neo4j://HOST[:PORT][/DATABASE]")],
    bundle: Annotated[
        Path | None, typer.Argument(metavar="[BUNDLE]", help="The folder that `kgrec train` wrote.")
    ] = None,
    neighbours: Annotated[int, typer.Option("--neighbours", min=1, help="Similar items for each item, at most.")] = 50,
    recommend: Annotated[
        int, typer.Option("--recommend", metavar="K", min=0, help="Items recommended to each user; 0: none.")
    ] = 0,
    rollback: Annotated[bool, typer.Option("--rollback", help="Make the version live that was live before.")] = False,
    status: Annotated[bool, typer.Option("--status", help="List the versions that are there.")] = False,
    wait: Wait = WAIT_S,
) -> None:
    """Writes item vectors, neighbours and recommendations into Neo4j, for applications that ask by Cypher."""
    from kgrec.errors import RequestError
    from kgrec.store.neo4j.connection import Connection
    from kgrec.store.neo4j.release import read_release, roll_back

    if (bundle is not None) + rollback + status != 1:
        raise RequestError("expected one of BUNDLE, --rollback and --status")
    if status or rollback:
        with Connection(to, "write" if rollback else "read", wait_s=wait, on_wait=_say) as connection:
            release = roll_back(connection) if rollback else read_release(connection)
        if not release.versions:
            _say(f"nothing is published in {to}")
            return
        rows = [(v.name, release.state(v), *v.n_published.values()) for v in reversed(release.versions)]
        _print_table(f"Published in {to}", ("version", "state", *release.versions[0].n_published), rows)
        return
    assert bundle is not None
    recommender = _open_bundle(bundle)
    from kgrec.publish import publish_bundle

    started = time.perf_counter()
    with Connection(to, "write", wait_s=wait, on_wait=_say) as connection, _progress() as progress:
        report = publish_bundle(
            recommender, connection, published_at=int(time.time()), neighbours=neighbours, recommend=recommend,
            on_stage=_stages(progress), on_rows=_counter(progress, "writing"),
        )  # fmt: skip
    written = [(what, n) for what, n in report.version.n_published.items() if n]
    print(f"{report.version.name} is live in {to}")
    _print_table("", ("what", "published"), written)
    for title, query in report.queries.items():
        print(f"// {title}\n{query};\n")
    for note in report.notes:
        _say(note)
    if report.release.previous is not None:
        _say(f"{report.release.previous.name} stays: `kgrec publish --rollback --to {to}` goes back to it")
    _say(f"published in {time.perf_counter() - started:.1f} s")


@app.command()
def sync(
    store: Store,
    bundle: BundlePath,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="BUNDLE", help="The folder to write to. Default: in place.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and write nothing.")] = False,
    format_: Annotated[_ReportFormat, typer.Option("--format", help="Of the report.")] = _ReportFormat.TABLE,
    rejects: Rejects = None,
    max_rejects: MaxRejects = 0.1,
    wait: Wait = WAIT_S,
) -> None:
    """Brings a bundle up to its store without training: what came, changed and went; says when to train again."""
    from kgrec import cache_dir
    from kgrec.model.bundle import check_folder, load_bundle, save_bundle
    from kgrec.sync import preview_sync, sync_bundle
    from kgrec.sync.report import print_report, to_json

    started, now = time.perf_counter(), int(time.time())
    before = load_bundle(bundle)
    if out is not None:
        check_folder(out)
    tables = _read_store(store, before.schema, wait, rejects, max_rejects)
    if dry_run:
        report = preview_sync(before, tables, now=now)
    else:
        with _progress() as progress:
            encoding = _counter_of(progress, "encoding texts")
            synced, report = sync_bundle(before, tables, None, cache_dir(), now=now, on_texts=encoding)
        # A bundle that nothing changes is not written: who watches the folder has nothing to load anew.
        if out is not None or report.changes or not report.changes.texts_known:
            save_bundle(synced, out or bundle)
    if format_ == _ReportFormat.JSON:
        sys.stdout.write(to_json(report, before, store=store, now=now))
    else:
        print_report(report, _console(), store=store)
    if not report.changes.texts_known:
        _say("the bundle is of a kgrec that kept no hashes of texts: all texts of items are read anew, this once")
    done = "would be" if dry_run else "were"
    _say(f"{report.n_encoded:,} texts {done} encoded, {report.n_placed:,} items {done} placed by text and links")
    if dry_run:
        _say("nothing was written: leave --dry-run out to sync")
    elif out is None and not report.changes and report.changes.texts_known:
        _say("nothing changed: the bundle stays as it is")
    else:
        _say(f"synced in {time.perf_counter() - started:.1f} s; bundle written to {out or bundle}")


class _Interrupted(BaseException):
    """Ctrl-C; not KeyboardInterrupt, which typer would answer itself, nor an Exception, which libraries swallow."""


def main() -> None:
    """Runs the command line."""
    run_guarded(app)


def run_guarded(action: Callable[[], object]) -> None:
    """Runs what may fail in ways that a person can mend: each is one message on stderr and exit code 2."""
    signal.signal(signal.SIGINT, _interrupt)
    try:
        action()
    except _Interrupted:
        _fail(
            "interrupted: bundles and reports are written only when they are whole; after an interrupted load, "
            "run the same load again and the store is whole"
        )
    except BrokenPipeError:
        sys.stderr.close()
    except OSError as error:
        _fail(f"{error}; check the path and that there is room and permission to read or write it")
    except Exception as error:
        from graph_schema.errors import KgrecError  # here, so that --help does not wait for Arrow

        if not isinstance(error, KgrecError):
            raise
        _fail(str(error))


def _interrupt(signum: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second one ends at once
    raise _Interrupted


def _fail(message: str) -> None:
    print(f"kgrec: error: {message}", file=sys.stderr)
    sys.exit(EXIT_ERROR)


def _say(message: str) -> None:
    print(message, file=sys.stderr)


def _console(*, stderr: bool = False) -> Any:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


@contextmanager
def _without_header_only(file: Path, *, keep: bool) -> Iterator[None]:
    """Deletes a reject file that nothing was written to, also when the load fails."""
    try:
        yield
    finally:
        if not keep and file.is_file():
            with file.open("rb") as opened:
                n_lines = sum(1 for _ in islice(opened, 2))
            if n_lines < 2:  # noqa: PLR2004
                file.unlink()


@contextmanager
def _progress() -> Iterator["Progress"]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
    )  # fmt: skip
    console = _console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield progress


def _counter(progress: "Progress", what: str, total: int | None = None) -> Callable[[str, int], None]:
    """A bar that is told (a type's name, rows just done)."""
    task: TaskID | None = None

    def tell(name: str, n_rows: int) -> None:
        nonlocal task
        if task is None:
            task = progress.add_task(what, total=total)
        progress.update(task, advance=n_rows, description=f"{what} {name}")

    return tell


def _counter_of(progress: "Progress", what: str) -> Callable[[int, int], None]:
    """A bar that is told (done so far, in all)."""
    task: TaskID | None = None

    def tell(done: int, total: int) -> None:
        nonlocal task
        if task is None:
            task = progress.add_task(what, total=total)
        progress.update(task, completed=done, visible=done < total)

    return tell


def _stages(progress: "Progress") -> Callable[[str], None]:
    """A spinner that shows the stage that is under way."""
    task: TaskID | None = None

    def tell(stage: str) -> None:
        nonlocal task
        if task is not None:
            progress.remove_task(task)
        task = progress.add_task(stage, total=None)
        if not progress.console.is_terminal:
            _say(stage)

    return tell


def _settings(config: Path | None, seed: int | None) -> "TrainConfig":
    from kgrec.config import TrainConfig

    settings = TrainConfig() if config is None else TrainConfig.from_toml(config)
    return settings if seed is None else settings.model_copy(update={"seed": seed})


def _read_store(
    store: str,
    schema: "Path | CatalogueSchema | None",
    wait: float,
    rejects: Path | None = None,
    max_rejects: float = 0.1,
) -> Any:
    from graph_schema import CatalogueSchema
    from kgrec.store import open_store, read_tables

    given = CatalogueSchema.from_toml(schema) if isinstance(schema, Path) else schema
    reject_file = rejects or _default_rejects(store)
    with (
        _progress() as progress,
        _without_header_only(reject_file, keep=rejects is not None),
        open_store(store, mode="read", schema=given, wait_s=wait, on_wait=_say) as opened,
    ):
        is_foreign = opened.foreign_rows() is not None
        reading = _counter(progress, "reading")
        tables = read_tables(opened, reading, rejects=reject_file if is_foreign else None, max_rejects=max_rejects)
    if is_foreign and reject_file.exists():
        _say(f"some rows were rejected: see {reject_file}")
    return tables


def _read_profile(place: str, encoding: str | None, wait: float) -> tuple[Any, Any]:
    """The profile of a folder or a graph, and the schema that kgrec keeps there: one of the two is None."""
    from kgrec.errors import StoreError
    from kgrec.store import NEO4J_SCHEMES, open_store

    scheme = place.partition(":")[0]
    with _progress() as progress:
        if scheme in NEO4J_SCHEMES:
            from kgrec.store.neo4j.profile import has_catalogue
            from kgrec.store.neo4j.profile import read_profile as read_graph
            from kgrec.store.neo4j.store import Neo4jStore

            with Neo4jStore(place, "read", wait_s=wait, on_wait=_say) as store:
                if has_catalogue(store.connection):
                    return None, store.read_schema()
                return read_graph(store.connection, _stages(progress)), None
        if scheme == "ladybug" and not Path(place).is_dir():
            with open_store(place, mode="read") as opened:
                return None, opened.read_schema()
        if not Path(place).is_dir():
            raise StoreError(f"{place!r} is no store and no folder; expected {_STORE_HELP}, or a folder of tables")
        from loaders import read_profile as read_tables

        return read_tables(Path(place), encoding, _counter(progress, "reading")), None


def _write_draft(text: str, out: Path | None) -> None:
    if out is None:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    _say(f"written to {out}")


def _default_rejects(store: str) -> Path:
    """Beside an embedded store; in the working directory for a server's."""
    kind, _, place = store.partition(":")
    return Path(f"{place if kind == 'ladybug' and place else 'kgrec'}.rejects.csv")


def _open_bundle(path: Path) -> Any:
    from kgrec.recommend import Recommender

    return Recommender.load(path)


@contextmanager
def _open_live_bundle(path: Path, store: str | None, wait: float) -> Iterator[Any]:
    """A recommender that reads the paths in reasons from a store, where one is named."""
    from kgrec.recommend import Recommender
    from kgrec.store import open_store

    recommender = _open_bundle(path)
    if store is None:
        yield recommender
        return
    schema = recommender.bundle.schema
    with open_store(store, mode="read", schema=schema, wait_s=wait, on_wait=_say) as opened:
        yield Recommender(recommender.bundle, store=opened)


def _read_columns(file: Path, columns: Sequence[str]) -> dict[str, list[str]]:
    """Reads columns of ids, as strings, from a CSV or Parquet file."""
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    from kgrec.errors import RequestError

    try:
        if file.suffix == ".parquet":
            table = pq.read_table(file)
        else:
            with file.open("rb") as opened:
                names = opened.readline().decode("utf-8-sig").strip().split(",")
            as_text = pa_csv.ConvertOptions(
                column_types={name.strip('"'): pa.string() for name in names},
                strings_can_be_null=True,
                null_values=[""],
            )
            table = pa_csv.read_csv(file, convert_options=as_text)
    except (OSError, pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise RequestError(f"cannot read {file}: {error}; expected a CSV (UTF-8, commas) or .parquet file") from error
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise RequestError(
            f"{file} lacks the column {missing[0]!r}; expected {list(columns)}, got {table.column_names}"
        )
    if any(table[name].null_count for name in columns):
        raise RequestError(f"{file} has rows with an empty field; expected {list(columns)} in every row")
    return {name: table[name].cast(pa.string()).to_pylist() for name in columns}


def _format(format_: Format | None, out: Path | None) -> Format:
    from kgrec.errors import RequestError

    if format_ is None and out is not None:
        ending = out.suffix.removeprefix(".")
        if ending not in set(Format) - {Format.TABLE}:
            raise RequestError(
                f"cannot tell a format from {out}: expected .json, .jsonl, .csv or .parquet, or --format"
            )
        format_ = Format(ending)
    if format_ == Format.PARQUET and out is None:
        raise RequestError("Parquet is no text: give --out FILE")
    return format_ or Format.TABLE


def _write(table: "pa.Table", format_: Format | None, out: Path | None, title: str) -> None:
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    chosen = _format(format_, out)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
    if chosen == Format.PARQUET:
        pq.write_table(table, out)
        return
    if chosen == Format.CSV:
        with out.open("wb") if out is not None else open(sys.stdout.fileno(), "wb", closefd=False) as file:
            pa_csv.write_csv(table, file)
        return
    if chosen == Format.TABLE:
        text = _to_text(table, title, None if out is None else 120)
    elif chosen == Format.JSON:
        text = json.dumps(table.to_pylist(), ensure_ascii=False, indent=1) + "\n"
    else:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist())
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text, encoding="utf-8")


def _write_answer(
    answer: "Recommendations", format_: Format | None, out: Path | None, title: str, *, keep: bool = False
) -> None:
    for note in answer.notes:
        _say(note)
    table = answer.to_table()
    _write(table if keep else table.drop_columns(["reason"]), format_, out, title)


def _to_text(table: "pa.Table", title: str, width: int | None) -> str:
    from rich.console import Console

    rows = [tuple(row.values()) for row in table.to_pylist()]
    console = Console(highlight=False, width=width)
    with console.capture() as captured:
        console.print(_rich_table(title, table.column_names, rows))
    return captured.get()


def _print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    _console().print(_rich_table(title, columns, rows))


def _rich_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Any:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD)
    for place, name in enumerate(columns):
        is_number = any(isinstance(row[place], int | float) for row in rows)
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(_cell(value)) for value in row))
    return table


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _some(ids: Sequence[str], most: int = 10) -> str:
    more = f" and {len(ids) - most:,} more" if len(ids) > most else ""
    return ", ".join(map(repr, ids[:most])) + more


def _describe(user: str | None, like: Sequence[str] | None, text: str | None) -> str:
    parts = [f"user {user}"] if user is not None else []
    parts += [f"likes of {', '.join(like)}"] if like else []
    parts += [f'"{text}"'] if text is not None else []
    return f"For {' and '.join(parts)}" if parts else "For anybody"


def _title(recommender: Any, item: str) -> str:
    row = recommender.bundle.items.row(item)
    names: Mapping[str, Sequence[str | None]] = recommender.bundle.names
    name = None if row is None else names[recommender.bundle.schema.item_type][row]
    return f"{name} ({item})" if name else item


def _path(paths: Sequence[Any]) -> str | None:
    return paths[0].sentence() if paths else None


if __name__ == "__main__":
    main()
