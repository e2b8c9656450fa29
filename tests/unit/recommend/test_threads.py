"""One recommender, many threads: no error, no update lost, and each answer is that of a state that existed."""

import gc
import threading
import weakref
from collections.abc import Callable

import pyarrow as pa
import pytest
import torch
from shop import KINDS, WordEncoder, train_shop
from timed_shop import train_timed

from kgrec.bundle import Bundle
from kgrec.recommend import Recommendations, Recommender
from kgrec.recommend.state import State

USERS, ITEMS = train_shop().users.ids, train_shop().items.ids
N_ADDED = 12
ASKED: tuple[Callable[[Recommender], Recommendations], ...] = (
    lambda shop: shop.recommend(likes=[ITEMS[0], ITEMS[2]], k=6),
    lambda shop: shop.recommend(USERS[1], k=6, explain=True),
    lambda shop: shop.recommend(USERS[2], k=6, tail=0.5),
    lambda shop: shop.recommend(text="black tea", k=6),
    lambda shop: shop.similar(ITEMS[3], k=6),
)


@pytest.mark.slow
@pytest.mark.parametrize("train", [train_shop, train_timed])
def test_answers_and_changes_in_many_threads(train: Callable[[], Bundle], monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Recommender(train(), WordEncoder())
    bundles: list[Bundle] = [shop.bundle]
    after = State.after

    def note(state: State, *changed: object) -> State:
        found = after(state, *changed)  # type: ignore[arg-type]
        bundles.append(found.bundle)
        return found

    monkeypatch.setattr(State, "after", note)
    errors: list[BaseException] = []
    answers: list[set[Recommendations]] = [set() for _ in ASKED]
    writing = threading.Event()
    n_threads = torch.get_num_threads()

    def ask() -> None:
        try:
            while not writing.is_set():
                for place, asked in enumerate(ASKED):
                    answers[place].add(asked(shop))
            threads.add(torch.get_num_threads())
        except BaseException as error:  # also those that no request should raise
            errors.append(error)

    def write(number: int) -> None:
        try:
            for place in range(N_ADDED):
                item = f"new-{number}-{place}"
                shop.add_item(item, text=f"{KINDS[place % 2]} {place}", name=item)
                shop.add_interactions(pa.table({"user": [f"u-{item}"], "item": [item], "stars": [5.0]}))
                if place % 2:
                    shop.forget(f"u-{item}")
        except BaseException as error:
            errors.append(error)

    threads: set[int] = set()
    askers = [threading.Thread(target=ask) for _ in range(8)]
    writers = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in (*askers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    writing.set()
    for thread in askers:
        thread.join()
    assert errors == []
    assert {f"new-{number}-{place}" for number in range(2) for place in range(N_ADDED)} <= set(shop.bundle.items.ids)
    kept = {f"u-new-{number}-{place}" for number in range(2) for place in range(0, N_ADDED, 2)}
    assert {user for user in shop.bundle.users.ids if user.startswith("u-")} == kept
    assert len(bundles) == 1 + 2 * N_ADDED * 5 // 2
    assert threads == {n_threads}
    assert all(len(answer) == 6 for found in answers for answer in found)
    for asked, found in zip(ASKED, answers, strict=True):
        possible = {asked(Recommender(bundle, WordEncoder())).ids for bundle in bundles}
        assert {answer.ids for answer in found} <= possible


def test_nothing_is_kept_of_what_was_known_before_a_user_was_forgotten() -> None:
    shop = Recommender(train_shop(), WordEncoder())
    shop.add_interactions(pa.table({"user": ["guest"], "item": [ITEMS[0]], "stars": [5.0]}))
    answer = weakref.ref(shop.recommend("guest", k=3, explain=True))
    before = weakref.ref(shop.bundle)
    assert answer() is not None
    shop.forget("guest")
    gc.collect()
    assert answer() is None
    assert before() is None
