"""A sync places an item that nobody had met in training by the likes it has by now, as adding them by hand does."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from shop import WordEncoder, make_tables, train_shop
from shop_changes import with_edges

from kgrec.bundle import Bundle
from kgrec.recommend import Recommender
from kgrec.sync import sync_bundle

ITEMS, USERS = train_shop().items.ids, train_shop().users.ids
COLD, TEA = ITEMS[-1], USERS[:8:2]


def vectors(bundle: Bundle) -> np.ndarray:
    few_shot = bundle.model.component("few_shot")
    assert few_shot is not None
    return np.hstack([few_shot.items.numpy(), bundle.model.backbone.items.numpy()])


def test_likes_place_a_cold_item_and_their_end_undoes_it(tmp_path: Path) -> None:
    bundle, likes = train_shop(), [(user, COLD, 5.0) for user in TEA]
    synced, report = sync_bundle(
        bundle, with_edges(make_tables(), "bought", likes), WordEncoder(), tmp_path, now=1_700_000_001
    )
    assert (report.changes.likes.n_added, report.n_placed) == (4, 0)
    by_hand = Recommender(bundle, WordEncoder())
    by_hand.add_interactions(pa.table({"user": TEA, "item": [COLD] * 4, "stars": [5.0] * 4}))
    np.testing.assert_allclose(vectors(synced), vectors(by_hand.bundle), atol=1e-4)
    moved = np.abs(vectors(synced) - vectors(bundle)).max(axis=1) > 1e-3
    assert [ITEMS[row] for row in np.flatnonzero(moved)] == [COLD]
    again, _ = sync_bundle(synced, make_tables(), WordEncoder(), tmp_path, now=1_700_000_002)
    np.testing.assert_allclose(vectors(again), vectors(bundle), atol=1e-4)
