import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from kgrec.generate.item_sequences import ItemSequences, batch_users
from kgrec.sequences import find_order

SEQUENCES = st.lists(st.lists(st.integers(0, 20), max_size=12), max_size=8)


@given(SEQUENCES, st.integers(1, 6))
def test_the_last_items_are_selected(lists: list[list[int]], most: int) -> None:
    sequences = ItemSequences.of(lists)
    users = np.arange(len(lists))[::-1].copy()
    selected = sequences.select(users, most)
    padded = selected.pad()
    for place, user in enumerate(users):
        own = lists[user][-most:]
        assert padded[place, : len(own)].tolist() == own
        assert (padded[place, len(own) :] == -1).all()


@given(SEQUENCES)
def test_each_item_is_marked_once(lists: list[list[int]]) -> None:
    marked = ItemSequences.of(lists).mark(21)
    assert [set(marked[[user]].indices.tolist()) for user in range(len(lists))] == [set(own) for own in lists]
    assert (marked.data == 1).all()


def test_likes_are_ordered_by_their_places() -> None:
    likes = csr_array(np.array([[1, 1, 1, 0], [0, 0, 0, 0], [0, 1, 1, 1]], np.float32))
    order = find_order(likes, np.array([30, 10, 20, 5, 7, 5]))
    drawn = [ItemSequences.of_order(order, np.random.default_rng(seed)).items.tolist() for seed in range(20)]
    assert {tuple(items) for items in drawn} == {(1, 2, 0, 1, 3, 2), (1, 2, 0, 3, 1, 2)}  # 1 and 3 at one time
    assert ItemSequences.of_order(order, np.random.default_rng(0)).starts.tolist() == [0, 3, 3, 6]


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 100), st.booleans())
def test_batches_hold_every_user_once(lengths: list[int], positions: int, shuffled: bool) -> None:
    rng = np.random.default_rng(0) if shuffled else None
    batches = batch_users(np.array(lengths, np.int64), positions, rng)
    assert sorted(user for batch in batches for user in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[user] for user in batch)
        assert len(batch) == 1 or len(batch) * (longest + 1) <= positions
