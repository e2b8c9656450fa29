"""A recommender that nobody holds is freed at once: a service that takes new bundles must not keep the old ones."""

import gc
import weakref

from shop import WordEncoder, train_shop

from kgrec.recommend import Recommender


def test_no_cycle_keeps_a_state_alive() -> None:
    recommender = Recommender(train_shop(), WordEncoder())
    recommender.recommend(likes=["sku-00"], k=3, explain=True, tail=0.5, diversity=0.5, at_most={"maker": 2})
    recommender.recommend(text="green tea", k=3)
    recommender.similar("sku-00", k=3, explain=True)
    recommender.explain("sku-02", likes=["sku-00"])
    recommender.add_users([])
    changed = recommender.branch()
    changed.remove_items(["sku-05"])
    gc.disable()
    try:
        alive = [weakref.ref(each.state) for each in (recommender, changed)]
        del recommender, changed
        assert [each() for each in alive] == [None, None]
    finally:
        gc.enable()
