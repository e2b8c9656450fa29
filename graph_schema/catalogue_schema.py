"""What a catalogue graph is: node types, edge types and the interaction, as written in a TOML file."""

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import pyarrow as pa
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import ErrorDetails

from graph_schema.base_errors import CatalogueError

AttributeType = Literal["string", "int", "float", "bool", "time", "list", "point", "vector"]

ARROW_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "time": pa.int64(),  # UTC seconds
    "list": pa.list_(pa.string()),  # of categories
    "point": pa.list_(pa.float64()),  # latitude and longitude, or x and y
    "vector": pa.list_(pa.float32()),  # of a picture, a sound, anything: all of one column are of one width
}
SOURCE, TARGET = "source", "target"  # the two id columns of every edge table
_END_COLUMNS = ("source_column", "target_column")
_A_TEXT = 'expected columns of type "string" or "list"'
CATALOGUES_DIR = Path(__file__).parent / "catalogues"
_NAME = re.compile(r"[^\W\d][\w .-]*", re.UNICODE)


def is_name(text: str) -> bool:
    """Whether a label, type or column may be called so."""
    return _NAME.fullmatch(text) is not None and text == text.strip()


def _check_name(name: str) -> str:
    if not is_name(name):
        raise ValueError(
            f"{name!r} is not a name: expected a letter, then letters, digits, '_', '.', '-' or inner spaces"
        )
    return name


Name = Annotated[str, AfterValidator(_check_name)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Attribute(_Frozen):
    """A column of a node type, besides its key, its name and its texts.

    In TOML it is a type, `year = "int"`, or a table, `year = { type = "int", feature = true }`.

    Attributes:
        type: the type of its values.
        feature: the model reads it: nodes with near or equal values are alike. Vectors are read in any case.
        sensitive: it describes people in a way that must not steer what they are recommended, such as gender. Reports
            compare quality between its groups. It is a feature only where `feature` says so too.
    """

    type: AttributeType
    feature: bool = False
    sensitive: bool = False

    @model_validator(mode="before")
    @classmethod
    def _read_type(cls, value: Any) -> Any:
        return {"type": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_feature(self) -> Self:
        if self.type == "vector" and (self.feature or self.sensitive):
            raise ValueError("a vector is always read; expected neither feature nor sensitive")
        if self.type == "point" and self.sensitive:
            raise ValueError("a point is sensitive, but points have no groups to compare; expected another type")
        return self

    @model_serializer(mode="wrap")
    def _write(self, write: SerializerFunctionWrapHandler) -> Any:
        found = {name: value for name, value in write(self).items() if value}
        return self.type if len(found) == 1 else found


class NodeType(_Frozen):
    """One kind of node.

    Attributes:
        label: its label in a graph database.
        key: the column that holds the catalogue's own id; ids are strings, kept as they are.
        name: the column shown to people (a title, a person's name).
        text: the columns that the text encoder reads, in this order. One may be an attribute, too, if its type is
            "string" or "list".
        text_from: for a node with no text of its own: the edge types whose other ends describe it;
            empty means every edge type but the interaction.
        from_edges: the source has no table of these nodes; they are the distinct ends of its edges.
        attributes: the other columns and their types.
        milliseconds: those of type "time" that the source has as epoch milliseconds; they are kept as seconds.
        ignore: columns of the source's table that are left out.
        public: for users: reasons may show the ids and names of these nodes to other users.
        derived: kgrec made it from an attribute; its nodes are the attribute's values. Not for schema files.
    """

    label: Name
    key: Name
    name: Name | None = None
    text: tuple[Name, ...] = ()
    text_from: tuple[str, ...] = ()
    from_edges: bool = False
    attributes: dict[Name, Attribute] = Field(default_factory=dict)
    milliseconds: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    public: bool = False
    derived: bool = False

    @cached_property
    def columns(self) -> dict[str, AttributeType]:
        """Every column with its type, the key first."""
        strings: dict[str, AttributeType] = dict.fromkeys(
            [self.key, *([self.name] if self.name else []), *self.text], "string"
        )
        return {**strings, **{name: attribute.type for name, attribute in self.attributes.items()}}

    @cached_property
    def vectors(self) -> tuple[str, ...]:
        """The attributes that are precomputed vectors, which the model reads together with the text."""
        return tuple(name for name, attribute in self.attributes.items() if attribute.type == "vector")

    @cached_property
    def features(self) -> tuple[str, ...]:
        """The attributes that the model reads, without vectors."""
        return tuple(name for name, attribute in self.attributes.items() if attribute.feature)

    @cached_property
    def sensitive(self) -> tuple[str, ...]:
        """The attributes whose groups reports compare."""
        return tuple(name for name, attribute in self.attributes.items() if attribute.sensitive)

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """The columns as an Arrow schema; the key is not nullable."""
        return _to_arrow(self.columns, required={self.key})


class EdgeType(_Frozen):
    """One kind of edge, from node type `source` to node type `target`.

    Attributes:
        source: the node type it starts at.
        type: its relationship type in a graph database.
        target: the node type it ends at.
        reverse: in a graph database the relationship points the other way, from a `target` node to a `source` node, as
            in (:Product)-[:BOUGHT_BY]->(:Customer) for an interaction of customers with products. It changes only how
            the database stores the relationship: tables, the heterograph, paths and reasons go from source to target.
        phrase: how a reason names what two nodes share by it ("director" gives "same director as ...").
        attributes: the columns that an edge carries and their types.
        milliseconds: those of type "time" that the source has as epoch milliseconds; they are kept as seconds.
        source_column: the column of the source's table with the ids of the nodes it starts at; None: `source`, or the
            key of the source's node type.
        target_column: likewise, of the nodes it ends at.
        ignore: columns of the source's table that are left out.
        derived: kgrec made it from an attribute; it links a node to its value. Not for schema files.
    """

    source: str
    type: Name
    target: str
    reverse: bool = False
    phrase: str | None = None
    attributes: dict[Name, AttributeType] = Field(default_factory=dict)
    milliseconds: tuple[str, ...] = ()
    source_column: str | None = None
    target_column: str | None = None
    ignore: tuple[str, ...] = ()
    derived: bool = False

    @property
    def ends(self) -> tuple[str, str]:
        """The node types that the relationship starts and ends at in a graph database."""
        return (self.target, self.source) if self.reverse else (self.source, self.target)

    @cached_property
    def columns(self) -> dict[str, AttributeType]:
        """Every column with its type: `source`, `target`, then the attributes."""
        return {SOURCE: "string", TARGET: "string", **self.attributes}

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """The columns as an Arrow schema; both ends are not nullable."""
        return _to_arrow(self.columns, required={SOURCE, TARGET})


class Interaction(_Frozen):
    """The edge to predict, user -> item.

    Attributes:
        edge: its edge type.
        weight: the edge attribute with its strength (a rating, a count).
        at: the edge attribute with its time, of type "time"; splits go by time when it is there.
        positive: an interaction is a like when its weight is at least this; None: every interaction is.
    """

    edge: str
    weight: str | None = None
    at: str | None = None
    positive: float | None = None


class CatalogueSchema(_Frozen):
    """A catalogue: its node types, its edge types and which edge is the interaction."""

    name: Name
    nodes: dict[Name, NodeType]
    edges: dict[Name, EdgeType]
    interaction: Interaction

    @model_validator(mode="after")
    def _check_references(self) -> Self:
        self._check_nodes()
        self._check_edges()
        self._check_milliseconds()
        self._check_unique("label", [node.label for node in self.nodes.values()])
        self._check_unique("edge (type, source, target)", [(e.type, *e.ends) for e in self.edges.values()])
        self._check_interaction()
        return self

    def _check_nodes(self) -> None:
        for node_type, node in self.nodes.items():
            if node.key in node.attributes or node.key in node.text:
                raise ValueError(f"nodes.{node_type}: the key {node.key!r} may not be an attribute or a text too")
            for name in node.text:
                if node.columns[name] not in ("string", "list"):
                    raise ValueError(f"nodes.{node_type}: text names {name!r}, a {node.columns[name]}; {_A_TEXT}")
            if node.name is not None and node.columns[node.name] != "string":
                raise ValueError(f"nodes.{node_type}: the name {node.name!r} is a {node.columns[node.name]}, no string")
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

    def _check_milliseconds(self) -> None:
        types: list[tuple[str, NodeType | EdgeType]] = [*self.nodes.items(), *self.edges.items()]
        for name, declared in types:
            for column in declared.milliseconds:
                if declared.columns.get(column) != "time":
                    raise ValueError(f"{name}: milliseconds names {column!r}; expected an attribute of type 'time'")

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
            raise ValueError(
                f"interaction: weight {chosen.weight!r} must be an int or float attribute of {chosen.edge!r}"
            )
        if chosen.at is not None and edge.attributes.get(chosen.at) != "time":
            raise ValueError(f"interaction: at {chosen.at!r} must be an attribute of {chosen.edge!r} of type 'time'")
        if chosen.positive is not None and chosen.weight is None:
            raise ValueError("interaction: positive needs a weight to compare with")

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
        """The edge types other than the interaction: the knowledge graph."""
        return {name: edge for name, edge in self.edges.items() if name != self.interaction.edge}

    @property
    def declared(self) -> Self:
        """The schema without derived types: what a store holds."""
        nodes = {name: node for name, node in self.nodes.items() if not node.derived}
        edges = {name: edge for name, edge in self.edges.items() if not edge.derived}
        if len(nodes) == len(self.nodes):
            return self
        return type(self)(name=self.name, nodes=nodes, edges=edges, interaction=self.interaction)

    def edge_triple(self, edge_type: str) -> tuple[str, str, str]:
        """The heterograph's name of an edge type: (source type, relation, target type)."""
        edge = self.edges[edge_type]
        return edge.source, edge_type, edge.target

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the schema's canonical JSON, hexadecimal; how a source's tables look does not count."""
        left_out = {kind: {"__all__": {"ignore", "milliseconds", *_END_COLUMNS}} for kind in ("nodes", "edges")}
        kept = self.model_dump(mode="json", exclude=left_out)
        for kind in ("nodes", "edges"):
            kept[kind] = {name: one for name, one in kept[kind].items() if not one["derived"]}
            for one in kept[kind].values():
                for later in ("reverse", "public", "derived"):  # so that digests from before there were these stay
                    if not one.get(later):
                        one.pop(later, None)
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()

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


def _to_arrow(columns: dict[str, AttributeType], required: set[str]) -> pa.Schema:
    return pa.schema(
        [pa.field(name, ARROW_TYPES[kind], nullable=name not in required) for name, kind in columns.items()]
    )


def _one_of(names: dict[str, NodeType] | dict[str, EdgeType]) -> str:
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
    near = get_close_matches(str(found["loc"][-1]), names, n=1)
    advice = f"did you mean {near[0]!r}?" if near else f"expected one of: {', '.join(names)}"
    return f"{where} is unknown: {advice}"


def _first_problems(error: ValidationError, model: type[BaseModel], most: int = 3) -> str:
    problems = [describe_problem(found, model) for found in error.errors()]
    more = f" (and {len(problems) - most} more)" if len(problems) > most else ""
    return "; ".join(problems[:most]) + more
