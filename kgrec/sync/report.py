"""Reports a sync, as text and as JSON."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kgrec.bundle import Bundle
from kgrec.sync.changes import Changes, EdgeChanges, NodeChanges
from kgrec.sync.staleness import DAY_S
from kgrec.sync.update import SyncReport

LIKES = "likes"
_Some = TypeVar("_Some", NodeChanges, EdgeChanges)


def to_json(report: SyncReport, bundle: Bundle, *, store: str, now: int) -> str:
    """The report as a JSON object.

    Args:
        report: the result of the sync, or of its preview.
        bundle: the bundle before the sync.
        store: the URL of the store.
        now: UTC seconds.
    """
    changes, found = report.changes, report.staleness
    content = {
        "store": store,
        "synced_at": now,
        "trained_at": bundle.trained_at,
        "changed": bool(changes),
        "nodes": {
            name: {
                "now": nodes.n_now,
                "added": len(nodes.added),
                "changed": len(nodes.changed),
                "relinked": len(nodes.relinked),
                "deleted": len(nodes.deleted),
            }
            for name, nodes in changes.nodes.items()
        },
        "edges": {
            name: {"now": edges.n_now, "added": edges.n_added, "deleted": edges.n_deleted}
            for name, edges in (*changes.edges.items(), (LIKES, changes.likes))
        },
        "likes_at_another_time": changes.n_moved,
        "texts_encoded": report.n_encoded,
        "items_placed": report.n_placed,
        "staleness": {
            "age_s": found.age_s,
            "new_likes": found.new_likes,
            "gone_likes": found.gone_likes,
            "placed_items": found.placed_items,
            "gone_items": found.gone_items,
        },
        "retrain": bool(found.reasons),
        "reasons": found.reasons,
    }
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def describe_changes(changes: Changes) -> str:
    """What changed, in one line, such as "product 1 added, 2 changed; likes 3 added"."""
    changes = _sum_values(changes)
    counted: list[tuple[str, dict[str, int]]] = [
        (
            name,
            {
                "added": len(nodes.added),
                "changed": len(nodes.changed),
                "with other links": len(nodes.relinked),
                "deleted": len(nodes.deleted),
            },
        )
        for name, nodes in changes.nodes.items()
    ]
    counted += [(name, {"added": edge.n_added, "deleted": edge.n_deleted}) for name, edge in changes.edges.items()]
    likes = changes.likes
    counted.append((LIKES, {"added": likes.n_added, "deleted": likes.n_deleted, "at another time": changes.n_moved}))
    parts = [
        f"{name} {', '.join(f'{n:,} {how}' for how, n in numbers.items() if n)}"
        for name, numbers in counted
        if any(numbers.values())
    ]
    return "; ".join(parts) or "nothing"


def print_report(report: SyncReport, console: Console, *, store: str) -> None:
    """Prints what changed, how stale the bundle is, and whether to train again."""
    changes, found = _sum_values(report.changes), report.staleness
    rows: list[tuple[str, str, int, int, int | None, int | None, int]] = [
        ("node", name, len(n.added), len(n.deleted), len(n.changed), len(n.relinked) if n.relinked else None, n.n_now)
        for name, n in changes.nodes.items()
    ]
    edges = (*changes.edges.items(), (LIKES, changes.likes))
    moved = {LIKES: changes.n_moved}
    rows += [("edge", name, edge.n_added, edge.n_deleted, moved.get(name), None, edge.n_now) for name, edge in edges]
    table = _table(f"{store} compared with the bundle", "kind", "type")
    for name in ("added", "deleted", "changed", "links changed", "now"):
        table.add_column(name, justify="right")
    for kind, name, *counts, n_now in rows:
        table.add_row(kind, escape(name), *(f"{count:,}" if count else "" for count in counts), f"{n_now:,}")
    console.print(table)
    table = _table(f"Staleness, {_age(found.age_s)} after the training", "what")
    for name in ("share", "train again from"):
        table.add_column(name, justify="right")
    for what, share, most in found.shares:
        style = "bold" if most is not None and share >= most else None
        table.add_row(what, f"{share:.1%}", "" if most is None else f"{most:.0%}", style=style)
    console.print(table)
    advice = "; ".join(found.reasons)
    console.print(f"Train again: {advice}" if advice else "No need to train again yet", markup=False, soft_wrap=True)


def _sum_values(changes: Changes) -> Changes:
    """The changes with one entry for the values of all attributes of a node type, and for the links to them."""
    nodes, edges = _group(changes.nodes, changes.of_values), _group(changes.edges, changes.of_values)
    return replace(
        changes,
        nodes={
            name: NodeChanges(
                added=tuple(id_ for one in each for id_ in one.added),
                changed=tuple(id_ for one in each for id_ in one.changed),
                relinked=tuple(id_ for one in each for id_ in one.relinked),
                deleted=tuple(id_ for one in each for id_ in one.deleted),
                n_now=sum(one.n_now for one in each),
            )
            for name, each in nodes.items()
        },
        edges={
            name: EdgeChanges(*(sum(getattr(one, n) for one in each) for n in ("n_added", "n_deleted", "n_now")))
            for name, each in edges.items()
        },
    )


def _group(changes: Mapping[str, _Some], of_values: frozenset[str]) -> dict[str, list[_Some]]:
    """The changes by type; those of the values of "book.year" and "book.price" together, as "values of book"."""
    found: dict[str, list[_Some]] = {}
    for name, each in changes.items():
        found.setdefault(f"values of {name.split('.')[0]}" if name in of_values else name, []).append(each)
    return found


def _table(title: str, *columns: str) -> Table:
    table = Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD)
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _age(age_s: int) -> str:
    days = age_s // DAY_S
    return "less than a day" if days < 1 else f"{days:,} day{'s' if days > 1 else ''}"
