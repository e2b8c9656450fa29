"""The link features of items, the edges of new nodes, and links that cannot be read."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from films import SCHEMA as FILMS
from numpy.typing import NDArray
from shop import SCHEMA, make_tables, train_shop

from kgrec.bundle import Bundle
from kgrec.errors import RequestError
from kgrec.graph.hetero import to_hetero
from kgrec.graph.propagation import build_item_links
from kgrec.recommend.links import add_edges, find_far_end, find_item_ends, group_edges, read_link_features, read_links

Link = tuple[str, bool, str]


def name_features(bundle: Bundle, features: NDArray[np.int64]) -> list[Link]:
    """(edge type, whether the item is its source, id at the other end) of each link feature."""
    relations = [bundle.relations[relation] for relation in bundle.model.prior.relation[features]]
    nodes = bundle.link_node[features].tolist()
    return [
        (name, is_source, bundle.ids[far].ids[row])
        for (name, is_source, far), row in zip(relations, nodes, strict=True)
    ]


def test_the_link_features_of_items_are_those_of_the_training() -> None:
    data, ids = to_hetero(make_tables())
    links = build_item_links(data, SCHEMA)
    expected: dict[str, set[Link]] = {item: set() for item in ids["product"].ids}
    for item, feature in zip(*(ends.tolist() for ends in links.incidence.nonzero()), strict=True):
        name, is_source, far = links.relations[links.relation[feature]]
        expected[ids["product"].ids[item]].add((name, is_source, ids[far].ids[links.node[feature]]))
    part = {("spare_part_of", True, "sku-05"), ("spare_part_of", False, "sku-01")}  # the second is its own
    assert expected["sku-01"] == {("made_by", True, "m-bike-1")} | part
    bundle = train_shop()
    for rows in (np.arange(len(bundle.items)), np.arange(len(bundle.items))[5:9], np.array([], np.int64)):
        found = read_link_features(bundle, bundle.edges, rows)
        assert len(found) == len(rows)
        for row, features in zip(rows.tolist(), found, strict=True):
            named = name_features(bundle, features)
            assert len(named) == len(set(named))
            assert set(named) == expected[bundle.items.ids[row]]
            assert (np.diff(features) > 0).all()


def test_the_features_of_some_edges_by_hand() -> None:
    bundle = train_shop()
    maker, part, new = bundle.ids["maker"].row("m-tea-2"), bundle.items.row("sku-05"), len(bundle.items)
    edges = {
        "made_by": np.array([[new, 4, new], [maker, maker, maker]]),
        "spare_part_of": np.array([[new + 1, new], [part, 0]]),
    }
    first, second = read_link_features(bundle, edges, np.array([new, new + 1]))
    # Once each, though an edge is there twice; in training nothing was a part of the first item.
    assert name_features(bundle, first) == [("made_by", True, "m-tea-2")]
    assert name_features(bundle, second) == [("spare_part_of", True, "sku-05")]
    # An item that others are parts of has their feature, so that it is like them.
    (own,) = read_link_features(bundle, {"spare_part_of": edges["spare_part_of"]}, np.array([part]))
    assert name_features(bundle, own) == [("spare_part_of", True, "sku-05")]
    gone = replace(bundle, link_node=np.full_like(bundle.link_node, -1))  # all nodes of the training are deleted
    assert [features.tolist() for features in read_link_features(gone, edges, np.array([new, new + 1]))] == [[], []]


def test_edges_and_their_items_by_hand() -> None:
    edges = {"directed_by": np.array([[0, 1], [5, 6]]), "acted_in": np.zeros((2, 0), np.int64)}
    new = group_edges([("directed_by", "d5", (2, 5)), ("acted_in", "m3", (7, 3)), ("acted_in", "m2", (8, 2))])
    grown = add_edges(edges, new)
    assert {name: ends.tolist() for name, ends in grown.items()} == {
        "directed_by": [[0, 1, 2], [5, 6, 5]],
        "acted_in": [[7, 8], [3, 2]],
    }
    assert find_item_ends(FILMS, new).tolist() == [2, 3]
    assert find_item_ends(FILMS, {"sequel_of": np.array([[9], [4]])}).tolist() == [4, 9]
    assert find_item_ends(FILMS, {}).tolist() == []


def test_the_other_end_of_a_link() -> None:
    assert find_far_end(FILMS, "directed_by", "movie") == (True, "person")
    assert find_far_end(FILMS, "acted_in", "movie") == (False, "person")
    assert find_far_end(FILMS, "sequel_of", "movie") == (True, "movie")
    with pytest.raises(
        RequestError, match=r"no edge type 'sequel_of' of the node type 'person'; expected one of \['directed_by'"
    ):
        find_far_end(FILMS, "sequel_of", "person")
    with pytest.raises(RequestError, match="no edge type 'rated' of the node type 'movie'"):
        find_far_end(FILMS, "rated", "movie")


def test_links_are_read_once_each() -> None:
    links = [("made_by", "m"), ["made_by", 7], ("part_of", "m"), ("made_by", "m"), ("made_by", "7")]
    assert read_links(links) == [("made_by", "m"), ("made_by", "7"), ("part_of", "m")]  # type: ignore[arg-type]


@pytest.mark.parametrize("link", ["made_by", ("made_by",), ("made_by", "m", 1), (1, "m"), ("made_by", 1.5)])
def test_a_link_that_is_not_a_pair(link: Any) -> None:
    with pytest.raises(RequestError, match=r"expected each link as \(edge type, id of the node at the other end\)"):
        read_links([("made_by", "m"), link])
