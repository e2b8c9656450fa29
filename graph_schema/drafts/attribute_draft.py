"""Drafts the attributes of a node type: which the model reads, which describe people, which were computed."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from graph_schema.checks.columns import convert_column
from graph_schema.checks.number_texts import is_other_unit
from graph_schema.drafts.name_words import (
    NAMES,
    find_availability,
    is_category_name,
    is_computed_name,
    is_popularity_name,
    is_postcode_name,
    is_sensitive_name,
    is_stock_name,
    split_id,
    split_words,
)
from graph_schema.drafts.profile import PropertyProfile
from graph_schema.drafts.roles import (
    MOST_DISTINCT,
    find_kind,
    find_type,
    has_addresses,
    is_category,
    is_list,
    is_point,
    is_vector,
)
from graph_schema.schema_toml import to_one_line
from graph_schema.schema_types import Attribute, AttributeType

COMPUTED = "looks computed from interactions: not a feature"
SENSITIVE = "sensitive: not read by the model unless you add feature = true"
MIXED = "mostly numbers, the rest has other units or is no number; of type float these values are left out"
AVAILABLE = "whether it can be had, or is active: not a feature"
ADDRESSES = "addresses in the web"
STOCKED = "a quantity in stock or on order: not a feature"
POSTCODE = "where a person lives: not a feature"
CONSTANT = "the same for all that have it"
VECTOR = "the model reads it together with the text"
_UNIQUE = 0.95  # distinct values per value of an id
_LEAST_IDS = 50  # fewer distinct integers may be measures
_DENSE = 1.5  # integers from 0 or 1 to less than this many times the number of nodes number the nodes
_LONG_CODE = 10_000_000  # integers from there on are codes, such as an EAN
_MOSTLY = 0.5  # of the values are numbers


@dataclass(frozen=True)
class DraftedAttribute:
    """An attribute, and a remark on it for people; empty where there is nothing to remark."""

    attribute: Attribute
    remark: str = ""


def draft_attributes(
    properties: Iterable[PropertyProfile], *, n_nodes: int, is_user: bool
) -> dict[str, DraftedAttribute]:
    """Drafts attributes.

    Args:
        properties: those that are neither key nor name nor text.
        n_nodes: the number of nodes that may have them.
        is_user: whether the nodes are users, whose sensitive attributes are not read.

    Returns:
        Property -> its attribute; properties of types that a schema does not have are left out.
    """
    listed = list(properties)
    drafted = {}
    for one in listed:
        kind = find_node_type(one)
        if kind is not None:
            named = _find_named(one.name, [other.name for other in listed])
            by_name = DraftedAttribute(Attribute(type=kind), f"the id of {to_one_line(named)}") if named else None
            drafted[one.name] = by_name or _draft(one, kind, n_nodes, is_user)
    return drafted


def _find_named(id_: str, names: Iterable[str]) -> str | None:
    """The property with the name of what another one has the id of, as brand.name beside brand.id; None: there is none.

    The two say the same, and people read the name.
    """
    words, is_id = split_id(id_)
    return next(
        (one for one in names if words and is_id and split_words(one) in [[*words, name] for name in NAMES]), None
    )


def find_node_type(one: PropertyProfile) -> AttributeType | None:
    """The type that a schema gives a property of a node; None where it has none that fits."""
    tests: dict[AttributeType, Callable[[PropertyProfile], bool]] = {
        "point": is_point,
        "vector": is_vector,
        "list": is_list,
    }
    return next((kind for kind, fits in tests.items() if fits(one)), find_type(one))


def find_available(one: PropertyProfile, kind: AttributeType) -> bool | int | None:
    """The value that the items that can be had have of an attribute, as True of "in_stock"; None: it says none.

    Args:
        one: the attribute.
        kind: its type.
    """
    value = find_availability(one.name)
    if value is None or not (kind == "bool" or (kind == "int" and (one.low, one.high) == (0, 1))):
        return None
    return value if kind == "bool" else int(value)


def _draft(one: PropertyProfile, kind: AttributeType, n_nodes: int, is_user: bool) -> DraftedAttribute:
    if is_user and kind != "vector" and is_sensitive_name(one.name):
        return DraftedAttribute(Attribute(type=kind, sensitive=kind != "point"), SENSITIVE)
    reason = POSTCODE if is_user and is_postcode_name(one.name) else _find_reason_against(one, kind)
    if reason is not None:
        return DraftedAttribute(Attribute(type=kind), reason)
    if kind == "int" and (is_category_name(one.name) or _is_code(one)) and one.distinct <= MOST_DISTINCT:
        return DraftedAttribute(Attribute(type="string", feature=True), "codes of categories")
    if kind == "string":
        is_feature = is_category(one)
    elif kind in ("int", "float"):
        is_feature = not (split_id(one.name)[1] or _is_code(one) or _is_counter(one, n_nodes))
    else:
        is_feature = True
    remark = MIXED if kind == "string" and _is_mixed(one) else ""
    return DraftedAttribute(Attribute(type=kind, feature=is_feature), remark)


def _find_reason_against(one: PropertyProfile, kind: AttributeType) -> str | None:
    """Why an attribute is no feature, whatever its values are, for people; None: it may be one."""
    n_numbers = sum(value[:1].isdecimal() for value in one.samples)  # of a text such as "120" or "n/a"
    is_number = kind in ("int", "float", "time") or (kind == "string" and n_numbers * 2 > len(one.samples))
    is_same = kind == "string" and len(one.samples) == 1 and one.distinct <= MOST_DISTINCT
    reasons = {
        VECTOR: kind == "vector",
        AVAILABLE: find_available(one, kind) is not None,
        COMPUTED: (is_number and is_computed_name(one.name)) or is_popularity_name(one.name),
        STOCKED: is_number and is_stock_name(one.name),
        CONSTANT: is_same,
        ADDRESSES: kind in ("string", "list") and has_addresses(one),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _is_code(one: PropertyProfile) -> bool:
    """Whether integers are codes, such as an EAN."""
    return find_kind(one) == "int" and one.low is not None and one.low >= _LONG_CODE


def _is_counter(one: PropertyProfile, n_nodes: int) -> bool:
    """Whether integers number the nodes."""
    if find_kind(one) != "int" or one.distinct < _UNIQUE or n_nodes < _LEAST_IDS or one.low is None or one.high is None:
        return False
    return one.low in (0, 1) and one.high < _DENSE * n_nodes


def _is_mixed(one: PropertyProfile) -> bool:
    """Whether most texts are numbers, and some are none or have another unit than most."""
    if not one.samples or any(re.match(r"[+-]?0\d", value.strip()) for value in one.samples):
        return False
    numbers, problems = convert_column(pa.array(one.samples), "float")
    fits = np.isfinite(numbers.fill_null(np.nan).to_numpy())
    is_number = fits.copy()
    for bad, problem in problems:
        fits &= ~bad
        is_number = is_number | bad if is_other_unit(problem) else is_number & ~bad
    return bool(is_number.mean() >= _MOSTLY and not fits.all())
