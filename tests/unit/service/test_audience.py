"""Who would get an item: the ranks are those of the users' own lists, and nothing is added by asking."""

import numpy as np
import pytest
from bookshop import N_BOOKS, N_READERS, book, kind_of, train_bookshop
from shop import WordEncoder

from kgrec.errors import RequestError
from kgrec.messages import ItemPart
from kgrec.recommend import Recommender
from kgrec.service import audience
from kgrec.service.audience import find_audience


@pytest.fixture
def recommender() -> Recommender:
    return Recommender(train_bookshop(), WordEncoder())


def test_ranks_are_those_of_the_lists_of_the_users(recommender: Recommender) -> None:
    found = find_audience(recommender, book(4), 200)
    assert len(found.users) == found.n_asked
    for user in found.users[::7]:
        ids = recommender.recommend(user.user, k=N_BOOKS).ids
        assert ids.index(book(4)) + 1 == user.rank
    assert [user.rank for user in found.users] == sorted(user.rank for user in found.users)
    assert found.n_within == found.within["10"] == sum(user.rank <= 10 for user in found.users)
    listed = {user.user for user in found.users}
    for user in set(recommender.bundle.users.ids) - listed:  # who has the book, or another edition of it
        assert book(4) not in recommender.recommend(user, k=N_BOOKS).ids


def test_an_item_that_is_only_described_is_not_added(recommender: Recommender) -> None:
    bundle = recommender.bundle
    described = ItemPart(item="new", name="New", links=[("author_of", "a-4"), ("author_of", "a-99")])
    with pytest.warns(UserWarning, match="a-99"):
        found = find_audience(recommender, described, 5)
    assert recommender.bundle is bundle
    assert found.n_asked == N_READERS
    assert found.notes == ["unknown, so without effect: 'a-99'"]
    assert len(found.users) == 5
    recommender.add_item("new", name="New", links=[("author_of", "a-4")])
    assert find_audience(recommender, "new", 5).users == found.users
    with pytest.raises(RequestError, match="exists already"):
        find_audience(recommender, described, 5)


def test_users_are_counted_but_not_named(recommender: Recommender) -> None:
    named, counted = (find_audience(recommender, book(4), 5, shows_users=shows) for shows in (True, False))
    assert not counted.users
    assert (counted.n_asked, counted.within) == (named.n_asked, named.within)


def test_a_tenant_asks_by_likes_of_its_own_items_alone(recommender: Recommender) -> None:
    allowed = np.array([kind_of(id_) == 1 for id_ in recommender.bundle.items.ids])
    found = find_audience(recommender, book(4), 200, allowed=allowed)
    assert {kind_of(user.user) for user in found.users} == {1}  # others like none of its books
    assert max(user.rank for user in found.users) <= allowed.sum()
    assert {kind_of(each.item) for each in found.similar} == {1}
    with pytest.raises(RequestError, match="unknown item"):
        find_audience(recommender, book(3), 5, allowed=allowed)


def test_of_many_users_a_sample_is_asked(recommender: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audience, "_MOST_SCORES", 1)
    monkeypatch.setattr(audience, "_LEAST_USERS", 30)
    found = find_audience(recommender, book(4), 200)
    assert found.notes == [f"30 of {N_READERS} users were asked, drawn at random"]
    assert found.n_asked <= 30
    assert find_audience(recommender, book(4), 200) == found
