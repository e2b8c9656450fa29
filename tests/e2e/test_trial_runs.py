"""Each layout that people get catalogues in, from `inspect` to recommendations: a third of them by turns.

The day of the year says which third; with KGREC_TRIALS=all it is all of them.
"""

import datetime
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from trial_layouts import FOLDERS, GRAPHS, GraphLayout, Layout
from trial_layouts.planting import N_GROUPS, Planted
from trial_run import Outcome, try_folder, try_graph

ROOT = Path(__file__).parents[2]

EVERY = 1 if os.environ.get("KGREC_TRIALS") == "all" else 3
TURN = datetime.datetime.now(datetime.UTC).timetuple().tm_yday % EVERY


def name_layouts(layouts: Sequence[Layout | GraphLayout]) -> list[str]:
    # without hyphens: of parts between them, conftest.py takes "neo4j" for a store
    return [layout.name.replace("-", "_") for layout in layouts]


def assert_passed(outcome: Outcome) -> None:
    if outcome.message:
        pytest.fail(f"{outcome.failed}: {outcome.message}", pytrace=False)


@pytest.mark.parametrize("layout", FOLDERS[TURN::EVERY], ids=name_layouts(FOLDERS[TURN::EVERY]))
def test_a_folder_is_recommended_from_by_its_accepted_draft(layout: Layout, tmp_path: Path) -> None:
    assert_passed(try_folder(layout, tmp_path))


@pytest.mark.parametrize("layout", GRAPHS[TURN::EVERY], ids=name_layouts(GRAPHS[TURN::EVERY]))
def test_a_graph_is_recommended_from_by_its_accepted_draft(layout: GraphLayout, neo4j_url: str, tmp_path: Path) -> None:
    assert_passed(try_graph(layout, neo4j_url, tmp_path))


def get_layout(name: str) -> Layout:
    return next(layout for layout in FOLDERS if layout.name == name)


def test_a_trial_tells_which_items_are_not_the_planted_ones(tmp_path: Path) -> None:
    right = get_layout("clicked-impressions")

    def make(folder: Path) -> Planted:
        planted = right.make(folder)
        return replace(planted, groups={item: (group + 1) % N_GROUPS for item, group in planted.groups.items()})

    outcome = try_folder(replace(right, make=make), tmp_path)
    assert (outcome.failed, outcome.planted) == ("recommend", 0.0)
    assert "for user u0, too few of the first 5 items are of the planted group" in outcome.message


def test_a_trial_tells_what_is_taken_for_a_like(tmp_path: Path) -> None:
    right = get_layout("clicked-impressions")

    def make(folder: Path) -> Planted:
        planted = right.make(folder)
        return replace(planted, not_likes=planted.likes)

    outcome = try_folder(replace(right, make=make), tmp_path)
    assert outcome.failed == "train"
    assert "that nobody liked are likes" in outcome.message


def test_a_trial_ends_where_a_command_fails(tmp_path: Path) -> None:
    right = get_layout("clicked-impressions")

    def make(folder: Path) -> Planted:
        planted = right.make(folder)
        (folder / "impressions.csv").unlink()
        return planted

    outcome = try_folder(replace(right, make=make), tmp_path)
    assert (outcome.failed, outcome.passed) == ("inspect", ())
    assert outcome.message.startswith("kgrec inspect: ")
    assert "is incomplete" in outcome.message


def test_the_script_names_the_layouts_that_it_has() -> None:
    command = [sys.executable, ROOT / "scripts" / "trials.py", "--only", "netflix"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "netflix" in done.stderr and "movielens-100k" in done.stderr
