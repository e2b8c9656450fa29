"""The evaluation report as one self-contained HTML page, and the same as JSON."""

from pathlib import Path

from pydantic import TypeAdapter

from kgrec.evaluate.audit import CHECKS
from kgrec.evaluate.audited import format_example
from kgrec.evaluate.baselines import FEW, LIKES_ALONE
from kgrec.evaluate.dial import AFFORDABLE
from kgrec.evaluate.evaluation_plots import (
    COLD_USERS,
    DASHES,
    FEW_ITEMS,
    plot_dial,
    plot_diversity,
    plot_sizes,
    plot_slice,
)
from kgrec.evaluate.evaluation_report import METRIC_TITLES, Report
from kgrec.evaluate.fairness import FEWEST_USERS, GROUP_METRICS
from kgrec.evaluate.html_page import SERIES, format_time, render_page, write_page
from kgrec.questions.slices import FIRST_PLACES, POPULAR_ITEMS


def write_report(report: Report, directory: Path) -> Path:
    """Writes `report.html`, which needs no other file, and `report.json`.

    Args:
        report: the report to write.
        directory: where to write; created when missing, and files of these names are replaced.

    Returns:
        The path of the page.

    Raises:
        KgrecError: the directory cannot be written.
    """
    return write_page(directory, "report", _render(report), TypeAdapter(Report).dump_json(report, indent=1))


def _render(report: Report) -> str:
    scorers = list(dict.fromkeys(row.scorer for slice_ in report.slices for row in slice_.rows))
    return render_page(
        "evaluation.html",
        report=report,
        about=report.about,
        at=format_time(report.about.evaluated_at),
        metrics=METRIC_TITLES,
        few=FEW,
        likes_alone=LIKES_ALONE,
        popular_items=POPULAR_ITEMS,
        first_places=FIRST_PLACES,
        scorers=scorers,
        keys=[(number % len(SERIES), " ".join(map(str, dashes))) for number, dashes in enumerate(DASHES)],
        plots={slice_.name: plot_slice(report, slice_, scorers) for slice_ in report.slices if slice_.n_users},
        support_plots=plot_sizes(report, scorers, COLD_USERS, "known likes"),
        few_plots=plot_sizes(report, scorers, FEW_ITEMS, "known likes of each item"),
        dial_plots={curve.slice_name: plot_dial(report, curve, scorers) for curve in report.dial},
        diversity_plots={curve.slice_name: plot_diversity(report, curve, scorers) for curve in report.diversity},
        affordable=AFFORDABLE,
        group_metrics=GROUP_METRICS,
        fewest_users=FEWEST_USERS,
        checks=CHECKS,
        format_example=format_example,
    )
