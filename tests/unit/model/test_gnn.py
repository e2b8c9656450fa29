"""Message passing: who receives from whom, layers worked by hand, the step that training keeps."""

import numpy as np
import pytest
import torch
from planted import BOOKS, draw_graph, make_graph
from pydantic import ValidationError
from torch_geometric.data import HeteroData

from graph_schema import CatalogueSchema
from kgrec.config import NetworkConfig, PriorConfig
from kgrec.graph.node_links import build_item_links, build_user_links
from kgrec.model.gnn import MessageGraph, Network, build_message_graph, train_network
from kgrec.model.prior import PriorSettings, build_ridge_problem


def small_graph() -> MessageGraph:
    """Author 0 wrote the books 0 and 1, author 1 book 1; author 0 is from country 0; book 0 cites book 1, twice."""
    edges = {"written_by": [(0, 0), (1, 0), (1, 1)], "from": [(0, 0)], "cites": [(0, 1), (0, 1)]}
    data = make_graph({"user": 1, "book": 2, "author": 2, "country": 1}, edges, {"author": np.eye(2, 4)})
    return build_message_graph(data, BOOKS, "book", build_item_links(data, BOOKS), "cpu")


def test_messages_go_both_ways_and_a_masked_item_sends_none() -> None:
    graph = small_graph()
    assert graph.n_nodes == {"book": 2, "author": 2, "country": 1}
    assert graph.relations == (
        ("author", "rev_written_by", "book"), None, ("book", "rev_cites", "book"), ("book", "cites", "book")
    )  # fmt: skip
    edges, degrees = graph.messages(torch.tensor([False, True]))
    assert edges["book", "written_by", "author"].tolist() == [[1, 1], [0, 1]]
    assert edges["author", "rev_written_by", "book"].tolist() == [[0, 0, 1], [0, 1, 1]]
    assert edges["book", "cites", "book"].tolist() == [[], []]
    assert edges["book", "rev_cites", "book"].tolist() == [[1], [0]]
    # book 0 receives from author 0 and book 1, book 1 from both authors, author 0 from book 1 and country 0
    assert [degrees[name].tolist() for name in graph.n_nodes] == [[2, 2], [2, 1], [1]]


CLUB = CatalogueSchema.parse("""
name = "club"
[nodes.user]
label = "User"
key = "user_id"
[nodes.book]
label = "Book"
key = "book_id"
[nodes.author]
label = "Author"
key = "author_id"
[nodes."user.age"]
label = "Age"
key = "id"
[nodes.items]
label = "Items"
key = "id"
[edges.friend_of]
source = "user"
type = "FRIEND_OF"
target = "user"
[edges.aged]
source = "user"
type = "AGED"
target = "user.age"
[edges.has]
source = "user.age"
type = "HAS"
target = "items"
[edges.wishes]
source = "user"
type = "WISHES"
target = "book"
[edges.written_by]
source = "book"
type = "WRITTEN_BY"
target = "author"
[edges.read]
source = "user"
type = "READ"
target = "book"
[interaction]
edge = "read"
""")


def club_data(**edges: list[tuple[int, int]]) -> HeteroData:
    """Three users, two books, an author, two ages; everybody read everything."""
    data = HeteroData()
    for name, size in {"user": 3, "book": 2, "author": 1, "user.age": 2, "items": 1}.items():
        data[name].num_nodes = size
    read = [(user, book) for user in range(3) for book in range(2)]
    for name in CLUB.edges:
        pairs = torch.tensor({"read": read, **edges}.get(name, []), dtype=torch.long).reshape(-1, 2)
        data[CLUB.edge_triple(name)].edge_index = pairs.T.contiguous()
    return data


def test_users_linked_to_items_send_messages_to_them_and_interactions_carry_none() -> None:
    data = club_data(wishes=[(0, 0), (1, 0)], friend_of=[(1, 2), (2, 2)], written_by=[(0, 0)])
    graph = build_message_graph(data, CLUB, "book", build_item_links(data, CLUB), "cpu")
    assert list(graph.n_nodes) == ["book", "user", "author"]
    assert graph.vectors == {}  # no vector of a user, which is learned from likes, reaches an item
    assert graph.relations == (("user", "wishes", "book"), ("author", "rev_written_by", "book"))
    assert {name[1].removeprefix("rev_") for name in graph.edges} == {"wishes", "friend_of", "written_by"}
    assert graph.edges["user", "wishes", "book"].tolist() == [[0, 1], [0, 0]]
    assert graph.edges["user", "friend_of", "user"].tolist() == [[1], [2]]


def test_links_of_users_that_lead_to_no_item_are_left_out_of_the_items_graph() -> None:
    edges = {"written_by": [(0, 0)]}
    with_users = club_data(**edges, friend_of=[(0, 1)], aged=[(0, 0)])
    found, expected = (
        build_message_graph(data, CLUB, "book", build_item_links(data, CLUB), "cpu")
        for data in (with_users, club_data(**edges))
    )
    assert (found.n_nodes, found.relations, list(found.edges)) == (
        expected.n_nodes, expected.relations, list(expected.edges)
    )  # fmt: skip


def test_the_graph_around_users() -> None:
    data = club_data(friend_of=[(0, 1), (0, 2), (0, 0)], aged=[(0, 1)], wishes=[(2, 1)], written_by=[(1, 0)])
    vectors = {"book": np.ones((2, 4), np.float32), "items": np.ones((1, 4), np.float32)}
    graph = build_message_graph(data, CLUB, "user", build_user_links(data, CLUB), "cpu", vectors)
    assert graph.n_nodes == {"user": 3, "user/age": 2, "book": 2, "author": 1}
    assert list(graph.vectors) == ["book"]
    assert graph.relations == (
        ("user", "rev_friend_of", "user"), ("user", "friend_of", "user"), ("user/age", "rev_aged", "user"),
        ("book", "rev_wishes", "user"),
    )  # fmt: skip
    edges, degrees = graph.messages(torch.tensor([False, True, False]))  # user 1 is known
    assert edges["user", "rev_friend_of", "user"].tolist() == [[1], [0]]
    assert edges["user", "friend_of", "user"].tolist() == [[], []]
    assert edges["user", "wishes", "book"].tolist() == [[], []]
    assert edges["author", "rev_written_by", "book"].tolist() == [[0], [1]]
    assert degrees["user"].tolist() == [2, 0, 1]  # a known friend and an age; nobody; a book


def test_users_hear_their_friends_and_wishes_by_hand() -> None:
    data = club_data(friend_of=[(0, 1)], wishes=[(0, 0), (2, 0)])
    books, users = np.array([[2.0, 4], [0, 0]], np.float32), torch.tensor([[9.0, 9], [3, 5], [7, 7]])
    graph = build_message_graph(data, CLUB, "user", build_user_links(data, CLUB), "cpu", {"book": books})
    network = Network(graph, 2, "lightgcn", NetworkConfig(hidden=2, heads=1, layers=1)).eval()
    with torch.inference_mode():
        for weight in (network.vector.weight, network.far_vector.lins["book"].weight):
            torch.nn.init.eye_(weight)
        network.far_vector.lins["book"].bias.zero_()
        states = network(graph, users, torch.tensor([False, True, True]))
    # User 0 is unknown and receives two messages, user 1 none, book 0 one, of user 2: factors of 1 and 1 / sqrt(1 x 2).
    np.testing.assert_allclose(states[1]["user"], [[3 + 2 / 2**0.5, 5 + 4 / 2**0.5], [0, 0], [2, 4]], rtol=1e-6)


@pytest.mark.parametrize("encoder", ["sage", "hgt", "lightgcn"])
def test_node_types_may_have_dots_and_names_of_torch(encoder: str) -> None:
    data = club_data(aged=[(0, 0), (1, 1), (2, 0)], has=[(0, 0), (1, 0)])
    links, vectors, weights = build_user_links(data, CLUB), np.eye(3, 2, dtype=np.float32), np.float32([0.5, 0.9, 0])
    found = train_network(
        encoder, data, CLUB, links, vectors, weights, np.eye(2, dtype=np.float32), NetworkConfig(hidden=4), seed=0,
        far_vectors={},
    )  # fmt: skip
    assert list(found.graph.n_nodes) == ["user", "user/age", "items/"]
    problem, settings = build_ridge_problem(found.channels, vectors, weights), PriorSettings(0.1, {})
    placed = found.to_encoder(links, problem, settings).place_all(None, links.incidence)
    np.testing.assert_allclose(placed[2], problem.predict(settings)[2], rtol=1e-4, atol=1e-5)


def test_light_gcn_worked_by_hand() -> None:
    # Two books by one author, book 0 is masked: the author receives one message, and so does each book.
    data = make_graph({"user": 1, "book": 2, "author": 1}, {"written_by": [(0, 0), (1, 0)]}, {})
    graph = build_message_graph(data, BOOKS, "book", build_item_links(data, BOOKS), "cpu")
    network = Network(graph, 2, "lightgcn", NetworkConfig(hidden=2, heads=1)).eval()
    with torch.inference_mode():
        torch.nn.init.eye_(network.vector.weight)
        network.embeddings[1].zero_()
        vectors = torch.tensor([[7.0, 7], [3, 5]])
        states = network(graph, vectors, torch.tensor([False, True]))
        both = network(graph, vectors, torch.tensor([True, True]))
    assert states[1]["author"].tolist() == [[3, 5]]
    assert states[2]["book"].tolist() == [[3, 5], [3, 5]]
    # Both send: a factor of 1 / sqrt(1 x 2) in each direction.
    np.testing.assert_allclose(both[2]["book"], [[5, 6], [5, 6]], rtol=1e-6)


def test_training_keeps_the_step_with_the_lowest_held_out_loss() -> None:
    rng = np.random.default_rng(0)
    data = draw_graph(rng, n_books=80)
    links, weights = build_item_links(data, BOOKS), np.full(80, 0.8, np.float32)
    vectors, gram = rng.normal(size=(80, 4)).astype(np.float32), np.eye(4, dtype=np.float32)

    def held_out_loss(steps: int) -> float:
        config = NetworkConfig(hidden=8, steps=steps, learning_rate=0.01)
        found = train_network("sage", data, BOOKS, links, vectors, weights, gram, config, seed=0)
        assert found.held_out_loss is not None
        assert found.steps in range(0, steps + 1, 20)
        return found.held_out_loss

    assert held_out_loss(40) <= held_out_loss(20) <= held_out_loss(1)  # validation is at steps 0, 20 and 40


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValidationError, match="multiple of `heads`, got 9 and 2"):
        NetworkConfig(hidden=9)
    with pytest.raises(ValidationError, match="`hidden` to be 0"):
        PriorConfig(encoder="sage", hidden=8)
