"""The reason for an item, from shares that are set by hand on the shop's graph.

sku-02, sku-08 and sku-14 have the same maker, as have sku-01 and sku-07. sku-01 is a spare part of sku-05.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from bookshop import train_bookshop
from scipy.sparse import csr_array
from shop import WordEncoder, train_shop

from graph_schema import Attribute, NodeType
from kgrec.model.model import Contributions, Model
from kgrec.recommend import reasons
from kgrec.recommend.reasons import describe_knowledge, explain_items, find_likeness_reasons, find_reasons
from kgrec.recommend.requests import Request
from kgrec.recommend.state import SentenceEncoder, State
from kgrec.recommend.user_reasons import UserReason

ITEMS = train_shop().items
TITLES = dict(zip(ITEMS.ids, train_shop().names["product"], strict=True))


def share_likes(n_people: int) -> State:
    """The shop, where the first so many customers like all that anybody likes, beside what others like."""
    bundle = train_shop()
    liked = bundle.liked.toarray()
    liked[:n_people] = liked.any(axis=0)
    liked[n_people:, ITEMS.rows(["sku-08"])] = 0
    return State(replace(bundle, liked=csr_array(liked)), SentenceEncoder(WordEncoder()))


STATE = share_likes(2)  # sku-08 has the same two people as every other
MAKER = f"same maker (House of m-tea-2) as {TITLES['sku-02']}, which you liked"
N_LIKES = f"liked by {int(train_shop().model.n_likes[8])} people"


def reason_for(
    monkeypatch: pytest.MonkeyPatch,
    item: str,
    likes: Mapping[str, float],
    known: Sequence[float] | None = None,
    sentence: float | None = None,
    *,
    fits: bool = False,
    state: State = STATE,
    user: int | None = None,
) -> str:
    """The reason for an item, given what each like adds to its score, the known parts, and what the sentence adds."""
    shares = np.array([list(likes.values())], np.float32).reshape(-1, 1)
    known_parts = np.zeros_like(shares) if known is None else np.array(known, np.float32)[:, None]
    said = np.array([sentence or 0.0], np.float32)
    rest, nothing = np.array([0.125], np.float32), np.zeros_like(shares)
    found = Contributions(shares, said, np.zeros(1, np.float32), rest, known_parts, {}, nothing)
    monkeypatch.setattr(Model, "contributions", lambda model, support, rows: found)
    rows, asked = ITEMS.rows(list(likes)), ITEMS.rows([item])
    fitting = np.zeros(len(ITEMS), bool)
    fitting[asked] = fits
    vector = None if sentence is None else WordEncoder().encode(["tea"])[0]
    request = Request(rows, vector, None if sentence is None else fitting, user=user)
    ((whole,),) = explain_items(state, [request], [asked])
    assert whole.score == pytest.approx(sum(likes.values()) + (sentence or 0.0) + 0.125)
    assert find_reasons(state, [request], [asked]) == [[whole.reason]]
    return whole.reason


def test_a_path_counts_for_likes_with_half_of_the_largest_share(monkeypatch: pytest.MonkeyPatch) -> None:
    strongest = f"liked by people who like {TITLES['sku-04']}, which you liked"
    assert reason_for(monkeypatch, "sku-08", {"sku-02": 0.5, "sku-04": 1.0}) == MAKER
    assert reason_for(monkeypatch, "sku-08", {"sku-02": 0.49, "sku-04": 1.0}) == strongest
    assert reason_for(monkeypatch, "sku-08", {"sku-02": 0.0, "sku-04": 0.0}) == N_LIKES
    assert reason_for(monkeypatch, "sku-08", {"sku-02": -0.5, "sku-04": -1.0}) == N_LIKES


def test_paths_are_looked_up_for_the_five_likes_that_add_most(monkeypatch: pytest.MonkeyPatch) -> None:
    others = ["sku-04", "sku-06", "sku-10", "sku-12", "sku-16"]  # of other makers
    shares = dict.fromkeys(others[:4], 1.0)
    assert reason_for(monkeypatch, "sku-08", {**shares, "sku-02": 0.9}) == MAKER
    found = reason_for(monkeypatch, "sku-08", {**shares, "sku-16": 1.0, "sku-02": 0.9})
    assert found == f"liked by people who like {TITLES['sku-04']}, which you liked"


def test_of_likes_with_paths_the_one_with_the_rarest_node_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = reason_for(monkeypatch, "sku-01", {"sku-07": 1.0, "sku-05": 0.6})
    assert found == f"spare part of {TITLES['sku-05']}, which you liked"


def test_without_a_path_the_strongest_like_is_named_by_what_its_share_rests_on(monkeypatch: pytest.MonkeyPatch) -> None:
    liked = f"{TITLES['sku-04']}, which you liked"
    shares = {"sku-06": 0.5, "sku-04": 1.0}
    assert reason_for(monkeypatch, "sku-08", shares, [0.5, 0.5]) == f"liked by people who like {liked}"
    assert reason_for(monkeypatch, "sku-08", shares, [0.0, 0.51]) == f"near {liked}, by its text and links"


def test_people_are_the_reason_where_two_others_like_both_items(monkeypatch: pytest.MonkeyPatch) -> None:
    liked = f"{TITLES['sku-04']}, which you liked"
    people, near = f"liked by people who like {liked}", f"near {liked}, by its text and links"
    share = {"sku-04": 1.0}
    assert reason_for(monkeypatch, "sku-08", share, user=2) == people
    assert reason_for(monkeypatch, "sku-08", share, user=1) == N_LIKES  # the user is one of the two
    assert reason_for(monkeypatch, "sku-08", share, state=share_likes(1)) == N_LIKES
    # what texts and links add is a reason from a fifth of the share on
    assert reason_for(monkeypatch, "sku-08", share, [0.19], state=share_likes(1)) == N_LIKES
    assert reason_for(monkeypatch, "sku-08", share, [0.2], state=share_likes(1)) == near
    assert reason_for(monkeypatch, "sku-08", share, [0.2]) == people


def test_a_lesser_like_is_named_where_nothing_relates_the_item_to_the_strongest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = reason_for(monkeypatch, "sku-08", {"sku-04": 1.0, "sku-06": 0.6}, [0.0, 0.4], state=share_likes(1))
    assert found == f"near {TITLES['sku-06']}, which you liked, by its text and links"


def test_a_node_that_most_items_share_is_no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = STATE.paths.shared_paths("sku-08", "sku-02", 1)
    of_maker = path.n_sharing / len(ITEMS)
    monkeypatch.setattr(reasons, "_HUB", of_maker)
    assert reason_for(monkeypatch, "sku-08", {"sku-02": 1.0}) == MAKER
    monkeypatch.setattr(reasons, "_HUB", of_maker - 0.01)
    liked = f"liked by people who like {TITLES['sku-02']}, which you liked"
    assert reason_for(monkeypatch, "sku-08", {"sku-02": 1.0}) == liked
    spare = f"spare part of {TITLES['sku-05']}, which you liked"
    assert reason_for(monkeypatch, "sku-01", {"sku-05": 1.0}) == spare  # between the two items there is no hub


def test_an_item_is_no_reason_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reason_for(monkeypatch, "sku-08", {"sku-08": 1.0, "sku-02": 0.5}) == MAKER
    assert reason_for(monkeypatch, "sku-08", {"sku-08": 1.0}) == N_LIKES


def test_a_sentence_is_the_reason_where_it_fits_and_adds_more_than_each_like(monkeypatch: pytest.MonkeyPatch) -> None:
    likes = {"sku-02": 1.0, "sku-04": 0.75}
    assert reason_for(monkeypatch, "sku-08", likes, sentence=1.25, fits=True) == "fits your words"
    assert reason_for(monkeypatch, "sku-08", likes, sentence=1.0, fits=True) == MAKER
    assert reason_for(monkeypatch, "sku-08", likes, sentence=1.25) == MAKER
    assert reason_for(monkeypatch, "sku-08", {"sku-02": -1.0}, sentence=0.5, fits=True) == "fits your words"
    assert reason_for(monkeypatch, "sku-08", {"sku-02": -1.0}, sentence=-0.5, fits=True) == N_LIKES
    assert reason_for(monkeypatch, "sku-08", {}, sentence=0.5) == N_LIKES
    assert reason_for(monkeypatch, "sku-29", {}) == "new in the catalogue"


@pytest.mark.parametrize(
    ("known", "likes", "expected"),
    [
        (0.5, ("book-03",), "liked by people who like Title book-03, which you liked"),
        (0.51, ("book-03",), "from the 1970s, like Title book-03, which you liked"),
        # a real link comes before a value, though fewer books share the value
        (0.51, ("book-03", "book-09"), "same author (Author 0) as Title book-09, which you liked"),
        (0.0, ("book-03", "book-09"), "same author (Author 0) as Title book-09, which you liked"),
    ],
)
def test_the_value_of_an_attribute_is_a_reason_where_likes_count_by_the_graph(
    monkeypatch: pytest.MonkeyPatch, known: float, likes: Sequence[str], expected: str
) -> None:
    bundle = train_bookshop()
    decade = bundle.edges["book.year"][1]
    years = decade.copy()
    years[np.isin(bundle.edges["book.year"][0], bundle.items.rows(["book-00", "book-03"]))] = -1
    value = bundle.names["book.year"].index("from the 1970s")
    own = np.array([bundle.items.rows(["book-00", "book-03"]), [value, value]])
    kept = bundle.edges["book.year"][:, years >= 0]
    kept = kept[:, kept[1] != value]  # no other book is of that decade
    state = State(
        replace(bundle, edges={**bundle.edges, "book.year": np.hstack([kept, own])}), SentenceEncoder(WordEncoder())
    )
    shares = np.ones((len(likes), 1), np.float32)
    none = np.zeros(1, np.float32)
    found = Contributions(shares, none, none, none, np.full_like(shares, known), {}, np.zeros_like(shares))
    monkeypatch.setattr(Model, "contributions", lambda model, support, rows: found)
    request = Request(bundle.items.rows(likes))
    ((whole,),) = explain_items(state, [request], [bundle.items.rows(["book-00"])])
    assert whole.reason == expected
    assert find_reasons(state, [request], [bundle.items.rows(["book-00"])]) == [[expected]]


@pytest.mark.parametrize(
    ("n_likes", "expected"), [(0, "new in the catalogue"), (2, "liked by few people"), (3, "liked by 3 people")]
)
def test_a_count_below_three_is_not_given(n_likes: int, expected: str) -> None:
    bundle = train_shop()
    counted = bundle.model.n_likes.clone()
    counted[8] = n_likes
    state = State(replace(bundle, model=replace(bundle.model, n_likes=counted)), SentenceEncoder(WordEncoder()))
    assert find_reasons(state, [Request(np.zeros(0, np.int64))], [np.array([8])]) == [[expected]]


def likeness_reasons(
    monkeypatch: pytest.MonkeyPatch,
    shares: Mapping[str, Sequence[float]],
    item: str,
    others: Sequence[str],
    by: str | None,
    state: State = STATE,
) -> list[str | None]:
    found = {source: np.array(values, np.float32) for source, values in shares.items()}
    monkeypatch.setattr(Model, "likeness_shares", lambda model, one, other: found)
    (row,) = ITEMS.rows([item])
    return find_likeness_reasons(state, int(row), ITEMS.rows(others), by)


def test_what_makes_items_alike_is_named_from_a_quarter_of_the_largest_share(monkeypatch: pytest.MonkeyPatch) -> None:
    others = ["sku-08", "sku-08", "sku-08", "sku-08", "sku-04"]
    shares = {
        "likes": [0.8, 0.21, 0.2, 0.0, 0.0],
        "text": [0.2, 0.8, 0.8, 0.21, 0.2],
        "links": [0.01, 0.0, 0.3, 0.8, 0.9],
    }
    maker, people, text = "same maker (House of m-tea-2)", "liked by the same people", "similar names"
    found = likeness_reasons(monkeypatch, shares, "sku-02", others, None)
    assert [str(reason).replace(f" as {TITLES['sku-02']}", "") for reason in found] == [
        f"{maker}; {people}", f"{people}; {text}", f"{maker}; {text}", f"{maker}; {text}", "similar links",
    ]  # fmt: skip
    assert likeness_reasons(monkeypatch, shares, "sku-02", others, "text") == [text] * 5
    assert likeness_reasons(monkeypatch, shares, "sku-02", others, "likes") == [people] * 3 + [None] * 2
    assert likeness_reasons(monkeypatch, shares, "sku-02", [], None) == []


def test_who_likes_neither_is_no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = {"likes": [1.0, 1.0], "text": [0.5, 0.5], "links": [0.0, 0.0]}
    found = likeness_reasons(monkeypatch, shares, "sku-02", ["sku-04", "sku-29"], None)  # nobody likes sku-29
    assert found == ["liked by the same people; similar names", "similar names"]


def test_where_nothing_can_be_told_the_reason_of_similar_items_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = {"likes": [1.0], "text": [0.0], "links": [0.0]}
    assert likeness_reasons(monkeypatch, shares, "sku-02", ["sku-08"], None) == ["liked by the same people"]
    assert likeness_reasons(monkeypatch, shares, "sku-02", ["sku-08"], None, share_likes(1)) == [None]  # one person


def test_items_without_texts_are_alike_by_their_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = train_shop()
    without_text = {**bundle.schema.nodes["product"].model_dump(), "text": (), "name": None}
    product = NodeType.model_validate({**without_text, "attributes": {"picture_vector": Attribute(type="vector")}})
    nodes = {**bundle.schema.nodes, "product": product}
    schema = bundle.schema.model_copy(update={"nodes": nodes})
    state = State(replace(bundle, schema=schema), SentenceEncoder(WordEncoder()))
    shares = {"likes": [0.0], "text": [1.0], "links": [0.0]}
    found = likeness_reasons(monkeypatch, shares, "sku-02", ["sku-04"], None, state)
    assert found == ["alike by their picture vector"]


@pytest.mark.parametrize(("is_telling", "likes", "expected"), [
    (True, {"sku-02": 0.5}, "liked by 9 people in Oslo"),
    (False, {"sku-02": 0.5}, MAKER),
    (False, {"sku-02": -0.5}, "liked by 9 people in Oslo"),
])  # fmt: skip
def test_a_mere_count_of_people_gives_way_to_a_like(
    monkeypatch: pytest.MonkeyPatch, is_telling: bool, likes: Mapping[str, float], expected: str
) -> None:
    told = [UserReason("liked by 9 people in Oslo", is_telling)]
    monkeypatch.setattr(reasons, "find_user_reasons", lambda state, request, rows: told[: len(rows)])
    shares = np.array([list(likes.values())], np.float32).reshape(-1, 1)
    none = np.zeros(1, np.float32)
    found = Contributions(shares, none, np.ones(1, np.float32), none, np.zeros_like(shares), {}, np.zeros_like(shares))
    monkeypatch.setattr(Model, "contributions", lambda model, support, rows: found)
    request = Request(ITEMS.rows(list(likes)), user=0, prior=np.ones(1, np.float32))
    assert find_reasons(STATE, [request], [ITEMS.rows(["sku-08"])]) == [[expected]]


def test_what_places_an_item_is_named_by_what_there_is() -> None:
    bundle = train_shop()
    item = bundle.schema.nodes["product"]

    def describe(**changes: object) -> str:
        nodes = {**bundle.schema.nodes, "product": NodeType.model_validate({**item.model_dump(), **changes})}
        schema = bundle.schema.model_copy(update={"nodes": nodes})
        return describe_knowledge(State(replace(bundle, schema=schema), SentenceEncoder(WordEncoder())))

    picture = {"picture_vector": Attribute(type="vector")}
    assert describe() == "text and links"
    assert describe(text=()) == "links"
    assert describe(text=(), attributes=picture) == "picture vector and links"
    assert describe(attributes=picture) == "text, picture vector and links"
