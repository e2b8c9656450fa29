"""Writes a schema as a TOML file, with comments for people."""

import textwrap
from collections.abc import Collection, Mapping
from typing import Any

import tomlkit
from tomlkit.items import Item, Table

from graph_schema.catalogue_schema import CatalogueSchema
from graph_schema.schema_types import EdgeType, Interaction, NodeType, SourceTable

WIDTH = 120
_MOST_WHOLE = 1e15
_COMMENT_AT = 42  # the column of comments that stand behind a line
_RULERS = {
    "nodes": "Nodes: what there is",
    "edges": "Edges: what is linked",
    "interaction": "The edge to predict",
    "tables": "Tables: how the files look",
}
_Declared = NodeType | EdgeType | Interaction | SourceTable

TomlPath = tuple[str, ...]  # of a table or a key in the file: ("nodes", "film", "key")


def to_toml(schema: CatalogueSchema) -> str:
    """Writes a schema as a TOML file that `CatalogueSchema.parse` reads back the same."""
    return write_schema(schema, {}, ())


def write_schema(schema: CatalogueSchema, comments: Mapping[TomlPath, str], asides: Collection[TomlPath]) -> str:
    """Writes a schema as a TOML file with comments.

    Args:
        schema: what to write.
        comments: table or key -> a comment behind it, or above it where the line would be too long.
        asides: tables that become comments as a whole.
    """
    tables: list[tuple[TomlPath, _Declared]] = [
        *((("nodes", name), node) for name, node in schema.nodes.items()),
        *((("edges", name), edge) for name, edge in schema.edges.items()),
        (("interaction",), schema.interaction),
        *((("tables", name), table) for name, table in schema.tables.items()),
    ]
    lines = _to_lines({"name": schema.name})
    begun: set[str] = set()
    for path, declared in tables:
        if comments and path[0] not in begun:
            lines += ["", f"# --- {_RULERS[path[0]]} ".ljust(WIDTH, "-")]
        begun.add(path[0])
        written = _write_table(path, declared, comments)
        lines += ["", *(f"# {line}".rstrip() for line in written)] if path in asides else ["", *written]
    return "\n".join(lines) + "\n"


def write_interaction(interaction: Interaction) -> list[str]:
    """The lines of an interaction's table."""
    return _write_table(("interaction",), interaction, {})


def _write_table(path: TomlPath, declared: _Declared, comments: Mapping[TomlPath, str]) -> list[str]:
    table = tomlkit.table()
    values = declared.model_dump(exclude_defaults=True)
    attributes = values.pop("attributes", {})
    for name, value in values.items():
        _add(table, name, value, comments.get((*path, name)))
    if attributes:
        inner = tomlkit.table()
        for name, kind in attributes.items():
            _add(inner, name, kind, comments.get((*path, "attributes", name)))
        table.add("attributes", inner)
    document = tomlkit.document()
    header = f"[{'.'.join(tomlkit.key(part).as_string() for part in path)}]"
    for line in _comment(table, header, comments.get(path)):
        document.add(tomlkit.comment(line))
    whole = table
    for name in reversed(path[1:]):
        outer = tomlkit.table(is_super_table=True)
        outer.add(name, whole)
        whole = outer
    document.add(path[0], whole)
    return _to_lines(document)


def _to_lines(document: Mapping[str, Any]) -> list[str]:
    # not splitlines(), which also splits at separators that TOML allows inside a string
    return tomlkit.dumps(document).rstrip("\n").split("\n")


def _add(table: Table, name: str, value: object, comment: str | None) -> None:
    item: Item = tomlkit.item(_to_plain(value))
    if isinstance(value, dict):
        item = tomlkit.inline_table()
        item.update({key: _to_plain(one) for key, one in value.items()})
    for line in _comment(item, f"{tomlkit.key(name).as_string()} = {item.as_string()}", comment):
        table.add(tomlkit.comment(line))
    table.add(name, item)


def _to_plain(value: object) -> object:
    """A whole number without ".0", which TOML reads as the same."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _MOST_WHOLE else value


def _comment(item: Item, line: str, comment: str | None) -> list[str]:
    """Puts a comment behind an item's line; where it is too long, returns the lines of it to be put above."""
    if not comment:
        return []
    comment = to_one_line(comment, 400)
    margin = " " * max(2, _COMMENT_AT - len(line))
    if len(f"{line}{margin}# {comment}") > WIDTH:
        return [above.removeprefix("# ") for above in wrap_comment(comment).splitlines()]
    item.comment(comment)
    item.trivia.comment_ws = margin
    return []


def wrap_comment(text: str) -> str:
    """A comment of its own, on as many lines as it takes."""
    return textwrap.fill(
        to_one_line(text, 2000), WIDTH - 2, initial_indent="# ", subsequent_indent="#   ", break_on_hyphens=False
    )


def to_one_line(text: str, most: int = 60) -> str:
    """Text as a comment may hold it: on one line, without control characters, cut at `most` characters."""
    plain = "".join(char if char.isprintable() else " " for char in " ".join(text.split()))
    return plain if len(plain) <= most else plain[: most - 1] + "…"
