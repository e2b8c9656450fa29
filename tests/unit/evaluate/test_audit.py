from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from graph_schema import CatalogueSchema, GraphTables
from kgrec.config import SplitConfig
from kgrec.evaluate.audit import CHECKS, Audit, Finding, audit_split, measure_without
from kgrec.evaluate.baseline_scorers import fit_item_knn, fit_popularity
from kgrec.evaluate.evaluation import report_slices
from kgrec.evaluate.hindsight import quote_popularity
from kgrec.graph.hetero import sort_tables, to_hetero
from kgrec.questions.slices import Scorer, Slice, evaluate_slice
from kgrec.questions.splits import Split, read_likes, split_likes
from kgrec.store.contract import NodeRef

SCHEMA = CatalogueSchema.parse("""
name = "library"
[nodes.reader]
label = "Reader"
key = "reader_id"
attributes = { favourite = { type = "string", feature = true } }
[nodes.book]
label = "Book"
key = "book_id"
name = "title"
text = ["title", "blurb"]
attributes = { updated_at = "time", year = "int", shelf_no = { type = "float", feature = true } }
[nodes.prize]
label = "Prize"
key = "prize_id"
text = ["about"]
attributes = { year = "int" }
[edges.won]
source = "book"
type = "WON"
target = "prize"
attributes = { won_at = "time" }
[edges.similar]
source = "book"
type = "SIMILAR"
target = "book"
[edges.viewed]
source = "reader"
type = "VIEWED"
target = "book"
[edges.read]
source = "reader"
type = "READ"
target = "book"
attributes = { read_at = "time" }
[interaction]
edge = "read"
at = "read_at"
""")
N_READERS, N_BOOKS, N_PRIZES = 150, 130, 12
START = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp())  # of a year of reading
DAY = 86_400
NOW = datetime(2024, 5, 6, tzinfo=UTC)
SPLIT = SplitConfig(support_sizes=(0, 3), least_likes=6)


@dataclass
class Library:
    """The contents, by row; ids of books are 'b000', of readers 'r000', of prizes 'p00'."""

    read: NDArray[np.bool_]  # (N_READERS, N_BOOKS)
    blurbs: list[str]
    titles: list[str]
    updated_at: list[int]
    prize_texts: list[str]
    prize_years: list[int]
    won: list[tuple[int, int]]
    won_at: list[int]
    similar: list[tuple[int, int]]
    viewed: list[tuple[int, int]]
    vectors: NDArray[np.float32]
    favourites: list[str | None]
    shelf_numbers: list[float]

    def to_tables(self) -> GraphTables:
        rng = np.random.default_rng(9)
        readers, books = np.nonzero(self.read)
        ids = {
            "reader": [f"r{row:03}" for row in range(N_READERS)],
            "book": [f"b{row:03}" for row in range(N_BOOKS)],
            "prize": [f"p{row:02}" for row in range(N_PRIZES)],
        }
        years = [2019] * N_BOOKS
        rows = {
            "reader": [ids["reader"], self.favourites],
            "book": [ids["book"], self.titles, self.blurbs, self.updated_at, years, self.shelf_numbers],
            "prize": [ids["prize"], self.prize_texts, self.prize_years],
        }

        def link(edge_type: str, pairs: list[tuple[int, int]], *values: list[int]) -> pa.Table:
            edge = SCHEMA.edges[edge_type]
            ends = [[ids[kind][pair[side]] for pair in pairs] for side, kind in enumerate((edge.source, edge.target))]
            return make_table(edge.arrow_schema, [*ends, *values])

        times = (START + rng.integers(0, 365, len(readers)) * DAY).tolist()
        edges = {
            "won": link("won", self.won, self.won_at),
            "similar": link("similar", self.similar),
            "viewed": link("viewed", self.viewed),
            "read": link("read", list(zip(readers.tolist(), books.tolist(), strict=True)), times),
        }
        nodes = {name: make_table(SCHEMA.nodes[name].arrow_schema, columns) for name, columns in rows.items()}
        return GraphTables(SCHEMA, nodes, edges)


def make_table(schema: pa.Schema, columns: list[list]) -> pa.Table:
    return pa.table([pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)], schema)


def make_library() -> Library:
    rng = np.random.default_rng(1)
    words = (
        *("amber", "birch", "cedar", "delta", "ember", "fjord"),
        *("grove", "haven", "inlet", "jetty", "knoll", "lagoon"),
    )
    titles = [f"{words[row // 12]} and {words[row % 12][::-1]}" for row in range(N_BOOKS)]
    vectors = rng.normal(size=(N_BOOKS, 16)).astype(np.float32)
    popularity = rng.uniform(0.1, 0.35, N_BOOKS)
    return Library(
        read=rng.random((N_READERS, N_BOOKS)) < popularity,
        blurbs=[f"A story of {title}, set in 1850." for title in titles],
        titles=titles,
        updated_at=[START - DAY] * N_BOOKS,
        prize_texts=[f"prize for {word}" for word in words],
        prize_years=[2010] * N_PRIZES,
        won=[(row, row % N_PRIZES) for row in range(0, N_BOOKS, 3)],
        won_at=[START - DAY] * len(range(0, N_BOOKS, 3)),
        similar=[(row, (row + step) % N_BOOKS) for row in range(N_BOOKS) for step in (1, 2, 3)],
        viewed=[(row % N_READERS, row % N_BOOKS) for row in range(0, 900, 7)],
        vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        favourites=[None] * N_READERS,
        shelf_numbers=[row * 37 % N_BOOKS for row in range(N_BOOKS)],
    )


def audit(library: Library, *, timed: bool = True) -> tuple[Audit, Split]:
    tables = sort_tables(library.to_tables())
    data, _ = to_hetero(tables, {"book": library.vectors})
    data["book"].has_text = torch.ones(N_BOOKS, dtype=torch.bool)
    likes = read_likes(data, SCHEMA)
    if not timed:
        likes = replace(likes, times=None)
    split = split_likes(likes, SPLIT, np.random.default_rng(0))
    slices, train = report_slices(split), split.train.to_matrix()
    scorers: tuple[Scorer, ...] = (fit_item_knn(train), fit_popularity(train))
    results = [evaluate_slice(scorer, slice_, 20) for slice_ in slices for scorer in scorers]
    rng = np.random.default_rng(2)
    return audit_split(tables, data, likes, split, slices, results, lambda _: scorers, rng, now=NOW), split


def find(library: Library, check: str) -> Finding:
    found, _ = audit(library)
    assert [finding.check for finding in found.findings] == [check]
    assert set(found.passed) == set(CHECKS) - {check}
    return found.findings[0]


def test_a_clean_catalogue_has_no_findings() -> None:
    found, _ = audit(make_library())
    assert found.findings == ()
    assert list(found.passed) == list(CHECKS)
    assert found.skipped == {}


def test_without_times_the_checks_of_times_are_skipped() -> None:
    library = make_library()
    library.prize_years = [2022] * 3 + [2010] * 9
    found, _ = audit(library, timed=False)
    assert found.findings == ()
    assert found.skipped == dict.fromkeys(("later_nodes", "later_texts"), "the likes have no times")


def test_an_item_under_two_ids_is_found_and_its_effect_measured() -> None:
    library = make_library()
    for first in range(0, 40, 2):  # readers of one read the other
        library.titles[first + 1] = library.titles[first].upper()
        library.blurbs[first + 1] = library.blurbs[first]
        library.read[:, first + 1] = library.read[:, first]
    library.won = []
    library.won_at = []
    library.similar = []
    found, split = audit(library)
    finding = next(finding for finding in found.findings if finding.check == "duplicate_items")
    assert (finding.count, finding.total, finding.of) == (20, N_BOOKS, "items")
    n_likes = library.read.sum(axis=0)
    most = int(np.argmax(n_likes[0:40:2])) * 2
    assert finding.examples[0].nodes == (NodeRef("book", f"b{most:03}"), NodeRef("book", f"b{most + 1:03}"))
    assert finding.examples[0].about == f"{library.titles[most]}: {n_likes[most]} and {n_likes[most]} likes"
    effects = {effect.slice_name: effect for effect in finding.effects}
    # By hand: a warm test like leaks when the user's support holds the twin.
    twin = np.arange(N_BOOKS)
    twin[:40] ^= 1
    for name in ("warm", "cold_users_k3"):
        slice_ = split.slices[name]
        users, items = slice_.relevant.nonzero()
        support = slice_.support.toarray() > 0
        leaked = support[users, twin[items]] & (twin[items] != items)
        assert (effects[name].n_leaked, effects[name].n_relevant) == (leaked.sum(), len(leaked))
        assert effects[name].n_by_chance is None
    # A cold item with a twin in training leaks for every user.
    slice_ = split.slices["cold_items"]
    trained = split.train.to_matrix().sum(axis=0) > 0
    items = slice_.relevant.nonzero()[1]
    assert effects["cold_items"].n_leaked == (trained[twin[items]] & (twin[items] != items)).sum() > 0
    # Item kNN depends on the twins: without them it finds only other books.
    warm = effects["warm"]
    assert list(warm.recall) == ["item kNN", "popularity"]
    assert warm.recall_without["item kNN"] < 0.9 * warm.recall["item kNN"]
    lost = {name: warm.recall[name] - value for name, value in warm.recall_without.items()}
    assert lost["item kNN"] > 0.05 > abs(lost["popularity"])


def test_a_user_under_two_ids_is_found() -> None:
    library = make_library()
    library.read[1] = library.read[0]
    finding = find(library, "duplicate_users")
    n_likes = int(library.read[0].sum())
    assert (finding.count, finding.total, finding.of) == (1, N_READERS, "users")
    assert finding.examples[0].nodes == (NodeRef("reader", "r000"), NodeRef("reader", "r001"))
    assert finding.examples[0].about == f"{n_likes} likes in common, of {n_likes} and {n_likes}"
    assert finding.effects
    assert all(0 < effect.n_leaked <= n_likes * 2 for effect in finding.effects)


def test_a_relation_that_repeats_the_likes_is_found() -> None:
    library = make_library()
    pairs = [(int(reader), int(book)) for reader, book in zip(*np.nonzero(library.read), strict=True)]
    library.viewed = pairs[::2]
    finding = find(library, "relations_that_repeat")
    assert (finding.count, finding.total, finding.of) == (len(pairs[::2]), len(pairs[::2]), "that viewed links")
    assert finding.message == "pairs that both read and viewed link"
    assert finding.examples[0].nodes == (NodeRef("reader", f"r{pairs[0][0]:03}"), NodeRef("book", f"b{pairs[0][1]:03}"))
    warm = next(effect for effect in finding.effects if effect.slice_name == "warm")
    assert warm.n_leaked == pytest.approx(warm.n_relevant / 2, rel=0.2)
    assert warm.n_by_chance is not None
    assert warm.n_by_chance < warm.n_leaked / 2


def test_a_feature_that_repeats_popularity_is_found() -> None:
    library = make_library()
    n_likes = library.read.sum(axis=0)
    library.shelf_numbers = (-np.log(n_likes + 1.0)).tolist()
    library.shelf_numbers[3] = None
    finding = find(library, "features_from_likes")
    assert (finding.count, finding.total, finding.of) == (N_BOOKS - 1, N_BOOKS, "book nodes")
    assert (
        finding.message
        == "book nodes whose attribute shelf_no repeats the number of read edges; rank correlation -1.00"
    )
    counts = np.delete(n_likes, 3)
    assert finding.examples[0].about == f"shelf_no {-np.log(counts.min() + 1):g}, {counts.min()} interactions"
    warm = next(effect for effect in finding.effects if effect.slice_name == "warm")
    assert 0 < warm.n_leaked <= warm.n_relevant


def test_a_feature_of_users_that_names_what_they_like_is_found() -> None:
    library = make_library()
    library.favourites = [f"b{int(np.flatnonzero(row)[-1]):03}" for row in library.read]
    finding = find(library, "relations_that_repeat")
    assert (finding.count, finding.total, finding.of) == (N_READERS, N_READERS, "that favourite links")
    assert finding.message == "pairs that read links and whose item the attribute favourite of reader names"
    last = int(np.flatnonzero(library.read[0])[-1])
    assert finding.examples[0].nodes == (NodeRef("reader", "r000"), NodeRef("book", f"b{last:03}"))


def link_co_read(read: NDArray[np.bool_], n_links: int = 5) -> list[tuple[int, int]]:
    """Links each book to those with most readers in common."""
    common = read.T.astype(float) @ read
    np.fill_diagonal(common, 0)
    return [(book, int(other)) for book in range(N_BOOKS) for other in np.argsort(-common[book])[:n_links]]


def test_a_relation_made_from_test_likes_is_a_leak() -> None:
    library = make_library()
    library.similar = link_co_read(library.read)
    finding = find(library, "relations_from_likes")
    assert (finding.total, finding.of) == (5 * N_BOOKS, "links looked at")
    assert finding.count > 0.7 * finding.total  # the others are ties
    assert finding.message.startswith("similar links that go to the items with most users in common by all likes")
    cold = next(effect for effect in finding.effects if effect.slice_name == "cold_items")
    assert cold.n_leaked > (cold.n_by_chance or 0) > 0


def test_a_relation_made_from_training_likes_alone_is_no_leak() -> None:
    library = make_library()
    _, split = audit(library)
    library.similar = link_co_read(split.train.to_matrix().toarray() > 0)
    found, _ = audit(library)
    assert found.findings == ()


def later_prize(library: Library) -> tuple[str, int, int, str, str]:
    library.prize_years[3] = 2021
    return "prize nodes with year after 2020", 1, N_PRIZES, "prize nodes", "year 2021"


def later_link(library: Library) -> tuple[str, int, int, str, str]:
    library.won_at[3] = START + 400 * DAY
    return "won links with won_at after", 1, len(library.won), "won links", "won_at 2021-02-04"


def later_text_version(library: Library) -> tuple[str, int, int, str, str]:
    library.updated_at[9] = START + 400 * DAY
    return "book nodes with updated_at after", 1, N_BOOKS, "book nodes", "updated_at 2021-02-04"


@pytest.mark.parametrize("plant", [later_prize, later_link, later_text_version])
def test_nodes_and_texts_from_after_the_split_are_found(
    plant: Callable[[Library], tuple[str, int, int, str, str]],
) -> None:
    library = make_library()
    message, count, total, of, about = plant(library)
    finding = find(library, "later_nodes")
    assert finding.message.startswith(message)
    assert (finding.count, finding.total, finding.of) == (count, total, of)
    assert finding.examples[0].about == about
    winners = [row for row, prize in library.won if prize == 3] if plant is later_prize else [9]
    _, split = audit(library)
    for effect in finding.effects:
        slice_ = next(found for found in report_slices(split) if found.name == effect.slice_name)
        assert effect.n_leaked == np.isin(slice_.relevant.indices, winners).sum() > 0


def test_the_time_of_an_import_is_no_leak() -> None:
    library = make_library()
    library.updated_at = [START + 400 * DAY] * N_BOOKS
    assert audit(library)[0].findings == ()


def test_texts_written_with_hindsight_are_found() -> None:
    library = make_library()
    for book in (3, 4):
        library.blurbs[book] += " Winner of the 2022 reader's prize."
    library.blurbs[5] += " The year is 2077."  # that is not hindsight
    assert audit(library)[0].findings == ()  # two matches are chance: 2001: A Space Odyssey
    library.blurbs[6] += " Filmed in 2021."
    finding = find(library, "later_texts")
    assert finding.message == "texts of book nodes that name a year after 2020"
    assert (finding.count, finding.total, finding.of) == (3, N_BOOKS, "texts")
    assert [example.nodes[0].id for example in finding.examples] == ["b003", "b004", "b006"]
    assert finding.examples[0].about == "…d, set in 1850. Winner of the 2022 reader's prize."


def test_texts_that_quote_popularity_are_found() -> None:
    library = make_library()
    n_likes = library.read.sum(axis=0)
    for book in range(0, 60, 3):
        library.blurbs[book] += f" Read by {1000 * n_likes[book]:,} readers."
    library.blurbs[1] += " 4.5 stars!"
    finding = find(library, "quoted_popularity")
    assert (finding.count, finding.total) == (21, N_BOOKS)
    assert finding.examples[0].about is not None
    assert f"{1000 * n_likes[0]:,} readers" in finding.examples[0].about
    correlation = float(finding.message.split("rank correlation ")[1].split(" ")[0])
    assert correlation > 0.4
    warm = next(effect for effect in finding.effects if effect.slice_name == "warm")
    assert warm.n_leaked < warm.n_relevant


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4.5 stars by 12,000 users", ("12,000 users", 12_000)),
        ("over 1.2 million copies sold", ("1.2 million copies", 1_200_000)),
        ("Downloads: 5k+ happy customers", ("5k+ happy customers", 5_000)),
        ("a clear 8/10", ("8/10", None)),
        ("Rated 4.7 by all", ("Rated 4.7", None)),
        ("stars 3 users and 11 players", None),
        ("In 1999 two readers meet", None),
        ("He stars in 2 films", None),
        ("1.234.567 users", ("1.234.567 users", 1_234_567)),
        ("İİİ 3 Million Users", ("3 Million Users", 3_000_000)),
        ("", None),
    ],
)
def test_popularity_quotes_are_recognised(text: str, expected: tuple[str, float | None] | None) -> None:
    assert quote_popularity(text) == expected


class Fixed:
    """Ranks item 0 first, then 1, 2 and 3."""

    name = "fixed"

    def score(self, support: csr_array) -> NDArray[np.float32]:
        return np.tile(np.array([4, 3, 2, 1], np.float32), (support.shape[0], 1))


def test_recall_without_leaked_likes_worked_by_hand() -> None:
    relevant = csr_array(np.array([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]], np.float32))
    slice_ = Slice("warm", "Warm", csr_array((4, 4), dtype=np.float32), relevant)
    result = evaluate_slice(Fixed(), slice_, 2)
    assert result.per_user("recall").tolist() == [0.5, 1.0, 0.0]  # pairs (0, 0) (0, 3) (1, 1) (3, 2)

    def without(*leaked: bool) -> float | None:
        return measure_without(Fixed(), slice_, np.array(leaked), result)

    assert without(False, False, False, False) == pytest.approx(1.5 / 3)
    assert without(True, False, False, False) == pytest.approx((0 + 1 + 0) / 3)
    assert without(False, True, False, False) == pytest.approx((1 + 1 + 0) / 3)
    assert without(False, False, True, False) == pytest.approx((0.5 + 0) / 2)  # user 1 has no other
    assert without(True, True, True, False) == 0
    assert without(True, True, True, True) is None


def test_items_left_out_of_a_slice_stay_left_out_when_it_is_measured_again() -> None:
    first, second, third = (csr_array(np.eye(1, 3, place, dtype=np.float32)) for place in range(3))

    class Falling:
        name = "falling"

        def score(self, support: csr_array) -> NDArray[np.float32]:
            return np.tile(np.array([3, 2, 1], np.float32), (support.shape[0], 1))

    slice_ = Slice("warm", "Warm", csr_array((1, 3), dtype=np.float32), csr_array(second + third), left_out=first)
    result = evaluate_slice(Falling(), slice_, 1)
    assert result.per_user("recall").tolist() == [0.5]
    assert measure_without(Falling(), slice_, np.array([False, True]), result) == 1  # item 0 would be first


def test_a_test_like_in_the_training_data_is_found() -> None:
    library = make_library()
    tables = sort_tables(library.to_tables())
    data, _ = to_hetero(tables)
    likes = read_likes(data, SCHEMA)
    split = split_likes(likes, SPLIT, np.random.default_rng(0))
    warm = split.slices["warm"]  # a foreign split, where a held-out like is trained on
    user, item = (int(ends[0]) for ends in warm.relevant.nonzero())
    shown = replace(
        split.train,
        users=np.r_[split.train.users, user],
        items=np.r_[split.train.items, item],
        times=np.r_[split.train.times, START],
    )
    leaky = replace(split, train=shown, slices={"warm": warm})
    scorers = (fit_popularity(split.train.to_matrix()),)
    results = [evaluate_slice(scorers[0], warm, 20)]
    rng = np.random.default_rng(0)
    found = audit_split(tables, data, likes, leaky, [warm], results, lambda _: scorers, rng, now=NOW)
    assert [(finding.check, finding.count, finding.total) for finding in found.findings] == [
        ("test_likes_in_training", 1, warm.relevant.nnz)
    ]
    assert found.findings[0].examples[0].nodes == (NodeRef("reader", f"r{user:03}"), NodeRef("book", f"b{item:03}"))
    assert found.findings[0].effects[0].n_leaked == 1
