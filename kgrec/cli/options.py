"""What commands are given: arguments and options that several of them share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

WAIT_S = 30.0
STORE_HELP = "ladybug:PATH, or neo4j://HOST[:PORT][/DATABASE] (credentials in NEO4J_USERNAME and NEO4J_PASSWORD)"


class Format(StrEnum):
    """How results are written."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


class ReportFormat(StrEnum):
    """How a report is written."""

    TABLE = "table"
    JSON = "json"


class LikenessBy(StrEnum):
    """What items are compared by."""

    LIKES = "likes"
    TEXT = "text"
    LINKS = "links"


class FailOn(StrEnum):
    """What makes a check fail."""

    ERROR = "error"
    WARNING = "warning"
    NEVER = "never"


class Backend(StrEnum):
    """What computes a text's vector."""

    TORCH = "torch"
    OPENVINO = "openvino"


Store = Annotated[str, typer.Argument(metavar="STORE", help=STORE_HELP)]
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
        help=f"Where the paths in reasons are read from, as the graph is now: {STORE_HELP}. Default: the bundle.",
    ),
]
ConfigFile = Annotated[Path | None, typer.Option("--config", metavar="FILE.toml", help="Settings of the training.")]
LogDir = Annotated[
    Path | None, typer.Option("--log-dir", metavar="DIR", help="Losses, qualities and times for TensorBoard.")
]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Of everything drawn at random.")]
K = Annotated[int, typer.Option("-k", help="How many recommendations.")]
OutFormat = Annotated[Format | None, typer.Option("--format", help="Default: by --out's ending, else a table.")]
OutFile = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where to write the results.")]
AdapterFolder = Annotated[
    Path | None,
    typer.Option("--adapter", metavar="DIR", help="An adapter of the language model, as `kgrec adapt` wrote it."),
]
EncoderBackend = Annotated[
    Backend | None,
    typer.Option("--backend", help="What encodes texts; openvino is faster on CPUs and needs kgrec[openvino]."),
]
