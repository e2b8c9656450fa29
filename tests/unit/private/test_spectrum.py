"""Noise is taken out of a Gram matrix."""

import numpy as np
import pytest

from kgrec.private.spectrum import shrink_gram


def test_eigenvalues_within_the_noise_go_and_others_shrink() -> None:
    # 2 s sqrt(n) = 2 * 1.5 * 2 = 6; sqrt(10^2 - 6^2) = 8
    values, vectors = shrink_gram(np.diag([10.0, 5.9, -10.0, 0.0]), 1.5)
    np.testing.assert_allclose(values, [8])
    np.testing.assert_allclose(np.abs(vectors), [[1], [0], [0], [0]])


def test_without_noise_a_gram_matrix_stays() -> None:
    likes = np.array([[1, 1, 0], [0, 1, 1], [1, 1, 1]], np.float64)
    gram = likes.T @ likes
    values, vectors = shrink_gram(gram, 0.0)
    np.testing.assert_allclose((vectors * values) @ vectors.T, gram, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_noise_alone_leaves_next_to_nothing_and_a_planted_direction_is_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    noise = np.triu(rng.standard_normal((200, 200)))
    noise = noise + np.triu(noise, 1).T
    direction = np.ones(200) / np.sqrt(200)
    values, vectors = shrink_gram(noise + 200 * np.outer(direction, direction), 1.0)
    assert abs(vectors[:, 0] @ direction) > 0.99
    assert values[0] == pytest.approx(200, rel=0.05)
    assert values[1:].sum() < 0.2 * values[0]  # at most what is at the edge


def test_nothing_gives_rank_0() -> None:
    values, vectors = shrink_gram(np.zeros((3, 3)), 1.0)
    assert values.shape == (0,)
    assert vectors.shape == (3, 0)


def test_noise_alone_keeps_no_direction() -> None:
    rng = np.random.default_rng(0)

    def count_kept() -> int:
        upper = np.triu(rng.standard_normal((30, 30)))
        return len(shrink_gram(upper + np.triu(upper, 1).T, 1.0)[0])

    assert sum(count_kept() > 0 for _ in range(500)) <= 5  # Wigner's limit alone lets about 50 through
