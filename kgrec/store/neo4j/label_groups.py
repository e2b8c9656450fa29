"""Chooses which labels are node types, such that no node is of two of them and nearly every node is of one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from graph_schema.drafts.profile import Guess

LabelSet = frozenset[str]  # the labels of a node
Group = tuple[str, ...]  # the labels of one node type, of which each of its nodes has at least one
LabelCounts = Mapping[LabelSet, int]  # the labels of nodes -> how many nodes have exactly these
_MOST_LEFT_OUT = 0.05  # of a label's nodes, where more specific labels take its place
_MOST_LABELS = 4  # of one end of a relationship


@dataclass(frozen=True)
class LabelChoice:
    """The labels that are node types.

    Attributes:
        groups: the labels of each, the one with the most nodes first; no node has labels of two groups.
        guesses: what to report about the labels that are not used, and about groups of several.
    """

    groups: tuple[Group, ...]
    guesses: tuple[Guess, ...]

    def find(self, labels: LabelSet) -> Group | None:
        """The group of a node with some labels; None: it is left out."""
        return next((group for group in self.groups if labels.intersection(group)), None)


def choose_groups(label_sets: LabelCounts, kept: Sequence[Group] = ()) -> LabelChoice:
    """Chooses labels such that no node is in two groups.

    A label over others that share no nodes is dropped where these cover nearly all its nodes (:Movie and :Person cover
    :Entity). Labels that do share nodes (:Actor and :Director) are one group: of the label that all of its nodes have
    (:Person), else of as few labels as name all of its nodes.

    Args:
        label_sets: the labels of each node -> how many nodes have exactly these.
        kept: groups that stay in any case, such as the ends of the interaction; labels that share nodes with them are
            dropped, however much that leaves out.
    """
    taken = {label for group in kept for label in group}
    beside = {label for labels in label_sets if labels & taken for label in labels} - taken
    rest: dict[LabelSet, int] = {}
    for labels, n in label_sets.items():
        if not labels & taken and labels - beside:
            rest[labels - beside] = rest.get(labels - beside, 0) + n
    groups = tuple(sorted([*kept, *_resolve(rest)]))
    return LabelChoice(groups, tuple(_report(label_sets, groups)))


def find_covering_group(label_sets: LabelCounts, counts: Mapping[str, int]) -> Group | None:
    """The most specific label that nearly all of these nodes have, or else the few labels that name all of them.

    Args:
        label_sets: the labels of the nodes at one end of a relationship type -> how many.
        counts: label -> how many nodes of the graph have it.
    """
    total = sum(label_sets.values())
    having = {label: sum(n for labels, n in label_sets.items() if label in labels) for label in counts}
    fitting = [label for label, n in having.items() if n >= total * (1 - _MOST_LEFT_OUT) and n]
    if fitting:
        return (min(fitting, key=lambda label: (counts[label], label)),)
    cover = _cover(label_sets)
    return cover if 0 < len(cover) <= _MOST_LABELS else None


def count_labels(label_sets: LabelCounts) -> dict[str, int]:
    """Label -> how many nodes have it."""
    counts: dict[str, int] = {}
    for labels, n in label_sets.items():
        for label in labels:
            counts[label] = counts.get(label, 0) + n
    return counts


def _resolve(label_sets: LabelCounts) -> list[Group]:
    """The groups of some nodes, each of which has a label."""
    return [group for part in _split(label_sets) for group in _resolve_part(part)]


def _resolve_part(label_sets: LabelCounts) -> list[Group]:
    """The groups of nodes whose labels hang together."""
    counts = count_labels(label_sets)
    for wide in sorted(counts, key=lambda label: (-counts[label], label)):
        inner: dict[LabelSet, int] = {}
        for labels, n in label_sets.items():
            inner[labels - {wide}] = inner.get(labels - {wide}, 0) + n
        n_bare = inner.pop(frozenset(), 0)
        if n_bare <= _MOST_LEFT_OUT * counts[wide] and len(_split(inner)) > 1:
            return _resolve(inner)
    return [_cover(label_sets)]


def _split(label_sets: LabelCounts) -> list[dict[LabelSet, int]]:
    """Nodes in parts, such that no two nodes of different parts have a label in common."""
    parts: list[tuple[set[str], dict[LabelSet, int]]] = []
    for labels, n in sorted(label_sets.items(), key=lambda found: sorted(found[0])):
        touched = [part for part in parts if part[0] & labels]
        parts = [part for part in parts if not part[0] & labels]
        names, found = set(labels), {labels: n}
        for other_names, other in touched:
            names |= other_names
            found |= other
        parts.append((names, found))
    return [found for _, found in parts]


def _cover(label_sets: LabelCounts) -> Group:
    """As few labels as name all of these nodes, the one that most of them have first."""
    left, cover = dict(label_sets), []
    while left:
        counts = count_labels(left)
        # of labels on the same nodes the last one, by the alphabet, so that the choice does not change
        best = max(counts, key=lambda label: (counts[label], label))
        cover.append(best)
        left = {labels: n for labels, n in left.items() if best not in labels}
    return tuple(cover)


def _report(label_sets: LabelCounts, groups: Sequence[Group]) -> Iterable[Guess]:
    counts, used = count_labels(label_sets), {label for group in groups for label in group}
    within: dict[Group, list[str]] = {}
    for label in sorted(set(counts) - used, key=lambda label: (-counts[label], label)):
        own = {labels: n for labels, n in label_sets.items() if label in labels}
        covering = [group for group in groups if any(labels & set(group) for labels in own)]
        n_lost = sum(n for labels, n in own.items() if not labels & used)
        if len(covering) == 1 and not n_lost:
            within.setdefault(covering[0], []).append(label)
            continue
        lost = f"; {n_lost:,} nodes have only :{label} and are left out" if n_lost else ""
        covered = f"its nodes are covered by {_name_labels(one for group in covering for one in group)}"
        why = f"{covered}{lost}" if covering else f"its {n_lost:,} nodes have other labels, and are left out"
        yield Guess(f"label {label}", "not used", "likely", why)
    for group in groups:
        if group in within:
            names = within[group]
            yield Guess(
                f"label {group[0]}" if len(group) == 1 else f"labels {', '.join(group)}",
                f"stands for {_name_labels(names)}" if len(group) == 1 else f"stand for {_name_labels(names)}",
                "likely",
                f"nodes with {'these labels' if len(names) > 1 else 'this label'} are {_name_labels(group)} too, and a "
                "node may be of one node type only",
            )
        elif len(group) > 1:
            yield Guess(
                f"labels {', '.join(group)}", "one node type", "likely", "no other label is on all of these nodes"
            )


def _name_labels(labels: Iterable[str], most: int = 6) -> str:
    shown = [f":{label}" for label in labels]
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")
