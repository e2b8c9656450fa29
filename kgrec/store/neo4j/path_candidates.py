"""Which labels may be reached over a node between, as products over orders: candidates for interactions."""

from collections.abc import Iterable
from dataclasses import dataclass

from graph_schema.drafts.name_words import is_document_name, split_words
from graph_schema.drafts.profile import RelationshipProfile

_MOST = 8


@dataclass(frozen=True)
class PathCandidate:
    """Two relationships in a row: from a label over another one to a third.

    Attributes:
        start: the label at its start, of which each node between has at most one.
        via: the label between.
        end: the label at its end.
        path: the relationship types, as in `EdgeType.path`.
        count: how many relationships the second step has.
    """

    start: str
    via: str
    end: str
    path: tuple[str, str]
    count: int


def find_path_candidates(relationships: Iterable[RelationshipProfile]) -> list[PathCandidate]:
    """Finds the paths that may be interactions, those over orders, sessions, reviews and the like first.

    Only nodes with at most one node at the start stand between, so that there are no more paths than relationships of
    the second step. Of a path and its reverse one is listed.
    """
    steps = [one for one in relationships if one.start != one.end and not one.path]
    found: dict[frozenset[int], PathCandidate] = {}
    for place, first in enumerate(steps):
        for start, via, step, most in (
            (first.start, first.end, first.type, first.max_in),
            (first.end, first.start, f"<{first.type}", first.max_out),
        ):
            if most > 1:
                continue
            for other_place, second in enumerate(steps):
                if other_place == place or via not in (second.start, second.end):
                    continue
                is_on = second.start == via
                end, on = (second.end, second.type) if is_on else (second.start, f"<{second.type}")
                if end != start:
                    candidate = PathCandidate(start, via, end, (step, on), second.count)
                    found.setdefault(frozenset((place, other_place)), candidate)
    order = sorted(
        found.values(), key=lambda one: (not is_document_name(split_words(one.via)), -one.count, one.path, one.end)
    )
    return order[:_MOST]
