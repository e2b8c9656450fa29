from dataclasses import replace

import numpy as np
from checkerboard import Board
from scipy.sparse import csr_array

from kgrec.evaluate.baseline_scorers import (
    fit_ease,
)
from kgrec.evaluate.baseline_tuning import FEW_LIKES, KNOWN_USERS, NEW_USERS, build_grids, combine, tune
from kgrec.evaluate.baselines import family_of, fit_baselines, is_rival
from kgrec.questions.slices import Slice


def test_every_baseline_is_fitted_and_left_out_ones_are_named(board: Board):
    vectors = np.eye(board.n_items, dtype=np.float32)
    whole = fit_baselines(board.train, board.train, [board.warm], text_vectors=vectors)
    for slice_name in ("warm", "cold_users_k3"):  # without a validation slice for new users both have one choice
        names = [scorer.name for scorer in whole.scorers(slice_name)]
        assert names == ["popularity", "item kNN", "EASE", "iALS", "blend", "text cosine"]
    assert set(whole.chosen) == {"item kNN", "EASE", "iALS", "blend"}
    assert all(chosen.startswith("known users: ") and "new users" not in chosen for chosen in whole.chosen.values())
    assert not whole.skipped
    small = fit_baselines(board.train, board.train, [board.warm])
    assert [scorer.name for scorer in small.scorers("warm")] == ["popularity", "item kNN", "EASE", "iALS", "blend"]
    assert "no text vectors" in small.skipped["text cosine"]


def test_each_family_chooses_its_own_settings_and_fits_all_likes(board: Board):
    # Any EASE solves the warm slice; users without likes want unpopular items, so a negative weight wins.
    likes = board.train + board.test
    rare = Slice("cold_users_k0", "Nothing known", csr_array(board.train.shape, dtype=np.float32), board.test)
    grid = replace(
        build_grids()["EASE"],
        settings=combine({"regularisation": (1.0, 5.0)}),
        weights={"popularity_weight": (0.001, -5.0)},
    )
    found = fit_baselines(likes, board.train, [board.warm, rare], grids={"EASE": grid})
    asked = {KNOWN_USERS: [board.warm], FEW_LIKES: [rare]}
    tuned = tune(grid.fit_all(board.train), asked, board.popularity)
    for name, family in (("warm", KNOWN_USERS), ("cold_users_k0", FEW_LIKES), ("cold_users_k10", FEW_LIKES)):
        _, ease = found.scorers(name)  # validation has no users with ten likes, so they get the choice for few likes
        expected = grid.refit(likes, tuned[family].settings)
        np.testing.assert_array_equal(ease.score(board.train[:3]), expected.score(board.train[:3]))
    assert tuned[KNOWN_USERS].settings != tuned[FEW_LIKES].settings
    assert found.chosen == {"EASE": f"known users: {tuned[KNOWN_USERS]}; {FEW_LIKES}: {tuned[FEW_LIKES]}"}


def test_slices_have_a_family_and_comparable_baselines():
    names = ["warm", "cold_items", "cold_users_k0", "cold_users_k3", "cold_users_k5", "cold_users_cold_items_k3"]
    families = [KNOWN_USERS, KNOWN_USERS, FEW_LIKES, FEW_LIKES, NEW_USERS, FEW_LIKES]
    assert [family_of(name) for name in names] == families
    assert [is_rival(name, "popularity") for name in names] == [True, True, True, False, True, False]
    assert all(is_rival(name, "blend") for name in names)


def test_without_validation_defaults_are_used_and_reported(board: Board):
    found = fit_baselines(board.train, board.train, [], grids={"EASE": build_grids()["EASE"]})
    assert found.chosen == {"EASE": "defaults: too few likes to hold any out for validation"}
    np.testing.assert_array_equal(
        found.scorers("warm")[1].score(board.train[:3]), fit_ease(board.train).score(board.train[:3])
    )
