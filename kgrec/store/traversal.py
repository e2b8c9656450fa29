"""Breadth-first search and simple paths over what a store answers about the edges at a node.

Databases differ in how they match paths (whether edges in one pattern are distinct, what a shortest path is), so
stores answer two plain questions and the walking is the same for all:
`reach(node_type, ids)`, the nodes one edge away from any of `ids`, and `steps(node)`, the edges at a node.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from kgrec.store.contract import GraphPath, NodeRef, Step

Reach = Callable[[str, Sequence[str]], set[NodeRef]]


def iter_levels(reach: Reach, node: NodeRef) -> Iterator[set[NodeRef]]:
    """The nodes 1, 2, ... edges away from a node, until there are no more."""
    seen = level = {node}
    while level:
        ids: defaultdict[str, list[str]] = defaultdict(list)
        for one in level:
            ids[one.type].append(one.id)
        level = set().union(*(reach(node_type, sorted(ids[node_type])) for node_type in sorted(ids))) - seen
        seen = seen | level
        yield level


def find_neighbours(reach: Reach, node: NodeRef, hops: int) -> dict[NodeRef, int]:
    """The nodes within `hops` edges of a node -> their distance, by distance, then type and id."""
    levels = zip(range(1, hops + 1), iter_levels(reach, node), strict=False)
    return {one: distance for distance, level in levels for one in sorted(level)}


def find_paths(
    reach: Reach, steps: Callable[[NodeRef], Sequence[Step]], start: NodeRef, end: NodeRef, *, max_length: int, k: int
) -> list[GraphPath]:
    """The first `k` simple paths by (length, steps).

    Iterative deepening: paths of exactly `length` edges are walked depth first in the order of the steps, and a node
    is entered only when it is close enough to `end`; so hubs are passed without reading what lies beyond them.
    """
    found: list[GraphPath] = []
    distances = {end: 0}
    levels = iter_levels(reach, end)
    known: dict[NodeRef, list[Step]] = {}

    def sorted_steps(node: NodeRef) -> list[Step]:
        if node not in known:
            known[node] = sorted(steps(node))
        return known[node]

    def walk(path: GraphPath, n_left: int) -> Iterator[GraphPath]:
        if n_left == 0:
            yield path
            return
        for step in sorted_steps(path.nodes[-1]):
            # nothing is looked for beyond `end`: no path comes back to it
            close = distances.get(step.node, n_left) < n_left and (step.node != end or n_left == 1)
            if close and step.node not in path.nodes:
                yield from walk(GraphPath(path.start, (*path.steps, step)), n_left - 1)

    if start == end or k < 1:
        return found
    for length in range(1, max_length + 1):
        if length > 1:
            distances |= dict.fromkeys(next(levels, ()), length - 1)
        for path in walk(GraphPath(start, ()), length):
            found.append(path)
            if len(found) == k:
                return found
    return found
