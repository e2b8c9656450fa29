"""The values of items' features, which reasons name and which are no nodes of a store."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kgrec.bundle import Bundle

Link = tuple[str, str, bool, str, int]  # as `build_path_index_around` takes it


@dataclass(frozen=True, eq=False)
class ValueLinks:
    """Which items have which values.

    Attributes:
        bundle: the bundle that knows them.
        of_item: derived edge type -> (n_items, n_values) of 1s, for values that have names.
        n_items: derived edge type -> (n_values,) int64: how many items have each value.
    """

    bundle: Bundle
    of_item: dict[str, csr_array]
    n_items: dict[str, NDArray[np.int64]]

    def find(self, items: Iterable[str]) -> tuple[dict[str, dict[str, str | None]], list[Link]]:
        """The values of some items: node type -> id -> name, and the links to them; unknown items have none."""
        names: dict[str, dict[str, str | None]] = {}
        links: list[Link] = []
        known = [(id_, row) for id_ in items if (row := self.bundle.items.row(id_)) is not None]
        for edge_type, of_item in self.of_item.items():
            far_type = self.bundle.schema.edges[edge_type].target
            ids, shown = self.bundle.ids[far_type].ids, self.bundle.names[far_type]
            for id_, row in known:
                for value in of_item.indices[slice(*of_item.indptr[row : row + 2])].tolist():
                    names.setdefault(far_type, {})[ids[value]] = shown[value]
                    links.append((id_, edge_type, False, ids[value], int(self.n_items[edge_type][value])))
        return names, links


def link_values(bundle: Bundle) -> ValueLinks:
    """Collects the values of all items."""
    of_item, n_items = {}, {}
    for name, edge in bundle.schema.graph_edges.items():
        if edge.derived and name == edge.target and edge.source == bundle.schema.item_type:
            has_name = np.array([shown is not None for shown in bundle.names[edge.target]], np.bool_)
            items, values = bundle.edges[name][:, has_name[bundle.edges[name][1]]]
            shape = (len(bundle.items), len(has_name))
            of_item[name] = csr_array((np.ones(len(items), np.float32), (items, values)), shape=shape)
            n_items[name] = np.bincount(values, minlength=len(has_name))
    return ValueLinks(bundle, of_item, n_items)
