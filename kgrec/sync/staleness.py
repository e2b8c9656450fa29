"""How far a store has moved away from the catalogue that a bundle was trained on, and when to train again."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kgrec.bundle import Bundle

DAY_S = 86_400
# Measured on MovieLens 100K against a retrained bundle (scripts/benchmarks/sync_loss.py): with 10% of the likes new
# at most 1% is lost, with 20% up to 5%; with 10% of the items placed 2%, with 20% 9%; with 10% of the likes withdrawn
# 4%. Items that are gone cost nothing by themselves: they leave the lists.
MOST_NEW_LIKES = 0.1
MOST_PLACED_ITEMS = 0.1
MOST_GONE_LIKES = 0.1


@dataclass(frozen=True)
class Staleness:
    """How far a catalogue has moved from the one that the bundle was trained on, over all syncs since.

    Likes are compared by their number per item, because a bundle does not keep whose likes training saw. An item that
    gained as many likes as it lost counts as unchanged.

    Attributes:
        age_s: seconds since the training.
        new_likes: share of the likes that training did not see.
        gone_likes: share of the training likes that are gone.
        placed_items: share of the items with likes that are placed by text and links alone.
        gone_items: share of the trained items that are gone.
    """

    age_s: int
    new_likes: float
    gone_likes: float
    placed_items: float
    gone_items: float

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why to train again; empty while there is no need to."""
        return tuple(f"{share:.0%} {what}" for what, share, most in self.shares if most is not None and share >= most)

    @property
    def shares(self) -> tuple[tuple[str, float, float | None], ...]:
        """(what, its share, the share from which to train again); None for a share that costs nothing by itself."""
        return (
            ("of the likes came after the training", self.new_likes, MOST_NEW_LIKES),
            ("of the items with likes are placed by text and links alone", self.placed_items, MOST_PLACED_ITEMS),
            ("of the likes trained on are gone", self.gone_likes, MOST_GONE_LIKES),
            ("of the items trained on are gone", self.gone_items, None),
        )


def measure_staleness(bundle: Bundle, kept: NDArray[np.int64], n_likes: NDArray[np.int64], *, now: int) -> Staleness:
    """Measures how stale a bundle is.

    Args:
        bundle: the bundle before the sync.
        kept: (n_kept,) int64: its rows of the items that still exist.
        n_likes: (n_items,) int64: the current likes of each item, items that still exist first.
        now: UTC seconds.
    """
    trained, learned = np.zeros_like(n_likes), np.zeros(len(n_likes), np.bool_)
    trained[: len(kept)] = bundle.model.n_likes.numpy()[kept]
    learned[: len(kept)] = ~bundle.model.cold.numpy()[kept]
    still = int(np.minimum(trained, n_likes).sum())
    n_liked = int((n_likes > 0).sum())
    return Staleness(
        age_s=now - bundle.trained_at,
        new_likes=1 - still / max(int(n_likes.sum()), 1) if n_liked else 0.0,
        gone_likes=1 - still / max(bundle.lineage.n_likes, 1),
        placed_items=int(((n_likes > 0) & ~learned).sum()) / max(n_liked, 1),
        gone_items=1 - int(learned.sum()) / max(bundle.lineage.n_items, 1),
    )
