"""The nodes that users are linked to in the current graph, whether training had these links or not."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.bundle import Bundle


@dataclass(frozen=True)
class LinkedNodes:
    """The links of all users. A code stands for a node at the end of a relation of `Bundle.user_relations`.

    Attributes:
        starts: (n_relations,) int64: the code of each relation's first node.
        of_user: (n_users, n_codes) of 1s.
        users: (n_codes, n_users) of 1s.
    """

    starts: NDArray[np.int64]
    of_user: csr_array
    users: csr_array

    def find(self, user: int) -> NDArray[np.int64]:
        """The nodes that a user is linked to, (2, n), ascending: places in `user_relations`, and rows of nodes."""
        codes = self.of_user.indices[slice(*self.of_user.indptr[user : user + 2])].astype(np.int64)
        relations = np.searchsorted(self.starts, codes, side="right") - 1
        return np.stack([relations, codes - self.starts[relations]])

    def find_users(self, relation: int, node: int) -> NDArray[np.int64]:
        """The rows of the users who are linked to a node, (n,) ascending."""
        code = int(self.starts[relation]) + node
        found: NDArray[np.int64] = self.users.indices[slice(*self.users.indptr[code : code + 2])].astype(np.int64)
        return found


def collect_links(bundle: Bundle, edges: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
    """The users' links among some edges, (3, n): rows of users, places in `user_relations`, rows of the other nodes.

    Links of users to themselves are left out, as in training.

    Args:
        bundle: the bundle.
        edges: edge type -> rows of both ends, (2, n); edge types without edges may be left out.
    """
    found = [np.zeros((3, 0), np.int64)]
    for place, (edge_type, is_source, far_type) in enumerate(bundle.user_relations):
        if edge_type in edges:
            near, far = edges[edge_type] if is_source else edges[edge_type][::-1]
            links = np.stack([near, np.full(len(near), place), far])
            found.append(links[:, near != far] if far_type == bundle.schema.user_type else links)
    return np.hstack(found)


def link_users(bundle: Bundle) -> LinkedNodes:
    """Collects the links of all users."""
    rows, relations, nodes = collect_links(bundle, bundle.edges)
    sizes = np.array([len(bundle.ids[far_type]) for _, _, far_type in bundle.user_relations], np.int64)
    starts = np.cumsum(sizes) - sizes
    ones, shape = np.ones(len(rows), np.float32), (len(bundle.users), int(sizes.sum()))
    of_user = csr_array((ones, (rows, starts[relations] + nodes)), shape=shape)
    of_user.sum_duplicates()
    return LinkedNodes(starts, of_user, csr_array(of_user.T.tocsr()))
