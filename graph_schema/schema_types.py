"""What a schema is made of: node types, edge types, their attributes, the interaction, the tables of files."""

import re
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

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
MOST_LABEL = 500
_NAME = re.compile(r"[^\W\d][\w .-]*", re.UNICODE)


def is_name(text: str) -> bool:
    """Whether a node type, an edge type or a catalogue may be called so: schema files and files are named by it."""
    return _NAME.fullmatch(text) is not None and text == text.strip()


def is_label(text: str) -> bool:
    """Whether a label, a relationship type, a property or a column may be called so, as "Kunde:in"."""
    return 0 < len(text) <= MOST_LABEL and text.isprintable() and text == text.strip()


def _check_name(name: str) -> str:
    if not is_name(name):
        raise ValueError(
            f"{name!r} is not a name: expected a letter, then letters, digits, '_', '.', '-' or inner spaces"
        )
    return name


def _check_label(label: str) -> str:
    if not is_label(label):
        raise ValueError(
            f"{label!r} is not a label: expected 1 to {MOST_LABEL} printable characters without spaces around them"
        )
    return label


Name = Annotated[str, AfterValidator(_check_name)]
Label = Annotated[str, AfterValidator(_check_label)]


class Frozen(BaseModel):
    """A value of a schema; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Attribute(Frozen):
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


class SourceTable(Frozen):
    """How one table of source files looks; it says what the files themselves do not.

    Attributes:
        file: the names of its files, which may have `*` and `?`; empty: those named after the table.
        columns: the names of its columns where its files have no header.
        delimiter: what is between the columns, as "::"; None: found among , ; tab and |.
        encoding: of its text files; None: UTF-8, or UTF-16 with a byte order mark.
        lists: each line is an id and the ids that it is linked to: "user item item item". It has two `columns`.
    """

    file: tuple[str, ...] = ()
    columns: tuple[Label, ...] = ()
    delimiter: str | None = None
    encoding: str | None = None
    lists: bool = False

    @model_validator(mode="before")
    @classmethod
    def _read_file(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("file"), str):
            return {**values, "file": (values["file"],)}
        return values

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        if len(set(self.columns)) < len(self.columns):
            raise ValueError(f"columns: expected each once, got {', '.join(self.columns)}")
        if self.lists and len(self.columns) != 2:  # noqa: PLR2004 the ids, and what they are linked to
            raise ValueError("lists needs two columns, of the first id of a line and of those behind it")
        return self


class NodeType(Frozen):
    """One kind of node.

    Attributes:
        label: its label in a graph database.
        labels: where its nodes have one of several labels: these, and `label` is the first. For a graph that kgrec did
            not load.
        key: the column that holds the catalogue's own id; ids are strings, kept as they are, but for the spaces
            around them in files.
        name: the column shown to people (a title, a person's name).
        text: the columns that the text encoder reads, in this order. One may be an attribute, too, if its type is
            "string" or "list".
        text_from: for a node with no text of its own: the edge types whose other ends describe it;
            empty means every edge type but the interaction.
        from_edges: the source has no table of these nodes; they are the distinct ends of its edges.
        attributes: the other columns and their types.
        milliseconds: those of type "time" that the source has as epoch milliseconds; they are kept as seconds.
        time_formats: for those of type "time" that are text in another form than ISO 8601: how they are written, as
            `datetime.strptime` takes it, "%d/%m/%Y %H:%M".
        ignore: columns of the source's table that are left out.
        table: the table of the source that has these nodes; None: the one named after the node type.
        public: for users: reasons may show the ids and names of these nodes to other users.
        available: for items: the attributes and values of those that can be had, such as `{ discontinued = false }`;
            the queries that `kgrec publish` prints leave the others out.
        derived: kgrec made it from an attribute; its nodes are the attribute's values. Not for schema files.
    """

    label: Label
    labels: tuple[Label, ...] = ()
    key: Label
    name: Label | None = None
    text: tuple[Label, ...] = ()
    text_from: tuple[str, ...] = ()
    from_edges: bool = False
    attributes: dict[Label, Attribute] = Field(default_factory=dict)
    milliseconds: tuple[str, ...] = ()
    time_formats: dict[str, str] = Field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    table: str | None = None
    public: bool = False
    available: dict[str, bool | int | float | str] = Field(default_factory=dict)
    derived: bool = False

    @model_validator(mode="before")
    @classmethod
    def _read_labels(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("labels") and "label" not in values:
            return {**values, "label": values["labels"][0]}
        return values

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        if self.labels and (self.labels[0] != self.label or len(set(self.labels)) < len(self.labels)):
            raise ValueError(f"labels: expected each once, {self.label!r} first, got {', '.join(self.labels)}")
        return self

    @property
    def all_labels(self) -> tuple[str, ...]:
        """The labels, one of which each node has in a graph that kgrec did not load."""
        return self.labels or (self.label,)

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


class EdgeType(Frozen):
    """One kind of edge, from node type `source` to node type `target`.

    Attributes:
        source: the node type it starts at.
        type: its relationship type in a graph database.
        target: the node type it ends at.
        reverse: in a graph database the relationship points the other way, from a `target` node to a `source` node, as
            in (:Product)-[:BOUGHT_BY]->(:Customer) for an interaction of customers with products. It changes only how
            the database stores the relationship: tables, the heterograph, paths and reasons go from source to target.
        path: where a source and a target are linked over other nodes: the steps from one to the other. In a graph that
            kgrec did not load they are relationship types, one with "<" before it is followed backwards:
            ["PURCHASED", "ORDERS"] of (:Customer)-[:PURCHASED]->(:Order)-[:ORDERS]->(:Product). In files they are
            tables, joined by `join`. Attributes are those of the last step, else of the nodes and steps before it. A
            store that kgrec loads holds one edge from source to target.
        join: for a path through files: of each two tables that follow each other, the column that both have, or
            "column=other" where it has two names.
        phrase: how a reason names what two nodes share by it ("director" gives "same director as ...").
        attributes: the columns that an edge carries and their types.
        milliseconds: those of type "time" that the source has as epoch milliseconds; they are kept as seconds.
        time_formats: as of a node type.
        table: the table of the source that has these edges, which may be that of a node type: a movie's column of
            genres links it to them. None: the one named after the edge type.
        split: the column with the targets has several in one value, between these characters, as "|"; "[]" for lists
            as JSON or Python write them.
        where: only rows with these texts in these columns are edges of this type: { relation_id = "directed_by" }.
        source_column: the column of the source's table with the ids of the nodes it starts at; None: `source`, or the
            key of the source's node type.
        target_column: likewise, of the nodes it ends at.
        ignore: columns of the source's table that are left out.
        derived: kgrec made it from an attribute; it links a node to its value. Not for schema files.
    """

    source: str
    type: Label
    target: str
    reverse: bool = False
    path: tuple[Label, ...] = ()
    join: tuple[str, ...] = ()
    phrase: str | None = None
    attributes: dict[Label, AttributeType] = Field(default_factory=dict)
    milliseconds: tuple[str, ...] = ()
    time_formats: dict[str, str] = Field(default_factory=dict)
    table: str | None = None
    split: str | None = None
    where: dict[str, str] = Field(default_factory=dict)
    source_column: str | None = None
    target_column: str | None = None
    ignore: tuple[str, ...] = ()
    derived: bool = False

    @model_validator(mode="before")
    @classmethod
    def _name_path(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("path") and "type" not in values:
            return {**values, "type": "_".join(str(step).removeprefix("<") for step in values["path"])}
        return values

    @model_validator(mode="after")
    def _check_path(self) -> Self:
        if len(self.path) == 1:
            raise ValueError(f"path: expected two steps or more, got {self.path[0]!r}; write type = {self.path[0]!r}")
        if self.path and (self.reverse or self.split or self.table):
            raise ValueError("path: expected neither reverse, split nor table, since its steps take their place")
        if self.join and len(self.join) != len(self.path) - 1:
            raise ValueError(f"join: expected {max(len(self.path) - 1, 0)} columns, one between two tables of the path")
        if self.split == "":
            raise ValueError('split: expected what is between the targets, such as "|", got an empty text')
        return self

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


Repeats = Literal["latest", "greatest", "sum", "count"]


class Interaction(Frozen):
    """The edge to predict, user -> item.

    Attributes:
        edge: its edge type.
        weight: the edge attribute with its strength (a rating, a count).
        at: the edge attribute with its time, of type "time"; splits go by time when it is there.
        positive: an interaction is a like when its weight is at least this. None: when its weight is above 0, so that
            what was shown and not clicked, or bought and returned, is none; without a weight every interaction is.
        repeats: the weight of several interactions of one user with one item: that of the latest, the greatest, their
            sum, or how often there is one. The latest time stays. With "count" no column needs to hold the weight.
            None: their sum where there is no `positive`, as of quantities, else the latest, as of grades.
        other_feedback: further edge types from users to items, with the weight of one beside an interaction of 1:
            `{ viewed = 0.2, disliked = -1 }`. They are no relations of the knowledge graph.
    """

    edge: str
    weight: str | None = None
    at: str | None = None
    positive: float | None = None
    repeats: Repeats | None = None
    other_feedback: dict[str, float] = Field(default_factory=dict)

    @property
    def repeat_rule(self) -> Repeats:
        """What several interactions of one user with one item weigh; see `repeats`."""
        return self.repeats or ("latest" if self.weight is None or self.positive is not None else "sum")

    def is_like(self, weights: NDArray[np.number[Any]]) -> NDArray[np.bool_]:
        """Which interactions are likes.

        Args:
            weights: (n,) their weights; not read if there is no `weight`.
        """
        if self.weight is None:
            return np.ones(len(weights), np.bool_)
        return weights > 0 if self.positive is None else weights >= self.positive

    def describe_like(self) -> str:
        """The condition of a like in words, such as "rating >= 4"."""
        if self.weight is None:
            return "any interaction"
        return f"{self.weight} > 0" if self.positive is None else f"{self.weight} >= {self.positive:g}"


def _to_arrow(columns: dict[str, AttributeType], required: set[str]) -> pa.Schema:
    return pa.schema(
        [pa.field(name, ARROW_TYPES[kind], nullable=name not in required) for name, kind in columns.items()]
    )
