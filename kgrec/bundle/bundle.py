"""A bundle: a trained model with everything that it needs to answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from graph_schema import CatalogueSchema
from kgrec.config import TrainConfig
from kgrec.graph.attribute_values import AttributeValues
from kgrec.ids import IdMap
from kgrec.model.model import Model
from kgrec.text.adapter import Adapter
from kgrec.text.encoder import TextEncoder, load_config_encoder


@dataclass(frozen=True)
class Lineage:
    """The size of what training learned from, to measure later changes against, and the syncs since.

    Attributes:
        n_likes: likes in training.
        n_items: items with at least one like, whose vectors were learned.
        n_syncs: times that `kgrec sync` changed the bundle.
        synced_at: UTC seconds of the last sync; None: never.
    """

    n_likes: int
    n_items: int
    n_syncs: int = 0
    synced_at: int | None = None

    @classmethod
    def of(cls, model: Model) -> "Lineage":
        """The lineage of a model that has not changed since its training."""
        return cls(int(model.n_likes.sum()), int((~model.cold).sum()))


@dataclass(frozen=True)
class Bundle:
    """Everything that a Recommender answers from.

    Attributes:
        schema: the catalogue's schema.
        ids: node type -> its ids and their rows.
        names: node type -> a name for people, or None, per row.
        edges: edge type of the graph -> rows of both ends, int64 (2, n).
        model: the trained model.
        relations: (edge type, whether the item is its source, node type at the other end) of the model's links.
        link_node: (n_codes,) int64: the node row of each link code, -1 for a node that is gone; its relation is
            `model.prior.relation`.
        user_relations, user_link_node: likewise of the links of users.
        user_text: (n_users, text_dim) float32 unit vectors of the users' texts, zeros for a user without one; text_dim
            is 0 where training had none.
        values: the value nodes of the features.
        vector_widths: the items' vector columns that the prior reads, in the order of the schema, and their widths.
        liked: (n_users, n_items): the likes, each user's support set.
        seen: (n_users, n_items): every interaction; never recommended.
        config: how it was trained.
        choices: what validation chose.
        encoder_name, encoder_revision: the encoder of the texts.
        trained_at: UTC seconds.
        lineage: what it was trained on, in numbers.
        contents: node type, users aside -> (n,) int64, a hash per row of what the model reads of a node, its name and
            texts; rows past its end are unknown.
        liked_at: (n_users, n_items) int64: when each like was, in UTC seconds, with the entries of `liked`; None where
            interactions have no time.
        available: (n_items,) bool: the items that can be had, by the schema's `available`. Others are in no answer
            unless a request names them as candidates.
        adapter: the adapter of the text encoder, None without one. It is in memory, so that a loaded bundle can encode
            whatever happens to its folder.
    """

    schema: CatalogueSchema
    ids: Mapping[str, IdMap]
    names: Mapping[str, Sequence[str | None]]
    edges: Mapping[str, NDArray[np.int64]]
    model: Model
    relations: tuple[tuple[str, bool, str], ...]
    link_node: NDArray[np.int64]
    user_relations: tuple[tuple[str, bool, str], ...]
    user_link_node: NDArray[np.int64]
    user_text: Tensor
    values: AttributeValues
    vector_widths: Mapping[str, int]
    liked: csr_array
    seen: csr_array
    config: TrainConfig
    choices: Mapping[str, Any]
    encoder_name: str
    encoder_revision: str
    trained_at: int
    lineage: Lineage
    contents: Mapping[str, NDArray[np.int64]]
    available: NDArray[np.bool_]
    liked_at: csr_array | None = None
    adapter: Adapter | None = None

    @property
    def users(self) -> IdMap:
        """The users' ids."""
        return self.ids[self.schema.user_type]

    @property
    def items(self) -> IdMap:
        """The items' ids."""
        return self.ids[self.schema.item_type]


def load_bundle_encoder(bundle: Bundle) -> TextEncoder:
    """Loads the text encoder that a bundle was trained with, its adapter included.

    Raises:
        TextError: it cannot be loaded.
    """
    # The machine that answers may lack the training machine's GPU and extras.
    own = {"encoder": bundle.encoder_name, "encoder_backend": "torch", "device": "cpu"}
    return load_config_encoder(bundle.config.model_copy(update=own), bundle.adapter)
