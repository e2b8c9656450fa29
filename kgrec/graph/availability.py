"""Which items can be had, by the attributes that the schema names."""

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from graph_schema import GraphTables
from kgrec.ids import IdMap


def read_available(tables: GraphTables, items: IdMap) -> NDArray[np.bool_]:
    """Reads which items can be had. An item without a value can be had.

    Args:
        tables: the catalogue, which has all of the items, in any order.
        items: the items' ids and their rows.

    Returns:
        (n_items,) bool, in the rows of `items`.
    """
    item_type = tables.schema.item_type
    available, table = np.ones(len(items), np.bool_), tables.nodes[item_type]
    rows = items.rows(tables.ids(item_type).to_pylist())
    for attribute, value in tables.schema.nodes[item_type].available.items():
        fits = pc.fill_null(pc.equal(table[attribute], value), True)
        available[rows] &= fits.to_numpy()
    return available
