"""The result of an ablation as one self-contained HTML page and as JSON."""

import math
import re
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup, escape
from pydantic import TypeAdapter

from kgrec.ablate.ablation_report import CONTROL_TITLES, Ablation, Row, order_rows
from kgrec.ablate.comparison import METRICS
from kgrec.evaluate.evaluation_report import METRIC_TITLES
from kgrec.evaluate.html_page import format_time, render_page, write_page
from kgrec.evaluate.intervals import Interval

_MOST_TICKS = 6
_LEAST_REACH = 0.001


def write_ablation(ablation: Ablation, directory: Path) -> Path:
    """Writes `ablation.html`, which needs no other file, and `ablation.json`.

    Args:
        ablation: the result to write.
        directory: the folder to write to; created if missing. Files of these names are replaced.

    Returns:
        The path of the page.

    Raises:
        KgrecError: the directory cannot be written.
    """
    return write_page(directory, "ablation", _render(ablation), TypeAdapter(Ablation).dump_json(ablation, indent=1))


def _render(ablation: Ablation) -> str:
    rows = [*order_rows(ablation.relations), *([ablation.together] if ablation.together else [])]
    first = METRICS[0]
    highest = max(
        slice_.whole[first] + max([0.0, *(row.changes[slice_.name][first].mean for row in ablation.controls)])
        for slice_ in ablation.slices
    )
    ticks = _list_ticks(highest)
    return render_page(
        "ablation.html",
        ablation=ablation,
        about=ablation.about,
        at=format_time(ablation.about.ablated_at),
        metrics={metric: METRIC_TITLES[metric] for metric in METRICS},
        titles=CONTROL_TITLES,
        controls=ablation.controls,
        rows=rows,
        findings=[_mark_names(finding) for finding in ablation.findings],
        ticks=ticks,
        top=ticks[-1],
        reach={
            metric: {slice_.name: _reach(rows, slice_.name, metric) for slice_ in ablation.slices} for metric in METRICS
        },
        tone=_tone,
        signed=_sign,
    )


def _mark_names(finding: str) -> Markup:
    """A sentence as HTML, with names in backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(finding))))


def _list_ticks(highest: float) -> list[float]:
    """Round steps from 0 up to the highest value or a little above."""
    step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.25) if highest <= _MOST_TICKS * step)
    return [round(step * number, 2) for number in range(math.ceil(highest / step) + 1)]


def _reach(rows: Sequence[Row], slice_name: str, metric: str) -> float:
    """Half the range of a column's axis."""
    found = [row.changes[slice_name][metric] for row in rows if row.changes]
    return max(max((max(abs(one.low), abs(one.high)) for one in found), default=0.0), _LEAST_REACH)


def _sign(difference: float) -> str:
    """A difference with its sign, or "0" if it rounds to 0."""
    signed = f"{difference:+.3f}"
    return signed if signed.strip("+-0.") else "0"


def _tone(interval: Interval) -> str:
    return "bad" if interval.high < 0 else "good" if interval.low > 0 else ""
