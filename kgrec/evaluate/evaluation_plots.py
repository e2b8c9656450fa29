"""The plots of the evaluation page."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes

from kgrec.evaluate.dial import AFFORDABLE, DialCurve, DialPoint
from kgrec.evaluate.diversity_curve import DiversityCurve
from kgrec.evaluate.evaluation_report import METRIC_TITLES, Bucket, Report, Row, SliceReport
from kgrec.evaluate.html_page import INK, SERIES, draw_svg
from kgrec.questions.slice_results import OBJECTIVE_METRICS

COLD_USERS, FEW_ITEMS = re.compile(r"cold_users_k(\d+)"), re.compile(r"few_items_n(\d+)")
# On, off, ... points; one more than there are colours, so that nine lines differ.
DASHES = ((), (4, 2), (8, 2), (2, 1), (6, 2, 1, 2), (3, 3), (6, 2, 1, 2, 1, 2), (10, 4), (1, 2))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

Plots = list[tuple[str, Markup]]  # captions and SVG elements


def plot_slice(report: Report, slice_: SliceReport, scorers: Sequence[str]) -> Plots:
    """Plots recall and NDCG by list length, and recall by the popularity of the relevant item.

    Args:
        report: the evaluation.
        slice_: one of its slices, with users.
        scorers: all scorers of the page; the place of one chooses its colour, dashes and marker.
    """

    def draw_curve(metric: str) -> Callable[[Axes], None]:
        def draw(axes: Axes) -> None:
            for row in _others_first(slice_.rows, report.about.ours):
                curve = row.curves[metric]
                axes.plot(range(1, len(curve) + 1), curve, **_style(row.scorer, scorers, report.about.ours))
            axes.axvline(report.k, color=INK, linewidth=0.6, alpha=0.35)
            axes.set_xlabel("k")
            axes.set_xlim(1, None)

        return draw

    def draw_buckets(axes: Axes) -> None:
        for row in _others_first(slice_.rows, report.about.ours):
            recalls = [bucket.recall for bucket in row.by_popularity]
            series = scorers.index(row.scorer) % len(SERIES)
            axes.plot(
                recalls, marker=_MARKERS[series], markersize=3.5, **_style(row.scorer, scorers, report.about.ours)
            )
        buckets = slice_.rows[0].by_popularity
        labels = [f"{_bucket_label(bucket)}\n{_short(bucket.n_relevant)}" for bucket in buckets]
        axes.set_xticks(range(len(buckets)), labels, fontsize=7)
        axes.set_xlim(-0.4, len(buckets) - 0.6)
        axes.set_xlabel("likes in training, and test likes below")

    plots = [("Recall@k", draw_svg(draw_curve("recall"))), ("NDCG@k", draw_svg(draw_curve("ndcg")))]
    if len(slice_.rows[0].by_popularity) > 1:
        plots.append((f"Recall@{report.k} by popularity of the item to find", draw_svg(draw_buckets)))
    return plots


def plot_sizes(report: Report, scorers: Sequence[str], names: re.Pattern[str], label: str) -> Plots:
    """Plots the metrics of the objective by the number of known likes.

    Args:
        report: the evaluation.
        scorers: all scorers of the page, as in `plot_slice`.
        names: matches the names of the slices to plot; its group is the number of known likes.
        label: of that number.

    Returns:
        The plots; none with fewer than two such slices.
    """
    sized = [(int(found[1]), slice_) for slice_ in report.slices if (found := names.fullmatch(slice_.name))]
    sized = sorted(((size, slice_) for size, slice_ in sized if slice_.n_users), key=lambda pair: pair[0])
    if len(sized) <= 1:
        return []

    def draw_metric(metric: str) -> Callable[[Axes], None]:
        def draw(axes: Axes) -> None:
            for scorer in sorted(scorers, key=lambda name: name == report.about.ours):
                found = [
                    (size, row.intervals[metric])
                    for size, slice_ in sized
                    for row in slice_.rows
                    if row.scorer == scorer
                ]
                sizes = [size for size, _ in found]
                series = scorers.index(scorer) % len(SERIES)
                style = _style(scorer, scorers, report.about.ours)
                axes.plot(sizes, [i.mean for _, i in found], marker=_MARKERS[series], markersize=3.5, **style)
                axes.fill_between(
                    sizes,
                    [i.low for _, i in found],
                    [i.high for _, i in found],
                    color=style["color"],
                    alpha=0.12,
                    linewidth=0,
                )
            axes.set_xticks([size for size, _ in sized])
            axes.set_xlabel(label)

        return draw

    return [(f"{METRIC_TITLES[metric]}@{report.k}", draw_svg(draw_metric(metric))) for metric in OBJECTIVE_METRICS]


def plot_dial(report: Report, curve: DialCurve, scorers: Sequence[str]) -> Plots:
    """Plots recall against coverage along the tail dial, and the share of tail items.

    Args:
        report: the evaluation.
        curve: one slice along the dial.
        scorers: all scorers of the page, as in `plot_slice`.
    """
    style = _style(report.about.ours, scorers, report.about.ours)
    settings = [point.tail for point in curve.points]

    def draw_cost(axes: Axes) -> None:
        def place(point: DialPoint) -> tuple[float, float]:
            return point.coverage, point.means["recall"]

        axes.plot(*zip(*map(place, curve.points), strict=True), marker="o", markersize=3.5, **style)
        for point in curve.points[::2]:
            axes.annotate(
                f"{point.tail:g}", place(point), (-4, -9), textcoords="offset points", ha="right", size=7, color=INK
            )
        least = (1 - AFFORDABLE) * curve.points[0].means["recall"]
        axes.axhline(least, color=INK, linewidth=0.6, alpha=0.5, linestyle=(0, (4, 2)))
        axes.set_xlabel("coverage, at each setting of the dial")
        axes.set_xlim(0, 1.05)

    def draw_shares(axes: Axes) -> None:
        axes.plot(settings, [point.tail_share for point in curve.points], marker="o", markersize=3.5, **style)
        axes.axhline(curve.own_tail_share, color=INK, linewidth=0.6, alpha=0.5, linestyle=(0, (4, 2)))
        axes.set_xlabel("dial")
        axes.set_xlim(0, 1.02)

    return [
        (f"Recall@{report.k} against coverage; dashed: {AFFORDABLE:.0%} below that at 0", draw_svg(draw_cost)),
        ("Share of tail items in what is recommended; dashed: in the users' own likes", draw_svg(draw_shares)),
    ]


def plot_diversity(report: Report, curve: DiversityCurve, scorers: Sequence[str]) -> Plots:
    """Plots how alike the items of a list are along the diversity dial, and recall against their distance.

    Args:
        report: the evaluation.
        curve: one slice along the dial.
        scorers: all scorers of the page, as in `plot_slice`.
    """
    style = {**_style(report.about.ours, scorers, report.about.ours), "marker": "o", "markersize": 3.5}
    settings = [point.diversity for point in curve.points]
    distances = [point.distance.mean for point in curve.points]
    recalls = [point.recall for point in curve.points]

    def draw_likeness(axes: Axes) -> None:
        to_nearest = [1 - point.nearest for point in curve.points]
        axes.plot(settings, [1 - distance for distance in distances], **style)
        axes.plot(settings, to_nearest, **{**style, "linestyle": (0, (4, 2))})
        axes.set_xlabel("dial")
        axes.set_xlim(0, 1.02)
        axes.set_ylim(top=1.15 * max(*to_nearest, 0.01))

    def draw_cost(axes: Axes) -> None:
        axes.plot(distances, recalls, **style)
        for setting, distance, recall in zip(settings, distances, recalls, strict=True):
            place = distance, recall
            axes.annotate(f"{setting:g}", place, (0, -20), textcoords="offset points", ha="center", size=7, color=INK)
        axes.axhline((1 - AFFORDABLE) * recalls[0], color=INK, linewidth=0.6, alpha=0.5, linestyle=(0, (4, 2)))
        axes.set_xlabel("distance within lists, at each setting of the dial")
        axes.margins(x=0.08)
        axes.set_ylim(top=1.15 * max(*recalls, 0.01))

    return [
        ("1 - distance: how alike the items of a list are; dashed: to the nearest one", draw_svg(draw_likeness)),
        (f"Recall@{report.k} against distance; dashed: {AFFORDABLE:.0%} below that at 0", draw_svg(draw_cost)),
    ]


def _others_first(rows: Sequence[Row], ours: str) -> list[Row]:
    return sorted(rows, key=lambda row: row.scorer == ours)  # ours is drawn on top


def _style(scorer: str, scorers: Sequence[str], ours: str) -> dict[str, Any]:
    place = scorers.index(scorer)
    found = DASHES[place % len(DASHES)]
    dashes = (0, found) if found else "-"
    return {"color": SERIES[place % len(SERIES)], "linestyle": dashes, "linewidth": 2.4 if scorer == ours else 1.3}


def _bucket_label(bucket: Bucket) -> str:
    if bucket.highest is None:
        return f"{_short(bucket.lowest)}+"
    return (
        _short(bucket.lowest)
        if bucket.highest == bucket.lowest
        else f"{_short(bucket.lowest)}-{_short(bucket.highest)}"
    )


def _short(number: int) -> str:
    thousand = 1000
    return str(number) if number < thousand else f"{number / thousand:.3g}k"
