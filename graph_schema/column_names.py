"""The columns of a raw table and those that its schema declares."""

from graph_schema.base_errors import CatalogueError
from graph_schema.catalogue_schema import CatalogueSchema
from graph_schema.schema_types import SOURCE, TARGET, EdgeType, NodeType


def rename_ends(schema: CatalogueSchema, edge: EdgeType, names: list[str]) -> list[str]:
    """A raw edge table's column names, with `source` and `target` in the places of the columns that hold the ends.

    These are, for each end, the first that is there: the column that the schema names, one called `source` or
    `target`, the key of the end's node type. A column called `source` or `target` that is not the end is set aside.
    """
    keys = {SOURCE: schema.nodes[edge.source].key, TARGET: schema.nodes[edge.target].key}
    given = {SOURCE: edge.source_column, TARGET: edge.target_column}
    ends: dict[str, str] = {}
    for end, column in given.items():
        if column in names:
            ends[column] = end
        elif end not in names and keys[SOURCE] != keys[TARGET] and keys[end] not in edge.attributes:
            ends[keys[end]] = end
    return [ends.get(name, _set_aside(name) if name in ends.values() else name) for name in names]


def _set_aside(name: str) -> str:
    return f"{name} (not the end)"


def check_names(file: str, schema: CatalogueSchema, name: str, declared: NodeType | EdgeType, names: list[str]) -> None:
    """Checks that a raw table has the declared columns and no others.

    Raises:
        CatalogueError: a column is missing, unknown or there twice.
    """
    missing = [column for column in declared.columns if column not in names]
    ignored = {*declared.ignore, *map(_set_aside, declared.ignore)}
    unknown = [column for column in names if column not in declared.columns and column not in ignored]
    repeated = sorted({column for column in names if names.count(column) > 1})
    if not (missing or unknown or repeated):
        return
    kind = "edges" if isinstance(declared, EdgeType) else "nodes"
    expected = ", ".join(declared.columns)
    if isinstance(declared, EdgeType):
        keys = [
            declared.source_column or schema.nodes[declared.source].key,
            declared.target_column or schema.nodes[declared.target].key,
        ]
        if keys[0] != keys[1]:
            expected += f" (or {keys[0]}, {keys[1]} for source, target)"
    parts = [f"{file}: expected the columns {expected}; got {', '.join(names)}"]
    if missing:
        parts.append(f"missing: {', '.join(missing)}; add them to the file or take them out of [{kind}.{name}]")
    if unknown:
        listed = ", ".join(f'"{column}"' for column in unknown)
        parts.append(
            f"unknown: {', '.join(unknown)}; give them a type under [{kind}.{name}.attributes] "
            f"or leave them out by ignore = [{listed}] under [{kind}.{name}]"
        )
    if repeated:
        parts.append(f"there twice: {', '.join(repeated)}; rename or remove one")
    raise CatalogueError(". ".join(parts))
