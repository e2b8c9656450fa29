"""What users' links, attributes and texts are worth: titles of slices of cold users, and the model without them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch_geometric.data import HeteroData

from graph_schema import CatalogueSchema
from kgrec.evaluate.baselines import LIKES_ALONE, count_support
from kgrec.model.model import Model
from kgrec.questions.slices import Slice


@dataclass(frozen=True)
class LikesAlone:
    """The model, which is not told who the users are: it scores by likes alone.

    Attributes:
        model: the model.
    """

    model: Model
    name: str = LIKES_ALONE

    def score(self, support: csr_array) -> NDArray[np.float32]:
        """The model's scores without the users' prior: (n_users, n_items)."""
        return self.model.score(support)


def name_user_knowledge(data: HeteroData, schema: CatalogueSchema) -> str | None:
    """The kinds of knowledge that a catalogue has of users besides likes, in words; None: it has none.

    Args:
        data: the heterograph.
        schema: its schema, with derived types.
    """
    own = [
        edge.derived and edge.source == schema.user_type and edge.target.startswith(f"{schema.user_type}.")
        for name, edge in schema.graph_edges.items()
        if schema.user_type in (edge.source, edge.target) and data[schema.edge_triple(name)].num_edges
    ]
    found = [
        *(["links"] if not all(own) else []),
        *(["attributes"] if any(own) else []),
        *(["texts"] if "x" in data[schema.user_type] else []),
    ]
    return " and ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found) or None


def title_cold_users(slices: Mapping[str, Slice], knowledge: str) -> dict[str, Slice]:
    """The slices, with titles of those of cold users that say by what the model knows them.

    Args:
        slices: name -> slice.
        knowledge: the kinds of knowledge, from `name_user_knowledge`.
    """
    found = dict(slices)
    for name, slice_ in slices.items():
        size = count_support(name)
        if size == 0:
            by = f"known by their {knowledge} alone"
        else:
            by = f"{size} like{'' if size == 1 else 's'} beside their {knowledge}"
        if name == f"cold_users_k{size}":
            found[name] = replace(slice_, title=f"Cold users, {by}")
    return found
