"""Likes as a matrix, and how they are held out: cold users, cold items, the latest (or random) likes of the rest."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch_geometric.data import HeteroData

from graph_schema import CatalogueSchema
from kgrec.config import SplitConfig
from kgrec.errors import CatalogueError
from kgrec.slices import Slice


@dataclass(frozen=True)
class Likes:
    """The interactions that count as positive, by row.

    Attributes:
        users: (n,) int64 user rows.
        items: (n,) int64 item rows.
        times: (n,) int64 UTC seconds; None where interactions have no time.
        shape: (n_users, n_items).
        met: (n_items,) bool: items that anybody interacted with, liked or not; None: those that are liked. The others
            are cold: what nobody has met is not known to be disliked.
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    times: NDArray[np.int64] | None
    shape: tuple[int, int]
    met: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        """The number of likes."""
        return len(self.users)

    def select(self, kept: NDArray[np.bool_]) -> "Likes":
        """The likes where `kept`, (n,) bool, says so."""
        times = None if self.times is None else self.times[kept]
        return replace(self, users=self.users[kept], items=self.items[kept], times=times)

    @property
    def cold_items(self) -> NDArray[np.bool_]:
        """(n_items,) bool: items that nobody has met."""
        if self.met is not None:
            return ~self.met
        unliked: NDArray[np.bool_] = np.bincount(self.items, minlength=self.shape[1]) == 0
        return unliked

    def to_matrix(self) -> csr_array:
        """(n_users, n_items) float32, 1 where a user likes an item, indices sorted."""
        matrix = csr_array((np.ones(len(self), np.float32), (self.users, self.items)), shape=self.shape)
        matrix.sum_duplicates()
        matrix.data[:] = 1
        return matrix


def read_likes(data: HeteroData, schema: CatalogueSchema) -> Likes:
    """Reads the likes out of a heterograph.

    Raises:
        CatalogueError: there are none.
    """
    store = data[schema.edge_triple(schema.interaction.edge)]
    users, items = store.edge_index.numpy()
    times = store.time.numpy() if "time" in store else None
    shape = (data[schema.user_type].num_nodes, data[schema.item_type].num_nodes)
    likes = Likes(users, items, times, shape, np.bincount(items, minlength=shape[1]) > 0)
    if schema.interaction.positive is not None:
        likes = likes.select(store.weight.numpy() >= schema.interaction.positive)
    if not len(likes):
        raise CatalogueError(
            f"no likes: none of {len(users)} {schema.interaction.edge!r} interactions is positive "
            f"(expected {schema.interaction.weight} >= {schema.interaction.positive}); check `positive` in the schema"
        )
    return likes


@dataclass(frozen=True)
class Split:
    """Likes to learn from, and the questions about the rest.

    Attributes:
        train: the likes that may be seen.
        slices: the questions, by name: "warm", "cold_items", "cold_items_all", "cold_users_k<n>",
            and "cold_users_cold_items_k<n>"; only those that anybody can be asked.
        cold_items: (n_items,) bool: held out whole.
        cold_users: (n_users,) bool: held out whole.
        by_time: whether the warm likes held out are the latest.
    """

    train: Likes
    slices: dict[str, Slice]
    cold_items: NDArray[np.bool_]
    cold_users: NDArray[np.bool_]
    by_time: bool


def split_likes(likes: Likes, config: SplitConfig, rng: np.random.Generator) -> Split:
    """Holds out whole users, whole items, and a share of the other likes.

    The warm likes held out are those after one point in time where likes have times, random ones otherwise. A cold
    user shows the first likes (by time, else random ones) and is asked for the rest.

    Args:
        likes: all likes.
        config: the shares and the support sizes.
        rng: draws the users, the items and, without times, the likes.
    """
    n_users, n_items = likes.shape
    cold_users = _draw(np.unique(likes.users), n_users, config.cold_users, rng)
    cold_items = _draw(np.unique(likes.items), n_items, config.cold_items, rng)
    of_cold_user, of_cold_item = cold_users[likes.users], cold_items[likes.items]
    warm = ~of_cold_user & ~of_cold_item
    later = _later(likes, warm, config.warm, rng)
    train = replace(likes.select(warm & ~later), met=~likes.cold_items & ~cold_items)
    seen = train.to_matrix()
    trained = np.bincount(train.items, minlength=n_items) > 0  # (n_items,)
    known = np.diff(seen.indptr) > 0  # (n_users,)

    held_warm = likes.select(warm & later & known[likes.users] & trained[likes.items]).to_matrix()
    held_cold = likes.select(~of_cold_user & of_cold_item & known[likes.users]).to_matrix()
    # Beside warm likes only the same part of the cold ones is asked for, or cold items would count too much.
    later_cold = likes.select(~of_cold_user & of_cold_item & later & known[likes.users]).to_matrix()
    slices = [
        Slice("warm", "Warm users, warm items", seen, held_warm, trained),
        Slice("cold_items", "Cold items, among cold items", seen, held_cold, cold_items),
        Slice("cold_items_all", "Cold items, among all items", seen, held_cold, trained | cold_items),
        Slice("overall", "Warm and cold items together", seen, held_warm + later_cold, trained | cold_items),
    ]
    order = rng.permutation(len(likes)) if likes.times is None else np.lexsort((likes.items, likes.times))
    place = np.empty(len(likes), np.int64)
    place[order] = np.arange(len(likes))
    shown = likes.select(of_cold_user & trained[likes.items])
    asked = likes.select(of_cold_user & of_cold_item).to_matrix()
    rank = _rank_by_user(shown.users, place[of_cold_user & trained[likes.items]])
    n_shown = np.bincount(shown.users, minlength=n_users)[shown.users]
    # In a catalogue of short histories whoever has a like left to ask for is asked.
    least = config.least_likes if (n_shown >= config.least_likes).any() else 0
    for size in config.support_sizes:
        enough = n_shown >= max(least, size + 1)
        support = shown.select(enough & (rank < size)).to_matrix()
        rest = shown.select(enough & (rank >= size)).to_matrix()
        title = f"Cold users, {size} like{'' if size == 1 else 's'}"
        slices.append(Slice(f"cold_users_k{size}", title, support, rest, trained))
        slices.append(
            Slice(f"cold_users_cold_items_k{size}", f"{title}, cold items", support, _rows_of(asked, rest), cold_items)
        )
    by_name = {slice_.name: slice_ for slice_ in slices if slice_.relevant.nnz}
    return Split(train, by_name, cold_items, cold_users, likes.times is not None)


def _draw(rows: NDArray[np.int64], size: int, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A mask with a share of `rows` marked."""
    mask = np.zeros(size, np.bool_)
    mask[rng.choice(rows, int(len(rows) * share), replace=False)] = True
    return mask


def _later(likes: Likes, warm: NDArray[np.bool_], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    if likes.times is None or not warm.any():
        later: NDArray[np.bool_] = rng.random(len(likes)) < share
        return later
    return likes.times > np.quantile(likes.times[warm], 1 - share, method="higher")


def _rank_by_user(users: NDArray[np.int64], place: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rank of each like among its user's, by ascending place."""
    order = np.lexsort((place, users))
    starts = np.searchsorted(users[order], users[order])  # where each one's user begins
    rank = np.empty(len(users), np.int64)
    rank[order] = np.arange(len(users)) - starts
    return rank


def _rows_of(matrix: csr_array, like: csr_array) -> csr_array:
    """`matrix` with the rows alone that have entries in `like`."""
    pairs = matrix.tocoo()
    kept = (np.diff(like.indptr) > 0)[pairs.row]
    return csr_array((pairs.data[kept], (pairs.row[kept], pairs.col[kept])), shape=matrix.shape)
