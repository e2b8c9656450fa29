"""Links of items and users in DataFrames: an edge type for each relation, a node type for each type of target."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from graph_schema.checks.column_texts import decode
from graph_schema.checks.rejects import Fault, Reason, RejectLog
from graph_schema.drafts.type_names import to_distinct
from graph_schema.frames.frame_columns import to_schema_name
from graph_schema.frames.frame_rows import Frame, check_ids, reject_rows
from graph_schema.schema_types import SOURCE, TARGET, EdgeType, NodeType
from graph_schema.sources import RawBatch

_TARGET_NAMES = ("target_name", "name")
_log = logging.getLogger("kgrec.frames")


@dataclass(frozen=True)
class OwnedLinks:
    """The links of one DataFrame.

    Attributes:
        frame: the rows with an id at both ends.
        owner: the node type that they start at.
        ends: the columns with the ids of the two ends.
        named: the column with the targets' names; None where there is none.
        relations: the relation of each row.
        kinds: the type of each row's target, as the frame calls it: its `target_type`, else its relation.
        is_typed: whether the frame has a column `target_type`.
        is_word: the targets' ids are text, which can be shown as their names.
    """

    frame: Frame
    owner: str
    ends: tuple[str, str]
    named: str | None
    relations: Sequence[str]
    kinds: Sequence[str]
    is_typed: bool
    is_word: bool


@dataclass(frozen=True)
class LinkTypes:
    """What links add to a schema, with its rows.

    Attributes:
        nodes: node type of targets -> how it is declared; items and users are not among them.
        edges: edge type -> how it is declared.
        node_rows: node type -> the rows that name its nodes.
        edge_rows: edge type -> its links.
    """

    nodes: Mapping[str, NodeType]
    edges: Mapping[str, EdgeType]
    node_rows: Mapping[str, list[RawBatch]]
    edge_rows: Mapping[str, list[RawBatch]]


def read_links(frame: Frame, owner: str, owner_columns: Sequence[str], log: RejectLog) -> OwnedLinks:
    """Reads the links of items or of users; rows without an id or a relation are rejected.

    Args:
        frame: columns for the owner, `relation` and `target`; optional `target_name` and `target_type`.
        owner: the node type that links start at.
        owner_columns: the names that the owner's column may have.
        log: where rejected rows go.

    Raises:
        CatalogueError: a column is missing, or holds no ids.
    """
    start, relation, target = frame.need(*owner_columns, SOURCE), frame.need("relation"), frame.need(TARGET)
    kind, named = frame.find("target_type"), frame.find(*_TARGET_NAMES)
    is_word = pa.types.is_string(decode(frame.columns[target]).type)
    faults = {start: Fault.MISSING_END, relation: Fault.MISSING_VALUE, target: Fault.MISSING_END}
    faults |= {kind: Fault.MISSING_VALUE} if kind else {}
    frame = check_ids(frame, frame.name, faults, log)
    unused = [name for name in frame.columns if name not in (*faults, named)]
    if unused:
        _log.info("%s: these columns are not used: %s", frame.name, ", ".join(unused))
    if kind and owner == "user":  # nobody is their own friend
        starts, ends, kinds = (frame.columns[name].to_pylist() for name in (start, target, kind))
        own = [to == owner and a == b for a, b, to in zip(starts, ends, kinds, strict=True)]
        reason = Reason(Fault.UNFIT_VALUE, target, f"the {owner} is linked to itself")
        frame = reject_rows(frame, frame.name, np.array(own, np.bool_), reason, log)
    relations = frame.columns[relation].to_pylist()
    kinds = frame.columns[kind].to_pylist() if kind else relations
    return OwnedLinks(frame, owner, (start, target), named, relations, kinds, kind is not None, is_word)


def build_link_types(links: Sequence[OwnedLinks], nodes: Collection[str], edges: Collection[str]) -> LinkTypes:
    """Builds an edge type for each relation and a node type for each type of target.

    Args:
        links: the links of items and of users.
        nodes: the node types that there are; a `target_type` of this name means these nodes.
        edges: the names of edge types that are taken.
    """
    types = _name_targets(links, nodes, edges)
    new_nodes: dict[str, NodeType] = {}
    new_edges: dict[str, EdgeType] = {}
    node_rows: dict[str, list[RawBatch]] = {}
    edge_rows: dict[str, list[RawBatch]] = {}
    for place, one in enumerate(links):
        others = {relation for other in links[:place] for relation in other.relations}
        pairs = list(dict.fromkeys(zip(one.relations, one.kinds, strict=True)))
        codes = {pair: code for code, pair in enumerate(pairs)}
        code_of_row = np.array([codes[pair] for pair in zip(one.relations, one.kinds, strict=True)], np.int64)
        for code, (relation, kind) in enumerate(pairs):
            part = one.frame.keep(code_of_row == code)
            several = sum(other == relation for other, _ in pairs) > 1
            full = f"{one.owner}_{relation}" if relation in others else relation
            name = to_distinct(to_schema_name(f"{full}_{kind}" if several else full), {*edges, *new_edges})
            target = types[kind, one.is_typed and kind in nodes]
            phrase = relation.replace("_", " ")
            new_edges[name] = EdgeType(source=one.owner, type=name, target=target, phrase=phrase)
            start, end = (part.columns[column] for column in one.ends)
            edge_rows[name] = [part.to_batch({SOURCE: start, TARGET: end})]
    for (kind, is_known), node_type in types.items():
        if is_known:
            continue
        own = [one for one in links if kind in one.kinds and not (one.is_typed and kind in nodes)]
        named = [one for one in own if one.named]
        shown = "name" if named else "id" if all(one.is_word for one in own) else None
        new_nodes[node_type] = NodeType(label=node_type, key="id", name=shown, from_edges=True)
        if named:
            node_rows[node_type] = _name_nodes(named, kind)
    return LinkTypes(new_nodes, new_edges, node_rows, edge_rows)


def _name_targets(
    links: Sequence[OwnedLinks], nodes: Collection[str], edges: Collection[str]
) -> dict[tuple[str, bool], str]:
    """(type of target, whether it is one of `nodes`) -> its node type: never the name of an edge type."""
    relations = {relation for one in links for relation in one.relations}
    taken = {*nodes, *edges, *map(to_schema_name, relations)}
    types: dict[tuple[str, bool], str] = {}
    for one in links:
        for kind in dict.fromkeys(one.kinds):
            is_known = one.is_typed and kind in nodes
            if (kind, is_known) in types:
                continue
            name = to_schema_name(kind)
            free = f"{name}_entity" if name in taken else name
            types[kind, is_known] = kind if is_known else to_distinct(free, {*taken, *types.values()})
    return types


def _name_nodes(links: Sequence[OwnedLinks], kind: str) -> list[RawBatch]:
    """The targets of one type, each with the first name given for it, a batch for each DataFrame."""
    names: dict[str, str | None] = {}
    places: dict[str, tuple[int, int]] = {}  # id -> the DataFrame and the row that it is in first
    for place, one in enumerate(links):
        part = one.frame.keep(np.array([found == kind for found in one.kinds], np.bool_))
        ids, given = part.columns[one.ends[1]].to_pylist(), part.columns[one.named or ""].cast(pa.string()).to_pylist()
        for row, id_, name in zip(part.rows.tolist(), ids, given, strict=True):
            names[id_] = names.get(id_) or name
            places.setdefault(id_, (place, row))
    batches = []
    for place, one in enumerate(links):
        own = [id_ for id_, (first, _) in places.items() if first == place]
        columns = {"id": pa.array(own, pa.string()), "name": pa.array([names[id_] for id_ in own], pa.string())}
        rows = np.array([places[id_][1] for id_ in own], np.int64)
        batches.append(RawBatch(pa.RecordBatch.from_pydict(columns), one.frame.name, rows))
    return batches
