"""Attributes as links: the values of features become nodes, so that what reads links reads attributes too.

The values of an entity's attributes are linked to the items and users at its links, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from graph_schema import SOURCE, TARGET, CatalogueSchema, EdgeType, GraphTables, NodeType
from graph_schema.drafts.name_words import to_singular
from graph_schema.schema_types import AttributeType
from kgrec.graph.value_codes import ValueCodes, fit_codes
from kgrec.ids import IdMap

KEY, NAME = "id", "name"
_LEAST_NODES = 2  # with a value; fewer link it to nothing


@dataclass(frozen=True)
class AttributeValues:
    """The value nodes of a catalogue's features.

    Attributes:
        codes: derived edge type, "<node type>.<attribute>" -> how its values become nodes.
    """

    codes: Mapping[str, ValueCodes]

    def derive(self, tables: GraphTables, known: Mapping[str, IdMap] | None = None) -> GraphTables:
        """Adds the value nodes and the links to them; the same tables where there is no feature.

        Args:
            tables: the catalogue.
            known: node type -> the value nodes of an earlier catalogue, which are kept, and no others are made;
                None: every value that two nodes have becomes one.
        """
        if not self.codes:
            return tables
        schema = derive_schema(tables.schema)
        nodes, edges = dict(tables.nodes), dict(tables.edges)
        for name, codes in self.codes.items():
            node_type, attribute = split_name(tables.schema, name)
            rows, ids = codes.encode(tables.nodes[node_type][attribute])
            links = _to_edges(tables.ids(node_type).take(pa.array(rows)), pa.array(ids, pa.string()))
            if known is None:
                counts = links[TARGET].value_counts()
                often = pc.greater_equal(counts.field("counts"), _LEAST_NODES)
                kept = sorted(counts.field("values").filter(often).to_pylist())
            else:
                kept = list(known[name].ids)
            edges[name] = links.filter(pc.is_in(links[TARGET], pa.array(kept, pa.string())))
            nodes[name] = pa.table(
                [pa.array(kept, pa.string()), pa.array([codes.name(id_, attribute) for id_ in kept], pa.string())],
                schema.nodes[name].arrow_schema,
            )
        for name, edge in schema.edges.items():
            if name not in edges:
                link, value = split_path(tables.schema, name)
                edges[name] = _join(edges[link], edges[value], forward=tables.schema.edges[link].source == edge.source)
        return GraphTables(schema, nodes, edges)


def fit_values(tables: GraphTables) -> AttributeValues:
    """Chooses the bins of all features of a catalogue, from quantiles of their values."""
    found = {}
    for node_type, node in tables.schema.nodes.items():
        for attribute in node.features:
            column = tables.nodes[node_type][attribute].combine_chunks()
            found[f"{node_type}.{attribute}"] = fit_codes(attribute, node.columns[attribute], column)
    return AttributeValues(found)


def derive_schema(schema: CatalogueSchema) -> CatalogueSchema:
    """Adds a derived node type and edge type for each feature of a node type, and edge types over an entity's links."""
    nodes, edges = dict(schema.nodes), dict(schema.edges)
    for node_type, node in schema.nodes.items():
        for attribute in node.features:
            name = f"{node_type}.{attribute}"
            # "same colour (red) as ...", but "cheap, price 4 to 6, like ..."
            phrase = (
                _phrase(attribute, node.columns[attribute]) if node.columns[attribute] in ("string", "list") else ""
            )
            nodes[name] = NodeType(label=name, key=KEY, name=NAME, derived=True)
            edges[name] = EdgeType(source=node_type, type=name, target=name, phrase=phrase, derived=True)
    ends = (schema.item_type, schema.user_type)
    for link, edge in schema.graph_edges.items():
        for near, far in ((edge.source, edge.target), (edge.target, edge.source)):
            if near in ends and far not in ends:
                for attribute in schema.nodes[far].features:
                    name, value = f"{link}.{far}.{attribute}", f"{far}.{attribute}"
                    edges[name] = EdgeType(source=near, type=name, target=value, derived=True)
    if len(edges) == len(schema.edges):
        return schema
    return CatalogueSchema(name=schema.name, nodes=nodes, edges=edges, interaction=schema.interaction)


def _phrase(attribute: str, kind: AttributeType) -> str:
    """How reasons name a shared value; of a list, such as genres, it is one entry that is shared."""
    words = attribute.replace("_", " ").replace(".", " ").split(" ")
    if "." in attribute and len(words) > 1 and words[-1] == "name":  # brand.name, of a nested value
        words = words[:-1]
    return " ".join([*words[:-1], to_singular(words[-1])] if kind == "list" else words)


def split_name(schema: CatalogueSchema, name: str) -> tuple[str, str]:
    """The node type and the attribute of a derived type's name."""
    for node_type, node in schema.nodes.items():
        attribute = name.removeprefix(f"{node_type}.")
        if attribute != name and attribute in node.features:
            return node_type, attribute
    raise KeyError(name)


def split_path(schema: CatalogueSchema, name: str) -> tuple[str, str]:
    """The edge type and the value edge type of a derived edge type over an entity's links."""
    link = next(link for link in schema.graph_edges if name.startswith(f"{link}.") and _is_value(schema, name, link))
    return link, name.removeprefix(f"{link}.")


def _is_value(schema: CatalogueSchema, name: str, link: str) -> bool:
    return any(
        name == f"{link}.{node_type}.{attribute}"
        for node_type, node in schema.nodes.items()
        for attribute in node.features
    )


def _to_edges(owners: pa.Array | pa.ChunkedArray, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Links to values, each once."""
    table = pa.table({SOURCE: owners, TARGET: values})
    distinct = table.group_by([SOURCE, TARGET]).aggregate([]).select([SOURCE, TARGET])
    ends = pa.schema([pa.field(end, pa.string(), nullable=False) for end in (SOURCE, TARGET)])
    return pa.table(distinct.columns, schema=ends)


def _join(links: pa.Table, values: pa.Table, *, forward: bool) -> pa.Table:
    """The values at the other ends of links, each once."""
    near, far = (SOURCE, TARGET) if forward else (TARGET, SOURCE)
    ends = pa.table({"near": links[near], "far": links[far]})
    found = ends.join(values.rename_columns(["far", "value"]), "far", join_type="inner")
    return _to_edges(found["near"], found["value"])
