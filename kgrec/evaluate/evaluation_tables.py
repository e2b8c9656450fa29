"""The evaluation report as tables for a terminal of 80 columns."""

from collections.abc import Iterable, Mapping

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from kgrec.evaluate.audit import CHECKS, Audit, Effect
from kgrec.evaluate.audited import format_example
from kgrec.evaluate.baselines import LIKES_ALONE
from kgrec.evaluate.diversity_curve import DiversityCurve
from kgrec.evaluate.evaluation_report import METRIC_TITLES, METRICS, Report, SliceReport, value_of
from kgrec.evaluate.fairness import Gap
from kgrec.evaluate.intervals import Interval
from kgrec.evaluate.linked_users import LinkedUsers
from kgrec.questions.slice_results import OBJECTIVE, STRATIFIED

_COLUMNS = (*METRICS, "coverage", "overlap")
_SHORT_TITLES = {**METRIC_TITLES, STRATIFIED: "Strat."}
_SHORT_NAMES = {"popularity": "popular", "text cosine": "text", LinkedUsers.name: "linked"}
_ROW_NAMES = {LIKES_ALONE: "likes alone", LinkedUsers.name: "linked users"}
_NAME_WIDTH, _METRIC_WIDTH, _SHARE_WIDTH = 13, 9, 5
_MOST_GAPS = 6  # lines of the table of gaps
_NOTES = (
    "Strat.: recall where a hit counts more the fewer people like the item",
    "cover: share of the candidates that are recommended to anybody",
    "same: share of the items that the lists of two users have in common",
    "top20: number of the first 10 that are among the 20 most liked items",
    "distance: mean of 1 - likeness over the pairs of items in a list",
)


def to_rich_tables(report: Report) -> Group:
    """A table for each slice, the best of each column in bold; the dials, groups of users, slices without users."""
    parts: list[Table | Text] = [Text(f"{report.about.catalogue}: {report.about.split}"), Text()]
    for slice_ in report.slices:
        parts += [_to_slice_table(report, slice_), Text()]
    for curve in report.dial:
        table = _make_table(report.k, f"Tail dial: {curve.slice_title}")
        for point in curve.points[::2]:
            values = (*(point.means[metric] for metric in METRICS), point.coverage, point.overlap)
            table.add_row(
                f"--tail {point.tail:g}", *(f"{value:.3f}" for value in values), f"{point.popular_in_first:.1f}"
            )
        parts += [table, Text()]
    for varied in report.diversity:
        parts += [_to_diversity_table(report.k, varied), Text()]
    if report.fairness:
        parts += [*_list_gaps(report), Text()]
    known = any(row.scorer == LIKES_ALONE for slice_ in report.slices for row in slice_.rows)
    more = ["likes alone: ours without what the catalogue knows of users besides likes"] if known else []
    notes = [*_NOTES, *more, *(f"left out: {one.title}: {one.reason}" for one in report.skipped_slices)]
    return Group(*parts, *(Text(note) for note in notes), Text())


def _to_diversity_table(k: int, curve: DiversityCurve) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"Diversity dial: {curve.slice_title} ({curve.n_users:,} users)",
        title_justify="left",
        collapse_padding=True,
        pad_edge=False,
        show_edge=False,
    )
    table.add_column("", width=16)
    for name in ("distance", f"Recall@{k}", f"NDCG@{k}", "cover"):
        table.add_column(name, justify="right", width=max(_METRIC_WIDTH, len(name)))
    for point in curve.points:
        values = (point.distance.mean, point.recall, point.ndcg, point.coverage)
        table.add_row(f"--diversity {point.diversity:g}", *(f"{value:.3f}" for value in values))
    return table


def _make_table(k: int, title: str) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, title=title, title_justify="left", collapse_padding=True, pad_edge=False, show_edge=False
    )
    table.add_column("", width=_NAME_WIDTH)
    for metric in METRICS:
        name = f"{_SHORT_TITLES[metric]}@{k}"
        table.add_column(name, justify="right", width=max(_METRIC_WIDTH, len(name)))
    for name in ("cover", "same", "top20"):
        table.add_column(name, justify="right", width=_SHARE_WIDTH)
    return table


def _to_slice_table(report: Report, slice_: SliceReport) -> Table:
    table = _make_table(report.k, f"{slice_.title} ({slice_.n_users:,} users)")
    for row in slice_.rows:
        cells = [
            Text(f"{value_of(row, column):.3f}", style="bold" if row.scorer in slice_.best(column) else "")
            for column in _COLUMNS
        ]
        name = Text(_ROW_NAMES.get(row.scorer, row.scorer), style="bold" if row.scorer == report.about.ours else "")
        table.add_row(name, *cells, f"{row.popular_in_first:.1f}")
    if slice_.differences:
        found = [slice_.differences[metric] for metric in METRICS]
        table.add_row("ours - best", *[_format_difference(each.interval) for each in found])
        table.add_row("  std. error", *[f"{each.error:.3f}" for each in found], style="dim")
        names = [_SHORT_NAMES.get(each.against, each.against) for each in found]
        table.add_row("  best other", *names, style="dim")
    return table


def _list_gaps(report: Report) -> list[Table | Text]:
    """The largest gap of each sensitive attribute on each slice; of many, those furthest beyond chance."""
    gaps = [
        (one.attribute, slice_.title, [scorer.gaps[OBJECTIVE] for scorer in slice_.scorers])
        for one in report.fairness
        for slice_ in one.slices
        if slice_.scorers and slice_.scorers[0].gaps
    ]
    if not gaps:
        return [Text("Quality by groups of users: no slice has two groups with at least 10 users")]
    kept = gaps
    if len(gaps) > _MOST_GAPS:
        order = sorted(range(len(gaps)), key=lambda place: -_exceed(gaps[place][2][0]))
        kept = [gaps[place] for place in sorted(order[: _MOST_GAPS - 1])]
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"Quality by groups of users: largest gap in the objective@{report.k}; bold: beyond chance",
        title_justify="left",
        padding=0,
        pad_edge=False,
        show_edge=False,
    )
    for name, width in (("", 10), ("", 20), ("lowest", 14), ("highest", 14)):
        table.add_column(name, width=width, no_wrap=True)
    for name in ("gap", "chance", "other"):
        table.add_column(name, justify="right", width=max(_SHARE_WIDTH, len(name)))
    for attribute, title, (ours, *best) in kept:
        where = (attribute, _shorten(title), ours.lowest, ours.highest)
        gap = Text(f"{ours.interval.mean:.3f}", "bold" if ours.beyond_noise else "")
        others = [f"{each.interval.mean:.3f}" for each in best]
        table.add_row(*map(Text, where), gap, f"{ours.by_chance:.3f}", *others)
    if len(kept) == len(gaps):
        return [table]
    n_beyond = sum(each[0].beyond_noise for _, _, each in gaps) - sum(each[0].beyond_noise for _, _, each in kept)
    return [table, Text(f"{len(gaps) - len(kept)} more are in the report, {n_beyond or 'none'} of them beyond chance")]


def _shorten(title: str) -> str:
    """The title of a slice without what its users are known by."""
    return title.removesuffix(", known items").partition(" beside ")[0].partition(", known by ")[0]


def _exceed(gap: Gap) -> float:
    """A gap as a multiple of the largest gap by chance."""
    return gap.interval.mean / gap.by_chance if gap.by_chance else float(gap.interval.mean > 0)


def to_rich_audit(report: Report) -> Table:
    """The checks of the leak audit, their findings, and the recall without the leaked test likes."""
    table = Table.grid(padding=(0, 1))
    table.title, table.title_justify = "Leak audit", "left"
    for status, style, text in [] if report.audit is None else _list_audit(report.audit, report.k):
        table.add_row(Text(status, style=style), text)
    return table


def _list_audit(audit: Audit, k: int) -> Iterable[tuple[str, str, Text]]:
    for finding in audit.findings:
        yield "found", "red", Text(f"{finding.count:,} {finding.message} (of {finding.total:,} {finding.of})", "bold")
        for example in finding.examples:
            yield "", "", Text(f"  {format_example(example)}")
        changed = [effect for effect in finding.effects if _is_changed(effect)]
        for effect in changed:
            yield "", "", Text(f"{effect.slice_title}: {format_effect(effect, k)}")
        if not changed:
            yield "", "", Text(f"Recall@{k} without the leaked test likes is the same in every slice")
        yield "", "", Text(f"{finding.effect} {finding.advice}", "dim")
    for looked_for in audit.passed.values():
        yield "none", "green", Text(looked_for)
    for check, reason in audit.skipped.items():
        yield "skipped", "yellow", Text(f"{CHECKS[check].looked_for}: {reason}")


def format_effect(effect: Effect, k: int) -> str:
    """The effect on a slice, as in "Recall@20 kgrec 0.310 → 0.290 without 412 leaked of 1,442 test likes"."""
    chance = "" if effect.n_by_chance is None else f" (by chance {effect.n_by_chance:,})"
    if not effect.recall_without:
        return f"all {effect.n_leaked:,} test likes leak{chance}: none is left to measure without them"
    recalls = ", ".join(_format_recalls(effect.recall, effect.recall_without))
    return f"Recall@{k} {recalls} without {effect.n_leaked:,} leaked of {effect.n_relevant:,} test likes{chance}"


def _format_recalls(before: Mapping[str, float], after: Mapping[str, float]) -> list[str]:
    return [f"{scorer} {recall:.3f} → {after[scorer]:.3f}" for scorer, recall in before.items()]


def _is_changed(effect: Effect) -> bool:
    """Whether a recall changes at three decimals."""
    return any(
        scorer not in effect.recall_without or f"{recall:.3f}" != f"{effect.recall_without[scorer]:.3f}"
        for scorer, recall in effect.recall.items()
    )


def _format_difference(interval: Interval) -> Text:
    """A difference, coloured where its interval excludes 0."""
    style = "green" if interval.low > 0 else "red" if interval.high < 0 else ""
    return Text(f"{interval.mean:+.3f}", style=style)
