"""What relations between items, such as "also bought", mean in reasons: a path over one, in words."""

from kgrec.graph.paths import ReasonPath
from kgrec.pitch.wording import PREPOSITIONS

_BOUGHT = ("also bought", "also buy", "bought together", "bought with", "co purchased", "co bought")
_VIEWED = ("also viewed", "also view", "viewed together", "co viewed")
_SIMILAR = ("similar", "similar to", "is similar to", "similar item", "similar items")
_SYMMETRIC = {  # name of an edge type, or phrase -> what either item is to the other
    **dict.fromkeys(_BOUGHT, "often bought together with"),
    **dict.fromkeys(_VIEWED, "viewed by people who viewed"),
    **dict.fromkeys(_SIMILAR, "similar to"),
}
_DIRECTED = {  # likewise -> what an item at its source, and one at its target, is to the other
    "sequel": ("comes before", "sequel of"),
    "has sequel": ("comes before", "sequel of"),
    "sequel of": ("sequel of", "comes before"),
    "prequel": ("comes after", "prequel of"),
    "has prequel": ("comes after", "prequel of"),
    "prequel of": ("prequel of", "comes after"),
}


def find_likeness(relation: str, phrase: str) -> str | None:
    """What either item of a relation is to the other, by the relation's phrase or name; None: it has a direction."""
    names = (phrase.casefold(), relation.replace("_", " ").casefold())
    return next((_SYMMETRIC[name] for name in names if name in _SYMMETRIC), None)


def tell_path(path: ReasonPath, suffix: str = "") -> str:
    """A path in words, about the item that it starts at.

    Args:
        path: the path.
        suffix: what follows the other item's name: ", which you liked".
    """
    first, last = path.steps[0], path.steps[-1]
    other = f"{last.node.name or last.node.id}{suffix}"
    if first.node.node_type != path.start.node_type:
        return f"{path.sentence()}{suffix}"
    alike = find_likeness(first.relation, first.phrase)
    if alike is not None and first.relation == last.relation:
        middle = first.node.name or first.node.id
        return f"{alike} {other}" if len(path.steps) == 1 else f"{alike} {middle}, like {other}"
    if len(path.steps) > 1:
        return f"{path.sentence()}{suffix}"
    names = (first.phrase.casefold(), first.relation.replace("_", " ").casefold())
    directed = next((_DIRECTED[name] for name in names if name in _DIRECTED), None)
    if directed is not None:
        return f"{directed[0 if first.forward else 1]} {other}"
    if first.phrase.rsplit(" ", 1)[-1] in PREPOSITIONS and not first.forward:  # "Heat, which you liked, is based on"
        return f"{other}{',' if suffix else ''} is {first.phrase} this"
    return f"{path.sentence()}{suffix}"
