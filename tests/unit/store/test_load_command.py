"""`kgrec load` of small files into the embedded store: what it says and what is in the store afterwards."""

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kgrec import cli
from kgrec.store import open_store, read_tables

SCHEMA = """
name = "shop"
[nodes.product]
label = "Product"
key = "sku"
name = "title"
[nodes.customer]
label = "Customer"
key = "customer"
from_edges = true
[edges.bought]
source = "customer"
type = "BOUGHT"
target = "product"
attributes = { quantity = "int", at = "time" }
[interaction]
edge = "bought"
weight = "quantity"
at = "at"
repeats = "sum"
"""
PRODUCTS = "sku,title\nA1,Lamp\nB2,Rug\nC3,Cup\n"
BOUGHT = """customer,sku,quantity,at
x,A1,6,2026-01-01
x,A1,6,2026-02-01
x,A1,-1,2026-03-01
y,B2,1,2026-01-02
z,C3,-2,2026-01-04
"""


@dataclass
class Shop:
    """Files, a schema and a store, in a folder."""

    folder: Path
    run: Callable[..., tuple[int, str]]

    def load(
        self, *options: str, products: str = PRODUCTS, bought: str = BOUGHT, schema: str = SCHEMA
    ) -> tuple[int, str]:
        (self.folder / "product.csv").write_text(products)
        (self.folder / "bought.csv").write_text(bought)
        (self.folder / "schema.toml").write_text(schema)
        files = ["--path", str(self.folder), "--schema", str(self.folder / "schema.toml")]
        return self.run("load", "tabular", *files, "--to", self.url, *options)

    @property
    def url(self) -> str:
        return f"ladybug:{self.folder / 's.db'}"

    def bought(self) -> list[tuple[str, str, int]]:
        with open_store(self.url, mode="read") as store:
            rows = read_tables(store).interactions.to_pylist()
        return [(row["source"], row["target"], row["quantity"]) for row in rows]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Shop]:
    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["kgrec", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        return ended.value.code if isinstance(ended.value.code, int) else 0, out + err

    before = signal.getsignal(signal.SIGINT)
    yield Shop(tmp_path, run)
    signal.signal(signal.SIGINT, before)


def test_what_was_bought_and_returned_is_added_up_and_said(shop: Shop) -> None:
    code, said = shop.load()
    assert code == 0
    assert "2 bought edges repeated another: their quantity is added up" in said
    assert shop.bought() == [("x", "A1", 11), ("y", "B2", 1), ("z", "C3", -2)]
    with open_store(shop.url, mode="read") as store:
        assert read_tables(store).likes["target"].to_pylist() == ["A1", "B2"]


def test_rows_that_are_gone_are_told_and_removed_by_replace(shop: Shop) -> None:
    shop.load()
    fewer = {"products": PRODUCTS.replace("B2,Rug\n", ""), "bought": BOUGHT.replace("y,B2,1,2026-01-02\n", "")}
    code, said = shop.load(**fewer)
    assert code == 0
    assert "the store has rows that the source has not: 1 of product, 1 of customer, 1 of bought; --replace" in said
    assert len(shop.bought()) == 3
    code, said = shop.load("--replace", **fewer)
    assert code == 0
    assert "1 product row removed, which the source no longer has" in said
    assert "the store has rows" not in said
    assert shop.bought() == [("x", "A1", 11), ("z", "C3", -2)]
    with open_store(shop.url, mode="read") as store:
        assert store.counts().nodes == {"product": 2, "customer": 2}


def test_the_share_of_each_table_is_in_the_last_line(shop: Shop) -> None:
    more = "".join(f"c{row},A1,1,2026-01-01\n" for row in range(35)) + "w,D4,1,2026-01-01\nw,D5,1,soon\n"
    code, said = shop.load(bought=BOUGHT + more, products=PRODUCTS + "A1,Lamp again\n")
    assert code == 0
    last = said.rstrip().splitlines()[-1]
    reject_file = shop.folder / "s.db.rejects.csv"
    assert last == f"rejected: 1 of 4 rows of product (25.0%); 2 of 42 rows of bought (4.8%): see {reject_file}"
    code, said = shop.load(bought=BOUGHT + more, products=PRODUCTS.replace("A1,Lamp\n", ""))
    assert code == 2
    assert "40 of 42 rows of 'bought' are bad (95.2%), more than the limit of 10.0%, so nothing was loaded" in said
    assert len(shop.bought()) == 38  # as before


def test_a_changed_threshold_needs_no_new_load_and_is_kept_by_one(shop: Shop) -> None:
    shop.load()
    code, said = shop.load(schema=f"{SCHEMA}positive = 2\n")
    assert code == 0, said
    with open_store(shop.url, mode="read") as store:
        assert store.read_schema().interaction.positive == 2
        assert read_tables(store).likes["target"].to_pylist() == ["A1"]


def test_another_schema_is_refused_by_what_is_different(shop: Shop) -> None:
    shop.load()
    code, said = shop.load(schema=SCHEMA.replace('"sum"', '"latest"'))
    assert code == 2
    assert "another schema of that name: interaction has repeats = latest, the store has sum" in said
