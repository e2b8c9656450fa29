"""From which weight an interaction is a like: within the data, and some are likes and some are not."""

import numpy as np
import pytest

from graph_schema.drafts.like_rule import find_like_rule
from graph_schema.drafts.profile import PropertyProfile


def weights(name, low, high, kind="int", spread=()):
    return PropertyProfile(name, {kind: 9}, 1.0, 1.0, low=low, high=high, spread=tuple(map(float, spread)))


def spread_of(values):
    return np.percentile(values, range(101), method="nearest")


@pytest.mark.parametrize(
    ("one", "positive", "repeats"),
    [
        (weights("rating", 1, 5), 4, "latest"),
        (weights("stars", 0.5, 5, "float"), 4, "latest"),
        (weights("rating", 0.5, 4, "float"), 3, "latest"),  # FilmTrust
        (weights("rating", 0, 2), 2, "latest"),
        (weights("rating", 1, 3), 3, "latest"),
        (weights("score", 0, 10), 7, "latest"),
        (weights("score", 1, 10), 7, "latest"),
        (weights("rating", -1, 10), 7, "latest"),  # -1: not rated
        (weights("rating", -10, 10, "float"), 4, "latest"),
        (weights("rating", 0, 100), 70, "latest"),
        (weights("vote", -1, 1), 1, "latest"),
        (weights("score", 0, 1, "float"), 0.7, "latest"),
        (weights("clicked", 0, 1), 1, "greatest"),
        (weights("score", 0, 12345), None, "latest"),
        (weights("quantity", 1, 5), None, "sum"),
        (weights("Quantity", -24, 600), None, "sum"),
        (weights("plays", 1, 40_000), None, "sum"),
        (weights("rating", 4, 5), None, "latest"),  # all are high
        (PropertyProfile("rating", {"int": 9}, 1.0, 1.0), None, "latest"),
    ],
)
def test_the_threshold_of_a_like_is_guessed(one, positive, repeats):
    found = find_like_rule(one)
    assert (found.positive, found.repeats) == (positive, repeats)


def test_the_share_of_likes_is_counted_from_the_spread():
    found = find_like_rule(weights("rating", 1, 5, spread=spread_of([1, 2, 3, 4, 5] * 20)))
    assert (found.positive, round(found.share, 2)) == (4, 0.4)
    assert found.describe_share("rated") == "40% of rated are likes"
    found = find_like_rule(weights("quantity", -24, 600, spread=spread_of([-24, -1, 1, 600])))
    assert (found.positive, round(found.share, 2)) == (None, 0.5)


def test_a_common_0_below_a_scale_from_1_stands_for_not_rated():
    found = find_like_rule(weights("rating", 0, 10, spread=spread_of([0] * 62 + list(range(1, 11)) * 4)))
    assert found.positive == 7 and '0 stands for "not rated"' in found.why
    rare = find_like_rule(weights("rating", 0, 10, spread=spread_of([0] + list(range(1, 11)) * 10)))
    assert "not rated" not in rare.why
    anime = find_like_rule(weights("rating", -1, 10, spread=spread_of([-1] * 20 + list(range(1, 11)) * 8)))
    assert anime.positive == 7 and '-1 stands for "not rated"' in anime.why


def test_no_threshold_is_out_of_reach():
    for high in (2, 3, 4, 5, 6, 9, 17, 99):
        for low in (0, 1):
            found = find_like_rule(weights("rating", low, high))
            assert found.positive is not None and low < found.positive <= high


def test_weights_of_0_and_1_as_decimals_are_clicks():
    assert find_like_rule(weights("liked", 0, 1, "float", spread=[0, 0, 1])).positive == 1
    assert find_like_rule(weights("share", 0, 1, "float", spread=[0, 0.4, 1])).positive is None
