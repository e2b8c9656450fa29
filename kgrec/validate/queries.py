"""The Cypher that lists what a check found, a row each, for people to run and to change.

Names are quoted and ids are literals, so nothing in a schema or in data can become Cypher. Both databases understand
every clause here; `QueryDialect` has what differs between them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from graph_schema import SOURCE, CatalogueSchema, EdgeType, NodeType
from graph_schema.checks.column_texts import MISSING_WORDS
from kgrec.store.contract import NodeRef
from kgrec.validate.value_conditions import bind_value

_BLANK = r"'[\\s\\p{Z}]*'"
_ESCAPES = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def to_literal(text: str) -> str:
    """A text as a Cypher string; characters that cannot be seen are written by their numbers."""
    return "'" + "".join(_ESCAPES.get(letter) or show_letter(letter) for letter in text) + "'"


def show_letter(letter: str) -> str:
    """A character, or its number where it cannot be seen; those beyond four digits are harmless."""
    return letter if letter.isprintable() or ord(letter) > 0xFFFF else f"\\u{ord(letter):04x}"  # noqa: PLR2004


@dataclass(frozen=True)
class QueryDialect:
    """The names of a catalogue in one database, quoted, and the queries made of them.

    Attributes:
        schema: the catalogue.
        labels: node type -> label.
        node_columns: node type -> column -> property.
        types: edge type -> relationship type.
        edge_columns: edge type -> attribute -> property.
        turned: the edge types whose relationships point from target to source.
        paths: edge type that is a path over other nodes -> the types of its steps, and which point to the source.
        is_foreign: kgrec did not write the graph: values may be of other types than the schema's, keys integers.
        keyless: node types with nodes that have no key, which the other checks leave out.
    """

    schema: CatalogueSchema
    labels: Mapping[str, str]
    node_columns: Mapping[str, Mapping[str, str]]
    types: Mapping[str, str]
    edge_columns: Mapping[str, Mapping[str, str]]
    turned: frozenset[str] = frozenset()
    paths: Mapping[str, Sequence[tuple[str, bool]]] = field(default_factory=dict)
    is_foreign: bool = False
    keyless: frozenset[str] = frozenset()

    @classmethod
    def of_neo4j(cls, schema: CatalogueSchema, *, is_foreign: bool = False) -> "QueryDialect":
        """The dialect of Neo4j."""
        from kgrec.store.neo4j.connection import quote
        from kgrec.store.neo4j.layout import find_steps, join_labels

        return cls(
            schema,
            labels={name: join_labels(node) for name, node in schema.nodes.items()},
            node_columns={name: {c: quote(c) for c in node.columns} for name, node in schema.nodes.items()},
            types={name: quote(edge.type) for name, edge in schema.edges.items()},
            edge_columns={name: {c: quote(c) for c in edge.attributes} for name, edge in schema.edges.items()},
            turned=frozenset(name for name, edge in schema.edges.items() if edge.reverse),
            paths={
                name: [(step.type, step.is_backwards) for step in find_steps(edge)]
                for name, edge in schema.edges.items()
                if edge.path
            },
            is_foreign=is_foreign,
        )

    @classmethod
    def of_ladybug(cls, schema: CatalogueSchema) -> "QueryDialect":
        """The dialect of the embedded database."""
        from kgrec.store.ladybug import META
        from kgrec.store.ladybug_layout import lay_out

        layout = lay_out(schema, taken=[META])
        return cls(
            schema,
            labels={name: layout.nodes[name].name for name in schema.nodes},
            node_columns={
                name: dict(zip(node.columns, layout.nodes[name].properties, strict=True))
                for name, node in schema.nodes.items()
            },
            types={name: layout.edges[name].name for name in schema.edges},
            edge_columns={
                name: dict(zip(edge.attributes, layout.edges[name].properties, strict=True))
                for name, edge in schema.edges.items()
            },
        )

    def leaving_out(self, keyless: Iterable[str]) -> "QueryDialect":
        """The same dialect for a graph in which some node types have nodes without a key."""
        return replace(self, keyless=frozenset(keyless))

    def can_read(self, declared: NodeType | EdgeType, column: str) -> bool:
        """Whether Cypher reads the column's values: not texts of a time in a form that the schema says."""
        return not (self.is_foreign and column in declared.time_formats)

    # -- parts of queries ----------------------------------------------------------------------------------------------

    def key(self, variable: str, node_type: str) -> str:
        """The key of a node."""
        return f"{variable}.{self.node_columns[node_type][self.schema.nodes[node_type].key]}"

    def edge(self, edge_type: str, source: str, target: str, *, edge: str = "", labels: bool = True) -> str:
        """The pattern of an edge between two variables; without `labels` where these are bound already."""
        declared = self.schema.edges[edge_type]
        ends = [
            f"({variable}:{self.labels[node_type]})" if labels else f"({variable})"
            for variable, node_type in ((source, declared.source), (target, declared.target))
        ]
        if edge_type in self.paths:
            return f"{ends[0]}{self._walk(edge_type, edge)}{ends[1]}"
        relationship = f"[{edge}:{self.types[edge_type]}]"
        return (
            f"{ends[0]}<-{relationship}-{ends[1]}"
            if edge_type in self.turned
            else f"{ends[0]}-{relationship}->{ends[1]}"
        )

    def _walk(self, edge_type: str, edge: str = "", *, from_target: bool = False) -> str:
        """The pattern of a path between its ends; the source is on the left unless it begins `from_target`."""
        from kgrec.store.neo4j.layout import Step, walk

        return walk([Step(*step) for step in self.paths[edge_type]], edge, from_end=from_target)

    def edge_value(self, edge_type: str, column: str, edge: str = "r") -> str:
        """The value of a column of an edge; of a path, of the first part from the end that has it."""
        name = self.edge_columns[edge_type][column]
        if edge_type not in self.paths:
            return f"{edge}.{name}"
        from kgrec.store.neo4j.layout import coalesce, name_parts

        return coalesce(name_parts(edge, len(self.paths[edge_type])), name)

    def is_without(self, node_type: str, edge_types: Iterable[str]) -> list[str]:
        """The conditions under which the node `n` has no edge of some types."""
        types: dict[tuple[bool, str], list[str]] = {}  # (`n` is where it starts, the other end's type) -> types
        paths = []
        for name in edge_types:
            edge = self.schema.edges[name]
            for is_source, near, far in ((True, edge.source, edge.target), (False, edge.target, edge.source)):
                if near == node_type and name in self.paths:
                    paths.append((far, self._walk(name, from_target=not is_source)))
                elif near == node_type:
                    types.setdefault((is_source != (name in self.turned), far), []).append(self.types[name])
        conditions = []
        for far, pattern in paths:
            keyed = " AND ".join(self.has_key("other", far))
            end = f"({'other' if keyed else ''}:{self.labels[far]})"
            conditions.append(f"NOT EXISTS {{ MATCH (n){pattern}{end}{f' WHERE {keyed}' if keyed else ''} }}")
        for (starts, far), names in types.items():
            relationship = f"-[:{'|'.join(dict.fromkeys(names))}]-"
            keyed = " AND ".join(self.has_key("other", far))
            end = f"({'other' if keyed else ''}:{self.labels[far]})"
            pattern = f"(n){relationship}>{end}" if starts else f"(n)<{relationship}{end}"
            conditions.append(f"NOT EXISTS {{ MATCH {pattern}{f' WHERE {keyed}' if keyed else ''} }}")
        return conditions

    def is_blank(self, node_type: str, column: str) -> str:
        """The condition under which a text column of the node `n` is missing or blank."""
        value = f"n.{self.node_columns[node_type][column]}"
        is_list = self.schema.nodes[node_type].columns[column] == "list"
        if is_list and not self.is_foreign:
            return f"{value} IS NULL"
        value = f"coalesce({value}, '')"
        if is_list:
            return f"all(part IN [] + {value} WHERE toStringOrNull(part) =~ {_BLANK})"
        if self.is_foreign:  # it may be a list of texts
            return f"size([] + {value}) < 2 AND all(part IN [] + {value} WHERE toStringOrNull(part) =~ {_BLANK})"
        return f"{value} =~ {_BLANK}"

    def is_missing(self, node_type: str, column: str) -> str:
        """The condition under which a column of the node `n` has no value."""
        return f"n.{self.node_columns[node_type][column]} IS NULL"

    def has_key(self, variable: str, node_type: str) -> list[str]:
        """The conditions under which a node has its key; none where all nodes have it."""
        if node_type not in self.keyless:
            return []
        return [f"NOT {_has_no(self.key(variable, node_type))}"]

    def _is(self, variable: str, node: NodeRef) -> str:
        """The condition under which a variable is a node."""
        key = self.key(variable, node.type)
        if not self.is_foreign:
            return f"{key} = {to_literal(node.id)}"
        from kgrec.store.neo4j.layout import to_keys

        values = [to_literal(value) if isinstance(value, str) else str(value) for value in to_keys([node.id])]
        return f"{key} IN [{', '.join(values)}]"

    # -- queries -------------------------------------------------------------------------------------------------------

    def list_nodes(self, node_type: str, conditions: Sequence[str]) -> str:
        """The nodes `n` of a type for which the conditions hold, by their ids."""
        return join_clauses(
            f"MATCH (n:{self.labels[node_type]})",
            where([*self.has_key("n", node_type), *conditions]),
            f"RETURN {self.key('n', node_type)} AS id",
        )

    def list_nodes_by_value(self, node_type: str, column: str, condition: str) -> str:
        """The nodes of a type with a value for which a condition holds; see `bind_value` for its names."""
        bound, kept = self._bind("n", f"n.{self.node_columns[node_type][column]}", self.schema.nodes[node_type], column)
        return join_clauses(
            f"MATCH (n:{self.labels[node_type]})",
            where(self.has_key("n", node_type)),
            *bound,
            where([condition]),
            f"RETURN {self.key('n', node_type)} AS id, {kept}",
        )

    def list_edges_by_value(self, edge_type: str, column: str, condition: str) -> str:
        """The edges of a type with a value for which a condition holds, by the ids of their ends."""
        edge = self.schema.edges[edge_type]
        bound, kept = self._bind("a, b", self.edge_value(edge_type, column), edge, column)
        return join_clauses(
            f"MATCH {self.edge(edge_type, 'a', 'b', edge='r')}",
            where([*self.has_key("a", edge.source), *self.has_key("b", edge.target)]),
            *bound,
            where([condition]),
            f"RETURN {self.key('a', edge.source)} AS source, {self.key('b', edge.target)} AS target, {kept}",
        )

    def _bind(self, carried: str, value: str, declared: NodeType | EdgeType, column: str) -> tuple[list[str], str]:
        return bind_value(carried, value, declared, column, is_foreign=self.is_foreign)

    def list_keyless(self, node_type: str) -> str:
        """The nodes of a type without a key."""
        key = self.key("n", node_type)
        return join_clauses(f"MATCH (n:{self.labels[node_type]})", where([_has_no(key)]), "RETURN n")

    def list_repeated_keys(self, node_type: str) -> str:
        """The nodes of a type whose key another one has, but for one of each key."""
        key = self.key("n", node_type)
        return join_clauses(
            f"MATCH (n:{self.labels[node_type]})",
            where([f"NOT {_has_no(key)}"]),
            f"WITH toString({key}) AS id, collect(n) AS nodes",
            "WHERE size(nodes) > 1",
            "UNWIND nodes[1..] AS n",
            "RETURN id, n",
        )

    def list_endless(self, edge_type: str, end: str) -> str:
        """The edges of a type whose source, or else whose target, has no key."""
        edge = self.schema.edges[edge_type]
        source, target = self.key("a", edge.source), self.key("b", edge.target)
        # an edge that lacks both is counted with the sources
        missing = [_has_no(source)] if end == SOURCE else [f"NOT {_has_no(source)}", _has_no(target)]
        return join_clauses(f"MATCH {self.edge(edge_type, 'a', 'b', edge='r')}", where(missing), "RETURN a, r, b")

    def list_self_loops(self, edge_type: str) -> str:
        """The nodes with an edge to themselves."""
        node_type = self.schema.edges[edge_type].source
        return join_clauses(
            f"MATCH {self.edge(edge_type, 'n', 'n')}"
            if edge_type in self.paths
            else f"MATCH (n:{self.labels[node_type]})-[:{self.types[edge_type]}]->(n)",
            where(self.has_key("n", node_type)),
            f"RETURN {self.key('n', node_type)} AS id",
        )

    def list_repeats(self, edge_type: str) -> str:
        """The pairs with more than one edge of a type."""
        edge = self.schema.edges[edge_type]
        source, target = self.key("a", edge.source), self.key("b", edge.target)
        return join_clauses(
            f"MATCH {self.edge(edge_type, 'a', 'b', edge='r')}",
            where([*self.has_key("a", edge.source), *self.has_key("b", edge.target)]),
            f"WITH {source} AS source, {target} AS target, count(r) AS times",
            "WHERE times > 1",
            "RETURN source, target, times",
        )

    def list_shared_pairs(self, edge_type: str, other: str) -> str:
        """The pairs with an edge of two types of the same ends."""
        edge = self.schema.edges[edge_type]
        return join_clauses(
            f"MATCH {self.edge(edge_type, 'a', 'b')}",
            where(
                [
                    *self.has_key("a", edge.source),
                    *self.has_key("b", edge.target),
                    f"EXISTS {{ MATCH {self.edge(other, 'a', 'b', labels=False)} }}",
                ]
            ),
            f"RETURN DISTINCT {self.key('a', edge.source)} AS source, {self.key('b', edge.target)} AS target",
        )

    def list_hubs(self, edge_type: str, *, hub_is_source: bool, least: int) -> str:
        """The nodes that an edge type links to at least `least` others."""
        declared = self.schema.edges[edge_type]
        hub_type, far_type = declared.source, declared.target
        if not hub_is_source:
            hub_type, far_type = far_type, hub_type
        if declared.source == declared.target and edge_type not in self.paths:
            pattern = f"(hub:{self.labels[hub_type]})-[:{self.types[edge_type]}]-(other:{self.labels[far_type]})"
        else:
            pattern = self.edge(edge_type, *(("hub", "other") if hub_is_source else ("other", "hub")))
        return join_clauses(
            f"MATCH {pattern}",
            where([*self.has_key("hub", hub_type), *self.has_key("other", far_type)]),
            "WITH hub, count(DISTINCT other) AS others",
            f"WHERE others >= {least}",
            f"RETURN {self.key('hub', hub_type)} AS id, others",
            "ORDER BY others DESC",
        )

    def show_surroundings(self, node: NodeRef, edge_types: Iterable[str], hops: int = 3) -> str:
        """The surroundings of a node."""
        steps = [self.paths.get(name, [(self.types[name], False)]) for name in edge_types]
        types = "|".join(dict.fromkeys(step for path in steps for step, _ in path))
        return join_clauses(
            f"MATCH (n:{self.labels[node.type]})-[:{types}*1..{hops}]-(other)",
            where([self._is("n", node)]),
            "RETURN DISTINCT labels(other) AS label, other",
            "LIMIT 100",
        )

    def list_leaks(self, edge_types: Sequence[str]) -> str:
        """The pairs of a user and an item that are linked by a relation, or by two in a row, and by the interaction."""
        user_type, item_type, chosen = self.schema.user_type, self.schema.item_type, self.schema.interaction.edge
        if len(edge_types) == 1:
            patterns = [self._between(edge_types[0], "user", user_type, "item")]
        else:
            patterns = [
                self._between(edge_types[0], "user", user_type, "x"),
                self._between(edge_types[1], "x", None, "item", far_type=item_type),
            ]
        return join_clauses(
            f"MATCH {', '.join(patterns)}",
            where(
                [
                    *self.has_key("user", user_type),
                    *self.has_key("item", item_type),
                    f"EXISTS {{ MATCH {self.edge(chosen, 'user', 'item', labels=False)} }}",
                ]
            ),
            f"RETURN DISTINCT {self.key('user', user_type)} AS source, {self.key('item', item_type)} AS target",
        )

    def _between(self, edge_type: str, near: str, near_type: str | None, far: str, far_type: str | None = None) -> str:
        declared = self.schema.edges[edge_type]
        starts = declared.source == near_type if near_type is not None else declared.target == far_type
        return self.edge(edge_type, near, far) if starts else self.edge(edge_type, far, near)

    def show_co_interaction(self, edge_type: str, item: NodeRef) -> str:
        """The items that share most users with one item, and whether the relation links them to it."""
        chosen, key = self.schema.interaction.edge, self.key("b", item.type)
        linked = f"(a)-[:{self.types[edge_type]}]-(b)"
        if edge_type in self.paths:
            linked = f"(a){self._walk(edge_type)}(b)"
        # in one clause two paths would not share a relationship, as those over one order do
        between = "\nMATCH " if chosen in self.paths else ", "
        return join_clauses(
            f"MATCH {self.edge(chosen, 'user', 'a')}{between}{self.edge(chosen, 'user', 'b')}",
            where([self._is("a", item), f"{self.key('a', item.type)} <> {key}"]),
            "WITH a, b, count(*) AS users",
            f"RETURN {key} AS id, users, EXISTS {{ MATCH {linked} }} AS linked",
            "ORDER BY users DESC",
            "LIMIT 20",
        )


def _has_no(key: str) -> str:
    return f"({key} IS NULL OR {key} IN [{', '.join(map(to_literal, sorted(MISSING_WORDS)))}])"


def where(conditions: Sequence[str]) -> str | None:
    """A WHERE clause; None without conditions."""
    return "WHERE " + "\n  AND ".join(conditions) if conditions else None


def join_clauses(*clauses: str | None) -> str:
    """A query of some clauses, without those that are None."""
    return "\n".join(clause for clause in clauses if clause is not None)
