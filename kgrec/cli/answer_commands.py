"""The commands that query a bundle: recommend, similar, explain."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kgrec.cli.app import app
from kgrec.cli.command_inputs import (
    describe_user,
    open_live_bundle,
    read_attributes,
    read_columns,
    read_id,
    read_ids,
    read_pairs,
    read_sequence,
    read_table,
)
from kgrec.cli.options import (
    WAIT_S,
    AtMost,
    BundlePath,
    CandidatesFile,
    Diversity,
    ExcludeFile,
    Format,
    K,
    KnownUser,
    LikedItems,
    LikenessBy,
    LikeSequence,
    LiveStore,
    OutFile,
    OutFormat,
    Pitch,
    PitchLanguage,
    PitchModel,
    UserAttributes,
    UserLinks,
    Wait,
)
from kgrec.cli.results import choose_format, write_answer, write_table
from kgrec.terminal import list_some, make_counter, say, show_progress

if TYPE_CHECKING:
    from kgrec.pitch import Pitches
    from kgrec.recommend import Recommender


@app.command()
def recommend(
    bundle: BundlePath,
    user: KnownUser = None,
    like: LikedItems = None,
    sequence: LikeSequence = None,
    text: Annotated[str | None, typer.Option("--text", help="What the user wants, in words.")] = None,
    link: UserLinks = None,
    attribute: UserAttributes = None,
    users: Annotated[
        Path | None,
        typer.Option("--users", metavar="FILE", help="A table with the column user: many known users."),
    ] = None,
    likes: Annotated[
        Path | None,
        typer.Option(
            "--likes",
            metavar="FILE",
            help="A table with the columns user, item: the likes of many users, by the time of the schema's "
            "interaction, or else in the order of the rows. Further columns may be named as their links and "
            "attributes.",
        ),
    ] = None,
    k: K = 10,
    candidates: CandidatesFile = None,
    exclude: ExcludeFile = None,
    tail: Annotated[
        float,
        typer.Option(
            "--tail",
            metavar="-1..1",
            help="From -1, popular with similar users, over 0, as the model ranks, to 1, little known.",
        ),
    ] = 0.0,
    diversity: Diversity = 0.0,
    at_most: AtMost = None,
    explain: Annotated[bool, typer.Option("--explain", help="Give a reason for each.")] = False,
    pitch: Pitch = False,
    language: PitchLanguage = None,
    language_model: PitchModel = None,
    store: LiveStore = None,
    wait: Wait = WAIT_S,
    format_: OutFormat = None,
    out: OutFile = None,
) -> None:
    """Recommends items to one user or many.

    A user is given by id, by likes, by a sentence, by links and attributes, or by these together; many users by a file.
    """
    from kgrec.errors import RequestError

    single = any([user is not None, like, sequence is not None, text is not None, link, attribute])
    if (users is not None) + (likes is not None) + single > 1:
        raise RequestError(
            "expected one of --users, --likes, or --user, --like or --sequence, --text, --link and --attribute, which "
            "combine; got several"
        )
    links, attributes = read_pairs(link, "--link", "lives_in=Oslo"), read_attributes(attribute)
    allowed = None if candidates is None else read_columns(candidates, ("item",))["item"]
    left_out = None if exclude is None else read_columns(exclude, ("item",))["item"]
    limits, pitches = _read_at_most(at_most), _read_pitches(pitch, language, language_model)
    with open_live_bundle(bundle, store, wait) as recommender:
        if users is not None or likes is not None:
            given = None if likes is None else read_table(likes, ("user", "item"))
            wanted = None if users is None else read_columns(users, ("user",))["user"]
            asked = set(wanted or ()) if given is None else set(map(str, given["user"].to_pylist()))
            with show_progress() as progress:
                count = make_counter(progress, "recommending", total=len(asked))
                table = recommender.recommend_many(
                    wanted, likes=given, k=k, candidates=allowed, exclude=left_out, tail=tail,
                    diversity=diversity, at_most=limits, explain=explain, pitch=pitches,
                    on_users=lambda n: count("users", n),
                )  # fmt: skip
            about = {key.decode(): json.loads(value) for key, value in (table.schema.metadata or {}).items()}
            for name, what in (
                ("unknown_users", "unknown users, ignored"),
                ("unknown_items", "unknown items, ignored"),
                ("unknown_links", "unknown links and attributes, ignored"),
                ("by_profile", "users without likes, who get what fits their links and attributes"),
                ("without_likes", "users without likes, who get what is popular"),
                ("limited_users", f"users with fewer than {k} items because of --at-most"),
            ):
                if about.get(name):
                    say(f"{what}: {list_some(about[name])}")
            for note in about.get("pitches", ()):
                say(note)
            nothing = sorted(asked - set(table["user"].to_pylist()) - set(about.get("unknown_users", ())))
            if nothing:
                say(f"users with no item left to recommend: {list_some(nothing)}")
            write_table(table, format_, out, "Recommendations")
            return
        user, like = read_ids(recommender, user, like)
        in_order = read_sequence(recommender, sequence)
        answer = recommender.recommend(
            user, like or None, text, sequence=in_order, links=links, attributes=attributes,
            k=k, candidates=allowed, exclude=left_out, tail=tail, diversity=diversity, at_most=limits,
            explain=explain, pitch=pitches,
        )  # fmt: skip
        words = [*([] if sequence is None else [f"likes in {sequence.name}"]), *(link or ()), *(attribute or ())]
        title = describe_user(user, like, text, words)
        keep = [column for column, wanted in (("reason", explain), ("pitch", pitch)) if wanted]
        write_answer(answer, format_, out, title, keep)


@app.command()
def similar(
    bundle: BundlePath,
    item: Annotated[str, typer.Argument(metavar="ITEM")],
    k: K = 10,
    by: Annotated[
        LikenessBy | None, typer.Option("--by", help="Compare by one of them alone. Default: by all three.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Give a reason for each.")] = False,
    store: LiveStore = None,
    wait: Wait = WAIT_S,
    format_: OutFormat = None,
    out: OutFile = None,
) -> None:
    """Finds items similar in likes, texts and links."""
    with open_live_bundle(bundle, store, wait) as recommender:
        item = read_id(item, recommender.bundle.items, "ITEM")
        found = recommender.similar(item, k, by=by, explain=explain)
        keep = ["reason"] if explain else []
        write_answer(found, format_, out, f"Similar to {_title(recommender, item)}", keep)


@app.command()
def explain(
    bundle: BundlePath,
    item: Annotated[str, typer.Option("--item", metavar="ID", help="The item to explain.")],
    user: KnownUser = None,
    like: LikedItems = None,
    sequence: LikeSequence = None,
    text: Annotated[str | None, typer.Option("--text", help="What the user wants, in words.")] = None,
    link: UserLinks = None,
    attribute: UserAttributes = None,
    k: Annotated[int, typer.Option("-k", help="How many shares a table shows; files have all.")] = 10,
    store: LiveStore = None,
    wait: Wait = WAIT_S,
    format_: OutFormat = None,
    out: OutFile = None,
) -> None:
    """Explains a score: what each like adds to it, the sentence, and the user's links and attributes (profile).

    The paths are paths in the graph.
    """
    import pyarrow as pa

    from kgrec.errors import RequestError

    if not any([user is not None, like, sequence is not None, text is not None, link, attribute]):
        raise RequestError("got no user; expected --user, --like, --sequence, --text, --link or --attribute")
    links, attributes = read_pairs(link, "--link", "lives_in=Oslo"), read_attributes(attribute)
    with open_live_bundle(bundle, store, wait) as recommender:
        item = read_id(item, recommender.bundle.items, "--item")
        user, like = read_ids(recommender, user, like)
        in_order = read_sequence(recommender, sequence)
        found = recommender.explain(
            item, user=user, likes=like or None, sequence=in_order, text=text, links=links, attributes=attributes
        )
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
        say(f"unknown ids, ignored: {', '.join(map(repr, found.unknown))}")


def _read_pitches(pitch: bool, language: str | None, language_model: str | None) -> "Pitches | bool":
    """How pitches are written, of the options --pitch, --language and --language-model."""
    from kgrec.errors import RequestError

    if not pitch:
        if language is not None or language_model is not None:
            raise RequestError("--language and --language-model are for pitches: give --pitch, too")
        return False
    from kgrec.pitch import LanguageModelWriter, Pitches, load_language

    words = language or "en"
    if language_model is None:
        return Pitches(words)
    load_language(words)  # checks the file before a model is loaded
    from kgrec.language import LocalLanguageModel

    return Pitches(words, LanguageModelWriter(LocalLanguageModel.load(language_model), words))


def _read_at_most(given: Sequence[str] | None) -> dict[str, int]:
    """Kind of linked node -> the most items with the same one, of the option --at-most."""
    from kgrec.errors import RequestError

    found: dict[str, int] = {}
    for kind, n_items in read_pairs(given, "--at-most", "author=2"):
        if not (n_items.isascii() and n_items.isdigit()) or kind in found:
            what = "twice" if kind in found else f"as {n_items!r}"
            raise RequestError(
                f"got --at-most of {kind!r} {what}; expected one whole number of at least 1, such as --at-most author=2"
            )
        found[kind] = int(n_items)
    return found


def _title(recommender: "Recommender", item: str) -> str:
    row = recommender.bundle.items.row(item)
    names: Mapping[str, Sequence[str | None]] = recommender.bundle.names
    name = None if row is None else names[recommender.bundle.schema.item_type][row]
    return f"{name} ({item})" if name else item


def _path(paths: Sequence[Any]) -> str | None:
    return paths[0].sentence() if paths else None
