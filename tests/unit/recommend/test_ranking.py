"""What the notes of an answer say, and how links and attributes of those who ask count."""

from dataclasses import replace

import numpy as np
import pytest
from bookshop import N_BOOKS, book, reader, train_bookshop
from scipy.sparse import csr_array
from shop import WordEncoder

from kgrec.errors import RequestError
from kgrec.recommend import Recommender
from kgrec.recommend.asked import read_asked
from kgrec.recommend.reasons import describe_knowledge
from kgrec.recommend.requests import Request, read_request
from kgrec.recommend.state import SentenceEncoder, State

SHOP = Recommender(train_bookshop(), WordEncoder())
STATE = State(train_bookshop(), SentenceEncoder(WordEncoder()))
BUNDLE = train_bookshop()


def read(unknown: list[str] | None = None, **asked: object) -> Request:
    given = {"user": None, "likes": None, "text": None, "links": None, "attributes": None, **asked}
    return read_request(STATE, read_asked(**given), [] if unknown is None else unknown)  # type: ignore[arg-type]


def linked(request: Request) -> set[tuple[str, str]]:
    """(edge type, id) of the nodes that a request is linked to."""
    found = request.linked if request.linked is not None else STATE.linked_nodes.find(request.user or 0)
    pairs = [(BUNDLE.user_relations[place], node) for place, node in found.T.tolist()]
    return {(edge_type, BUNDLE.ids[far].ids[node]) for (edge_type, _, far), node in pairs}


def first_note(**asked: object) -> str:
    return SHOP.recommend(**asked, k=3).notes[0]  # type: ignore[arg-type]


def test_a_note_says_what_an_answer_without_likes_rests_on() -> None:
    friends = [("friend_of", reader(0)), ("friend_of", reader(3))]
    rests = "no likes are given: this rests on the user's"
    assert first_note(links=[*friends, ("lives_in", "oslo")]) == f"{rests} friends and town"
    assert first_note(attributes={"age": 31}) == f"{rests} age"
    SHOP.add_user("silent", links=friends)
    assert first_note(user="silent") == "user 'silent' has no likes: this rests on the user's friends"
    SHOP.forget("silent")
    assert not any("no likes" in note for note in SHOP.recommend(likes=[book(0)], links=friends, k=3).notes)


@pytest.mark.parametrize(
    "asked",
    [
        {"links": [("friend_of", "nobody"), ("lives_in", "atlantis")]},
        {"attributes": {"age": None, "interests": []}},
        {"attributes": {"interests": ["falconry"], "age": None}},
        {"links": [("lives_in", "atlantis")], "attributes": {"interests": ["falconry"]}},
    ],
)
def test_where_nothing_given_is_known_popular_books_come_and_a_note_says_so(asked: dict[str, object]) -> None:
    found, popular = SHOP.recommend(**asked, k=N_BOOKS), SHOP.recommend(k=N_BOOKS)  # type: ignore[arg-type]
    assert found.ids == popular.ids
    message = "no likes are given, and the links and attributes have no effect: these are the most liked items"
    assert found.notes[0] == message
    named = [id_ for _, id_ in asked.get("links", [])]  # type: ignore[attr-defined]
    named += ["interests=falconry"] if "falconry" in str(asked) else []
    assert list(found.unknown) == named
    assert all(name in found.notes[-1] for name in named)


def test_without_likes_a_note_says_that_the_most_liked_come_only_where_they_do() -> None:
    most = "no likes are given: these are the most liked items"
    found = SHOP.recommend(k=N_BOOKS)
    assert found.notes[0] == SHOP.recommend(k=3, tail=-1).notes[0] == most
    n_likes = BUNDLE.model.n_likes.numpy()[BUNDLE.items.rows(found.ids)]
    assert (np.diff(n_likes[n_likes > 0]) <= 0).all()
    assert SHOP.recommend(k=3, tail=1).notes[0] == "no likes are given: this rests on how many people like an item"


def with_likes(*pairs: tuple[int, int]) -> Recommender:
    """The book club, where some readers, by place, like these books and nobody likes anything else."""
    liked = np.zeros(BUNDLE.liked.shape, np.float32)
    liked[tuple(np.array(pairs).T)] = 1
    lineage = replace(BUNDLE.lineage, n_likes=500)  # enough to learn from
    return Recommender(replace(BUNDLE, liked=csr_array(liked), lineage=lineage), WordEncoder())


def test_a_note_says_where_nobody_shares_the_likes() -> None:
    lone = f"nobody else who likes this item likes another: this rests on {describe_knowledge(STATE)}"

    def notes(shop: Recommender, *books: int, user: str | None = None) -> tuple[str, ...]:
        return shop.recommend(user, [book(place) for place in books] or None, k=3).notes

    alone = with_likes((0, 0))
    assert notes(alone, 0) == (lone,)
    assert notes(alone, user=reader(0)) == (lone,)  # the reader is nobody else
    assert notes(with_likes((0, 0), (0, 1)), 0) == ()
    assert notes(with_likes((0, 0), (0, 1)), 0, 1) == (lone.replace("this item", "these items"),)
    assert notes(with_likes((0, 0), (0, 1), (1, 1), (1, 2)), user=reader(0)) == ()


def test_a_given_attribute_replaces_that_of_a_known_user_and_a_list_is_added_to() -> None:
    (before,) = (id_ for name, id_ in linked(read(user=reader(0))) if name == "reader.age" and id_.isdigit())
    found = linked(read(user=reader(0), attributes={"age": 65, "interests": ["space"]}))
    ages = {id_ for name, id_ in found if name == "reader.age" and id_.isdigit()}
    assert len(ages) == 1
    assert before not in ages
    assert {("reader.interests", "gardens"), ("reader.interests", "space"), ("lives_in", "oslo")} <= found
    kept = linked(read(user=reader(0), links=[("member_of", "tennis")]))
    assert kept == linked(read(user=reader(0))) | {("member_of", "tennis")}
    assert kept != linked(read(user=reader(0)))
    none = read(user=reader(0), attributes={"age": None})
    assert {name for name, _ in linked(none)} == {name for name, _ in linked(read(user=reader(0)))} - {"reader.age"}


def test_the_attributes_of_a_new_user_that_are_not_given_are_missing() -> None:
    request = read(links=[("lives_in", "oslo")])
    assert linked(request) == {("lives_in", "oslo")} | {
        (name, "missing") for name in ("reader.age", "reader.interests") if "missing" in BUNDLE.ids[name]
    }
    assert read().linked is None
    assert read(likes=[book(0)]).prior is None
    unknown: list[str] = []
    assert read(unknown, links=[("friend_of", "nobody")]).prior is None
    assert unknown == ["nobody"]


def test_links_of_a_known_user_come_on_top_and_move_the_answer() -> None:
    own = read(user=reader(0))
    moved = read(user=reader(0), links=[("lives_in", "lima")])
    assert own.prior is not None
    assert moved.prior is not None
    assert not np.allclose(own.prior, moved.prior)
    same = read(user=reader(0), links=[("lives_in", "oslo"), ("friend_of", reader(0))])
    assert same.prior is not None
    np.testing.assert_allclose(same.prior, own.prior, rtol=1e-4, atol=1e-6)


def test_links_and_attributes_that_the_model_does_not_read() -> None:
    for asked, message in (
        ({"links": [("likes", "x")]}, "no edge type 'likes' of the node type 'reader'; expected one of"),
        ({"attributes": {"height": 3}}, r"does not read an attribute 'height' .* one of \['age', 'interests'\]"),
        ({"attributes": {"age": "old"}}, "'age' is 'old'; expected a value of type 'int'"),
        ({"attributes": {"age": ["31", "32"]}}, r"'age' has the values \['31', '32'\]; expected one value"),
        ({"attributes": {"age": {"a": 1}}}, "'age' is {'a': 1}; expected one value, or a list of values"),
        ({"attributes": {"age": float("inf")}}, "'age' is inf; expected a value of type 'int'"),
        ({"attributes": [("age", 3)]}, "expected attributes as a mapping"),
        ({"links": ["oslo"]}, "expected each link as"),
    ):  # fmt: skip
        for call in (SHOP.recommend, lambda **given: SHOP.explain(book(0), **given)):
            with pytest.raises(RequestError, match=message):
                call(**asked)  # type: ignore[operator]
