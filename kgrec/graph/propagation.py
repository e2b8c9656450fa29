"""Propagation over relation paths: the texts and links of items, or of users, as blocks of features.

Each relation path of the schema that starts at an item is walked once by sparse products, as SIGN (Frasca et al. 2020)
and SeHGNN (Yang et al. 2023) do: mean text vectors of the nodes one hop (director) and two hops away (the director's
country). More kinds of channels need no text: `links`, the idf-weighted (relation, node) incidence; `attributes`, the
same of the values of attributes; `profiles`, for each relation the path item -> node -> other items -> their users, as
the mean backbone vector of the other items that share a node; and, for users, `neighbours`: the mean backbone vector of
the users and items that they are linked to, friends for example.

Except for the node's own text, channels are weighted sums over its links, which works for new nodes too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from graph_schema import CatalogueSchema
from kgrec.config import PriorConfig
from kgrec.errors import RequestError
from kgrec.graph.hetero import VECTOR
from kgrec.graph.node_links import NodeLinks, mean_idf_weights, mean_weights, unit_idf_weights

if TYPE_CHECKING:
    from torch import Tensor
    from torch_geometric.data import HeteroData

TEXT, LINKS, ATTRIBUTES, PROFILES, NEIGHBOURS = "text", "links", "attributes", "profiles", "neighbours"
_ROWS_PER_DIRECTION = 4  # items for each direction kept of their links
_LEAST_SHARE = 0.01  # of the fitted items that must have a path to make it a channel
_ROUNDING = 1e-5  # relative to the vectors' length
_SHRINKAGE = 3.0  # added to the weights in a node's mean vector: one well-liked neighbour is little evidence


@dataclass(frozen=True)
class Channel:
    """One block of an item's features.

    Attributes:
        name: "text", "text:<relation>", "text:<relation>.<relation>", "vector:<column>",
            "vector:<column>:<relation>", "links", "attributes", "profiles:<relation>", "attributes:<relation>" (the
            profiles of an attribute's values) or "neighbours:<relation>".
        features: (n_items, dim) float32, centred and scaled over the fitted items; 0 for an item without data.
        basis: (in_dim, dim) float32: raw vectors times basis are features, once `mean` is subtracted.
        mean: (in_dim,) float32.
        relation: the place in `NodeLinks.relations` of a channel of one relation; None for the others.
        vectors: (n_codes of the relation or all codes, in_dim) float32: a link's vector before its weight; None for
            the item's own text and vectors.
    """

    name: str
    features: NDArray[np.float32]
    basis: NDArray[np.float32]
    mean: NDArray[np.float32]
    relation: int | None = None
    vectors: NDArray[np.float32] | None = None


def propagate(
    data: HeteroData,
    schema: CatalogueSchema,
    links: NodeLinks,
    fitted: NDArray[np.bool_],
    item_vectors: NDArray[np.float32],
    item_weights: NDArray[np.float32],
    config: PriorConfig,
    seed: int,
    far_vectors: Mapping[str, NDArray[np.float32]] | None = None,
) -> list[Channel]:
    """Builds the channels of all items, or of all users.

    Args:
        data: the heterograph, with text vectors as `x` and `has_text` masks, and vector columns.
        schema: the catalogue's schema.
        links: from `build_item_links`, or of users from `build_user_links`.
        fitted: (n_items,) bool: the items whose backbone vectors are known; means and scales are theirs.
        item_vectors: (n_items, dim) float32 backbone vectors, read where fitted.
        item_weights: (n_items,) float32: the weight of each backbone vector; 0 where not fitted.
        config: widths.
        seed: of the randomised factorisation.
        far_vectors: for users: node type -> (n_nodes, dim) float32: backbone vectors of the users and the items,
            times their weights. None: `links` are those of items.
    """
    node_type = schema.item_type if far_vectors is None else schema.user_type
    channels = [text_channel(data, node_type, fitted)] if "x" in data[node_type] else []
    channels += _vector_channels(data, node_type, fitted)
    channels += _path_channels(data, schema, links, fitted, config.path_dim)
    for name, places in ((LINKS, ~links.is_value), (ATTRIBUTES, links.is_value)):
        if links.idf[places].any():
            channels.append(_links_channel(name, links, places, fitted, config.links_dim, seed))
    channels += _profile_channels(links, fitted, item_vectors, item_weights)
    return channels + _neighbour_channels(links, fitted, far_vectors or {})


def text_channel(data: HeteroData, node_type: str, fitted: NDArray[np.bool_]) -> Channel:
    """The nodes' own texts, centred and scaled over the nodes that are `fitted`, (n_nodes,) bool."""
    x, has_text = data[node_type].x.numpy(), data[node_type].has_text.numpy()
    return standardise(TEXT, x, has_text, fitted, np.eye(x.shape[1], dtype=np.float32), scale=1.0)


def _vector_channels(data: HeteroData, node_type: str, fitted: NDArray[np.bool_]) -> list[Channel]:
    channels = []
    for name, vectors, known in _read_vectors(data, node_type):
        identity = np.eye(vectors.shape[1], dtype=np.float32)
        channels.append(standardise(name, vectors, known, fitted, identity, scale=1.0))
    return channels


def read_text(data: HeteroData, node_type: str) -> Tensor:
    """(n_nodes, text_dim) unit vectors of the nodes' texts, zeros for a node without a text; text_dim may be 0."""
    import torch  # here, since answers need only the arrays of this module

    nodes = data[node_type]
    if "x" not in nodes:
        return torch.zeros((nodes.num_nodes, 0))
    return torch.where(nodes.has_text[:, None], nodes.x, 0.0)


def read_item_vectors(data: HeteroData, schema: CatalogueSchema) -> dict[str, NDArray[np.float32]]:
    """The items' vector columns in the order of the schema, (n_items, width) each, NaN where an item has none."""
    items = data[schema.item_type]
    return {name.removeprefix(VECTOR): items[name].numpy() for name in items if name.startswith(VECTOR)}


def join_vectors(columns: Mapping[str, NDArray[np.float32]], widths: Mapping[str, int], n: int) -> NDArray[np.float32]:
    """Puts vector columns side by side, as the prior reads them.

    Args:
        columns: (n, width) float32 by name, NaN where there is none; a missing column counts as NaN.
        widths: the columns to read, and their widths in training.
        n: the number of rows.

    Returns:
        (n, sum of the widths) float32.

    Raises:
        RequestError: vectors have another width than in training.
    """
    parts = [np.zeros((n, 0), np.float32)]
    for name, width in widths.items():
        found = columns.get(name, np.full((n, width), np.nan, np.float32))
        if found.shape[1] != width:
            raise RequestError(
                f"vectors {name!r} have width {found.shape[1]}; expected {width}, as in training: compute them with "
                f"the model that was used then, or train again"
            )
        parts.append(found)
    return np.hstack(parts)


def _read_vectors(data: HeteroData, node_type: str) -> list[tuple[str, NDArray[np.float32], NDArray[np.bool_]]]:
    """A node type's vector columns: name, vectors (n, width) with zeros for missing ones, and what is there, (n,)."""
    found = []
    for name in data[node_type]:
        if name.startswith(VECTOR):
            vectors = data[node_type][name].numpy()
            known = np.isfinite(vectors).all(axis=1)
            found.append((name, np.where(known[:, None], vectors, 0), known))
    return found


def _path_channels(
    data: HeteroData, schema: CatalogueSchema, links: NodeLinks, fitted: NDArray[np.bool_], dim: int
) -> list[Channel]:
    paths = []
    for place, (edge_type, is_source, node_type) in enumerate(links.relations):
        rows = links.node[links.relation == place]
        if not rows.size:
            continue
        name = edge_type if is_source else f"rev_{edge_type}"
        if "x" in data[node_type]:
            paths.append(
                (f"{TEXT}:{name}", place, data[node_type].x.numpy()[rows], data[node_type].has_text.numpy()[rows])
            )
        for column, vectors, known in _read_vectors(data, node_type):
            paths.append((f"{column}:{name}", place, vectors[rows], known[rows]))
        if node_type in (schema.item_type, schema.user_type):
            continue
        for further, (vectors, known) in _hop_means(data, schema, node_type).items():
            paths.append((f"{TEXT}:{name}.{further}", place, vectors[rows], known[rows]))
    channels = []
    for name, place, vectors, known in paths:
        weights = mean_weights(links, place)
        filled = np.where(known[:, None], vectors, vectors[known].mean(axis=0) if known.any() else 0)
        raw, present = weights @ filled, np.diff(weights.indptr) > 0
        if not _is_common(present, fitted):
            continue
        basis = _principal_axes(raw[present & fitted], dim)
        scale = 1 / np.sqrt(len(paths))
        channels.append(standardise(name, raw, present, fitted, basis, scale, relation=place, vectors=filled))
    return channels


def _hop_means(
    data: HeteroData, schema: CatalogueSchema, node_type: str
) -> Mapping[str, tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Relation -> the mean text vector of each node's neighbours by it, without items and users."""
    found = {}
    for edge_type, edge in schema.graph_edges.items():
        ends = data[schema.edge_triple(edge_type)].edge_index.numpy()
        for near, far, near_type, far_type, name in (
            (ends[0], ends[1], edge.source, edge.target, edge_type),
            (ends[1], ends[0], edge.target, edge.source, f"rev_{edge_type}"),
        ):
            if near_type != node_type or far_type in (schema.item_type, schema.user_type) or "x" not in data[far_type]:
                continue
            x, has_text = data[far_type].x.numpy(), data[far_type].has_text.numpy()
            kept = has_text[far]
            shape = (data[near_type].num_nodes, data[far_type].num_nodes)
            edges = csr_array((np.ones(kept.sum(), np.float32), (near[kept], far[kept])), shape=shape)
            count = np.diff(edges.indptr)
            found[name] = ((edges @ x) / np.maximum(count, 1)[:, None].astype(np.float32), count > 0)
    return found


def _links_channel(
    name: str, links: NodeLinks, places: NDArray[np.bool_], fitted: NDArray[np.bool_], dim: int, seed: int
) -> Channel:
    """The channel of the links whose codes are in `places`, (n_codes,) bool."""
    idf = np.where(places, links.idf, 0).astype(np.float32)
    weights = unit_idf_weights(links.incidence, idf)
    shared = np.flatnonzero(idf)  # a code of a single item links it to no other
    rows = weights[np.flatnonzero(fitted)][:, shared]
    width = max(min(dim, len(shared) - 1, rows.shape[0] // _ROWS_PER_DIRECTION), 1)
    # 1.5 times as many random directions: the singular values of an incidence matrix fall slowly.
    from sklearn.utils.extmath import randomized_svd  # slow to import, and only training needs it

    _, _, axes = randomized_svd(rows, width, n_oversamples=width // 2 + 10, n_iter=2, random_state=seed)
    vectors = np.zeros((len(idf), width), np.float32)  # (n_codes, width)
    vectors[shared] = axes.T
    present = np.asarray(links.incidence @ places.astype(np.float32)) > 0
    raw = weights @ vectors
    identity = np.eye(vectors.shape[1], dtype=np.float32)
    return standardise(name, raw, present, fitted, identity, scale=1.0, vectors=vectors)


def _neighbour_channels(
    links: NodeLinks, fitted: NDArray[np.bool_], far_vectors: Mapping[str, NDArray[np.float32]]
) -> list[Channel]:
    """For each relation to users or items: their mean backbone vector; a node that many are linked to counts less."""
    channels = []
    n_nodes = links.incidence.shape[0]
    n_linked = np.bincount(links.incidence.indices, minlength=len(links.relation))
    for place, (edge_type, is_source, far_type) in enumerate(links.relations):
        codes = np.flatnonzero(links.relation == place)
        if far_type not in far_vectors:
            continue
        weights = mean_weights(links, place)
        present = np.diff(weights.indptr) > 0
        if not _is_common(present, fitted):
            continue
        damping = np.log(n_nodes / n_linked[codes]) / np.log(max(n_nodes, 2))  # 1 for a friend of one, 0 of everybody
        vectors = (far_vectors[far_type][links.node[codes]] * damping[:, None]).astype(np.float32)
        name, scale = f"{NEIGHBOURS}:{edge_type if is_source else f'rev_{edge_type}'}", len(links.relations) ** -0.5
        identity = np.eye(vectors.shape[1], dtype=np.float32)
        raw = (weights @ vectors).astype(np.float32)
        channels.append(standardise(name, raw, present, fitted, identity, scale, relation=place, vectors=vectors))
    return channels


def _profile_channels(
    links: NodeLinks, fitted: NDArray[np.bool_], item_vectors: NDArray[np.float32], weights: NDArray[np.float32]
) -> list[Channel]:
    trusted = np.where(fitted, weights, 0).astype(np.float32)
    own = item_vectors * trusted[:, None]  # (n_items, dim)
    identity = np.eye(own.shape[1], dtype=np.float32)
    channels = []
    for place, (edge_type, is_source, _) in enumerate(links.relations):
        codes = np.flatnonzero(links.relation == place)
        incidence = links.incidence[:, codes].tocsr()
        share = mean_idf_weights(incidence, links.idf[codes])
        linked = np.asarray(incidence @ (links.idf[codes] > 0).astype(np.float32)) > 0  # (n_items,)
        if not _is_common(linked, fitted):
            continue
        total, mass = incidence.T @ own, incidence.T @ trusted
        vectors = (total / (mass + _SHRINKAGE)[:, None]).astype(np.float32)  # (n_codes, dim)
        # An item's own vector is left out of the means that become its features.
        item, code = np.repeat(np.arange(share.shape[0]), np.diff(share.indptr)), share.indices
        others = (total[code] - own[item]) / (mass[code] - trusted[item] + _SHRINKAGE)[:, None]  # (n_links, dim)
        spread = csr_array((share.data, np.arange(len(code)), share.indptr), shape=(share.shape[0], len(code)))
        raw = (spread @ others).astype(np.float32)  # (n_items, dim)
        kind = ATTRIBUTES if links.is_value[codes].any() else PROFILES
        name, scale = f"{kind}:{edge_type if is_source else f'rev_{edge_type}'}", len(links.relations) ** -0.5
        channels.append(standardise(name, raw, linked, fitted, identity, scale, relation=place, vectors=vectors))
    return channels


def _is_common(present: NDArray[np.bool_], fitted: NDArray[np.bool_]) -> bool:
    """Whether enough of the fitted items have a path to learn from it."""
    return int((present & fitted).sum()) > _LEAST_SHARE * int(fitted.sum())


def _principal_axes(rows: NDArray[np.float32], dim: int) -> NDArray[np.float32]:
    centred = rows - rows.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    return np.ascontiguousarray(axes[:, ::-1][:, :dim], dtype=np.float32)


def standardise(
    name: str,
    raw: NDArray[np.float32],
    present: NDArray[np.bool_],
    fitted: NDArray[np.bool_],
    basis: NDArray[np.float32],
    scale: float,
    relation: int | None = None,
    vectors: NDArray[np.float32] | None = None,
) -> Channel:
    """Centres over the fitted items that have the channel, and scales their features to a mean length of `scale`."""
    known = present & fitted
    mean = raw[known].mean(axis=0) if known.any() else np.zeros(raw.shape[1], np.float32)
    features = np.where(present[:, None], (raw - mean) @ basis, 0).astype(np.float32)
    length, before = (
        float(np.sqrt((rows[known] ** 2).sum(axis=1).mean())) if known.any() else 0.0 for rows in (features, raw)
    )
    # Equal rows differ by rounding alone, which must not be scaled up to features.
    factor = np.float32(scale / length) if length > _ROUNDING * before else np.float32(0)
    return Channel(name, features * factor, basis * factor, mean.astype(np.float32), relation, vectors)
