"""Drafts the interaction of a schema: its weight, its time and what counts as a like, with the reasons."""

from collections.abc import Collection, Mapping

from graph_schema.interaction_candidates import LIKELY_SCORE, SURE_SCORE, Candidate
from graph_schema.name_words import is_weight_name
from graph_schema.profile import Guess, RelationshipProfile, Sureness
from graph_schema.roles import LEAST_COVERAGE, Unit, find_positive, find_time, find_type, find_weight
from graph_schema.schema_toml import TomlPath
from graph_schema.schema_types import AttributeType, Interaction
from graph_schema.usable_parts import describe_relationship

_WRITTEN: Mapping[Unit, str] = {
    "time": "of the database's own type",
    "text": "ISO 8601",
    "seconds": "epoch seconds",
    "milliseconds": "epoch milliseconds",
}


def draft_interaction(
    chosen: Candidate, edge: str, attributes: Mapping[str, AttributeType], *, has_rivals: bool, is_tables: bool
) -> tuple[Interaction, list[Guess], dict[TomlPath, str]]:
    """Drafts the interaction.

    Args:
        chosen: the relationship that is the interaction.
        edge: its edge type.
        attributes: the edge type's attributes and their types.
        has_rivals: whether other relationships may be the interaction too.
        is_tables: whether the data are tables.

    Returns:
        The interaction, the guesses in it, the most important first, and comments for the TOML file.
    """
    found = chosen.relationship
    sure: Sureness = "likely" if chosen.score >= LIKELY_SCORE else "a guess"
    if chosen.score >= SURE_SCORE and not has_rivals:
        sure = "sure"
    guesses = [Guess("interaction", describe_relationship(found), sure, "; ".join(chosen.reasons))]
    comments: dict[TomlPath, str] = {("interaction", "edge"): sure}
    if chosen.reverse and not is_tables:
        guesses.append(Guess("direction", "reverse = true", sure, f"it points from {chosen.item} to {chosen.user}"))
    guesses.append(Guess("user, item", f"{chosen.user}, {chosen.item}", sure, "who chooses, and what is chosen"))
    time = find_time(found)
    at = time[0] if time and attributes.get(time[0]) == "time" else None
    weight = find_weight(found, at)
    if weight is not None and attributes.get(weight) not in ("int", "float"):
        weight = None
    positive = None
    if weight is not None:
        positive, reason = find_positive(found.properties[weight])
        named: Sureness = "likely" if is_weight_name(weight) else "a guess"
        guesses.append(Guess("weight", weight, named, "a number on every interaction"))
        comments["interaction", "weight"] = named
        like = "every one" if positive is None else f"{weight} >= {positive:g}"
        guesses.append(Guess("a like", like, "a guess", reason))
        if positive is not None:
            comments["interaction", "positive"] = f"a guess: {reason}"
    if at is not None and time is not None:
        sure_time: Sureness = "sure" if time[1] in ("time", "text") else "likely"
        guesses.append(Guess("time", at, sure_time, f"{_WRITTEN[time[1]]}; evaluation splits by it"))
        comments["interaction", "at"] = f"{sure_time}: {_WRITTEN[time[1]]}"
    guesses += _find_partial(found, {weight, at})
    return Interaction(edge=edge, weight=weight, at=at, positive=positive), guesses, comments


def _find_partial(found: RelationshipProfile, used: Collection[str | None]) -> list[Guess]:
    """Guesses about properties that only some of the interactions have."""
    guesses = []
    for one in found.properties.values():
        if one.name in used and one.coverage < 1:
            why = f"{1 - one.coverage:.1%} lack it: those interactions are rejected"
            guesses.append(Guess(one.name, "kept", "likely", why))
        elif one.name not in used and one.coverage < LEAST_COVERAGE and find_type(one) in ("time", "int", "float"):
            why = f"only {one.coverage:.0%} have it; as the weight or time it would cost the others"
            guesses.append(Guess(one.name, "an attribute only", "likely", why))
    return guesses
