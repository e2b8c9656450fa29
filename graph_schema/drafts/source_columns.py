"""How a drafted schema says what is special about the columns that types are read from."""

from collections.abc import Collection, Iterable, Mapping

from graph_schema.drafts.profile import PropertyProfile
from graph_schema.drafts.roles import find_unit
from graph_schema.schema_toml import to_one_line

_WHOLE = 0.9995  # a coverage that is shown as 100%


def find_milliseconds(
    attributes: Iterable[str], properties: Mapping[str, PropertyProfile], *, is_tables: bool
) -> tuple[str, ...]:
    """The attributes that are epoch milliseconds; a graph's times are read in any unit."""
    return tuple(name for name in attributes if is_tables and find_unit(properties[name]) == "milliseconds")


def find_time_formats(attributes: Mapping[str, str], properties: Mapping[str, PropertyProfile]) -> dict[str, str]:
    """Attribute -> how its times are written, for those that are not ISO 8601.

    Args:
        attributes: their types, by name.
        properties: their profiles.
    """
    return {
        name: properties[name].time_format
        for name, kind in attributes.items()
        if kind == "time" and properties[name].time_format
    }


def find_ignored(columns: Iterable[str], declared: Collection[str | None], *, is_tables: bool) -> tuple[str, ...]:
    """The columns of a table that are not declared; a graph may have any other properties."""
    return tuple(dict.fromkeys(name for name in columns if name not in declared)) if is_tables else ()


def describe_values(one: PropertyProfile, remark: str = "") -> str:
    """A comment on an attribute: how many have it, its values, and a remark."""
    coverage = "" if one.coverage > _WHOLE else f"{one.coverage:.0%} have it"
    unit = find_unit(one)
    if unit in ("seconds", "milliseconds"):
        values = f"epoch {unit}"
    elif one.low is not None and one.high is not None:
        values = f"{one.low:g} to {one.high:g}"
    elif one.samples:
        values = "such as " + ", ".join(to_one_line(value, 20) for value in one.samples[:3])
    else:
        values = ""
    return "; ".join(part for part in (coverage, values, remark) if part)
