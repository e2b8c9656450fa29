"""What an adaptation did: figures, a table and sentences."""

from dataclasses import dataclass
from typing import Any

from kgrec.adapt.training_state import ValidationScore


@dataclass(frozen=True)
class Judgement:
    """How well some text vectors find the held-out items.

    Attributes:
        recall, ndcg: at 20.
        gain: relative to the frozen model.
        error: the standard error of the gain.
        step: the steps of training.
    """

    recall: float
    ndcg: float
    gain: float
    error: float
    step: int


@dataclass(frozen=True)
class AdaptationReport:
    """The outcome of an adaptation; stored with the adapter.

    Attributes:
        base: the name of the language model.
        method: of tuning.
        kept: whether validation keeps the adapter.
        reason: why it is kept or not.
        n_trained, n_weights: tuned weights and all weights of the network.
        n_texts, n_likes, n_links: the training data.
        n_items: held-out items that judge the result.
        strength: the share of the tuned change that is kept.
        ensemble_weight: the weight of the frozen model.
        moved: the mean cosine between the adapted and the frozen vector of a text.
        frozen, adapted: the judgement without and with the adapter.
        control: of the same training on shuffled likes; None: it was left out.
        scores: of validation on the way.
        seconds: the duration of the last run.
        split_seed: the test likes of `kgrec evaluate` with this seed were left out; None: none were.
    """

    base: str
    method: str
    kept: bool
    reason: str
    n_trained: int
    n_weights: int
    n_texts: int
    n_likes: int
    n_links: int
    n_items: int
    strength: float
    ensemble_weight: float
    moved: float
    frozen: Judgement
    adapted: Judgement
    control: Judgement | None
    scores: tuple[ValidationScore, ...]
    seconds: float
    split_seed: int | None


def to_rich_table(report: AdaptationReport) -> Any:
    """The judgement without and with the adapter, and of the control."""
    from rich import box
    from rich.table import Table

    table = Table(
        title=f"Likes of {report.n_items:,} held-out items, predicted from their texts",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("texts encoded by")
    for name in ("Recall@20", "NDCG@20", "gain", "steps"):
        table.add_column(name, justify="right")
    rows: list[tuple[str, Judgement | None]] = [
        ("the frozen model", report.frozen),
        (f"adapted by {report.method}", report.adapted),
        ("control: shuffled likes", report.control),
    ]
    for name, row in rows:
        if row is not None:
            gain = "" if row is report.frozen else f"{row.gain:+.1%} ± {row.error:.1%}"
            table.add_row(name, f"{row.recall:.3f}", f"{row.ndcg:.3f}", gain, f"{row.step:,}")
    return table


def to_sentences(report: AdaptationReport) -> list[str]:
    """Sentences on the training data, the tuned weights, how far vectors moved, and the verdict."""
    share = report.n_trained / max(report.n_weights, 1)
    change = (
        f"{report.strength:.0%} of the change kept, and the frozen model has {report.ensemble_weight:.0%} of the "
        f"weight; the mean cosine of a text's vectors before and after is {report.moved:.3f}"
    )
    return [
        f"learned from {report.n_texts:,} texts, {report.n_likes:,} likes and {report.n_links:,} links between texts",
        f"{report.n_trained:,} of {report.n_weights:,} weights trained ({share:.1%}), "
        + (change if report.adapted.step else "none of the change kept"),
        f"kept: {'yes' if report.kept else 'no'}: {report.reason}",
    ]
