"""How the files of a folder become tables: parts of one, files without content, names that a schema cannot hold."""

from pathlib import Path

import pytest

from graph_schema import CatalogueError, CatalogueSchema
from graph_schema.checks.staging import stage_tables
from graph_schema.drafts.draft import draft_schema
from loaders import open_source, read_profile
from loaders.profiles.folder_tables import read_folder
from loaders.profiles.table_columns import find_splits

ITEMS = "item_id,title\n" + "".join(f"i{n},Thing {n}\n" for n in range(12))


def sell(first: int, *, pad: str = "") -> str:
    """40 sales, other pairs for other first ones."""
    rows = [f"u{n % 8}{pad},i{(n * first) % 12},{1 + n % 5}" for n in range(first, first + 40)]
    return "\n".join(["user_id,item_id,quantity", *rows, ""])


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def draft_and_load(folder: Path):
    """Drafts a schema and loads by it; no row is rejected."""
    draft = draft_schema(read_profile(folder))
    assert draft.is_complete
    schema = CatalogueSchema.parse(draft.toml)
    source = open_source("tabular", path=folder, schema=schema, cache_dir=folder)
    return draft, stage_tables(source, folder / ".staged", rejects=None, max_rejects=0).to_tables()


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (["Sales 2024", "Sales 2025", "items"], {"Sales": ["Sales 2024", "Sales 2025"]}),
        (["sales_2024_01", "sales_2024_02"], {"sales": ["sales_2024_01", "sales_2024_02"]}),
        (["sales2024", "sales2025"], {"sales": ["sales2024", "sales2025"]}),
        (["ratings_train", "ratings_test"], {"ratings": ["ratings_train", "ratings_test"]}),
        (["sales_2024", "items"], {}),
        (["top100", "top250"], {}),
        (["sales", "sales_2024", "sales_2025"], {}),  # the first may hold the others
        (["2024", "2025"], {}),
    ],
)
def test_tables_that_may_be_parts_of_one(names, parts):
    assert find_splits({name: [Path(f"{name}.csv")] for name in names}) == parts


@pytest.mark.parametrize("name", ["Sales {}.csv", "sales_{}.csv", "Sales-{}.csv"])
def test_years_with_the_same_columns_are_one_interaction(tmp_path, name):
    first, second = (name.format(year) for year in (2024, 2025))
    folder = write(tmp_path, {"items.csv": ITEMS, first: sell(5), second: sell(7)})
    draft, tables = draft_and_load(folder)
    assert draft.schema.interaction.edge.lower() == "sales"
    assert list(draft.schema.edges) == [draft.schema.interaction.edge]
    pairs = {tuple(line.split(",")[:2]) for text in (sell(5), sell(7)) for line in text.splitlines()[1:]}
    assert tables.interactions.num_rows == len(pairs)


def test_years_with_other_columns_stay_apart(tmp_path):
    files = {"sales_2024.csv": sell(5), "sales_2025.csv": sell(7).replace("quantity", "amount"), "items.csv": ITEMS}
    assert set(read_folder(write(tmp_path, files), None, None).tables) == {"items", "sales_2024", "sales_2025"}


@pytest.mark.parametrize(
    ("file", "table"),
    [("Loans export (2).csv", "Loans export 2"), ("2024 loans.csv", "loans"), ("[loans].csv", "loans")],
)
def test_a_file_with_an_odd_name_is_drafted_under_a_clean_one(tmp_path, file, table):
    draft, tables = draft_and_load(write(tmp_path, {"items.csv": ITEMS, file: sell(5)}))
    assert draft.schema.interaction.edge == table
    assert draft.schema.tables[table].file == (file,)
    assert draft.left_out == ()
    assert tables.interactions.num_rows == len({tuple(row.split(",")[:2]) for row in sell(5).splitlines()[1:]})


def test_files_without_content_are_left_out_with_a_sentence(tmp_path):
    files = {"items.csv": ITEMS, "sales.csv": sell(5), "notes.csv": "", "sales-2.csv": "", "blank.csv": "\n\n\n"}
    found = read_folder(write(tmp_path, files), None, None)
    assert set(found.tables) == {"items", "sales"}
    assert [sentence.removeprefix(f"{tmp_path}/") for sentence in found.left_out] == [
        "notes.csv: it has no content",
        "sales-2.csv: it has no content",
        "blank.csv: the first line is empty; expected a header with the names of its columns",
    ]
    draft_and_load(tmp_path)


def test_the_usual_endings_are_named_where_there_are_no_tables(tmp_path):
    with pytest.raises(CatalogueError, match=r"has no tables; .* \(.csv, .*, .parquet, also .csv.gz\)$"):
        read_folder(tmp_path, None, None)


def test_a_lost_row_is_told_as_a_row_of_its_table(tmp_path):
    files = {"sales.csv": sell(5), "items.jsonl": '{"item_id": "i1", "title": "Thing"}\nnothing\n'}
    assert read_profile(write(tmp_path, files)).left_out == ("1 row of the table items, which does not fit the others",)


def test_ids_with_spaces_around_them_are_one_id_and_are_told(tmp_path):
    users = "user_id,city\n" + "".join(f"u{n},Oslo\n" for n in range(8))
    files = {"items.csv": ITEMS, "users.csv": users, "sales_a.csv": sell(5), "sales_b.csv": sell(7, pad=" ")}
    folder = write(tmp_path, files)
    profile = read_profile(folder)
    told = [(one.about, one.sure, one.why) for one in profile.guesses if "spaces" in one.choice]
    assert told == [("sales_b.user_id", "sure", "40 ids had spaces around them, which are left out")]
    assert {one.count for one in profile.nodes.values()} == {8, 12}
    assert not any(node.from_edges for node in profile.nodes.values())
    _, tables = draft_and_load(folder)
    assert tables.nodes["users"].num_rows == 8
