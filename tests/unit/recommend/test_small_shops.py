"""Two small catalogues as real users have them: a bookshop that opens, and news with front pages that everybody reads.

In the bookshop there is next to nothing to learn from likes; in the news, counting likes would call the front pages
like everything.
"""

import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from shop import WordEncoder

from graph_schema import CatalogueSchema, GraphTables
from kgrec.bundle import Bundle
from kgrec.config import BackboneConfig, HeadConfig, PriorConfig, TrainConfig
from kgrec.recommend import Recommender
from kgrec.recommend.notes import note_few_likes
from kgrec.training.train_bundle import train_bundle

SCHEMA = """
name = "small"
[nodes.item]
label = "Item"
key = "item_id"
name = "title"
text = ["title"]
[nodes.entity]
label = "Entity"
key = "entity_id"
name = "name"
[nodes.user]
label = "User"
key = "user_id"
[edges.about]
source = "item"
type = "ABOUT"
target = "entity"
phrase = "author"
[edges.met]
source = "user"
type = "MET"
target = "item"
attributes = { stars = "float" }
[interaction]
edge = "met"
weight = "stars"
positive = 4
"""
CONFIG = TrainConfig(
    embedding_dim=16,
    device="cpu",
    backbone=BackboneConfig(alphas=(), regularisations=()),
    prior=PriorConfig(path_dim=8, links_dim=16, regularisations=(), gates=()),
    head=HeadConfig(epochs=2),
)
SERIES = (
    "Wizard School", "Starship Captain", "Village Baker", "Dragon Riders", "Harbour Detective", "Roman Legion",
    "Cat Cafe", "Arctic Expedition", "Vampire Hotel", "Chess Master", "Garden Year", "Railway Children",
)  # fmt: skip
N_VOLUMES = 20
WIZARDS = tuple(f"b00{volume:02}" for volume in range(N_VOLUMES))  # of the first series
TOPICS = ("grandmaster opens the chess tournament", "baker shares a sourdough recipe", "rocket launch is delayed")
FRONT = ("Storm closes the harbour", "Mayor resigns", "Lottery won twice")
N_STORIES = 20  # of a topic; nobody has clicked the last
Met = Sequence[tuple[str, str, float]]


def train(titles: Mapping[str, str], about: Mapping[str, str], met: Met) -> Bundle:
    schema = CatalogueSchema.parse(SCHEMA)

    def to_table(fields: pa.Schema, *columns: Sequence[object]) -> pa.Table:
        return pa.table([pa.array(column, field.type) for column, field in zip(columns, fields, strict=True)], fields)

    nodes, edges = schema.nodes, schema.edges
    entities = sorted(set(about.values()))
    tables = GraphTables(
        schema,
        {
            "item": to_table(nodes["item"].arrow_schema, list(titles), list(titles.values())),
            "entity": to_table(nodes["entity"].arrow_schema, entities, entities),
            "user": to_table(nodes["user"].arrow_schema, sorted({user for user, _, _ in met})),
        },
        {
            "about": to_table(edges["about"].arrow_schema, list(about), list(about.values())),
            "met": to_table(edges["met"].arrow_schema, *map(list, zip(*met, strict=True))),
        },
    )
    with tempfile.TemporaryDirectory() as folder:
        return train_bundle(tables, CONFIG, WordEncoder(), Path(folder), trained_at=1_700_000_000)


def series_of(book: str) -> int:
    return int(book[1:3])


@cache
def train_bookshop() -> Bundle:
    """240 books of 12 series and five readers of two series each; nobody reads the first, the last has one reader.

    The last book of the first series, and the last but one, were read and not liked.
    """
    rng = np.random.default_rng(4)
    books = [f"b{series:02}{volume:02}" for series in range(len(SERIES)) for volume in range(N_VOLUMES)]
    titles = {book: f"{SERIES[series_of(book)]} volume {int(book[3:]) + 1}" for book in books}
    met = [(f"u{reader}", book, 2.0) for reader, book in enumerate(WIZARDS[-2:])]
    for reader in range(5):
        fans = [book for book in books if series_of(book) in ((2 * reader) % 10 + 1, (2 * reader + 3) % 10 + 1)]
        met += [(f"u{reader}", str(book), 5.0) for book in rng.choice(fans, 16, replace=False)]
    met += [("hermit", book, 5.0) for book in books[-N_VOLUMES : -N_VOLUMES + 4]]
    return train(titles, {book: f"Author of {SERIES[series_of(book)]}" for book in books}, met)


@cache
def train_news() -> Bundle:
    """Stories of three topics, one or two clicks a user in their topic, and front pages that everybody opens."""
    rng = np.random.default_rng(3)
    stories = [f"n{number:03}" for number in range(len(TOPICS) * N_STORIES)]
    titles = {story: f"{TOPICS[number % 3]}, part {number // 3}" for number, story in enumerate(stories)}
    fronts = {f"front{number}": title for number, title in enumerate(FRONT)}
    about = {story: f"topic {number % 3}" for number, story in enumerate(stories)} | dict.fromkeys(fronts, "front")
    met: list[tuple[str, str, float]] = []
    for user in range(300):
        mine = stories[user % 3 : -3 : 3]
        opened = [
            *rng.choice(mine, int(rng.integers(1, 3)), replace=False),
            *rng.choice(list(fronts), 2, replace=False),
        ]
        met += [(f"u{user:03}", str(item), 5.0) for item in opened]
    return train(titles | fronts, about, met)


@pytest.fixture
def bookshop() -> Recommender:
    return Recommender(train_bookshop(), WordEncoder())


@pytest.fixture
def news() -> Recommender:
    return Recommender(train_news(), WordEncoder())


def test_books_of_a_series_that_nobody_reads_find_each_other(bookshop: Recommender) -> None:
    similar = bookshop.similar("b0000", 8, explain=True)
    assert len(similar) == 8
    assert set(similar.ids) <= set(WIZARDS)
    assert all(str(each.reason).startswith("same author (Author of Wizard School)") for each in similar)
    assert similar.notes == ("nobody liked 'b0000' in training: this rests on its text and links",)
    found = bookshop.recommend(likes=["b0000", "b0001"], k=8, explain=True)
    assert len(found) == 8
    assert set(found.ids) <= set(WIZARDS)
    assert all("same author (Author of Wizard School)" in str(each.reason) for each in found)
    assert any("rests on their texts and links" in note for note in found.notes)
    assert set(bookshop.recommend(text="wizard school", k=6).ids) <= set(WIZARDS)


def test_where_there_is_little_to_learn_from_a_note_says_so(bookshop: Recommender) -> None:
    n_likes = train_bookshop().lineage.n_likes
    liked = [train_bookshop().items.ids[item] for item in train_bookshop().liked[[1]].indices[:2]]
    for asked in ({"user": "u1"}, {"likes": liked}):
        notes = bookshop.recommend(**asked).notes  # type: ignore[arg-type]
        assert notes == (f"only {n_likes} likes to learn from: this rests on texts and links as well",)


def test_few_likes_are_fewer_than_500() -> None:
    assert note_few_likes(500) is None
    assert note_few_likes(499) == "only 499 likes to learn from"
    assert note_few_likes(1) == "only 1 like to learn from"


def test_every_reader_has_a_list_of_what_they_read(bookshop: Recommender) -> None:
    liked = train_bookshop().liked
    for row, reader in enumerate(train_bookshop().users.ids):
        own = {series_of(train_bookshop().items.ids[item]) for item in liked[[row]].indices}
        found = bookshop.recommend(reader, k=10)
        assert np.mean([series_of(book) in own for book in found.ids]) >= 0.8
        scores = np.array([each.score for each in found])
        assert scores[0] > scores[-1]


def test_likes_that_nobody_shares_give_what_has_their_texts_and_links(bookshop: Recommender) -> None:
    found = bookshop.recommend("hermit", k=8, explain=True)
    assert {series_of(book) for book in found.ids} == {len(SERIES) - 1}
    assert len({each.score for each in found}) == 8  # ordered by what they are, not by ids
    assert found.notes
    assert not any("liked by people" in str(each.reason) for each in found)


@pytest.mark.parametrize("met", WIZARDS[-2:])
def test_a_book_that_was_met_but_not_liked_is_not_dead(bookshop: Recommender, met: str) -> None:
    model, row = bookshop.bundle.model, bookshop.bundle.items.row(met)
    assert row is not None
    assert (int(model.n_likes[row]), int(model.n_disliked[row])) == (0, 1)
    title = str(bookshop.bundle.names["item"][row])
    assert met in bookshop.recommend(text=title, k=5).ids
    assert set(bookshop.similar(met, 10).ids) <= set(WIZARDS)
    assert met in bookshop.similar(WIZARDS[0], N_VOLUMES).ids
    assert met in bookshop.recommend(likes=WIZARDS[:3], k=N_VOLUMES).ids


def test_stories_of_a_topic_are_similar_and_front_pages_are_not(news: Recommender) -> None:
    for topic in range(len(TOPICS)):
        for story in (topic, topic + 3, topic + 30):
            found = news.similar(f"n{story:03}", 6)
            assert {int(other[1:]) % 3 for other in found.ids if other.startswith("n")} == {topic}
            assert not any(other.startswith("front") for other in found.ids)


def test_a_story_that_nobody_clicked_is_not_like_what_everybody_clicks(news: Recommender) -> None:
    n_likes = dict(zip(news.bundle.items.ids, news.bundle.model.n_likes.tolist(), strict=True))
    most_clicked = set(sorted(n_likes, key=lambda item: -n_likes[item])[:10])
    shares = []
    for topic in range(len(TOPICS)):
        story = f"n{len(TOPICS) * (N_STORIES - 1) + topic:03}"
        assert n_likes[story] == 0
        found = news.similar(story, 10)
        assert {int(other[1:]) % 3 for other in found.ids} == {topic}
        assert story in news.similar(found.ids[0], N_STORIES).ids  # and it is found from these
        shares.append(len(most_clicked & set(found.ids)) / 10)
    assert np.mean(shares) < 0.5


def test_who_clicked_a_topic_is_shown_it(news: Recommender) -> None:
    for topic in range(len(TOPICS)):
        found = news.recommend(likes=[f"n{topic:03}", f"n{topic + 3:03}"], k=8, exclude=["front0", "front1", "front2"])
        assert np.mean([int(item[1:]) % 3 == topic for item in found.ids]) >= 0.75
