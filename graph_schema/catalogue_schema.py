"""What a catalogue graph is: node types, edge types and the interaction, as written in a TOML file."""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self, get_args

from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from graph_schema.base_errors import CatalogueError
from graph_schema.near_names import find_near_name
from graph_schema.schema_types import (
    SOURCE,
    TARGET,
    Attribute,
    EdgeType,
    Frozen,
    Interaction,
    Name,
    NodeType,
    SourceTable,
    is_name,
)

_A_TEXT = 'expected columns of type "string" or "list"'
CATALOGUES_DIR = Path(__file__).parent / "catalogues"
# how a source looks, as a store that kgrec loaded no longer needs it
_PLAIN_NODE: dict[str, Any] = {"labels": (), "milliseconds": (), "time_formats": {}, "ignore": (), "table": None}
_PLAIN_EDGE: dict[str, Any] = {
    "path": (), "join": (), "milliseconds": (), "time_formats": {}, "table": None, "split": None, "where": {},
    "source_column": None, "target_column": None, "ignore": (),
}  # fmt: skip
# what the digest leaves out besides
_OF_NODE_READING = (*_PLAIN_NODE, "public", "available", "derived")
_OF_EDGE_READING = (*_PLAIN_EDGE, "phrase", "derived")


class CatalogueSchema(Frozen):
    """A catalogue: its node types, its edge types, which edge is the interaction, and the tables of its source files.

    Attributes:
        name: what the catalogue is called.
        nodes: node type -> what its nodes are.
        edges: edge type -> what its edges are.
        interaction: the edge to predict.
        tables: table of files -> how it looks, for those that need it said.
    """

    name: Name
    nodes: dict[str, NodeType]
    edges: dict[str, EdgeType]
    interaction: Interaction
    tables: dict[Name, SourceTable] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_references(self) -> Self:
        self._check_names()
        self._check_nodes()
        self._check_edges()
        self._check_times()
        self._check_unique("label", [label for node in self.nodes.values() for label in node.all_labels])
        self._check_unique("edge (type, source, target)", [(e.type, *e.ends) for e in self.edges.values()])
        self._check_interaction()
        return self

    def _check_names(self) -> None:
        types: list[tuple[str, NodeType | EdgeType]] = [*self.nodes.items(), *self.edges.items()]
        for name, declared in types:
            if not declared.derived and not is_name(name):
                raise ValueError(
                    f"{name!r} is not a name of a type: expected a letter, then letters, digits, '_', '.', '-' or "
                    "inner spaces; its label, type, key and columns may have any characters"
                )

    def _check_nodes(self) -> None:
        for node_type, node in self.nodes.items():
            if node.key in node.attributes or node.key in node.text:
                raise ValueError(f"nodes.{node_type}: the key {node.key!r} may not be an attribute or a text too")
            for name in node.text:
                if node.columns[name] not in ("string", "list"):
                    raise ValueError(f"nodes.{node_type}: text names {name!r}, a {node.columns[name]}; {_A_TEXT}")
            if node.name is not None and node.columns[node.name] != "string":
                raise ValueError(f"nodes.{node_type}: the name {node.name!r} is a {node.columns[node.name]}, no string")
            for name, value in node.available.items():
                if name not in node.attributes:
                    raise ValueError(f"nodes.{node_type}: available names {name!r}; {_one_of(node.attributes)}")
                fitting = {bool: ("bool",), str: ("string",)}.get(type(value), ("int", "float", "time"))
                if node.columns[name] not in fitting:
                    raise ValueError(f"nodes.{node_type}: available: {name!r} is a {node.columns[name]}, got {value!r}")
            for name in node.features:
                other = self.nodes.get(f"{node_type}.{name}")
                if other is not None and not other.derived:
                    raise ValueError(f"nodes.{node_type}.{name}: the feature {name!r} of {node_type!r} needs that name")
            for name in node.text_from:
                if name not in self.edges:
                    raise ValueError(f"nodes.{node_type}: text_from names no edge type {name!r}; {_one_of(self.edges)}")

    def _check_edges(self) -> None:
        for edge_type, edge in self.edges.items():
            for end in (edge.source, edge.target):
                if end not in self.nodes:
                    raise ValueError(f"edges.{edge_type}: no node type {end!r}; {_one_of(self.nodes)}")
            if {SOURCE, TARGET} & set(edge.attributes):
                raise ValueError(f"edges.{edge_type}: 'source' and 'target' are the ends, not attributes")
            for name, kind in edge.attributes.items():
                if kind == "vector":
                    raise ValueError(f"edges.{edge_type}: {name!r} is a vector; expected vectors of nodes only")
            if edge.source_column is not None and edge.source_column == edge.target_column:
                raise ValueError(f"edges.{edge_type}: both ends are in the column {edge.source_column!r}")

    def _check_times(self) -> None:
        types: list[tuple[str, NodeType | EdgeType]] = [*self.nodes.items(), *self.edges.items()]
        for name, declared in types:
            for how in ("milliseconds", "time_formats"):
                for column in getattr(declared, how):
                    if declared.columns.get(column) != "time":
                        raise ValueError(f"{name}: {how} names {column!r}; expected an attribute of type 'time'")
            for column, form in declared.time_formats.items():
                if column in declared.milliseconds or "%" not in form:
                    raise ValueError(
                        f"{name}: time_formats: expected how the text of {column!r} is written, such as "
                        f'"%d/%m/%Y %H:%M", got {form!r}'
                    )

    @staticmethod
    def _check_unique(what: str, names: list[str] | list[tuple[str, str, str]]) -> None:
        if len(set(names)) < len(names):
            raise ValueError(f"every {what} must be used once, got {names}")

    def _check_interaction(self) -> None:
        chosen = self.interaction
        if chosen.edge not in self.edges:
            raise ValueError(f"interaction: no edge type {chosen.edge!r}; {_one_of(self.edges)}")
        edge = self.edges[chosen.edge]
        if edge.source == edge.target:
            raise ValueError(f"interaction: {chosen.edge!r} must go from users to items, got {edge.source!r} twice")
        if chosen.weight is not None and edge.attributes.get(chosen.weight) not in ("int", "float"):
            near = find_near_name(
                chosen.weight, [name for name, kind in edge.attributes.items() if kind in ("int", "float")]
            )
            raise ValueError(
                f"interaction: weight {chosen.weight!r} must be an int or float attribute of {chosen.edge!r}"
                + (f"; did you mean {near!r}?" if near else "")
            )
        if chosen.at is not None and edge.attributes.get(chosen.at) != "time":
            raise ValueError(f"interaction: at {chosen.at!r} must be an attribute of {chosen.edge!r} of type 'time'")
        if chosen.positive is not None and chosen.weight is None:
            raise ValueError("interaction: positive needs a weight to compare with")
        if chosen.repeats not in (None, "latest") and chosen.weight is None:
            raise ValueError(f"interaction: repeats = {chosen.repeats!r} needs a weight, which is what it makes")
        for name in chosen.other_feedback:
            if name not in self.edges or name == chosen.edge:
                raise ValueError(f"interaction: other_feedback names {name!r}; {_one_of(self.edges)}")
            if (self.edges[name].source, self.edges[name].target) != (edge.source, edge.target):
                raise ValueError(
                    f"interaction: other_feedback {name!r} must go from {edge.source!r} to {edge.target!r}, as "
                    f"{chosen.edge!r} does"
                )

    @property
    def user_type(self) -> str:
        """The node type that interacts."""
        return self.edges[self.interaction.edge].source

    @property
    def item_type(self) -> str:
        """The node type that is recommended."""
        return self.edges[self.interaction.edge].target

    @cached_property
    def graph_edges(self) -> dict[str, EdgeType]:
        """The edge types that are no feedback of users on items: the knowledge graph."""
        feedback = {self.interaction.edge, *self.interaction.other_feedback}
        return {name: edge for name, edge in self.edges.items() if name not in feedback}

    @property
    def declared(self) -> Self:
        """The schema without derived types: what a graph that kgrec did not load is read by."""
        nodes = {name: node for name, node in self.nodes.items() if not node.derived}
        edges = {name: edge for name, edge in self.edges.items() if not edge.derived}
        if len(nodes) == len(self.nodes):
            return self
        return self._with(nodes=nodes, edges=edges)

    @property
    def stored(self) -> Self:
        """The schema of what a load writes: without derived types, and without how the source looks."""
        nodes = {name: node.model_copy(update=_PLAIN_NODE) for name, node in self.nodes.items() if not node.derived}
        edges = {name: edge.model_copy(update=_PLAIN_EDGE) for name, edge in self.edges.items() if not edge.derived}
        return self._with(nodes=nodes, edges=edges, tables={})

    def _with(self, **changes: Any) -> Self:
        """The schema with other fields; unlike `model_copy` without the cached properties."""
        return type(self).model_validate({**{name: getattr(self, name) for name in type(self).model_fields}, **changes})

    def edge_triple(self, edge_type: str) -> tuple[str, str, str]:
        """The heterograph's name of an edge type: (source type, relation, target type)."""
        edge = self.edges[edge_type]
        return edge.source, edge_type, edge.target

    @cached_property
    def contents(self) -> dict[str, Any]:
        """What a store holds under this schema, as JSON has it.

        How the source looks does not count, nor what needs no new load when it changes: which weight is a like, how
        reasons name a relation, whose names they may show, what is available.
        """
        kept = self.stored.model_dump(mode="json", exclude={"tables": True, "interaction": {"positive"}})
        for one in kept["nodes"].values():
            for name in _OF_NODE_READING:
                one.pop(name)
        for one in kept["edges"].values():
            for name in _OF_EDGE_READING:
                one.pop(name)
        return kept

    @cached_property
    def digest(self) -> str:
        """SHA-256 of `contents`, hexadecimal."""
        return hashlib.sha256(json.dumps(self.contents, sort_keys=True).encode()).hexdigest()

    @classmethod
    def from_toml(cls, path: Path) -> Self:
        """Reads a schema from a TOML file.

        Raises:
            CatalogueError: the file is missing, is not TOML, or does not describe a catalogue.
        """
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise CatalogueError(f"cannot read the schema {path}: {error}; expected a TOML file in UTF-8") from error
        return cls.parse(text, origin=str(path))

    @classmethod
    def parse(cls, text: str, origin: str = "schema") -> Self:
        """Reads a schema from the text of a TOML file; `origin` names it in errors.

        Raises:
            CatalogueError: the text is not TOML or does not describe a catalogue.
        """
        try:
            schema = cls.model_validate(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise CatalogueError(f"{origin} is not TOML: {error}") from error
        except ValidationError as error:
            raise CatalogueError(f"{origin} does not describe a catalogue: {_first_problems(error, cls)}") from error
        types: list[tuple[str, Mapping[str, NodeType | EdgeType]]] = [("nodes", schema.nodes), ("edges", schema.edges)]
        derived = [f"{kind}.{name}" for kind, declared in types for name, one in declared.items() if one.derived]
        if derived:
            raise CatalogueError(
                f"{origin}: {', '.join(derived)}: `derived` marks what kgrec makes of attributes; expected it in no "
                "file: remove it, and write feature = true on the attribute"
            )
        return schema

    @classmethod
    def known(cls, name: str) -> Self:
        """Reads the schema of a known source out of `graph_schema/catalogues`."""
        return cls.from_toml(CATALOGUES_DIR / f"{name}.toml")


def _one_of(names: dict[str, NodeType] | dict[str, EdgeType] | dict[str, Attribute]) -> str:
    return f"expected one of: {', '.join(names)}"


def describe_problem(found: ErrorDetails, model: type[BaseModel]) -> str:
    """Describes one problem of a `ValidationError`; an unknown name comes with the one it may be a typo of.

    Args:
        found: one of `ValidationError.errors()`.
        model: what was validated.
    """
    where = ".".join(map(str, found["loc"]))
    if found["type"] != "extra_forbidden":
        return f"{where or 'schema'}: {found['msg'].removeprefix('Value error, ')}"
    kind: Any = model
    for part in found["loc"][:-1]:
        is_model = isinstance(kind, type) and issubclass(kind, BaseModel)
        kind = kind.model_fields[part].annotation if is_model else get_args(kind)[-1]
    names = list(kind.model_fields)
    near = find_near_name(str(found["loc"][-1]), names)
    advice = f"did you mean {near!r}?" if near else f"expected one of: {', '.join(names)}"
    return f"{where} is unknown: {advice}"


def _first_problems(error: ValidationError, model: type[BaseModel], most: int = 3) -> str:
    problems = [describe_problem(found, model) for found in error.errors()]
    more = f" (and {len(problems) - most} more)" if len(problems) > most else ""
    return "; ".join(problems[:most]) + more
