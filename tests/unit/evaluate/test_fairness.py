import datetime
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter
from rich.console import Console

from graph_schema import CatalogueSchema, GraphTables
from kgrec.config import BackboneConfig, HeadConfig, ItemItemConfig, PriorConfig, SplitConfig, TrainConfig
from kgrec.evaluate.evaluation import evaluate_catalogue
from kgrec.evaluate.evaluation_page import write_report
from kgrec.evaluate.evaluation_report import About, Report, build_report
from kgrec.evaluate.evaluation_tables import to_rich_tables
from kgrec.evaluate.fairness import AttributeQuality, compare_groups, is_compared
from kgrec.evaluate.user_groups import UserGroups
from kgrec.graph.hetero import sort_tables, to_hetero
from kgrec.questions.slice_results import SliceResult


def rank(n_hits: list[int], *, name: str = "warm", scorer: str = "kgrec", depth: int = 2) -> SliceResult:
    """Users with one relevant item each: it is first (1), or not in the list (0)."""
    hits = np.zeros((len(n_hits), depth), np.bool_)
    hits[:, 0] = n_hits
    ones = np.ones(len(n_hits), np.int64)
    return SliceResult(
        slice_name=name,
        slice_title={"warm": "Known users, known items"}.get(name, name),
        scorer=scorer,
        k=depth,
        users=np.arange(len(n_hits)),
        hits=hits,
        n_relevant=ones,
        candidates=np.ones(2, np.bool_),
        recommended=np.array([len(n_hits), len(n_hits)]),
        item_hits=np.array([sum(n_hits), 0]),
        item_relevant=np.array([len(n_hits), 0]),
        hit_weights=hits.astype(np.float32),
        relevant_weights=np.ones(len(n_hits)),
        popular_in_first=2 * ones,
    )


def group(sizes: dict[str, int], attribute: str = "gender") -> UserGroups:
    return UserGroups(attribute, tuple(sizes), np.repeat(np.arange(len(sizes)), list(sizes.values())))


def compare(groups: UserGroups, *results: SliceResult, seed: int = 0, n_resamples: int = 500) -> AttributeQuality:
    return compare_groups([groups], [results], np.random.default_rng(seed), n_resamples=n_resamples)[0]


# ---- quality by group


def test_a_group_with_worse_lists_is_the_lowest_of_a_gap_beyond_chance():
    # Of 40 women half find their item, of 60 men all do: recall, NDCG and the objective are .5 and 1.
    found = compare(group({"f": 40, "m": 60}), rank([1, 0] * 20 + [1] * 60))
    (slice_,) = found.slices
    (ours,) = slice_.scorers
    assert (found.attribute, found.groups, slice_.n_users) == ("gender", ("f", "m"), {"f": 40, "m": 60})
    for metric in ("recall", "ndcg", "objective"):
        gap = ours.gaps[metric]
        assert (gap.lowest, gap.highest) == ("f", "m")
        assert gap.interval.mean == pytest.approx(0.5)
        assert ours.figures["f"].intervals[metric].mean == pytest.approx(0.5)
        low, high = ours.figures["f"].intervals[metric].low, ours.figures["f"].intervals[metric].high
        # Men never miss, so that only the women's resamples vary: sd = .5 / sqrt(40) = .079.
        assert (low, high) == pytest.approx((0.5 - 0.155, 0.5 + 0.155), abs=0.03)
        assert (gap.interval.low, gap.interval.high) == pytest.approx((1 - high, 1 - low))
        # Dealt at random, the difference of the two means has sd .4 sqrt(1 / 40 + 1 / 60) = .082.
        assert gap.by_chance == pytest.approx(1.96 * 0.082, abs=0.04)
        assert gap.beyond_noise
    assert ours.figures["f"].popular_in_first == 2


def test_the_objective_of_a_group_is_the_objective_of_its_users_alone():
    rng = np.random.default_rng(1)
    hits = rng.random((50, 4)) < np.linspace(0.2, 0.6, 50)[:, None]
    weights = (hits * rng.random(4)).astype(np.float32)
    result = replace(
        rank([0] * 50, depth=4),
        hits=hits,
        n_relevant=np.full(50, 4),
        hit_weights=weights,
        relevant_weights=np.full(50, 2.0),
    )
    figures = compare(group({"a": 20, "b": 30}), result).slices[0].scorers[0].figures
    for name, users in (("a", slice(0, 20)), ("b", slice(20, 50))):
        own = replace(
            result,
            users=result.users[users],
            hits=hits[users],
            n_relevant=result.n_relevant[users],
            hit_weights=weights[users],
            relevant_weights=np.full(len(result.users[users]), 2.0),
        )
        assert figures[name].intervals["objective"].mean == pytest.approx(own.objective)
        assert figures[name].intervals["ndcg"].mean == pytest.approx(own.per_user("ndcg").mean())


def test_equal_groups_have_no_gap():
    gap = compare(group({"f": 40, "m": 40}), rank([1, 0] * 40)).slices[0].scorers[0].gaps["objective"]
    assert {gap.lowest, gap.highest} == {"f", "m"}
    assert gap.interval.mean == 0
    assert gap.interval.low < 0 < gap.interval.high
    assert gap.by_chance > 0
    assert not gap.beyond_noise


def test_the_largest_of_many_gaps_between_equal_groups_is_rarely_beyond_chance():
    groups = group({f"{number}": 15 for number in range(12)}, "occupation")
    beyond, apart = 0, 0
    for seed in range(60):
        hits = (np.random.default_rng(seed).random(180) < 0.4).astype(int).tolist()
        gap = compare(groups, rank(hits), seed=seed, n_resamples=200).slices[0].scorers[0].gaps["recall"]
        beyond += gap.beyond_noise
        apart += gap.interval.low > 0
    assert beyond <= 8  # 3 are expected
    assert apart > 30  # the interval of the two groups alone would call most of these gaps real


def test_many_users_have_the_same_chance_and_intervals_as_the_formula():
    rng = np.random.default_rng(0)
    hits = (rng.random(30_050) < 0.3).astype(int)
    gap = (
        compare(group({"f": 10_050, "m": 20_000}), rank(hits.tolist()), n_resamples=2000)
        .slices[0]
        .scorers[0]
        .gaps["recall"]
    )
    error = hits.std() * np.sqrt(1 / 10_050 + 1 / 20_000)
    assert gap.by_chance == pytest.approx(1.96 * error, rel=0.15)
    assert gap.interval.high - gap.interval.low == pytest.approx(2 * 1.96 * error, rel=0.15)
    assert gap.interval.mean == pytest.approx(abs(hits[:10_050].mean() - hits[10_050:].mean()))


def test_results_of_two_scorers_use_the_same_draws():
    hits = [1, 0, 1, 1, 0] * 20
    groups = group({"f": 30, "m": 70})
    (slice_,) = compare(groups, rank(hits), rank(hits, scorer="EASE")).slices
    ours, other = slice_.scorers
    assert (ours.scorer, other.scorer) == ("kgrec", "EASE")
    assert (ours.figures, ours.gaps) == (other.figures, other.gaps)


def test_users_of_a_slice_are_looked_up_by_their_rows():
    groups = UserGroups("gender", ("f", "m"), np.arange(60) % 2)
    result = replace(rank([1] * 10 + [0] * 10), users=np.r_[np.arange(1, 21, 2), np.arange(40, 60, 2)])
    gap = compare(groups, result).slices[0].scorers[0].gaps["recall"]
    assert (gap.lowest, gap.highest, gap.interval.mean) == ("f", "m", 1)


# ---- tiny groups


def test_groups_with_few_users_are_counted_together():
    hits = [1] * 20 + [0] * 6 + [1] * 6
    (slice_,) = compare(group({"a": 20, "b": 6, "c": 5, "missing": 1}), rank(hits)).slices
    assert slice_.n_users == {"a": 20, "other": 12}
    assert (slice_.merged, slice_.left_out) == (("b", "c", "missing"), ())
    assert slice_.scorers[0].figures["other"].intervals["recall"].mean == 0.5


def test_groups_too_small_even_together_are_left_out():
    (slice_,) = compare(group({"a": 20, "b": 15, "c": 5, "d": 4}), rank([1] * 44)).slices
    assert slice_.n_users == {"a": 20, "b": 15}
    assert (slice_.merged, slice_.left_out) == ((), ("c", "d"))


def test_small_groups_join_the_values_that_are_other_already():
    (slice_,) = compare(group({"a": 20, "other": 15, "b": 5}), rank([1] * 40)).slices
    assert (slice_.n_users, slice_.merged) == ({"a": 20, "other": 20}, ("b",))
    (slice_,) = compare(group({"a": 20, "other": 5, "b": 4}), rank([1] * 29)).slices
    assert (slice_.n_users, slice_.left_out) == ({"a": 20}, ("b", "other"))


def test_one_group_or_none_has_no_gap():
    found = compare(group({"a": 20, "b": 3}), rank([1] * 23))
    assert found.groups == ("a",)
    assert found.slices[0].scorers[0].gaps == {}
    nothing = compare(group({"a": 4, "b": 3}), rank([1] * 7))
    assert (nothing.groups, nothing.slices[0].scorers) == ((), ())


# ---- in the report

ABOUT = About("shop", {"users": 100}, "random", seed=0, evaluated_at=0, ours="kgrec")


def report_on(groups: list[UserGroups], names: list[str]) -> Report:
    hits = [1, 0] * 20 + [1] * 60
    results = [
        rank(values, name=name, scorer=scorer)
        for name in names
        for scorer, values in (("kgrec", hits), ("EASE", hits[::-1]), ("item kNN", [0] * 100))
    ]
    popularity = np.array([3, 1])
    return build_report(
        results, ABOUT, popularity=popularity, rng=np.random.default_rng(0), n_resamples=200, groups=groups
    )


def print_tables(report: Report) -> str:
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(to_rich_tables(report))
    return console.export_text()


def test_known_and_new_users_are_compared():
    assert is_compared("warm")
    assert is_compared("cold_users_k0")
    assert is_compared("cold_users_k10")
    assert not any(map(is_compared, ("warm_latest", "tail", "cold_items", "overall", "few_items_n3")))


def test_the_report_has_ours_and_the_best_baseline(tmp_path: Path):
    report = report_on([group({"<f>": 40, "m": 60})], ["warm", "tail", "cold_users_k1"])
    (found,) = report.fairness
    assert [slice_.name for slice_ in found.slices] == ["warm", "cold_users_k1"]
    assert [scorer.scorer for scorer in found.slices[0].scorers] == ["kgrec", "EASE"]
    gap = found.slices[0].scorers[1].gaps["recall"]
    assert (gap.lowest, gap.highest) == ("m", "<f>")  # the best baseline's lists are worse for the others
    assert gap.interval.mean == pytest.approx(20 / 60)
    page = write_report(report, tmp_path).read_text(encoding="utf-8")
    assert TypeAdapter(Report).validate_json((tmp_path / "report.json").read_bytes()) == report
    section = page[page.index("<h2>Quality by groups of users</h2>") :]
    assert "<h3>gender</h3>" in section
    assert "<f>" not in section
    assert '<b class="bad">0.500</b>' in section
    assert section.count("<details>") == 2


def test_other_figures_do_not_depend_on_groups():
    without = report_on([], ["warm"])
    assert report_on([group({"f": 40, "m": 60})], ["warm"]).slices == without.slices


def test_nothing_is_shown_without_sensitive_attributes(tmp_path: Path):
    report = report_on([], ["warm"])
    assert report.fairness == ()
    assert "groups of users" not in write_report(report, tmp_path).read_text(encoding="utf-8")
    assert "groups of users" not in print_tables(report)


def test_the_terminal_has_a_line_for_each_attribute_and_slice():
    shown = print_tables(report_on([group({"f": 40, "m": 60})], ["warm", "cold_users_k1"]))
    lines = [line.replace("Known users", "warm").split() for line in shown.splitlines() if line.startswith("gender")]
    assert [line[:5] for line in lines] == [
        ["gender", "warm", "f", "m", "0.500"],
        ["gender", "cold_users_k1", "f", "m", "0.500"],
    ]
    assert all(line[-1] == "0.333" for line in lines)
    assert "more are in the report" not in shown
    assert "…" not in shown


def test_many_gaps_take_ten_lines_and_the_clearest_are_among_them():
    slices = ["warm", *(f"cold_users_k{size}" for size in range(4))]
    noise = UserGroups("noise", ("x", "y"), np.arange(100) // 2 % 2)
    clear = group({"f": 40, "m": 60})
    without, shown = print_tables(report_on([], slices)), print_tables(report_on([noise, clear, noise], slices))
    assert len(shown.splitlines()) - len(without.splitlines()) <= 10
    assert sum(line.startswith("gender") for line in shown.splitlines()) == 5
    assert "10 more are in the report, none of them beyond chance" in shown


def test_no_group_with_enough_users_is_said():
    groups = UserGroups("town", tuple(map(str, range(100))), np.arange(100))
    shown = print_tables(report_on([groups], ["warm"]))  # all towns together are one group, "other"
    assert "Quality by groups of users: no slice has two groups with at least 10 users" in shown


SCHEMA = CatalogueSchema.parse("""
name = "readers"
[nodes.reader]
label = "Reader"
key = "reader_id"
attributes = { club = { type = "string", sensitive = true }, age = "int" }
[nodes.book]
label = "Book"
key = "book_id"
[edges.read]
source = "reader"
type = "READ"
target = "book"
[interaction]
edge = "read"
""")
N_READERS, N_BOOKS = 200, 60


def make_tables() -> GraphTables:
    """Readers of the club "one" read books of one of four shelves; those of "any" read at random, as much."""
    rng = np.random.default_rng(5)
    in_order: NDArray[np.bool_] = rng.random(N_READERS) < 0.5
    same_shelf = np.arange(N_READERS)[:, None] % 4 == np.arange(N_BOOKS) % 4
    chance = np.where(in_order[:, None], np.where(same_shelf, 0.7, 0.02), 0.19)
    readers, books = np.nonzero(rng.random((N_READERS, N_BOOKS)) < chance)
    order = rng.permutation(N_READERS)  # the rows of the heterograph are in the order of ids, not of the table
    ids = np.array([f"r{row:03d}" for row in range(N_READERS)])
    book_ids = np.array([f"b{row:03d}" for row in range(N_BOOKS)])
    club = np.where(in_order, "one", "any")
    reader = SCHEMA.nodes["reader"].arrow_schema
    return GraphTables(
        SCHEMA,
        {
            "reader": pa.table([ids[order], club[order], pa.nulls(N_READERS, pa.int64())], schema=reader),
            "book": pa.table([book_ids], schema=SCHEMA.nodes["book"].arrow_schema),
        },
        {"read": pa.table([ids[readers], book_ids[books]], schema=SCHEMA.edges["read"].arrow_schema)},
    )


@pytest.mark.slow
def test_an_evaluation_finds_the_users_who_are_served_worse():
    tables = make_tables()
    data, _ = to_hetero(sort_tables(tables))
    config = TrainConfig(
        device="cpu",
        embedding_dim=8,
        backbone=BackboneConfig(alphas=(0.1,), regularisations=(0.01,), epochs=4),
        item_item=ItemItemConfig(regularisation=1.0),
        prior=PriorConfig(links_dim=8, regularisations=(1.0,), gates=(0.0,), hidden=0),
        head=HeadConfig(epochs=1),
    )
    report = evaluate_catalogue(
        data,
        SCHEMA,
        config,
        split=SplitConfig(cold_users=0.2, cold_items=0, warm=0.2, support_sizes=(0, 3), least_likes=4),
        seed=1,
        evaluated_at=datetime.datetime(2024, 5, 6, tzinfo=datetime.UTC),
        tables=tables,
    )
    (club,) = report.fairness
    assert [slice_.name for slice_ in club.slices] == ["warm", "cold_users_k0", "cold_users_k3"]
    for slice_ in club.slices:
        n_users = next(one.n_users for one in report.slices if one.name == slice_.name)
        assert sum(slice_.n_users.values()) == n_users
    gap = club.slices[0].scorers[0].gaps["objective"]
    assert (gap.lowest, gap.highest) == ("any", "one")
    assert gap.beyond_noise
