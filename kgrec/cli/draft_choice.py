"""Shows what a draft may be instead, and lets a person choose."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from kgrec.terminal import to_rich_table

if TYPE_CHECKING:
    from rich.console import Console

    from graph_schema.drafts.alternatives import Alternative
    from graph_schema.drafts.interaction_candidates import Candidate
    from graph_schema.drafts.profile import GraphProfile

_MOST = 9  # choices that are offered


def show_alternatives(console: "Console", alternatives: "Sequence[Alternative]") -> None:
    """Prints the choices for users, items and the interaction, where there are several."""
    shown = [one for one in alternatives if sum(other.about == one.about for other in alternatives) > 1]
    if shown:
        rows = [
            (one.about, one.choice, one.count, one.score, "drafted" if one.is_chosen else "", one.example)
            for one in shown
        ]
        console.print(to_rich_table("what it may be", ("what", "choice", "how many", "score", "", "one of them"), rows))


def make_asker(
    console: "Console",
) -> "Callable[[GraphProfile, Sequence[Candidate]], Candidate | None]":
    """Makes a function that asks who chooses, what is chosen, and which relationship says so; Enter takes the first.

    Args:
        console: where the choices are printed.
    """
    from graph_schema.drafts.alternatives import show_example
    from graph_schema.drafts.usable_parts import describe_relationship

    def ask(profile: "GraphProfile", candidates: "Sequence[Candidate]") -> "Candidate | None":
        left = list(candidates)
        if not left:
            return None
        for about, of in (("users", _user_of), ("items", _item_of)):
            labels = list(dict.fromkeys(map(of, left)))[:_MOST]
            rows = [
                (n, label, profile.nodes[label].count, max(one.score for one in left if of(one) == label),
                 show_example(profile.nodes[label]))
                for n, label in enumerate(labels, 1)
            ]  # fmt: skip
            chosen = labels[_ask(console, f"Which are the {about}?", rows, first=1) - 1]
            left = [one for one in left if of(one) == chosen]
        left = left[:_MOST]
        rows = [
            (n, describe_relationship(one.relationship), one.relationship.count, one.score, one.relationship.example)
            for n, one in enumerate(left, 1)
        ]
        first = 1 if left[0].is_likely else 0
        if first == 0:
            rows.insert(0, (0, "none of these: there are no interactions yet", 0, 0, ""))
        number = _ask(console, "Which is the interaction?", rows, first=first)
        return left[number - 1] if number else None

    return ask


def _ask(console: "Console", question: str, rows: Sequence[tuple[int, str, int, int, str]], *, first: int) -> int:
    """Asks for the number of a row; one row needs no question."""
    from rich.prompt import IntPrompt

    if len(rows) == 1:
        return rows[0][0]
    console.print(to_rich_table(question, ("", "choice", "how many", "score", "one of them"), rows))
    numbers = [str(number) for number, *_ in rows]
    try:
        return IntPrompt.ask("number", console=console, choices=numbers, show_choices=False, default=first)
    except EOFError:  # the answers were piped, and there are no more
        return first


def _user_of(one: "Candidate") -> str:
    return one.user


def _item_of(one: "Candidate") -> str:
    return one.item
