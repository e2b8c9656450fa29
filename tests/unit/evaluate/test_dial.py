"""The curve along the tail dial: at 0 it equals the table, and each figure has its stated meaning."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array
from shop import train_shop

from kgrec.evaluate.dial import DialCurve, DialPoint, measure_dial
from kgrec.evaluate.intervals import Interval
from kgrec.model.user_prior import UserPrior
from kgrec.questions.slices import Slice, evaluate_slice, tail_items
from kgrec.recommend import Recommender

SETTINGS = (0.0, 0.5, 1.0)
K = 4


@pytest.fixture(scope="module")
def asked() -> Slice:
    """The shop's customers, each with one of their own likes held out.

    The last item is not a candidate, and each customer has seen six more items without liking them.
    """
    liked = train_shop().liked
    users = np.flatnonzero(np.diff(liked.indptr))
    support, relevant = liked.toarray(), np.zeros(liked.shape, np.float32)
    firsts = liked.indices[liked.indptr[users]]
    support[users, firsts], relevant[users, firsts] = 0, 1
    candidates = np.arange(liked.shape[1]) < liked.shape[1] - 1
    met, rng = np.zeros(liked.shape, np.float32), np.random.default_rng(0)
    for user in users:
        met[user, rng.choice(np.flatnonzero(support[user] + relevant[user] == 0), 6, replace=False)] = 1
    return Slice("warm", "Warm", csr_array(support), csr_array(relevant), candidates, csr_array(met))


@pytest.fixture(scope="module")
def curve(asked: Slice) -> DialCurve:
    model, rng = train_shop().model, np.random.default_rng(0)
    found = measure_dial(model, asked.support, asked, rng, k=K, settings=SETTINGS, block_users=7)
    assert found is not None
    return found


def test_at_0_the_curve_equals_the_table(curve: DialCurve, asked: Slice) -> None:
    popularity = np.bincount(asked.support.indices, minlength=asked.n_items)
    result, first = evaluate_slice(train_shop().model, asked, K, popularity=popularity), curve.points[0]
    for metric, mean in first.means.items():
        assert mean == pytest.approx(result.per_user(metric).mean()), metric
    assert set(first.means) == {"recall", "ndcg", "mrr", "stratified_recall"}
    figures = (result.coverage, result.gini, result.overlap)
    assert (first.coverage, first.gini, first.overlap) == pytest.approx(figures)
    assert first.average_popularity == pytest.approx(result.average_popularity(popularity))
    assert first.recall_change == Interval(0, 0, 0)


def test_each_point_matches_the_recommenders_answers(curve: DialCurve, asked: Slice) -> None:
    bundle = train_shop()
    assert asked.left_out is not None
    known = replace(bundle, liked=asked.support, seen=csr_array(asked.support + asked.left_out))
    tail = tail_items(bundle.model.n_likes.numpy())
    users = np.flatnonzero(np.diff(asked.relevant.indptr))
    assert curve.own_tail_share == pytest.approx(
        np.mean([tail[asked.support[[user]].indices].mean() for user in users])
    )
    for point in curve.points:
        rows = Recommender(known).recommend_many(
            [bundle.users.ids[user] for user in users], k=K, candidates=bundle.items.ids[:-1], tail=point.tail
        )
        shown = bundle.items.rows(rows["item"].to_pylist()).reshape(len(users), K)
        hits = [asked.relevant[[user], items] > 0 for user, items in zip(users, shown, strict=True)]
        assert point.means["recall"] == pytest.approx(np.mean([hit.sum() for hit in hits]))
        assert point.coverage == pytest.approx(len(np.unique(shown)) / (bundle.liked.shape[1] - 1))
        assert point.tail_share == pytest.approx(tail[shown].mean())
        own = [tail[asked.support[[user]].indices].mean() for user in users]
        assert point.off_own_share == pytest.approx(np.mean(np.abs(tail[shown].mean(axis=1) - own)))


def test_the_curve_has_what_the_graph_says_of_users(asked: Slice) -> None:
    model = train_shop().model
    rng = np.random.default_rng(1)
    prior = rng.normal(size=(asked.support.shape[0], model.backbone.items.shape[1])).astype(np.float32)
    # The shop's users have no links, so its model is given a component that reads what the graph says of users.
    assert model.user_prior is None
    reader = UserPrior(model.backbone.items, 1.0, 0.1, 1.0, model.backbone.warm_scale, model.backbone.cold_scale)
    kinds = ("warm", "cold", "sentence_warm", "sentence_cold")
    weights = {kind: np.insert(getattr(model.gate, kind), len(model.components), 2.0, axis=-1) for kind in kinds}
    gate = replace(model.gate, **weights)
    knows = replace(model, components=(*model.components, reader), gate=gate)
    known = replace(asked, prior=prior)
    curve = measure_dial(knows, asked.support, known, np.random.default_rng(0), k=K, settings=SETTINGS)
    assert curve is not None
    recall = evaluate_slice(knows, known, K).per_user("recall").mean()
    assert curve.points[0].means["recall"] == pytest.approx(recall)
    without = measure_dial(knows, asked.support, asked, np.random.default_rng(0), k=K, settings=SETTINGS)
    assert without is not None
    assert all(one.means != other.means for one, other in zip(without.points, curve.points, strict=True))


def test_without_relevant_items_there_is_no_curve(asked: Slice) -> None:
    nobody = Slice("warm", "Warm", asked.support, csr_array(asked.relevant.shape, dtype=np.float32))
    assert measure_dial(train_shop().model, train_shop().liked, nobody, np.random.default_rng(0)) is None


def test_the_affordable_setting_is_the_last_before_the_loss_is_too_large() -> None:
    def affordable(*changes: float) -> float:
        points = tuple(
            DialPoint(place / 10, {}, Interval(change, change, change), 0, 0, 0, 0, 0, 0, 0)
            for place, change in enumerate(changes)
        )
        return DialCurve("warm", "Warm", 0, points).affordable.tail

    assert affordable(0, 0.01, -0.05, -0.051) == 0.2
    assert affordable(0, -0.06, -0.04) == 0
    assert affordable(0, -0.01) == 0.1
