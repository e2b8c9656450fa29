"""What the columns of items and users in DataFrames are: texts, vectors or attributes, read by the model or not."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from graph_schema.base_errors import CatalogueError
from graph_schema.checks.column_texts import decode
from graph_schema.checks.columns import FINER_THAN_SECONDS, convert_column
from graph_schema.drafts.attribute_draft import COMPUTED, MIXED, SENSITIVE, DraftedAttribute, draft_attributes
from graph_schema.drafts.name_words import is_personal
from graph_schema.drafts.profile import Kind, PropertyProfile
from graph_schema.drafts.type_names import to_distinct
from graph_schema.frames.frame_columns import to_schema_name
from graph_schema.frames.frame_rows import Frame
from graph_schema.schema_types import Attribute, AttributeType

_CODE = r"^\S*[\d/:]\S*$"  # one word with a digit, a slash or a colon: an ISBN, a URL
_NO_NUMBER = r"^[+-]?0\d|^\d{16,}$"  # leading zeros, or more digits than a float keeps
_SPACES_OF_A_SENTENCE = 3
_TRIED_FIRST = 200  # texts to try before a whole column
_MOST_UNFIT = 0.05  # of the texts in a column of numbers or times
_MOST_SAMPLES = 100
_KINDS: tuple[tuple[Callable[[pa.DataType], bool], Kind], ...] = (
    (pa.types.is_string, "string"),
    (pa.types.is_large_string, "string"),
    (pa.types.is_string_view, "string"),
    (pa.types.is_boolean, "bool"),
    (pa.types.is_timestamp, "time"),
    (pa.types.is_date, "time"),
    (pa.types.is_uint64, "float"),  # it may be larger than a schema's int
    (pa.types.is_integer, "int"),
    (pa.types.is_floating, "float"),
    (pa.types.is_decimal, "float"),
)
_WHY_NOT = {
    COMPUTED: "looks computed from interactions",
    SENSITIVE: "sensitive",
    MIXED: "numbers among other texts, or of several units",
}


@dataclass
class NodeColumns:
    """The columns of items or users, by what they are.

    Attributes:
        columns: name in the schema -> values; the key first.
        name: the column shown to people.
        texts: the columns that the text encoder reads.
        attributes: the other columns.
        unread: column of the DataFrame that the model does not read -> why.
    """

    columns: dict[str, pa.Array]
    name: str | None = None
    texts: list[str] = field(default_factory=list)
    attributes: dict[str, Attribute] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)


def sort_columns(frame: Frame, node_type: str, key: str, name: str | None, features: Collection[str]) -> NodeColumns:
    """Sorts the columns of items or users; attributes are judged as in a draft of a schema.

    Args:
        frame: the rows, with checked ids.
        node_type: "item" or "user", which is also the schema's name of the key.
        key: the column of ids.
        name: the column shown to people; of items it is a text, too.
        features: columns that are read in any case.

    Raises:
        CatalogueError: a column of `features` has values that no attribute can have.
    """
    is_user = node_type == "user"
    found = NodeColumns({node_type: frame.columns[key]})
    for column in frame.columns:
        if column == key:
            continue
        declared = to_distinct(to_schema_name(column), found.columns)
        kind, values = _read(frame.columns[column])
        if column == name:
            found.columns[declared] = _join(values) if kind == "list" else frame.columns[column]
            found.name = declared
            found.texts[:0] = [] if is_user else [declared]
            continue
        is_asked = column in features
        drafted = draft_attributes([_profile(column, kind, values)], n_nodes=len(values), is_user=is_user).get(column)
        if kind == "vector" and not is_asked:
            found.columns[declared], found.attributes[declared] = values, Attribute(type="vector")
            continue
        if kind in ("vector", "other") or drafted is None:
            described = "no values" if values.null_count == len(values) else f"values of type {values.type}"
            if is_asked:
                raise CatalogueError(
                    f"features names {column!r}, a column of {frame.name} with {described}; "
                    "expected a column of numbers, booleans, times, texts or lists of texts"
                )
            found.unread[column] = described
            continue
        values = _join(values) if kind == "list" and drafted.attribute.type == "string" else values
        is_plain = drafted == DraftedAttribute(Attribute(type="string"))
        if is_plain and (not is_asked or _is_prose(values)):
            why = "" if is_asked else _find_no_text(column, values, is_user=is_user)
            if not why:
                found.columns[declared] = values
                found.texts.append(declared)
        else:
            why = "" if is_asked else _find_no_feature(column, drafted)
            if drafted.attribute.type == "time" and kind in ("int", "float"):
                values = to_epoch_seconds(convert_column(values, kind)[0])
            found.columns[declared] = values
            found.attributes[declared] = drafted.attribute.model_copy(update={"feature": not why})
        if why:
            found.unread[column] = why
    return found


def to_epoch_seconds(column: pa.Array) -> pa.Array:
    """Numbers since 1970 as seconds, by how large they are; other columns are left to the conversion."""
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return column
    values = pc.if_else(pc.is_finite(column), column, pa.scalar(None, column.type))
    middle = pc.approximate_median(values).as_py()
    per_second = next((factor for least, factor in FINER_THAN_SECONDS if middle is not None and middle >= least), 1)
    if per_second == 1:
        return values
    return pc.divide(values.cast(pa.int64(), safe=False), per_second)


def _read(column: pa.Array) -> tuple[Kind, pa.Array]:
    """The kind of a column, by its values, and the values without dictionaries."""
    values = decode(column)
    kind = "other" if values.null_count == len(values) else _find_kind(values.type)
    if kind == "string":
        return _read_texts(values)
    if kind == "list":
        return kind, values.cast(pa.list_(pa.string()))
    if kind == "float":
        values = values.cast(pa.float64(), safe=False)
        whole, problems = convert_column(values, "int")
        # pandas has integers with a gap as floats
        return ("float", values) if any(bad.any() for bad, _ in problems) else ("int", whole)
    return kind, values


def _find_kind(kind: pa.DataType) -> Kind:
    found = next((known for fits, known in _KINDS if fits(kind)), None)
    if found is None and (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        entries = _find_kind(kind.value_type)
        return "list" if entries == "string" else "vector" if entries in ("int", "float") else "other"
    return found or "other"


def _read_texts(values: pa.Array) -> tuple[Kind, pa.Array]:
    values = pc.if_else(pc.equal(pc.utf8_trim_whitespace(values), ""), pa.scalar(None, pa.string()), values)
    present = values.drop_null()
    if not len(present):
        return "other", values
    if pc.any(pc.match_substring_regex(present, _NO_NUMBER)).as_py():
        return "string", values
    if _fits(present, "int"):
        return "int", values
    if _fits(present, "float"):
        return "float", values
    return ("time" if _fits(present, "time") else "bool" if _fits(present, "bool") else "string"), values


def _fits(texts: pa.Array, kind: AttributeType) -> bool:
    """Whether all texts but a few can be read as this type; some are tried before all."""
    for tried in (texts.slice(0, _TRIED_FIRST), texts):
        bad = np.zeros(len(tried), np.bool_)
        for unfit, _ in convert_column(tried, kind)[1]:
            bad |= unfit
        if bad.mean() > _MOST_UNFIT:
            return False
    return True


def _profile(name: str, kind: Kind, values: pa.Array) -> PropertyProfile:
    """The column as a draft of a schema sees it."""
    present = values.drop_null()
    low = high = None
    if kind in ("int", "float"):
        numbers = convert_column(present, kind)[0].drop_null()
        limits = pc.min_max(numbers.filter(pc.is_finite(numbers))).as_py()
        low, high = limits["min"], limits["max"]
    is_text = pa.types.is_string(values.type)
    texts = present if is_text else _join(present.slice(0, _MOST_SAMPLES), " | ") if kind == "list" else None
    is_hashed = kind not in ("list", "vector", "other")
    return PropertyProfile(
        name=name,
        kinds={kind: len(present)} if len(present) else {},
        coverage=len(present) / max(len(values), 1),
        distinct=pc.count_distinct(present).as_py() / max(len(present), 1) if is_hashed else 1,
        mean_length=float(pc.mean(pc.utf8_length(present)).as_py() or 0) if is_text else 0,
        low=low,
        high=high,
        samples=() if texts is None else tuple(texts.drop_null().unique().slice(0, _MOST_SAMPLES).to_pylist()),
    )


def _find_no_text(name: str, text: pa.Array, *, is_user: bool) -> str:
    """Why the text encoder does not read a column; empty: it does."""
    if is_personal(name):
        return "personal"
    if pc.all(pc.match_substring_regex(text.drop_null(), _CODE)).as_py():
        return "codes"
    return "neither sentences nor values that repeat" if is_user and not _is_prose(text) else ""


def _find_no_feature(name: str, drafted: DraftedAttribute) -> str:
    """Why an attribute is not read; empty: it is."""
    if is_personal(name):
        return "personal"
    return "" if drafted.attribute.feature else _WHY_NOT.get(drafted.remark, "an id")


def _is_prose(text: pa.Array) -> bool:
    return float(pc.mean(pc.count_substring(text, " ")).as_py() or 0) >= _SPACES_OF_A_SENTENCE


def _join(lists: pa.Array, separator: str = ", ") -> pa.Array:
    joined = [separator.join(part for part in parts if part) if parts else None for parts in lists.to_pylist()]
    return pa.array(joined, pa.string())
