"""A catalogue from DataFrames: a schema is derived from their columns, and rows pass the same checks as a load."""

import math
import tempfile
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from graph_schema import (
    SOURCE,
    TARGET,
    CatalogueError,
    CatalogueSchema,
    EdgeType,
    GraphTables,
    Interaction,
    NodeType,
)
from graph_schema.checks.rejects import Fault, RejectLog
from graph_schema.checks.staging import stage_tables
from graph_schema.frames.frame_attributes import sort_columns, to_epoch_seconds
from graph_schema.frames.frame_links import build_link_types, read_links
from graph_schema.frames.frame_rows import Frame, check_ids, check_unique, read_frame
from graph_schema.schema_types import Repeats
from graph_schema.sources import MemorySource, RawBatch

if TYPE_CHECKING:
    import pandas as pd

USER, ITEM, INTERACTED = "user", "item", "interacted"
_KEY_COLUMNS = {USER: ("user", "user_id"), ITEM: ("item", "item_id")}
_NAME_COLUMNS = {USER: ("name",), ITEM: ("title", "name")}
_WEIGHT_COLUMNS = ("rating", "weight")
_TIME_COLUMNS = ("timestamp", "at", "datetime")
_CALLER = 4  # frames of the stack from a warning here to the caller of `kgrec.train`


def build_frame_tables(
    interactions: "pd.DataFrame | pa.Table",
    items: "pd.DataFrame | pa.Table | None" = None,
    links: "pd.DataFrame | pa.Table | None" = None,
    users: "pd.DataFrame | pa.Table | None" = None,
    user_links: "pd.DataFrame | pa.Table | None" = None,
    *,
    features: Collection[str] = (),
    positive: float | None = None,
    log: RejectLog | None = None,
) -> GraphTables:
    """Builds a catalogue from DataFrames or pyarrow tables.

    Ids are text or integers. Bad rows are left out and counted in `log`; the rest is used. Items and users that only
    the interactions or the links name are added. Warnings name the columns of interactions, items and users that are
    not read.

    Args:
        interactions: columns `user` and `item`; optional `rating` or `weight`, and `timestamp`, `at` or `datetime`
            (datetimes, ISO 8601 text, or a number since 1970 in seconds, milliseconds, microseconds or nanoseconds); of
            several the first is read.
        items: column `item`, a row per item; optional `title` or `name`. Columns of lists of numbers are vectors.
            Numbers, booleans, times, lists of texts, and short texts that repeat are attributes. Other texts are what
            the text encoder reads, but for codes such as an ISBN or a URL.
        links: columns `item`, `relation` and `target`, such as (7, "genre", "Comedy"); optional `target_name`, and
            `target_type`: relations with the same type share their targets; "item" and "user" link to items and users.
            Without it, the type of a relation's targets is the relation.
        users: column `user`; optional `name`. Other columns are as those of items, but only sentences are texts.
            Sensitive attributes such as gender and age are not read.
        user_links: as `links`, with a column `user`. A link of a user to the same user is left out.
        features: columns of items or users that are read as attributes though the rules leave them out.
        positive: an interaction is a like when its rating is at least this; None: when its rating is above 0, and
            every interaction without a column of ratings.
        log: where rejected rows and values go; None only counts them.

    Raises:
        CatalogueError: an argument is not a table, has no rows, lacks a column or has an id twice; `features` names an
            unknown column; or no interaction is left.
    """
    log = RejectLog() if log is None else log
    building = _Building(log)
    building.add_interactions(read_frame("interactions", interactions), positive)
    nodes = {ITEM: None if items is None else read_frame("items", items)}
    nodes[USER] = None if users is None else read_frame("users", users)
    _check_features(features, nodes)
    for node_type, frame in nodes.items():
        building.add_nodes(node_type, frame, features)
    owned = [(ITEM, "links", links), (USER, "user_links", user_links)]
    building.add_links([(owner, read_frame(name, frame)) for owner, name, frame in owned if frame is not None])
    if building.unused:
        warnings.warn(building.unused, stacklevel=_CALLER)
    if building.unread:
        message = f"{'; '.join(building.unread)}; features=[...] names columns to read all the same"
        warnings.warn(message, stacklevel=_CALLER)
    schema = CatalogueSchema(
        name="dataframes", nodes=building.nodes, edges=building.edges, interaction=building.interaction
    )
    source = MemorySource(schema, building.node_rows, building.edge_rows)
    with tempfile.TemporaryDirectory(prefix="kgrec-") as directory:
        return stage_tables(source, Path(directory), rejects=log, max_rejects=math.inf).to_tables()


@dataclass
class _Building:
    log: RejectLog
    nodes: dict[str, NodeType] = field(default_factory=dict)
    edges: dict[str, EdgeType] = field(default_factory=dict)
    node_rows: dict[str, list[RawBatch]] = field(default_factory=dict)
    edge_rows: dict[str, list[RawBatch]] = field(default_factory=dict)
    interaction: Interaction = field(default_factory=lambda: Interaction(edge=INTERACTED))
    unused: str = ""  # a sentence for the interactions
    unread: list[str] = field(default_factory=list)  # a phrase for each of items and users

    def add_interactions(self, frame: Frame, positive: float | None) -> None:
        user, item = frame.need(*_KEY_COLUMNS[USER], SOURCE), frame.need(*_KEY_COLUMNS[ITEM], TARGET)
        weight, at = frame.find(*_WEIGHT_COLUMNS), frame.find(*_TIME_COLUMNS)
        if positive is not None and weight is None:
            raise CatalogueError(
                f"positive={positive} needs a column 'rating' or 'weight' in interactions, "
                f"got {', '.join(map(repr, frame.columns))}; rename one or leave positive out"
            )
        frame = check_ids(frame, INTERACTED, {user: Fault.MISSING_END, item: Fault.MISSING_END}, self.log)
        if not len(frame.rows):
            raise CatalogueError(f"no interactions are left: {self.log.describe()}")
        columns = {SOURCE: frame.columns[user], TARGET: frame.columns[item]}
        columns |= {weight: frame.columns[weight]} if weight else {}
        columns |= {at: to_epoch_seconds(frame.columns[at])} if at else {}
        self.edges[INTERACTED] = EdgeType(
            source=USER,
            type="INTERACTED",
            target=ITEM,
            attributes={**({weight: "float"} if weight else {}), **({at: "time"} if at else {})},
        )
        self.edge_rows[INTERACTED] = [frame.to_batch(columns)]
        repeats: Repeats | None = "latest" if weight == _WEIGHT_COLUMNS[0] else None  # ratings are not added up
        self.interaction = Interaction(edge=INTERACTED, weight=weight, at=at, positive=positive, repeats=repeats)
        unused = [name for name in frame.columns if name not in (user, item, weight, at)]
        if unused:
            times, weights = (" or ".join(map(repr, names)) for names in (_TIME_COLUMNS, _WEIGHT_COLUMNS))
            self.unused = (
                f"the model does not read these columns of interactions: {', '.join(unused)}; the time is read from "
                f"{times}, here from {at or 'none'}, and the weight from {weights}, here from {weight or 'none'}: "
                "rename or drop columns"
            )

    def add_nodes(self, node_type: str, frame: Frame | None, features: Collection[str]) -> None:
        label = node_type.capitalize()
        if frame is None:
            self.nodes[node_type] = NodeType(label=label, key=node_type, from_edges=True)
            return
        key, name = frame.need(*_KEY_COLUMNS[node_type], "id"), frame.find(*_NAME_COLUMNS[node_type])
        frame = check_ids(frame, node_type, {key: Fault.MISSING_KEY}, self.log)
        check_unique(frame, key)
        found = sort_columns(frame, node_type, key, name, features)
        self.nodes[node_type] = NodeType(
            label=label,
            key=node_type,
            name=found.name,
            text=tuple(found.texts),
            from_edges=True,
            attributes=found.attributes,
        )
        self.node_rows[node_type] = [frame.to_batch(found.columns)]
        if found.unread:
            reasons = ", ".join(f"{column} ({why})" for column, why in found.unread.items())
            self.unread.append(f"the model does not read these columns of {frame.name}: {reasons}")

    def add_links(self, frames: list[tuple[str, Frame]]) -> None:
        links = [read_links(frame, owner, _KEY_COLUMNS[owner], self.log) for owner, frame in frames]
        found = build_link_types(links, self.nodes, self.edges)
        self.nodes |= found.nodes
        self.edges |= found.edges
        self.node_rows |= found.node_rows
        self.edge_rows |= found.edge_rows


def _check_features(features: Collection[str], nodes: Mapping[str, Frame | None]) -> None:
    known: list[str] = []
    for node_type, frame in nodes.items():
        if frame is not None:
            known += [name for name in frame.columns if name != frame.find(*_KEY_COLUMNS[node_type], "id")]
    unknown = [name for name in features if name not in known]
    if unknown:
        raise CatalogueError(
            f"features names {', '.join(map(repr, unknown))}; expected columns of items or users other than their "
            f"ids, which are: {', '.join(dict.fromkeys(known)) or 'none'}"
        )
