from dataclasses import replace

import numpy as np
import pytest
from checkerboard import Board
from scipy.sparse import csr_array

from kgrec.errors import RequestError
from kgrec.evaluate.baseline_scorers import (
    Popularity,
    fit_ease,
    fit_popularity,
)
from kgrec.evaluate.baseline_tuning import FEW_LIKES, NEW_USERS, build_grids, combine, tune
from kgrec.questions.slices import Scorer, Slice, evaluate_slice


def test_tune_takes_the_best_on_validation_of_each_family_and_reports_all(board: Board):
    backwards = Popularity(-fit_popularity(board.train).popularity)
    unpopular = Slice("unpopular", "What is not popular", csr_array(board.train.shape, dtype=np.float32), board.test)
    candidates: list[tuple[dict[str, float], Scorer]] = [
        ({"regularisation": 1}, backwards),
        ({"regularisation": 2}, fit_ease(board.train)),
        ({"regularisation": 3}, fit_ease(board.train)),
    ]
    tuned = tune(iter(candidates), {"supported": [board.warm], "blind": [unpopular]}, board.popularity)
    assert tuned["supported"].settings == {"regularisation": 2}  # the first of equals
    assert tuned["supported"].objective == pytest.approx(1.0)
    assert [settings["regularisation"] for settings, _ in tuned["supported"].tried] == [1, 2, 3]
    assert tuned["supported"].tried[0][1] < 1.0
    assert str(tuned["supported"]) == "regularisation 2 (best of 3 on validation: 1.000)"
    popularity = board.popularity
    blind = [evaluate_slice(scorer, unpopular, popularity=popularity).objective for _, scorer in candidates]
    assert [objective for _, objective in tuned["blind"].tried] == pytest.approx(blind)
    assert tuned["blind"].settings == candidates[int(np.argmax(blind))][0]


def test_with_few_likes_the_popularity_weight_stays_minimal(board: Board):
    one = fit_ease(board.train)
    candidates = [({"popularity_weight": weight}, replace(one, popularity_weight=weight)) for weight in (1.0, 1e-6)]
    tuned = tune(candidates, {NEW_USERS: [board.warm], FEW_LIKES: [board.warm]}, board.popularity)
    assert len(tuned[NEW_USERS].tried) == 2
    assert [settings for settings, _ in tuned[FEW_LIKES].tried] == [{"popularity_weight": 1e-6}]


def test_tuning_without_candidates_or_likes_is_an_error(board: Board):
    with pytest.raises(RequestError, match="at least one candidate"):
        tune([], {"known users": [board.warm]}, board.popularity)
    with pytest.raises(RequestError, match="known users has relevant items; expected more likes"):
        tune([({}, fit_popularity(board.train))], {"known users": []}, board.popularity)


@pytest.mark.parametrize("name", list(build_grids()))
def test_grids_try_the_settings_they_name_and_refit_to_the_same(name: str, board: Board):
    grid = build_grids(dim=4)[name]
    grid = replace(grid, settings=grid.settings[:2], draft={})
    found = list(grid.fit_all(board.train))
    n_weights = len(combine(grid.weights))
    assert len({tuple(settings.items()) for settings, _ in found}) == len(found) == 2 * n_weights
    support, scores = board.train[[0, 1]], []
    for settings, scorer in found:
        scores.append(scorer.score(support))
        np.testing.assert_array_equal(grid.refit(board.train, settings).score(support), scores[-1])
    assert not np.array_equal(scores[0], scores[-1])
