"""Checks that what a schema names is in a graph that kgrec did not load: a typo is an error, not an empty column."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from graph_schema import CatalogueSchema
from graph_schema.near_names import find_near_name
from graph_schema.schema_types import EdgeType
from kgrec.errors import StoreError
from kgrec.store.neo4j.connection import Connection, quote
from kgrec.store.neo4j.layout import (
    RELEASE_LABEL,
    RELEASE_PREFIX,
    RELEASE_TYPES,
    EdgePlace,
    Layout,
    join_labels,
    walk,
)

_LOOKED_AT = 1000  # nodes, or relationships, whose property names are read for "did you mean"
_MOST_SHOWN = 12


OnEmpty = Callable[[str], None]


def check_graph(connection: Connection, schema: CatalogueSchema, on_empty: OnEmpty | None = None) -> None:
    """Checks that every label, property, relationship and step of a schema matches something in a graph.

    Args:
        connection: to a graph that kgrec did not load.
        schema: the schema to read it by.
        on_empty: called with a sentence about each edge type that matches nothing: all its edges may have been
            deleted; None: that is a problem as any other.

    Raises:
        StoreError: names match nothing in the graph; the message lists them with the nearest names that exist.
    """
    check = _Check(connection, schema)
    problems = check.find_problems()
    if on_empty is None:
        problems += check.empty
    else:
        for sentence in check.empty:
            on_empty(sentence)
    if problems:
        more = [f"and {len(problems) - _MOST_SHOWN} more"] if len(problems) > _MOST_SHOWN else []
        told = "\n  ".join([*problems[:_MOST_SHOWN], *more])
        raise StoreError(
            f"the schema {schema.name!r} names what {connection.url} does not have:\n  {told}\n"
            "expected names as they are in the graph: correct the schema, or leave out what is not there"
        )


@dataclass
class _Check:
    connection: Connection
    schema: CatalogueSchema
    problems: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)  # of edge types that match nothing

    def find_problems(self) -> list[str]:
        layout = Layout(self.schema)
        lost = {name for name in self.schema.nodes if not self._check_labels(name)}
        for name in self.schema.nodes:
            if name not in lost:
                self._check_properties(name)
        for name, edge in self.schema.edges.items():
            if self._check_types(name, edge) and edge.source not in lost and edge.target not in lost:
                self._check_ends(name, edge, layout.edges[name])
        return self.problems

    # -- nodes ---------------------------------------------------------------------------------------------------------

    @cached_property
    def _labels(self) -> set[str]:
        return {name for (name,) in self.connection.read("CALL db.labels() YIELD label RETURN label")}

    def _check_labels(self, node_type: str) -> bool:
        """Tells of the labels that no node has; returns whether any of them is on a node."""
        labels = self.schema.nodes[node_type].all_labels
        there = self._find_matching({label: f"(:{quote(label)})" for label in labels if label in self._labels})
        for label in labels:
            if label not in there:
                others = self._labels - {label, RELEASE_LABEL}
                self._add(f"nodes.{node_type}: no node is labelled {label}", label, others)
        return bool(there)

    def _check_properties(self, node_type: str) -> None:
        node = self.schema.nodes[node_type]
        label, names = join_labels(node), [name for name in node.columns if name in self._keys]
        there = self._find_matching({name: f"MATCH (n:{label}) WHERE n.{quote(name)} IS NOT NULL" for name in names})
        missing = [name for name in node.columns if name not in there]
        if not missing:
            return
        found = self._read_keys(f"MATCH (n:{label}) WITH n LIMIT {_LOOKED_AT} UNWIND keys(n) AS name")
        for name in missing:
            what = {node.key: "key", node.name: "name"}.get(name, "text" if name in node.text else "property")
            shown = "|".join(node.all_labels)
            self._add(f"nodes.{node_type}: no {shown} has the {what} {name}", name, found - {name})

    # -- relationships -------------------------------------------------------------------------------------------------

    @cached_property
    def _types(self) -> set[str]:
        found = self.connection.read("CALL db.relationshipTypes() YIELD relationshipType AS name RETURN name")
        return {name for (name,) in found}

    def _check_types(self, edge_type: str, edge: EdgeType) -> bool:
        """Tells of the types that no relationship has; returns whether there is one of each."""
        types = list(dict.fromkeys(step.removeprefix("<") for step in edge.path or (edge.type,)))
        there = self._find_matching({name: f"()-[:{quote(name)}]->()" for name in types if name in self._types})
        for name in types:
            if name not in there:
                step = "; it is a step of the path" if edge.path else ""
                problem = f"edges.{edge_type}: no relationship {name}{step}"
                own = RELEASE_TYPES if RELEASE_LABEL in self._labels else ()  # what kgrec published
                self.empty.append(problem + _advise(name, self._types - {name, *own}))
        return len(there) == len(types)

    def _check_ends(self, edge_type: str, edge: EdgeType, place: EdgePlace) -> None:
        match = place.match
        if not self._is_there(match):
            self.empty.append(f"edges.{edge_type}: {self._describe_miss(edge, place)}")
            return
        names = [name for name in edge.attributes if name in self._keys]
        values = {
            name: f"{match} WITH {place.parts} AS parts WHERE {place.read_property('parts', quote(name))} IS NOT NULL "
            "RETURN 1"
            for name in names
        }
        there = self._find_matching(values)
        missing = [name for name in edge.attributes if name not in there]
        if not missing:
            return
        parts = place.parts if len(place.steps) > 1 else f"[{place.parts}]"
        found = self._read_keys(
            f"{match} WITH {parts} AS parts LIMIT {_LOOKED_AT} UNWIND parts AS part UNWIND keys(part) AS name"
        )
        for name in missing:
            shown = " or a node between them" if edge.path else ""
            where = " and ".join(step.removeprefix("<") for step in edge.path) or edge.type
            self._add(f"edges.{edge_type}: no {where}{shown} has the property {name}", name, found - {name})

    def _describe_miss(self, edge: EdgeType, place: EdgePlace) -> str:
        """Why an edge type's relationships match nothing, although there are some of each of its types."""
        source, target = ("|".join(self.schema.nodes[name].all_labels) for name in (edge.source, edge.target))
        if edge.path:
            return self._describe_broken_path(edge, place, source, target)
        if self._is_there(f"(:{place.source.label}){place.pattern_from_target()}(:{place.target.label})"):
            start, end, advice = (
                (source, target, "leave reverse = true out")
                if edge.reverse
                else (target, source, "write reverse = true")
            )
            return f"{edge.type} goes from {start} to {end} there: {advice}"
        ((starts, ends),) = self.connection.read(
            f"MATCH (a)-[:{quote(edge.type)}]->(b) WITH a, b LIMIT {_LOOKED_AT} "
            "UNWIND labels(a) AS x UNWIND labels(b) AS y RETURN collect(DISTINCT x), collect(DISTINCT y)"
        )
        return f"no {edge.type} links {source} and {target}; there it goes from {_join(starts)} to {_join(ends)}"

    def _describe_broken_path(self, edge: EdgeType, place: EdgePlace, source: str, target: str) -> str:
        for n_steps, written in enumerate(edge.path, 1):
            begun = place.steps[:n_steps]
            if self._is_there(f"(:{place.source.label}){walk(begun)}()"):
                continue
            *before, last = begun
            turned = walk([*before, replace(last, is_backwards=not last.is_backwards)])
            way = " -> ".join([source, *edge.path[: n_steps - 1]])
            if self._is_there(f"(:{place.source.label}){turned}()"):
                other = written.removeprefix("<") if written.startswith("<") else f"<{written}"
                return f"the path breaks at {written}, which goes the other way behind {way}: write {other!r}"
            return f"the path breaks at {written}: none leads on from {way}"
        ends = self.connection.read(
            f"MATCH (:{place.source.label}){walk(place.steps)}(b) WITH b LIMIT {_LOOKED_AT} "
            "UNWIND labels(b) AS label RETURN DISTINCT label"
        )
        return f"the path from {source} ends at {_join(label for (label,) in ends)}, not at {target}"

    # -- asking --------------------------------------------------------------------------------------------------------

    @cached_property
    def _keys(self) -> set[str]:
        found = self.connection.read("CALL db.propertyKeys() YIELD propertyKey AS name RETURN name")
        return {name for (name,) in found}

    def _find_matching(self, patterns: Mapping[str, str]) -> set[str]:
        """The names whose patterns match something."""
        if not patterns:
            return set()
        found = self.connection.read("RETURN [" + ", ".join(f"EXISTS {{ {one} }}" for one in patterns.values()) + "]")
        return {name for name, is_there in zip(patterns, found[0][0], strict=True) if is_there}

    def _is_there(self, pattern: str) -> bool:
        return bool(self._find_matching({pattern: pattern}))

    def _read_keys(self, query: str) -> set[str]:
        names = {name for (name,) in self.connection.read(f"{query} RETURN DISTINCT name")}
        return {name for name in names if not name.startswith(RELEASE_PREFIX)}

    def _add(self, problem: str, name: str, names: Iterable[str]) -> None:
        self.problems.append(problem + _advise(name, names))


def _advise(name: str, names: Iterable[str]) -> str:
    known = sorted(names)
    near = find_near_name(name, known)
    others = f"; expected one of: {_join(known)}" if known else ""
    return others if near is None else f"; did you mean {near}?"


def _join(names: Iterable[str], most: int = 8) -> str:
    shown = sorted(names)
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")
