from collections.abc import Callable

import numpy as np
import pytest
import torch
from checkerboard import to_csr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from kgrec import metrics
from kgrec.model.gate import Sample, climb, fit_line, sample_slice, search_weights
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
    n_users, n_items = 80, 210_000
    rows = np.arange(n_users)
    relevant = csr_array((np.ones(79), (rows[1:], rows[1:])), shape=(n_users, n_items))
    slice_ = Slice("warm", "Warm", csr_array((n_users, n_items), dtype=np.float32), relevant)
    sample = sample_slice(slice_, np.random.default_rng(0), 20)
    assert sample.relevant.shape == (64, n_items)
    assert (sample.relevant.sum(dim=1) == 1).all()
    again = sample_slice(slice_, np.random.default_rng(0), 20)
    assert torch.equal(sample.relevant, again.relevant)
    small = sample_slice(draw_slice(0), np.random.default_rng(0), 20)
    assert len(small.relevant) == np.count_nonzero(np.diff(draw_slice(0).relevant.indptr))


def planted(seed: int = 0) -> tuple[Sample, torch.Tensor, list[torch.Tensor]]:
    rng = np.random.default_rng(seed)
    sample = sample_slice(draw_slice(seed, 200, 100), rng, 20)
    truth = sample.relevant.float()

    def noisy(share: float) -> torch.Tensor:
        return truth * share + torch.from_numpy(rng.normal(size=truth.shape).astype(np.float32))

    return sample, noisy(2.0), [noisy(0.0) for _ in range(3)]


def search(
    parts: list[torch.Tensor | None], sample: Sample, start: list[float] | None = None
) -> tuple[np.ndarray, float]:
    begun = np.zeros(len(parts)) if start is None else np.array(start)
    weights, shares, worth = search_weights(parts, sample.quality, len(sample.n_relevant), begun)
    for weight, share, part in zip(weights, shares, parts, strict=True):
        if part is not None and weight:
            assert share == pytest.approx(weight * float(part.std(dim=1, correction=0).mean()), rel=1e-4)
    return weights, worth


def test_the_right_part_is_found_among_useless_ones() -> None:
    sample, right, noise = planted()
    parts = [noise[0], noise[1], right, None, noise[2]]
    weights, worth = search(parts, sample)
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
    weights, worth = search([first, second], sample)
    assert (weights > 0).all()
    assert worth > 1.05 * max(sample.quality(first), sample.quality(second))


def test_scales_of_the_parts_do_not_matter() -> None:
    sample, right, noise = planted()
    weights, worth = search([right, noise[0]], sample)
    scaled, same = search([right * 1e4, noise[0] * 1e-4], sample)
    assert worth == pytest.approx(same, abs=1e-3)
    assert scaled[0] == pytest.approx(weights[0] / 1e4, rel=1e-3)


def test_the_blend_is_never_worse_than_the_best_part() -> None:
    for seed in range(5):
        sample, right, noise = planted(seed)
        parts = [noise[0], right + noise[1], right]
        assert search(parts, sample)[1] >= max(map(sample.quality, parts))


def test_a_part_that_is_alike_for_all_items_is_not_used() -> None:
    sample, right, _ = planted()
    flat = torch.full_like(right, 7)
    assert search([flat, right], sample)[0][0] == 0
    weights, worth = search([flat, None], sample)
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


def test_a_start_that_is_better_than_any_part_alone_is_taken_and_a_worse_one_is_not() -> None:
    first, second = torch.eye(3), torch.eye(3).flip(0)
    flat_rows = torch.tensor([[1.0, 0, 0]]).expand(3, -1)

    def nearness(target: torch.Tensor) -> Callable[[torch.Tensor], float]:
        return lambda blend: 1 + float((blend * target).sum() / (blend.norm() * target.norm()))

    both = np.array([1.0, 1.0, 0.0])
    _, shares, best = search_weights([first, second, flat_rows], nearness(first + second), 10**9, both)
    assert best == pytest.approx(2, abs=1e-6)
    np.testing.assert_array_equal(shares, both)
    # A start that is worse than a part alone is left, and what may not be used is not begun with.
    _, shares, best = search_weights([first, second, None], nearness(first), 10**9, np.array([4.0, 4.0, 9.0]))
    assert best == pytest.approx(2, abs=1e-6)
    np.testing.assert_array_equal(shares, [1, 0, 0])


def test_the_search_does_not_begin_with_what_is_alike_for_everybody() -> None:
    impersonal, personal = torch.tensor([[3.0, 1, 2]]).expand(2, -1), torch.tensor([[1.0, 3, 2], [2, 1, 3]])
    scores = {True: 0.9, False: 0.5}  # alone, the first is worth more, and nothing is worth more together

    def worth(blend: torch.Tensor) -> float:
        return scores[bool((blend[0] == blend[1]).all())]

    for left_out, chosen in (((), 0), ((0,), 1)):
        shares = search_weights([impersonal, personal], worth, 10**9, np.zeros(2), left_out)[1]
        assert shares[chosen] > 0, left_out


def test_few_users_must_gain_more_by_a_step() -> None:
    first, second = torch.tensor([[1.0, 0, 0]]), torch.tensor([[0.0, 1, 0]])
    alike = first.std(correction=0)

    def worth(blend: torch.Tensor) -> float:  # 1, and 1.01 with any of the second beside the first
        return float(blend[0, 0] > 0) + 0.01 * float(blend[0, 1] > 0) * float(blend[0, 0] > 0)

    assert alike > 0
    for n_users, gains in ((4, False), (10_000, True)):  # .03 / 2 is more than .01, .03 / 100 is less
        assert bool(search_weights([first, second], worth, n_users, np.zeros(2))[1][1]) == gains


def climb_on(
    table: dict[tuple[float, float], float], start: tuple[float, float], *, together: bool = False
) -> tuple[tuple[float, ...], list]:
    asked = []

    def measure(settings: dict[str, float]) -> tuple[float, str]:
        asked.append((settings["a"], settings["b"]))
        return table[asked[-1]], f"fitted {asked[-1]}"

    found, fitted = climb({"a": start[0], "b": start[1]}, {"a": (1, 2, 3, 4), "b": (0, 5)}, measure, together=together)
    chosen = (found["a"], found["b"])
    assert fitted == f"fitted {chosen}"
    return chosen, asked


def test_climbing_goes_up_else_down_and_not_both() -> None:
    up = {(1, 0): 9.0, (2, 0): 1.0, (3, 0): 2.0, (4, 0): 1.5, (3, 5): 1.0}
    chosen, asked = climb_on(up, (2, 0))
    assert chosen == (3, 0)
    assert asked == [(2, 0), (3, 0), (4, 0), (3, 5)]  # up and up, then the next setting: (1, 0) is never tried
    down = {(1, 0): 4.0, (2, 0): 3.0, (3, 0): 2.0, (4, 0): 1.0, (1, 5): 5.0}
    chosen, asked = climb_on(down, (3, 0))
    assert chosen == (1, 5)
    assert asked == [(3, 0), (4, 0), (2, 0), (1, 0), (1, 5)]


def test_climbing_keeps_what_is_not_clearly_beaten() -> None:
    table = {(1, 0): 1.0, (2, 0): 1.0, (3, 0): 1.0015, (2, 5): 1.0}
    assert climb_on(table, (2, 0))[0] == (2, 0)
    assert climb_on(table | {(3, 0): 1.0025, (4, 0): 1.0, (3, 5): 0.0}, (2, 0))[0] == (3, 0)


def test_settings_that_depend_on_each_other_are_moved_against_each_other_until_nothing_gets_better() -> None:
    table = {(a, b): 0.1 for a in (1, 2, 3, 4) for b in (0, 5)} | {(1, 5): 1.0, (2, 0): 2.0, (3, 0): 3.0}
    assert climb_on(table, (1, 5))[0] == (1, 5)
    chosen, asked = climb_on(table, (1, 5), together=True)
    assert chosen == (3, 0)
    assert len(asked) == len(set(asked))


def test_a_pair_is_found_whose_parts_are_worth_little_alone() -> None:
    first, second, third = torch.eye(3)

    def worth(blend: torch.Tensor) -> float:
        return 1.0 + float(blend[2] > 0) + 2 * float(blend[0] > 0 and blend[0] == blend[1])

    parts = [part.expand(2, -1) for part in (first, second, third)]
    shares = search_weights(parts, lambda blend: worth(blend[0]), 10**9, np.zeros(3))[1]
    assert (shares > 0).all()  # alone the third is best, which leads to neither of the others


def test_what_is_left_out_of_a_slice_is_not_recommended() -> None:
    one = to_csr([[0, 0, 0, 1]])
    slice_ = Slice("warm", "Warm", to_csr([[1, 0, 0, 0]]), to_csr([[0, 0, 1, 0]]), left_out=one)
    sample = sample_slice(slice_, np.random.default_rng(0), 1)
    assert sample.quality(torch.tensor([[9.0, 1.0, 2.0, 8.0]])) == pytest.approx(1)
