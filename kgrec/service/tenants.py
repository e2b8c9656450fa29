"""The items of a tenant: those linked to one node, or with one value of an attribute."""

from collections.abc import Iterable
from http import HTTPStatus

import numpy as np
from numpy.typing import NDArray

from graph_schema import CatalogueSchema
from graph_schema.near_names import find_near_name
from kgrec.bundle import Bundle
from kgrec.errors import RequestError
from kgrec.graph.value_codes import MISSING
from kgrec.messages import ItemPart
from kgrec.service.caller import Tenant
from kgrec.service.problems import Problem


def read_tenant(text: str) -> Tenant:
    """Reads a tenant from a text such as "shop=s-7".

    Raises:
        RequestError: it has another form.
    """
    kind, equals, node = text.partition("=")
    if not (kind and equals and node):
        raise RequestError(f"expected a tenant as KIND=ID, such as shop=s-7, got {text!r}")
    return Tenant(kind, node)


def allowed_items(bundle: Bundle, tenant: Tenant) -> NDArray[np.bool_]:
    """Which items exist for a tenant, (n_items,); none for a kind or a node that the catalogue does not have."""
    allowed = np.zeros(len(bundle.items), np.bool_)
    for name in _find_edge_types(bundle.schema, tenant.kind) + _find_values(bundle, tenant):
        edge, item_type = bundle.schema.edges[name], bundle.schema.item_type
        is_source = edge.source == item_type
        row = bundle.ids[edge.target if is_source else edge.source].row(tenant.node)
        if row is not None:
            items, nodes = bundle.edges[name] if is_source else bundle.edges[name][::-1]
            allowed[items[nodes == row]] = True
    return allowed


def check_tenant(bundle: Bundle, tenant: Tenant) -> int:
    """Checks that a tenant's kind is one of the catalogue; returns the number of the tenant's items.

    Raises:
        Problem: 422, items have no links of this kind.
    """
    if not _find_edge_types(bundle.schema, tenant.kind) and not _is_category(bundle, tenant.kind):
        kinds = list(_list_kinds(bundle))
        near = find_near_name(tenant.kind, kinds)
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "There is no such kind of tenant",
            got=tenant.kind,
            expected=f"one of {kinds}" if kinds else "nothing: items have no links and no categories",
            to_do="name an edge type or a node type of items, or an attribute with categories"
            if near is None
            else f"did you mean {near!r}?",
        )
    return int(allowed_items(bundle, tenant).sum())


def check_new_item(tenant: Tenant, schema: CatalogueSchema, item: ItemPart) -> bool:
    """Whether an item to add, or to change into, has the tenant's link or value."""
    edge_types = _find_edge_types(schema, tenant.kind)
    if edge_types:
        return any(name in edge_types and far_id == tenant.node for name, far_id in item.links)
    if tenant.kind not in schema.nodes[schema.item_type].features:
        return False
    given = (item.attributes or {}).get(tenant.kind)
    values = given if isinstance(given, list) else [given]
    return tenant.node in [value.strip() for value in values if isinstance(value, str)]


def _find_edge_types(schema: CatalogueSchema, kind: str) -> list[str]:
    """The edge types of a kind; as for limits, a node type comes before an edge type of the same name."""
    far_types = _find_far_types(schema)
    return [name for name, far_type in far_types.items() if far_type == kind] or [kind] * (kind in far_types)


def _find_far_types(schema: CatalogueSchema) -> dict[str, str]:
    """Edge type of items -> the node type at the other end, neither items nor users."""
    far_types = {
        name: edge.target if edge.source == schema.item_type else edge.source
        for name, edge in schema.graph_edges.items()
        if schema.item_type in (edge.source, edge.target) and not edge.derived
    }
    return {name: far for name, far in far_types.items() if far not in (schema.item_type, schema.user_type)}


def _find_values(bundle: Bundle, tenant: Tenant) -> list[str]:
    """The edge type to the values of an attribute, where the kind is one and no link."""
    if _find_edge_types(bundle.schema, tenant.kind) or tenant.node == MISSING or not _is_category(bundle, tenant.kind):
        return []
    return [f"{bundle.schema.item_type}.{tenant.kind}"]


def _is_category(bundle: Bundle, attribute: str) -> bool:
    codes = bundle.values.codes.get(f"{bundle.schema.item_type}.{attribute}")
    return codes is not None and codes.kind == "category"


def _list_kinds(bundle: Bundle) -> Iterable[str]:
    far_types = _find_far_types(bundle.schema)
    attributes = [name for name in bundle.schema.nodes[bundle.schema.item_type].features if _is_category(bundle, name)]
    return dict.fromkeys([*far_types.values(), *far_types, *attributes])
