"""The leak audit: which test likes are known without learning, and the recall without them."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from scipy.sparse import csr_array
from torch_geometric.data import HeteroData

from graph_schema import GraphTables
from kgrec.evaluate.audited import N_EXAMPLES, Audited, Example, Mask, Suspect
from kgrec.evaluate.leaks import FINDERS
from kgrec.questions.slice_results import SliceResult
from kgrec.questions.slices import Scorer, Slice, evaluate_slice
from kgrec.questions.splits import Likes, Split


@dataclass(frozen=True)
class Check:
    """One check of the audit.

    Attributes:
        looked_for: the kind of leak, in a few words.
        effect: how it changes the figures.
        advice: what to do.
    """

    looked_for: str
    effect: str
    advice: str


CHECKS: Mapping[str, Check] = {
    "test_likes_in_training": Check(
        "test likes that the model sees: among the training likes, or in the user's support",
        "The model can look them up instead of predicting them.",
        "Report it as a bug: kgrec's split never makes them.",
    ),
    "duplicate_items": Check(
        "one item under two ids: the same text, or nearly, and the same links",
        "A user who likes one twin has the other as a test like, and a cold item is known by its twin.",
        "Look at the pairs. Merge those that are one item, in the catalogue and the interactions, and evaluate again.",
    ),
    "duplicate_users": Check(
        "one user under two ids: at least ten likes each, four fifths of them in common",
        "The likes held out of one are learned from the other.",
        "Merge the accounts of one person; remove bots and repeated imports.",
    ),
    "relations_that_repeat": Check(
        "relations between users and items, direct or through one node, and features of users, that repeat the "
        "interaction",
        "The model still reads the held-out likes in the graph.",
        "Leave it out of the schema (of a feature, take feature = true away), or make it part of the interaction.",
    ),
    "relations_from_likes": Check(
        "relations between items that are derived from all likes (also bought, similar), held-out ones included",
        "The links of an item reveal who likes it; a really new item has no such links.",
        "Leave the relation out of the schema, or derive it from the training likes only.",
    ),
    "features_from_likes": Check(
        "features of items that are computed from all likes (times sold, average rating), held-out ones included",
        "The feature reveals the popularity of an item; a really new item has no such value.",
        "Take feature = true away in the schema, or compute it from the training likes only.",
    ),
    "later_nodes": Check(
        "nodes and links that are newer than the training likes",
        "They hold facts that nobody knew at the time of the training likes.",
        "Leave out what is newer than the training likes, or leave the type out of the schema.",
    ),
    "later_texts": Check(
        "texts that name years after the training likes",
        "A text written with hindsight (prizes, sequels, success) reveals which items were liked.",
        "Check whether the texts were written later; use older ones.",
    ),
    "quoted_popularity": Check(
        "texts that quote ratings, or numbers of ratings, buyers or likes",
        "The text reveals the popularity of an item, held-out likes included; a really new item has no such text.",
        "Remove such phrases from the texts.",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Effect:
    """The effect of a finding on the recall of one slice.

    Attributes:
        slice_name: `Slice.name`.
        slice_title: `Slice.title`.
        n_leaked: test likes that it leaks.
        n_by_chance: for relations, the number leaked when the items of the test likes are shuffled among their users.
        n_relevant: all test likes of the slice.
        recall: scorer -> mean Recall@k over users, for ours and the best other.
        recall_without: the same without the leaked test likes; empty if all are leaked.
    """

    slice_name: str
    slice_title: str
    n_leaked: int
    n_by_chance: int | None
    n_relevant: int
    recall: Mapping[str, float]
    recall_without: Mapping[str, float]


@dataclass(frozen=True)
class Finding:
    """A result of one check.

    Attributes:
        check: its name in `CHECKS`.
        message: a description, without the number.
        count: the number found.
        total: the number checked.
        of: the name of the things that `total` counts.
        examples: at most three.
        effects: one for each slice with leaked test likes, in the report's order.
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
        """How it changes the figures."""
        return CHECKS[self.check].effect

    @property
    def advice(self) -> str:
        """What to do."""
        return CHECKS[self.check].advice


@dataclass(frozen=True)
class Audit:
    """The result of the audit.

    Attributes:
        findings: in the order of `CHECKS`.
        passed: check without findings -> the leak it looked for.
        skipped: check -> why it did not run.
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
    """Looks for leaked test likes, and measures again without them.

    Time is linear in nodes and edges. The items of leaked test likes remain candidates.

    Args:
        tables: the catalogue, its rows in the order of the heterograph's (`kgrec.graph.hetero.sort_tables`).
        data: the heterograph, with `x` and `has_text` where there are texts.
        likes: all likes.
        split: the split into training and test likes.
        slices: the slices of the evaluation.
        results: the results of all scorers on all slices, of one k.
        scorers: slice name -> its scorers, ours first.
        rng: for hashing and shuffling.
        now: UTC seconds; texts that name later years are ignored.
        block_users: the number of users to score at once.
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
            skipped[check] = "the likes have no times"
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
    scorer: Scorer, slice_: Slice, leaked: Mask, result: SliceResult, *, block_users: int = 512
) -> float | None:
    """Recall@k of a slice without some of its test likes; users without other test likes are left out.

    Only the affected users are ranked again.

    Args:
        scorer: the scorer.
        slice_: the whole slice.
        leaked: (n_relevant,) bool, the likes to leave out, in the order of `slice_.relevant`.
        result: the scorer's result on the whole slice.
        block_users: the number of users to score at once.

    Returns:
        The mean over users; None if no test like is left.
    """
    pairs = slice_.relevant.tocoo()
    affected = np.zeros(slice_.relevant.shape[0], np.bool_)
    affected[pairs.row[leaked]] = True
    kept = ~leaked & affected[pairs.row]
    relevant = csr_array((pairs.data[kept], (pairs.row[kept], pairs.col[kept])), shape=pairs.shape)
    again = evaluate_slice(scorer, replace(slice_, relevant=relevant), result.k, block_users=block_users)
    values = np.concatenate([result.per_user("recall")[~affected[result.users]], again.per_user("recall")])
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
    leaked = suspect.leaks(slice_, pairs.row, pairs.col)
    if not leaked.any():
        return None
    shuffled = suspect.leaks(slice_, pairs.row, rng.permutation(pairs.col)) if suspect.by_chance else None
    recall = {scorer.name: float(results[scorer.name].per_user("recall").mean()) for scorer in scorers}
    ours, *others = scorers
    compared = [ours, max(others, key=lambda scorer: recall[scorer.name])] if others else [ours]
    without = {
        scorer.name: measure_without(scorer, slice_, leaked, results[scorer.name], block_users=block_users)
        for scorer in compared
    }
    return Effect(
        slice_.name,
        slice_.title,
        int(leaked.sum()),
        None if shuffled is None else int(shuffled.sum()),
        len(leaked),
        {scorer.name: recall[scorer.name] for scorer in compared},
        {name: value for name, value in without.items() if value is not None},
    )
