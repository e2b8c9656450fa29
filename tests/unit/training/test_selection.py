"""On planted questions, a choice leaves its default only for something clearly better."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from kgrec.training.questions import ListQuality, Question
from kgrec.training.selection import choose_setting, choose_weights, is_clear, race

N_USERS, N_ITEMS, N_POPULAR = 300, 80, 20
NAMES = ("known", "more", "noise", "popularity")
DEFAULT = np.array([1.0, 0, 0, 0])


def standard(values: NDArray[np.float64]) -> Tensor:
    """(n_users, n_items): centred, with a deviation of 1, as parts are."""
    values = values - values.mean(axis=1, keepdims=True)
    return torch.from_numpy((values / values.std(axis=1, keepdims=True)).astype(np.float32))


def plant(
    seed: int = 0, *, n_users: int = N_USERS, more: float = 1.0, popularity: float = 0.0, n_noises: int = 1
) -> Question:
    """Users with about 6 relevant items of 80, the first 20 of which are popular.

    `popularity` moves the relevant items towards popular ones. "known" predicts them, and so does "more", by the
    factor `more`; each of the noises is independent.
    """
    rng = np.random.default_rng(seed)
    popular = np.arange(N_ITEMS) < N_POPULAR
    chances = 0.07 * (1 + popularity * np.where(popular, 2, -0.7))
    relevant = rng.random((n_users, N_ITEMS)) < chances
    relevant[np.arange(n_users), rng.integers(0, N_ITEMS, n_users)] = True
    counts = np.where(popular, 200.0, 10.0)
    noises = [rng.normal(size=relevant.shape) for _ in range(n_noises)]
    parts = [
        relevant * 1.0 + rng.normal(size=relevant.shape), relevant * more + rng.normal(size=relevant.shape), *noises,
        np.log(counts) + 0.01 * rng.normal(size=relevant.shape),
    ]  # fmt: skip
    weight = np.tile((counts**-0.5).astype(np.float32), (n_users, 1))
    nothing = torch.zeros(relevant.shape, dtype=torch.bool)
    together = np.eye(len(parts))
    return Question(
        torch.stack([standard(part) for part in parts]), nothing, torch.zeros(relevant.shape), nothing,
        torch.from_numpy(relevant), torch.from_numpy(weight), torch.from_numpy(np.tile(popular, (n_users, 1))),
        torch.from_numpy(relevant.sum(axis=1).astype(np.float32)),
        torch.from_numpy((relevant * weight).sum(axis=1).astype(np.float32)), together, together, 10,
    )  # fmt: skip


def choose(question: Question, default: NDArray[np.float64] = DEFAULT, **changes: object) -> NDArray[np.float64]:
    settings = {"usable": NAMES} | changes
    weights, judged = choose_weights(question, NAMES, default, **settings)
    cold = bool(settings.get("cold"))
    again = question.judge(question.blend(weights, weights) if cold else question.blend(weights))
    assert judged.objective == pytest.approx(again.objective, abs=1e-6)
    return weights


@pytest.mark.parametrize("seed", range(4))
def test_a_clear_gain_is_taken_and_noise_is_not(seed: int) -> None:
    question = plant(seed)
    weights = choose(question)
    assert weights[1] > 0.3
    assert weights[2] == 0
    assert question.judge(question.blend(weights)).objective > 1.1 * question.judge(question.blend(DEFAULT)).objective


def test_without_a_gain_the_default_stays() -> None:
    # Many settings equal the default up to chance; the luckiest is rarely taken, and then with a small weight.
    names = ("known", *(f"noise {place}" for place in range(6)), "popularity")
    default = np.eye(8)[0]
    found = [
        choose_weights(plant(seed, more=0.0, n_noises=5), names, default, usable=names[1:-1])[0] for seed in range(12)
    ]
    assert sum((weights == default).all() for weights in found) >= 9
    assert max(weights[1:].max() for weights in found) <= 0.2


def test_popularity_counts_against_items_only_where_it_may() -> None:
    question = plant(more=0.0, popularity=-0.9)  # the popular are seldom wanted
    default = np.array([0, 0, 0, 1.0])
    assert choose(question, default, usable=["popularity"])[3] < 0
    assert choose(question, default, usable=["popularity"], against_popular=False)[3] > 0


def test_a_harmful_default_is_left() -> None:
    question = plant()
    wrong = np.array([0.2, 0, 2.0, 0])
    weights = choose(question, wrong)
    assert weights[2] < 0.25 * weights[:2].max()


def test_unusable_components_keep_their_default() -> None:
    question = plant()
    weights = choose(question, np.array([1.0, 0, 0.5, 0.1]), usable=["more"])
    np.testing.assert_array_equal(weights[[0, 2, 3]], [1, 0.5, 0.1])
    assert weights[1] > 0


def few(question: Question, n_users: int) -> Question:
    per_user = ("cold", "disliked", "barred", "relevant", "weight", "popular", "n_relevant", "total_weight")
    return replace(
        question, parts=question.parts[:, :n_users], **{name: getattr(question, name)[:n_users] for name in per_user}
    )


def test_one_user_changes_nothing() -> None:
    for seed in range(10):
        np.testing.assert_array_equal(choose(few(plant(seed), 1)), DEFAULT)


def test_few_users_seldom_change_a_default_for_noise() -> None:
    left = sum(
        (choose(few(plant(seed, more=0.0), 12), usable=["more", "noise"]) != DEFAULT).any() for seed in range(20)
    )
    assert left <= 6


def test_more_users_make_smaller_gains_clear() -> None:
    def taken(n_users: int) -> int:
        return sum(choose(plant(seed, n_users=n_users, more=0.35), usable=["more"])[1] > 0 for seed in range(6))

    assert taken(15) < taken(2000)
    assert taken(2000) == 6


@pytest.mark.parametrize("most", [2.0, 4.0])
def test_the_cap_on_popular_items_holds_at_the_least_cost(most: float) -> None:
    question = plant(popularity=1.0)
    default = np.array([0.3, 0.3, 0, 1.0])

    def judge(weights: NDArray[np.float64]) -> ListQuality:
        return question.judge(question.blend(weights))

    assert judge(default).popular.mean() > 6
    capped = choose(question, default, most_popular=most)
    assert judge(capped).popular.mean() <= most
    free = choose(question, default)
    assert judge(free).popular.mean() > most
    assert judge(free).objective >= judge(capped).objective
    # Popularity gets a negative weight, and the predictive components still count.
    assert capped[:2].min() > 0
    assert judge(capped).objective > 0.5 * judge(free).objective


def test_popularity_gets_a_negative_weight_only_as_a_last_resort() -> None:
    question = plant(popularity=1.0)
    default, less = np.array([0.3, 0.3, 0, 1.0]), np.array([0, 1.5, 0, 0])
    started = {"usable": (), "most_popular": 3.4}  # the search stops at the first step under the cap
    with_part, without = choose(question, default, less_popular=less, **started), choose(question, default, **started)
    assert with_part[1] > 0.3
    assert with_part[3] == 0
    assert without[3] < 0
    for weights in (with_part, without):
        assert question.judge(question.blend(weights)).popular.mean() <= 3.4


def test_a_cap_that_already_holds_changes_nothing() -> None:
    question = plant()
    np.testing.assert_array_equal(choose(question), choose(question, most_popular=9.9))


def test_cold_items_are_blended_with_their_own_weights() -> None:
    question = plant()
    shape = question.relevant.shape
    cold = replace(question, cold=torch.ones(shape, dtype=torch.bool))
    np.testing.assert_array_equal(choose(cold, cold=True), choose(question))
    cold_first = np.eye(4)[0], np.eye(4)[1]
    half = replace(question, cold=torch.arange(N_ITEMS).expand(shape) % 2 == 0)
    blended = half.blend(*cold_first, 2.0, 0.0)
    np.testing.assert_allclose(blended[:, 1::2], question.parts[0][:, 1::2])
    np.testing.assert_allclose(blended[:, ::2], question.parts[1][:, ::2] + 2)
    met = replace(half, disliked=torch.ones(shape))
    np.testing.assert_allclose(met.blend(*cold_first, 2.0, 0.5)[:, ::2], blended[:, ::2] - 0.5)


def test_a_clearly_better_baseline_wins() -> None:
    question = plant(more=3.0)
    rivals = {"weak": question.parts[0], "strong": question.parts[1]}
    weak = question.judge(question.parts[0])
    winner, best, judged, error = race(question, weak, rivals, None)
    assert (winner, best) == ("strong", "strong")
    assert judged is not None
    assert judged.objective > weak.objective
    assert 0 < error < judged.objective
    strong = question.judge(question.parts[1])
    assert race(question, strong, rivals, None)[:2] == (None, "strong")  # it is no better than itself
    assert race(question, strong, {}, None)[:3] == (None, "", None)


def test_a_baseline_within_the_noise_does_not_win() -> None:
    question = few(plant(more=1.1), 6)
    _, best, judged, _ = race(question, question.judge(question.parts[0]), {"more": question.parts[1]}, None)
    assert best == "more"
    assert judged is not None
    for seed in range(8):
        same = plant(seed, more=1.0)  # as good as the choice up to chance
        assert race(same, same.judge(same.parts[0]), {"more": same.parts[1]}, None)[0] is None


def test_a_baseline_above_the_cap_is_excluded() -> None:
    question = plant(popularity=1.0)
    popular, personal = question.parts[3], question.parts[0]
    chosen = question.judge(question.parts[2])
    assert race(question, chosen, {"popularity": popular}, None)[0] == "popularity"
    assert race(question, chosen, {"popularity": popular}, 4.0)[:3] == (None, "", None)
    assert race(question, chosen, {"popularity": popular, "personal": personal}, 6.0)[0] == "personal"


def test_a_difference_is_clear_above_its_error() -> None:
    assert is_clear((0.05, 0.01))
    assert not is_clear((0.01, 0.01))
    assert not is_clear((0.0, 0.0))
    assert not is_clear((-0.05, 0.01))
    assert not is_clear((0.5, float("inf")))


def test_a_setting_changes_only_for_a_clear_gain() -> None:
    question, quality = plant(), dict[str, float]()

    def measure(value: float) -> ListQuality:
        return question.judge(question.parts[0] + value * question.parts[1])

    assert choose_setting(0.0, (0.5, 1.0), measure, quality, "more") == 1.0
    assert set(quality) == {"more=0", "more=0.5", "more=1"}
    assert quality["more=1"] == pytest.approx(measure(1.0).objective)
    assert choose_setting(0.9, (1.0, 1.1), measure, {}, "more") == 0.9  # better only by chance
    assert choose_setting(1.0, (), measure, {}, "more") == 1.0

    def noise(value: float) -> ListQuality:
        return question.judge(question.parts[0] + value * question.parts[2])

    assert choose_setting(0.0, (-0.1, 0.05, 0.1), noise, {}, "noise") == 0.0


def test_the_cap_never_drops_all_weights() -> None:
    question = plant(popularity=1.0)
    weights = choose(question, np.array([0, 0, 0, 0.8]), most_popular=4.0, usable=["popularity"])
    assert weights.any()  # else all items are tied
    assert question.judge(question.blend(weights)).popular.mean() <= 4.0
