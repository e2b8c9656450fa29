"""Answers from memory: the same as without, and never those of another text, like, edge or bundle."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from rounding import assert_same_but_for_rounding
from shop import WordEncoder, train_shop

from kgrec.recommend import Recommender
from kgrec.recommend.answers import Recommendation, Recommendations
from kgrec.recommend.recent import RecentAnswers
from kgrec.text.encoder import OnTexts

USER = train_shop().users.ids[0]
ITEMS = train_shop().items.ids


class CountingEncoder(WordEncoder):
    """The shop's encoder, which counts its calls: each answer to a sentence that is worked out needs one."""

    n_calls = 0

    def encode(self, texts: Sequence[str], on_texts: OnTexts | None = None) -> NDArray[np.float32]:
        self.n_calls += 1
        return super().encode(texts, on_texts)


def answer(item: str) -> Recommendations:
    return Recommendations((Recommendation(item, 1, 1.0),))


def test_what_was_asked_least_recently_goes() -> None:
    recent, made = RecentAnswers(2), []
    for request in ["a", "b", "a", "c", "a", "b"]:
        if recent.get(request) is None:
            made.append(request)
            recent.keep(request, answer(request))
    assert made == ["a", "b", "c", "b"]  # c put b out, since a had been asked for again


def test_equal_requests_are_worked_out_once_and_others_anew() -> None:
    encoder = CountingEncoder()
    shop = Recommender(train_shop(), encoder)
    first = shop.recommend(text="black tea", k=5)
    assert shop.recommend(text="black tea", k=5) is first
    assert encoder.n_calls == 1
    for asked in (
        {"text": "red bike", "k": 5},
        {"text": "black tea", "k": 4},
        {"text": "black tea", "k": 5, "likes": [ITEMS[3]]},
        {"text": "black tea", "k": 5, "exclude": [first.ids[0]]},
        {"text": "black tea", "k": 5, "candidates": list(ITEMS[:9])},
        {"text": "black tea", "k": 5, "tail": 0.5},
        {"text": "black tea", "k": 5, "explain": True},
        {"text": "black tea", "k": 5, "user": USER},
    ):
        found = shop.recommend(**asked)  # type: ignore[arg-type]
        anew = Recommender(train_shop(), WordEncoder()).recommend(**asked)  # type: ignore[arg-type]
        assert_same_but_for_rounding(found, anew)
        assert found != first
    assert encoder.n_calls == 9


def test_candidates_may_come_from_a_generator() -> None:
    shop = Recommender(train_shop(), WordEncoder())
    for _ in range(2):
        found = shop.recommend(USER, k=2, candidates=(item for item in ITEMS[:9]), exclude=(i for i in ITEMS[:2]))
        assert len(found) == 2
        assert set(found.ids) <= set(ITEMS[2:9])


def _like(shop: Recommender, best: str) -> None:
    row = {"source": USER, "target": best, "stars": 5.0, "bought_at": 1_700_000_000}
    schema = shop.bundle.schema.edges["bought"].arrow_schema
    shop.add_interactions(pa.Table.from_pylist([{name: row.get(name) for name in schema.names}], schema=schema))


def _add_item(shop: Recommender, best: str) -> None:
    shop.add_item("new", text=" ".join(["black tea"] * 3), links=[])


@pytest.mark.parametrize("change", [_like, _add_item, lambda shop, best: shop.forget(USER)])
def test_after_a_change_the_answer_is_that_of_a_recommender_without_a_memory(
    change: Callable[[Recommender, str], None], tmp_path: Path
) -> None:
    def ask(shop: Recommender) -> list[tuple[str, ...]]:
        of_user = shop.recommend(USER, k=5).ids if USER in shop.bundle.users else ()
        return [of_user, shop.recommend(k=5).ids, shop.recommend(text="black tea", k=len(ITEMS)).ids]

    shop = Recommender(train_shop(), WordEncoder())
    before = ask(shop)
    change(shop, before[0][0])
    shop.save(tmp_path / "bundle")
    after = ask(shop)
    assert after == ask(Recommender.load(tmp_path / "bundle", encoder=WordEncoder()))
    assert after != before
