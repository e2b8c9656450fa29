"""Planted taste: items in three groups with words of their own; users choose within one group, with some noise."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from kgrec.bundle import Bundle

N_GROUPS = 3
START = 1_700_000_000  # UTC seconds of the first choice
DAY_S = 86_400


@dataclass(frozen=True)
class Group:
    """What the items of a group have in common.

    Attributes:
        genres: words for the kind of item; each item has one or two.
        adjectives, nouns: a title is one of each.
        makers: who makes the items; nobody makes items of two groups.
    """

    genres: tuple[str, ...]
    adjectives: tuple[str, ...]
    nouns: tuple[str, ...]
    makers: tuple[str, ...]


@dataclass(frozen=True)
class Theme:
    """Three groups of items, and a genre that most items have, whatever their group."""

    groups: tuple[Group, Group, Group]
    hub: str


@dataclass(frozen=True)
class Item:
    """An item; `place` counts from 0, and every third item is of the same group."""

    place: int
    title: str
    genres: tuple[str, ...]
    maker: str
    year: int

    @property
    def group(self) -> int:
        """Its group: 0, 1 or 2."""
        return self.place % N_GROUPS

    @property
    def about(self) -> str:
        """A sentence with the words of its group."""
        return f"{self.title} by {self.maker}: {' and '.join(self.genres).lower()}."


@dataclass(frozen=True)
class Choice:
    """A user's meeting with an item: `liked` is True within the user's group, else False, or None for "so so"."""

    user: int
    item: int
    liked: bool | None
    at: int


@dataclass(frozen=True)
class Taste:
    """Items, and what users made of them. User 0 is the one with few likes.

    Attributes:
        choices: by time; of a user and an item there is one.
    """

    items: tuple[Item, ...]
    n_users: int
    choices: tuple[Choice, ...]
    hub: str

    @property
    def makers(self) -> list[str]:
        """Who makes the items, by name."""
        return sorted({item.maker for item in self.items})

    @property
    def genres(self) -> list[str]:
        """The genres of the items, by name."""
        return sorted({genre for item in self.items for genre in item.genres})


def plant_taste(theme: Theme, *, n_items: int = 48, n_users: int = 66, seed: int = 1) -> Taste:
    """Plants the taste of users for the items of a theme."""
    rng = np.random.default_rng(seed)
    items = tuple(_make_item(theme, place, rng) for place in range(n_items))
    choices = []
    for user in range(n_users):
        mine = [item.place for item in items if item.group == user % N_GROUPS]
        others = [item.place for item in items if item.group != user % N_GROUPS]
        n_likes = 2 if user == 0 else int(rng.integers(6, 9))
        met: list[tuple[int, bool | None]] = [(int(place), True) for place in rng.choice(mine, n_likes, replace=False)]
        if user:
            disliked, unsure = rng.choice(others, 2, replace=False)
            met += [(int(disliked), False), *([(int(unsure), None)] if user % 2 else [])]
        choices += [Choice(user, place, liked, START + int(rng.integers(300 * DAY_S))) for place, liked in met]
    return Taste(items, n_users, tuple(sorted(choices, key=lambda choice: choice.at)), theme.hub)


def _make_item(theme: Theme, place: int, rng: np.random.Generator) -> Item:
    group, turn = theme.groups[place % N_GROUPS], place // N_GROUPS
    adjective, noun = list(product(group.adjectives, group.nouns))[turn]
    genres = [group.genres[turn % len(group.genres)]]
    if turn % 3 == 0:
        genres.append(group.genres[(turn + 1) % len(group.genres)])
    if rng.random() < 0.7:
        genres.append(theme.hub)
    return Item(
        place, f"{adjective} {noun}", tuple(genres), group.makers[turn % len(group.makers)], 1950 + (place * 7) % 60
    )


def _expect_nothing(bundle: "Bundle") -> Sequence[str]:
    return ()


@dataclass(frozen=True)
class Planted:
    """What is right about a layout, in the ids that its files or its graph have.

    Attributes:
        groups: item -> its group.
        titles: item -> what people should read of it; empty where the layout has no names.
        likes: (user, item) that are likes.
        not_likes: (user, item) that are none, such as low ratings.
        user: the user with few likes, whose group is 0.
        given: a few items of group 1, as the likes of somebody new.
        hubs: what no reason may name: values of most items, and the nodes between users and items.
        least_likes: the share of `likes` that the model has to know; less than all where the layout has counts, of
            which a draft may take the higher ones.
        linked: parts of the names of what the model has to know of items, such as "genre": relations, the node types at
            their ends, or attributes.
        times: (user, item) -> when, in UTC seconds; empty where the layout does not tell.
        expects: says what is wrong about a trained bundle beyond that.
    """

    groups: Mapping[str, int]
    titles: Mapping[str, str]
    likes: frozenset[tuple[str, str]]
    not_likes: frozenset[tuple[str, str]]
    user: str
    given: tuple[str, ...]
    hubs: tuple[str, ...] = ()
    least_likes: float = 0.95
    linked: tuple[str, ...] = ()
    times: Mapping[tuple[str, str], int] = field(default_factory=dict)
    expects: Callable[["Bundle"], Sequence[str]] = field(default=_expect_nothing)


def tell_planted(
    taste: Taste,
    name_user: Callable[[int], str],
    name_item: Callable[[int], str],
    *,
    titled: bool = True,
    disliking: bool = True,
    hubs: Sequence[str] = (),
    least_likes: float = 0.95,
    linked: Sequence[str] = (),
    timed: bool = False,
    expects: Callable[["Bundle"], Sequence[str]] = _expect_nothing,
) -> Planted:
    """Tells what is right about a layout of a taste.

    Args:
        taste: the items and the choices.
        name_user: from a user's place to the id in the layout.
        name_item: from an item's place to the id in the layout.
        titled: the layout has names of items.
        disliking: the layout tells what users did not like; else a choice is a choice.
        hubs: besides the hub of the taste.
        least_likes: as of `Planted`.
        linked: as of `Planted`.
        timed: the layout tells when choices were made.
        expects: as of `Planted`.
    """
    pairs = [(choice, (name_user(choice.user), name_item(choice.item))) for choice in taste.choices]
    return Planted(
        groups={name_item(item.place): item.group for item in taste.items},
        titles={name_item(item.place): item.title for item in taste.items} if titled else {},
        likes=frozenset(pair for choice, pair in pairs if choice.liked),
        not_likes=frozenset(pair for choice, pair in pairs if choice.liked is False) if disliking else frozenset(),
        user=name_user(0),
        given=tuple(name_item(item.place) for item in taste.items if item.group == 1)[:3],
        hubs=(taste.hub, *hubs),
        least_likes=least_likes,
        linked=tuple(linked),
        times={pair: choice.at for choice, pair in pairs} if timed else {},
        expects=expects,
    )


def grade(choice: Choice, liked: Sequence[float], unsure: float, disliked: Sequence[float]) -> float:
    """The rating of a choice, one of several for what was liked and for what was not."""
    if choice.liked is None:
        return unsure
    grades = liked if choice.liked else disliked
    return grades[(choice.user + choice.item) % len(grades)]


def count_from_one(place: int) -> str:
    """Ids 1, 2, 3 and so on."""
    return str(place + 1)


def write_time(at: int, form: str) -> str:
    """A time in UTC seconds as text; "%-m" and the like are not used, since Windows lacks them."""
    return datetime.fromtimestamp(at, UTC).strftime(form)


def write_american_time(at: int, *, seconds: bool = False) -> str:
    """As "12/1/2010 8:26", or with `seconds` as "12/1/2010 8:26:59 AM"."""
    day = datetime.fromtimestamp(at, UTC)
    date = f"{day.month}/{day.day}/{day.year}"
    return f"{date} {day.hour % 12 or 12}:{day:%M:%S %p}" if seconds else f"{date} {day.hour}:{day:%M}"
