"""What an adaptation did, for people."""

from typing import Any

from kgrec.adapt.run import AdaptationReport, Judgement


def to_rich_table(report: AdaptationReport) -> Any:
    """The judgement without and with the adapter, and of the control."""
    from rich import box
    from rich.table import Table

    table = Table(
        title=f"Likes of {report.n_items:,} items that nobody had met, found by their texts",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("texts encoded by")
    for name in ("Recall@20", "NDCG@20", "gain", "steps"):
        table.add_column(name, justify="right")
    rows: list[tuple[str, Judgement | None]] = [
        ("the model as it was", report.frozen),
        (f"adapted by {report.method}", report.adapted),
        ("control: shuffled likes", report.control),
    ]
    for name, found in rows:
        if found is not None:
            gain = "" if found is report.frozen else f"{found.gain:+.1%} ± {found.error:.1%}"
            table.add_row(name, f"{found.recall:.3f}", f"{found.ndcg:.3f}", gain, f"{found.step:,}")
    return table


def to_sentences(report: AdaptationReport) -> list[str]:
    """What was learned from, how much was trained, how far vectors moved, and the verdict."""
    share = report.n_trained / max(report.n_weights, 1)
    taken = (
        f"{report.strength:.0%} of the change taken, {report.beside:.0%} of a cosine is the model as it was; "
        f"the mean cosine of a text to what it was is {report.moved:.3f}"
    )
    return [
        f"learned from {report.n_texts:,} texts, {report.n_likes:,} likes and {report.n_links:,} links between texts",
        f"{report.n_trained:,} of {report.n_weights:,} weights trained ({share:.1%}), "
        + (taken if report.adapted.step else "none of the change taken"),
        f"kept: {'yes' if report.kept else 'no'}: {report.reason}",
    ]
