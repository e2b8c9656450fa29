"""Drafts the interaction of a schema: its weight, its time and what counts as a like, with the reasons."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from graph_schema.drafts.interaction_candidates import LIKELY_SCORE, SURE_SCORE, Candidate
from graph_schema.drafts.like_rule import LikeRule, find_like_rule
from graph_schema.drafts.name_words import ACTED_ON, begins_with, is_weight_name, split_words
from graph_schema.drafts.profile import Guess, PropertyProfile, RelationshipProfile, Sureness
from graph_schema.drafts.roles import LEAST_COVERAGE, Unit, find_kind, find_time, find_type, find_weight
from graph_schema.drafts.usable_parts import describe_relationship
from graph_schema.schema_toml import TomlPath
from graph_schema.schema_types import AttributeType, EdgeType, Interaction

_WRITTEN: Mapping[Unit, str] = {
    "time": "dates and times",
    "text": "text",
    "seconds": "epoch seconds",
    "milliseconds": "epoch milliseconds",
}
_TRUE = ("true", "yes", "t", "y")


@dataclass(frozen=True)
class DraftedInteraction:
    """An interaction, the guesses in it, the most important first, and comments for the TOML file."""

    interaction: Interaction
    guesses: tuple[Guess, ...]
    comments: dict[TomlPath, str]


def draft_interaction(
    chosen: Candidate,
    edge: str,
    attributes: Mapping[str, AttributeType],
    other_feedback: Mapping[str, float],
    *,
    has_rivals: bool,
    is_tables: bool,
) -> DraftedInteraction:
    """Drafts the interaction.

    Args:
        chosen: the relationship that is the interaction.
        edge: its edge type.
        attributes: the edge type's attributes and their types.
        other_feedback: other edge types from the same users to the same items, and their weights.
        has_rivals: whether other relationships may be the interaction too.
        is_tables: whether the data are tables.
    """
    found = chosen.relationship
    sure: Sureness = "likely" if chosen.score >= LIKELY_SCORE else "a guess"
    if chosen.score >= SURE_SCORE and not has_rivals:
        sure = "sure"
    guesses = [Guess("interaction", describe_relationship(found), sure, "; ".join(chosen.reasons))]
    comments: dict[TomlPath, str] = {("interaction", "edge"): sure}
    if chosen.reverse and not is_tables and not found.path:
        guesses.append(Guess("direction", "reverse = true", sure, f"it points from {chosen.item} to {chosen.user}"))
    guesses.append(Guess("user, item", f"{chosen.user}, {chosen.item}", sure, "who chooses, and what is chosen"))
    time = find_time(found)
    at = time[0] if time and attributes.get(time[0]) == "time" else None
    weight = find_weight(found, at)
    if weight is not None and attributes.get(weight) not in ("int", "float"):
        weight = None
    rule = None if weight is None else find_like_rule(found.properties[weight])
    if weight is not None and rule is not None:
        if rule.share == 0:
            guesses.append(Guess("weight", "none", "a guess", f"no {weight} is a like: {rule.why}"))
            weight = rule = None
        else:
            more, remarks = _describe_rule(weight, rule, edge)
            guesses += more
            comments |= remarks
    if at is not None and time is not None:
        written = found.properties[at].time_format or _WRITTEN[time[1]]
        sure_time: Sureness = "sure" if time[1] in ("time", "text") else "likely"
        guesses.append(Guess("time", at, sure_time, f"{written}; evaluation splits by it"))
        comments["interaction", "at"] = f"{sure_time}: {written}"
    if other_feedback:
        listed = ", ".join(f"{name} {share:g}" for name, share in other_feedback.items())
        guesses.append(Guess("other feedback", listed, "a guess", "the same users on the same items; no knowledge"))
        comments["interaction", "other_feedback"] = "a guess: what one of each says beside one of the interaction"
    guesses += _find_partial(found, {weight, at})
    interaction = Interaction(
        edge=edge,
        weight=weight,
        at=at,
        positive=rule.positive if rule else None,
        repeats=rule.repeats if rule and (rule.positive is None or rule.repeats != "latest") else None,
        other_feedback=dict(other_feedback),
    )
    return DraftedInteraction(interaction, tuple(guesses), comments)


def keep_true_rows(found: RelationshipProfile, drafted: EdgeType) -> tuple[EdgeType, Guess | None]:
    """Limits the interactions of a table to the rows where a column such as "clicked" is true.

    Args:
        found: the table of interactions, without a weight.
        drafted: its edge type.
    """
    for one in found.properties.values():
        text = next((value for value in one.samples if value.strip().lower() in _TRUE), None)
        if find_kind(one) == "bool" and text is not None and begins_with(split_words(one.name), ACTED_ON):
            attributes = {name: kind for name, kind in drafted.attributes.items() if name != one.name}
            kept = drafted.model_copy(update={"where": {**drafted.where, one.name: text}, "attributes": attributes})
            return kept, Guess("a like", f"where {one.name} is {text}", "likely", "the other rows are no interactions")
    return drafted, None


def _describe_rule(weight: str, rule: LikeRule, edge: str) -> tuple[list[Guess], dict[TomlPath, str]]:
    named: Sureness = "likely" if is_weight_name(weight) else "a guess"
    like = f"{weight} > 0" if rule.positive is None else f"{weight} >= {rule.positive:g}"
    share = "" if rule.share == 1 else rule.describe_share(edge)
    why = "; ".join(part for part in (rule.why, share) if part)
    guesses = [Guess("weight", weight, named, "a number on every interaction"), Guess("a like", like, "a guess", why)]
    comments: dict[TomlPath, str] = {("interaction", "weight"): named}
    if rule.positive is not None:
        comments["interaction", "positive"] = "; ".join(part for part in (share, f"a guess: {rule.why}") if part)
    elif share and rule.share != 1:
        comments["interaction", "weight"] = f"{named}; {share}: more than 0"
    if rule.repeats != "latest":
        comments["interaction", "repeats"] = "of several interactions of one user with one item"
    return guesses, comments


def _find_partial(found: RelationshipProfile, used: Collection[str | None]) -> list[Guess]:
    """Guesses about properties that only some of the interactions have, and about flags."""
    guesses = []
    for one in found.properties.values():
        if one.name in used and one.coverage < 1:
            why = f"{1 - one.coverage:.1%} lack it: those interactions are rejected"
            guesses.append(Guess(one.name, "kept", "likely", why))
        elif one.name not in used and one.coverage < LEAST_COVERAGE and find_type(one) in ("time", "int", "float"):
            why = f"only {one.coverage:.0%} have it; as the weight or time it would cost the others"
            guesses.append(Guess(one.name, "an attribute only", "likely", why))
        elif not any(used) and _is_flag(one):
            why = "true or false: if what is false is no like, keep it as the numbers 0 and 1"
            guesses.append(Guess(one.name, "an attribute only", "a guess", why))
    return guesses


def _is_flag(one: PropertyProfile) -> bool:
    return find_kind(one) == "bool" and begins_with(split_words(one.name), ACTED_ON)
