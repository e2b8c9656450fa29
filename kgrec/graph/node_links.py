"""The links of items and users over all relations, and the weights of these links."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array

from graph_schema import CatalogueSchema

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


@dataclass(frozen=True)
class NodeLinks:
    """The links of items, or of users: each distinct (relation, direction, node) is a code.

    Attributes:
        relations: (edge type, whether the item is its source, node type at the other end).
        relation: (n_codes,) int64, the place in `relations` of each code.
        node: (n_codes,) int64, the row of the node at the other end.
        incidence: (n_items, n_codes) float32 of 1s; an item that others are linked to has their code, too.
        idf: (n_codes,) float32, log(n_items / items with the code); 0 for a code of a single item.
        is_value: (n_codes,) bool: whether the node at the other end is the value of an attribute.
    """

    relations: tuple[tuple[str, bool, str], ...]
    relation: NDArray[np.int64]
    node: NDArray[np.int64]
    incidence: csr_array
    idf: NDArray[np.float32]
    is_value: NDArray[np.bool_]


def build_item_links(data: HeteroData, schema: CatalogueSchema, *, own_codes: bool = True) -> NodeLinks:
    """Collects the links of every item over every edge type but the interaction, in both directions.

    Args:
        data: the heterograph.
        schema: the catalogue's schema.
        own_codes: whether an item that others are linked to has their code too, which makes it as similar to them as
            they are to each other.
    """
    return _build_links(data, schema, schema.item_type, own_codes=own_codes)


def build_user_links(data: HeteroData, schema: CatalogueSchema) -> NodeLinks:
    """Collects the links of every user over every edge type but the interaction, in both directions.

    Links of users to themselves are left out: a user's own likes must not predict themselves.
    """
    return _build_links(data, schema, schema.user_type, own_codes=False)


def _build_links(data: HeteroData, schema: CatalogueSchema, node_type: str, *, own_codes: bool) -> NodeLinks:
    relations: list[tuple[str, bool, str]] = []
    items, nodes, places = [], [], []
    for edge_type, edge in schema.graph_edges.items():
        ends = data[schema.edge_triple(edge_type)].edge_index.numpy()
        for is_source, this, other in ((True, edge.source, edge.target), (False, edge.target, edge.source)):
            if this != node_type:
                continue
            linked, far = (ends[0], ends[1]) if is_source else (ends[1], ends[0])
            if own_codes and other == node_type:
                linked_to = np.unique(far)
                linked, far = np.concatenate([linked, linked_to]), np.concatenate([far, linked_to])
            elif other == node_type == schema.user_type:
                linked, far = linked[linked != far], far[linked != far]
            items.append(linked)
            nodes.append(far)
            places.append(np.full(len(far), len(relations), np.int64))
            relations.append((edge_type, is_source, other))
    n_items = data[node_type].num_nodes
    if not relations:
        none, nothing = np.zeros(0, np.int64), np.zeros(0, np.float32)
        return NodeLinks((), none, none, csr_array((n_items, 0), dtype=np.float32), nothing, nothing > 0)
    pairs = np.stack([np.concatenate(places), np.concatenate(nodes)])
    codes, code_of_link = np.unique(pairs, axis=1, return_inverse=True)
    n_codes = codes.shape[1]
    ones = np.ones(len(code_of_link), np.float32)
    incidence = csr_array((ones, (np.concatenate(items), code_of_link.ravel())), shape=(n_items, n_codes))
    incidence.sum_duplicates()
    incidence.data[:] = 1
    n_linked = np.bincount(incidence.indices, minlength=n_codes)
    idf = np.where(n_linked > 1, np.log(n_items / np.maximum(n_linked, 1)), 0).astype(np.float32)
    derived = np.array([schema.edges[edge_type].derived for edge_type, _, _ in relations], np.bool_)
    return NodeLinks(tuple(relations), codes[0], codes[1], incidence, idf, derived[codes[0]])


def mean_weights(links: NodeLinks, relation: int) -> csr_array:
    """(n_items, n_codes of the relation): each item's links of one relation, adding up to 1."""
    part = links.incidence[:, np.flatnonzero(links.relation == relation)]
    return diags_array(1 / np.maximum(np.diff(part.indptr), 1).astype(np.float32)) @ part


def unit_idf_weights(incidence: csr_array, idf: NDArray[np.float32]) -> csr_array:
    """(n_items, n_codes): each item's links weighted by idf, of length 1; entries are those of `incidence`."""
    owners = np.repeat(np.arange(incidence.shape[0]), np.diff(incidence.indptr))
    weights = idf[incidence.indices]
    return _divide_rows(incidence, weights, np.sqrt(np.bincount(owners, weights**2, incidence.shape[0])), owners)


def mean_idf_weights(incidence: csr_array, idf: NDArray[np.float32]) -> csr_array:
    """(n_items, n_codes): each item's links weighted by idf, adding up to 1; entries are those of `incidence`."""
    owners = np.repeat(np.arange(incidence.shape[0]), np.diff(incidence.indptr))
    weights = idf[incidence.indices]
    totals = np.bincount(owners, weights, incidence.shape[0]).astype(np.float64)
    return _divide_rows(incidence, weights, totals, owners)


def _divide_rows(
    like: csr_array, weights: NDArray[np.float32], divisor: NDArray[np.float64], owners: NDArray[np.int64]
) -> csr_array:
    data = (weights / np.maximum(divisor, 1e-9)[owners]).astype(np.float32)
    return csr_array((data, like.indices, like.indptr), shape=like.shape)
