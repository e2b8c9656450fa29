"""The columns of a raw table and those that its schema declares."""

from collections.abc import Collection, Sequence

from graph_schema.base_errors import CatalogueError
from graph_schema.catalogue_schema import CatalogueSchema
from graph_schema.near_names import find_near_name
from graph_schema.schema_types import SOURCE, TARGET, EdgeType, NodeType


def find_column(name: str, names: Sequence[str]) -> str | None:
    """The column that a schema means by a name: case and spaces do not count where only one is meant."""
    if name in names:
        return name
    alike = [other for other in names if _to_plain(other) == _to_plain(name)]
    return alike[0] if len(alike) == 1 else None


def rename_known(names: Sequence[str], known: Collection[str]) -> list[str]:
    """A raw table's column names, those that a schema knows in its spelling."""
    meant = {found: name for name in known if name not in names and (found := find_column(name, names)) is not None}
    return [meant.get(name, name) if name not in known else name for name in names]


def rename_ends(schema: CatalogueSchema, edge: EdgeType, names: list[str]) -> list[str]:
    """A raw edge table's column names, with `source` and `target` in the places of the columns that hold the ends.

    These are, for each end: the column that the schema names; where it names none, the one called `source` or `target`,
    else the key of the end's node type. A column called `source` or `target` that is not the end is set aside.
    """
    keys = {SOURCE: schema.nodes[edge.source].key, TARGET: schema.nodes[edge.target].key}
    given = {SOURCE: edge.source_column, TARGET: edge.target_column}
    ends: dict[str, str] = {}
    for end, other in ((SOURCE, TARGET), (TARGET, SOURCE)):
        column, key = given[end], keys[end]
        if column in names:
            ends[column] = end
        elif column is None and end not in names and key not in edge.attributes:
            # a key that both node types have says which end it is where the other has its own column
            is_telling = key != keys[other] or (given[other] in names and given[other] != key)
            ends |= {key: end} if is_telling else {}
    return [ends.get(name, _set_aside(name) if name in ends.values() else name) for name in names]


def _to_plain(name: str) -> str:
    return " ".join(name.split()).casefold()


def _set_aside(name: str) -> str:
    return f"{name} (not the end)"


def check_names(
    file: str,
    schema: CatalogueSchema,
    name: str,
    declared: NodeType | EdgeType,
    names: list[str],
    *,
    others: bool = False,
) -> None:
    """Checks that a raw table has the declared columns.

    Args:
        file: its file, for the error.
        schema: the schema.
        name: the node type or edge type.
        declared: what the schema says of it.
        names: the columns, the ends of edges as `source` and `target`.
        others: the table may have other columns, too: other types read it.

    Raises:
        CatalogueError: a column is missing, unknown or there twice.
    """
    chosen = schema.interaction  # a count of interactions needs no column
    counted = chosen.weight if name == chosen.edge and chosen.repeat_rule == "count" else None
    said = _name_ends(declared)
    missing = [said.get(column, column) for column in declared.columns if column not in names and column != counted]
    ignored = {*declared.ignore, *map(_set_aside, declared.ignore)}
    unknown = [column for column in names if column not in declared.columns and column not in ignored]
    read = declared.columns if others else names
    repeated = sorted({column for column in names if names.count(column) > 1 and column in read})
    if not (missing or (unknown and not others) or repeated):
        return
    kind = "edges" if isinstance(declared, EdgeType) else "nodes"
    expected = ", ".join(said.get(column, column) for column in declared.columns)
    if isinstance(declared, EdgeType):
        expected += _explain_ends(schema, declared)
    parts = [f"{file}: expected the columns {expected}; got {', '.join(names)}"]
    if missing:
        free = [column for column in names if column not in declared.columns]  # those to ignore, too
        near = {column: find_near_name(column, unknown) or find_near_name(column, free) for column in missing}
        meant = [f"did you mean {found!r} by {column!r}?" for column, found in near.items() if found]
        parts.append(f"missing: {', '.join(missing)}; add them to the file or take them out of [{kind}.{name}]")
        parts += [" ".join(meant)] if meant else []
    if unknown and not others:
        listed = ", ".join(f'"{column}"' for column in unknown)
        parts.append(
            f"unknown: {', '.join(unknown)}; give them a type under [{kind}.{name}.attributes] "
            f"or leave them out by ignore = [{listed}] under [{kind}.{name}]"
        )
    if repeated:
        parts.append(f"there twice: {', '.join(repeated)}; rename or remove one")
    raise CatalogueError(". ".join(parts).replace("?. ", "? "))  # a question ends a sentence by itself


def _name_ends(declared: NodeType | EdgeType) -> dict[str, str]:
    """The columns that the schema says for the ends."""
    if isinstance(declared, NodeType):
        return {}
    given = {SOURCE: declared.source_column, TARGET: declared.target_column}
    return {end: column for end, column in given.items() if column is not None}


def _explain_ends(schema: CatalogueSchema, edge: EdgeType) -> str:
    said = _name_ends(edge)
    if said:
        return f" (as {' and '.join(f'{end}_column' for end in said)} {'say' if len(said) > 1 else 'says'})"
    keys = schema.nodes[edge.source].key, schema.nodes[edge.target].key
    return f" (or {keys[0]}, {keys[1]} for source, target)" if keys[0] != keys[1] else ""
