"""The values that a changed state keeps are those that it would compute."""

import numpy as np
import pandas as pd
import pytest
from bookshop import book, reader, train_bookshop
from shop import WordEncoder

from kgrec.model.model import Model
from kgrec.recommend import NewUser, Recommender
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
