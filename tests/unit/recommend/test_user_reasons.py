"""What a reader shares with those who like a book: counted by hand from the tables, and told without names."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bookshop import N_BOOKS, N_READERS, SCHEMA, book, make_tables, reader, train_bookshop
from numpy.typing import NDArray
from scipy.sparse import csr_array
from shop import WordEncoder

from graph_schema import CatalogueSchema
from kgrec.bundle import Bundle
from kgrec.recommend import Recommender, user_reasons
from kgrec.recommend.asked import read_asked
from kgrec.recommend.requests import Request, read_request
from kgrec.recommend.state import SentenceEncoder, State
from kgrec.recommend.user_reasons import describe_prior, find_user_reasons
from kgrec.store import open_store

READERS, BOOKS = [reader(place) for place in range(N_READERS)], [book(place) for place in range(N_BOOKS)]
PLACES = {"oslo": "in Oslo", "rome": "in Rome", "lima": "in Lima"}
CLUBS = {"chess": "who share your club (Chess Club)", "tennis": "who share your club"}


class _Everybody:
    """Equals the reason that counts everybody who likes an item; fewer than three are "few"."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and re.fullmatch(r"liked by (few|[3-9]|\d\d+) people", other) is not None

    __hash__ = None


EVERYBODY = _Everybody()


def to_state(bundle: Bundle) -> State:
    return State(bundle, SentenceEncoder(WordEncoder()))


def pairs_of(edge_type: str) -> list[tuple[str, str]]:
    table = make_tables().edges[edge_type]
    return list(zip(table["source"].to_pylist(), table["target"].to_pylist(), strict=True))


def reasons_for(state: State, books: Sequence[str] = BOOKS, **asked: object) -> list[str]:
    given = {"user": None, "likes": None, "text": None, "links": None, "attributes": None, **asked}
    request = read_request(state, read_asked(**given), [])  # type: ignore[arg-type]
    return [each.words for each in find_user_reasons(state, request, state.bundle.items.rows(books))]


def with_likes(bundle: Bundle, fans: Iterable[str], one: str = book(0)) -> Bundle:
    """The bundle with other fans of one book."""
    liked = bundle.liked.tolil()
    liked[:, bundle.items.row(one)] = 0
    liked[bundle.users.rows(list(fans)), bundle.items.row(one)] = 1
    return replace(bundle, liked=csr_array(liked.tocsr()))


def with_friends(bundle: Bundle, friends: Iterable[tuple[str, str]]) -> Bundle:
    ends: NDArray[np.int64] = np.array([bundle.users.rows(pair) for pair in friends], np.int64).reshape(-1, 2).T
    return replace(bundle, edges={**bundle.edges, "friend_of": ends})


def with_schema(bundle: Bundle, *, public: bool = False, phrases: dict[str, str | None] | None = None) -> Bundle:
    schema = bundle.schema
    nodes = {**schema.nodes, "reader": schema.nodes["reader"].model_copy(update={"public": public})}
    edges = {
        name: edge.model_copy(update={"phrase": phrases[name]}) if phrases and name in phrases else edge
        for name, edge in schema.edges.items()
    }
    new = CatalogueSchema(name=schema.name, nodes=nodes, edges=edges, interaction=schema.interaction)
    return replace(bundle, schema=new)


# -- counts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 1, 14, 23])
def test_the_counts_are_those_in_the_tables(place: int) -> None:
    me, read = reader(place), set(pairs_of("read"))
    friends = {b for a, b in pairs_of("friend_of") if a == me} | {a for a, b in pairs_of("friend_of") if b == me}
    towns, clubs = dict(pairs_of("lives_in")), dict(pairs_of("member_of"))
    rows = {row["reader_id"]: row for row in make_tables().nodes["reader"].to_pylist()}
    groups = {PLACES[towns[me]]: {one for one in READERS if towns[one] == towns[me]} - {me}}
    if me in clubs:
        groups[CLUBS[clubs[me]]] = {one for one in READERS if clubs.get(one) == clubs[me]} - {me}
    (interest,) = rows[me]["interests"]
    groups[f"who share your interests ({interest})"] = {
        one for one in READERS if rows[one]["interests"] == [interest]
    } - {me}
    groups = {words: group for words, group in groups.items() if len(group) + 1 <= N_READERS / 3}  # others are hubs
    wished = {b for a, b in pairs_of("wish_list") if a == me}
    groups |= {f"who like Title {b}, on your wish list": {one for one, other in read if other == b} for b in wished}
    ages = 0
    found = reasons_for(to_state(train_bookshop()), user=me)
    for one, reason in zip(BOOKS, found, strict=True):
        fans = {user for user, other in read if other == one} - {me}
        usual = len(fans) / (N_READERS - 1)
        lifts = {words: len(fans & group) / len(group) - usual for words, group in groups.items()}
        lifts = {words: lift for words, lift in lifts.items() if len(fans & groups[words]) >= 3 and lift > 0}
        age = re.fullmatch(r"liked by (\d+) people like you \(age (\d+) to (\d+)\)", reason)
        if age:  # the bins are the training's
            n_people, low, high = map(int, age.groups())
            peers = {user for user, row in rows.items() if low <= row["age"] <= high} - {me}
            assert low <= rows[me]["age"] <= high
            assert n_people == len(fans & peers) >= 3
            assert n_people / len(peers) - usual >= max(lifts.values(), default=0)
            ages += 1
            continue
        lift = len(fans & friends) / len(friends) - usual
        counted = f"{len(fans & friends)} of your {len(friends)}"
        if one in wished:
            assert reason == "on your wish list"
        elif reason.endswith("friends like it"):
            assert reason in (f"{counted} friends like it", "most of your friends like it")
            assert len(fans & friends) >= 3
            assert lift >= 0.5 * max(lifts.values(), default=0)
        elif lifts:
            best = max(lifts, key=lambda words: lifts[words])
            same = [words for words in lifts if lifts[words] == pytest.approx(lifts[best])]
            assert reason in [f"liked by {len(fans & groups[words])} people {words}" for words in same]
            assert len(fans & friends) < 3 or lift < 0.5 * lifts[best]
        else:
            assert reason == EVERYBODY
    assert len({re.sub(r"\d+", "", reason) for reason in found}) >= 3
    assert ages < len(found)


def test_the_counts_follow_added_and_forgotten_readers() -> None:
    shop = Recommender(train_bookshop(), WordEncoder())
    fans = [user for user, one in pairs_of("read") if one == book(0) and user != reader(0)]
    shop.add_user("late", links=[("friend_of", user) for user in fans[:4]], likes=[book(35)])
    assert reasons_for(to_state(shop.bundle), [book(0)], user="late") == ["most of your friends like it"]
    shop.add_user("later", links=[("friend_of", "late"), *[("friend_of", user) for user in fans[:3]]])
    assert reasons_for(to_state(shop.bundle), [book(0)], user="later") == ["3 of your 4 friends like it"]
    # the other way round counts too: "later" is a friend of "late"
    assert reasons_for(to_state(shop.bundle), [book(0)], user="late") == ["4 of your 5 friends like it"]
    shop.forget(fans[3])
    assert reasons_for(to_state(shop.bundle), [book(0)], user="late") == ["3 of your 4 friends like it"]
    shop.forget(fans[2])
    assert reasons_for(to_state(shop.bundle), [book(0)], user="late") == [EVERYBODY]


@pytest.mark.parametrize(("n_fans", "expected"), [(2, EVERYBODY), (3, "3 of your 5 friends like it")])
def test_a_count_below_three_is_never_given(n_fans: int, expected: str) -> None:
    fans = READERS[10:20:3][:n_fans]  # all in Rome, of one kind
    state = to_state(with_likes(with_friends(train_bookshop(), []), fans))
    friends = [("friend_of", one) for one in [*fans, *READERS[40:45]][:5]]
    assert reasons_for(state, [book(0)], links=friends) == [expected]
    place = reasons_for(state, [book(0)], links=[("lives_in", "rome")])
    assert place == [EVERYBODY if n_fans == 2 else "liked by 3 people in Rome"]


def test_those_who_ask_are_not_counted() -> None:
    me, *_ = fans = READERS[10:19:3]  # the asker and two others of the town
    state = to_state(with_likes(with_friends(train_bookshop(), []), fans))
    assert reasons_for(state, [book(0)], user=me) == [EVERYBODY]
    assert reasons_for(state, [book(0)], links=[("lives_in", "rome")]) == ["liked by 3 people in Rome"]
    loop = to_state(with_likes(with_friends(train_bookshop(), [(me, one) for one in fans]), fans))
    assert reasons_for(loop, [book(0)], user=me) == [EVERYBODY]  # nobody is a friend of themselves
    links = [("friend_of", one) for one in fans]
    assert reasons_for(loop, [book(0)], user=me, links=links) == [EVERYBODY]


@pytest.mark.parametrize(("n_friends", "is_first"), [(6, True), (30, False)])
def test_friends_come_first_where_they_like_it_half_as_much(n_friends: int, is_first: bool) -> None:
    fans = [one for one in READERS if dict(pairs_of("lives_in"))[one] == "rome"]  # all of Rome: its lift is the largest
    state = to_state(with_likes(train_bookshop(), fans))
    others = [one for one in READERS if one not in fans]
    friends = [("friend_of", one) for one in [*fans[:4], *others][:n_friends]]
    expected = f"4 of your {n_friends} friends like it" if is_first else f"liked by {len(fans)} people in Rome"
    assert reasons_for(state, [book(0)], links=[*friends, ("lives_in", "rome")]) == [expected]


# -- words -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [(None, "in Rome"), ("in {}", "in Rome"), ("from {} too", "from Rome too"), ("home", "who share your home (Rome)")],
)
def test_a_phrase_of_the_schema_names_a_shared_node(phrase: str | None, expected: str) -> None:
    bundle = with_schema(with_likes(train_bookshop(), READERS[10:22:3]), phrases={"lives_in": phrase})
    assert reasons_for(to_state(bundle), [book(0)], links=[("lives_in", "rome")]) == [f"liked by 4 people {expected}"]


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [("buddy", "3 of your 4 buddies like it"), ("pen pal of", "3 of your 4 pen pals like it"),
     ("follows", "3 of your 4 follows like it"), ("colleague", "3 of your 4 colleagues like it"),
     ("Freunde", "3 of the 4 people linked to you (Freunde) like it")],
)  # fmt: skip
def test_a_phrase_of_the_schema_names_friends(phrase: str, expected: str) -> None:
    bundle = with_schema(with_likes(train_bookshop(), READERS[0:9:3]), phrases={"friend_of": phrase})
    links = [("friend_of", one) for one in READERS[0:12:3]]
    assert reasons_for(to_state(bundle), [book(0)], links=links) == [expected]


def test_a_book_on_the_wish_list_and_books_liked_with_it() -> None:
    bundle = with_likes(with_likes(train_bookshop(), READERS[0:15:3]), READERS[0:12:3], book(1))
    found = reasons_for(to_state(bundle), [book(1), book(0)], links=[("wish_list", book(1))])
    assert found == ["on your wish list", f"liked by 4 people who like Title {book(1)}, on your wish list"]


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [("viewed", "viewed by you"), ("saved", "saved by you"), ("feed", "on your feed"),
     ("interested in", "linked to you (interested in)")],
)  # fmt: skip
def test_what_a_user_is_linked_to_by_a_verb_is_said_as_one(phrase: str, expected: str) -> None:
    assert user_reasons._say_wished(phrase) == expected


@pytest.mark.parametrize(
    ("n_fans", "friends", "town"),
    [
        (1, "Ms Reader-10, your friend, likes it", "liked by 1 person in Rome"),
        (2, "Ms Reader-10 and Ms Reader-13, your friends, like it", "liked by 2 people in Rome"),
        (4, "Ms Reader-10, Ms Reader-13 and 2 more of your friends like it", "liked by 4 people in Rome"),
    ],
)
def test_public_users_are_named(n_fans: int, friends: str, town: str) -> None:
    fans = READERS[10:22:3][:n_fans]
    state = to_state(with_schema(with_likes(train_bookshop(), fans), public=True))
    assert reasons_for(state, [book(0)], links=[("friend_of", one) for one in READERS[10:28:3]]) == [friends]
    assert reasons_for(state, [book(0)], links=[("lives_in", "rome")]) == [town]


def test_what_is_known_of_a_user_in_words() -> None:
    state = to_state(train_bookshop())

    def describe(**asked: object) -> str:
        given = {"user": None, "likes": None, "text": None, "links": None, "attributes": None, **asked}
        return describe_prior(state, read_request(state, read_asked(**given), []))  # type: ignore[arg-type]

    assert describe() == ""
    assert describe(links=[("lives_in", "oslo")]) == "town"
    assert describe(links=[("friend_of", reader(0)), ("member_of", "chess")]) == "friends and club"
    assert describe(attributes={"age": 31}) == "age"
    assert describe(links=[("wish_list", book(0))], attributes={"interests": ["space"]}) == "wish list and interests"
    assert describe(links=[("friend_of", "nobody")], attributes={"age": None}) == ""
    assert describe(user=reader(1)) == "books, friends, town and more"


# -- nobody else is named ----------------------------------------------------------------------------------------------


def all_answers(shop: Recommender, me: str) -> str:
    """Every answer that a reader may get, as text."""
    found: list[object] = [
        shop.recommend(me, k=N_BOOKS, explain=True),
        shop.recommend(me, likes=BOOKS[:3], explain=True),
    ]
    found += [shop.explain(one, user=me, likes=BOOKS[5:9]) for one in BOOKS]
    found += [shop.similar(one, k=8, explain=True) for one in BOOKS[:9]]
    found += [shop.recommend_many([me], k=N_BOOKS, explain=True).to_pylist()]
    found += [shop.recommend(links=[("lives_in", "oslo")], attributes={"age": 25}, k=N_BOOKS, explain=True)]
    return str(found)


def test_nobody_else_is_named_in_an_answer() -> None:
    shop = Recommender(train_bookshop(), WordEncoder())
    # reviewed_by makes readers a node that books share; new books have such links too
    shop.add_item(
        "new", name="New", links=[("reviewed_by", reader(1)), ("author_of", "a-1")], attributes={"year": 1990}
    )
    for place in range(0, 30, 7):
        said = all_answers(shop, reader(place)).lower()
        assert set(re.findall(r"reader-\d+", said)) <= {reader(place)}
    assert "reader-" not in str(shop.explain("new", likes=[book(4)])).lower()
    assert "author 1" in str(shop.explain("new", likes=[book(10)])).lower()
    public = Recommender(with_schema(train_bookshop(), public=True), WordEncoder())
    assert len(set(re.findall(r"reader-\d+", all_answers(public, reader(0)).lower()))) >= 3


def test_nobody_is_named_in_paths_from_a_store(tmp_path: Path) -> None:
    tables = make_tables()
    with open_store(f"ladybug:{tmp_path}/shop.db", mode="write") as store:
        store.ensure_schema(SCHEMA)
        for node_type, nodes in tables.nodes.items():
            store.upsert_nodes(node_type, nodes)
        for edge_type, edges in tables.edges.items():
            store.upsert_edges(edge_type, edges)
        live = Recommender(train_bookshop(), WordEncoder(), store)
        shares = [share for one in BOOKS[:12] for share in live.explain(one, likes=BOOKS[12:24]).shares]
    assert any(share.paths for share in shares)
    assert "reader" not in str(shares).lower()


def test_a_request_without_a_profile_has_no_groups() -> None:
    state = to_state(train_bookshop())
    [found] = find_user_reasons(state, Request(np.zeros(0, np.int64)), np.array([0]))
    assert (found.words, found.is_telling) == (EVERYBODY, False)
    assert find_user_reasons(state, Request(np.zeros(0, np.int64)), np.zeros(0, np.int64)) == []
    nobody = to_state(with_likes(train_bookshop(), []))
    assert reasons_for(nobody, [book(0)]) == ["similar to what people like you like"]


def test_a_place_that_over_a_third_of_all_live_in_is_no_reason() -> None:
    bundle = train_bookshop()

    def living_in_rome(n: int) -> State:
        towns = [("rome", one) for one in READERS[:n]] + [("lima", one) for one in READERS[n:]]
        ends = np.array([(bundle.users.row(one), bundle.ids["town"].row(town)) for town, one in towns], np.int64).T
        return to_state(with_likes(replace(bundle, edges={**bundle.edges, "lives_in": ends}), READERS[:5]))

    told = {n: reasons_for(living_in_rome(n), [book(0)], links=[("lives_in", "rome")]) for n in (30, 31)}
    assert told == {30: ["liked by 5 people in Rome"], 31: [EVERYBODY]}


def test_a_value_that_a_third_of_all_share_is_no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    state = to_state(train_bookshop())

    def find_by_value() -> list[str]:
        told = [reason for place in range(6) for reason in reasons_for(state, user=reader(place))]
        return [reason for reason in told if "like you (" in reason]

    assert find_by_value()
    monkeypatch.setattr(user_reasons, "_MOST_SHARING", 0)
    assert not find_by_value()
