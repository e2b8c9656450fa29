"""The curve along the diversity dial: at 0 it equals the table, and each figure has its stated meaning."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array
from shop import train_shop

from kgrec.evaluate.diversity_curve import DiversityCurve, measure_distances, measure_diversity
from kgrec.evaluate.intervals import Interval
from kgrec.questions.slices import Slice, evaluate_slice
from kgrec.recommend import Recommender

SETTINGS = (0.0, 0.5, 1.0)
K = 4


@pytest.fixture(scope="module")
def asked() -> Slice:
    """The shop's customers, each with one of their own likes held out; the last item is not a candidate."""
    liked = train_shop().liked
    users = np.flatnonzero(np.diff(liked.indptr))
    support, relevant = liked.toarray(), np.zeros(liked.shape, np.float32)
    firsts = liked.indices[liked.indptr[users]]
    support[users, firsts], relevant[users, firsts] = 0, 1
    candidates = np.arange(liked.shape[1]) < liked.shape[1] - 1
    return Slice("warm", "Warm", csr_array(support), csr_array(relevant), candidates)


@pytest.fixture(scope="module")
def curve(asked: Slice) -> DiversityCurve:
    rng = np.random.default_rng(0)
    found = measure_diversity(train_shop().model, asked, rng, k=K, settings=SETTINGS, block_users=7)
    assert found is not None
    return found


def test_distances_by_hand() -> None:
    vectors = np.array([[1, 0], [0.6, 0.8], [0, 1], [-1, 0]], np.float32)
    mean, smallest = measure_distances(np.array([[0, 1, 2], [0, 3, -1], [2, -1, -1], [-1, -1, -1]]), vectors)
    np.testing.assert_allclose(mean, [(0.4 + 1 + 0.2) / 3, 2, 0, 0], atol=1e-6)
    np.testing.assert_allclose(smallest, [(0.4 + 0.2 + 0.2) / 3, 2, 0, 0], atol=1e-6)


def test_at_0_the_curve_equals_the_table(curve: DiversityCurve, asked: Slice) -> None:
    result, first = evaluate_slice(train_shop().model, asked, K), curve.points[0]
    assert first.recall == pytest.approx(result.per_user("recall").mean())
    assert first.ndcg == pytest.approx(result.per_user("ndcg").mean())
    assert first.coverage == pytest.approx(result.coverage)
    assert first.recall_change == Interval(0, 0, 0)


def test_each_point_matches_the_answers_of_the_recommender(curve: DiversityCurve, asked: Slice) -> None:
    bundle = train_shop()
    known = Recommender(replace(bundle, liked=asked.support, seen=asked.support))
    users = np.flatnonzero(np.diff(asked.relevant.indptr))
    assert curve.n_users == len(users)
    for point in curve.points:
        rows = known.recommend_many(
            [bundle.users.ids[user] for user in users],
            k=K,
            candidates=bundle.items.ids[:-1],
            diversity=point.diversity,
        )
        shown = bundle.items.rows(rows["item"].to_pylist()).reshape(len(users), K)
        hits = [asked.relevant[[user], items] > 0 for user, items in zip(users, shown, strict=True)]
        assert point.recall == pytest.approx(np.mean([hit.sum() for hit in hits]))
        assert point.coverage == pytest.approx(len(np.unique(shown)) / (bundle.liked.shape[1] - 1))
        mean, smallest = measure_distances(shown, bundle.model.likeness_vectors())
        assert point.distance.mean == pytest.approx(mean.mean())
        assert point.nearest == pytest.approx(smallest.mean())
        assert point.recall_change.mean == pytest.approx(point.recall / curve.points[0].recall - 1)
    assert [point.distance.mean for point in curve.points] == sorted(point.distance.mean for point in curve.points)
    assert curve.points[-1].distance.mean > curve.points[0].distance.mean + 0.05


def test_of_many_users_some_are_drawn(asked: Slice) -> None:
    model = train_shop().model
    found = measure_diversity(model, asked, np.random.default_rng(0), k=K, settings=SETTINGS, most_users=20)
    assert found is not None
    assert found.n_users == 20
    assert 0 < found.points[0].recall < 1


def test_without_relevant_items_there_is_no_curve(asked: Slice) -> None:
    nobody = Slice("warm", "Warm", asked.support, csr_array(asked.relevant.shape, dtype=np.float32))
    assert measure_diversity(train_shop().model, nobody, np.random.default_rng(0)) is None
