"""The edges of new nodes, and links that cannot be read."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from films import SCHEMA as FILMS

from graph_schema import Attribute, CatalogueSchema, NodeType
from kgrec.errors import RequestError
from kgrec.graph.attribute_values import AttributeValues
from kgrec.graph.value_codes import fit_codes
from kgrec.ids import IdMap
from kgrec.recommend.links import add_edges, find_far_end, find_item_ends, group_edges, read_attributes, read_links


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


def test_a_link_of_nodes_that_have_none() -> None:
    lonely = NodeType(label="User", key="id", attributes={"town": Attribute(type="string", feature=True)})
    nodes = {**FILMS.nodes, FILMS.user_type: lonely}
    edges = {name: edge for name, edge in FILMS.edges.items() if name == FILMS.interaction.edge}
    schema = CatalogueSchema(name="films", nodes=nodes, edges=edges, interaction=FILMS.interaction)
    none = f"of the node type '{FILMS.user_type}'; nodes of this type have no links"
    with pytest.raises(RequestError, match=f"no edge type 'knows' {none}$"):
        find_far_end(schema, "knows", FILMS.user_type)
    with pytest.raises(RequestError, match=f"{none}; 'town' is an attribute, so give it as one$"):
        find_far_end(schema, "town", FILMS.user_type)


def test_links_are_read_once_each() -> None:
    links = [("made_by", "m"), ["made_by", 7], ("part_of", "m"), ("made_by", "m"), ("made_by", "7")]
    assert read_links(links) == [("made_by", "m"), ("made_by", "7"), ("part_of", "m")]  # type: ignore[arg-type]


@pytest.mark.parametrize("link", ["made_by", ("made_by",), ("made_by", "m", 1), (1, "m"), ("made_by", 1.5)])
def test_a_link_that_is_not_a_pair(link: Any) -> None:
    with pytest.raises(RequestError, match=r"expected each link as \(edge type, id of the node at the other end\)"):
        read_links([("made_by", "m"), link])


def test_a_word_for_a_missing_value_says_nothing_of_a_user() -> None:
    user = NodeType(label="User", key="id", attributes={"town": Attribute(type="string", feature=True)})
    towns = fit_codes("town", "string", pa.array(["Oslo", "Rome", "Oslo", None]))
    bundle: Any = SimpleNamespace(
        schema=FILMS.model_copy(update={"nodes": {**FILMS.nodes, "user": user}}),
        values=AttributeValues({"user.town": towns}),
        ids={"user.town": IdMap(("Oslo", "Rome"))},
    )
    assert read_attributes(bundle, "user", {"town": "Oslo"}) == ([("user.town", "Oslo")], [])
    assert read_attributes(bundle, "user", {"town": "Null Island"}) == ([], ["town=Null Island"])
    for missing in ("NULL", "NaN", None):  # as files are read
        assert read_attributes(bundle, "user", {"town": missing}) == ([], [])
