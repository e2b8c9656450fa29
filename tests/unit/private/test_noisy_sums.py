"""The release: what a user adds is bounded, and noise is as large as the budget asks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.config import PrivateConfig
from kgrec.private.accountant import gaussian_mu, split_mu
from kgrec.private.noisy_sums import clip_likes, draw_generator, release_likes, select_items, sum_pairs

WITHOUT_NOISE = PrivateConfig(epsilon=1).model_copy(update={"epsilon": np.inf})


def _draw_likes(seed: int, n_users: int = 12, n_items: int = 9) -> csr_array:
    rng = np.random.default_rng(seed)
    return csr_array((rng.random((n_users, n_items)) < rng.random((n_users, 1))).astype(np.float32))


LIKES = st.integers(0, 2**32).map(_draw_likes)


@given(LIKES, st.integers(1, 9))
def test_clipping_keeps_a_users_own_likes_up_to_the_limit(likes: csr_array, most: int) -> None:
    clipped = clip_likes(likes, most, np.random.default_rng(0))
    sizes = np.diff(clipped.indptr)
    np.testing.assert_array_equal(sizes, np.minimum(np.diff(likes.indptr), most))
    assert clipped.multiply(likes).sum() == clipped.nnz  # no like that is none


def test_clipping_draws_each_like_as_often() -> None:
    likes, rng = csr_array(np.ones((4000, 4), np.float32)), np.random.default_rng(0)
    shares = clip_likes(likes, 1, rng).sum(axis=0) / 4000
    np.testing.assert_allclose(shares, 0.25, atol=0.04)  # 6 standard errors


@given(LIKES, st.integers(1, 9), st.integers(0, 2**32))
@settings(max_examples=30)
def test_a_user_adds_at_most_a_vector_of_length_1(likes: csr_array, most: int, seed: int) -> None:
    clipped = clip_likes(likes, most, np.random.default_rng(seed))
    for row in range(clipped.shape[0]):
        one = csr_array(clipped[[row]])
        length = np.sqrt(np.square(np.triu(sum_pairs(one))).sum())
        assert length <= 1
        assert length == pytest.approx(float(one.nnz > 0), abs=1e-4)  # and not much less: the budget is used


@given(LIKES, st.integers(0, 11))
@settings(max_examples=30)
def test_sums_change_by_one_user_alone(likes: csr_array, gone: int) -> None:
    others = csr_array(np.delete(likes.toarray(), gone, axis=0))
    own = csr_array(likes[[gone]])
    np.testing.assert_allclose(sum_pairs(likes) - sum_pairs(others), sum_pairs(own), atol=1e-12)


def test_pairs_by_hand() -> None:
    likes = csr_array(np.array([[1, 1, 0], [0, 0, 1]], np.float32))
    # two likes: three entries on and above the diagonal, 3^-1/2 each; one like: one entry
    third = 3**-0.5
    np.testing.assert_allclose(sum_pairs(likes), [[third, third, 0], [third, third, 0], [0, 0, 1]], atol=1e-6)


def test_without_noise_counts_and_pairs_are_exact() -> None:
    likes = _draw_likes(3)
    release = release_likes(likes, WITHOUT_NOISE, np.random.default_rng(0))
    np.testing.assert_allclose(release.counts, likes.sum(axis=0), atol=1e-4)
    np.testing.assert_array_equal(release.rows, np.arange(9))
    np.testing.assert_allclose(release.gram, sum_pairs(likes), atol=1e-6)


def test_a_like_that_is_there_twice_counts_once() -> None:
    twice = csr_array((np.ones(2, np.float32), [0, 0], [0, 2]), shape=(1, 1))
    release = release_likes(twice, WITHOUT_NOISE, np.random.default_rng(0))
    assert release.counts[0] == pytest.approx(1)
    assert release.gram[0, 0] == pytest.approx(1)
    assert twice.nnz == 2  # the caller's stays as it is


def test_noise_is_as_large_as_said_and_as_the_budget_asks() -> None:
    config = PrivateConfig(epsilon=2, least_items=300, most_items=300)
    release = release_likes(csr_array((5, 300), dtype=np.float32), config, np.random.default_rng(0))
    of_counts, of_gram = split_mu(gaussian_mu(2, 1e-6), 0.2)
    assert release.gram_noise == pytest.approx(1 / of_gram)
    assert release.counts_noise == pytest.approx(50**0.5 / of_counts, rel=1e-5)
    assert release.counts.std() == pytest.approx(release.counts_noise, rel=0.2)
    assert release.gram[np.triu_indices(300)].std() == pytest.approx(release.gram_noise, rel=0.03)
    np.testing.assert_array_equal(release.gram, release.gram.T)


def test_sums_are_whole_steps() -> None:
    release = release_likes(_draw_likes(1), PrivateConfig(epsilon=1), np.random.default_rng(0))
    np.testing.assert_array_equal(release.gram * 2**20, np.round(release.gram * 2**20))


@pytest.mark.parametrize(
    ("least", "most", "expected"), [(1, 9, [1, 3]), (3, 9, [0, 1, 3]), (1, 1, [3]), (9, 9, [0, 1, 2, 3])]
)
def test_items_that_stand_out_of_the_noise_are_selected(least: int, most: int, expected: list[int]) -> None:
    config = PrivateConfig(epsilon=1, least_items=least, most_items=most)
    np.testing.assert_array_equal(select_items(np.array([2.0, 40, -9, 50]), 10.0, config), expected)


def test_noise_is_not_seeded_by_anything_known() -> None:
    assert draw_generator().random() != draw_generator().random()


def _measure_tell(config: PrivateConfig, n_runs: int) -> float:
    """How well the best attack tells whether a user is there: the mean difference of its statistic, in deviations.

    The statistic is the likelihood ratio: the noisy sums projected onto what the user would add.
    """
    rng, others = np.random.default_rng(0), csr_array((0, 4), dtype=np.float32)
    target = csr_array(np.array([[1, 1, 0, 0]], np.float32))
    own_pairs, own_counts = np.triu(sum_pairs(target)), target.toarray()[0]

    def attack(likes: csr_array) -> float:
        release = release_likes(likes, config, rng)
        of_counts = float(release.counts @ own_counts) / release.counts_noise**2
        return of_counts + float((np.triu(release.gram) * own_pairs).sum()) / release.gram_noise**2

    found: list[NDArray[np.float64]] = [np.array([attack(likes) for _ in range(n_runs)]) for likes in (target, others)]
    return float((found[0].mean() - found[1].mean()) / found[1].std())


@pytest.mark.slow
def test_the_best_attack_is_as_good_as_the_budget_says_and_no_better() -> None:
    config = PrivateConfig(epsilon=4, most_likes=2)
    # two likes of at most two: the user uses the whole budget, so the attack reaches mu, .88, with an error of .07
    assert _measure_tell(config, 500) == pytest.approx(gaussian_mu(4, 1e-6), abs=0.25)
