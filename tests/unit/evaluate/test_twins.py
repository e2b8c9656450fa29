import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.evaluate.twins import find_numbers, normalise_text, pair_twin_items, pair_twin_users


def link(rows: list[set[int]], n_codes: int = 12) -> csr_array:
    dense = np.zeros((len(rows), n_codes), np.float32)
    for row, codes in enumerate(rows):
        dense[row, list(codes)] = 1
    return csr_array(dense)


def pair(
    texts: list[str],
    links: csr_array,
    vectors: NDArray[np.float32] | None = None,
    names: list[str] | None = None,
) -> list[tuple[int, int, bool]]:
    pairs, is_near = pair_twin_items(texts, names or [""] * len(texts), links, vectors, np.random.default_rng(0))
    return [(a, b, near) for (a, b), near in zip(pairs.tolist(), is_near.tolist(), strict=True)]


def test_case_accents_punctuation_and_order_of_words_do_not_count() -> None:
    assert normalise_text("Amélie, Le (2001)") == normalise_text("le AMELIE: 2001")
    assert normalise_text("Die Hard 2") != normalise_text("Die Hard")


def test_equal_texts_are_twins_where_the_links_agree() -> None:
    texts = ["Sabrina", "sabrina!", "Sabrina", "Sabrina", "", ""]
    links = link([{0, 1, 2, 3, 4}, {0, 1, 2, 3, 5, 6}, {7, 8, 0, 9, 10}, set(), {1}, {1}])
    # 0 and 1 share four of five; 2 is a remake; 3 has no links; 4 and 5 have no text.
    assert pair(texts, links) == [(0, 1, False), (0, 3, False), (1, 3, False), (2, 3, False)]


def test_a_text_of_many_items_makes_no_twins() -> None:
    assert len(pair(["gift"] * 20, csr_array((20, 1), dtype=np.float32))) == 190
    assert pair(["gift"] * 21, csr_array((21, 1), dtype=np.float32)) == []


def test_nearly_the_same_text_needs_the_same_links_and_numbers() -> None:
    rng = np.random.default_rng(3)
    base = rng.normal(size=(4, 64))
    vectors = np.repeat(base, 2, axis=0) + rng.normal(0, 0.05, (8, 64))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    texts = ["green tea", "green teas", "part 2", "part 3 ", "old film", "old films", "a", "b"]
    links = link([{0, 1, 2}, {0, 1, 2}, {3, 4, 5}, {3, 4, 5}, {6, 7, 8}, {6, 7, 9}, {10, 11}, {10, 11}])
    # Another number, half of the links, and two links only.
    assert pair(texts, links, vectors) == [(0, 1, True)]
    # Without links the texts decide.
    assert pair(texts, csr_array((8, 1), dtype=np.float32), vectors) == [(0, 1, True), (4, 5, True), (6, 7, True)]


def test_near_texts_are_found_among_many() -> None:
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(3000, 48)) + 2 * rng.normal(size=48)
    vectors[1:100:2] = vectors[0:100:2] + rng.normal(0, 0.1, (50, 48))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    texts = ["".join(chr(97 + int(digit)) for digit in str(row)) for row in range(3000)]
    found = pair(texts, csr_array((3000, 1), dtype=np.float32), vectors)
    assert found == [(row, row + 1, True) for row in range(0, 100, 2)]


def test_numbers_are_digits_roman_numerals_and_words() -> None:
    assert find_numbers("Rocky III: part two of 10, 1982") == [2, 3, 10, 1982]
    assert find_numbers("Part II") == find_numbers("Part 2") == find_numbers("the second part") == [2]
    assert find_numbers("XIV, IX and XXXIX") == [9, 14, 39]
    assert find_numbers("Mix, Vivid, Civil: a vivid mix of dvd's") == []


@pytest.mark.parametrize(
    "titles",
    [
        ("Alien 2", "Alien 3"),
        ("Alien", "Alien 2"),
        ("The Godfather", "The Godfather: Part II"),
        ("The Godfather: Part II", "The Godfather: Part III"),
        ("Dune: Part One", "Dune: Part Two"),
        ("Saw V", "Saw VI"),
    ],
)
def test_sequels_are_no_twins(titles: tuple[str, str]) -> None:
    others = ["axe", "bay", "cup", "dew", "elm", "fig"]
    vectors = np.random.default_rng(4).normal(size=(8, 64)).astype(np.float32)
    vectors[1] = vectors[0] + 0.01
    links = link([{0, 1, 2, 3}] * 8)

    def pair_first(texts: tuple[str, str], names: tuple[str, str]) -> list[tuple[int, int, bool]]:
        return pair([*texts, *others], links, vectors, [*names, *others])

    plots = ("a crew fights for its life", "a crew fights for its life, again")
    assert pair_first(titles, titles) == []
    assert pair_first((plots[0], plots[0]), titles) == []  # only the names have numbers
    assert pair_first(plots, titles) == []
    first = titles[0], titles[0]
    assert pair_first((plots[0], plots[0]), first) == [(0, 1, False)]
    assert pair_first(plots, first) == [(0, 1, True)]


def likes_of(rows: list[set[int]]) -> csr_array:
    return link(rows, 60)


@pytest.mark.parametrize("seed", range(3))
def test_twin_users_share_four_fifths_of_ten_likes_or_more(seed: int) -> None:
    rng = np.random.default_rng(seed)
    others = [set(rng.choice(60, 15, replace=False).tolist()) for _ in range(200)]
    many, few = set(range(20)), set(range(30, 39))
    rows = [*others, many, many - {0} | {50}, few, few, many - set(range(5)) | set(range(40, 45))]
    pairs = pair_twin_users(likes_of(rows), np.random.default_rng(seed))
    # 19 of 21 likes are in common. Two users have nine likes only; another pair shares 15 of 25.
    assert pairs.tolist() == [[200, 201]]


def test_no_users_and_no_items_have_no_twins() -> None:
    assert pair_twin_users(csr_array((3, 5), dtype=np.float32), np.random.default_rng(0)).shape == (0, 2)
    assert pair([], csr_array((0, 1), dtype=np.float32), np.zeros((0, 3), np.float32)) == []


def test_the_pairs_of_many_equal_users_grow_linearly() -> None:
    pairs = pair_twin_users(likes_of([set(range(12))] * 300), np.random.default_rng(0))
    assert 19 * 300 <= len(pairs) <= 20 * 300
    assert set(pairs.ravel().tolist()) == set(range(300))
