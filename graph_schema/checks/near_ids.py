"""Ids that are written in another way than those of the nodes, such as "12.0" for "12"."""

import re
from collections.abc import Iterable

_WHOLE = re.compile(r"[+-]?\d+(\.0*)?")


class NearIds:
    """The ids of some nodes, to be found by ids that are written in another way.

    Args:
        ids: the ids of the nodes.
    """

    def __init__(self, ids: Iterable[str]) -> None:
        self._known: dict[str, str] = {}
        for id_ in ids:
            self._known.setdefault(_to_plain(id_), id_)

    def find(self, id_: str) -> str | None:
        """The node's id that differs only by spaces around it, case, leading zeros or ".0"; None: there is none."""
        return self._known.get(_to_plain(id_))


def describe_difference(id_: str, other: str) -> str:
    """How two ids that `NearIds` takes for one differ: "spaces around it", "leading zeros"."""
    one, two = id_.strip(), other.strip()
    found = ["spaces around it"] if (one, two) != (id_, other) else []
    if one != two and one.casefold() == two.casefold():
        found.append("upper and lower case")
    elif one != two:
        found.append('a point, as in "12.0"' if "." in one + two else "leading zeros")
    return " and ".join(found)


def _to_plain(id_: str) -> str:
    text = id_.strip()
    if _WHOLE.fullmatch(text):
        sign = "-" if text.startswith("-") else ""
        return sign + (text.lstrip("+-").partition(".")[0].lstrip("0") or "0")
    return text.casefold()
