"""The gate's choice on planted questions, which a single component answers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from checkerboard import to_csr
from fitted import COLD, DIM, MET, N_ITEMS, draw_model
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.config import GateConfig
from kgrec.model.component import Support
from kgrec.model.gate import Gate
from kgrec.model.model import Model
from kgrec.questions.slices import Slice
from kgrec.training.gating import choose_gate, default_weights, most_popular_for
from kgrec.training.questions import score_components
from kgrec.training.selection import Verdict
from kgrec.training.trust import trust_in_knowledge

SIZES, K, N_USERS = (0, 1, 3), 5, 150
FREE = GateConfig(most_popular={})
WARM = np.setdiff1d(np.arange(N_ITEMS), COLD)


def draw_support(n_likes: int, n_users: int = N_USERS, seed: int = 0) -> csr_array:
    rng = np.random.default_rng(seed)
    liked = np.zeros((n_users, N_ITEMS), bool)
    for row in liked:
        row[rng.choice(WARM, n_likes, replace=False)] = True
    return to_csr(liked)


def plant(
    model: Model, name: str, support: csr_array, among: NDArray[np.int64], slice_name: str, n_relevant: int = 3
) -> Slice:
    """Users whose relevant items are those that one component ranks first among some items."""
    scores = (
        score_components(model, Support(support), model.names, np.arange(N_ITEMS))[model.names.index(name)]
        .numpy()
        .copy()
    )
    barred = np.ones(scores.shape, bool)
    barred[:, among] = False
    barred |= support.toarray() > 0
    scores[barred] = -np.inf
    relevant = scores > -np.sort(-scores, axis=1)[:, n_relevant, None]  # no relevant item ties with another item
    candidates = np.zeros(N_ITEMS, bool)
    candidates[among] = True
    return Slice(slice_name, slice_name, support, to_csr(relevant & ~barred), candidates)


def choose(model: Model, *slices: Slice, config: GateConfig = FREE, seed: int = 0) -> tuple[Gate, dict[str, Verdict]]:
    by_name = {slice_.name: slice_ for slice_ in slices}
    gate, verdicts = choose_gate(model, by_name, config, SIZES, K, np.random.default_rng(seed), model.n_likes.numpy())
    for part in (gate.warm, gate.cold, gate.shift, gate.sentence_warm, gate.sentence_cold):
        assert np.isfinite(part).all()
    titles = [verdict.title for verdict in verdicts]
    assert len(titles) == len(set(titles))
    return gate, {verdict.title: verdict for verdict in verdicts}


def weights_of_known(gate: Gate) -> NDArray[np.float32]:
    """(n_buckets, n_components): the weights for users with links, attributes or a text."""
    return gate.warm if gate.known is None else gate.known


def test_without_questions_every_bucket_has_its_default() -> None:
    model = draw_model()
    gate, verdicts = choose(model)
    assert verdicts == {}
    assert gate.least_likes[0] == 0
    assert (np.diff(gate.least_likes) > 0).all()
    assert len(gate.warm) == len(gate.cold) == len(gate.shift) == len(SIZES) + 1
    assert gate.warm.any(axis=1).all()
    none = default_weights(model, "none")
    np.testing.assert_array_equal(gate.warm[0] != 0, none != 0)
    # Components without a prior do not score cold items, whatever the defaults.
    unplaced = [component.cold_scale is None for component in model.components]
    assert not gate.cold[:, unplaced].any()
    assert np.isfinite(replace(model, gate=gate).score(to_csr(np.zeros((1, N_ITEMS))))).all()


@pytest.mark.parametrize("name", ["co_likes", "backbone", "item_item", "item_item_few"])
def test_the_choice_matches_the_right_baseline(name: str) -> None:
    model = draw_model()
    asked = plant(model, name, draw_support(3), WARM, "cold_users_k3")
    gate, verdicts = choose(model, asked)
    verdict = verdicts["2 to 20 likes"]
    baseline = next(component.baseline for component in model.components if component.name == name)
    assert verdict.baseline == baseline
    assert verdict.baseline_worth == pytest.approx(1, abs=1e-6)
    assert verdict.error is not None
    assert verdict.worth >= 1 - 2 * verdict.error - 1e-6
    assert verdict.n_users == N_USERS
    place = model.names.index(name)
    assert gate.warm[2, place] == gate.warm[2].max() > 0
    # No user with one like takes part: there the default stays, but texts and links count as far as the questions
    # show that they can be trusted.
    default, knows = choose(model)[0].warm[1], default_weights(model, "knows") > 0
    share = gate.warm[1, ~knows].sum() / default[~knows].sum()
    np.testing.assert_allclose(gate.warm[1, ~knows], share * default[~knows], rtol=1e-5)
    trust = trust_in_knowledge(model, {asked.name: asked}, np.random.default_rng(0))
    np.testing.assert_allclose(gate.warm[1, knows], trust * share * default[knows], rtol=1e-5)


def test_texts_and_links_are_trusted_where_they_predict_the_likes() -> None:
    model = draw_model()
    support = csr_array(np.repeat(draw_support(3, 60).toarray(), 2, axis=0))
    asked = plant(model, "knowledge", support, WARM, "cold_users_k3")
    assert trust_in_knowledge(model, {asked.name: asked}, np.random.default_rng(0)) == 1


def test_a_component_of_noise_gets_no_weight() -> None:
    model = draw_model()
    rng, place = np.random.default_rng(0), model.names.index("co_likes")
    component = model.components[place]
    noise = csr_array((rng.normal(size=(N_ITEMS, N_ITEMS)) * (1 - np.eye(N_ITEMS))).astype(np.float32))
    noisy = replace(component, neighbours=noise)  # type: ignore[type-var]
    model = replace(model, components=(*model.components[:place], noisy, *model.components[place + 1 :]))
    gate, _ = choose(model, plant(model, "knowledge", draw_support(3), WARM, "cold_users_k3"))
    share = np.abs(gate.warm[2]) / np.abs(gate.warm[2]).sum()
    assert share[place] < 0.1
    assert share[model.names.index("knowledge")] > 0.3


@pytest.mark.parametrize("name", ["knowledge", "content"])
def test_cold_items_are_ranked_by_the_component_that_predicts_them(name: str) -> None:
    model = draw_model()
    gate, verdicts = choose(model, plant(model, name, draw_support(3), COLD, "cold_users_cold_items_k3"))
    verdict = verdicts["2 to 20 likes, cold items"]
    assert verdict.n_users == N_USERS
    assert verdict.worth > 0.85
    assert gate.cold[2, model.names.index(name)] == gate.cold[2].max()


def test_known_users_count_in_the_bucket_of_their_likes() -> None:
    model = draw_model()
    support = csr_array(np.vstack([draw_support(1, 40).toarray(), draw_support(21, 30).toarray()]))
    asked = plant(model, "backbone", support, WARM, "warm", n_relevant=1)
    _, verdicts = choose(model, asked)
    assert {title: verdict.n_users for title, verdict in verdicts.items()} == {"1 like": 40, "21 likes or more": 30}


def test_one_user_leaves_the_defaults_and_gives_no_error_estimate() -> None:
    model = draw_model()
    gate, verdicts = choose(model, plant(model, "co_likes", draw_support(3, 1), WARM, "cold_users_k3"))
    assert verdicts["2 to 20 likes"].n_users == 1
    assert verdicts["2 to 20 likes"].error is None
    default = choose(model)[0].warm[2]
    kept, known = (weights[2] / weights[2].max() for weights in (gate.warm, weights_of_known(gate)))
    np.testing.assert_allclose(known, default / default.max(), rtol=1e-5)
    is_prior = np.array([name == "user_prior" for name in model.names])
    np.testing.assert_allclose(kept, np.where(is_prior, 0, default / default.max()), rtol=1e-5)


def popular_model() -> tuple[Model, NDArray[np.float32]]:
    """A model of 300 items, whose neighbours recommend the most liked items to everybody."""
    rng = np.random.default_rng(0)
    n_items = 300
    counts = 60 + np.sort(rng.geometric(0.05, n_items))[::-1]
    counts[:20] += 40  # they have an eighth of all likes
    model = draw_model()
    from kgrec.model.item_item import CoLikes
    from kgrec.model.popularity import Popularity

    personal = rng.random((n_items, n_items)) < 0.02
    weights = (2.0 * personal + (counts - 60) / 100) * (1 - np.eye(n_items))
    components = (CoLikes.of(csr_array(weights.astype(np.float32))), Popularity.of(torch.from_numpy(counts)))
    return replace(
        model, components=components, n_likes=torch.from_numpy(counts), n_disliked=torch.zeros(n_items).long(),
        text=torch.zeros((n_items, 0)),
    ), counts.astype(np.float32)  # fmt: skip


def test_the_cap_on_popular_items_holds_for_one_like() -> None:
    model, counts = popular_model()
    n_items, rng = len(counts), np.random.default_rng(1)
    support = np.zeros((N_USERS, n_items), bool)
    support[np.arange(N_USERS), rng.integers(0, n_items, N_USERS)] = True
    # Relevant items are popular: without the cap, popular lists win.
    chance = (counts - 60) ** 2 / ((counts - 60) ** 2).sum()
    relevant = np.zeros(support.shape, bool)
    for row in relevant:
        row[rng.choice(n_items, 5, replace=False, p=chance)] = True
    asked = Slice("cold_users_k1", "One like", to_csr(support), to_csr(relevant & ~support))

    def popular(config: GateConfig) -> float:
        gate, verdicts = choose_gate(
            model, {asked.name: asked}, config, SIZES, 20, np.random.default_rng(0), model.n_likes.numpy()
        )
        assert (gate.warm[1] != 0).any()
        (verdict,) = [verdict for verdict in verdicts if verdict.title == "1 like"]
        return verdict.popular

    assert popular(FREE) > 4
    assert popular(GateConfig(most_popular={1: 3.0})) <= 3


@pytest.mark.parametrize("n_users", [0, 3, 12])
def test_few_users_do_not_lift_the_cap(n_users: int) -> None:
    model, counts = popular_model()
    n_items, rng = len(counts), np.random.default_rng(1)
    liked = rng.integers(0, n_items, N_USERS)
    support = np.zeros((N_USERS, n_items), bool)
    support[np.arange(N_USERS), liked] = True
    relevant = np.zeros((n_users, n_items), bool)
    relevant[:, :20] = True  # those with most likes
    few = support[:n_users]
    asked = Slice("cold_users_k1", "One like", to_csr(few), to_csr(relevant & ~few))
    config = GateConfig(most_popular={1: 3.0})
    gate, verdicts = choose_gate(
        model, {asked.name: asked} if n_users else {}, config, SIZES, 20, np.random.default_rng(0),
        model.n_likes.numpy(),
    )  # fmt: skip
    if n_users > 5:
        assert next(verdict.popular for verdict in verdicts if verdict.title == "1 like") <= 3
    else:  # its lists have no measured popularity
        assert gate.warm[1, model.names.index("popularity")] == 0


def test_a_small_catalogue_scales_the_cap() -> None:
    config = GateConfig(most_popular={1: 3.0, 3: 4.0})
    assert most_popular_for(config, 1, 100_000) == 3
    assert most_popular_for(config, 3, 100_000) == 4
    assert most_popular_for(config, 1, 20) == 10  # all items are among the 20 most liked
    caps = [most_popular_for(config, 1, n_items) for n_items in (20, 100, 200, 1000)]
    assert caps == sorted(caps, reverse=True)
    for size in (None, 0, 5):
        assert most_popular_for(config, size, 1000) is None


@pytest.mark.parametrize("wanted", [True, False])
def test_the_penalty_of_dislikes_follows_validation(wanted: bool) -> None:
    model = draw_model()
    support = draw_support(21)
    unmet = np.setdiff1d(COLD, MET)
    by_prior = plant(model, "knowledge", support, MET if wanted else unmet, "overall", n_relevant=2)
    asked = Slice("overall", "All", support, by_prior.relevant)
    cold = plant(model, "knowledge", support, COLD, "cold_items")
    gate, verdicts = choose(model, cold, asked)
    default, _ = choose(model, cold)
    assert verdicts["items met but not liked"].n_users == N_USERS
    assert gate.dislike < default.dislike if wanted else gate.dislike >= default.dislike


@pytest.mark.parametrize("wanted", [True, False])
def test_the_rank_of_cold_items_among_all_follows_validation(wanted: bool) -> None:
    model = replace(draw_model(), n_disliked=torch.zeros(N_ITEMS).long())
    support = draw_support(3)
    kinds = [plant(model, "knowledge", support, among, "overall", 2) for among in (COLD, WARM)]
    asked = Slice("overall", "All", support, kinds[0 if wanted else 1].relevant)
    gate, verdicts = choose(model, asked)
    served = replace(model, gate=gate).score(support)
    first = np.argsort(-served, axis=1)[:, :K]
    share = np.isin(first, COLD).mean()
    assert share > 0.5 if wanted else share < 0.35
    assert verdicts["2 to 20 likes, all items"].n_users == N_USERS


def test_users_without_likes_get_no_cold_items_first() -> None:
    model = draw_model()
    gate, _ = choose(model)
    scores = replace(model, gate=gate).score(to_csr(np.zeros((1, N_ITEMS))))[0]
    assert scores[COLD].max() < scores[WARM].min()


def test_sentence_weights_are_chosen_on_texts_of_likes() -> None:
    model = draw_model()
    text = model.text.numpy()
    shown = np.array([item for item in WARM if text[item].any()])
    support = to_csr(np.eye(N_ITEMS, dtype=bool)[np.tile(shown, 8)])
    asked = plant(model, "sentence", support, WARM, "cold_users_k1")  # all tied: anything
    nearness = text[np.tile(shown, 8)] @ text.T
    nearness[:, COLD] = -9
    np.put_along_axis(nearness, np.tile(shown, 8)[:, None], -9, axis=1)
    relevant = nearness >= np.sort(nearness, axis=1)[:, -2:-1]
    asked = replace(asked, relevant=to_csr(relevant))
    gate, verdicts = choose(model, asked)
    verdict = verdicts["sentence"]
    assert 0 < verdict.n_users <= len(shown) * 8
    place = model.names.index("sentence")
    assert gate.sentence_warm[place] == gate.sentence_warm.max() > 0
    assert np.isfinite(verdict.worth)
    mute = replace(model, text=torch.zeros((N_ITEMS, 0)))
    assert "sentence" not in choose(mute, asked)[1]


def plant_by_graph(model: Model, n_likes: int, n_users: int = N_USERS) -> Slice:
    """New users whose relevant items are those that the graph ranks first for them."""
    component = model.component("user_prior")
    assert component is not None
    support = draw_support(n_likes, n_users)
    prior = np.random.default_rng(1).normal(size=(n_users, DIM)).astype(np.float32)
    scores = (component.users(Support(support, prior=torch.from_numpy(prior))) @ component.items.T).numpy()
    scores[:, COLD] = -np.inf
    scores[support.toarray() > 0] = -np.inf
    relevant = scores > -np.sort(-scores, axis=1)[:, 3, None]
    candidates = np.zeros(N_ITEMS, bool)
    candidates[WARM] = True
    name = f"cold_users_k{n_likes}"
    return Slice(name, name, support, to_csr(relevant), candidates, prior=prior)


@pytest.mark.parametrize("n_likes", [0, 1])
def test_users_known_by_the_graph_are_answered_from_it(n_likes: int) -> None:
    model = draw_model()
    asked, place = plant_by_graph(model, n_likes), model.names.index("user_prior")
    gate, verdicts = choose(model, asked)
    unknown, without = choose(model, replace(asked, prior=None))
    title = ("0 likes", "1 like")[n_likes]
    assert weights_of_known(gate)[n_likes, place] > 0.3
    assert verdicts[title].worth > max(0.8, 2 * without[title].worth)
    assert unknown.warm[n_likes, place] == weights_of_known(unknown)[n_likes, place] == 0


@pytest.mark.parametrize("n_likes", [0, 1])
@pytest.mark.parametrize("noise", ["of others", "opposite", "nothing"])
def test_noise_of_the_graph_gets_no_weight_and_loses_nothing(n_likes: int, noise: str) -> None:
    model = draw_model()
    asked, place = plant_by_graph(model, n_likes), model.names.index("user_prior")
    prior = {
        "of others": np.random.default_rng(2).permutation(asked.prior), "opposite": -asked.prior,
        "nothing": 0 * asked.prior,
    }[noise]  # fmt: skip
    gate, verdicts = choose(model, replace(asked, prior=prior))
    unknown, without = choose(model, replace(asked, prior=None))
    assert weights_of_known(gate)[n_likes, place] == 0
    np.testing.assert_array_equal(weights_of_known(gate)[n_likes], unknown.warm[n_likes])
    title = ("0 likes", "1 like")[n_likes]
    assert verdicts[title].worth == without[title].worth


def plant_unpopular(model: Model, prior: NDArray[np.float32] | None = None) -> Slice:
    """New users without likes who want the least liked items."""
    support = to_csr(np.zeros((N_USERS, N_ITEMS), bool))
    relevant, candidates = (np.zeros((n, N_ITEMS), bool) for n in (N_USERS, 1))
    relevant[:, WARM[np.argsort(model.n_likes.numpy()[WARM], kind="stable")[:3]]] = True
    candidates[0, WARM] = True
    return Slice("cold_users_k0", "cold_users_k0", support, to_csr(relevant), candidates[0], prior=prior)


def test_of_whom_nothing_is_known_popularity_decides_and_never_against_the_popular() -> None:
    model = draw_model()
    place = model.names.index("popularity")
    noise = np.random.default_rng(2).normal(size=(N_USERS, DIM)).astype(np.float32)
    for prior in (None, noise, 0 * noise):
        gate, _ = choose(model, plant_unpopular(model, prior))
        assert gate.warm[0, place] > 0
        assert not np.delete(gate.warm[0], place).any()
        assert weights_of_known(gate)[0, place] >= 0
        nobody = replace(model, gate=gate).score(to_csr(np.zeros((1, N_ITEMS), bool)))[0, WARM]
        assert nobody.argmax() == model.n_likes.numpy()[WARM].argmax()


def test_where_the_graph_says_nothing_of_users_without_likes_popularity_decides() -> None:
    model = draw_model()
    asked = plant_by_graph(model, 0)
    popular = np.zeros((N_USERS, N_ITEMS), bool)
    popular[:, WARM[np.argsort(-model.n_likes.numpy()[WARM])[:3]]] = True
    gate, _ = choose(model, replace(asked, relevant=to_csr(popular)))
    np.testing.assert_array_equal(weights_of_known(gate)[0], gate.warm[0])


def test_too_few_users_leave_the_default_weight_of_the_graph() -> None:
    model = draw_model()
    asked, place = plant_by_graph(model, 0, n_users=6), model.names.index("user_prior")
    noise = replace(asked, prior=-asked.prior)
    gate, _ = choose(model, noise)
    none = default_weights(model, "none")
    known = weights_of_known(gate)[0]
    assert known[place] == pytest.approx(known.max() * none[place] / none.max(), rel=1e-4)
