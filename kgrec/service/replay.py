"""Applies entries of the journal to a recommender: after a restart, to a new bundle, or from another process."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pyarrow as pa

from graph_schema import CatalogueSchema
from kgrec.bundle import Bundle
from kgrec.errors import RequestError
from kgrec.messages import Interaction, ItemPart, UserDescription
from kgrec.recommend import NewItem, NewUser, Recommender
from kgrec.recommend.sequence_argument import read_sequence
from kgrec.service.journal import Entry


def to_new_item(part: ItemPart) -> NewItem:
    """An item of a request as the recommender takes it."""
    return NewItem(
        part.item, text=part.text, links=part.links, attributes=part.attributes, vectors=part.vectors, name=part.name
    )


def to_new_user(part: UserDescription) -> NewUser:
    """A user of a request as the recommender takes it."""
    return NewUser(
        part.user, likes=part.likes, links=part.links, attributes=part.attributes, text=part.text, name=part.name
    )


def to_table(interactions: Sequence[Interaction], schema: CatalogueSchema) -> pa.Table:
    """Interactions as the recommender takes them.

    Raises:
        RequestError: a weight is missing where the schema needs one, or some have one and some have none.
    """
    chosen = schema.interaction
    columns: dict[str, Any] = {
        "user": [each.user for each in interactions],
        "item": [each.item for each in interactions],
    }
    weights = [each.weight for each in interactions]
    given = [weight is not None for weight in weights]
    if chosen.weight is not None and any(given):
        if not all(given):
            raise RequestError(
                f"interaction {given.index(False) + 1} of {len(given)} has no weight, others have one; expected a "
                f"weight, which is {chosen.weight!r}, for all of them or for none"
            )
        columns[chosen.weight] = weights
    elif chosen.positive is not None and chosen.repeat_rule != "count":
        raise RequestError(
            f"got interactions without a weight; a like is {chosen.describe_like()}: give {chosen.weight!r} as weight"
        )
    elif any(given):
        raise RequestError("got a weight; the interactions of this catalogue have none: leave it out")
    if chosen.at is not None:
        columns[chosen.at] = [each.at for each in interactions]  # UTC seconds: see `with_times`
    return pa.table(columns)


def with_times(interactions: Sequence[Interaction], now: int) -> list[Interaction]:
    """Interactions with their times as UTC seconds; one without a time is from now.

    Raises:
        RequestError: a time cannot be read, is before 1970 or in the future.
    """
    _, times = read_sequence([(each.item, each.at) for each in interactions])
    return [
        each.model_copy(update={"at": now if at is None else at}) for each, at in zip(interactions, times, strict=True)
    ]


def known_since(bundle: Bundle) -> int:
    """UTC seconds when the bundle's catalogue was read: what the journal has from before may be in it already."""
    return bundle.lineage.synced_at or bundle.trained_at


def apply_entries(
    recommender: Recommender, entries: Iterable[Entry], hash_user: Callable[[str], str], since: int
) -> list[str]:
    """Applies entries to a recommender, in place. What the bundle's catalogue knows better is left as it is.

    Args:
        recommender: gets the entries.
        entries: ascending by number.
        hash_user: makes the hash of a user's id, as in entries about forgotten users.
        since: UTC seconds when the bundle's catalogue was read.

    Returns:
        Sentences about entries that this bundle cannot take.
    """
    refused, by_kind = list[str](), dict[str, list[Entry]]()
    for entry in entries:
        by_kind.setdefault(entry.about, []).append(entry)
    hashes = {entry.subject for entry in by_kind.get("forgotten", ())}
    if hashes:
        forgotten = [id_ for id_ in recommender.bundle.users.ids if hash_user(id_) in hashes]
        if forgotten:
            recommender.forget(forgotten)
    items = recommender.bundle.items
    newer = [entry for entry in by_kind.get("removed", ()) if entry.at > since and entry.subject in items]
    _in_bulk(recommender.remove_items, [entry.subject for entry in newer], refused)
    items = recommender.bundle.items
    parts = [
        to_new_item(ItemPart.model_validate_json(entry.body))
        for entry in by_kind.get("item", ())
        if entry.at > since or entry.subject not in items
    ]
    _in_bulk(recommender.add_items, [part for part in parts if part.item not in items], refused)
    _in_bulk(recommender.change_items, [part for part in parts if part.item in items], refused)
    users = recommender.bundle.users
    described = [
        to_new_user(UserDescription.model_validate_json(entry.body))
        for entry in by_kind.get("user", ())
        if entry.subject not in users
    ]
    _in_bulk(recommender.add_users, described, refused)
    interactions = [
        Interaction.model_validate_json(entry.body)
        for entry in by_kind.get("interaction", ())
        if entry.at > since or not _has_seen(recommender.bundle, entry.subject, entry.item)
    ]
    schema = recommender.bundle.schema
    for group in _group_by_form(interactions):
        _in_bulk(lambda found: recommender.add_interactions(to_table(found, schema)), group, refused)
    return refused


def _has_seen(bundle: Bundle, user: str, item: str) -> bool:
    """Whether a bundle has an interaction of a user with an item."""
    row, column = bundle.users.row(user), bundle.items.row(item)
    if row is None or column is None:
        return False
    return bool((bundle.seen.indices[slice(*bundle.seen.indptr[row : row + 2])] == column).any())


def _group_by_form(interactions: Sequence[Interaction]) -> list[list[Interaction]]:
    """Interactions with weights and without, which are added apart."""
    groups = [[each for each in interactions if (each.weight is None) == bare] for bare in (True, False)]
    return [group for group in groups if group]


def _in_bulk(act: Callable[[list[Any]], object], found: list[Any], refused: list[str]) -> None:
    """Acts on all at once; where that is refused, on each alone, so that one does not keep out the others."""
    if not found:
        return
    try:
        act(found)
    except RequestError as error:
        if len(found) == 1:
            refused.append(str(error))
            return
        for each in found:
            _in_bulk(act, [each], refused)


def dump(part: Any) -> str:
    """A part of a request as an entry keeps it."""
    return json.dumps(part.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False)
