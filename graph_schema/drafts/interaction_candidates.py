"""Which relationship may be the interaction, and which label the items."""

from dataclasses import dataclass, field, replace

from graph_schema.drafts.feedback_kinds import UNKNOWN, find_kind_of_feedback, is_against, is_knowledge
from graph_schema.drafts.name_words import (
    ACTED_ON,
    ENTITIES,
    GRADES,
    ITEMS,
    LINKED_BY,
    PEOPLE,
    SMALL_LINK_WORDS,
    USERS,
    begins_with,
    is_document_name,
    is_weight_name,
    split_words,
)
from graph_schema.drafts.profile import GraphProfile, NodeProfile, RelationshipProfile
from graph_schema.drafts.roles import find_key, find_name, find_texts, find_time, find_weight

_SEVERAL = 2
_MANY = 5  # interactions per node that links to a genre or a maker seldom reach on both sides
_LEAST_SCORE, LIKELY_SCORE, SURE_SCORE = 3, 5, 8
_NEAR, _NEAR_KIND = 2, 5  # points within which candidates are about as good, and within which their kind decides
_FEW = 0.005  # of the most frequent kind: too few to learn from


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
    def is_likely(self) -> bool:
        """Whether it looks like an interaction at all."""
        return self.score >= _LEAST_SCORE and self.is_telling

    @property
    def user(self) -> str:
        """The label of the users."""
        return self.relationship.end if self.reverse else self.relationship.start

    @property
    def item(self) -> str:
        """The label of the items."""
        return self.relationship.start if self.reverse else self.relationship.end


def find_interactions(profile: GraphProfile) -> list[Candidate]:
    """Finds the relationships that may be the interaction, the best first, each in the direction that fits better.

    Of several kinds between the same users and items the one that says most of taste comes first, such as bought before
    viewed, unless there are too few of it.
    """
    candidates = [one for one in judge_all(profile) if one.is_likely]
    near = [one for one in candidates if one.score >= candidates[0].score - _NEAR]
    most = max(near, key=lambda one: one.relationship.count, default=None)
    if most is None:
        return []
    rivals = [
        one
        for one in candidates
        if (one.user, one.item) == (most.user, most.item)
        and one.score >= most.score - _NEAR_KIND
        and one.relationship.count >= _FEW * most.relationship.count
    ]
    first = max(rivals, key=_find_worth)
    candidates = [first, *(one for one in candidates if one is not first)]
    best = max(candidates, key=lambda one: one.score)
    if best.score > first.score:
        reason = f"it says more of taste than {best.relationship.type}"
        candidates[0] = first = replace(first, score=best.score + 1, reasons=(*first.reasons, reason))
    ends = {first.user, first.item}  # a path over them leads from users to what their items are linked to
    return [first, *(one for one in candidates if one is not first and not ends & {*one.relationship.via})]


def judge_all(profile: GraphProfile) -> list[Candidate]:
    """Scores every relationship of two labels as the interaction, the best first."""
    largest = max((found.count for found in profile.relationships), default=0)
    candidates = []
    for found in profile.relationships:
        if found.start != found.end and found.count > 0:
            both = [_judge(profile, found, reverse, largest) for reverse in (False, True)]
            candidates.append(max(both, key=lambda one: (one.score, not one.reverse)))
    return sorted(candidates, key=lambda one: (-one.score, -one.relationship.count))


def find_other_feedback(profile: GraphProfile, chosen: Candidate) -> dict[RelationshipProfile, float]:
    """Finds the other kinds of feedback of the same users on the same items, and what one of each weighs."""
    strong = find_kind_of_feedback(chosen.relationship)
    unit = strong.weight if strong and strong.weight > 0 else 1.0
    others = {}
    for one in judge_all(profile):
        found = one.relationship
        is_same = {found.start, found.end} == {chosen.user, chosen.item} and found is not chosen.relationship
        kind = find_kind_of_feedback(found) or UNKNOWN
        is_gathered = bool(found.via) and all(_is_gathering(profile, name) for name in found.via)
        is_seen = find_kind_of_feedback(found) is not None or one.is_likely
        if is_same and (is_gathered or (is_seen and not is_knowledge(found))):
            others[found] = kind.weight if kind.weight < 0 else round(min(1.0, kind.weight / unit), 2)
    return others


def _is_gathering(profile: GraphProfile, name: str) -> bool:
    """Whether nodes gather what one user chose, as orders do, by their name or by what they are linked to.

    Whatever it is called, such a node has one user, several items, and no name or text of its own.
    """
    node = profile.nodes.get(name)
    if is_document_name(split_words(name if node is None else _label(node))):
        return True
    if node is None or _is_one(node, (*USERS, *PEOPLE)) or _is_one(node, ITEMS) or _is_one(node, ENTITIES):
        return False
    if _has_text(node):
        return False
    ends = [(profile.nodes[one.start], profile.nodes[one.end]) for one in profile.relationships if name in one.via]
    return any(
        is_user_label(user) and not _is_one(item, USERS) and not _is_one(item, ENTITIES)
        for pair in ends
        for user, item in (pair, pair[::-1])
    )


def _find_worth(one: Candidate) -> tuple[int, bool, int, int]:
    """What a kind says of taste; of two that say the same, grades first, since as other feedback they count alike."""
    found = one.relationship
    time = find_time(found)
    weight = find_weight(found, time[0] if time else None)
    is_graded = weight is not None and begins_with(split_words(weight), GRADES)
    return (find_kind_of_feedback(found) or UNKNOWN).strength, is_graded, one.score, found.count


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
    _judge_names(profile, evidence, found, reverse)
    if at := find_time(found):
        evidence.add(2, f"each has a time ({at[0]})", is_telling=True)
    if weight := find_weight(found, at[0] if at else None):
        reason = f"and a strength ({weight})" if at else f"each has a strength ({weight})"
        evidence.add(2 if is_weight_name(weight) else 1, reason, is_telling=True)
    _judge_degrees(evidence, found, users, items, reverse)
    _judge_path(profile, evidence, found)
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


def _judge_names(profile: GraphProfile, evidence: _Evidence, found: RelationshipProfile, reverse: bool) -> None:
    start, end = profile.nodes[found.start], profile.nodes[found.end]
    users, items = (end, start) if reverse else (start, end)
    words = [word for step in (found.type, *found.path) for word in split_words(step)]
    if begins_with(words, ACTED_ON):
        evidence.add(3, f"{found.type} is something that people do", is_telling=True)
        is_passive = len(words) > 1 and words[-1] in ("by", "von", "par", "por")
        evidence.add((3 if is_passive else -1) if reverse else (-3 if is_passive else 1))
    elif begins_with(words, LINKED_BY) or set(words) & SMALL_LINK_WORDS:
        evidence.add(-3)
    if is_against(found):
        evidence.add(-6)
    if _is_gathering(profile, users.name) or _is_gathering(profile, items.name):
        evidence.add(-10)
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


def _judge_path(profile: GraphProfile, evidence: _Evidence, found: RelationshipProfile) -> None:
    """Users reach items over orders, sessions and the like, and not over other items and what these are linked to."""
    if not found.path:
        return
    if found.via and all(_is_gathering(profile, name) for name in found.via):
        evidence.add(1, f"over {', '.join(found.via)}")
    elif any(begins_with(split_words(name)[-1:], (*USERS, *ITEMS, *ENTITIES)) for name in found.via):
        evidence.add(-4)
    else:
        evidence.add(-1)


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
    """Finds the label that most likely has the items, where no relationship is an interaction; None: all are users."""

    def worth(node: NodeProfile) -> tuple[int, int]:
        links = sum(node.name in (found.start, found.end) for found in profile.relationships)
        is_document = is_document_name(split_words(_label(node)))
        by_name = 3 * _is_one(node, ITEMS) - 3 * (_is_one(node, ENTITIES) or is_document)
        return by_name + 2 * _has_text(node) + min(links, 3), node.count

    fitting = [name for name, node in profile.nodes.items() if not _is_one(node, USERS)]
    return max(fitting, key=lambda name: worth(profile.nodes[name]), default=None)


def is_user_label(node: NodeProfile) -> bool:
    """Whether a label is a usual name for users."""
    return _is_one(node, USERS)


def _has_text(node: NodeProfile) -> bool:
    key = find_key(node)
    return bool(find_texts(node, key[0] if key else "", find_name(node, key[0] if key else "")))


def _is_one(node: NodeProfile, known: tuple[str, ...]) -> bool:
    # the last word counts: a MovieGenre is a genre
    words = [word for word in split_words(node.label or node.name) if word not in ("in", "innen")]  # Kunde:in
    return bool(words) and words[-1].startswith(known) and not (known == ITEMS and is_document_name(words))


def _label(node: NodeProfile) -> str:
    return node.label or node.name
