"""The leak audit: what of a test could be known without learning, and what the figures are without it."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from scipy.sparse import csr_array
from torch_geometric.data import HeteroData

from graph_schema import GraphTables
from kgrec.evaluate.leaks import FINDERS, Audited, Example, Mask, Suspect
from kgrec.questions.slices import Scorer, Slice, SliceResult, evaluate_slice
from kgrec.questions.splits import Likes, Split

N_EXAMPLES = 3


@dataclass(frozen=True)
class Check:
    """What one part of the audit looks for.

    Attributes:
        looked_for: in a few words.
        effect: what it does to the figures.
        advice: what to do.
    """

    looked_for: str
    effect: str
    advice: str


CHECKS: Mapping[str, Check] = {
    "test_likes_in_training": Check(
        "test likes that are shown: the same user and item among the training likes, or in the user's support",
        "They are found by looking them up.",
        "Report it: kgrec's own split cannot make them.",
    ),
    "duplicate_items": Check(
        "one item under two ids: the same text, or nearly, and the same links",
        "Who liked the one is asked for the other, and a cold item is known by its twin.",
        "Merge them under one id, in the catalogue and in the interactions, and evaluate again.",
    ),
    "duplicate_users": Check(
        "one user under two ids: ten likes or more, four fifths of all the two have in common",
        "What is held out of the one is learned from the other.",
        "Merge accounts of one person; leave out robots and imports that were made twice.",
    ),
    "relations_that_repeat": Check(
        "relations between users and items, direct or by way of one node, that repeat the interaction",
        "Likes held out are still in the graph, where the model reads them.",
        "Leave the relation out of the schema, or make it part of the interaction.",
    ),
    "relations_from_likes": Check(
        "relations between items that were made from the likes (also bought, similar), those held out among them",
        "The links of an item tell who will like it; a new item has none.",
        "Leave the relation out of the schema, or make it anew from training likes alone.",
    ),
    "later_nodes": Check(
        "nodes and links that are later than what is learned from",
        "They tell what nobody could know when the likes held out were yet to come.",
        "Leave out what came after the split, or leave the type out of the schema.",
    ),
    "later_texts": Check(
        "texts that name years later than what is learned from",
        "A text written with hindsight (prizes, sequels, success) tells which items would be liked.",
        "See whether the texts were written later; use those of the time.",
    ),
    "quoted_popularity": Check(
        "texts that quote how many people rated, bought or liked an item, or how well",
        "The text tells how popular an item is, likes held out included; a new item's cannot.",
        "Take such phrases out of the texts.",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Effect:
    """What a finding does to the figures of one slice.

    Attributes:
        slice_name: `Slice.name`.
        slice_title: `Slice.title`.
        n_told: test likes that it tells.
        n_by_chance: of relations, how many it would tell if the items of the test likes were dealt anew to their users.
        n_relevant: all test likes of the slice.
        recall: scorer -> mean Recall@k over users, of ours and the best other.
        recall_without: the same without the test likes that it tells; empty where these are all.
    """

    slice_name: str
    slice_title: str
    n_told: int
    n_by_chance: int | None
    n_relevant: int
    recall: Mapping[str, float]
    recall_without: Mapping[str, float]


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: its name in `CHECKS`.
        message: what was found, without the number.
        count: how many.
        total: out of how many.
        of: what `total` counts.
        examples: at most three.
        effects: for each slice with test likes that it tells, in the report's order.
    """

    check: str
    message: str
    count: int
    total: int
    of: str
    examples: tuple[Example, ...]
    effects: tuple[Effect, ...]

    @property
    def effect(self) -> str:
        """What it does to the figures."""
        return CHECKS[self.check].effect

    @property
    def advice(self) -> str:
        """What to do."""
        return CHECKS[self.check].advice


@dataclass(frozen=True)
class Audit:
    """What the audit found.

    Attributes:
        findings: in the order of `CHECKS`.
        passed: check -> what was looked for, and not found.
        skipped: check -> why it was not made.
    """

    findings: tuple[Finding, ...]
    passed: Mapping[str, str]
    skipped: Mapping[str, str]


def audit_split(
    tables: GraphTables,
    data: HeteroData,
    likes: Likes,
    split: Split,
    slices: Sequence[Slice],
    results: Sequence[SliceResult],
    scorers: Callable[[str], Sequence[Scorer]],
    rng: np.random.Generator,
    *,
    now: datetime,
    block_users: int = 512,
) -> Audit:
    """Looks for what tells test likes, and measures again without the test likes that it tells.

    Time is linear in nodes and edges. An item that is no longer asked for stays a candidate.

    Args:
        tables: the catalogue, its rows in the order of the heterograph's (`kgrec.graph.hetero.sort_tables`).
        data: the heterograph, with `x` and `has_text` where there are texts.
        likes: all likes.
        split: how they were held out.
        slices: what was asked.
        results: the answers to all slices, of one k.
        scorers: slice name -> who answered, ours first.
        rng: of the hashing that finds twins, and of what chance would tell.
        now: later years are not yet told of as past.
        block_users: how many users are scored at once.
    """
    audited = Audited(tables, data, likes, split, rng, now)
    by_slice: dict[str, dict[str, SliceResult]] = defaultdict(dict)
    for result in results:
        by_slice[result.slice_name][result.scorer] = result
    findings: list[Finding] = []
    passed: dict[str, str] = {}
    skipped: dict[str, str] = {}
    for check, find in FINDERS.items():
        if check in ("later_nodes", "later_texts") and not split.by_time:
            skipped[check] = "likes have no times: nothing can be told to be later"
            continue
        suspects = list(find(audited, slices))
        if not suspects:
            passed[check] = CHECKS[check].looked_for
        for suspect in suspects:
            effects = [
                _measure(suspect, slice_, by_slice[slice_.name], scorers(slice_.name), rng, block_users)
                for slice_ in slices
            ]
            findings.append(
                Finding(
                    check,
                    suspect.message,
                    suspect.count,
                    suspect.total,
                    suspect.of,
                    suspect.examples[:N_EXAMPLES],
                    tuple(effect for effect in effects if effect is not None),
                )
            )
    return Audit(tuple(findings), passed, skipped)


def measure_without(
    scorer: Scorer, slice_: Slice, told: Mask, result: SliceResult, *, block_users: int = 512
) -> float | None:
    """Recall@k of a slice without some of its test likes; users who have no others are left out.

    Only the users concerned are asked again.

    Args:
        scorer: who answers.
        slice_: the whole slice.
        told: (n_relevant,) bool, the likes to leave out, in the order of `slice_.relevant`.
        result: the scorer's answers to the whole slice.
        block_users: how many users are scored at once.

    Returns:
        The mean over users; None where no test like is left.
    """
    pairs = slice_.relevant.tocoo()
    concerned = np.zeros(slice_.relevant.shape[0], np.bool_)
    concerned[pairs.row[told]] = True
    kept = ~told & concerned[pairs.row]
    relevant = csr_array((pairs.data[kept], (pairs.row[kept], pairs.col[kept])), shape=pairs.shape)
    asked = evaluate_slice(scorer, replace(slice_, relevant=relevant), result.k, block_users=block_users).per_user(
        "recall"
    )
    values = np.concatenate([result.per_user("recall")[~concerned[result.users]], asked])
    return float(values.mean()) if len(values) else None


def _measure(
    suspect: Suspect,
    slice_: Slice,
    results: Mapping[str, SliceResult],
    scorers: Sequence[Scorer],
    rng: np.random.Generator,
    block_users: int,
) -> Effect | None:
    pairs = slice_.relevant.tocoo()
    told = suspect.touches(slice_, pairs.row, pairs.col)
    if not told.any():
        return None
    dealt = suspect.touches(slice_, pairs.row, rng.permutation(pairs.col)) if suspect.by_chance else None
    recall = {scorer.name: float(results[scorer.name].per_user("recall").mean()) for scorer in scorers}
    ours, *others = scorers
    compared = [ours, max(others, key=lambda scorer: recall[scorer.name])] if others else [ours]
    without = {
        scorer.name: measure_without(scorer, slice_, told, results[scorer.name], block_users=block_users)
        for scorer in compared
    }
    return Effect(
        slice_.name,
        slice_.title,
        int(told.sum()),
        None if dealt is None else int(dealt.sum()),
        len(told),
        {scorer.name: recall[scorer.name] for scorer in compared},
        {name: value for name, value in without.items() if value is not None},
    )
