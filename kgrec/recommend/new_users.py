"""Adds new users to a bundle, with their likes and links, without training."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from kgrec.bundle import Bundle
from kgrec.errors import RequestError
from kgrec.model.component import round_text
from kgrec.recommend.argument_ids import check_new_id, check_text, to_ids
from kgrec.recommend.asked import check_attributes, keep_last
from kgrec.recommend.links import (
    add_edges,
    add_paths_to_values,
    find_item_ends,
    group_edges,
    read_attributes,
    read_links,
    resolve_links,
    warn_of_unknown,
)
from kgrec.recommend.sparse_entries import set_pairs
from kgrec.recommend.state import check_words
from kgrec.recommend.updates import place_likes_of, place_linked, set_likes


@dataclass(frozen=True)
class NewUser:
    """A user to add; see `Recommender.add_user`.

    Attributes:
        user: the user's id.
        likes: ids of items that the user likes, the latest last.
        links: pairs (edge type, id of the linked node), such as the user's groups or friends.
        attributes: attribute -> value; those that the schema marks as features are read.
        text: the content of the text fields that the schema names for users.
        name: the name to show to people.
    """

    user: str
    _: KW_ONLY
    likes: Iterable[str] = ()
    links: Iterable[tuple[str, str]] = ()
    attributes: Mapping[str, object] | None = None
    text: str | None = None
    name: str | None = None


def add_users(
    bundle: Bundle, users: Sequence[NewUser], texts: NDArray[np.float32], now: int
) -> tuple[Bundle, dict[str, tuple[str, ...]]]:
    """Adds users; see `Recommender.add_users`.

    Args:
        bundle: the current bundle.
        users: at least one, as `check_users` returns them.
        texts: (n_users, text_dim) float32 unit vectors of their texts, zeros for a user without one.
        now: UTC seconds: when each user's last like was.

    Returns:
        The new bundle, and user -> the liked and linked ids that are not in the catalogue; only users with such ids.

    Raises:
        RequestError: an id exists already, an edge type does not belong to users, or an attribute is none that the
            model reads.
    """
    user_type = bundle.schema.user_type
    taken = next((new.user for new in users if new.user in bundle.users), None)
    if taken is not None:
        raise RequestError(f"user {taken!r} exists already; expected a new id, or add interactions")
    row_of = {new.user: len(bundle.users) + place for place, new in enumerate(users)}
    unknown: dict[str, tuple[str, ...]] = {}
    lost: list[tuple[str, str, str]] = []
    rows, items, resolved = [], [], []
    for new in users:
        row, liked = row_of[new.user], bundle.items.rows(new.likes)
        missing = [id_ for id_, item in zip(new.likes, liked.tolist(), strict=True) if item < 0]
        liked = liked[liked >= 0]
        rows.append(np.full(len(liked), row))
        items.append(liked)
        values, no_values = read_attributes(bundle, user_type, new.attributes)
        found, not_found = resolve_links(bundle, user_type, row, [*new.links, *values], row_of)
        resolved += found
        lost += [(new.user, edge_type, far_id) for edge_type, far_id in new.links if far_id in not_found]
        missing += [*not_found, *no_values]
        if missing:
            unknown[new.user] = tuple(missing)
    of_user, of_item = np.concatenate(rows), np.concatenate(items)
    edges = add_paths_to_values(bundle, group_edges(resolved))
    n_users, positive = len(bundle.users) + len(users), np.ones(len(of_user), np.bool_)
    in_order = np.arange(len(of_user))
    liked, liked_at = set_likes(bundle, n_users, of_user, of_item, positive, None, in_order, now)
    grown = replace(
        bundle,
        ids={**bundle.ids, user_type: bundle.users.extended(list(row_of))},
        names={**bundle.names, user_type: [*bundle.names[user_type], *(new.name for new in users)]},
        edges=add_edges(bundle.edges, edges),
        user_text=torch.cat([bundle.user_text, round_text(torch.from_numpy(texts))]),
        liked=liked,
        liked_at=liked_at,
        seen=set_pairs(bundle.seen, n_users, of_user, of_item, positive),
    )
    warn_of_unknown(bundle, user_type, lost)
    placed = place_likes_of(grown, bundle, np.unique(of_user))
    return place_linked(placed, find_item_ends(bundle.schema, edges)), unknown


def check_users(users: Iterable[NewUser]) -> tuple[NewUser, ...]:
    """Checks new users as far as possible without a bundle, and drops repeated likes and links.

    Raises:
        RequestError: an element is not a `NewUser`, an id is given twice, or an id, a name or a link cannot be stored.
    """
    checked: dict[str, NewUser] = {}
    for place, new in enumerate(users):
        if not isinstance(new, NewUser):
            raise RequestError(f"expected users as a list of NewUser, got {type(new).__name__} at place {place + 1}")
        user = check_new_id(new.user, "a user's id")
        if user in checked:
            raise RequestError(f"user {user!r} is given twice; expected each user once")
        if new.name is not None:
            check_text(new.name, "a user's name")
        if new.text is not None:
            check_words(new.text)
        check_attributes(new.attributes)
        likes = keep_last(to_ids(new.likes, "likes"))
        checked[user] = replace(new, user=user, likes=likes, links=read_links(new.links))
    return tuple(checked.values())
