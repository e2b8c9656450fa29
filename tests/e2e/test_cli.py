"""The commands on a small shop, and every kind of bad input: exit code 2, one message, nothing lost."""

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import N_PRODUCTS, Ran, RunCommand, Shop, write_csv

from graph_schema import CatalogueSchema, GraphTables
from kgrec import Recommender
from kgrec.errors import BundleError
from kgrec.store import open_store, read_tables

LIMIT_S = 120
# Runs a load that prints a line in the middle of writing, and waits there.
LOAD_AND_WAIT = """
import time
from kgrec import cli
from kgrec.store.ladybug import LadybugStore
write = LadybugStore.upsert_edges
def write_and_wait(*args):
    write(*args)
    print("halfway", flush=True)
    time.sleep(600)
LadybugStore.upsert_edges = write_and_wait
cli.main()
"""
HOLD = """
import sys
from kgrec.store import open_store
with open_store(sys.argv[1], mode="write"):
    print("open", flush=True)
    sys.stdin.read()
"""


def assert_fails(ran: Ran, *parts: str) -> None:
    """Asserts exit code 2 and one message that contains all of `parts`."""
    assert ran.code == 2, ran
    assert ran.err.count("kgrec: error:") == 1, ran.err
    assert "Traceback" not in ran.out + ran.err
    message = ran.err[ran.err.index("kgrec: error:") :]
    assert message.count("\n") == 1  # the message is the last output
    for part in parts:
        assert part in message, message


def read_store(store: str) -> GraphTables:
    with open_store(store, mode="read") as opened:
        return read_tables(opened)


def assert_same_tables(found: GraphTables, expected: GraphTables) -> None:
    for kind in ("nodes", "edges"):
        for name, table in getattr(expected, kind).items():
            assert getattr(found, kind)[name].equals(table), name


def read_csv(file: Path) -> list[list[str]]:
    with file.open(newline="", encoding="utf-8") as opened:
        return list(csv.reader(opened))


def change_rows(
    file: Path, change: dict[int, dict[str, str]] | None = None, more: Sequence[Sequence[str]] = ()
) -> None:
    """Sets fields of data rows (from 1), by row and column name, and appends rows."""
    rows = read_csv(file)
    for row, fields in (change or {}).items():
        for name, value in fields.items():
            rows[row][rows[0].index(name)] = value
    write_csv(file, [*rows, *map(list, more)])


@contextmanager
def started(*args: object, until: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has printed a line with `until`; the test controls it from there."""
    command = [sys.executable, *map(str, args)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            output = []
            for line in process.stdout:
                output.append(line)
                if until in line:
                    break
            else:
                pytest.fail(f"ended before it printed {until!r}: {''.join(output)}")
            yield process
        finally:
            process.kill()


def interrupt(process: subprocess.Popen[str]) -> Ran:
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=LIMIT_S)
    return Ran(process.returncode, "", output)


# -- what works --------------------------------------------------------------------------------------------------------


def test_load_reports_the_contents_of_the_store(run: RunCommand, shop: Shop, tmp_path: Path) -> None:
    ran = run(*shop.load_args(to=f"ladybug:{tmp_path / 'new' / 'shop.db'}"))
    assert ran.code == 0
    counts = {words[1]: words[2:] for line in ran.out.splitlines() if len(words := line.split()) == 4}
    assert counts["product"] == ["24", "24"]
    assert counts["customer"] == ["61", "61"]
    assert counts["bought"] == ["481", "481"]
    assert "rows/s" in ran.err
    assert not list((tmp_path / "new").glob("*.rejects.csv"))  # none were rejected, so no file


def test_loading_twice_changes_nothing(run: RunCommand, shop: Shop) -> None:
    before = read_store(shop.store)
    assert run(*shop.load_args()).code == 0
    assert_same_tables(read_store(shop.store), before)


def test_evaluate_writes_a_page_and_json(run: RunCommand, shop: Shop, tmp_path: Path) -> None:
    ran = run("evaluate", shop.store, "--out", tmp_path / "report", "--config", shop.config)
    assert ran.code == 0
    assert "popularity" in ran.out
    assert "<svg" in (page := (tmp_path / "report" / "report.html").read_text()) or "data:image" in page
    assert '<section id="audit">' in page
    assert "Leak audit" in ran.out
    assert "shop" in json.dumps(json.loads((tmp_path / "report" / "report.json").read_text()))


def test_recommend_to_a_known_user(run: RunCommand, shop: Shop) -> None:
    rows = json.loads(run("recommend", shop.bundle, "--user", "c-001", "-k", 5, "--format", "json").out)
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5]
    assert list(rows[0]) == ["item", "rank", "score", "title"]
    bought = {target for source, target in _pairs(shop) if source == "c-001"}
    assert not bought & {row["item"] for row in rows}
    assert all("Bi" in row["title"] for row in rows)  # c-001 is a cyclist, and five parts are left for one


def _pairs(shop: Shop) -> list[tuple[str, str]]:
    return [(row[0], row[1]) for row in read_csv(shop.folder / "bought.csv")[1:]]


def test_recommend_for_likes_and_a_sentence(run: RunCommand, shop: Shop) -> None:
    ran = run(
        "recommend", shop.bundle, "--like", "sku-00", "--like", "sku-02", "--text", "a cup of tea", "-k", 5,
        "--explain", "--format", "jsonl",
    )  # fmt: skip
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert len(rows) == 5
    assert all("Tea" in row["title"] or "Infusion" in row["title"] for row in rows)
    assert all(row["reason"] for row in rows)


def test_recommend_prints_a_table(run: RunCommand, shop: Shop) -> None:
    ran = run("recommend", shop.bundle, "--user", "c-000", "-k", 3, "--explain")
    assert ran.code == 0
    assert "For user c-000" in ran.out
    assert "reason" in ran.out
    assert ran.out.count("sku-") == 3


@pytest.mark.parametrize("ending", ["csv", "parquet", "json", "jsonl"])
def test_recommend_many_users_to_a_file(run: RunCommand, shop: Shop, tmp_path: Path, ending: str) -> None:
    write_csv(tmp_path / "who.csv", [["user"], ["c-000"], ["c-001"], ["nobody"], ["c-cold"]])
    out = tmp_path / "results" / f"found.{ending}"
    ran = run("recommend", shop.bundle, "--users", tmp_path / "who.csv", "-k", 4, "--out", out)
    assert ran.code == 0
    assert "unknown users, ignored: 'nobody'" in ran.err
    assert "'c-cold'" in ran.err  # without likes
    if ending == "csv":
        header, *rows = read_csv(out)
        found = [dict(zip(header, row, strict=True)) for row in rows]
    elif ending == "parquet":
        found = pq.read_table(out).to_pylist()
    else:
        text = out.read_text()
        found = json.loads(text) if ending == "json" else [json.loads(line) for line in text.splitlines()]
    assert list(found[0]) == ["user", "item", "rank", "score", "title"]
    assert [row["user"] for row in found] == [user for user in ("c-000", "c-001", "c-cold") for _ in range(4)]
    assert [int(row["rank"]) for row in found] == [1, 2, 3, 4] * 3


def test_recommend_many_by_likes_with_candidates_and_exclusions(run: RunCommand, shop: Shop, tmp_path: Path) -> None:
    write_csv(
        tmp_path / "likes.csv", [["user", "item"], ["new 1", "sku-00"], ["new, 2", "sku-01"], ["new 1", "sku-??"]]
    )
    pq.write_table(pa.table({"item": [f"sku-{n:02}" for n in range(8)]}), tmp_path / "only.parquet")
    write_csv(tmp_path / "not.csv", [["item"], ["sku-02"]])
    ran = run(
        "recommend", shop.bundle, "--likes", tmp_path / "likes.csv", "--candidates", tmp_path / "only.parquet",
        "--exclude", tmp_path / "not.csv", "-k", 6, "--explain", "--format", "csv",
    )  # fmt: skip
    assert ran.code == 0
    assert "unknown items, ignored: 'sku-??'" in ran.err
    header, *rows = csv.reader(ran.out.splitlines())
    assert header == ["user", "item", "rank", "score", "title", "reason"]
    found = {user: {row[1] for row in rows if row[0] == user} for user in ("new 1", "new, 2")}
    assert found["new 1"] == {f"sku-{n:02}" for n in (1, 3, 4, 5, 6, 7)}
    assert found["new, 2"] == {f"sku-{n:02}" for n in (0, 3, 4, 5, 6, 7)}


def test_ids_in_files_stay_text(run: RunCommand, shop: Shop, tmp_path: Path) -> None:
    write_csv(tmp_path / "likes.csv", [["user", "item"], ["007", "sku-00"]])
    (tmp_path / "likes.jsonl").write_text('{"user": "007", "item": "sku-00"}\n')
    (tmp_path / "likes.dat").write_text("User::Item\n007::sku-00\n")
    for name in ("likes.csv", "likes.jsonl", "likes.dat"):
        ran = run("recommend", shop.bundle, "--likes", tmp_path / name, "-k", 1, "--format", "jsonl")
        assert json.loads(ran.out)["user"] == "007", name


def test_similar_names_the_item(run: RunCommand, shop: Shop) -> None:
    ran = run("similar", shop.bundle, "sku-00", "-k", 3)
    assert "Similar to Green Tea 0 (sku-00)" in ran.out
    found = json.loads(run("similar", shop.bundle, "sku-00", "-k", 3, "--format", "json").out)
    assert len(found) == 3
    assert all(int(row["item"][-2:]) % 2 == 0 for row in found)  # what tea drinkers buy


def test_explain_shares_add_up_to_the_score(run: RunCommand, shop: Shop) -> None:
    recommended = json.loads(run("recommend", shop.bundle, "--user", "c-001", "-k", 1, "--format", "jsonl").out)
    ran = run("explain", shop.bundle, "--user", "c-001", "--item", recommended["item"], "--format", "json")
    shares = json.loads(ran.out)
    assert sum(share["share"] for share in shares) == pytest.approx(recommended["score"], abs=1e-4)
    assert {share["source"] for share in shares} == {"like", "everybody"}
    assert any("maker" in (share["path"] or "") for share in shares)
    table = run("explain", shop.bundle, "--user", "c-001", "--item", recommended["item"], "-k", 2)
    assert "sum of the shares" in table.out
    assert f"and {len(shares) - 2} more" in table.err


# -- bad files ---------------------------------------------------------------------------------------------------------


def test_a_missing_file_is_an_error(run: RunCommand, shop: Shop) -> None:
    before = read_store(shop.store)
    (shop.folder / "maker.csv").unlink()
    assert_fails(run(*shop.load_args()), "no table for maker", "expected maker.csv", "found bought.csv")
    assert_same_tables(read_store(shop.store), before)


def test_a_missing_folder_schema_or_source_is_an_error(run: RunCommand, shop: Shop, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert_fails(run("load", "tabular", "--to", shop.store, "--path", nowhere, "--schema", shop.schema), str(nowhere))
    args = ("load", "tabular", "--to", shop.store, "--path", shop.folder)
    assert_fails(run(*args), "--schema FILE.toml")
    assert_fails(run(*args, "--schema", nowhere), str(nowhere), "TOML")
    assert_fails(run("load", "imdb", "--to", shop.store), "'imdb'", "movielens-100k", "tabular")
    assert_fails(run(*shop.load_args(to="sqlite:x.db")), "'sqlite:x.db'", "ladybug:PATH")
    assert not Path("x.db.rejects.csv").exists()


def test_a_binary_file_is_an_error(run: RunCommand, shop: Shop) -> None:
    before = read_store(shop.store)
    (shop.folder / "product.csv").write_bytes(b"sku,title,about\n" + bytes(range(128, 256)) * 40)
    assert_fails(run(*shop.load_args()), "product.csv", "utf-8", "name its encoding", "--encoding")
    assert_same_tables(read_store(shop.store), before)


@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="the superuser may read every file")
def test_an_unreadable_file_is_an_error(run: RunCommand, shop: Shop) -> None:
    (shop.folder / "maker.csv").chmod(0)
    assert_fails(run(*shop.load_args()), "maker.csv", "Permission denied", "readable")


def test_a_folder_in_place_of_a_file_is_an_error(run: RunCommand, shop: Shop, tmp_path: Path) -> None:
    assert_fails(run("train", f"ladybug:{tmp_path}", "--out", tmp_path / "b"), "is a folder", "expected the file")
    assert_fails(run(*shop.load_args()[:-1], tmp_path), "cannot read the schema", "directory")
    assert_fails(run("recommend", shop.bundle, "--users", tmp_path), "cannot read", "expected a CSV")
    assert_fails(run("train", shop.store, "--out", shop.bundle, "--config", tmp_path), "cannot read the config")


def test_a_file_in_place_of_a_folder_is_an_error(run: RunCommand, shop: Shop) -> None:
    ran = run("recommend", shop.bundle, "--user", "c-000", "--out", shop.schema / "found.csv")
    assert_fails(ran, "shop.toml", "check the path")
    assert_fails(run(*shop.load_args(), "--rejects", shop.folder), "cannot write the reject file", "--rejects")


def test_a_wrong_delimiter_is_an_error(run: RunCommand, shop: Shop) -> None:
    before = read_store(shop.store)
    file = shop.folder / "product.csv"
    file.write_text(file.read_text().replace(",", "#"))
    assert_fails(run(*shop.load_args()), "product.csv", "sku, title, about", "by one of , ; tab |", "sku#title#about")
    assert_same_tables(read_store(shop.store), before)


def test_semicolons_are_a_delimiter_too(run: RunCommand, shop: Shop) -> None:
    before = read_store(shop.store)
    file = shop.folder / "bought.csv"
    file.write_text(file.read_text().replace(",", ";"))
    assert run(*shop.load_args()).code == 0
    assert_same_tables(read_store(shop.store), before)


def test_a_byte_order_mark_is_no_part_of_a_name(run: RunCommand, shop: Shop) -> None:
    before = read_store(shop.store)
    for file in shop.folder.iterdir():
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert run(*shop.load_args()).code == 0
    assert_same_tables(read_store(shop.store), before)


def test_quotes_and_newlines_in_a_field_are_kept(run: RunCommand, shop: Shop) -> None:
    title = 'The "Best",\nof teas; ünïcode'
    change_rows(shop.folder / "product.csv", {1: {"title": title}})
    assert run(*shop.load_args()).code == 0
    products = read_store(shop.store).nodes["product"].to_pylist()
    assert products[0]["title"] == title
    assert len(products) == N_PRODUCTS


def test_a_percent_of_broken_rows_goes_to_the_reject_file(run: RunCommand, shop: Shop, tmp_path: Path) -> None:
    file = shop.folder / "bought.csv"
    lines = file.read_text().splitlines()
    broken = [100, 200, 300, 400, 450]  # of 481 data rows
    for row in broken:
        lines[row] += ",one,field,too,many"
    file.write_text("\n".join(lines) + "\n")
    store = f"ladybug:{tmp_path / 'fresh.db'}"
    ran = run(*shop.load_args(to=store), "--rejects", tmp_path / "bad.csv")
    assert ran.code == 0
    assert f"rejected: 5 of 481 rows of bought (1.0%): see {tmp_path / 'bad.csv'}" in ran.err
    header, *rows = read_csv(tmp_path / "bad.csv")
    assert header == ["file", "row", "table", "reason", "content"]
    assert [int(row[1]) for row in rows] == broken
    assert all(row[0] == "bought.csv" and "has 8 fields; expected 4" in row[3] for row in rows)
    assert read_store(store).interactions.num_rows == 481 - 5


def test_too_many_broken_rows_leave_the_store_untouched(run: RunCommand, shop: Shop) -> None:
    before = read_store(shop.store)
    change_rows(shop.folder / "bought.csv", {row: {"stars": "lots"} for row in range(1, 200)})
    ran = run(*shop.load_args())
    assert_fails(
        ran, "199 of 481 rows of 'bought' are bad (41.4%)", "limit of 10.0%", "nothing was loaded", "--max-rejects 0.42"
    )
    assert len(read_csv(Path(f"{shop.database}.rejects.csv"))) == 200
    assert_same_tables(read_store(shop.store), before)
    assert run(*shop.load_args(), "--max-rejects", "0.42").code == 0


def test_too_many_broken_rows_create_no_store(run: RunCommand, shop: Shop, tmp_path: Path) -> None:
    change_rows(shop.folder / "bought.csv", {1: {"stars": "lots"}})
    assert_fails(
        run(*shop.load_args(to=f"ladybug:{tmp_path / 'none.db'}"), "--max-rejects", 0), "1 of 481 rows of 'bought'"
    )
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize(
    ("name", "row", "reason"),
    [
        ("product", ["sku-00", "again", "twice"], "sku is there twice; the first is kept"),
        ("made_by", ["sku-00", "m/nobody/1"], "target is not in the maker table"),
        ("bought", ["c-000", "sku-none", "5", "1700000000"], "target is not in the product table"),
        ("bought", ["c-000", "sku-01", "NaN", "1700000000"], "stars"),
        ("bought", ["c-000", "sku-01", "", "1700000000"], "stars is empty"),
        ("bought", ["", "sku-01", "5", "1700000000"], "source is empty"),
        ("bought", ["c-000", "sku-01", "5", "yesterday"], "bought_at"),
    ],
    ids=["duplicate id", "dangling edge", "dangling interaction", "NaN rating", "no rating", "no user", "no time"],
)  # fmt: skip
def test_a_bad_row_is_rejected_and_the_rest_loads(
    run: RunCommand, shop: Shop, name: str, row: list[str], reason: str
) -> None:
    before = read_store(shop.store)
    change_rows(shop.folder / f"{name}.csv", more=[row])
    ran = run(*shop.load_args())
    assert ran.code == 0
    assert f" of {name} (" in ran.err.rstrip().splitlines()[-1]
    (rejected,) = read_csv(Path(f"{shop.database}.rejects.csv"))[1:]
    assert rejected[2] == name
    assert reason in rejected[3]
    assert_same_tables(read_store(shop.store), before)
    assert_fails(run(*shop.load_args(), "--max-rejects", 0), reason, f"{name}.csv row ")


def test_a_load_says_how_many_ids_had_spaces_around_them(run: RunCommand, shop: Shop) -> None:
    before = read_store(shop.store)
    change_rows(shop.folder / "bought.csv", {1: {"sku": f" {read_csv(shop.folder / 'bought.csv')[1][1]}"}})
    ran = run(*shop.load_args())
    assert ran.code == 0
    assert "1 id had spaces around it, which are left out" in ran.err
    assert "rejected" not in ran.err
    assert_same_tables(read_store(shop.store), before)
    change_rows(shop.folder / "bought.csv", {1: {"sku": read_csv(shop.folder / "bought.csv")[1][1].strip()}})
    assert "spaces" not in run(*shop.load_args()).err


def test_training_without_interactions_is_an_error(run: RunCommand, shop: Shop) -> None:
    before = read_store(shop.store)
    write_csv(shop.folder / "bought.csv", read_csv(shop.folder / "bought.csv")[:1])
    assert_fails(run(*shop.load_args()), "'bought' has no rows", "expected at least one")
    assert_same_tables(read_store(shop.store), before)


def test_training_without_likes_is_an_error(run: RunCommand, shop: Shop, tmp_path: Path) -> None:
    change_rows(shop.folder / "bought.csv", {row: {"stars": "3"} for row in range(1, 482)})
    store = f"ladybug:{tmp_path / 'dull.db'}"
    assert run(*shop.load_args(to=store)).code == 0
    for command in ("train", "evaluate"):
        ran = run(command, store, "--out", tmp_path / "none", "--config", shop.config)
        assert_fails(ran, "no likes", "expected")
    assert not (tmp_path / "none").exists()


# -- bad stores --------------------------------------------------------------------------------------------------------


def test_a_missing_store_is_an_error(run: RunCommand, tmp_path: Path) -> None:
    ran = run("train", f"ladybug:{tmp_path / 'none.db'}", "--out", tmp_path / "b")
    assert_fails(ran, "no database at", "none.db", "kgrec load")
    assert not (tmp_path / "b").exists()


def test_a_store_that_another_process_has_open_is_an_error(run: RunCommand, shop: Shop, tmp_path: Path) -> None:
    before = read_store(shop.store)
    with started("-c", HOLD, shop.store, until="open"):
        assert_fails(run(*shop.load_args()), "shop.db is open in another process", "expected it to be free", "wait")
        assert_fails(run("train", shop.store, "--out", tmp_path / "b"), "open in another process")
    assert_same_tables(read_store(shop.store), before)


def test_a_killed_load_is_reported_and_repaired(run: RunCommand, shop: Shop, tmp_path: Path) -> None:
    clean = read_store(shop.store)
    store = f"ladybug:{tmp_path / 'killed.db'}"
    with started("-c", LOAD_AND_WAIT, *shop.load_args(to=store), until="halfway") as process:
        process.kill()
    assert_fails(run("train", store, "--out", tmp_path / "b"), "half-written", "load again", "kgrec load")
    assert run(*shop.load_args(to=store)).code == 0
    assert_same_tables(read_store(store), clean)


def test_an_interrupted_load_is_reported_and_repaired(run: RunCommand, shop: Shop, tmp_path: Path) -> None:
    clean = read_store(shop.store)
    store = f"ladybug:{tmp_path / 'stopped.db'}"
    with started("-c", LOAD_AND_WAIT, *shop.load_args(to=store), until="halfway") as process:
        assert_fails(interrupt(process), "interrupted", "to finish an interrupted load", "run the same command again")
    assert_fails(run("train", store, "--out", tmp_path / "b"), "half-written", "load again")
    assert run(*shop.load_args(to=store)).code == 0
    assert_same_tables(read_store(store), clean)


def test_a_store_of_another_schema_is_an_error(run: RunCommand, shop: Shop, tmp_path: Path) -> None:
    before = read_store(shop.store)
    shop.schema.write_text(shop.schema.read_text().replace('"BOUGHT"', '"GOT"'))
    told = "edges.bought has type = GOT, the store has BOUGHT"
    assert_fails(run(*shop.load_args()), "'shop'", "another schema", told, "load into another file")
    assert_same_tables(read_store(shop.store), before)
    ran = run("train", shop.store, "--out", tmp_path / "b", "--schema", shop.schema)
    assert_fails(ran, "holds the schema 'shop'", "expected 'shop'", told, "leave the schema out")


def test_a_file_that_is_no_store_is_an_error(run: RunCommand, shop: Shop, tmp_path: Path) -> None:
    foreign = tmp_path / "letter.db"
    foreign.write_text("Dear Sir or Madam, " * 500)
    assert_fails(run(*shop.load_args(to=f"ladybug:{foreign}")), "letter.db", "expected a database")
    assert foreign.read_text().startswith("Dear")


# -- bad bundles -------------------------------------------------------------------------------------------------------


def test_a_bundle_of_another_schema_is_refused(shop: Shop) -> None:
    other = CatalogueSchema.parse(shop.schema.read_text().replace("positive = 4", "positive = 3"))
    assert Recommender.load(shop.bundle, schema=CatalogueSchema.from_toml(shop.schema))
    told = r"schema 'shop' \(.*, expected 'shop' \(.*a like is stars >= 3, .* from stars >= 4; train again"
    with pytest.raises(BundleError, match=told):
        Recommender.load(shop.bundle, schema=other)
    other = CatalogueSchema.parse(shop.schema.read_text().replace('"BOUGHT"', '"GOT"'))
    with pytest.raises(BundleError, match="type = GOT, the bundle has BOUGHT; train again"):
        Recommender.load(shop.bundle, schema=other)


def test_a_truncated_bundle_is_an_error(run: RunCommand, shop: Shop) -> None:
    (tensors,) = shop.bundle.glob("*.safetensors.zst")
    tensors.write_bytes(tensors.read_bytes()[:-100])
    assert_fails(run("recommend", shop.bundle, "--user", "c-000"), "truncated", tensors.name, "train again")


def test_a_newer_bundle_is_refused(run: RunCommand, shop: Shop) -> None:
    manifest = shop.bundle / "bundle.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": 99, "kgrec": "9.0"}))
    ran = run("similar", shop.bundle, "sku-00")
    assert_fails(ran, "format version 99", "written by kgrec 9.0", "install a newer kgrec")


def test_a_foreign_or_missing_bundle_is_an_error(run: RunCommand, shop: Shop, tmp_path: Path) -> None:
    (shop.bundle / "bundle.json").write_text('{"name": "a web page"}')
    assert_fails(run("recommend", shop.bundle, "--user", "c-000"), "holds no kgrec bundle", "name another folder")
    assert_fails(run("recommend", tmp_path / "none", "--user", "c-000"), "no bundle at", "kgrec train")


def test_training_never_writes_to_a_foreign_folder(run: RunCommand, shop: Shop) -> None:
    files = sorted(file.name for file in shop.folder.iterdir())
    assert_fails(run("train", shop.store, "--out", shop.folder, "--config", shop.config), "is no bundle", "new folder")
    assert sorted(file.name for file in shop.folder.iterdir()) == files


def test_an_interrupted_training_leaves_the_old_bundle(shop: Shop) -> None:
    before = {file.name: file.read_bytes() for file in shop.bundle.iterdir()}
    args = ("train", shop.store, "--out", shop.bundle, "--config", shop.config)
    with started("-m", "kgrec.cli", *args, until="choosing the backbone") as process:
        assert_fails(interrupt(process), "interrupted", "written whole or not at all")
    assert {file.name: file.read_bytes() for file in shop.bundle.iterdir()} == before
    assert len(Recommender.load(shop.bundle).recommend(user="c-000", k=3)) == 3


# -- bad requests ------------------------------------------------------------------------------------------------------


def test_an_unknown_user_is_an_error(run: RunCommand, shop: Shop) -> None:
    ran = run("recommend", shop.bundle, "--user", "c-999")
    assert_fails(ran, "unknown user 'c-999'", "61 users", "give the user's likes or a text")
    assert_fails(run("explain", shop.bundle, "--user", "c-999", "--item", "sku-00"), "unknown user 'c-999'")


def test_an_unknown_item_is_an_error(run: RunCommand, shop: Shop) -> None:
    assert_fails(run("similar", shop.bundle, "sku-99"), "unknown item 'sku-99'", f"{N_PRODUCTS} items")
    assert_fails(run("explain", shop.bundle, "--user", "c-000", "--item", "sku-99"), "unknown item 'sku-99'")
    assert_fails(run("recommend", shop.bundle, "--like", "sku-99"), "'sku-99'", "expected ids as in the catalogue")


def test_an_unknown_item_among_known_ones_is_reported(run: RunCommand, shop: Shop) -> None:
    ran = run("recommend", shop.bundle, "--like", "sku-99", "--like", "sku-00", "-k", 2, "--format", "jsonl")
    assert ran.code == 0
    assert len(ran.out.splitlines()) == 2
    assert "'sku-99'" in ran.err


def test_users_without_likes_get_popular_items(run: RunCommand, shop: Shop) -> None:
    ran = run("recommend", shop.bundle, "-k", N_PRODUCTS, "--format", "jsonl")
    assert ran.code == 0
    assert "no likes are given" in ran.err
    n_likes: dict[str, int] = {}
    for _, sku, stars, _ in read_csv(shop.folder / "bought.csv")[1:]:
        n_likes[sku] = n_likes.get(sku, 0) + (float(stars) >= 4)
    found = [n_likes[json.loads(line)["item"]] for line in ran.out.splitlines()]
    assert len(found) == N_PRODUCTS
    assert sum(found[: N_PRODUCTS // 3]) > sum(found[-N_PRODUCTS // 3 :])
    cold = run("recommend", shop.bundle, "--user", "c-cold", "-k", 3, "--format", "jsonl")
    assert cold.code == 0
    assert "user 'c-cold' has no likes" in cold.err
    assert "sku-00" not in cold.out  # seen


@pytest.mark.parametrize("k", [0, -3])
def test_k_below_one_is_an_error(run: RunCommand, shop: Shop, k: int) -> None:
    for args in (("recommend", shop.bundle, "--user", "c-000"), ("similar", shop.bundle, "sku-00")):
        assert_fails(run(*args, "-k", k), "expected k of at least 1", f"got {k}")


def test_k_larger_than_the_catalogue_lists_all(run: RunCommand, shop: Shop, tmp_path: Path) -> None:
    write_csv(tmp_path / "who.csv", [["user"], ["c-000"]])
    for args in (
        ("recommend", shop.bundle, "--user", "c-000"),
        ("recommend", shop.bundle, "--users", tmp_path / "who.csv"),
        ("similar", shop.bundle, "sku-00"),
    ):
        ran = run(*args, "-k", N_PRODUCTS + 1)
        assert ran.code == 0
        assert ran.out.split("\n")[1:] == run(*args, "-k", N_PRODUCTS).out.split("\n")[1:]


def test_a_list_shorter_than_k_is_reported(run: RunCommand, shop: Shop) -> None:
    ran = run("recommend", shop.bundle, "--user", "c-000", "-k", N_PRODUCTS, "--format", "jsonl")
    assert ran.code == 0
    assert len(ran.out.splitlines()) == N_PRODUCTS - 8
    assert "asked for 24 items, only 16 may be recommended" in ran.err


def test_invalid_request_files_are_errors(run: RunCommand, shop: Shop, tmp_path: Path) -> None:
    missing, wrong, holes = tmp_path / "none.csv", tmp_path / "wrong.csv", tmp_path / "holes.csv"
    write_csv(wrong, [["sku"], ["sku-00"]])
    write_csv(holes, [["user", "item"], ["a", "sku-00"], ["b", ""]])
    (tmp_path / "empty.csv").touch()
    assert_fails(run("recommend", shop.bundle, "--users", missing), "cannot read", "none.csv", "expected a CSV")
    assert_fails(run("recommend", shop.bundle, "--users", tmp_path / "empty.csv"), "first line is empty", "empty.csv")
    assert_fails(run("recommend", shop.bundle, "--candidates", wrong), "lacks the column 'item'", "got ['sku']")
    assert_fails(run("recommend", shop.bundle, "--likes", holes), "have rows without 'item'", "in every row")


def test_contradictory_options_are_errors(run: RunCommand, shop: Shop, tmp_path: Path) -> None:
    write_csv(tmp_path / "who.csv", [["user"], ["c-000"]])
    ran = run("recommend", shop.bundle, "--users", tmp_path / "who.csv", "--user", "c-000")
    assert_fails(ran, "expected one of --users, --likes", "got several")
    assert_fails(run("recommend", shop.bundle, "--user", "c-000", "--format", "parquet"), "expected --out FILE")
    assert_fails(run("recommend", shop.bundle, "--user", "c-000", "--out", tmp_path / "x.xls"), "x.xls", "--format")
    assert_fails(run("recommend", shop.bundle, "--text", "  "), "a text with words in it")
    expected = "--user, --like, --sequence, --text, --link or --attribute"
    assert_fails(run("explain", shop.bundle, "--item", "sku-00"), expected)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("--like", "sku-00, sku-02"), "expected --like sku-00 --like sku-02, an option for each id"),
        (("--user", "c-000,c-001"), "expected --user c-000 --user c-001"),
    ],
)
def test_a_misspelt_id_gets_a_suggestion(run: RunCommand, shop: Shop, args: tuple[str, ...], expected: str) -> None:
    assert_fails(run("recommend", shop.bundle, *args), expected)
    assert_fails(run("explain", shop.bundle, "--item", "sku-01", *args), expected)


def test_ids_are_read_without_the_spaces_around_them(run: RunCommand, shop: Shop, tmp_path: Path) -> None:
    def answer(*args: object) -> str:
        ran = run(*args, "--format", "jsonl")
        assert ran.code == 0 and "unknown" not in ran.err
        return ran.out

    spaced = answer("recommend", shop.bundle, "--user", "c-000 ", "--like", " sku-02")
    assert spaced == answer("recommend", shop.bundle, "--user", "c-000", "--like", "sku-02")
    assert answer("similar", shop.bundle, " sku-01") == answer("similar", shop.bundle, "sku-01")
    spaced = answer("explain", shop.bundle, "--item", "sku-01 ", "--user", " c-000")
    assert spaced == answer("explain", shop.bundle, "--item", "sku-01", "--user", "c-000")
    write_csv(tmp_path / "likes.csv", [["user", "item"], ["a ", "sku-00 "], ["a", " sku-02"]])
    write_csv(tmp_path / "plain.csv", [["user", "item"], ["a", "sku-00"], ["a", "sku-02"]])
    spaced = answer("recommend", shop.bundle, "--likes", tmp_path / "likes.csv")
    assert spaced == answer("recommend", shop.bundle, "--likes", tmp_path / "plain.csv")


def test_an_unknown_setting_is_an_error(run: RunCommand, shop: Shop) -> None:
    before = {file.name: file.read_bytes() for file in shop.bundle.iterdir()}
    shop.config.write_text("epochen = 3")
    ran = run("train", shop.store, "--out", shop.bundle, "--config", shop.config)
    assert_fails(ran, "tiny.toml", "wrong setting: epochen is unknown: expected one of: seed")
    shop.config.write_text("epochs: 3")
    assert_fails(run("train", shop.store, "--out", shop.bundle, "--config", shop.config), "cannot read the config")
    assert {file.name: file.read_bytes() for file in shop.bundle.iterdir()} == before
