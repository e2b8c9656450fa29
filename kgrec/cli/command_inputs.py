"""Reads the inputs of commands: stores, bundles, settings, files of ids."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgrec.terminal import make_counter, say, show_progress

if TYPE_CHECKING:
    import pyarrow as pa

    from graph_schema import CatalogueSchema
    from graph_schema.checks.rejects import RejectLog
    from kgrec.config import TrainConfig
    from kgrec.ids import IdMap
    from kgrec.recommend import Recommender

_MOST_TABLES = 4  # of those with bad rows, told in one sentence


def read_settings(
    config: Path | None, seed: int | None, adapter: Path | None = None, backend: str | None = None
) -> "TrainConfig":
    """Reads the settings of a training from a file, or the defaults, and sets the seed, adapter and backend if given.

    An adapter that validation did not keep is left out, with a message.
    """
    from kgrec.config import TrainConfig

    settings = TrainConfig() if config is None else TrainConfig.from_toml(config)
    given = {
        "seed": seed,
        "adapter": None if adapter is None else str(adapter.resolve()),
        "encoder_backend": None if backend is None else str(backend),
    }
    settings = settings.model_copy(update={name: value for name, value in given.items() if value is not None})
    if settings.adapter is not None:
        from kgrec.text.adapter import read_adapter

        found = read_adapter(Path(settings.adapter))
        if not found["kept"]:
            reason = found["report"]["reason"]
            say(f"the adapter {settings.adapter} is not used: {reason}; texts are encoded without it")
            settings = settings.model_copy(update={"adapter": None})
    return settings


def check_unseen(settings: "TrainConfig") -> None:
    """Checks that an adapter was not trained on the likes that an evaluation with these settings holds out.

    Raises:
        RequestError: it was.
    """
    if settings.adapter is None:
        return
    from kgrec.errors import RequestError
    from kgrec.text.adapter import read_adapter

    seed = read_adapter(Path(settings.adapter)).get("report", {}).get("split_seed")
    if seed != settings.seed:
        learned = "all likes" if seed is None else f"all likes but those that seed {seed} holds out"
        raise RequestError(
            f"the adapter {settings.adapter} was trained on {learned}, but this evaluation holds out likes by seed "
            f"{settings.seed}; run both commands with the same --seed"
        )


def read_store(
    store: str,
    schema: "Path | CatalogueSchema | None",
    wait: float,
    rejects: Path | None = None,
    max_rejects: float = 0.1,
    tell: Callable[[str], None] = say,
) -> Any:
    """Reads the whole catalogue of a store; bad rows of a graph that kgrec did not load go to a reject file.

    A sentence says how many there are, and why.
    """
    from graph_schema import CatalogueSchema
    from graph_schema.checks.rejects import RejectLog, open_reject_log
    from kgrec.store import open_store, read_tables

    given = CatalogueSchema.from_toml(schema) if isinstance(schema, Path) else schema
    # what a bundle was trained on is no typo: its edges may have been deleted
    on_empty = say if isinstance(schema, CatalogueSchema) else None
    reject_file = rejects or default_rejects(store)
    with (
        show_progress() as progress,
        without_header_only(reject_file, keep=rejects is not None),
        open_store(store, mode="read", schema=given, wait_s=wait, on_wait=say, on_empty=on_empty) as opened,
    ):
        is_foreign = opened.foreign_rows() is not None
        reading = make_counter(progress, "reading")
        with open_reject_log(reject_file) if is_foreign else nullcontext(RejectLog()) as log:
            tables = read_tables(opened, reading, rejects=log, max_rejects=max_rejects)
    if log.counts:
        tell(f"{describe_rejects(log, tables.schema.interaction.edge)}: see {reject_file}")
    return tables


def describe_rejects(log: "RejectLog", interaction: str) -> str:
    """Says how many rows of each table are bad, and the commonest reason.

    Args:
        log: the bad rows.
        interaction: the edge type that likes come from; it comes first.
    """
    shares = sorted(log.list_shares(), key=lambda share: share[0] != interaction)
    parts = []
    for table, n_bad, n_rows in shares[:_MOST_TABLES]:
        (reason, n), *others = [(reason, n) for (name, reason), n in log.counts.most_common() if name == table]
        why = f"{reason}, in {n:,}" if others else str(reason)
        of_likes = ", which likes come from" if table == interaction else ""
        parts.append(f"{n_bad:,} of {n_rows:,} rows of {table!r}{of_likes} ({why})")
    more = f"; and of {len(shares) - _MOST_TABLES} more types" if len(shares) > _MOST_TABLES else ""
    return f"rejected: {'; '.join(parts)}{more}"


def default_rejects(store: str) -> Path:
    """Returns the default reject file: next to an embedded store, in the working directory for a server."""
    kind, _, place = store.partition(":")
    return Path(f"{place if kind == 'ladybug' and place else 'kgrec'}.rejects.csv")


@contextmanager
def without_header_only(file: Path, *, keep: bool) -> Iterator[None]:
    """Deletes a reject file that has only its header, also when the load fails."""
    try:
        yield
    finally:
        if not keep and file.is_file() and not _has_rejects(file):
            file.unlink()


def _has_rejects(file: Path) -> bool:
    """Whether a reject file exists and has more than its header."""
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        return sum(1 for _ in islice(opened, 2)) > 1


def open_bundle(path: Path) -> "Recommender":
    """Opens a bundle."""
    if not path.exists():  # before torch is imported, which takes a second
        from kgrec.errors import BundleError

        raise BundleError(f"no bundle at {path}: expected a folder as `kgrec train --out {path}` writes it")
    from kgrec.recommend import Recommender

    return Recommender.load(path)


@contextmanager
def open_live_bundle(path: Path, store: str | None, wait: float) -> Iterator["Recommender"]:
    """Opens a bundle together with a store that knows the current items and paths, if one is given."""
    recommender = open_bundle(path)
    if store is None:
        yield recommender
        return
    from kgrec.recommend import Recommender
    from kgrec.store import open_store

    schema = recommender.bundle.schema
    with open_store(store, mode="read", schema=schema, wait_s=wait, on_wait=say) as opened:
        yield Recommender(recommender.bundle, store=opened)


def read_id(given: str, known: "IdMap", option: str) -> str:
    """An id of the command line, without the spaces around it unless it is known so.

    Raises:
        RequestError: it is unknown, but it is several known ids in one option.
    """
    if given.strip() in known and given not in known:
        return given.strip()
    parts = [part for part in re.split(r"[,;\s]+", given) if part]
    if given in known or not parts or any(part not in known for part in parts):
        return given
    from kgrec.errors import RequestError

    expected = " ".join(f"{option} {part}" for part in parts)
    raise RequestError(f"got {option} {given!r}, which is no id; expected {expected}, an option for each id")


def read_ids(recommender: "Recommender", user: str | None, like: Sequence[str] | None) -> tuple[str | None, list[str]]:
    """The user's id and the liked items' as the bundle has them."""
    known = recommender.bundle
    found = None if user is None else read_id(user, known.users, "--user")
    return found, [read_id(item, known.items, "--like") for item in like or ()]


def read_sequence(recommender: "Recommender", file: Path | None) -> list[tuple[str, Any]] | None:
    """The likes of the option --sequence."""
    return None if file is None else read_likes(file, recommender.bundle.schema)


def describe_user(user: str | None, like: Sequence[str] | None, text: str | None, about: Sequence[str]) -> str:
    """The heading of a list for a user, who is given by id, by likes, by a sentence, or by what else is in `about`."""
    parts = [f"user {user}"] if user is not None else []
    parts += [f"likes of {', '.join(like)}"] if like else []
    parts += [f'"{text}"'] if text is not None else []
    parts += [", ".join(about)] if about else []
    return f"For {' and '.join(parts)}" if parts else "For a user without likes"


def read_pairs(given: Sequence[str] | None, option: str, example: str) -> list[tuple[str, str]]:
    """Splits the values of a repeatable option, NAME=VALUE, at the first "=".

    Raises:
        RequestError: a value has no "=", or nothing on one side of it.
    """
    pairs = []
    for text in given or ():
        name, _, value = text.partition("=")
        if not name.strip() or not value.strip():
            from kgrec.errors import RequestError

            raise RequestError(f"got {option} {text!r}; expected a name, '=' and a value, such as {option} {example}")
        pairs.append((name.strip(), value.strip()))
    return pairs


def read_attributes(given: Sequence[str] | None) -> dict[str, str | list[str]]:
    """Attribute -> value of the option --attribute; the values of a repeated attribute are a list."""
    found: dict[str, str | list[str]] = {}
    for name, value in read_pairs(given, "--attribute", "age=31"):
        before = found.get(name)
        found[name] = value if before is None else [*(before if isinstance(before, list) else [before]), value]
    return found


def read_table(file: Path, columns: Sequence[str]) -> "pa.Table":
    """Reads a file that has some columns, perhaps among others, in any format that `kgrec load` reads."""
    from graph_schema import CatalogueError
    from kgrec.errors import RequestError
    from loaders import read_rows

    try:
        table = read_rows(file, columns)
    except CatalogueError as error:
        raise RequestError(str(error)) from error
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise RequestError(
            f"{file} lacks the column {missing[0]!r}; expected {list(columns)}, got {table.column_names}"
        )
    return table


def read_likes(file: Path, schema: "CatalogueSchema") -> list[tuple[str, int | None]]:
    """Reads the likes of one user: items, and when each was liked, UTC seconds; None where the file has no time.

    Args:
        file: a table with the column item, in any format that `kgrec load` reads. A time is in the column that the
            schema names, written as its `time_formats` say, or in "time" or "at".
        schema: the catalogue's.

    Raises:
        RequestError: a row has no item, a column is not read, or a time cannot be read, is before 1970 or in the
            future.
    """
    from kgrec.errors import CatalogueError, RequestError
    from kgrec.recommend.interactions import read_times

    table = read_table(file, ("item",))
    column = _find_time_column(file, table, schema)
    items = _to_ids(file, table, ("item",))["item"]
    if column is None:
        return [(item, None) for item in items]
    values = table[column].combine_chunks()
    try:
        times, problems = read_times(values, schema if column == schema.interaction.at else None)
    except CatalogueError as error:
        raise RequestError(f"{file}: {column}: {error}") from error
    for row, reason in problems:
        raise RequestError(
            f"{file}: in row {row + 1} ({items[row]!r}) {column} {reason}: got {values[row].as_py()!r}; correct it, or "
            "leave it empty"
        )
    return list(zip(items, times, strict=True))


def _find_time_column(file: Path, table: "pa.Table", schema: "CatalogueSchema") -> str | None:
    """The column of a user's likes that has their times; a message names what is left out and changes nothing.

    Raises:
        RequestError: there is a column that is not read.
    """
    from kgrec.errors import RequestError

    chosen = schema.interaction
    names = list(dict.fromkeys(name for name in (chosen.at, "time", "at") if name is not None))
    found = next((name for name in names if name in table.column_names), None)
    others = [name for name in table.column_names if name not in ("item", found)]
    if "user" in others and len(table["user"].unique()) > 1:
        raise RequestError(f"{file} has likes of several users; expected those of one: --likes takes many users")
    known = {"user", "title", "name", schema.nodes[schema.item_type].name, *schema.edges[chosen.edge].attributes}
    unread = [name for name in others if name in names or name not in known]
    read = " or ".join(map(repr, names))
    if unread:
        raise RequestError(
            f"{file} has columns that are not read: {', '.join(map(repr, unread))}; expected 'item', and the time in "
            f"{read}" + (f", here {found!r}" if found else "") + ": rename them or leave them out"
        )
    if others:
        say(f"{file}: not read: {', '.join(map(repr, others))}; times are read from {read}")
    return found


def read_columns(file: Path, columns: Sequence[str]) -> dict[str, list[str]]:
    """Reads columns of ids, as strings, from a file in any format that `kgrec load` reads."""
    return _to_ids(file, read_table(file, columns), columns)


def _to_ids(file: Path, table: "pa.Table", columns: Sequence[str]) -> dict[str, list[str]]:
    """The columns of ids in a table, as strings."""
    import pyarrow as pa

    from kgrec.errors import RequestError

    for name in columns:
        if table[name].null_count:
            row = table[name].to_pylist().index(None) + 1
            raise RequestError(
                f"{file} has rows with an empty field: row {row} has no {name}; expected {list(columns)} in every row"
            )
    return {name: table[name].cast(pa.string()).to_pylist() for name in columns}
