"""In what two schemas of one store differ, in words."""

from collections.abc import Iterator, Mapping
from typing import Any

from graph_schema.catalogue_schema import CatalogueSchema

_MOST = 3
_MOST_LENGTH = 60


def describe_differences(given: CatalogueSchema, held: CatalogueSchema) -> str:
    """Describes the first differences of what a store holds, as "edges.rated has at = time, the store has none".

    Args:
        given: the schema that was expected of a store.
        held: the store's own.
    """
    found = list(_iter_differences("", given.contents, held.contents))
    more = f"; and {len(found) - _MOST} more" if len(found) > _MOST else ""
    return "; ".join(found[:_MOST]) + more


def _iter_differences(where: str, given: Mapping[str, Any], held: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys([*given, *held]):
        one, other = given.get(name), held.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from _iter_differences(f"{where}.{name}" if where else name, one, other)
        elif one != other:
            mine = f"no {name}" if _is_nothing(one) else f"{name}{_show(one)}"
            yield f"{where or 'the schema'} has {mine}, the store has {_show(other).removeprefix(' = ') or name}"


def _is_nothing(value: object) -> bool:
    return value is None or value in ("", [], {}, False)


def _show(value: object) -> str:
    """A value after its name; of a whole type the name is enough."""
    if _is_nothing(value):
        return " = none"
    if isinstance(value, Mapping):
        return ""
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return f" = {text[:_MOST_LENGTH]}{'...' if len(text) > _MOST_LENGTH else ''}"
