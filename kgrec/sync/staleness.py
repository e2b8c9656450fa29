"""How far a store has moved away from what a bundle was trained on, and when to train again."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kgrec.bundle import Bundle

DAY_S = 86_400
# Measured on MovieLens 100K beside a bundle trained again (scripts/benchmarks/sync_loss.py): with 10% of the likes new
# at most 1% is lost, with 20% up to 5%; with 10% of the items placed 2%, with 20% 9%; with 10% of the likes withdrawn
# 4%. Items that are gone cost nothing by themselves: they leave the lists.
MOST_NEW_LIKES = 0.1
MOST_PLACED_ITEMS = 0.1
MOST_GONE_LIKES = 0.1


@dataclass(frozen=True)
class Staleness:
    """What of a catalogue a bundle's training did not know; always against the training, however many syncs ago.

    Likes are counted per item, since a bundle keeps how many likes of an item training saw, not whose they were: where
    an item lost as many likes as it won, that is not seen.

    Attributes:
        age_s: seconds since the training.
        new_likes: share of the likes that training did not see.
        gone_likes: share of the likes that training saw and that are gone.
        placed_items: share of the items with likes that are placed by their text and links alone.
        gone_items: share of the items that training learned and that are gone.
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
        """(what, its share, the share from which on to train again; None where it costs nothing by itself)."""
        return (
            ("of the likes came after the training", self.new_likes, MOST_NEW_LIKES),
            ("of the items with likes are placed by text and links alone", self.placed_items, MOST_PLACED_ITEMS),
            ("of the likes trained on are gone", self.gone_likes, MOST_GONE_LIKES),
            ("of the items trained on are gone", self.gone_items, None),
        )


def measure_staleness(bundle: Bundle, kept: NDArray[np.int64], n_likes: NDArray[np.int64], *, now: int) -> Staleness:
    """Measures how stale a bundle is.

    Args:
        bundle: as it is before the sync.
        kept: (n_kept,) int64: its rows of the items that are still there.
        n_likes: (n_items,) int64: the likes that each item has now, those still there first.
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
