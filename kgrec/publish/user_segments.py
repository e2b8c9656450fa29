"""Segments of users: groups with a like taste, named by what marks the items that they like."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.cluster import KMeans

from graph_schema import CatalogueSchema
from kgrec.bundle import Bundle
from kgrec.graph.attribute_values import split_name
from kgrec.model.backbone import user_vectors

MOST_SEGMENTS = 100
_MOST_BY_DEFAULT = 12
_N_MARKS, _MOST_MARKS = 2, 8  # names in the name of a segment; more where another segment has that name already
_DOUBT = 20.0  # likes' worth of doubt before a link marks a segment


@dataclass(frozen=True)
class Segment:
    """A group of users with a like taste.

    Attributes:
        number: 1 for the largest.
        name: what its users like more than others do, such as "Drama, Meg Ryan".
        users: their ids.
    """

    number: int
    name: str
    users: tuple[str, ...]


def find_segments(bundle: Bundle, users: Sequence[str], n: int | None = None) -> tuple[Segment, ...]:
    """Finds segments by k-means of the users' vectors, the same ones every time.

    Args:
        bundle: the bundle.
        users: the users to divide; those without likes are in no segment.
        n: the number of segments, at most MOST_SEGMENTS; None: it grows with the number of users, up to 12.

    Returns:
        The segments, the largest first.
    """
    liked = bundle.liked[bundle.users.rows(list(users))]
    vectors = user_vectors(bundle.model.backbone, liked)
    known = np.flatnonzero(vectors.any(axis=1))
    n_distinct = len(np.unique(vectors[known].round(4), axis=0))
    if n is None:
        n = min(max(round((len(known) / 2) ** 0.5), 2), _MOST_BY_DEFAULT)
    n = min(n, n_distinct, MOST_SEGMENTS)
    if n < 1:
        return ()
    labels = KMeans(n, n_init=4, random_state=0).fit_predict(vectors[known])
    order = np.argsort(-np.bincount(labels, minlength=n), kind="stable")
    places = np.argsort(order)[labels]
    names = name_segments(bundle, liked[known], places, n)
    return tuple(
        Segment(place + 1, names[place], tuple(users[row] for row in known[places == place].tolist()))
        for place in range(n)
    )


def name_segments(bundle: Bundle, liked: csr_array, places: NDArray[np.int64], n: int) -> list[str]:
    """Names segments by the links, or else the items, that are liked more in them than elsewhere.

    Args:
        bundle: the bundle.
        liked: (n_users, n_items) likes.
        places: (n_users,) the segment of each user, 0 to n - 1.
        n: the number of segments.

    Returns:
        A name for each, none of them twice.
    """
    marks, titles = _read_marks(bundle)
    members = csr_array((np.ones(len(places), np.float32), (places, np.arange(len(places)))), shape=(n, len(places)))
    by_item = csr_array(members @ liked)  # (n, n_items)
    counts = (by_item @ marks).toarray()
    n_likes = np.asarray(by_item.sum(axis=1)).reshape(-1, 1)
    usual = counts.sum(axis=0) / max(float(n_likes.sum()), 1.0)
    share = (counts + _DOUBT * usual) / (n_likes + _DOUBT)
    worth = share * np.log(np.maximum(share, 1e-12) / np.maximum(usual, 1e-12))
    names: list[str] = []
    for place in range(n):
        best = [column for column in np.argsort(-worth[place], kind="stable").tolist() if worth[place, column] > 0]
        found = list(dict.fromkeys(titles[column] for column in best[:_MOST_MARKS]))
        longer = [", ".join(found[:size]) for size in range(min(_N_MARKS, len(found)), len(found) + 1) if size]
        names.append(next((name for name in longer if name not in names), f"Segment {place + 1}"))
    return names


def _read_marks(bundle: Bundle) -> tuple[csr_array, list[str]]:
    """(n_items, n_marks) of 1s, which items have which link, and the names of the links' ends; else of the items."""
    schema, n_items = bundle.schema, len(bundle.items)
    rows, columns = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    titles: list[str] = []
    for edge_type in schema.graph_edges:
        edge, (source, target) = schema.edges[edge_type], bundle.edges[edge_type]
        ends = ((edge.source, source, edge.target, target), (edge.target, target, edge.source, source))
        for item_type, items, far_type, others in ends:
            if item_type == schema.item_type and far_type != schema.item_type and _has_words(schema, far_type):
                rows.append(items)
                columns.append(others + len(titles))
                titles += _titles(bundle, far_type)
    joined = np.concatenate(columns)
    if not len(joined):
        rows, joined, titles = [np.arange(n_items)], np.arange(n_items), _titles(bundle, schema.item_type)
    found = csr_array((np.ones(len(joined), np.float32), (np.concatenate(rows), joined)), shape=(n_items, len(titles)))
    found.data[:] = 1
    return found, titles


def _has_words(schema: CatalogueSchema, node_type: str) -> bool:
    """Whether the names of nodes say something by themselves; a range such as "3 to 4" does not."""
    if not schema.nodes[node_type].derived:
        return True
    of, name = split_name(schema, node_type)
    return schema.nodes[of].columns[name] in ("string", "list")


def _titles(bundle: Bundle, node_type: str) -> list[str]:
    ids = bundle.ids[node_type].ids
    return [name or id_ for name, id_ in zip(bundle.names[node_type], ids, strict=True)]
