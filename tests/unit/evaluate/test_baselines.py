from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from checkerboard import Board, to_csr
from scipy.sparse import csr_array

from kgrec.errors import RequestError
from kgrec.evaluate.baselines import (
    KNOWN_USERS,
    NEW_USERS,
    Ials,
    Popularity,
    build_grids,
    family_of,
    fit_baselines,
    fit_ease,
    fit_ials,
    fit_item_knn,
    fit_popularity,
    fit_text_cosine,
    tune,
)
from kgrec.slices import Scorer, Slice, evaluate_slice

# Three users: {0, 1}, {0, 1}, {1, 2}.
LIKES = to_csr([[1, 1, 0], [1, 1, 0], [0, 1, 1]])
ONLY_ITEM_0 = to_csr([[1, 0, 0]])


def test_popularity_golden():
    np.testing.assert_array_equal(fit_popularity(LIKES).score(ONLY_ITEM_0), [[2, 3, 1]])


def test_item_knn_golden():
    # n = 2, 3, 1; together: (0, 1) twice, (1, 2) once.
    knn = fit_item_knn(LIKES, neighbours=2)
    first, second = 2 / np.sqrt(6), 1 / np.sqrt(3)
    np.testing.assert_allclose(knn.similarity.toarray(), [[0, first, 0], [first, 0, second], [0, second, 0]], rtol=1e-6)
    shrunk = fit_item_knn(LIKES, neighbours=2, shrinkage=1.0)
    assert shrunk.similarity.toarray()[0, 1] == pytest.approx(2 / (np.sqrt(6) + 1))


def test_item_knn_keeps_the_nearest_of_the_item_that_is_scored():
    knn = fit_item_knn(LIKES, neighbours=1)
    first, second = 2 / np.sqrt(6), 1 / np.sqrt(3)
    # Item 1 keeps item 0 alone, item 2 keeps item 1: item 2 in the support says nothing for item 1.
    np.testing.assert_allclose(knn.similarity.toarray(), [[0, first, 0], [first, 0, second], [0, 0, 0]], rtol=1e-6)
    expected = [[0, first, 0]] + 1e-6 * np.log1p([[2, 3, 1]])
    np.testing.assert_allclose(knn.score(ONLY_ITEM_0), expected, rtol=1e-5)


def test_item_knn_of_many_items_equals_the_formula_whole():
    likes = to_csr(np.random.default_rng(0).random((40, 700)) < 0.1)  # more items than one block
    together = (likes.T @ likes).toarray()
    lengths = np.sqrt(np.diag(together))
    cosine = together / np.maximum(np.outer(lengths, lengths), 1e-12)
    np.fill_diagonal(cosine, 0)
    np.testing.assert_allclose(fit_item_knn(likes, neighbours=700).similarity.toarray(), cosine, rtol=1e-5)


def test_ease_golden_two_items():
    # G + I = [[3, 1], [1, 2]], P = [[2, -1], [-1, 3]] / 5, so B_01 = -P_01 / P_11 = 1/3 and B_10 = -P_10 / P_00 = 1/2.
    ease = fit_ease(to_csr([[1, 1], [1, 0]]), regularisation=1.0)
    np.testing.assert_allclose(ease.weights, [[0, 1 / 3], [1 / 2, 0]], rtol=1e-6)


def test_ease_solves_ridge_regression_of_each_item_on_the_others():
    likes = (np.random.default_rng(1).random((30, 8)) < 0.4).astype(np.float64)
    weights = fit_ease(to_csr(likes), regularisation=2.0).weights
    for item in range(8):
        others = np.delete(likes, item, axis=1)
        ridge = np.linalg.solve(others.T @ others + 2.0 * np.eye(7), others.T @ likes[:, item])
        np.testing.assert_allclose(np.delete(weights[:, item], item), ridge, atol=1e-5)


def test_ease_says_why_it_cannot():
    with pytest.raises(RequestError, match="got 3 items, expected at most 2"):
        fit_ease(LIKES, item_limit=2)
    with pytest.raises(RequestError, match="above 0, got 0"):
        fit_ease(LIKES, regularisation=0)


def test_ials_golden_fold_in():
    # One dimension, vectors 1 and 2: w (1 + alpha (1 + 4) + ridge) = 1 for a like of the first, with alpha .1 and the
    # ridge .5 (1 + .1 * 2) = .6, so w = 1 / 2.1; without likes w = 0 and popularity alone orders.
    fitted = Ials(torch.tensor([[1.0], [2.0]]), 0.1, 0.5, np.array([0.0, 1.0], np.float32), popularity_weight=0.01)
    scores = fitted.score(to_csr([[1, 0], [0, 0]]))
    np.testing.assert_allclose(scores, [[1 / 2.1, 2 / 2.1 + 0.01], [0, 0.01]], rtol=1e-5)


def test_text_cosine_golden():
    vectors = np.array([[2, 0], [0, 3], [1, 1], [0, 0]], dtype=np.float32)
    half = np.sqrt(0.5)
    scores = fit_text_cosine(vectors).score(to_csr([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]))
    np.testing.assert_allclose(scores, [[1, 0, half, 0], [half, half, 1, 0], [0, 0, 0, 0]], atol=1e-6)


@pytest.mark.parametrize("fit", [fit_item_knn, fit_ease, partial(fit_ials, dim=2)])
def test_checkerboard_is_recovered(fit: type, board: Board):
    # 60 users and 40 items in two colours: nothing but the hidden half of the own colour is to be found first.
    result = evaluate_slice(fit(board.train), board.warm, k=20)
    assert result.per_user("ndcg").min() == pytest.approx(1.0)
    assert evaluate_slice(fit_popularity(board.train), board.warm, k=20).per_user("ndcg").mean() < 0.7


@pytest.mark.parametrize("fit", [fit_item_knn, fit_ease, fit_ials])
def test_an_empty_support_gets_what_is_popular(fit: type, board: Board):
    scores = fit(board.train).score(csr_array((1, board.n_items), dtype=np.float32))
    np.testing.assert_allclose(scores[0], 1e-6 * np.log1p(board.popularity), rtol=1e-5)


def test_tune_takes_the_best_on_validation_of_each_family_and_reports_all(board: Board):
    backwards = Popularity(-fit_popularity(board.train).popularity)
    unpopular = Slice("unpopular", "What is not popular", csr_array(board.train.shape, dtype=np.float32), board.test)
    candidates: list[tuple[dict[str, float], Scorer]] = [
        ({"regularisation": 1}, backwards),
        ({"regularisation": 2}, fit_ease(board.train)),
        ({"regularisation": 3}, fit_ease(board.train)),
    ]
    tuned = tune(iter(candidates), {"supported": [board.warm], "blind": [unpopular]})
    assert tuned["supported"].settings == {"regularisation": 2}  # the first of equals
    assert tuned["supported"].ndcg == pytest.approx(1.0)
    assert [settings["regularisation"] for settings, _ in tuned["supported"].tried] == [1, 2, 3]
    assert tuned["supported"].tried[0][1] < 1.0
    assert str(tuned["supported"]) == "regularisation 2 (best of 3 by NDCG on validation: 1.000)"
    blind = [float(evaluate_slice(scorer, unpopular).per_user("ndcg").mean()) for _, scorer in candidates]
    assert [ndcg for _, ndcg in tuned["blind"].tried] == pytest.approx(blind)
    assert tuned["blind"].settings == candidates[int(np.argmax(blind))][0]


def test_tune_refuses_nothing(board: Board):
    with pytest.raises(RequestError, match="at least one candidate"):
        tune([], {"known users": [board.warm]})
    with pytest.raises(RequestError, match="known users has relevant items: nothing to choose by"):
        tune([({}, fit_popularity(board.train))], {"known users": []})


@pytest.mark.parametrize("name", list(build_grids()))
def test_grids_try_the_settings_they_name_and_refit_to_the_same(name: str, board: Board):
    grid = build_grids(dim=4)[name]
    grid = replace(grid, values={setting: values[:2] for setting, values in grid.values.items()}, draft={})
    found = list(grid.fit_all(board.train))
    n_settings = 2 ** len(grid.values)
    assert len({tuple(settings.items()) for settings, _ in found}) == len(found) == n_settings * 4
    support, scores = board.train[[0, 1]], []
    for settings, scorer in found[::3]:
        scores.append(scorer.score(support))
        np.testing.assert_array_equal(grid.refit(board.train, settings).score(support), scores[-1])
    assert not any(np.array_equal(first, second) for first, second in pairwise(scores))


def test_all_baselines_and_what_is_left_out(board: Board):
    vectors = np.eye(board.n_items, dtype=np.float32)
    whole = fit_baselines(board.train, board.train, [board.warm], text_vectors=vectors)
    for slice_name in ("warm", "cold_users_k3"):  # without a validation slice for new users both have one choice
        names = [scorer.name for scorer in whole.scorers(slice_name)]
        assert names == ["popularity", "item kNN", "EASE", "iALS", "text cosine"]
    assert set(whole.chosen) == {"item kNN", "EASE", "iALS"}
    assert all(chosen.startswith("known users: ") and "new users" not in chosen for chosen in whole.chosen.values())
    assert not whole.skipped
    small = fit_baselines(board.train, board.train, [board.warm], ease_item_limit=10)
    assert [scorer.name for scorer in small.scorers("warm")] == ["popularity", "item kNN", "iALS"]
    assert "40 items, limit 10" in small.skipped["EASE"]
    assert "no text vectors" in small.skipped["text cosine"]


def test_each_family_has_its_own_choice_fitted_to_all_likes(board: Board):
    # The warm slice is solved by any EASE; of a user without likes only what is unpopular is asked: popularity, least.
    likes = board.train + board.test
    rare = Slice("cold_users_k0", "Nothing known", csr_array(board.train.shape, dtype=np.float32), board.test)
    grid = replace(build_grids()["EASE"], values={"regularisation": (1.0, 5.0)}, popularity_weights=(0.001, -5.0))
    found = fit_baselines(likes, board.train, [board.warm, rare], grids={"EASE": grid})
    tuned = tune(grid.fit_all(board.train), {KNOWN_USERS: [board.warm], NEW_USERS: [rare]})
    for slice_ in (board.warm, rare):
        _, ease = found.scorers(slice_.name)
        expected = grid.refit(likes, tuned[family_of(slice_.name)].settings)
        np.testing.assert_array_equal(ease.score(board.train[:3]), expected.score(board.train[:3]))
    assert tuned[KNOWN_USERS].settings != tuned[NEW_USERS].settings
    assert found.chosen == {"EASE": f"known users: {tuned[KNOWN_USERS]}; new users: {tuned[NEW_USERS]}"}


def test_without_validation_defaults_are_used_and_said(board: Board):
    found = fit_baselines(board.train, board.train, [], grids={"EASE": build_grids()["EASE"]})
    assert found.chosen == {"EASE": "defaults: too few likes to hold any out for validation"}
    np.testing.assert_array_equal(
        found.scorers("warm")[1].score(board.train[:3]), fit_ease(board.train).score(board.train[:3])
    )
