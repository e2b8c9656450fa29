"""`kgrec validate` on the embedded store; test_shown_queries.py tests its queries on both stores."""

import io
import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from library import NOW, Library, book, link, make_library
from rich.console import Console
from test_shown_queries import write

from kgrec import cli
from kgrec.store import open_store
from kgrec.validate import CHECKS, Validation, print_validation, to_json, validate_tables
from kgrec.validate.queries import QueryDialect
from kgrec.validate.validation_report import format_share


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


RunValidate = Callable[..., Ran]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[RunValidate]:
    """Runs `kgrec validate ...` in this process."""

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr("sys.argv", ["kgrec", "validate", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = ended.value.code
        return Ran(code if isinstance(code, int) else 0, *capfd.readouterr())

    before = signal.getsignal(signal.SIGINT)
    yield run
    signal.signal(signal.SIGINT, before)


def clean(library: Library) -> None:
    pass


def note(library: Library) -> None:
    library.nodes["author"].append({"id": "nobody"})


def warning(library: Library) -> None:
    note(library)
    library.edges["cites"].append(link(book(9), book(9)))


def error(library: Library) -> None:
    warning(library)
    library.edges["viewed"] = [link(row["source"], row["target"]) for row in library.edges["read"]]


@pytest.fixture
def load(tmp_path: Path) -> Callable[[Callable[[Library], None]], str]:
    """Loads a spoilt library into an embedded store and returns its URL."""

    def load(spoil: Callable[[Library], None]) -> str:
        library = make_library()
        spoil(library)
        url = f"ladybug:{tmp_path / spoil.__name__}.db"
        with open_store(url, mode="write") as store:
            write(store, library)
        return url

    return load


def check(spoil: Callable[[Library], None]) -> Validation:
    library = make_library()
    spoil(library)
    return validate_tables(library.to_tables(), QueryDialect.of_neo4j(library.to_tables().schema), now=NOW)


@pytest.mark.parametrize(
    ("spoil", "codes"),
    [(clean, (0, 0, 0)), (note, (0, 0, 0)), (warning, (0, 1, 0)), (error, (1, 1, 0))],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_exit_status_follows_fail_on(
    spoil: Callable[[Library], None],
    codes: tuple[int, ...],
    run: RunValidate,
    load: Callable[[Callable[[Library], None]], str],
) -> None:
    url = load(spoil)
    assert (run(url).code, run(url, "--fail-on", "warning").code, run(url, "--fail-on", "never").code) == codes


def test_a_validation_that_cannot_run_exits_with_2(run: RunValidate, tmp_path: Path) -> None:
    missing = run(f"ladybug:{tmp_path / 'absent.db'}", "--fail-on", "never")
    assert missing.code == 2
    assert missing.err.startswith("kgrec: error: there is no database at ")
    assert missing.err.count("\n") == 1
    no_schema = run(f"ladybug:{tmp_path / 'absent.db'}", "--schema", tmp_path / "absent.toml")
    assert no_schema.code == 2 and "cannot read the schema" in no_schema.err


def test_the_json_has_a_stable_shape(run: RunValidate, load: Callable[[Callable[[Library], None]], str]) -> None:
    url = load(error)
    ran = run(url, "--format", "json")
    found = json.loads(ran.out)
    assert ran.err == ""
    assert list(found) == [
        "format", "store", "catalogue", "validated_at", "n_nodes", "n_edges", "n_findings", "findings", "passed",
        "skipped",
    ]  # fmt: skip
    assert (found["format"], found["store"], found["catalogue"]) == (1, url, "library")
    assert found["n_findings"] == {"error": 1, "warning": 1, "note": 1}
    assert found["n_edges"]["cites"] == 361
    assert sorted([*found["passed"], *found["skipped"], *{one["check"] for one in found["findings"]}]) == sorted(CHECKS)
    loop = found["findings"][1]
    assert loop == {
        "check": "self_loops",
        "severity": "warning",
        "type": "cites",
        "message": "cites edges from a node to itself",
        "count": 1,
        "total": 361,
        "of": "cites edges",
        "share": 1 / 361,
        "examples": [{"nodes": [{"type": "book", "id": "b009"}, {"type": "book", "id": "b009"}], "about": None}],
        "effect": CHECKS["self_loops"].effect,
        "advice": CHECKS["self_loops"].advice,
        "query": "MATCH (n:`Book`)-[:`CITES`]->(n)\nRETURN n.`book-id` AS id",
    }


def test_the_format_follows_the_file_ending(
    run: RunValidate, load: Callable[[Callable[[Library], None]], str], tmp_path: Path
) -> None:
    url = load(warning)
    assert run(url, "--out", tmp_path / "new" / "found.json").out == ""
    assert json.loads((tmp_path / "new" / "found.json").read_text())["n_findings"]["warning"] == 1
    assert run(url, "--out", tmp_path / "found.txt", "--fail-on", "warning").code == 1
    text = (tmp_path / "found.txt").read_text()
    assert " ".join(text.split()).startswith(f"library in {url}: 1 warning, 1 note ")  # long lines are wrapped
    assert "\x1b" not in text


# -- the table ---------------------------------------------------------------------------------------------------------


def show(found: Validation, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False, color_system=None)  # even with FORCE_COLOR set
    print_validation(found, console, store="ladybug:x.db")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_names_each_finding_with_its_query_in_one_piece() -> None:
    found = check(error)
    text = show(found)
    assert text.splitlines()[0] == "library in ladybug:x.db: 1 error, 1 warning, 1 note"
    rows = [line.split() for line in text.splitlines() if line.endswith("% ")]
    assert [(row[0], row[-2], row[-1]) for row in rows] == [
        ("error", "1,440", "100%"), ("warning", "1", "0.3%"), ("note", "1", "2.4%"),
    ]  # fmt: skip
    for one in found.findings:
        assert "\n".join(f"    {line}" for line in (one.query or "").splitlines()) in text
        assert one.effect.split(".")[0] in " ".join(text.split())
    longest = max(len(line) for line in text.splitlines() if "NOT EXISTS" not in line)
    assert longest <= 80


def test_a_clean_catalogue_has_no_problems() -> None:
    text = show(check(clean))
    assert text.startswith("library in ladybug:x.db: no problems found\n")
    assert "Nothing found: no likes, all likes, liked zeros, zeros, contradictions, items without text" in " ".join(
        text.split()
    )


def test_control_characters_are_escaped() -> None:
    hostile = "\x1b[31mred\x07 \u202e [bold]x[/bold]\n"

    def spoil(library: Library) -> None:
        library.nodes["author"].append({"id": hostile, "name": hostile})

    text = show(check(spoil), width=200)
    assert "\\u001b[31mred\\u0007 \\u202e [bold]x[/bold]\\u000a" in text
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert json.loads(to_json(check(spoil), store="x", validated_at=0))["findings"][0]["examples"][0]["about"] is None


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0.0%"), (1e-9, "<0.1%"), (0.001, "0.1%"), (0.5, "50.0%"), (0.99999, "99.9%"), (1.0, "100%")],
)
def test_a_share_is_never_rounded_to_0_or_100_percent(share: float, text: str) -> None:
    assert format_share(share) == text


def test_the_reject_file_of_the_load_is_read(
    run: RunValidate, load: Callable[[Callable[[Library], None]], str], tmp_path: Path
) -> None:
    url = load(clean)
    assert "rejected rows" not in run(url).out  # a load that rejects nothing leaves no file of them
    rows = [f'read.csv,{row},read,target is not in the book table,"{{""source"": ""r1"", ""target"": ""gone""}}"\n'
            for row in range(1, 361)]  # fmt: skip
    rows += ['book.csv,7,book,"first published is not an int, left out of its row",{}\n']
    (tmp_path / "clean.db.rejects.csv").write_text("file,row,table,reason,content\n" + "".join(rows))
    ran = run(url, "--format", "json")
    found = [one for one in json.loads(ran.out)["findings"] if one["check"] == "rejected_rows"]
    assert [(one["type"], one["severity"], one["count"], one["total"], one["message"]) for one in found] == [
        ("read", "error", 360, 1800, "rows of read that the last load left out: target is not in the book table (360)"),
        ("book", "warning", 1, 120, "rows of book that the last load kept without values: first published is not an "
         "int, left out of its row (1)"),
    ]  # fmt: skip
    assert found[0]["examples"][0]["about"] == '{"source": "r1", "target": "gone"}'
    assert ran.code == 1
    (tmp_path / "clean.db.rejects.csv").write_text("no,reject,file\n1,2,3\n")
    assert "cannot read the reject file" in run(url).err
