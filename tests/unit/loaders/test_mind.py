"""MIND's news and behaviours; the rows are made up."""

import pytest

from graph_schema import CatalogueError
from graph_schema.checks.staging import stage_tables
from loaders import open_source

ENTITY = '[{"Label": "Oslo", "Type": "G", "WikidataId": "Q585", "Confidence": 1.0}]'
OTHER = '[{"Label": "Sea", "WikidataId": "Q165"}, {"Label": "Oslo", "WikidataId": "Q585"}]'
NEWS = [
    f"N1\tsports\tgolf\tA golf day\tIt was long.\thttp://x/1\t{ENTITY}\t{OTHER}",
    "N2\tnews\tnewsworld\tA sea day\t\thttp://x/2\t[]\t",
    f"N3\tnews\tnewsus\tA quiet day\tSaid so.\thttp://x/3\t{ENTITY}\t[]",
]
BEHAVIORS = [
    "1\tU1\t11/15/2019 8:55:22 AM\tN1 N2\tN3-1 N2-0",
    "2\tU1\t11/14/2019 1:00:00 PM\tN1 N2\tN3-0",
    "3\tU2\t11/15/2019 12:30:00 PM\t\tN1-1 N2-1",
]
FIRST = 1_573_736_400  # 14 November 2019, 13:00 UTC


def load(folder, tmp_path, rejects=None):
    source = open_source("mind", path=folder, cache_dir=tmp_path)
    return stage_tables(source, tmp_path / "staged", rejects=rejects, max_rejects=1 if rejects else 0).to_tables()


def write(folder, news=NEWS, behaviors=BEHAVIORS):
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in (("news.tsv", news), ("behaviors.tsv", behaviors)):
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder


def test_news_clicks_and_entities_are_read(tmp_path):
    tables = load(write(tmp_path / "mind"), tmp_path)
    assert tables.nodes["news"].to_pylist()[:2] == [
        {
            "news_id": "N1",
            "title": "A golf day",
            "abstract": "It was long.",
            "category": "sports",
            "subcategory": "golf",
        },
        {"news_id": "N2", "title": "A sea day", "abstract": None, "category": "news", "subcategory": "newsworld"},
    ]
    assert tables.nodes["entity"].to_pylist() == [
        {"wikidata_id": "Q585", "label": "Oslo"}, {"wikidata_id": "Q165", "label": "Sea"},
    ]  # fmt: skip
    assert {(row["source"], row["target"]) for row in tables.edges["mentions"].to_pylist()} == {
        ("N1", "Q585"), ("N1", "Q165"), ("N3", "Q585"),
    }  # fmt: skip
    clicks = {(row["source"], row["target"]): row["clicked_at"] for row in tables.interactions.to_pylist()}
    assert clicks == {
        ("U1", "N1"): FIRST - 2,  # of the history, in its order, before all impressions of the user
        ("U1", "N2"): FIRST - 1,
        ("U1", "N3"): FIRST + 19 * 3600 + 55 * 60 + 22,
        ("U2", "N1"): FIRST + 23 * 3600 + 30 * 60,
        ("U2", "N2"): FIRST + 23 * 3600 + 30 * 60,
    }


def test_parts_in_folders_are_read_together(tmp_path):
    write(tmp_path / "mind" / "MINDsmall_train", NEWS[:2], BEHAVIORS[2:])
    write(tmp_path / "mind" / "MINDsmall_dev", NEWS, BEHAVIORS[:2])
    tables = load(tmp_path / "mind", tmp_path)
    assert (tables.nodes["news"].num_rows, tables.interactions.num_rows) == (3, 5)


def test_broken_rows_and_bad_times_are_rejected_alone(tmp_path):
    folder = write(tmp_path / "mind", behaviors=[*BEHAVIORS, "4\tU3", "5\tU3\tsoon\t\tN1-1"])
    tables = load(folder, tmp_path, tmp_path / "rejects.csv")
    assert tables.interactions.num_rows == 5
    rejects = (tmp_path / "rejects.csv").read_text()
    assert "behaviors.tsv,4,clicked,has 2 fields; expected 5" in rejects and "soon" in rejects


def test_a_folder_without_the_files_is_an_error(tmp_path):
    with pytest.raises(CatalogueError, match=r"has no news.tsv and behaviors.tsv; expected them there"):
        load(tmp_path, tmp_path)
    with pytest.raises(CatalogueError, match="needs --path"):
        load(None, tmp_path)
