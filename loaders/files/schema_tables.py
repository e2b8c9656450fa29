"""Which tables of files the types of a schema read, and by which columns."""

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property

from graph_schema import SOURCE, TARGET, CatalogueError, CatalogueSchema, EdgeType, NodeType
from graph_schema.near_names import find_near_name


class SchemaTables:
    """The tables of a schema.

    Args:
        schema: the schema.
    """

    def __init__(self, schema: CatalogueSchema) -> None:
        self.schema = schema

    def of_node(self, name: str) -> str:
        """The table of a node type."""
        return self.schema.nodes[name].table or name

    def of_edge(self, name: str) -> str:
        """The table of an edge type without a path."""
        return self.schema.edges[name].table or name

    @cached_property
    def readers(self) -> Mapping[str, Sequence[NodeType | EdgeType]]:
        """Table -> the types that read it."""
        found: dict[str, list[NodeType | EdgeType]] = {}
        for name, node in self.schema.nodes.items():
            if not node.derived:
                found.setdefault(self.of_node(name), []).append(node)
        for name, edge in self.schema.edges.items():
            if not edge.derived:
                for table in edge.path or (self.of_edge(name),):
                    found.setdefault(table, []).append(edge)
        return found

    @property
    def needed(self) -> list[str]:
        """The tables that must be there: not those of nodes that are known from their edges."""
        free = {name for name, node in self.schema.nodes.items() if node.from_edges and node.table is None}
        return [
            table
            for table, readers in self.readers.items()
            if table not in free or any(isinstance(one, EdgeType) for one in readers)
        ]

    def check(self, there: Collection[str]) -> None:
        """Checks that types of one name do not share a table by accident, and the names of tables.

        Args:
            there: the tables that files are called after.

        Raises:
            CatalogueError: they do, or the schema describes a table that no type reads, called almost like one.
        """
        shared = sorted(
            name
            for name in set(self.schema.nodes) & set(self.schema.edges)
            if self.schema.nodes[name].table is None
            and self.schema.edges[name].table is None
            and not self.schema.edges[name].path
        )
        if shared:
            raise CatalogueError(
                f"node and edge types share the names {', '.join(shared)}, so their files would too: rename one"
            )
        undescribed = [table for table in self.readers if table not in self.schema.tables]
        for table in self.schema.tables:
            near = None if table in self.readers else find_near_name(table, undescribed)
            if near is not None and table in there and near not in there:
                raise CatalogueError(
                    f"there is no table {near!r}, which {self._name_reader(near)} reads; did you mean {table!r}, which "
                    f"[tables.{table}] describes?"
                )
            if near is not None:
                raise CatalogueError(f"no type reads the table {table!r} of [tables.{table}]; did you mean {near!r}?")

    def has_many_rows(self, name: str) -> bool:
        """Whether the table of a node type names each of its nodes in any number of rows, as one of sales does."""
        node, table = self.schema.nodes[name], self.of_node(name)
        for other in self.readers[table]:
            if other is node:
                continue
            if isinstance(other, NodeType) or other in self._feedback():
                return True
            if other.path and not self._is_joined_by(other, table, node.key):
                return True
        return False

    def find_own_end(self, name: str) -> str | None:
        """The end of an edge type whose nodes the rows of its table are; None: the table is one of links."""
        edge, table = self.schema.edges[name], self.of_edge(name)
        own = [
            end
            for end, node_type in ((SOURCE, edge.source), (TARGET, edge.target))
            if self.of_node(node_type) == table and not self.has_many_rows(node_type)
        ]
        if edge.source == edge.target and len(own) > 1:  # the end without a column of its own is the row's
            own = [SOURCE] if edge.source_column in (None, self.schema.nodes[edge.source].key) else [TARGET]
        return own[0] if len(own) == 1 and edge not in self._feedback() else None

    def find_known(self, table: str) -> set[str]:
        """The names of columns that the schema knows of a table."""
        known: set[str] = set()
        for reader in self.readers.get(table, ()):
            known |= {*reader.columns, *reader.ignore}
            if isinstance(reader, EdgeType):
                known |= {self.schema.nodes[reader.source].key, self.schema.nodes[reader.target].key, *reader.where}
                known |= {column for column in (reader.source_column, reader.target_column) if column is not None}
                known |= {part.strip() for join in reader.join for part in join.split("=")}
        return known

    def find_ids(self, table: str) -> set[str]:
        """The names of the columns of a table that may hold ids: keys and ends."""
        ids: set[str] = set()
        for reader in self.readers.get(table, ()):
            if isinstance(reader, NodeType):
                ids.add(reader.key)
                continue
            said = {SOURCE: (reader.source_column, reader.source), TARGET: (reader.target_column, reader.target)}
            for end, (column, node_type) in said.items():
                may_be = {end, self.schema.nodes[node_type].key} - {*reader.attributes}
                ids |= may_be if column is None else {column}
        return ids

    def find_wanted(self, name: str) -> list[str]:
        """The columns that a type needs under these very names; those of ends have several. Empty for no type."""
        if name in self.schema.nodes:
            return list(self.schema.nodes[name].columns)
        if name not in self.schema.edges:
            return []
        edge = self.schema.edges[name]
        ends = [column for column in (edge.source_column, edge.target_column) if column is not None]
        chosen = self.schema.interaction
        counted = chosen.weight if name == chosen.edge and chosen.repeat_rule == "count" else None  # needs no column
        return [*ends, *(attribute for attribute in edge.attributes if attribute != counted), *edge.where]

    def suggest_columns(self, table: str, n_columns: int = 0) -> list[str]:
        """Names for the columns of a table without a header, as far as the schema says them.

        Args:
            table: the table.
            n_columns: how many it has; 0: as many as the schema knows.
        """
        names: dict[str, None] = {}
        for reader in self.readers[table]:
            if isinstance(reader, EdgeType):
                ends = {
                    reader.source_column or self.schema.nodes[reader.source].key: None,
                    reader.target_column or self.schema.nodes[reader.target].key: None,
                }
                names.update(ends if len(ends) > 1 else dict.fromkeys((SOURCE, TARGET)))
                names.update(dict.fromkeys(reader.attributes))
            else:
                names.update(dict.fromkeys(reader.columns))
        more = [f"column_{place}" for place in range(len(names) + 1, n_columns + 1)]
        return [*names, *more][: n_columns or None]

    def _name_reader(self, table: str) -> str:
        """The first type that reads a table, as the schema file calls it."""
        kinds = (("nodes", self.schema.nodes), ("edges", self.schema.edges))
        types = {f"[{kind}.{name}]": one for kind, declared in kinds for name, one in declared.items()}
        return next(name for name, one in types.items() if one is self.readers[table][0])

    def _feedback(self) -> list[EdgeType]:
        chosen = self.schema.interaction
        return [self.schema.edges[name] for name in (chosen.edge, *chosen.other_feedback)]

    @staticmethod
    def _is_joined_by(edge: EdgeType, table: str, key: str) -> bool:
        """Whether a path leads through a table by its key, so that each of its rows is a node."""
        touching: list[str] = []
        for place, join in enumerate(edge.join):
            one, _, other = (part.strip() for part in join.partition("="))
            touching += [one] if edge.path[place] == table else []
            touching += [other or one] if edge.path[place + 1] == table else []
        return key in touching
