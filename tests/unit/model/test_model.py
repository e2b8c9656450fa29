from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from checkerboard import to_csr
from fitted import COLD, DIM, MET, N_ITEMS, add_item, draw_inputs, draw_model, draw_sentence, to_support
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.bundle.arrays import round_stored
from kgrec.model.backbone import ItemHead
from kgrec.model.component import Emphatic, Support, add_rows
from kgrec.model.gate import bucket_starts
from kgrec.model.likeness import join_content
from kgrec.model.model import Model

NO_CODES = np.zeros(0, np.int64)
SEEDS = st.integers(0, 5)


@dataclass(frozen=True)
class Request:
    """A model with 0 to 2 added items, weighted likes among all of its items, and a sentence or none."""

    model: Model
    liked: list[int]
    weights: list[float]
    sentence: NDArray[np.float32] | None

    @property
    def likes(self) -> csr_array:
        return to_support([self.liked], self.model.n_items, self.weights)

    @property
    def support(self) -> Support:
        return (
            Support(self.likes) if self.sentence is None else self.model.with_sentence(self.likes, self.sentence[None])
        )

    def score(self) -> NDArray[np.float32]:
        if self.sentence is None:
            return self.model.score(self.likes)[0]
        return self.model.score_support(self.support)[0]


@st.composite
def requests(draw: st.DrawFn) -> Request:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    seed = draw(SEEDS)
    model, n_codes = draw_model(seed), len(draw_inputs(seed).links.idf)
    for _ in range(draw(st.integers(0, 2))):
        text = draw_sentence(rng) if draw(st.booleans()) else None
        model = add_item(model, text, rng.permutation(n_codes)[: draw(st.integers(0, 5))])
    liked = draw(st.lists(st.integers(0, model.n_items - 1), unique=True, max_size=9))
    weights = [1.0] * len(liked) if draw(st.booleans()) else rng.uniform(0.5, 2, len(liked)).tolist()
    return Request(model, liked, weights, draw_sentence(rng) if draw(st.booleans()) else None)


def test_buckets_of_the_gate() -> None:
    gate = draw_model().gate
    np.testing.assert_array_equal(gate.bucket(np.array([0, 1, 2, 3, 4, 5, 900])), [0, 1, 1, 1, 2, 2, 2])


@pytest.mark.parametrize(
    ("sizes", "starts"),
    [((1, 3, 10), [0, 1, 2, 6, 21]), ((5,), [0, 2, 21]), ((1, 1000), [0, 1, 32, 33]), ((), [0, 21])],
)
def test_a_bucket_begins_at_the_geometric_mean_of_two_support_sizes(sizes: tuple[int, ...], starts: list[int]) -> None:
    assert bucket_starts(sizes, 21) == starts  # sqrt(1 * 3) = 1.7, sqrt(3 * 10) = 5.5; none counts as half a like


def standardise(model: Model, support: csr_array) -> NDArray[np.float64]:
    """(n_components, n_items) by hand: each component's scores for one user, centred and divided by the deviation.

    Mean and deviation are those of the reference items: for factors the component's, for neighbours the items with
    likes, or for cold items their references.
    """
    warm, parts = ~model.cold.numpy(), []
    for component in model.components:
        user = component.users(Support(support))[0].double().numpy()
        factors = component.items.double().numpy() @ user
        rows = np.zeros(model.n_items)
        if component.neighbours is not None:
            rows = (support @ component.neighbours).toarray()[0].astype(np.float64)
        references = np.zeros(1)
        if component.reference is not None:
            references = (support @ component.reference).toarray()[0].astype(np.float64)
        found = np.zeros(model.n_items)
        kinds = ((component.warm_scale, warm, rows[warm]), (component.cold_scale, ~warm, references))
        for scale, chosen, beside in kinds:
            if scale is None:
                continue
            mean = float(scale.mean.double().numpy() @ user) + beside.mean()
            variance = float(user @ scale.covariance.double().numpy() @ user) + beside.var()
            scores = (factors + rows - mean) / np.sqrt(variance) if variance > 1e-12 else np.zeros(model.n_items)
            emphasis = 1.0
            if isinstance(component, Emphatic):
                emphasis = component.emphasis(Support(support), component.users(Support(support))).item()
            found[chosen] = emphasis * scores[chosen]
        parts.append(found)
    return np.stack(parts)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("bucket", "liked"), [(0, []), (1, [1, 4]), (2, [1, 2, 3, 4, 7])])
def test_the_score_is_the_blend_of_the_components_by_bucket_and_kind_of_item(
    seed: int, bucket: int, liked: list[int]
) -> None:
    model, support = draw_model(seed), to_support([liked])
    parts, gate = standardise(model, support), model.gate
    disliked = gate.dislike * np.log1p(model.n_disliked.numpy())
    warm, cold = gate.warm[bucket] @ parts, gate.cold[bucket] @ parts + gate.shift[bucket] - disliked
    expected = np.where(model.cold.numpy(), cold, warm)
    np.testing.assert_allclose(model.score(support)[0], expected, rtol=1e-3, atol=1e-3)


def test_parts_are_standardised_over_their_reference_items() -> None:
    model = draw_model()
    warm, support = ~model.cold.numpy(), Support(to_support([[1, 2, 9], [3]]))
    for name in ("backbone", "few_shot", "co_likes", "knowledge", "popularity"):
        component = model.component(name)
        assert component is not None
        part = model.part(component, support)
        raw = (part.users @ component.items.T).numpy() + (0 if part.added is None else part.added.numpy())
        mean, unit = (value.numpy()[:, None] for value in part.warm)
        reference = warm
        if name == "knowledge":  # it treats items without likes like the others
            reference = component.items.any(dim=1).numpy()
            assert reference[model.cold.numpy()].any()
            assert all(torch.equal(ours, theirs) for ours, theirs in zip(part.warm, part.cold, strict=True))
        scores = ((raw - mean) * unit)[:, reference]
        np.testing.assert_allclose(scores.mean(axis=1), 0, atol=1e-3)
        np.testing.assert_allclose(scores.std(axis=1), 1, atol=1e-3)


@pytest.mark.parametrize("liked", [[4], [0, 8, 12, 16, 20]])
@pytest.mark.parametrize("has_sentence", [False, True], ids=["likes", "sentence"])
def test_likes_of_cold_items_alone_are_answered_by_texts_and_links(liked: list[int], has_sentence: bool) -> None:
    model, likes = draw_model(), to_support([liked])
    sentence = draw_sentence(np.random.default_rng(0))
    support = model.with_sentence(likes, sentence[None]) if has_sentence else Support(likes)
    assert model.cold[liked].all()
    expected = standardise(model, likes)[model.names.index("knowledge")].copy()
    disliked = np.where(model.cold, model.gate.dislike * np.log1p(model.n_disliked.numpy()), 0)
    sources = model.contributions(support).sources
    assert set(sources) == {"knowledge", "user_prior", *(["sentence"] if has_sentence else [])}
    assert not sources["user_prior"].any()  # nothing but likes is known of this user
    np.testing.assert_allclose(sources["knowledge"], expected, rtol=1e-3, atol=1e-3)
    if not has_sentence:
        np.testing.assert_allclose(model.score(likes)[0], expected - disliked, rtol=1e-3, atol=1e-3)
    # With one like of an item with likes, the components of likes count again.
    assert len(model.contributions(Support(to_support([[*liked, 1]]))).sources) > 2
    # Without texts and links the gate decides.
    places = [place for place, name in enumerate(model.names) if name != "knowledge"]
    gate = replace(
        model.gate, warm=model.gate.warm[:, places], cold=model.gate.cold[:, places],
        sentence_warm=model.gate.sentence_warm[places], sentence_cold=model.gate.sentence_cold[places],
    )  # fmt: skip
    without = replace(model, components=tuple(model.components[place] for place in places), gate=gate)
    assert len(without.contributions(support).sources) > 2


@pytest.mark.parametrize("weights", [None, 0])
def test_rows_of_a_matrix_are_added_up(weights: int | None) -> None:
    rng = np.random.default_rng(0)
    matrix = csr_array(np.where(rng.random((7, 9)) < 0.4, rng.normal(size=(7, 9)), 0).astype(np.float32))
    likes = csr_array((rng.random((5, 7)) < 0.5).astype(np.float32))
    likes.data[:] = 1 if weights is None else rng.uniform(0.5, 2, likes.nnz)
    nobody = csr_array((2, 7), dtype=np.float32)
    for support in (likes, likes[[2]], nobody, nobody[[0]]):
        found = add_rows(support, matrix)
        assert found.dtype == torch.float32
        np.testing.assert_allclose(found, (support @ matrix).toarray(), atol=1e-6)


def test_mixed_users_score_in_a_batch_as_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = draw_model()
    liked = [[], [4], [1, 2, 3, 5, 7], [1], [0, 8, 12], [2, 3], [4, 9], [], [1, 2, 5, 6, 9, 10, 11]]
    support = to_support(liked)
    alone = np.concatenate([model.score(support[[row]]) for row in range(len(liked))])
    assert (np.ptp(alone, axis=1) > 0).all()
    np.testing.assert_allclose(model.score(support), alone, rtol=1e-4, atol=1e-4)
    assert model.score(support[np.zeros(0, np.int64)]).shape == (0, N_ITEMS)
    sentences = np.stack([draw_sentence(np.random.default_rng(row)) for row in range(len(liked))])
    with_sentence = model.with_sentence(support, sentences)
    alone = np.concatenate([model.score_support(with_sentence.select(np.array([row]))) for row in range(len(liked))])
    np.testing.assert_allclose(model.score_support(with_sentence), alone, rtol=1e-4, atol=1e-4)
    monkeypatch.setattr("kgrec.model.model._LEAST_BLOCK", 2)
    monkeypatch.setattr("kgrec.model.model._BLOCK_SCORES", 1)
    np.testing.assert_allclose(model.score_support(with_sentence), alone, rtol=1e-4, atol=1e-4)


def test_a_cold_item_is_penalised_by_the_number_of_dislikes() -> None:
    model = draw_model()
    kind = replace(model, gate=replace(model.gate, dislike=0.0))
    support = to_support([[], [1], [1, 2, 3, 5, 6]])
    lost = kind.score(support) - model.score(support)
    expected = np.zeros(N_ITEMS)
    expected[MET] = 0.7 * np.log1p([1, 2, 5, 9])
    np.testing.assert_allclose(lost, np.tile(expected, (3, 1)), atol=1e-4)  # items with likes have no penalty


@given(requests())
@settings(deadline=None, max_examples=60)
def test_contributions_add_up_to_the_score(request: Request) -> None:
    model, found = request.model, request.model.contributions(request.support)
    assert found.likes.shape == found.known.shape == (len(request.liked), model.n_items)
    assert (request.sentence is not None) == bool(found.sentence.any())
    expected = request.score()
    assert np.isfinite(expected).all()
    whole = found.likes.sum(axis=0) + found.sentence + found.rest
    np.testing.assert_allclose(whole, expected, rtol=1e-3, atol=2e-3)


@given(requests())
@settings(deadline=None, max_examples=30)
def test_sources_and_the_cold_shift_add_up_to_the_score(request: Request) -> None:
    model, found = request.model, request.model.contributions(request.support)
    assert set(found.sources) <= set(model.names)
    gate, n_likes = model.gate, len(request.liked)
    shift = gate.shift[gate.bucket(np.array([n_likes]))[0]]
    if request.sentence is not None and not n_likes:
        shift = gate.sentence_shift
    elif model.cold[request.liked].all() and n_likes:
        shift = 0.0  # likes of cold items alone are answered by texts and links
    level = np.where(model.cold, shift - gate.dislike * np.log1p(model.n_disliked.numpy()), 0)
    np.testing.assert_allclose(sum(found.sources.values()) + level, request.score(), rtol=1e-3, atol=2e-3)


@given(requests())
@settings(deadline=None, max_examples=20)
def test_likes_score_a_cold_item_through_texts_and_links(request: Request) -> None:
    model, found = request.model, request.model.contributions(request.support)
    assert found.sources
    cold = model.cold.numpy()
    np.testing.assert_allclose(found.known[:, cold], found.likes[:, cold], atol=1e-5)
    alone = replace(model.gate, warm=np.where(np.array(model.names) == "knowledge", model.gate.warm, 0))
    of_knowledge = replace(model, gate=alone).contributions(request.support)
    if request.sentence is None:
        np.testing.assert_allclose(found.known[:, ~cold], of_knowledge.likes[:, ~cold], rtol=1e-3, atol=1e-4)


@given(requests())
@settings(deadline=None, max_examples=25)
def test_a_sentence_counts_as_one_more_like_placed_by_the_prior(request: Request) -> None:
    model = request.model
    sentence = draw_sentence(np.random.default_rng(len(request.liked)))
    support = model.with_sentence(request.likes, sentence[None])
    placed = model.prior.place(sentence, NO_CODES)
    np.testing.assert_allclose(support.placed, placed[None], atol=1e-6)
    backbone = model.backbone
    few_shot = model.component("few_shot")
    assert few_shot is not None
    weights = np.append(request.weights, 1.0)
    for head, own, centre, held_back in (
        (backbone, placed, np.zeros(DIM), 10.0),
        (few_shot, placed @ few_shot.to_head.numpy(), few_shot.centre.double().numpy(), 0.0),  # type: ignore[attr-defined]
    ):
        shown = np.vstack([head.items[request.liked].numpy(), own]).astype(np.float64)
        base, slope = head.ridge_base, head.ridge_slope  # type: ignore[attr-defined]
        ridge = (1 + (held_back / len(shown)) ** 2) * base + slope * len(shown)
        gram = head.alpha * head.gram.double().numpy()  # type: ignore[attr-defined]
        left = (shown.T * weights) @ shown + gram + ridge * np.eye(DIM)
        user = np.linalg.solve(left, shown.T @ weights + ridge * centre)
        np.testing.assert_allclose(head.users(support)[0], user, rtol=1e-3, atol=1e-4)


def test_a_sentence_with_likes_has_its_own_weight_and_keeps_the_others() -> None:
    model, sentence = draw_model(), draw_sentence(np.random.default_rng(0))
    place = model.names.index("sentence")
    mute = replace(
        model.gate, sentence_warm=model.gate.sentence_warm * (np.arange(len(model.names)) == place),
        sentence_cold=model.gate.sentence_cold * (np.arange(len(model.names)) == place), sentence_shift=99.0,
    )  # fmt: skip
    support = model.with_sentence(to_support([[1, 4]]), sentence[None])
    expected = replace(model, gate=mute).score_support(support)
    np.testing.assert_allclose(model.score_support(support), expected, atol=1e-5)
    deaf = replace(mute, sentence_warm=0 * mute.sentence_warm, sentence_cold=0 * mute.sentence_cold)
    moved = expected - replace(model, gate=deaf).score_support(support)
    nearness = model.text.numpy() @ sentence
    warm = ~model.cold.numpy()
    direction = np.sign(model.gate.sentence_warm[place])
    assert direction * np.corrcoef(moved[0, warm], nearness[warm])[0, 1] > 0.999


@given(requests(), st.integers(0, 2**32))
@settings(deadline=None, max_examples=20)
def test_contributions_to_some_items_are_those_to_all(request: Request, seed: int) -> None:
    model, rng = request.model, np.random.default_rng(seed)
    items = rng.permutation(model.n_items)[: rng.integers(0, 9)]
    some, whole = model.contributions(request.support, items), model.contributions(request.support)
    assert whole.sources
    for name in ("likes", "sentence", "rest", "known"):
        np.testing.assert_allclose(getattr(some, name), getattr(whole, name)[..., items], rtol=1e-3, atol=1e-4)
    for name, values in whole.sources.items():
        np.testing.assert_allclose(some.sources[name], values[items], rtol=1e-3, atol=1e-4)


@given(requests(), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=20)
def test_the_order_of_likes_never_matters(request: Request, shuffler) -> None:
    order = list(range(len(request.liked)))
    shuffler.shuffle(order)
    shuffled = replace(
        request, liked=[request.liked[place] for place in order], weights=[request.weights[place] for place in order]
    )
    ours, theirs = (one.model.contributions(one.support) for one in (request, shuffled))
    assert ours.sources
    np.testing.assert_allclose(ours.likes[order], theirs.likes, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(ours.rest, theirs.rest, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(request.score(), shuffled.score(), rtol=1e-3, atol=1e-3)


@given(SEEDS, st.integers(0, 2**32), st.booleans())
@settings(deadline=None, max_examples=10)
def test_a_batch_equals_its_users_one_by_one(seed: int, drawn: int, added: bool) -> None:
    model, rng = draw_model(seed), np.random.default_rng(drawn)
    if added:
        model = add_item(model, draw_sentence(rng), np.arange(3))
    users = [rng.permutation(model.n_items)[: rng.integers(0, 9)].tolist() for _ in range(12)]  # every bucket
    likes = to_support(users, model.n_items)
    sentences = np.stack([draw_sentence(rng) for _ in users])
    together, with_sentence = model.score(likes), model.score_support(model.with_sentence(likes, sentences))
    assert np.ptp(together) > 0
    for user, liked in enumerate(users):
        alone = to_support([liked], model.n_items)
        np.testing.assert_allclose(together[user], model.score(alone)[0], rtol=1e-3, atol=1e-3)
        own = model.score_support(model.with_sentence(alone, sentences[[user]]))[0]
        np.testing.assert_allclose(with_sentence[user], own, rtol=1e-3, atol=1e-3)


def test_scoring_does_not_change_the_likes() -> None:
    model, likes = draw_model(), to_support([[1, 2], [3]], weights=[1, 2, 3])
    first = model.score(likes)
    assert np.ptp(first) > 0
    model.contributions(Support(likes[[0]]))
    assert likes.data.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(model.score(likes), first)


def test_dropping_components_without_weights_changes_no_score() -> None:
    model = draw_model()
    gate, mute = model.gate, np.isin(model.names, ["popularity", "co_likes", "knowledge"])
    quiet = replace(
        model,
        gate=replace(
            gate, warm=gate.warm * ~mute, cold=gate.cold * ~mute,
            sentence_warm=gate.sentence_warm * ~mute, sentence_cold=gate.sentence_cold * ~mute,
        ),
    )  # fmt: skip
    weighed = quiet.weighed()
    assert weighed.names == tuple(name for name in model.names if name not in ("popularity", "co_likes"))
    assert "knowledge" in weighed.names  # has no weight, but answers users who like only cold items
    likes = to_support([[], [1], [0, 4], [1, 2, 3, 5]])
    np.testing.assert_allclose(weighed.score(likes), quiet.score(likes), rtol=1e-5, atol=1e-5)
    with_sentence = quiet.with_sentence(
        likes, np.stack([draw_sentence(np.random.default_rng(row)) for row in range(4)])
    )
    np.testing.assert_allclose(
        weighed.score_support(with_sentence), quiet.score_support(with_sentence), rtol=1e-5, atol=1e-5
    )
    assert not np.allclose(quiet.score(likes), model.score(likes))
    assert weighed.weighed() is weighed


def test_likeness_vectors_do_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    model = draw_model()
    content = join_content(model.text.numpy(), [model.columns.numpy()])
    monkeypatch.setattr("kgrec.model.model._BLOCK_ITEMS", 7)
    for by in (None, "likes", "text", "links"):
        expected = model.likeness.vectors_of(np.arange(N_ITEMS), content, by)
        assert expected.any()
        np.testing.assert_allclose(replace(model).likeness_vectors(by), expected, atol=1e-6)


def test_no_users_give_no_scores() -> None:
    assert draw_model().score(to_support([])).shape == (0, N_ITEMS)


@given(SEEDS)
@settings(deadline=None, max_examples=6)
def test_an_added_item_scores_as_a_cold_one_of_the_same_text_and_links(seed: int) -> None:
    model, links = draw_model(seed), draw_inputs(seed).links
    # Added items are placed by rounded values, as training leaves them.
    parts = {name: round_stored(getattr(model, name)) for name in ("prior", "likeness")}
    model = replace(model, components=tuple(map(round_stored, model.components)), **parts)
    item = int(COLD[-1])  # nobody has seen it
    text = model.text[item].numpy() if model.text[item].any() else None
    codes = links.incidence.indices[links.incidence.indptr[item] : links.incidence.indptr[item + 1]].astype(np.int64)
    grown = add_item(model, text, codes)
    assert grown.n_items == model.n_items + 1
    assert grown.cold[-1]
    for liked in ([], [1], [1, 2, 3, 4, 5, 6]):
        before = model.score(to_support([liked]))[0]
        assert np.ptp(before) > 0
        after = grown.score(to_support([liked], N_ITEMS + 1))[0]
        np.testing.assert_allclose(after[:-1], before, rtol=1e-3, atol=1e-3)  # no other item moves
        assert after[-1] == pytest.approx(before[item], rel=1e-2, abs=1e-2)
    sentence = draw_sentence(np.random.default_rng(seed))
    whole = grown.score_support(grown.with_sentence(to_support([[]], N_ITEMS + 1), sentence[None]))[0]
    assert whole[-1] == pytest.approx(whole[item], rel=1e-2, abs=1e-2)


def test_a_like_of_an_added_item_counts_only_in_components_that_place_it() -> None:
    model = add_item(draw_model(1), draw_sentence(np.random.default_rng(0)), np.arange(4))
    liked, nothing = (Support(to_support([row], N_ITEMS + 1)) for row in ([N_ITEMS], []))
    for component in model.components:
        scores = [
            (component.users(support) @ component.items.T).numpy()
            + (0 if component.neighbours is None else (support.likes @ component.neighbours).toarray())
            for support in (liked, nothing)
        ]
        differs = not np.allclose(*scores, atol=1e-4)
        assert differs == (component.name in ("backbone", "few_shot", "knowledge")), component.name


def test_a_cold_item_gets_nothing_from_components_without_a_prior() -> None:
    model = draw_model(2)
    unplaced = np.array([component.cold_scale is None for component in model.components])
    assert set(np.array(model.names)[unplaced]) == {
        "linked_likes", "item_item", "item_item_few", "co_likes", "transitions", "popularity",
    }  # fmt: skip
    heavier = replace(model.gate, cold=model.gate.cold + 9 * unplaced.astype(np.float32))
    ours, theirs = (m.score(to_support([[1, 5]]))[0] for m in (model, replace(model, gate=heavier)))
    assert np.ptp(ours) > 0
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_likes_move_cold_items_by_the_formula_and_nothing_else() -> None:
    model = draw_model(3)
    cold, met = COLD[:3], np.array([1])
    rows, rng = np.r_[cold, met], np.random.default_rng(0)
    liked = to_csr((rng.random((6, N_ITEMS)) < 0.3) & ~model.cold.numpy())
    support = to_csr(
        [[1, 1, 0, 0, 1, 0], [0] * 6, [0, 0, 0, 1, 0, 0], [1] * 6]
    )  # the second has no likes, the last was seen
    grown = model.with_likes(rows, support, liked)
    users = model.backbone.users(Support(liked)).double().numpy()
    ours, theirs = grown.component("few_shot"), model.component("few_shot")
    assert ours is not None
    assert theirs is not None
    to_head = theirs.to_head.numpy()  # type: ignore[attr-defined]
    for place in (0, 2):
        w, centre = users[support.toarray()[place] > 0], model.item_head.centres[rows[place]].double().numpy()
        v = w / np.linalg.norm(w, axis=1, keepdims=True) - model.item_head.mean.double().numpy()
        z = np.linalg.solve(v.T @ v + np.eye(DIM), model.item_head.level * v.sum(axis=0) + centre)
        np.testing.assert_allclose(grown.backbone.items[rows[place]], z, atol=np.abs(z).max() / 200)
        np.testing.assert_allclose(ours.items[rows[place]], z @ to_head, atol=np.abs(z @ to_head).max() / 100)
    others = np.setdiff1d(np.arange(N_ITEMS), rows[:3])
    for one, other, mapping in ((grown.backbone, model.backbone, np.eye(DIM)), (ours, theirs, to_head)):
        assert torch.equal(one.items[others], other.items[others])
        own_prior = model.item_head.centres[rows[1]].numpy() @ mapping
        np.testing.assert_allclose(one.items[rows[1]], own_prior, atol=np.abs(own_prior).max() / 200)
    assert model.with_likes(met, support[[3]], liked) is model


def test_a_like_moves_a_cold_item_towards_its_users_deviation_from_the_mean() -> None:
    model = draw_model(3)
    item = int(COLD[0])
    mean, centre = model.item_head.mean, model.item_head.centres[item]
    user = model.backbone.users(Support(to_support([[1, 2, 3, 5]])))[0]
    apart = user / user.norm() - mean
    size, before = float(apart @ apart), float(centre @ apart)
    for level in (0.1, 0.5, 2.0):
        head = ItemHead(level, mean, model.item_head.centres)
        for length in (1e-3, 1.0, 100.0):
            placed = head.solve(to_csr([[1]]), length * user[None], np.array([item]))[0]
            assert float(placed @ apart) == pytest.approx((before + size * level) / (1 + size), rel=1e-3)
            sideways = placed - centre - apart * float((placed - centre) @ apart) / size
            assert float(sideways.norm()) < 1e-4
