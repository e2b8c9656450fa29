import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from kgrec.config import TransitionConfig
from kgrec.model.component import Scale, Support
from kgrec.model.item_item import CoLikes
from kgrec.model.transitions import Transitions, count_transitions
from kgrec.sequences import Sequences, find_order

DAY = 86_400
PLAIN = TransitionConfig(reach=2, decay=0.5, backward=0.25, popularity_exponent=0, half_life_days=10)


def sequences(*users: list[tuple[int, int]]) -> Sequences:
    """Users' (item, day) in order."""
    owners = np.array([user for user, likes in enumerate(users) for _ in likes], np.int64)
    items, days = (np.array([like[part] for likes in users for like in likes], np.int64) for part in (0, 1))
    return Sequences.of(owners, items, days * DAY, len(users), np.random.default_rng(0))


def test_golden_transitions() -> None:
    found = count_transitions(sequences([(0, 0), (1, 10), (2, 10)], [(2, 0), (0, 0)]), 4, PLAIN).toarray()
    expected = np.zeros((4, 4), np.float32)
    # 0 -> 1, ten days: half; 0 -> 2 or 0 -> 1 come second, as the order of the tied ones is drawn.
    together = {(1, 2): 0.625, (2, 1): 0.625, (0, 2): 0.625, (2, 0): 0.625}  # ties: the mean of 1 and .25
    for (row, column), value in together.items():
        expected[row, column] += value
    near, far = (1, 2) if found[0, 1] == 0.5 else (2, 1)
    expected[0, near] += 0.5
    expected[0, far] += 0.25
    expected[near, 0] += 0.5 * 0.25
    expected[far, 0] += 0.25 * 0.25
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_popular_items_weigh_less_on_both_sides() -> None:
    likes = sequences([(0, 0), (1, 1)], [(0, 0)], [(0, 3)], [(0, 1)])
    flat = count_transitions(likes, 2, PLAIN)
    damped = count_transitions(likes, 2, PLAIN.model_copy(update={"popularity_exponent": 0.5}))
    np.testing.assert_allclose(damped.toarray(), flat.toarray() / 2, rtol=1e-6)  # 4 likes of item 0, 1 of item 1


def test_only_the_largest_stay() -> None:
    likes = sequences([(0, 0), (1, 1)], [(0, 0), (1, 1)], [(0, 0), (2, 1)], [(0, 0), (3, 1)])
    kept = count_transitions(likes, 4, PLAIN.model_copy(update={"kept": 1, "backward": 0.0}))
    np.testing.assert_array_equal(kept.toarray()[0] > 0, [False, True, False, False])


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 5)), max_size=6), max_size=5),
    st.permutations(range(8)),
)
def test_ids_say_nothing(users: list[list[tuple[int, int]]], names: list[int]) -> None:
    """Renaming the items renames the transitions."""
    days = [sorted(dict(likes).items(), key=lambda like: like[1]) for likes in users]
    renamed = [[(names[item], day) for item, day in likes] for likes in days]
    ours, theirs = (count_transitions(sequences(*likes), 8, PLAIN).toarray() for likes in (days, renamed))
    np.testing.assert_allclose(theirs[np.ix_(names, names)], ours, rtol=1e-5, atol=1e-6)


def component(matrix: csr_array) -> Transitions:
    items = CoLikes.of(matrix).items
    return Transitions(matrix, items, Scale.of(items), recency=0.5, recent=2, half_life_days=10)


def test_the_last_likes_weigh_more() -> None:
    likes = csr_array(np.array([[1, 1, 1, 0]], np.float32))
    chain = component(csr_array(np.zeros((4, 4), np.float32)))
    order = find_order(likes, np.array([0, 10, 20]) * DAY)
    np.testing.assert_allclose(chain.weigh(Support(likes, order=order)).data, [0, 0.25, 1], rtol=1e-5)
    recent = Support(likes, order=order).recent(np.array([0.1], np.float32))
    np.testing.assert_allclose(chain.weigh(recent).data, [0, 0.25, 1], rtol=1e-5)  # not weighed twice
    np.testing.assert_array_equal(chain.weigh(Support(likes)).data, [1, 1, 1])
