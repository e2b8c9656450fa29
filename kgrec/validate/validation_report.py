"""The findings of a validation, as JSON for programs and as text for people."""

import json
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kgrec.validate.findings import AT_LOADING, CHECKS, Example, Finding, Severity, Validation
from kgrec.validate.queries import show_letter

FORMAT = 1  # goes up when the meaning of a field changes; new fields may come any time
_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}


def to_json(validation: Validation, *, store: str, validated_at: int) -> str:
    """The validation as JSON.

    The fields are `format`, `store`, `catalogue`, `validated_at` (UTC seconds), `n_nodes` and `n_edges` by type,
    `n_findings` by severity, `findings`, `passed` (checks that found nothing) and `skipped` (check -> why it was not
    made). A finding has `check`, `severity` ("error", "warning" or "note"), `type` (the node or edge type, or null),
    `message`, `count`, `total`, `of` (what `total` counts), `share`, `examples`, `effect`, `advice` and `query`
    (Cypher, or null). An example has `nodes`, each with `type` and `id`, and `about`, text or null.

    Args:
        validation: what was found.
        store: the url of the store that was looked at.
        validated_at: when, UTC seconds.
    """
    counts = Counter(found.severity for found in validation.findings)
    content = {
        "format": FORMAT,
        "store": store,
        "catalogue": validation.schema.name,
        "validated_at": validated_at,
        "n_nodes": dict(validation.n_nodes),
        "n_edges": dict(validation.n_edges),
        "n_findings": {severity.value: counts[severity] for severity in Severity},
        "findings": [_finding_to_json(found) for found in validation.findings],
        "passed": list(validation.passed),
        "skipped": dict(validation.skipped),
    }
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def _finding_to_json(found: Finding) -> Mapping[str, Any]:
    return {
        "check": found.check,
        "severity": found.severity.value,
        "type": found.type,
        "message": found.message,
        "count": found.count,
        "total": found.total,
        "of": found.of,
        "share": found.share,
        "examples": [
            {"nodes": [{"type": node.type, "id": node.id} for node in one.nodes], "about": one.about}
            for one in found.examples
        ],
        "effect": found.effect,
        "advice": found.advice,
        "query": found.query,
    }


def print_validation(validation: Validation, console: Console, *, store: str) -> None:
    """Prints a table of the findings, then each kind of finding with what it does, what to do and the Cypher.

    Args:
        validation: what was found.
        console: where to.
        store: the url of the store that was looked at.
    """
    _print(console, f"{validation.schema.name} in {store}: {_summarise(validation)}", style="bold")
    if validation.findings:
        console.print(_to_table(validation))
    for check in dict.fromkeys(found.check for found in validation.findings):
        _print_check(console, check, [found for found in validation.findings if found.check == check])
    if any(found.check in AT_LOADING for found in validation.findings):
        _print(
            console,
            "Other findings do not count rows that are left out, though their queries may list them.",
        )
    if validation.passed:
        _print(console, f"Nothing found: {_to_names(validation.passed)}.", style="dim")
    for why in dict.fromkeys(validation.skipped.values()):
        names = [name for name, reason in validation.skipped.items() if reason == why and name != "rejected_rows"]
        if names:  # without a reject file a load most likely rejected nothing, which says nothing of the data
            _print(console, f"Not checked, since {why}: {_to_names(names)}.", style="dim")


def _summarise(validation: Validation) -> str:
    counts = Counter(found.severity for found in validation.findings)
    parts = [f"{counts[one]} {one.value}{'s' if counts[one] > 1 else ''}" for one in Severity if counts[one]]
    return ", ".join(parts) or "no problems found"


def _to_table(validation: Validation) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    table.add_column("found")
    for name in ("count", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    for found in validation.findings:
        severity = Text(found.severity.value, style=_STYLES[found.severity])
        table.add_row(severity, Text(_printable(found.message)), f"{found.count:,}", format_share(found.share))
    return table


def _print_check(console: Console, check: str, findings: list[Finding]) -> None:
    about = CHECKS[check]
    worst = findings[0].severity
    console.print(Text.assemble((worst.value, _STYLES[worst]), " ", (about.title, "bold")), soft_wrap=True)
    _print(console, about.effect, indent=2)
    _print(console, about.advice, indent=2)
    for found in findings:
        console.print()
        _print(console, f"{found.message}: {found.count:,} of {found.total:,} {found.of}", indent=2)
        if found.examples:
            _print(console, f"such as {'; '.join(map(_describe, found.examples))}", indent=4)
        for line in (found.query or "").splitlines():
            # not folded, so that it can be copied
            console.print(Text(f"    {_printable(line)}", style="green"), soft_wrap=True)
    console.print()


def _print(console: Console, text: str, indent: int = 0, style: str = "") -> None:
    """Prints a paragraph, folded and without spaces at the ends of its lines."""
    margin = " " * indent
    folded = textwrap.fill(_printable(text), console.width, initial_indent=margin, subsequent_indent=margin)
    console.print(Text(folded, style=style), soft_wrap=True)


def _to_names(checks: Iterable[str]) -> str:
    return ", ".join(check.replace("_", " ") for check in checks)


def _describe(example: Example) -> str:
    ids = " → ".join(node.id for node in example.nodes)
    if example.about is None:
        return ids
    return f"{ids} ({example.about})" if ids else example.about


def format_share(share: float) -> str:
    """A share as a percentage; only none is 0% and only all is 100%."""
    if 0 < share < 0.001:  # noqa: PLR2004
        return "<0.1%"
    return f"{min(share, 0.999):.1%}" if share < 1 else "100%"


def _printable(text: str) -> str:
    """A text on one line, with control characters written by their numbers."""
    return "".join(show_letter(letter) for letter in text)
