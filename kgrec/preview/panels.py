"""A preview as people see it in a terminal."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kgrec.preview.summary import Like, Preview, ShownItem, ShownUser
from kgrec.terminal import count_of

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_MOST_TEXT = 400  # characters


def print_preview(console: "Console", preview: Preview, cut: Mapping[str, int], notes: Sequence[str]) -> None:
    """Prints a preview.

    Args:
        console: where to.
        preview: the catalogue at a glance.
        cut: type -> the rows that were read, where it has more.
        notes: what did not pass the checks, a sentence each.
    """
    for user in preview.users:
        console.print(_to_panel(f"user {user.id}", _describe_user(user)))
    for item in preview.items:
        console.print(_to_panel(f"item {item.name or item.id}", _describe_item(item)))
    share = preview.n_likes / max(preview.n_interactions, 1)
    console.print(
        f"{preview.n_likes:,} of {count_of(preview.n_interactions, 'interaction')} are likes ({share:.0%}): "
        f"{preview.rule}",
        markup=False,
    )
    if cut:
        listed = ", ".join(f"{name} ({n:,})" for name, n in cut.items())
        console.print(f"only the first rows were read of: {listed}; edges whose ends are further on are left out")
    wrong = [*preview.oddities, *notes]
    for sentence in wrong:
        console.print(f"looks wrong: {sentence}", markup=False)
    if not wrong:
        console.print("nothing looks wrong")


def _to_panel(title: str, rows: Sequence[tuple[str, str]]) -> "RenderableType":
    from rich.markup import escape
    from rich.panel import Panel
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(escape(name), escape(value))
    return Panel(table, title=escape(title), title_align="left")


def _describe_user(user: ShownUser) -> list[tuple[str, str]]:
    rows = [("", "; ".join(user.about))] if user.about else []
    rows += [("likes" if place == 0 else "", _describe_like(like)) for place, like in enumerate(user.likes)]
    n_more = user.n_likes - len(user.likes)
    others = [f"{count_of(n_more, 'more like')}"] if n_more else []
    if user.n_others:
        are = "is no like" if user.n_others == 1 else "are no likes"
        others.append(f"{count_of(user.n_others, 'interaction')} that {are}")
    return [*rows, ("", "and " + ", ".join(others))] if others else rows


def _describe_like(like: Like) -> str:
    weight = "" if like.weight is None else f"{like.weight:g}"
    beside = ", ".join(part for part in (weight, like.day or "") if part)
    return f"{like.item} ({beside})" if beside else like.item


def _describe_item(item: ShownItem) -> list[tuple[str, str]]:
    text = item.text or "no text"
    rows = [("id", item.id), ("name", item.name or "no name")]
    rows += [("attributes", "; ".join(item.about))] if item.about else []
    rows += [("links" if place == 0 else "", link) for place, link in enumerate(item.links)] or [("links", "none")]
    rows.append(("text", text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}…"))
    return [*rows, ("users", f"{item.n_users:,}")]
