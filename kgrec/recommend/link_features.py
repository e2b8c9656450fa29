"""The model's link features of items and users, from the edges of the graph."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.bundle import Bundle


def read_link_features(
    bundle: Bundle, edges: Mapping[str, NDArray[np.int64]], items: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    """The link features of items, numbered as `kgrec.graph.node_links.build_item_links` numbers them in training.

    Args:
        bundle: the bundle with the model.
        edges: edge type -> rows of both ends, (2, n); edge types without edges may be left out.
        items: (n,) ascending rows.

    Returns:
        The link features of each item, ascending. A link that no item had in training has none.
    """
    found = _read_codes(bundle, edges, items, bundle.schema.item_type, bundle.relations, bundle.link_node)
    return np.split(found.indices.astype(np.int64), found.indptr[1:-1]) if len(items) else []


def read_user_features(bundle: Bundle, edges: Mapping[str, NDArray[np.int64]], users: NDArray[np.int64]) -> csr_array:
    """The link features of users, (n, n_codes) of 1s, numbered as `build_user_links` numbers them in training.

    Args:
        bundle: the bundle with the model.
        edges: as in `read_link_features`.
        users: (n,) ascending rows.
    """
    return _read_codes(bundle, edges, users, bundle.schema.user_type, bundle.user_relations, bundle.user_link_node)


def _read_codes(
    bundle: Bundle,
    edges: Mapping[str, NDArray[np.int64]],
    rows: NDArray[np.int64],
    node_type: str,
    relations: Sequence[tuple[str, bool, str]],
    link_node: NDArray[np.int64],
) -> csr_array:
    encoder = bundle.model.prior if node_type == bundle.schema.item_type else bundle.model.user_prior
    shape = (len(rows), len(link_node))
    if encoder is None or not len(rows):
        return csr_array(shape, dtype=np.float32)
    width = max(len(ids) for ids in bundle.ids.values())  # the width of node rows
    owners, keys = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for relation, (edge_type, is_source, far_type) in enumerate(relations):
        ends = edges.get(edge_type, np.zeros((2, 0), np.int64))
        near, far = ends if is_source else ends[::-1]
        if far_type == node_type == bundle.schema.user_type:
            near, far = near[near != far], far[near != far]
        owner = _find_places(rows, near)
        owners.append(owner[owner >= 0])
        keys.append(relation * width + far[owner >= 0])
        if far_type == node_type == bundle.schema.item_type:  # an item that others link to has their feature too
            owner = _find_places(rows, far)
            owners.append(owner[owner >= 0])
            keys.append(relation * width + far[owner >= 0])
    codes = np.flatnonzero(link_node >= 0)
    known = encoder.relation[codes] * width + link_node[codes]
    if not (known[1:] >= known[:-1]).all():  # they are ascending in training, and sorting takes long
        order = np.argsort(known)
        codes, known = codes[order], known[order]
    found = _find_places(known, np.concatenate(keys))
    owner, code = np.concatenate(owners)[found >= 0], codes[found[found >= 0]]
    features = csr_array((np.ones(len(owner), np.float32), (owner, code)), shape=shape)
    features.sum_duplicates()
    features.data[:] = 1
    return features


def _find_places(ordered: NDArray[np.int64], values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place of each value among ascending ones; -1 if it is missing."""
    if not len(ordered):
        return np.full(len(values), -1, np.int64)
    places = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    return np.where(ordered[places] == values, places, -1)
