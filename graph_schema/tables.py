"""GraphTables: a catalogue's nodes and edges as Arrow tables, keyed by the catalogue's own ids."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from graph_schema.base_errors import CatalogueError
from graph_schema.catalogue_schema import CatalogueSchema


@dataclass(frozen=True)
class GraphTables:
    """A whole catalogue in memory: the hub between loaders, stores and the heterograph.

    Attributes:
        schema: what the tables mean.
        nodes: node type -> table with the columns of `NodeType.arrow_schema`; keys are unique.
        edges: edge type -> table with the columns of `EdgeType.arrow_schema`; both ends exist in `nodes`,
            a (source, target) pair is there once.
    """

    schema: CatalogueSchema
    nodes: Mapping[str, pa.Table]
    edges: Mapping[str, pa.Table]

    def __post_init__(self) -> None:
        """Checks that every type has a table with the schema's columns (`checks.staging` checks rows)."""
        for kind, tables, types in (("node", self.nodes, self.schema.nodes), ("edge", self.edges, self.schema.edges)):
            if set(tables) != set(types):
                raise CatalogueError(f"expected {kind} tables for {sorted(types)}, got {sorted(tables)}")
            for name, declared in types.items():
                if not tables[name].schema.equals(declared.arrow_schema):
                    raise CatalogueError(
                        f"{kind} table {name!r}: expected the columns {declared.columns}, "
                        f"got {dict(zip(tables[name].schema.names, map(str, tables[name].schema.types), strict=True))}"
                    )

    @property
    def interactions(self) -> pa.Table:
        """The interaction edges: columns source (user id), target (item id) and the edge's attributes."""
        return self.edges[self.schema.interaction.edge]

    @property
    def likes(self) -> pa.Table:
        """The interactions that count as positive."""
        chosen = self.schema.interaction
        if chosen.weight is None:
            return self.interactions
        return self.interactions.filter(pa.array(chosen.is_like(self.interactions[chosen.weight].to_numpy())))

    def with_interactions(self, interactions: pa.Table) -> "GraphTables":
        """The same catalogue with other interaction edges."""
        return GraphTables(self.schema, self.nodes, {**self.edges, self.schema.interaction.edge: interactions})

    def ids(self, node_type: str) -> pa.ChunkedArray:
        """The ids of one node type, in table order."""
        return self.nodes[node_type][self.schema.nodes[node_type].key]
