"""A shop as CSV files with string ids, loaded and trained once; the command line runs in this process."""

import csv
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from kgrec import cli

SCHEMA = """
name = "shop"
[nodes.product]
label = "Product"
key = "sku"
name = "title"
text = ["title", "about"]
[nodes.maker]
label = "Maker"
key = "maker_id"
name = "maker_name"
[nodes.customer]
label = "Customer"
key = "customer_id"
from_edges = true
[edges.made_by]
source = "product"
type = "MADE_BY"
target = "maker"
phrase = "maker"
[edges.bought]
source = "customer"
type = "BOUGHT"
target = "product"
attributes = { stars = "float", bought_at = "time" }
[interaction]
edge = "bought"
weight = "stars"
at = "bought_at"
positive = 4
"""
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
links_dim = 4
regularisation = 3.0
regularisations = []
gates = []
hidden = 4
steps = 3
[head]
epochs = 1
batch_size = 16
"""
WORDS = {"tea": ("green tea", "black tea", "herbal infusion"), "bike": ("road bike", "bicycle saddle", "bike bell")}
N_PRODUCTS = 24
Rows = list[list[str]]


def write_csv(file: Path, rows: Rows) -> None:
    with file.open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows(rows)


def make_shop(folder: Path) -> Path:
    """Tea drinkers buy tea and cyclists buy bicycle parts; makers make one or the other; `c-cold` likes nothing."""
    rng = np.random.default_rng(3)
    folder.mkdir()
    products, made_by = [["sku", "title", "about"]], [["sku", "maker_id"]]
    kinds = [list(WORDS)[place % 2] for place in range(N_PRODUCTS)]
    for place, kind in enumerate(kinds):
        what = WORDS[kind][place % 3]
        products.append([f"sku-{place:02}", f"{what.title()} {place}", f"a fine {what}, for {kind} lovers"])
        made_by.append([f"sku-{place:02}", f"m/{kind}/{place % 4 // 2}"])
    makers = [
        ["maker_id", "maker_name"],
        *([f"m/{kind}/{n}", f"{kind.title()} House {n}"] for kind in WORDS for n in (0, 1)),
    ]
    bought = [["customer_id", "sku", "stars", "bought_at"]]
    for customer in range(60):
        kind = list(WORDS)[customer % 2]
        mine = [place for place in range(N_PRODUCTS) if kinds[place] == kind]
        others = [place for place in range(N_PRODUCTS) if kinds[place] != kind]
        for place in rng.choice(mine, 7, replace=False):
            bought.append([f"c-{customer:03}", f"sku-{place:02}", "5", str(1_700_000_000 + int(rng.integers(10**6)))])
        place = int(rng.choice(others))
        bought.append([f"c-{customer:03}", f"sku-{place:02}", "2", "2024-01-01T00:00:00Z"])
    bought.append(["c-cold", "sku-00", "1", "1700000000"])
    for name, rows in (("product", products), ("maker", makers), ("made_by", made_by), ("bought", bought)):
        write_csv(folder / f"{name}.csv", rows)
    return folder


@dataclass(frozen=True)
class Ran:
    """The result of a command: its exit code and output."""

    code: int
    out: str
    err: str


RunCommand = Callable[..., Ran]


@pytest.fixture(scope="session", autouse=True)
def _surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Gives this process and its children a private cache folder and a wide terminal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("COLUMNS", "200")
        yield


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[RunCommand]:
    """Runs `kgrec ...` in this process."""

    def run(*args: object) -> Ran:
        monkeypatch.setattr("sys.argv", ["kgrec", *map(str, args)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = ended.value.code
        return Ran(code if isinstance(code, int) else 0, *capfd.readouterr())

    before = signal.getsignal(signal.SIGINT)
    yield run
    signal.signal(signal.SIGINT, before)


@dataclass(frozen=True)
class Shop:
    """A folder of CSV files with its schema and config, its store and its bundle."""

    folder: Path
    schema: Path
    config: Path
    database: Path
    bundle: Path

    @property
    def store(self) -> str:
        return f"ladybug:{self.database}"

    def load_args(self, *, to: str | None = None) -> list[object]:
        return ["load", "tabular", "--to", to or self.store, "--path", self.folder, "--schema", self.schema]


def _run_once(*args: object) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["kgrec", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    signal.signal(signal.SIGINT, before)
    assert ended.value.code in (0, None)


@pytest.fixture(scope="session")
def made_shop(tmp_path_factory: pytest.TempPathFactory, _surroundings: None) -> Shop:
    """The shop, loaded and trained once; tests get copies."""
    home = tmp_path_factory.mktemp("made")
    made = Shop(make_shop(home / "files"), home / "shop.toml", home / "tiny.toml", home / "shop.db", home / "bundle")
    made.schema.write_text(SCHEMA)
    made.config.write_text(CONFIG)
    _run_once(*made.load_args())
    _run_once("train", made.store, "--out", made.bundle, "--config", made.config)
    return made


@pytest.fixture
def shop(made_shop: Shop, tmp_path: Path) -> Shop:
    """A copy of the shop that a test may break."""
    copy = Shop(
        tmp_path / "files", tmp_path / "shop.toml", tmp_path / "tiny.toml", tmp_path / "shop.db", tmp_path / "bundle"
    )
    shutil.copytree(made_shop.folder, copy.folder)
    shutil.copytree(made_shop.bundle, copy.bundle)
    for name in ("schema", "config", "database"):
        shutil.copy(getattr(made_shop, name), getattr(copy, name))
    return copy
