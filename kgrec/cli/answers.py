"""The commands that ask a bundle: recommend, similar, explain."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from kgrec.cli.app import app
from kgrec.cli.inputs import open_bundle, open_live_bundle, read_columns
from kgrec.cli.options import WAIT_S, BundlePath, Format, K, LikenessBy, LiveStore, OutFile, OutFormat, Wait
from kgrec.cli.results import choose_format, write_answer, write_table
from kgrec.cli.terminal import list_some, make_counter, say, show_progress


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
    tail: Annotated[
        float,
        typer.Option(
            "--tail",
            metavar="-1..1",
            help="0: as the model ranks; to 1: deep into what few people know; to -1: popular among people like this.",
        ),
    ] = 0.0,
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
    allowed = None if candidates is None else read_columns(candidates, ("item",))["item"]
    left_out = None if exclude is None else read_columns(exclude, ("item",))["item"]
    with open_live_bundle(bundle, store, wait) as recommender:
        if users is not None or likes is not None:
            support: dict[str, list[str]] | None = None
            if likes is not None:
                found = read_columns(likes, ("user", "item"))
                support = {}
                for key, item in zip(found["user"], found["item"], strict=True):
                    support.setdefault(key, []).append(item)
            wanted = None if users is None else read_columns(users, ("user",))["user"]
            with show_progress() as progress:
                told = make_counter(progress, "recommending", total=len(wanted or support or ()))
                table = recommender.recommend_many(
                    wanted, likes=support, k=k, candidates=allowed, exclude=left_out, tail=tail,
                    explain=explain, on_users=lambda n: told("users", n),
                )  # fmt: skip
            about = {key.decode(): json.loads(value) for key, value in (table.schema.metadata or {}).items()}
            for name, what in (
                ("unknown_users", "unknown users, left aside"),
                ("unknown_items", "unknown items, left aside"),
                ("without_likes", "without likes, given what is liked most"),
            ):
                if about.get(name):
                    say(f"{what}: {list_some(about[name])}")
            nothing = sorted(
                {*(wanted or support or ())} - set(table["user"].to_pylist()) - {*about.get("unknown_users", ())}
            )
            if nothing:
                say(f"without an item left to recommend: {list_some(nothing)}")
            write_table(table, format_, out, "Recommendations")
            return
        answer = recommender.recommend(
            user, like or None, text, k=k, candidates=allowed, exclude=left_out, tail=tail, explain=explain
        )
        write_answer(answer, format_, out, _describe(user, like, text), keep=explain)


@app.command()
def similar(
    bundle: BundlePath,
    item: Annotated[str, typer.Argument(metavar="ITEM")],
    k: K = 10,
    by: Annotated[LikenessBy | None, typer.Option("--by", help="By one source alone. Default: by all of them.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="With a reason for each.")] = False,
    format_: OutFormat = None,
    out: OutFile = None,
) -> None:
    """Finds the items that are most alike: liked by the same people, in texts and in links."""
    recommender = open_bundle(bundle)
    found = recommender.similar(item, k, by=by, explain=explain)
    write_answer(found, format_, out, f"Similar to {_title(recommender, item)}", keep=explain)


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
    with open_live_bundle(bundle, store, wait) as recommender:
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
    if choose_format(format_, out) == Format.TABLE and table.num_rows > k:
        rest = sum(table["share"].to_pylist()[k:])
        write_table(table.slice(0, k), format_, out, title)
        say(f"and {table.num_rows - k} more, {rest:+.3f} together")
    else:
        write_table(table, format_, out, title)
    if found.unknown:
        say(f"unknown, and left aside: {', '.join(map(repr, found.unknown))}")


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
