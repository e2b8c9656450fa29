import numpy as np
import pytest
import torch
from checkerboard import to_csr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from kgrec import metrics
from kgrec.model.gate import Sample, fit_line, sample_slice, search_weights
from kgrec.slices import Slice, evaluate_slice


def draw_slice(seed: int, n_users: int = 12, n_items: int = 40, *, some_candidates: bool = False) -> Slice:
    rng = np.random.default_rng(seed)
    candidates = rng.random(n_items) < 0.7 if some_candidates else None
    relevant = rng.random((n_users, n_items)) < rng.uniform(0, 0.4, (n_users, 1))
    relevant[0, 0] = True
    if candidates is not None:
        candidates[0] = True
        relevant &= candidates
    support = (rng.random((n_users, n_items)) < 0.2) & ~relevant
    return Slice("warm", "Warm", to_csr(support), to_csr(relevant), candidates)


class Fixed:
    name = "fixed"

    def __init__(self, scores: np.ndarray) -> None:
        self.scores = scores

    def score(self, support: csr_array) -> np.ndarray:
        return self.scores


@given(st.integers(0, 2**32), st.sampled_from((1, 5, 20, 50)), st.booleans())
@settings(deadline=None, max_examples=50)
def test_quality_is_the_geometric_mean_of_the_reports_ndcg_and_recall(seed: int, k: int, some_candidates: bool) -> None:
    slice_ = draw_slice(seed, some_candidates=some_candidates)
    sample = sample_slice(slice_, np.random.default_rng(0), k)
    asked = np.flatnonzero(np.diff(slice_.relevant.indptr))
    scores = np.random.default_rng(seed).permuted(  # no ties
        np.tile(np.linspace(-1, 1, slice_.n_items, dtype=np.float32), (len(asked), 1)), axis=1
    )
    result = evaluate_slice(Fixed(scores), slice_, min(k, slice_.n_items))
    expected = np.sqrt(result.per_user("ndcg").mean() * result.per_user("recall").mean())
    assert sample.quality(torch.from_numpy(scores)) == pytest.approx(expected, abs=1e-5)


def test_quality_worked_by_hand() -> None:
    # Item 1 is in the support; the list is 3, 0: one of two relevant items, at the second place.
    slice_ = Slice("warm", "Warm", to_csr([[0, 1, 0, 0]]), to_csr([[1, 0, 1, 0]]))
    sample = sample_slice(slice_, np.random.default_rng(0), k=2)
    ndcg = (1 / np.log2(3)) / (1 + 1 / np.log2(3))
    assert sample.quality(torch.tensor([[0.5, 9.0, 0.1, 0.8]])) == pytest.approx(np.sqrt(ndcg * 0.5))
    perfect = torch.tensor([[1.0, 9.0, 1.0, 0.0]])
    assert sample.quality(perfect) == pytest.approx(1)


def test_a_sample_keeps_few_users_of_a_wide_slice_and_only_those_with_a_question() -> None:
    n_users, n_items = 80, 70_000
    rows = np.arange(n_users)
    relevant = csr_array((np.ones(79), (rows[1:], rows[1:])), shape=(n_users, n_items))
    slice_ = Slice("warm", "Warm", csr_array((n_users, n_items), dtype=np.float32), relevant)
    sample = sample_slice(slice_, np.random.default_rng(0))
    assert sample.relevant.shape == (64, n_items)
    assert (sample.relevant.sum(dim=1) == 1).all()
    again = sample_slice(slice_, np.random.default_rng(0))
    assert torch.equal(sample.relevant, again.relevant)
    small = sample_slice(draw_slice(0), np.random.default_rng(0))
    assert len(small.relevant) == np.count_nonzero(np.diff(draw_slice(0).relevant.indptr))


def planted(seed: int = 0) -> tuple[Sample, torch.Tensor, list[torch.Tensor]]:
    rng = np.random.default_rng(seed)
    sample = sample_slice(draw_slice(seed, 200, 100), rng)
    truth = sample.relevant.float()

    def noisy(share: float) -> torch.Tensor:
        return truth * share + torch.from_numpy(rng.normal(size=truth.shape).astype(np.float32))

    return sample, noisy(2.0), [noisy(0.0) for _ in range(3)]


def test_the_right_part_is_found_among_useless_ones() -> None:
    sample, right, noise = planted()
    parts = [noise[0], noise[1], right, None, noise[2]]
    weights, worth = search_weights(parts, sample.quality)
    assert weights[2] > 0
    assert weights[3] == 0
    assert worth >= sample.quality(right)
    # What noise is let in is little against the right part (a coordinate search may fit a trifle of it).
    assert np.delete(weights * np.array([float(p.std()) if p is not None else 0 for p in parts]), 2).max() <= 0.11 * (
        weights[2] * float(right.std())
    )
    blend = sum(float(weight) * part for weight, part in zip(weights, parts, strict=True) if part is not None)
    assert sample.quality(blend) == pytest.approx(worth, abs=1e-4)


def test_two_parts_that_know_different_things_are_blended() -> None:
    sample, first, _ = planted()
    truth = sample.relevant.float()
    second = truth * 2 + torch.from_numpy(np.random.default_rng(9).normal(size=truth.shape).astype(np.float32))
    weights, worth = search_weights([first, second], sample.quality)
    assert (weights > 0).all()
    assert worth > 1.05 * max(sample.quality(first), sample.quality(second))


def test_scales_of_the_parts_do_not_matter() -> None:
    sample, right, noise = planted()
    weights, worth = search_weights([right, noise[0]], sample.quality)
    scaled, same = search_weights([right * 1e4, noise[0] * 1e-4], sample.quality)
    assert worth == pytest.approx(same, abs=1e-3)
    assert scaled[0] == pytest.approx(weights[0] / 1e4, rel=1e-3)


def test_the_blend_is_never_worse_than_the_best_part() -> None:
    for seed in range(5):
        sample, right, noise = planted(seed)
        parts = [noise[0], right + noise[1], right]
        assert search_weights(parts, sample.quality)[1] >= max(map(sample.quality, parts))


def test_a_part_that_is_alike_for_all_items_is_not_used() -> None:
    sample, right, _ = planted()
    flat = torch.full_like(right, 7)
    assert search_weights([flat, right], sample.quality)[0][0] == 0
    weights, worth = search_weights([flat, None], sample.quality)
    np.testing.assert_array_equal(weights, [0, 0])
    assert worth == 0


def test_line() -> None:
    x = torch.tensor([[0.0, 1], [2, 3]])
    assert fit_line(x, 3 * x - 2) == pytest.approx((3, -2))
    # x = 0, 1, 2; y = 0, 0, 3: slope 3/2, intercept 1 - 3/2.
    assert fit_line(torch.tensor([0.0, 1, 2]), torch.tensor([0.0, 0, 3])) == pytest.approx((1.5, -0.5))
    assert fit_line(torch.ones(4), torch.tensor([1.0, 2, 3, 4])) == pytest.approx((0, 2.5))


def test_metrics_agree_on_more_relevant_items_than_the_list_is_long() -> None:
    relevant = to_csr(np.ones((1, 30)))
    sample = sample_slice(
        Slice("warm", "", csr_array((1, 30), dtype=np.float32), relevant), np.random.default_rng(0), k=5
    )
    assert sample.quality(torch.arange(30.0)[None]) == pytest.approx(np.sqrt(5 / 30))
    hits = np.ones((1, 5), bool)
    assert metrics.ndcg(hits, np.array([30]))[0, -1] == pytest.approx(1)
