from itertools import count

import numpy as np
import pytest
import torch
from generators import TINY, draw_vectors, make_generator
from numpy.typing import NDArray

from kgrec.errors import RequestError
from kgrec.generate import generator_training
from kgrec.generate.generator import generate
from kgrec.generate.generator_training import train_generator
from kgrec.generate.item_sequences import ItemSequences

N_ITEMS = 24
LEARNS = TINY.model_copy(
    update={"width": 32, "epochs": 12, "learning_rate": 1e-2, "dropout": 0.0, "forget_items": 0.0, "most_items": 8}
)


def plant_cycle(n_users: int, seed: int = 0) -> tuple[ItemSequences, NDArray[np.int64]]:
    """Users who go along one random cycle over the items, and the item that comes next for each."""
    rng = np.random.default_rng(seed)
    after = np.empty(N_ITEMS, np.int64)
    cycle = np.random.default_rng(99).permutation(N_ITEMS)
    after[cycle] = np.roll(cycle, -1)
    lists = []
    for _ in range(n_users):
        own = [int(rng.integers(N_ITEMS))]
        for _ in range(rng.integers(2, 6)):
            own.append(int(after[own[-1]]))
        lists.append(own)
    return ItemSequences.of(lists), np.array([after[own[-1]] for own in lists])


@pytest.mark.slow
def test_a_planted_cycle_is_learned() -> None:
    sequences, _ = plant_cycle(200)
    metrics: dict[str, list[float]] = {}
    asked, expected = plant_cycle(60, seed=1)
    held_out = np.full(200, -1)
    held_out[:50] = plant_cycle(200)[1][:50]
    generator = train_generator(
        draw_vectors(N_ITEMS),
        sequences,
        LEARNS,
        held_out,
        on_metric=lambda name, value, step: metrics.setdefault(name, []).append(value),
    )
    found = generate(generator, asked, 3)
    assert (found.rows[:, 0] == expected).mean() > 0.9  # popularity finds 1 of 24
    assert metrics["generator/loss"][-1] < 0.5 * metrics["generator/loss"][0]
    assert max(metrics["generator/ndcg"]) > 0.9


def test_equal_arguments_give_equal_generators() -> None:
    one, again, other = make_generator(), make_generator(), make_generator(config=TINY.model_copy(update={"seed": 1}))
    sequence = ItemSequences.of([[1, 2]])
    assert (generate(one, sequence, 9).log_probs == generate(again, sequence, 9).log_probs).all()
    assert (generate(one, sequence, 9).log_probs != generate(other, sequence, 9).log_probs).any()


def test_training_leaves_the_random_state_of_others() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    make_generator()
    assert torch.equal(torch.rand(3), expected)


def test_time_ends_training() -> None:
    ticks = count()
    steps: list[int] = []
    config = TINY.model_copy(update={"epochs": 1000, "seconds": 20.0})
    train_generator(
        draw_vectors(10),
        ItemSequences.of([[1, 2, 3], [4, 5]]),
        config,
        on_step=lambda step, _: steps.append(step),
        clock=lambda: float(next(ticks)),
    )
    assert 2 < len(steps) <= 20


# Before training, 10 s are over, and the probe takes 4. Of the 46 s left, 8 are reserved; of 6 s
# left, 4.8 are, which leaves a fifth to train.
@pytest.mark.parametrize(("seconds", "n_steps", "ends"), [(60.0, 38, 46.0), (20.0, 2, 10.0)])
def test_time_is_left_to_measure_the_result(
    monkeypatch: pytest.MonkeyPatch, seconds: float, n_steps: int, ends: float
) -> None:
    """A clock that goes on with steps by 1 and with validation by 2 for each user."""
    now, steps = [0.0], list[int]()

    def score(question: generator_training._Question, _: object) -> float:
        now[0] += 2.0 * question.sequences.n_users
        return 0.0

    def step(done: int, _: int) -> None:
        now[0] += 1.0
        steps.append(done)

    monkeypatch.setattr(generator_training._Question, "score", score)
    config = TINY.model_copy(update={"epochs": 1000, "validate_every": 1000, "seconds": seconds})
    train_generator(
        draw_vectors(10), ItemSequences.of([[1, 2, 3], [4, 5], [6, 7]]), config, np.array([4, 6, -1]), on_step=step,
        clock=lambda: now[0], started=-10.0,
    )  # fmt: skip
    assert (len(steps), now[0]) == (n_steps, ends)


def test_no_time_to_train_is_one_error() -> None:
    ticks = count()
    with pytest.raises(RequestError, match=r"over before training begins.*--seconds, GeneratorConfig\(seconds"):
        train_generator(
            draw_vectors(10),
            ItemSequences.of([[1, 2, 3]]),
            TINY.model_copy(update={"seconds": 0.5}),
            clock=lambda: float(next(ticks)),
        )


def test_patience_ends_training() -> None:
    config = TINY.model_copy(update={"epochs": 500, "validate_every": 1, "patience": 2, "learning_rate": 1e-9})
    scores: list[float] = []
    train_generator(
        draw_vectors(10),
        ItemSequences.of([[1, 2, 3], [4, 5]]),
        config,
        np.array([4, -1]),
        on_metric=lambda name, value, step: scores.append(value) if name == "generator/ndcg" else None,
    )
    assert len(scores) == 3


def test_a_sequence_of_10_000_items_is_read_from_its_end() -> None:
    generator = make_generator()
    rng = np.random.default_rng(3)
    long = rng.integers(0, 30, 10_000).tolist()
    short = long[-TINY.most_items :]
    found = generate(generator, ItemSequences.of([long, short]), 5, hide_seen=False)
    assert (found.rows[0] == found.rows[1]).all()
    assert (generate(generator, ItemSequences.of([long]), 5).rows == -1).all()  # every item is seen


def test_long_and_repeated_and_single_items_can_be_trained_on() -> None:
    sequences = ItemSequences.of([[1] * 50, [2], [], [3, 3, 3]])
    generator = train_generator(draw_vectors(5), sequences, TINY)
    assert (generate(generator, sequences, 5).rows >= 0).sum(axis=1).tolist() == [4, 4, 5, 4]


def test_an_item_added_later_can_be_found_and_read() -> None:
    generator = make_generator()
    grown = generator.with_items(np.arange(30), draw_vectors(2, seed=8))
    new = np.zeros(32, np.bool_)
    new[30:] = True
    found = generate(grown, ItemSequences.of([[30, 3], []]), 2, candidates=new, hide_seen=False)
    assert [set(rows) for rows in found.rows] == [{30, 31}, {30, 31}]
    assert np.isfinite(found.log_probs).all()
    favoured = generate(grown, ItemSequences.of([[3]]), 2, hide_seen=False, new_bonus=100.0)
    assert grown.is_new[favoured.rows].all()
    assert not generate(grown, ItemSequences.of([[3]]), 2, hide_seen=False, new_bonus=-100.0).rows[0, 0] >= 30


@pytest.mark.parametrize(
    ("content", "lists", "problem"),
    [
        (np.zeros((0, 4), np.float32), [[]], "0 items"),
        (draw_vectors(3), [[], []], "0 likes in order"),
        (np.full((3, 4), np.nan, np.float32), [[1]], "NaN"),
    ],
)
def test_nothing_to_train_on_is_one_error(content: NDArray[np.float32], lists: list[list[int]], problem: str) -> None:
    with pytest.raises(RequestError, match=problem):
        train_generator(content, ItemSequences.of(lists), TINY)


@pytest.mark.parametrize(("lists", "k", "beams"), [([[30]], 1, 1), ([[-1]], 1, 1), ([[0]], 0, 1), ([[0]], 1, 0)])
def test_wrong_requests_are_errors(lists: list[list[int]], k: int, beams: int) -> None:
    with pytest.raises(RequestError, match="expected"):
        generate(make_generator(), ItemSequences.of(lists), k, beams=beams)


def test_a_loss_that_is_not_finite_is_one_error() -> None:
    config = TINY.model_copy(update={"learning_rate": 1e30, "epochs": 50})
    with pytest.raises(RequestError, match="set a lower learning_rate"):
        train_generator(draw_vectors(10), ItemSequences.of([[3, 2, 3], [4, 5]]), config)


def test_a_state_is_of_the_items_so_far() -> None:
    generator = make_generator()
    alone = generator.read(ItemSequences.of([[4, 7], [5]]))
    tokens, vectors = torch.from_numpy(generator.ids.tokens), torch.from_numpy(generator.vectors)
    rows = torch.tensor([[4, 7, 9, 1], [5, 3, 3, 0]])
    with torch.inference_mode():
        items = generator.network.read_items(tokens[rows], vectors[rows])
        states = generator.network.read(items, vectors[rows])
    torch.testing.assert_close(states[0, 2], alone[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(states[1, 1], alone[1], atol=1e-5, rtol=1e-4)


def test_the_mean_of_the_last_items_fades() -> None:
    generator = make_generator()
    vectors = generator.vectors
    state = generator.read(ItemSequences.of([[4, 7], []]))[:, TINY.width :].numpy()
    np.testing.assert_allclose(state[0], (vectors[7] + 0.6 * vectors[4]) / 1.6, atol=1e-5)
    assert not state[1].any()


def test_without_items_lists_are_empty() -> None:
    empty = make_generator().with_items(np.zeros(0, np.int64), np.zeros((0, 4), np.float32))
    assert generate(empty, ItemSequences.of([[], []]), 2).rows.tolist() == [[-1, -1], [-1, -1]]
