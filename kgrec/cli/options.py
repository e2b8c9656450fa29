"""Arguments and options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

WAIT_S = 30.0
SERVER_HELP = (
    "neo4j:// or bolt://HOST[:PORT][/DATABASE], with +s for an encrypted connection (credentials in NEO4J_USERNAME and "
    "NEO4J_PASSWORD)"
)
STORE_HELP = f"ladybug:PATH, or {SERVER_HELP}"


class Format(StrEnum):
    """The format of results."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


class ReportFormat(StrEnum):
    """The format of a report."""

    TABLE = "table"
    JSON = "json"


class LikenessBy(StrEnum):
    """What items are compared by."""

    LIKES = "likes"
    TEXT = "text"
    LINKS = "links"


class FailOn(StrEnum):
    """The severity from which a check fails."""

    ERROR = "error"
    WARNING = "warning"
    NEVER = "never"


class Backend(StrEnum):
    """What runs the text encoder."""

    TORCH = "torch"
    OPENVINO = "openvino"


Store = Annotated[str, typer.Argument(metavar="STORE", help=STORE_HELP)]
BundlePath = Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder that `kgrec train` wrote.")]
SchemaFile = Annotated[
    Path | None,
    typer.Option(
        "--schema",
        metavar="FILE.toml",
        help="The schema of a graph that kgrec did not load; else the schema that the store must have.",
    ),
]
Rejects = Annotated[
    Path | None,
    typer.Option("--rejects", metavar="FILE", help="CSV file for the bad rows of a graph that kgrec did not load."),
]
MaxRejects = Annotated[
    float, typer.Option("--max-rejects", min=0, max=1, help="Stop when a larger share of the rows of a table is bad.")
]
Wait = Annotated[
    float,
    typer.Option("--wait", min=0, metavar="SECONDS", envvar="KGREC_WAIT", help="How long to wait for a server."),
]
UserLinks = Annotated[
    list[str] | None,
    typer.Option("--link", metavar="TYPE=ID", help="A link of the user, such as lives_in=Oslo; repeatable."),
]
UserAttributes = Annotated[
    list[str] | None,
    typer.Option("--attribute", metavar="NAME=VALUE", help="An attribute of the user, such as age=31; repeatable."),
]
KnownUser = Annotated[str | None, typer.Option("--user", metavar="ID", help="The id of a known user.")]
LikedItems = Annotated[
    list[str] | None,
    typer.Option("--like", metavar="ID", help="The id of a liked item; repeatable, the latest last."),
]
CandidatesFile = Annotated[
    Path | None,
    typer.Option("--candidates", metavar="FILE", help="A table with the column item: recommend only these."),
]
ExcludeFile = Annotated[
    Path | None,
    typer.Option("--exclude", metavar="FILE", help="A table with the column item: recommend none of these."),
]
LikeSequence = Annotated[
    Path | None,
    typer.Option(
        "--sequence",
        metavar="FILE",
        help="A table with the column item, and perhaps a time, in a column named as in the schema, time or at: the "
        "likes of one user, by their times, or else in the order of the rows.",
    ),
]
Diversity = Annotated[
    float,
    typer.Option(
        "--diversity", metavar="0..1", help="From 0, as the model ranks, to 1, a list of items that differ most."
    ),
]
AtMost = Annotated[
    list[str] | None,
    typer.Option(
        "--at-most",
        metavar="KIND=N",
        help="At most N items with the same linked node of a kind (node type, edge type or attribute), such as "
        "author=2; repeatable.",
    ),
]
Pitch = Annotated[
    bool,
    typer.Option("--pitch", help="Recommend each in one or two sentences, from the facts that its reasons rest on."),
]
PitchLanguage = Annotated[
    str | None,
    typer.Option(
        "--language", metavar="NAME|FILE", help="The language of --pitch: en, de, fr, or the path of a language file."
    ),
]
PitchModel = Annotated[
    str | None,
    typer.Option(
        "--language-model",
        metavar="PATH",
        help="A local language model that rewrites each --pitch; what it adds to the facts is not used.",
    ),
]
LiveStore = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="STORE",
        help="The catalogue as it is now: list no item that is gone from this store, and take the paths in reasons "
        "from it. Default: from the bundle.",
    ),
]
Encoding = Annotated[str | None, typer.Option("--encoding", help="The encoding of text files that are not UTF-8.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", metavar="FILE.toml", help="The settings of the training.")]
LogDir = Annotated[
    Path | None, typer.Option("--log-dir", metavar="DIR", help="Write losses, scores and times for TensorBoard.")
]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="The random seed.")]
K = Annotated[int, typer.Option("-k", help="How many to list.")]
OutFormat = Annotated[Format | None, typer.Option("--format", help="Default: from the ending of --out, else table.")]
OutFile = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="The file to write to. Default: stdout.")]
AdapterFolder = Annotated[
    Path | None,
    typer.Option("--adapter", metavar="DIR", help="A folder that `kgrec adapt` wrote."),
]
EncoderBackend = Annotated[
    Backend | None,
    typer.Option("--backend", help="How texts are encoded; openvino, faster on CPUs, needs kgrec[openvino]."),
]
