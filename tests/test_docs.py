"""The blocks of README.md and docs/*.md run as they stand.

The ```python and ```bash blocks of a file run in order, in one folder; the Python ones share a namespace, each bash
block is a shell of its own. An HTML comment right before a block may change this: `<!-- not run: reason -->` leaves
it out, `<!-- file: NAME -->` writes it, in any language, to a file in that folder, and `<!-- needs: NAME -->`
leaves it out where the environment has no such variable. A page that begins with `<!-- after: README.md -->`
continues where README.md ends, in the same folder and namespace. The ```cypher blocks are run on the server that
NEO4J_URI names, with parameters as in the bookshop, and must find something.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from neo4j_server import GIVEN_URL, SERVE

import kgrec
from graph_schema import CatalogueError, CatalogueSchema
from kgrec.store.neo4j.backend_queries import describe_queries
from kgrec.store.neo4j.connection import Connection
from kgrec.store.neo4j.release import Version
from loaders import open_source

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
NEO4J_URI = "NEO4J_URI"
FENCE = re.compile(r"^(?:<!-- (not run|file|needs): (\S.*?) -->\n+)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BASH_LIMIT_S = 300
CYPHER_PARAMETERS = {"item": "00001", "user": "reader-7", "k": 3, "n": 20}


@dataclass(frozen=True)
class Block:
    """A fenced block: where its first line is, and what to do with it."""

    line: int
    language: str
    code: str
    file: str | None = None


def read_blocks(text: str) -> list[Block]:
    """The blocks of a Markdown text that are run or written to a file."""
    blocks = []
    for found in FENCE.finditer(text):
        directive, argument, language, code = found.groups()
        line = text.count("\n", 0, found.start(4)) + 1
        if directive == "file":
            blocks.append(Block(line, language, code, argument))
        elif directive == "not run" or (directive == "needs" and argument not in os.environ):
            continue
        elif language in ("python", "bash") or (language == "cypher" and NEO4J_URI in os.environ):
            blocks.append(Block(line, language, code))
    return blocks


def run_blocks(document: Path, blocks: list[Block], folder: Path, namespace: dict[str, object]) -> None:
    """Runs blocks in a folder that is the working directory already; errors name the document and the line."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for block in blocks:
        if block.file is not None:
            (folder / block.file).write_text(block.code, encoding="utf-8")
        elif block.language == "python":
            # the blank lines make tracebacks name the line of the document
            exec(compile("\n" * (block.line - 1) + block.code, str(document), "exec"), namespace)
        elif block.language == "cypher":
            with Connection(os.environ[NEO4J_URI], "read") as connection:
                assert connection.read(block.code, CYPHER_PARAMETERS), f"{document}:{block.line} found nothing"
        else:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block.code],
                cwd=folder,
                env={**os.environ, "PATH": path},
                capture_output=True,
                text=True,
                timeout=BASH_LIMIT_S,
                check=False,
            )
            message = (
                f"{document}:{block.line} ended with {done.returncode}\n{block.code}\n{done.stdout}\n{done.stderr}"
            )
            assert done.returncode == 0, message


PAGES = sorted((ROOT / "docs").glob("*.md"))
AFTER_README = [path for path in PAGES if path.read_text(encoding="utf-8").startswith("<!-- after: README.md -->\n")]
ALONE = [path for path in PAGES if path not in AFTER_README and read_blocks(path.read_text(encoding="utf-8"))]


@pytest.fixture(scope="module")
def _movielens() -> None:
    try:
        open_source("movielens-100k", cache_dir=kgrec.cache_dir())
    except CatalogueError as error:
        pytest.skip(f"MovieLens 100K cannot be had: {error}")


@pytest.fixture
def _neo4j(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names an empty database, where there is a server."""
    monkeypatch.delenv(NEO4J_URI, raising=False)
    if SERVE.exists() or GIVEN_URL is not None:
        monkeypatch.setenv(NEO4J_URI, request.getfixturevalue("neo4j_url"))


@pytest.mark.usefixtures("_movielens", "_neo4j")
@pytest.mark.parametrize(
    "documents", [[README, *AFTER_README], *([page] for page in ALONE)], ids=lambda pages: pages[0].name
)
def test_documents_run_as_written(documents: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for document in documents:
        blocks = read_blocks(document.read_text(encoding="utf-8"))
        assert {block.language for block in blocks} >= {"bash", "python"} or document != README
        run_blocks(document, blocks, tmp_path, namespace)


def test_eight_pages_continue_the_readme() -> None:
    assert [page.name for page in AFTER_README] == [
        "catalogue.md",
        "files.md",
        "neo4j.md",
        "privacy.md",
        "python.md",
        "sequences.md",
        "service.md",
        "users.md",
    ]


SAMPLE = """\
<!-- file: numbers.txt -->
```
1
2
```
```bash
wc -l < numbers.txt > n.txt
```
<!-- not run: it would fail -->
```bash
false
```
```python
from pathlib import Path
n = int(Path("n.txt").read_text())
```
```text
not code
```
```python
Path("twice.txt").write_text(str(2 * n))
```
"""


def test_blocks_run_in_order_in_one_folder_and_namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = read_blocks(SAMPLE)
    assert [block.line for block in blocks] == [3, 7, 14, 21]
    run_blocks(tmp_path / "sample.md", blocks, tmp_path, {})
    assert (tmp_path / "twice.txt").read_text() == "4"


@pytest.mark.parametrize("failing", ["```bash\nfalse\ntrue\n```\n", "```bash\nfalse | true\n```\n"])
def test_a_failing_block_fails(failing: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"sample.md:2 ended with 1"):
        run_blocks(tmp_path / "sample.md", read_blocks(failing), tmp_path, {})


def test_the_queries_shown_are_those_that_publish_prints() -> None:
    text = (ROOT / "docs" / "neo4j.md").read_text(encoding="utf-8")
    shown = [found.group(4) for found in FENCE.finditer(text) if found.group(3) == "cypher"]
    books = next(block for block in read_blocks(README.read_text(encoding="utf-8")) if block.file == "books.toml")
    schema = CatalogueSchema.parse(books.code)
    indexes = {"item": "kgrec_items_1", "user": "kgrec_users_1"}
    version = Version("kgrec-1", {}, indexes=indexes, n_edges={"SIMILAR_TO": 1, "RECOMMENDED": 1})
    printed = describe_queries(schema, version, server=(5, 26)).values()
    assert [query.strip() for query in shown] == list(printed)
