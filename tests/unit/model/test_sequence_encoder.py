from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from fitted import COLD, N_ITEMS, draw_inputs
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.bundle.arrays import from_arrays, round_stored, to_arrays
from kgrec.config import SequenceConfig
from kgrec.model.causal_transformer import Transformer, _Learner, _measure_loss, _Windows, train_transformer
from kgrec.model.component import ItemChange, Scale, Support
from kgrec.model.inputs import FitInputs
from kgrec.model.sequence_encoder import SequenceEncoder
from kgrec.sequences import Sequences, find_order

WARM = np.setdiff1d(np.arange(N_ITEMS), COLD)
SUCCESSOR = dict(zip(WARM.tolist(), np.random.default_rng(4).permutation(len(WARM)).tolist(), strict=True))
SMALL: dict[str, Any] = {
    "layers": 1, "dim": 16, "learning_rate": 0.02, "epochs": 15, "batch_items": 256, "negatives": 16,
    "dropout": 0.1, "longest": 6,
}  # fmt: skip
RNG = np.random.default_rng


def follow(first: int, length: int) -> list[int]:
    """Items of which each is the planted successor of the one before: a walk along a circle of all warm items."""
    circle = WARM[list(SUCCESSOR.values())]
    begin = int(np.flatnonzero(circle == first)[0])
    return [int(circle[(begin + step) % len(circle)]) for step in range(length)]


def to_sequences(rows: list[list[int]]) -> Sequences:
    items = np.array([item for row in rows for item in row], np.int64)
    starts = np.cumsum([0, *map(len, rows)])
    return Sequences(items, starts, np.arange(len(items)))


def planted() -> list[list[int]]:
    """Every item is as popular as any other, so only the order tells what comes next."""
    return [follow(int(first), 5) for first in np.tile(WARM, 14)]


def make_inputs(rows: list[list[int]] | None = None, **changes: Any) -> FitInputs:
    inputs = draw_inputs()
    config = inputs.config.model_copy(update={"sequence": SequenceConfig(**{**SMALL, **changes})})
    return replace(inputs, config=config, sequences=to_sequences(planted() if rows is None else rows))


@cache
def trained() -> SequenceEncoder:
    found = SequenceEncoder.fit(make_inputs())
    assert found is not None
    return round_stored(found)


def make_encoder(seed: int = 0, n_items: int = 40, longest: int = 50) -> SequenceEncoder:
    """An encoder with weights at random, larger than at the start of training, so that all of them matter."""
    generator = torch.Generator().manual_seed(seed)
    drawn = Transformer.draw(2, 8, 2, generator)
    transformer = drawn.with_tensors([*(20 * own for own in drawn.tensors[:-1]), drawn.norms])
    items = torch.randn((n_items, 8), generator=generator)
    basis = torch.randn((5, 8), generator=generator)
    return round_stored(SequenceEncoder(items, basis, transformer, longest, Scale.of(items), Scale.of(items)))


def to_support(
    rows: list[list[int]],
    n_items: int = N_ITEMS,
    times: list[list[int]] | None = None,
    weights: NDArray[np.float32] | None = None,
) -> Support:
    """Users who like items in this order, or at these times."""
    columns = np.array([item for row in rows for item in row], np.int64)
    data = np.ones(len(columns), np.float32) if weights is None else weights
    likes = csr_array((data, columns, np.cumsum([0, *map(len, rows)])), shape=(len(rows), n_items))
    at = [list(range(len(row))) for row in rows] if times is None else times
    return Support(likes, order=find_order(likes, np.array([time for row in at for time in row], np.int64)))


def share_right(encoder: SequenceEncoder) -> float:
    """The share of users whose first item is the planted one."""
    shown = [follow(int(first), 3) for first in WARM]
    scores = encoder.users(to_support(shown)) @ encoder.items.T
    scores[:, torch.from_numpy(COLD)] = -torch.inf
    for row, liked in enumerate(shown):
        scores[row, liked] = -torch.inf
    following = np.array([follow(int(first), 4)[-1] for first in WARM])
    return float((scores.argmax(dim=1).numpy() == following).mean())


def test_learns_what_follows_where_popularity_tells_nothing() -> None:
    assert share_right(trained()) > 0.9


def test_starts_from_an_earlier_encoder() -> None:
    inputs = make_inputs(epochs=1, learning_rate=1e-4)
    alone, further = (SequenceEncoder.fit(replace(inputs, start=start)) for start in ({}, {"sequence": trained()}))
    assert alone is not None and further is not None
    assert share_right(alone) < 0.5
    assert share_right(further) > 0.9


def test_the_same_likes_in_another_order_are_another_user() -> None:
    encoder = trained()
    there, back = encoder.users(to_support([follow(int(WARM[0]), 4), follow(int(WARM[0]), 4)[::-1]]))
    assert float(torch.cosine_similarity(there, back, dim=0)) < 0.9


def test_training_is_the_same_for_a_seed_and_differs_for_another() -> None:
    inputs = make_inputs(epochs=1)
    other = replace(inputs, config=inputs.config.model_copy(update={"seed": 5}))
    one, again, different = (SequenceEncoder.fit(each) for each in (inputs, inputs, other))
    assert one is not None and again is not None and different is not None
    torch.testing.assert_close(one.items, again.items)
    assert not torch.allclose(one.items, different.items, atol=1e-3)


@pytest.mark.parametrize(
    "inputs",
    [
        make_inputs([[int(item)] for item in WARM]),
        make_inputs(layers=0),
        replace(make_inputs(), sequences=None),
    ],
    ids=["one like each", "left out", "no times"],
)
def test_there_is_none_without_an_order_to_learn_from(inputs: FitInputs) -> None:
    assert SequenceEncoder.fit(inputs) is None


def test_stops_when_the_time_is_up() -> None:
    config = SequenceConfig(**SMALL, budget_s=1e-9)
    assert train_transformer(to_sequences(planted()), torch.zeros((N_ITEMS, 0)), config, seed=0).epochs == 0


def test_a_later_item_changes_no_earlier_state() -> None:
    generator = torch.Generator().manual_seed(1)
    transformer, vectors = make_encoder().transformer, torch.randn((3, 7, 8), generator=generator)
    before = transformer.states(vectors, torch.arange(7.0))
    changed = vectors.clone()
    changed[:, 4] += 1
    after = transformer.states(changed, torch.arange(7.0))
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert bool(((before - after)[:, 4:].abs().amax(dim=2) > 1e-3).all())


def test_training_and_answering_read_a_sequence_alike() -> None:
    encoder, row = make_encoder(), [3, 1, 4, 15, 9, 2, 6]
    states = encoder.transformer.states(encoder.items[row][None], torch.arange(7.0))
    torch.testing.assert_close(encoder.users(to_support([row], 40))[0], states[0, -1], rtol=1e-4, atol=1e-5)


@given(st.integers(0, 2**32), st.integers(1, 12))
@settings(deadline=None, max_examples=20)
def test_nothing_hangs_on_the_rows_of_items_and_on_the_order_of_entries(seed: int, n_likes: int) -> None:
    rng, encoder = RNG(seed), make_encoder()
    row, times = rng.permutation(40)[:n_likes], rng.integers(0, 5, n_likes)
    support = to_support([row.tolist()], 40, [times.tolist()])
    scores = encoder.users(support) @ encoder.items.T
    to, entries = rng.permutation(40), rng.permutation(n_likes)
    moved_items = torch.empty_like(encoder.items)
    moved_items[torch.from_numpy(to)] = encoder.items
    moved = replace(encoder, items=moved_items)
    moved_support = to_support([to[row[entries]].tolist()], 40, [times[entries].tolist()])
    moved_scores = moved.users(moved_support) @ moved.items.T
    torch.testing.assert_close(scores, moved_scores[:, torch.from_numpy(to)], rtol=1e-3, atol=1e-3)


@given(st.integers(0, 2**32), st.integers(0, 45), st.sampled_from([3, 50]))
@settings(deadline=None, max_examples=20)
def test_shares_add_up_to_the_users_factors(seed: int, n_likes: int, longest: int) -> None:
    rng, encoder = RNG(seed), make_encoder(longest=longest, n_items=60)
    row, times = rng.permutation(60)[:n_likes].tolist(), rng.integers(0, 60, n_likes).tolist()
    weights = rng.uniform(0.5, 2, n_likes).astype(np.float32)
    support = to_support([row], 60, [times], weights)
    shares = encoder.shares(support)
    assert shares.likes.shape == (n_likes, 8)
    torch.testing.assert_close(shares.total, encoder.users(support)[0], rtol=1e-3, atol=1e-4)
    assert support.order is not None
    np.testing.assert_array_equal(shares.likes.any(dim=1), support.order.places.data <= longest)


def test_the_share_of_a_like_is_what_changes_without_it() -> None:
    """The last like decides by the planted rule, so it has the largest share of its successor's score."""
    encoder, chain = trained(), follow(int(WARM[3]), 5)
    shares = encoder.shares(to_support([chain[:4]]))
    assert int((shares.likes @ encoder.items[chain[4]]).argmax()) == 3


def test_only_the_last_likes_are_read() -> None:
    encoder = make_encoder(longest=4)
    one, other = encoder.users(to_support([[1, 2, 3, 4, 5, 6], [30, 20, 3, 4, 5, 6]], 40))
    torch.testing.assert_close(one, other)
    assert not torch.allclose(one, encoder.users(to_support([[4, 5, 6]], 40))[0], atol=1e-3)


def test_users_are_scored_alone_as_together() -> None:
    encoder, rows = make_encoder(), [[5], [], [1, 2, 3], [7, 8, 9, 10, 11, 30, 31], [4, 2]]
    together = encoder.users(to_support(rows, 40))
    for place, row in enumerate(rows):
        torch.testing.assert_close(together[place], encoder.users(to_support([row], 40))[0], rtol=1e-4, atol=1e-5)
    assert not together[1].any()


def test_users_without_an_order_have_zeros() -> None:
    support = to_support([[1, 2], [3]], 40)
    assert not make_encoder().users(Support(support.likes)).any()
    assert not make_encoder().shares(Support(support.likes[[0]])).likes.any()


def test_ten_thousand_likes_are_as_their_last() -> None:
    n_items = 10_000
    encoder = make_encoder(n_items=n_items)
    row = RNG(0).permutation(n_items).tolist()
    found = encoder.users(to_support([row, row[-50:]], n_items))
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(encoder.shares(to_support([row], n_items)).total, found[0], rtol=1e-3, atol=1e-3)


def test_one_item_is_enough_for_a_score() -> None:
    rows = [[int(WARM[0]), int(WARM[0])]] * 3
    encoder = SequenceEncoder.fit(make_inputs(rows, epochs=1))
    assert encoder is not None
    found = encoder.users(to_support([[int(WARM[0])]]))
    assert bool(found.isfinite().all()) and bool(found.any())


def test_a_new_item_is_scored_by_its_content() -> None:
    encoder = make_encoder()
    known = torch.randn((1, 5), generator=torch.Generator().manual_seed(2))
    change = ItemChange(
        np.arange(1, 40), 40, np.array([39]), np.zeros((1, 3), np.float32), torch.zeros((40, 0)),
        (np.zeros(0, np.int64),), known,
    )  # fmt: skip
    changed = encoder.with_items(change)
    torch.testing.assert_close(changed.items[:39], encoder.items[1:])
    torch.testing.assert_close(changed.items[39], (known @ encoder.basis)[0], rtol=0.02, atol=0.05)
    torch.testing.assert_close(round_stored(changed).items, changed.items)


def test_items_without_likes_are_placed_by_their_content() -> None:
    inputs, encoder = make_inputs(), trained()
    knowledge = inputs.earlier["knowledge"]
    placed = knowledge.items @ torch.linalg.lstsq(knowledge.basis, encoder.basis).solution  # type: ignore[attr-defined]
    cold = torch.from_numpy(COLD)
    scale = float(placed.abs().max())
    torch.testing.assert_close(encoder.items[cold], placed[cold], rtol=0.05, atol=0.05 * scale)
    assert encoder.cold_scale is not None


def test_storing_and_loading_changes_nothing() -> None:
    encoder = trained()
    loaded = from_arrays(SequenceEncoder, to_arrays(encoder, "sequence"), "sequence")
    support = to_support([follow(int(WARM[5]), 3)])
    torch.testing.assert_close(loaded.users(support), encoder.users(support))
    torch.testing.assert_close(loaded.items, encoder.items)
    without = replace(encoder, cold_scale=None)
    assert from_arrays(SequenceEncoder, to_arrays(without, "sequence"), "sequence").cold_scale is None


@given(st.lists(st.integers(0, 20), min_size=1, max_size=12), st.integers(1, 7), st.integers(1, 30))
@settings(deadline=None, max_examples=40)
def test_each_item_but_a_users_first_is_predicted_once(sizes: list[int], longest: int, n_items: int) -> None:
    starts = np.cumsum([0, *sizes])
    items = np.arange(starts[-1])
    windows = _Windows.of(items, starts[:-1], starts[1:], longest)
    targets: list[int] = []
    for rows in windows.batches(n_items, RNG(0)):
        shown, following, within = windows.read(rows)
        assert shown.shape[1] <= longest
        assert shown.size <= max(n_items, longest)
        np.testing.assert_array_equal(following[within], shown[within] + 1)
        targets += following[within].tolist()
    assert sorted(targets) == sorted(set(items.tolist()) - set(starts[:-1].tolist()))


def test_with_all_items_drawn_the_loss_is_the_whole_softmax() -> None:
    n_items, config = 9, SequenceConfig(**{**SMALL, "dropout": 0.0, "negatives": 50})
    learner = _Learner(torch.zeros((n_items, 0)), config, 0, "cpu")
    own = learner.own.detach()
    shown, following = np.array([[0, 3, 2]]), np.array([[3, 2, 7]])
    counts = np.arange(1, 10)
    loss = _measure_loss(learner, (shown, following, np.ones((1, 3), bool)), counts, np.arange(n_items), RNG(0))
    states = learner.transformer.states(own[torch.from_numpy(shown)], torch.arange(3.0))[0]
    expected = torch.nn.functional.cross_entropy(states @ own.T / 4, torch.from_numpy(following[0]))
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-4)


def test_the_chance_of_being_drawn_is_taken_out_of_the_loss() -> None:
    """On average over draws, the sampled softmax ranks items as the whole one does: popular ones gain nothing."""
    n_items, config = 40, SequenceConfig(**{**SMALL, "epochs": 30, "negatives": 5, "layers": 1})
    rng = RNG(1)
    popular = np.where(rng.random(4000) < 0.5, 0, rng.integers(1, n_items, 4000))  # half of all likes are of item 0
    sequences = Sequences(popular, np.arange(0, 4001, 2), np.arange(4000))  # too short to hold any out
    found = train_transformer(sequences, torch.zeros((n_items, 0)), config, seed=0)
    states = found.transformer.states(found.own[torch.from_numpy(popular[:400].reshape(-1, 2))], torch.arange(2.0))
    share = (states[:, -1] @ found.own.T / 4).softmax(dim=1)[:, 0].mean()
    assert 0.3 < float(share) < 0.7
