"""Catalogues whose users' tastes can be read from one kind of knowledge only, and what the planted rule reaches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from checkerboard import to_csr
from numpy.typing import NDArray
from scipy.sparse import csr_array

from graph_schema import CatalogueSchema, GraphTables
from kgrec import metrics
from kgrec.questions.slices import Slice

Knowledge = Literal["friends", "group", "age", "text"]
N_TASTES, N_USERS, N_ITEMS = 6, 480, 168
GROUPS_OF_TASTE = 3
YOUNGEST, BAND = 18, 10  # a taste is a band of ten years of age
WORDS_OF_TASTE = 10
COMMON_WORDS = ("i", "like", "and", "the", "very", "much")
_K = 20
_ON_TASTE = 0.95  # the share of likes that are of the user's taste

_SCHEMA = """
name = "planted users"
[nodes.item]
label = "Item"
key = "item_id"
[nodes.user]
label = "User"
key = "user_id"
{user}
[edges.likes]
source = "user"
type = "LIKES"
target = "item"
{links}
[interaction]
edge = "likes"
"""
_USER = {"age": "attributes = { age = { type = 'int', feature = true } }", "text": "text = ['about']"}
_LINKS = {
    "friends": '[edges.friend_of]\nsource = "user"\ntype = "FRIEND_OF"\ntarget = "user"',
    "group": '[nodes.group]\nlabel = "Group"\nkey = "group_id"\n'
    '[edges.member_of]\nsource = "user"\ntype = "MEMBER_OF"\ntarget = "group"',
}


@dataclass(frozen=True)
class PlantedUsers:
    """A catalogue, and users whose likes it lacks; rows are the places in its tables, which are sorted by id.

    Attributes:
        tables: the catalogue; of the new users it has everything but their likes.
        likes: (n_users, n_items) float32, all likes.
        new: (n_users,) bool.
        rule: (n_users, n_items) float64, the scores of the planted rule: the popularity of the items of the user's
            taste among the other users of this taste, 0 for other items.
    """

    tables: GraphTables
    likes: csr_array
    new: NDArray[np.bool_]
    rule: NDArray[np.float64]

    @property
    def popularity(self) -> NDArray[np.int64]:
        """(n_items,): the likes of each item in the catalogue."""
        return np.bincount(self.likes[~self.new].indices, minlength=N_ITEMS)

    def ask(self, n_shown: int) -> Slice:
        """The new users with their first n likes known, in an order drawn once, and the other likes to find."""
        order = np.random.default_rng(0).random(self.likes.shape)
        place = np.where(self.likes.toarray() > 0, order, np.inf).argsort(axis=1).argsort(axis=1)
        liked = (self.likes.toarray() > 0) & self.new[:, None]
        shown = liked & (place < n_shown)
        return Slice(f"cold_users_k{n_shown}", f"New users, {n_shown} likes", to_csr(shown), to_csr(liked & ~shown))

    def rule_recall(self, n_shown: int) -> float:
        """The mean Recall@20 of the planted rule on `ask(n_shown)`."""
        return self._recall(self.rule, n_shown)

    def popularity_recall(self, n_shown: int) -> float:
        """The mean Recall@20 of the popularity of items on `ask(n_shown)`."""
        return self._recall(np.tile(self.popularity.astype(np.float64), (N_USERS, 1)), n_shown)

    def _recall(self, scores: NDArray[np.float64], n_shown: int) -> float:
        asked = self.ask(n_shown)
        scores = np.where(asked.support.toarray() > 0, -np.inf, scores)[self.new]
        relevant = asked.relevant[self.new]
        hits = metrics.find_hits(metrics.top_k(scores, _K), relevant)
        return float(metrics.recall(hits, np.diff(relevant.indptr))[:, -1].mean())


def plant_users(knowledge: Knowledge | None, *, noise: bool = False, seed: int = 0) -> PlantedUsers:
    """Draws users of six tastes with 8 to 12 likes each, and one kind of knowledge that tells the taste of a user.

    Items have no texts and no links; each is of one taste, and some are more popular than others. A fifth of the users
    are new: the catalogue lacks their likes.

    Args:
        knowledge: "friends": users have about eight friends of their taste and one of any. "group": each user is in one
            group, and each taste has three groups. "age": a taste is a band of ten years. "text": users write ten
            words, eight of them words of their taste. None: nothing is known of users but their likes, which are those
            of the same seed with any knowledge.
        noise: permutes the knowledge between users, so that it tells nothing and keeps its shape.
        seed: of all draws.
    """
    rng = np.random.default_rng([seed, 1])
    taste_of_item = rng.permutation(np.arange(N_ITEMS) % N_TASTES)
    taste = rng.permutation(np.arange(N_USERS) % N_TASTES)
    appeal = (1 + rng.permutation(N_ITEMS) // N_TASTES) ** -0.7  # some items are more popular than others
    likes = np.zeros((N_USERS, N_ITEMS), np.bool_)
    for user in range(N_USERS):
        odds = appeal * np.where(taste_of_item == taste[user], 1.0, 0.0)
        others = appeal * np.where(taste_of_item == taste[user], 0.0, 1.0)
        odds = _ON_TASTE * odds / odds.sum() + (1 - _ON_TASTE) * others / others.sum()
        likes[user, rng.choice(N_ITEMS, rng.integers(8, 13), replace=False, p=odds)] = True
    new = np.zeros(N_USERS, np.bool_)
    new[rng.choice(N_USERS, N_USERS // 5, replace=False)] = True
    counts = np.stack([likes[(taste == one) & ~new].sum(axis=0) for one in range(N_TASTES)])  # (n_tastes, n_items)
    rule = np.where(taste_of_item == taste[:, None], counts[taste], 0).astype(np.float64)
    told = rng.permutation(taste) if noise else taste
    return PlantedUsers(_to_tables(knowledge, told, likes & ~new[:, None], rng), to_csr(likes), new, rule)


def _to_tables(
    knowledge: Knowledge | None, told: NDArray[np.int64], likes: NDArray[np.bool_], rng: np.random.Generator
) -> GraphTables:
    named = knowledge or ""
    schema = CatalogueSchema.parse(_SCHEMA.format(user=_USER.get(named, ""), links=_LINKS.get(named, "")))
    items, users = (np.array([f"{kind}{row:03}" for row in range(n)]) for kind, n in (("i", N_ITEMS), ("u", N_USERS)))
    liking, liked = np.nonzero(likes)
    about: list[Sequence[object]] = []  # the columns of users besides their ids
    nodes: dict[str, list[Sequence[object]]] = {"item": [items]}
    edges: dict[str, list[Sequence[object]]] = {"likes": [users[liking], items[liked]]}
    if knowledge == "friends":
        drawn = rng.random((N_USERS, N_USERS)) < np.where(
            told[:, None] == told, 4 / (N_USERS / N_TASTES), 0.5 / N_USERS
        )
        np.fill_diagonal(drawn, False)
        edges["friend_of"] = [users[side] for side in np.nonzero(drawn | drawn.T)]
    elif knowledge == "group":
        groups = np.array([f"g{row:02}" for row in rng.permutation(N_TASTES * GROUPS_OF_TASTE)])
        nodes["group"] = [np.sort(groups)]
        edges["member_of"] = [users, groups[told * GROUPS_OF_TASTE + rng.integers(0, GROUPS_OF_TASTE, N_USERS)]]
    elif knowledge == "age":
        about = [YOUNGEST + BAND * told + rng.integers(0, BAND, N_USERS)]
    elif knowledge == "text":
        about = [[_write(one, rng) for one in told]]

    def to_table(declared: pa.Schema, columns: list[Sequence[object]]) -> pa.Table:
        return pa.table(
            [pa.array(column, field.type) for column, field in zip(columns, declared, strict=True)], declared
        )

    nodes["user"] = [users, *about]
    return GraphTables(
        schema,
        {name: to_table(declared.arrow_schema, nodes[name]) for name, declared in schema.nodes.items()},
        {name: to_table(declared.arrow_schema, edges[name]) for name, declared in schema.edges.items()},
    )


def _write(taste: int, rng: np.random.Generator) -> str:
    """Eight words of a taste and two that everybody uses."""
    own = [f"word{taste}{place}" for place in rng.choice(WORDS_OF_TASTE, 8, replace=False)]
    return " ".join(rng.permutation([*own, *rng.choice(COMMON_WORDS, 2, replace=False)]))
