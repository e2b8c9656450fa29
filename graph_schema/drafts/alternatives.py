"""What else the users, the items and the interaction of a graph may be, ranked, with numbers and an example each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from graph_schema.drafts.interaction_candidates import Candidate
from graph_schema.drafts.profile import GraphProfile, NodeProfile
from graph_schema.drafts.roles import find_name
from graph_schema.drafts.usable_parts import describe_relationship
from graph_schema.schema_toml import to_one_line

About = Literal["users", "items", "interaction"]
MOST = 5  # of a kind that are shown


@dataclass(frozen=True)
class Alternative:
    """One of several choices.

    Attributes:
        about: what it would be.
        choice: the label, table or relationship.
        count: how many nodes, rows or relationships it has.
        score: points for it; the more, the better it fits.
        example: one of them, in words; empty where none was read.
        is_chosen: the draft has it.
    """

    about: About
    choice: str
    count: int
    score: int
    example: str
    is_chosen: bool


def list_alternatives(
    profile: GraphProfile, candidates: Sequence[Candidate], chosen: Candidate | None
) -> tuple[Alternative, ...]:
    """Lists the choices for users, items and the interaction, of each the chosen one first, then by score."""
    ranked = sorted(candidates, key=lambda one: (one is not chosen, -one.score, -one.relationship.count))
    found: list[Alternative] = []
    for about, of in (("users", _user_of), ("items", _item_of)):
        for label in list(dict.fromkeys(map(of, ranked)))[:MOST]:
            node, score = profile.nodes[label], max(one.score for one in ranked if of(one) == label)
            is_chosen = chosen is not None and of(chosen) == label
            found.append(Alternative(about, label, node.count, score, show_example(node), is_chosen))  # type: ignore[arg-type]
    for one in ranked[:MOST]:
        link = one.relationship
        words = describe_relationship(link)
        found.append(Alternative("interaction", words, link.count, one.score, link.example, one is chosen))
    return tuple(found)


def show_example(node: NodeProfile) -> str:
    """A name of one of the nodes, or else its key."""
    name = find_name(node, node.key) or node.key or next(iter(node.properties), "")
    samples = node.properties[name].samples if name in node.properties else ()
    return f"{name}: {to_one_line(samples[0], 40)}" if samples else ""


def _user_of(one: Candidate) -> str:
    return one.user


def _item_of(one: Candidate) -> str:
    return one.item
