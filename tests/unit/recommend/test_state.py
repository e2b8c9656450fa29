"""The values that a changed state keeps are those that it would compute."""

import numpy as np
import pandas as pd
import pytest
from bookshop import book, reader, train_bookshop
from linked_shop import train_linked
from shop import WordEncoder

from kgrec.model.model import Model
from kgrec.recommend import NewItem, NewUser, Recommender
from kgrec.recommend.state import SentenceEncoder, State


def test_a_changed_state_has_the_users_that_a_new_one_would_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    shop, placed = Recommender(train_bookshop(), WordEncoder()), list[int]()
    place = Model.place_users

    def count(model: Model, text: object, incidence: object) -> object:
        placed.append(incidence.shape[0])  # type: ignore[attr-defined]
        return place(model, text, incidence)  # type: ignore[arg-type]

    shop.recommend(reader(0), k=3, explain=True)
    monkeypatch.setattr(Model, "place_users", count)
    for change, expected in (
        (lambda: shop.add_users([NewUser("a", links=[("friend_of", reader(1))]), NewUser("b", likes=[book(0)])]), [2]),
        (lambda: shop.add_user("c", links=[("friend_of", "a"), ("lives_in", "rome")], attributes={"age": 30}), [1]),
        (lambda: shop.add_interactions(pd.DataFrame({"user": ["d"], "item": [book(1)]})), [1]),
        (lambda: shop.add_interactions(pd.DataFrame({"user": ["d"], "item": [book(2)]})), []),
        (lambda: shop.add_item("new", name="New", links=[("reviewed_by", reader(1))]), [0]),
        (lambda: shop.forget("a"), []),
    ):
        placed.clear()
        change()
        assert placed == expected
        kept, computed = shop._state, State(shop.bundle, SentenceEncoder(WordEncoder()))
        if "user_priors" in vars(kept):
            assert kept.user_priors is not None
            assert computed.user_priors is not None
            np.testing.assert_allclose(kept.user_priors, computed.user_priors, rtol=1e-4, atol=1e-6)
            np.testing.assert_array_equal(kept.user_links.toarray(), computed.user_links.toarray())
        assert kept.friends is not None
        assert computed.friends is not None
        np.testing.assert_array_equal(kept.friends.toarray(), computed.friends.toarray())
        np.testing.assert_array_equal(kept.liked_by_item.toarray(), computed.liked_by_item.toarray())
        np.testing.assert_array_equal(kept.linked_nodes.starts, computed.linked_nodes.starts)
        np.testing.assert_array_equal(kept.linked_nodes.of_user.toarray(), computed.linked_nodes.of_user.toarray())
        assert kept.user_priors is not None
        assert len(kept.user_priors) == len(shop.bundle.users)


def test_a_changed_state_has_the_items_that_a_new_one_would_compute() -> None:
    """Their order by id, their editions and who likes them, after every kind of change."""
    shop = Recommender(train_bookshop(), WordEncoder())
    title, author = str(shop.bundle.names["book"][2]), "author_of"
    writer = shop.bundle.ids["author"].ids[int(shop.bundle.edges[author][0][shop.bundle.edges[author][1] == 2][0])]
    first = shop.bundle.users.ids[0]
    for change, is_kept in (
        (lambda: shop.add_item("00 first", name="A name of its own"), True),
        (lambda: shop.add_items([NewItem("zz", name="Another"), NewItem("b", links=[(author, writer)])]), True),
        (lambda: shop.add_interactions(pd.DataFrame({"user": ["d", first, "e"], "item": ["zz", book(1), "b"]})), True),
        (lambda: shop.add_items([NewItem("edition", name=title.upper(), links=[(author, writer)])]), False),
        (lambda: shop.add_items([NewItem("x", name="Same"), NewItem("y", name="same!", links=[])]), False),
        (lambda: shop.add_users([NewUser("f", likes=["edition", "zz"]), NewUser("g")]), True),
        (lambda: shop.change_items([NewItem("edition", name="No edition now", links=[(author, writer)])]), False),
        (lambda: shop.remove_items(["x", book(0)]), False),
        (lambda: shop.forget("d"), True),
        (lambda: shop.add_interactions(pd.DataFrame({"user": ["f"], "item": [book(1)]})), True),
    ):
        for value in ("by_id", "editions", "liked_by_item"):
            getattr(shop._state, value)
        change()
        kept, computed = shop._state, State(shop.bundle, SentenceEncoder(WordEncoder()))
        assert ("editions" in vars(kept)) == is_kept
        np.testing.assert_array_equal(kept.by_id, computed.by_id)  # type: ignore[arg-type]
        np.testing.assert_array_equal(kept.editions.toarray(), computed.editions.toarray())
        np.testing.assert_array_equal(kept.liked_by_item.toarray(), computed.liked_by_item.toarray())
        assert kept.liked_by_item.has_sorted_indices
    assert shop._state.by_id is not None


def test_editions_that_a_new_item_links_are_found() -> None:
    """Two items of one name are editions once a third is linked to both."""
    shop = Recommender(train_linked(), WordEncoder())
    shop.change_items([NewItem(item, name="Twin", text="tea") for item in ("sku-02", "sku-04")])
    before = shop._state.editions
    assert not before[[2]][:, [4]].nnz
    shop.add_items(
        [NewItem("part", name="Part", text="x", links=[("spare_part_of", "sku-02"), ("spare_part_of", "sku-04")])]
    )
    assert shop._state.editions[[2]][:, [4]].nnz == 1


def test_withdrawn_likes_leave_who_likes_an_item() -> None:
    shop = Recommender(train_linked(), WordEncoder())
    shop._state.liked_by_item  # noqa: B018
    row = int(shop.bundle.liked.indices[0])
    item, user = shop.bundle.items.ids[row], shop.bundle.users.ids[0]
    stars = [1.0, 5.0]
    shop.add_interactions(pd.DataFrame({"user": [user, "new"], "item": [item, item], "stars": stars}))
    expected = State(shop.bundle, SentenceEncoder(WordEncoder())).liked_by_item.toarray()
    assert "liked_by_item" in vars(shop._state)
    np.testing.assert_array_equal(shop._state.liked_by_item.toarray(), expected)
    assert (expected[row, 0], expected[row, -1]) == (0, 1)
