"""Drafts the attributes of a node type: which the model reads, which describe people, which were computed."""

from collections.abc import Iterable
from dataclasses import dataclass

from graph_schema.catalogue_schema import Attribute, AttributeType
from graph_schema.name_words import (
    is_category_name,
    is_computed_name,
    is_popularity_name,
    is_sensitive_name,
    split_id,
)
from graph_schema.profile import PropertyProfile
from graph_schema.roles import MOST_DISTINCT, find_kind, find_type, is_category, is_list, is_point

COMPUTED = "looks computed from interactions: not a feature"
SENSITIVE = "sensitive: not read by the model unless you add feature = true"
_UNIQUE = 0.95  # distinct values per value of an id
_LEAST_IDS = 50  # fewer distinct integers may be measures
_DENSE = 1.5  # integers from 0 or 1 to less than this many times the number of nodes number the nodes
_LONG_CODE = 10_000_000  # integers from there on are codes, such as an EAN


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
    drafted = {}
    for one in properties:
        kind = find_node_type(one)
        if kind is not None:
            drafted[one.name] = _draft(one, kind, n_nodes, is_user)
    return drafted


def find_node_type(one: PropertyProfile) -> AttributeType | None:
    """The type that a schema gives a property of a node; None where it has none that fits."""
    return "point" if is_point(one) else "list" if is_list(one) else find_type(one)


def _draft(one: PropertyProfile, kind: AttributeType, n_nodes: int, is_user: bool) -> DraftedAttribute:
    if is_user and is_sensitive_name(one.name):
        return DraftedAttribute(Attribute(type=kind, sensitive=True), SENSITIVE)
    n_numbers = sum(value[:1].isdecimal() for value in one.samples)  # of a text such as "120" or "n/a"
    is_number = kind in ("int", "float", "time") or (kind == "string" and n_numbers * 2 > len(one.samples))
    is_counted = is_number and is_computed_name(one.name)
    if is_counted or is_popularity_name(one.name):
        return DraftedAttribute(Attribute(type=kind), COMPUTED)
    if kind == "int" and is_category_name(one.name) and one.distinct <= MOST_DISTINCT:
        return DraftedAttribute(Attribute(type="string", feature=True), "codes of categories")
    if kind == "string":
        is_feature = is_category(one)
    elif kind in ("int", "float"):
        is_feature = not split_id(one.name)[1] and not _is_counter(one, n_nodes)
    else:
        is_feature = True
    return DraftedAttribute(Attribute(type=kind, feature=is_feature))


def _is_counter(one: PropertyProfile, n_nodes: int) -> bool:
    """Whether integers number the nodes, or are codes."""
    if find_kind(one) != "int" or one.distinct < _UNIQUE or n_nodes < _LEAST_IDS or one.low is None or one.high is None:
        return False
    return (one.low in (0, 1) and one.high < _DENSE * n_nodes) or one.low >= _LONG_CODE
