"""Splits of likes: held-out users, held-out items, and the latest (or random) likes of the rest."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch_geometric.data import HeteroData

from graph_schema import CatalogueSchema
from kgrec.config import SplitConfig
from kgrec.errors import CatalogueError
from kgrec.questions.slices import SkippedSlice, Slice
from kgrec.sequences import Order, find_order, match_times

_AFTER = 0.9  # share of the likes before the date of the slice "warm_date"
_SESSION_GAP_S = 12 * 3600  # a longer gap between two likes ends a session


@dataclass(frozen=True)
class Likes:
    """The interactions that count as likes, by row.

    Attributes:
        users: (n,) int64 user rows.
        items: (n,) int64 item rows.
        times: (n,) int64 UTC seconds; None where interactions have no time.
        shape: (n_users, n_items).
        disliked: (n_users, n_items) of 1s: items that a user met without liking them, never recommended to that user;
            None: no such item.
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    times: NDArray[np.int64] | None
    shape: tuple[int, int]
    disliked: csr_array | None = None

    def __len__(self) -> int:
        """The number of likes."""
        return len(self.users)

    def select(self, kept: NDArray[np.bool_]) -> "Likes":
        """The likes where `kept`, (n,) bool, is true."""
        times = None if self.times is None else self.times[kept]
        return replace(self, users=self.users[kept], items=self.items[kept], times=times)

    @property
    def counts(self) -> NDArray[np.int64]:
        """(n_items,) int64: how many users like each item."""
        return np.bincount(self.items, minlength=self.shape[1]).astype(np.int64)

    @property
    def n_disliked(self) -> NDArray[np.int64]:
        """(n_items,) int64: how many users met each item without liking it."""
        if self.disliked is None:
            return np.zeros(self.shape[1], np.int64)
        return np.bincount(self.disliked.indices, minlength=self.shape[1]).astype(np.int64)

    def to_matrix(self) -> csr_array:
        """(n_users, n_items) float32, 1 where a user likes an item, indices sorted."""
        matrix = csr_array((np.ones(len(self), np.float32), (self.users, self.items)), shape=self.shape)
        matrix.data[:] = 1
        return matrix

    def to_order(self) -> Order | None:
        """The order of the likes in `to_matrix`; None where they have no times."""
        if self.times is None:
            return None
        matrix = self.to_matrix()
        return find_order(matrix, match_times(matrix, self.users, self.items, self.times).data)


def read_likes(data: HeteroData, schema: CatalogueSchema) -> Likes:
    """Reads the likes out of a heterograph.

    Raises:
        CatalogueError: there are none.
    """
    store = data[schema.edge_triple(schema.interaction.edge)]
    users, items = store.edge_index.numpy()
    times = store.time.numpy() if "time" in store else None
    shape = (data[schema.user_type].num_nodes, data[schema.item_type].num_nodes)
    likes = Likes(users, items, times, shape)
    if schema.interaction.weight is not None:
        liked = schema.interaction.is_like(store.weight.numpy())
        others = replace(likes.select(~liked), times=None).to_matrix()
        likes = likes.select(liked)
        likes = replace(likes, disliked=subtract(others, likes.to_matrix()))
    if not len(likes):
        raise CatalogueError(
            f"no likes: none of {len(users)} {schema.interaction.edge!r} interactions is positive (expected "
            f"{schema.interaction.describe_like()}); check `positive` in the schema"
        )
    return likes


def subtract(matrix: csr_array, other: csr_array) -> csr_array:
    """The entries of a matrix of 1s that another of the same shape does not have."""
    left = csr_array(matrix - matrix.multiply(other))
    left.eliminate_zeros()
    return left


@dataclass(frozen=True)
class Split:
    """Training likes, and slices of the held-out likes.

    Attributes:
        train: the training likes.
        slices: the slices with users, by name: "warm" (its parts "warm_latest" and "warm_random", and "warm_date", the
            likes after one date), "next" (each user's last like, from all before it), "next_session", "cold_items",
            "cold_items_all", "overall", "cold_users_k<n>", and "cold_users_cold_items_k<n>".
        cold_items: (n_items,) bool: held out whole.
        cold_users: (n_users,) bool: held out whole.
        by_time: whether likes have times; then half of the held-out warm likes are the latest of each user.
        skipped_slices: the slices without users, and why.
    """

    train: Likes
    slices: dict[str, Slice]
    cold_items: NDArray[np.bool_]
    cold_users: NDArray[np.bool_]
    by_time: bool
    skipped_slices: tuple[SkippedSlice, ...] = ()


def split_likes(likes: Likes, config: SplitConfig, rng: np.random.Generator) -> Split:
    """Holds out whole users, whole items, and a share of each other user's likes.

    With times, half of the held-out warm likes are the latest of each user and the others are random; without times
    all are random. Ties in time are broken at random. The support of a cold user is the first likes (by time, then
    row; without times random ones); the other likes are relevant.

    Args:
        likes: all likes.
        config: the shares and the support sizes.
        rng: for the random draws.
    """
    n_users, n_items = likes.shape
    cold_users = _draw(np.unique(likes.users), n_users, config.cold_users, rng)
    cold_items = _draw(np.unique(likes.items), n_items, config.cold_items, rng)
    of_cold_user, of_cold_item = cold_users[likes.users], cold_items[likes.items]
    latest, random, after, last = _hold_out(likes, ~of_cold_user, config.warm, rng)
    later = latest | random
    disliked = likes.disliked
    if disliked is not None:
        disliked = csr_array(disliked.multiply(~cold_items))
        disliked.eliminate_zeros()
    train = replace(likes.select(~of_cold_user & ~of_cold_item & ~later), disliked=disliked)
    seen = train.to_matrix()
    trained = train.counts > 0  # (n_items,)
    known = np.diff(seen.indptr) > 0  # (n_users,)

    askable = ~of_cold_user & known[likes.users]
    warm = askable & ~of_cold_item & trained[likes.items]
    held_warm = likes.select(warm & later).to_matrix()
    held_cold = likes.select(askable & of_cold_item).to_matrix()
    # "overall" holds the same share of cold likes as of warm ones, or cold items would count too much.
    held = likes.select(askable & later).to_matrix()
    no_warm = (
        "no held-out like has a user and an item with training likes"
        if config.warm
        else "`warm` is 0: no likes of known users are held out"
    )
    no_cold_items = _why_none("items", config.cold_items, cold_items)
    no_cold = no_cold_items or "no known user likes a held-out item"
    all_warm = Slice("warm", "Known users, known items", seen, held_warm, trained, disliked, order=train.to_order())
    slices = [  # each with the reason if it has no users
        (all_warm, no_warm),
        *_parts_of_warm(all_warm, no_warm, likes, warm, latest, random, after),
        *_ask_what_comes_next(
            all_warm, no_warm, likes, likes.select(~of_cold_user & ~of_cold_item), warm & last, warm & later
        ),
        (
            Slice("cold_items", "Cold items, among cold items", seen, held_cold, cold_items, order=all_warm.order),
            no_cold,
        ),
        (
            Slice(
                "cold_items_all",
                "Cold items, among all items",
                seen,
                held_cold,
                trained | cold_items,
                disliked,
                order=all_warm.order,
            ),
            no_cold,
        ),
        (Slice("overall", "Known and cold items together", seen, held, None, disliked, order=all_warm.order), no_warm),
    ]
    order = rng.permutation(len(likes)) if likes.times is None else np.lexsort((likes.items, likes.times))
    place = np.empty(len(likes), np.int64)
    place[order] = np.arange(len(likes))
    shown = likes.select(of_cold_user & trained[likes.items])
    asked = likes.select(of_cold_user & of_cold_item).to_matrix()
    rank = _rank_by_user(shown.users, place[of_cold_user & trained[likes.items]])
    n_shown = np.bincount(shown.users, minlength=n_users)[shown.users]
    # In a catalogue of short histories, every user with a relevant like counts.
    least = config.least_likes if (n_shown >= config.least_likes).any() else 0
    no_cold_users = _why_none("users", config.cold_users, cold_users)
    for size in config.support_sizes:
        enough = n_shown >= max(least, size + 1)
        known_likes = shown.select(enough & (rank < size))
        support, order_of = known_likes.to_matrix(), known_likes.to_order()
        rest = shown.select(enough & (rank >= size)).to_matrix()
        n_likes = f"{size} like{'' if size == 1 else 's'}"
        few = no_cold_users or f"no held-out user has more than {n_likes} of known items"
        title, of_cold = f"Cold users, {n_likes}", _rows_of(asked, rest)
        no_like_of_cold = few if not rest.nnz else no_cold_items or "no user of that slice likes a held-out item"
        slices += [
            (Slice(f"cold_users_k{size}", title, support, rest, trained, disliked, order=order_of), few),
            (
                Slice(
                    f"cold_users_cold_items_k{size}",
                    f"{title}, cold items",
                    support,
                    of_cold,
                    cold_items,
                    order=order_of,
                ),
                no_like_of_cold,
            ),
        ]
    by_name = {slice_.name: slice_ for slice_, _ in slices if slice_.relevant.nnz}
    skipped_slices = tuple(
        SkippedSlice(slice_.name, slice_.title, why) for slice_, why in slices if not slice_.relevant.nnz
    )
    return Split(train, by_name, cold_items, cold_users, likes.times is not None, skipped_slices)


def _why_none(kind: str, share: float, held: NDArray[np.bool_]) -> str | None:
    """Why no users (or items) are held out whole; None if some are."""
    if held.any():
        return None
    return f"too few {kind} to hold out {share:.0%} of them" if share else f"`cold_{kind}` is 0: none are held out"


def _parts_of_warm(
    whole: Slice,
    no_warm: str,
    likes: Likes,
    warm: NDArray[np.bool_],
    latest: NDArray[np.bool_],
    random: NDArray[np.bool_],
    after: NDArray[np.bool_],
) -> list[tuple[Slice, str]]:
    """The latest likes, the random likes, and the latest likes after one date, as slices of their own."""
    no_latest, no_late = no_warm, f"no held-out latest like is among the last {1 - _AFTER:.0%} of all likes"
    if likes.times is None:
        no_latest = no_late = "the likes have no times"
    parts = [("warm_latest", "Known users, their latest likes", latest, no_latest)]
    if (warm & latest).any():
        parts.append(("warm_random", "Known users, random likes", random, no_warm))
    parts.append(("warm_date", f"Known users, likes of the last {1 - _AFTER:.0%} of time", latest & after, no_late))
    return [
        (replace(whole, name=name, title=title, relevant=likes.select(warm & part).to_matrix()), why)
        for name, title, part, why in parts
    ]


def _ask_what_comes_next(
    whole: Slice, no_warm: str, likes: Likes, shown: Likes, last: NDArray[np.bool_], held: NDArray[np.bool_]
) -> list[tuple[Slice, str]]:
    """Each user's last like from all likes before it, and the held-out likes of the last session from those before it.

    Args:
        whole: the slice of all held-out likes of known users.
        no_warm: why it has no users, if it has none.
        likes: all likes.
        shown: those that a support may have.
        last: (n,) bool: the held-out likes that are the last of their users.
        held: (n,) bool: all held-out likes of known users.
    """
    titles = {"next": "Known users, their next like", "next_session": "Known users, their next session"}
    if likes.times is None:
        why = "the likes have no times"
        nothing = replace(whole, relevant=csr_array(whole.support.shape, dtype=np.float32))
        return [(replace(nothing, name=name, title=title), why) for name, title in titles.items()]
    n_users = likes.shape[0]
    asked = likes.select(last)
    wanted = np.bincount(asked.users, minlength=n_users) > 0
    relevant = asked.to_matrix()
    before = shown.select(wanted[shown.users] & ~_is_in(shown, relevant))
    starts = _start_of_last_session(shown)
    of_session = held & (likes.times >= starts[likes.users])
    session = likes.select(of_session).to_matrix()
    session = _rows_of(session, shown.select(_times_of(shown) < starts[shown.users]).to_matrix())
    earlier = shown.select(_times_of(shown) < starts[shown.users])
    others = subtract(shown.select(_times_of(shown) >= starts[shown.users]).to_matrix(), session)
    left_out = others if whole.left_out is None else csr_array(whole.left_out.maximum(others))
    return [
        (
            replace(whole, name="next", title=titles["next"], support=before.to_matrix(), relevant=relevant,
                    order=before.to_order()),
            no_warm,
        ),
        (
            replace(whole, name="next_session", title=titles["next_session"], support=earlier.to_matrix(),
                    relevant=session, left_out=left_out, order=earlier.to_order()),
            "no user has held-out likes in a session after another one",
        ),
    ]  # fmt: skip


def _times_of(likes: Likes) -> NDArray[np.int64]:
    assert likes.times is not None
    return likes.times


def _is_in(likes: Likes, matrix: csr_array) -> NDArray[np.bool_]:
    """(n,) bool: the likes that are entries of a matrix of 1s."""
    width = likes.shape[1]
    rows, columns = matrix.nonzero()
    return np.isin(likes.users * width + likes.items, rows.astype(np.int64) * width + columns)


def _start_of_last_session(likes: Likes) -> NDArray[np.int64]:
    """(n_users,) int64 seconds: when the last session of each user begins."""
    times = _times_of(likes)
    order = np.lexsort((times, likes.users))
    users, times = likes.users[order], times[order]
    begins = np.ones(len(users), np.bool_)
    begins[1:] = (np.diff(users) != 0) | (np.diff(times) > _SESSION_GAP_S)
    starts = np.zeros(likes.shape[0], np.int64)
    starts[users[begins]] = times[begins]  # of equal users the last one stays
    return starts


def _draw(rows: NDArray[np.int64], size: int, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A mask with a share of `rows` marked."""
    mask = np.zeros(size, np.bool_)
    mask[rng.choice(rows, int(len(rows) * share), replace=False)] = True
    return mask


def _hold_out(
    likes: Likes, held: NDArray[np.bool_], share: float, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Marks likes to hold out, the latest of each user and random others.

    The share of each user is rounded at random, so that users with two likes count too.

    Returns:
        Four (n,) masks: the latest and the random ones; the last of all likes by date; each user's last like, where it
        is among the latest. Without times all but the second mark nothing.
    """
    by_time, nothing = likes.times is not None, np.zeros(len(likes), np.bool_)
    random = held & (rng.random(len(likes)) < (share / 2 if by_time else share))
    if likes.times is None:
        return nothing, random, nothing, nothing
    order = np.argsort(np.lexsort((rng.random(len(likes)), likes.times)))  # ties in time at random
    n_likes = np.bincount(likes.users[held], minlength=likes.shape[0])
    wanted = np.floor(n_likes * share / 2 + rng.random(likes.shape[0])).astype(np.int64)
    wanted = np.minimum(wanted, np.maximum(n_likes - 1, 0))
    from_last = _rank_by_user(likes.users, -order)
    latest = held & (from_last < wanted[likes.users])
    late = order >= math.ceil(_AFTER * (len(likes) - 1))
    return latest, random & ~latest, late, latest & (from_last == 0)


def _rank_by_user(users: NDArray[np.int64], place: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rank of each like among the likes of its user, by ascending place."""
    order = np.lexsort((place, users))
    starts = np.searchsorted(users[order], users[order])  # the first like of the same user
    rank = np.empty(len(users), np.int64)
    rank[order] = np.arange(len(users)) - starts
    return rank


def _rows_of(matrix: csr_array, like: csr_array) -> csr_array:
    """`matrix` without the rows that are empty in `like`."""
    pairs = matrix.tocoo()
    kept = (np.diff(like.indptr) > 0)[pairs.row]
    return csr_array((pairs.data[kept], (pairs.row[kept], pairs.col[kept])), shape=matrix.shape)
