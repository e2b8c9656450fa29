"""What a catalogue graph is: its schema, its tables, their checks."""

from graph_schema.base_errors import CatalogueError, KgrecError
from graph_schema.catalogue_schema import CatalogueSchema
from graph_schema.schema_types import SOURCE, TARGET, Attribute, EdgeType, Interaction, NodeType
from graph_schema.tables import GraphTables

__all__ = [
    "SOURCE",
    "TARGET",
    "Attribute",
    "CatalogueError",
    "CatalogueSchema",
    "EdgeType",
    "GraphTables",
    "Interaction",
    "KgrecError",
    "NodeType",
]
