"""Which relationship may be the interaction, and which label the items."""

from dataclasses import dataclass, field

from graph_schema.name_words import (
    ACTED_ON,
    ENTITIES,
    ITEMS,
    LINKED_BY,
    PEOPLE,
    SMALL_LINK_WORDS,
    USERS,
    begins_with,
    is_weight_name,
    split_words,
)
from graph_schema.profile import GraphProfile, NodeProfile, RelationshipProfile
from graph_schema.roles import find_key, find_name, find_texts, find_time, find_weight

_SEVERAL = 2
_MANY = 5  # interactions per node that links to a genre or a maker seldom reach on both sides
_LEAST_SCORE, LIKELY_SCORE, SURE_SCORE = 3, 5, 8


@dataclass(frozen=True)
class Candidate:
    """A relationship that may be the interaction.

    Attributes:
        relationship: the relationship.
        reverse: whether it points from items to users.
        score: points for it; the highest is chosen.
        reasons: why, for people.
        is_telling: whether anything but its shape speaks for it.
    """

    relationship: RelationshipProfile
    reverse: bool
    score: int
    reasons: tuple[str, ...]
    is_telling: bool

    @property
    def user(self) -> str:
        """The label of the users."""
        return self.relationship.end if self.reverse else self.relationship.start

    @property
    def item(self) -> str:
        """The label of the items."""
        return self.relationship.start if self.reverse else self.relationship.end


def find_interactions(profile: GraphProfile) -> list[Candidate]:
    """Finds the relationships that may be the interaction, the best first, each in the direction that fits better."""
    largest = max((found.count for found in profile.relationships), default=0)
    candidates = []
    for found in profile.relationships:
        if found.start == found.end or found.count == 0:
            continue
        both = [_judge(profile, found, reverse, largest) for reverse in (False, True)]
        best = max(both, key=lambda candidate: (candidate.score, not candidate.reverse))
        if best.score >= _LEAST_SCORE and best.is_telling:
            candidates.append(best)
    candidates.sort(key=lambda candidate: (-candidate.score, -candidate.relationship.count))
    # among those that are about as good, the most frequent one comes first
    near = [candidate for candidate in candidates if candidate.score >= candidates[0].score - 2]
    first = max(near, key=lambda candidate: candidate.relationship.count, default=None)
    return [] if first is None else [first, *(candidate for candidate in candidates if candidate is not first)]


@dataclass
class _Evidence:
    score: int = 0
    reasons: list[str] = field(default_factory=list)
    is_telling: bool = False

    def add(self, points: int, reason: str = "", *, is_telling: bool = False) -> None:
        self.score += points
        self.is_telling |= is_telling
        if reason:
            self.reasons.append(reason)


def _judge(profile: GraphProfile, found: RelationshipProfile, reverse: bool, largest: int) -> Candidate:
    """Scores a relationship as the interaction."""
    user_name, item_name = (found.end, found.start) if reverse else (found.start, found.end)
    users, items = profile.nodes[user_name], profile.nodes[item_name]
    evidence = _Evidence()
    _judge_names(evidence, found, users, items, reverse)
    if at := find_time(found):
        evidence.add(2, f"each has a time ({at[0]})", is_telling=True)
    if weight := find_weight(found, at[0] if at else None):
        reason = f"and a strength ({weight})" if at else f"each has a strength ({weight})"
        evidence.add(2 if is_weight_name(weight) else 1, reason, is_telling=True)
    _judge_degrees(evidence, found, users, items, reverse)
    if found.count == largest:
        evidence.add(1, "there are most of them")
    if any(
        (other.start == item_name and other.end != user_name) or (other.end == item_name and other.start != user_name)
        for other in profile.relationships
    ):
        evidence.add(1)
    if _has_text(items) and not _has_text(users):
        evidence.add(1, f"{_label(items)} has text")
    return Candidate(found, reverse, evidence.score, tuple(evidence.reasons), evidence.is_telling)


def _judge_names(
    evidence: _Evidence, found: RelationshipProfile, users: NodeProfile, items: NodeProfile, reverse: bool
) -> None:
    words = split_words(found.type)
    if begins_with(words, ACTED_ON):
        evidence.add(3, f"{found.type} is something that people do", is_telling=True)
        is_passive = len(words) > 1 and words[-1] in ("by", "von", "par", "por")
        evidence.add((3 if is_passive else -1) if reverse else (-3 if is_passive else 1))
    elif begins_with(words, LINKED_BY) or set(words) & SMALL_LINK_WORDS:
        evidence.add(-3)
    if _is_one(users, USERS):
        evidence.add(3, f"{_label(users)} is a name for people who choose", is_telling=True)
    elif _is_one(users, PEOPLE):
        evidence.add(1, f"{_label(users)} is a name for people")
    elif _is_one(users, ENTITIES):
        evidence.add(-4)
    elif _is_one(users, ITEMS):
        evidence.add(-3)
    if _is_one(items, USERS) or _is_one(items, ENTITIES):
        evidence.add(-3)
    elif _is_one(items, ITEMS):
        evidence.add(1, f"{_label(items)} is a name for what they choose")


def _judge_degrees(
    evidence: _Evidence, found: RelationshipProfile, users: NodeProfile, items: NodeProfile, reverse: bool
) -> None:
    n_users, n_items = (found.n_ends, found.n_starts) if reverse else (found.n_starts, found.n_ends)
    per_user, per_item = found.count / max(n_users, 1), found.count / max(n_items, 1)
    if min(found.max_out, found.max_in) <= 1:
        evidence.add(-2)  # each has one, as an item has one maker
    elif min(per_user, per_item) >= _SEVERAL:
        reason = f"{per_user:,.0f} per {_label(users)}, {per_item:,.0f} per {_label(items)}"
        evidence.add(1, reason, is_telling=min(per_user, per_item) >= _MANY)
    if n_users * 10 < n_items:
        evidence.add(-1)


def find_item_label(profile: GraphProfile) -> str | None:
    """Finds the label that most likely has the items, where no relationship is an interaction."""

    def worth(node: NodeProfile) -> tuple[int, int]:
        links = sum(node.name in (found.start, found.end) for found in profile.relationships)
        by_name = 3 * _is_one(node, ITEMS) - 3 * (_is_one(node, ENTITIES) or _is_one(node, USERS))
        return by_name + 2 * _has_text(node) + min(links, 3), node.count

    return max(profile.nodes, key=lambda name: worth(profile.nodes[name]), default=None)


def is_user_label(node: NodeProfile) -> bool:
    """Whether a label is a usual name for users."""
    return _is_one(node, USERS)


def _has_text(node: NodeProfile) -> bool:
    key = find_key(node)
    return bool(find_texts(node, key[0] if key else "", find_name(node, key[0] if key else "")))


def _is_one(node: NodeProfile, known: tuple[str, ...]) -> bool:
    # the last word counts: a MovieGenre is a genre
    words = split_words(node.label or node.name)
    return bool(words) and words[-1].startswith(known)


def _label(node: NodeProfile) -> str:
    return node.label or node.name
