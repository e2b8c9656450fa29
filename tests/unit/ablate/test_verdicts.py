from kgrec.ablate.verdicts import (
    Change,
    Verdict,
    describe_part,
    describe_relation,
    describe_shuffled,
    describe_together,
    describe_undecided,
    judge,
)
from kgrec.evaluate.intervals import Interval

WARM, COLD, TAIL = "Warm users, warm items", "Cold items", "Tail"


def change(title: str, mean: float, width: float, whole: float = 0.3, metric: str = "ndcg") -> Change:
    return Change(title, metric, Interval(mean, mean - width, mean + width), whole)


def test_a_verdict_needs_proof_either_way():
    sure, unsure = change(WARM, -0.002, 0.001), change(COLD, -0.01, 0.02)
    assert judge([sure], 0.02) == Verdict.DROP  # 1% may be lost at most
    assert judge([sure], 0.005) == Verdict.KEEP  # it surely loses more than 0.5%
    assert judge([sure, unsure], 0.02) == Verdict.UNDECIDED
    assert judge([change(WARM, 0, 0), change(COLD, -0.05, 0.01)], 0.02) == Verdict.KEEP
    assert judge([change(WARM, 0.0005, 0.0005, whole=0.001)], 0.02) == Verdict.DROP  # of at least .1


def test_findings_name_what_carries_a_slice():
    changes = [change(WARM, 0, 0.001), change(COLD, -0.03, 0.01), change(TAIL, -0.003, 0.002)]
    assert describe_relation("has_genre", changes, 0.005, 20) == (
        "`has_genre` carries “Cold items”: without it NDCG@20 falls by 0.030 [0.020, 0.040] (10%); “Tail” loses too"
    )


def test_recall_is_reported_where_ndcg_is_undecided():
    changes = [
        change(COLD, -0.03, 0.04),
        change(COLD, -0.02, 0.01, whole=0.4, metric="recall"),
        change(WARM, 0.02, 0.01),
    ]
    assert describe_relation("won", changes, 0.02, 10) == (
        "`won` carries “Cold items”: without it Recall@10 falls by 0.020 [0.010, 0.030] (5%); "
        "NDCG@10 rises by 0.020 [0.010, 0.030] (7%) in “Warm users, warm items”"
    )


def test_findings_name_relations_that_can_be_removed():
    nothing = [change(WARM, 0, 0.003), change(COLD, 0.001, 0.004)]
    assert describe_relation("produced_by", nothing, 0.02, 20) == (
        "drop `produced_by`: without it no slice loses (more than 1.0% is ruled out in each)"
    )
    assert describe_together(["a", "b"], nothing, 0.02, 20) == (
        "`a`, `b` can go together: without them no slice loses (more than 1.0% is ruled out in each)"
    )
    assert describe_together(["a", "b"], [change(COLD, -0.03, 0.01)], 0.02, 20) == (
        "`a`, `b` can go one by one but not together (drop one, then run `kgrec ablate` again): without "
        "them NDCG@20 falls by 0.030 [0.020, 0.040] (10%) in “Cold items”"
    )
    assert describe_together(["a", "b"], [change(COLD, 0, 0.03)], 0.02, 20) == (
        "`a`, `b` can go one by one; whether they can go together is undecided: without them no slice is shown to "
        "lose, but “Cold items” may, by up to 10%"
    )


def test_findings_name_undecided_relations():
    assert describe_relation("won", [change(WARM, 0, 0.003), change(COLD, 0, 0.03)], 0.02, 20) == (
        "undecided about `won`: without it no slice is shown to lose, but “Cold items” may, by up to 10%"
    )
    assert describe_undecided({"won": 0.1, "made_in": 0.061}) == (
        "undecided: `won` (10%), `made_in` (6%): no slice is shown to lose, but one may, by up to this share; "
        "more splits narrow it"
    )


def test_findings_compare_the_graph_with_a_shuffled_one():
    bare = [change(COLD, -0.2, 0.02), change(WARM, 0, 0.001)]
    assert describe_shuffled([change(COLD, -0.1, 0.02), change(WARM, 0, 0.001)], bare, 0.02, 20) == (
        "your graph helps: with its links shuffled NDCG@20 falls by 0.100 [0.080, 0.120] (33%) in “Cold items”; "
        "50% of the gain there comes from the number of links of an item, which shuffling keeps"
    )
    assert describe_shuffled([change(COLD, -0.2, 0.02)], bare, 0.02, 20) == (
        "your graph helps: with its links shuffled NDCG@20 falls by 0.200 [0.180, 0.220] (67%) in “Cold items”"
    )
    assert describe_shuffled([change(COLD, 0.001, 0.004)], bare, 0.02, 20) == (
        "your graph helps no more than a shuffled one: with its links shuffled no slice loses (more than 1.0% "
        "is ruled out in each)"
    )
    assert describe_shuffled([change(COLD, 0, 0.03)], bare, 0.02, 20) == (
        "your graph is not shown to help more than a shuffled one: with its links shuffled no slice is "
        "shown to lose, but “Cold items” may, by up to 10%"
    )
    assert describe_part("texts", bare, 0.02, 20) == (
        "texts: without them NDCG@20 falls by 0.200 [0.180, 0.220] (67%) in “Cold items”"
    )
