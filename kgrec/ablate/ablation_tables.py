"""The result of an ablation as tables for the terminal."""

from rich import box
from rich.table import Table
from rich.text import Text

from kgrec.ablate.ablation_report import CONTROL_TITLES, Ablation, Row, order_rows
from kgrec.ablate.comparison import METRICS
from kgrec.ablate.verdicts import Verdict
from kgrec.evaluate.evaluation_report import METRIC_TITLES
from kgrec.evaluate.intervals import Interval

_STYLES = {Verdict.KEEP: "bold", Verdict.DROP: "", Verdict.UNDECIDED: "dim", Verdict.EMPTY: "dim"}


def to_rich_tables(ablation: Ablation) -> list[Table]:
    """The controls in every slice, then a row for each relation, each attribute and the texts of users."""
    about, titles, first = ablation.about, {slice_.name: slice_.title for slice_ in ablation.slices}, METRICS[0]
    metric = f"{METRIC_TITLES[first]}@{about.k}"
    controls = Table(
        box=box.SIMPLE_HEAD,
        title=f"{about.catalogue}: {metric} with and without texts and links",
        title_justify="left",
        collapse_padding=True,
        pad_edge=False,
    )
    controls.add_column("", min_width=20)
    for title in ("users", "both", *(CONTROL_TITLES[row.name] for row in ablation.controls)):
        controls.add_column(title, justify="right")
    for slice_ in ablation.slices:
        cells = []
        for row in ablation.controls:
            change = row.changes[slice_.name][first]
            cells.append(Text(f"{slice_.whole[first] + change.mean:.3f}", style=_style(change)))
        controls.add_row(slice_.title, f"{slice_.n_users:,}", f"{slice_.whole[first]:.3f}", *cells)
    if not ablation.relations:
        return [controls]
    has_links_only = all(row.unit == "links" for row in ablation.relations)
    one = "a relation" if has_links_only else "one of these"
    relations = Table(
        box=box.SIMPLE_HEAD,
        title=f"{metric} without {one}, in the slice with the clearest change",
        title_justify="left",
        collapse_padding=True,
        pad_edge=False,
    )
    first_titles = ("relation", "links") if has_links_only else ("left out", "count")
    for title in (*first_titles, "change", "slice", "verdict"):
        is_number, is_long = title in ("links", "count", "change"), title in ("left out", "slice")
        relations.add_column(title, justify="right" if is_number else "left", no_wrap=not is_long)
    for row in order_rows(ablation.relations):
        changed, where = Text(), ""
        if row.changes:
            name = _clearest(row, first)
            found, where = row.changes[name][first], titles[name]
            changed = Text(f"{found.mean:+.3f} ± {(found.high - found.low) / 2:.3f}", style=_style(found))
        verdict = Text(str(row.verdict), style=_STYLES[row.verdict])
        relations.add_row(row.title, f"{row.n_links:,}", changed, where, verdict)
    return [controls, relations]


def _clearest(row: Row, metric: str) -> str:
    """The slice whose change is the largest relative to its interval."""

    def clearness(interval: Interval) -> float:
        width = interval.high - interval.low
        return abs(interval.mean) / width if width else 0.0

    return max(row.changes, key=lambda name: clearness(row.changes[name][metric]))


def _style(interval: Interval) -> str:
    return "red" if interval.high < 0 else "green" if interval.low > 0 else ""
