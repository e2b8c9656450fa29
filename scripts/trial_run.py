"""Runs kgrec's commands on a layout as a new user would, and checks the answers against what was planted."""

import contextlib
import io
import json
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from trial_layouts import GraphLayout, Layout
from trial_layouts.layout import write_likes
from trial_layouts.planting import Planted

STEPS = ("inspect", "preview", "load", "train", "recommend")
SHOWN, MOST_MISSED = 5, 1  # of the first 5 items, how many may be of another group
# The smallest model that learns the planted taste, so that a trial takes seconds.
CONFIG = """
embedding_dim = 8
device = "cpu"
[backbone]
alphas = []
regularisations = []
epochs = 3
[item_item]
regularisation = 1.0
few_regularisation = 1.0
[prior]
path_dim = 4
links_dim = 32
regularisation = 3.0
regularisations = []
gates = []
[head]
epochs = 1
batch_size = 16
"""
NEW_USER = "somebody new"
MISSING = {"", "nan", "NaN", "NULL", "null", "None", "N/A", "\\N", "<NA>"}
MOST_LATE_S = 2 * 86_400  # a day for times of which a layout has the date, a day for what was returned
WAIT_S = 10.0
_PRINTED = re.compile(r"^(?:next|then)\b[^:\n]*: kgrec (.+)$", re.MULTILINE)  # "next, when it is right: kgrec load ..."


class TrialError(Exception):
    """A command failed, or its answer is wrong."""


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Attributes:
        passed: the steps that went well, in order.
        planted: of the first items for each user, the share from the user's group; None where none were recommended.
        seconds: how long the trial took.
        message: what is wrong with the step after those that passed; empty if nothing is.
    """

    name: str
    passed: tuple[str, ...] = ()
    planted: float | None = None
    seconds: float = 0.0
    message: str = ""

    @property
    def failed(self) -> str | None:
        """The first step that failed."""
        return STEPS[len(self.passed)] if self.message else None


@dataclass
class _Trial:
    """A trial under way: where it runs and what has passed."""

    layout: Layout | GraphLayout
    planted: Planted
    place: str
    passed: list[str] = field(default_factory=list)
    share: float | None = None


def try_folder(layout: Layout, folder: Path) -> Outcome:
    """Makes a layout in a folder, and runs inspect, preview, load, train and recommend on it.

    Args:
        layout: the layout.
        folder: an empty folder, where the draft, the store and the bundle go, too.
    """
    files = folder / "files"
    files.mkdir(parents=True)
    return _time(_Trial(layout, layout.make(files), "files"), folder)


def try_graph(layout: GraphLayout, url: str, folder: Path) -> Outcome:
    """Writes a graph into a server, whose data go, and runs inspect, preview, train and recommend on it.

    Args:
        layout: the graph.
        url: the server's; credentials are in the environment.
        folder: an empty folder, where the draft and the bundle go.
    """
    from neo4j_server import empty_database

    from kgrec.store.neo4j.connection import Connection

    planted, queries = layout.make()
    folder.mkdir(parents=True, exist_ok=True)
    with Connection(url, "write") as connection:
        empty_database(connection)
        for query, parameters in queries:
            connection.write(query, parameters)
    return _time(_Trial(layout, planted, url), folder)


def _time(trial: _Trial, folder: Path) -> Outcome:
    started, message = time.perf_counter(), ""
    try:
        with contextlib.chdir(folder):
            _run_steps(trial)
    except TrialError as error:
        message = str(error)
    took = time.perf_counter() - started
    return Outcome(trial.layout.name, tuple(trial.passed), trial.share, took, message)


def _run_steps(trial: _Trial) -> None:
    inspected = run_command("inspect", trial.place, "--out", "draft.toml")
    printed = {words[0]: words for words in map(shlex.split, _PRINTED.findall(inspected))}
    if not printed.keys() & {"load", "train"}:
        raise TrialError(f"inspect prints no next command; it ends with: {inspected[-300:]}")
    trial.passed.append("inspect")
    if "preview" in printed:
        _check_preview(run_command(*printed["preview"]), trial.planted)
    trial.passed.append("preview")
    train = printed.get("train", [])
    if "load" in printed:
        run_command(*printed["load"])
        train = ["train", printed["load"][printed["load"].index("--to") + 1], "--out", "BUNDLE"]
    _check_times(train[1], Path(train[train.index("--schema") + 1]) if "--schema" in train else None, trial.planted)
    trial.passed.append("load")
    Path("settings.toml").write_text(CONFIG, encoding="utf-8")
    run_command(*train, "--config", "settings.toml")
    bundle = train[train.index("--out") + 1]
    _check_bundle(bundle, trial.planted)
    trial.passed.append("train")
    likes = f"likes.{trial.layout.likes_file}"
    write_likes(Path(likes), [(NEW_USER, item) for item in trial.planted.given])
    common = ("-k", str(SHOWN), "--explain", "--format", "jsonl")
    known = _read_rows(run_command("recommend", bundle, "--user", trial.planted.user, *common))
    new = _read_rows(run_command("recommend", bundle, "--likes", likes, *common))
    alike = _read_rows(run_command("similar", bundle, trial.planted.given[0], "-k", str(SHOWN), "--format", "jsonl"))
    answers = (
        (f"user {trial.planted.user}", 0, known),
        (f"the likes of {likes}", 1, new),
        (f"what is similar to {trial.planted.given[0]}", 1, alike),
    )
    shares = [_share(trial.planted, group, rows) for _, group, rows in answers]
    trial.share = sum(shares) / len(shares)
    for who, group, rows in answers:
        _check_answer(trial.planted, who, group, rows)
    trial.passed.append("recommend")


def run_command(*args: str) -> str:
    """Runs `kgrec ...` in this process; returns what it wrote.

    Raises:
        TrialError: it did not end with status 0.
    """
    from kgrec import cli

    out, err, before = io.StringIO(), io.StringIO(), signal.getsignal(signal.SIGINT)
    code: Any = 0
    with (
        patch.object(sys, "argv", ["kgrec", *args]),
        patch.dict(os.environ, {"COLUMNS": "200"}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code
        except Exception as error:  # a traceback for the user
            code = f"traceback: {type(error).__name__}: {error}"
        finally:
            signal.signal(signal.SIGINT, before)
    if code:
        said = [line for line in (out.getvalue() + err.getvalue()).splitlines() if line.strip()]
        telling = [line for line in said if re.search(r"\berror:|is incomplete", line)]
        message = code if isinstance(code, str) else (telling or said or [f"status {code}"])[-1]
        raise TrialError(f"kgrec {args[0]}: {message.removeprefix('kgrec: error: ').strip()}")
    return out.getvalue() + err.getvalue()


def _read_rows(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def _check_preview(output: str, planted: Planted) -> None:
    """Checks that a preview shows items by their names."""
    if planted.titles and not any(title in output for title in planted.titles.values()):
        raise TrialError(f"kgrec preview shows no name of an item; it ends with: {output[-300:]}")


def _check_times(store: str, schema: Path | None, planted: Planted) -> None:
    """Checks when interactions were, to the day; `schema` is needed for a graph that kgrec did not load."""
    if not planted.times:
        return
    from kgrec.cli.command_inputs import read_store

    with contextlib.redirect_stderr(io.StringIO()):
        tables = read_store(store, schema, WAIT_S)
    at = tables.schema.interaction.at
    if at is None:
        raise TrialError("the draft has no time of interactions")
    edges = tables.edges[tables.schema.interaction.edge]
    pairs = zip(edges["source"].to_pylist(), edges["target"].to_pylist(), strict=True)
    found = dict(zip(pairs, edges[at].to_pylist(), strict=True))
    for pair in found.keys() & planted.times.keys():
        if found[pair] is None or abs(found[pair] - planted.times[pair]) > MOST_LATE_S:
            raise TrialError(
                f"{pair} has the time {found[pair]}, expected {planted.times[pair]} (UTC seconds, by {at})"
            )


def _check_bundle(folder: str, planted: Planted) -> None:
    """Checks what the model takes as likes, and what else the layout expects of it."""
    from kgrec.bundle import load_bundle

    bundle = load_bundle(Path(folder))
    users, items = list(bundle.users.ids), list(bundle.items.ids)
    rows, columns = bundle.liked.nonzero()
    likes = {(users[row], items[column]) for row, column in zip(rows.tolist(), columns.tolist(), strict=True)}
    known = len(likes & planted.likes) / len(planted.likes)
    if known < planted.least_likes:
        lost = min(planted.likes - likes)
        raise TrialError(
            f"{known:.0%} of the planted likes are likes, expected {planted.least_likes:.0%}; one that is not: {lost} "
            f"({bundle.schema.interaction.edge}: {bundle.schema.interaction.describe_like()})"
        )
    wrong = likes & planted.not_likes
    if wrong:
        raise TrialError(
            f"{len(wrong)} of {len(planted.not_likes)} that nobody liked are likes, as {min(wrong)} "
            f"({bundle.schema.interaction.edge}: {bundle.schema.interaction.describe_like()})"
        )
    if MISSING & {*users, *items}:
        raise TrialError(f"there is a user or an item called {min(MISSING & {*users, *items})!r}")
    relations = [f"{edge} {end}".lower() for edge, _, end in bundle.relations]
    faults = [
        f"the model knows nothing of {name!r}, only of {', '.join(sorted(edge for edge, _, _ in bundle.relations))}"
        for name in planted.linked
        if not any(name in relation for relation in relations)
    ]
    faults += planted.expects(bundle)
    if faults:
        raise TrialError("; ".join(faults))


def _share(planted: Planted, group: int, rows: Sequence[dict[str, Any]]) -> float:
    return sum(planted.groups.get(row["item"]) == group for row in rows) / SHOWN


def _check_answer(planted: Planted, who: str, group: int, rows: Sequence[dict[str, Any]]) -> None:
    shown = [(row["item"], row["title"]) for row in rows]
    if _share(planted, group, rows) * SHOWN < SHOWN - MOST_MISSED:
        raise TrialError(f"for {who}, too few of the first {SHOWN} items are of the planted group: {shown}")
    for item, title in shown:
        expected = planted.titles.get(item)
        if expected is not None and expected not in (title or ""):
            raise TrialError(f"the name of {item} is {expected!r}, and {title!r} is shown")
    for row in rows:
        for hub in planted.hubs:
            if re.search(rf"\b{re.escape(hub)}\b", row.get("reason") or "", re.IGNORECASE):
                raise TrialError(f"for {who}, a reason names {hub!r}: {row['reason']}")
