"""The link features of items, by hand and as the training numbers them."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from shop import SCHEMA, make_tables, train_shop

from kgrec.bundle import Bundle
from kgrec.graph.hetero import to_hetero
from kgrec.graph.node_links import build_item_links
from kgrec.recommend.link_features import read_link_features

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
