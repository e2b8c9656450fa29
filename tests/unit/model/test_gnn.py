"""Message passing: who receives from whom, layers worked by hand, the step that training keeps."""

import numpy as np
import pytest
import torch
from planted import BOOKS, draw_graph, make_graph
from pydantic import ValidationError

from graph_schema import CatalogueSchema
from kgrec.config import NetworkConfig, PriorConfig
from kgrec.graph.propagation import build_item_links
from kgrec.model.gnn import MessageGraph, Network, build_message_graph, train_network


def small_graph() -> MessageGraph:
    """Author 0 wrote the books 0 and 1, author 1 book 1; author 0 is from country 0; book 0 cites book 1, twice."""
    edges = {"written_by": [(0, 0), (1, 0), (1, 1)], "from": [(0, 0)], "cites": [(0, 1), (0, 1)]}
    data = make_graph({"user": 1, "book": 2, "author": 2, "country": 1}, edges, {"author": np.eye(2, 4)})
    return build_message_graph(data, BOOKS, build_item_links(data, BOOKS), "cpu")


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


def test_links_to_users_are_left_out() -> None:
    owns = {"source": "user", "type": "OWNS", "target": "book"}
    schema = CatalogueSchema.model_validate(
        BOOKS.model_dump() | {"edges": {**BOOKS.model_dump()["edges"], "owns": owns}}
    )
    data = make_graph({"user": 2, "book": 2, "author": 1}, {"written_by": [(0, 0), (1, 0)]}, {})
    data["user", "owns", "book"].edge_index = torch.tensor([[0, 1], [0, 0]])
    graph = build_message_graph(data, schema, build_item_links(data, schema), "cpu")
    assert (list(graph.n_nodes), graph.relations[-1]) == (["book", "author"], None)


def test_light_gcn_worked_by_hand() -> None:
    # Two books by one author, book 0 is masked: the author receives one message, and so does each book.
    data = make_graph({"user": 1, "book": 2, "author": 1}, {"written_by": [(0, 0), (1, 0)]}, {})
    graph = build_message_graph(data, BOOKS, build_item_links(data, BOOKS), "cpu")
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
