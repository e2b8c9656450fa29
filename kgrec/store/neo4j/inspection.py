"""Reads what a Neo4j database looks like, for a draft of a schema: counts where that is cheap, samples elsewhere.

Nothing is written. Labels are counted over all nodes; relationships over all of a type up to `SCANNED`, beyond that
over the first of them; degrees come from the database's own counts; properties from a sample, cut short by the server;
a property that may be the key is counted in full, on up to `SCANNED` nodes.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from graph_schema.interaction_candidates import find_interactions
from graph_schema.profile import (
    GraphProfile,
    Guess,
    Kind,
    LabelSet,
    NodeProfile,
    PropertyProfile,
    RelationshipProfile,
    choose_labels,
    count_labels,
    find_covering_label,
)
from graph_schema.roles import find_kind
from kgrec.store.neo4j.connection import Address, Connection, quote
from kgrec.store.neo4j.layout import META_LABEL, RELEASE_LABEL, RELEASE_PREFIX, RELEASE_TYPES
from kgrec.store.neo4j.release import VERSION_PREFIX

SCANNED = 2_000_000  # relationships of one type whose ends' labels are read; nodes on which a key is counted
_SAMPLED = 2000  # nodes, or relationships, whose properties are read
_CUT = 200  # characters of a text that are read
_MOST_SAMPLES = 100
_MOST_KEYS = 3  # properties per label that are counted in full, to see whether they are unique
_PRIME = 1_000_003

OnStage = Callable[[str], None]
Groups = dict[tuple[LabelSet, LabelSet], int]  # the labels at both ends -> relationships


def read_profile(connection: Connection, on_stage: OnStage | None = None) -> GraphProfile:
    """Reads what a database looks like.

    Args:
        connection: to the database; nothing is written.
        on_stage: called with what it reads next.

    Raises:
        StoreError: the database fails.
    """
    return _Reading(connection, on_stage or (lambda stage: None)).run()


@dataclass
class _Reading:
    connection: Connection
    on_stage: OnStage
    left_out: list[str] = field(default_factory=list)
    guesses: list[Guess] = field(default_factory=list)

    def run(self) -> GraphProfile:
        self.on_stage("counting labels")
        label_sets = self._read_label_sets()
        self.on_stage("counting relationships")
        groups = self._read_groups()
        counts = count_labels(label_sets)
        labels, guesses = choose_labels(label_sets, self._find_fixed(label_sets, groups, counts))
        self.guesses += guesses
        nodes = {}
        constrained = self._read_constrained()
        self.on_stage("looking at nodes")
        for label in labels:
            nodes[label] = self._read_node(label, counts[label], constrained.get(label, set()))
        relationships = []
        self.on_stage("looking at relationships")
        for kind, ends in groups.items():
            relationships += self._read_relationships(kind, ends, labels)
        address = Address.parse(self.connection.url)
        return GraphProfile(
            place=self.connection.url,
            name=address.database or "catalogue",
            nodes=nodes,
            relationships=tuple(relationships),
            guesses=tuple(self.guesses),
            left_out=tuple(self.left_out),
        )

    # -- labels and types ----------------------------------------------------------------------------------------------

    def _read_label_sets(self) -> dict[LabelSet, int]:
        found = {frozenset(labels): n for labels, n in self._read("MATCH (n) RETURN labels(n), count(*)")}
        n_bare = found.pop(frozenset(), 0)
        if n_bare:
            self.left_out.append(f"nodes without a label ({n_bare:,}): give them one to include them")
        kept = {labels: n for labels, n in found.items() if not labels & {META_LABEL, RELEASE_LABEL}}
        return kept

    def _read_groups(self) -> dict[str, Groups]:
        """Relationship type -> how many there are between nodes of which labels."""
        types = [kind for (kind,) in self._read("CALL db.relationshipTypes() YIELD relationshipType AS t RETURN t")]
        groups: dict[str, Groups] = {}
        for kind in sorted(types):
            ((total,),) = self._read(f"MATCH ()-[r:{quote(kind)}]->() {_not_ours(kind)}RETURN count(r)")
            if total == 0:
                self.left_out.append(f":{kind}: there are no relationships of that type except kgrec's own")
                continue
            looked_at = min(total, SCANNED)
            found = self._read(
                f"MATCH (a)-[r:{quote(kind)}]->(b) {_not_ours(kind)}WITH a, b LIMIT $limit "
                "RETURN labels(a), labels(b), count(*)",
                limit=looked_at,
            )
            if looked_at < total:
                self.guesses.append(
                    Guess(
                        f":{kind}", "labels at its ends", "likely", f"from {looked_at:,} of its {total:,} relationships"
                    )
                )
            groups[kind] = {
                (frozenset(starts), frozenset(ends)): round(n * total / looked_at) for starts, ends, n in found
            }
        return groups

    def _find_fixed(
        self, label_sets: Mapping[LabelSet, int], groups: Mapping[str, Groups], counts: Mapping[str, int]
    ) -> set[str]:
        """The labels that the most likely interaction needs; no others matter as much."""
        if all(len(labels) == 1 for labels in label_sets):
            return set()
        relationships = []
        for kind, ends in groups.items():
            start, end = (find_covering_label(_sum_over(ends, place), counts) for place in (0, 1))
            if start is not None and end is not None:
                relationships.append(self._read_relationship(start, kind, end, sum(ends.values()), is_whole=True))
        nodes = {label: NodeProfile(label, n, {}) for label, n in counts.items()}
        found = find_interactions(GraphProfile("", "", nodes, tuple(relationships)))
        return {found[0].user, found[0].item} if found else set()

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def _read_constrained(self) -> dict[str, set[str]]:
        found = self._read(
            "SHOW CONSTRAINTS YIELD type, entityType, labelsOrTypes, properties WHERE entityType = 'NODE' AND "
            "type IN ['UNIQUENESS', 'NODE_PROPERTY_UNIQUENESS', 'NODE_KEY'] AND size(properties) = 1 "
            "RETURN labelsOrTypes[0], properties[0]"
        )
        constrained = defaultdict(set)
        for label, name in found:
            constrained[label].add(name)
        return constrained

    def _read_node(self, label: str, count: int, constrained: set[str]) -> NodeProfile:
        rows = self._sample(f"MATCH (x:{quote(label)})", count)
        properties = _summarise(rows)
        wanted = [
            name
            for name, one in sorted(properties.items(), key=lambda found: _key_order(found[1], found[0] in constrained))
            if name in constrained or _may_be_key(one)
        ]
        for name in wanted[:_MOST_KEYS]:
            properties[name] = self._count_values(label, properties[name], count, name in constrained)
        return NodeProfile(label, count, properties)

    def _count_values(self, label: str, one: PropertyProfile, count: int, is_constrained: bool) -> PropertyProfile:
        """A property with its coverage and uniqueness counted over all nodes of the label."""
        if count > SCANNED:
            return replace(one, is_constrained=is_constrained, is_unique=is_constrained or None)
        value = f"x.{quote(one.name)}"
        distinct = "0" if is_constrained else f"count(DISTINCT {value})"
        ((n, n_distinct),) = self._read(f"MATCH (x:{quote(label)}) RETURN count({value}), {distinct}")
        n_duplicates = 0 if is_constrained else n - n_distinct
        return replace(
            one,
            coverage=n / count,
            distinct=1 - n_duplicates / max(n, 1),
            is_unique=n_duplicates == 0,
            is_constrained=is_constrained,
            n_duplicates=n_duplicates,
        )

    # -- relationships -------------------------------------------------------------------------------------------------

    def _read_relationships(self, kind: str, ends: Groups, labels: Sequence[str]) -> list[RelationshipProfile]:
        pairs: dict[tuple[str, str], int] = defaultdict(int)
        n_lost = 0
        for (starts, targets), n in ends.items():
            start, end = (next((label for label in labels if label in found), None) for found in (starts, targets))
            if start is None or end is None:
                n_lost += n
            else:
                pairs[start, end] += n
        if n_lost:
            self.left_out.append(f":{kind}: {n_lost:,} that start or end at a node of no label used here")
        is_whole = len(pairs) == 1 and not n_lost
        return [
            self._read_relationship(start, kind, end, n, is_whole=is_whole) for (start, end), n in sorted(pairs.items())
        ]

    def _read_relationship(self, start: str, kind: str, end: str, count: int, *, is_whole: bool) -> RelationshipProfile:
        """The relationships between two labels; `is_whole`: the type has no others, so that degrees need no walk."""
        a, b = quote(start), quote(end)
        far_a, far_b = ("()", "()") if is_whole else (f"(:{a})", f"(:{b})")
        ours = _not_ours(kind)
        (out,) = self._read(
            f"MATCH (x:{a}) WITH COUNT {{ (x)-[r:{quote(kind)}]->{far_b} {ours}}} AS d WHERE d > 0 "
            "RETURN count(d), coalesce(max(d), 0)"
        )
        (into,) = self._read(
            f"MATCH (x:{b}) WITH COUNT {{ (x)<-[r:{quote(kind)}]-{far_a} {ours}}} AS d WHERE d > 0 "
            "RETURN count(d), coalesce(max(d), 0)"
        )
        rows = self._sample(f"MATCH (:{a})-[r:{quote(kind)}]->(:{b}) {ours}WITH r AS x", count)
        return RelationshipProfile(start, kind, end, count, out[0], into[0], out[1], into[1], _summarise(rows))

    # -- samples -------------------------------------------------------------------------------------------------------

    def _sample(self, match: str, count: int) -> list[list[tuple[str, str, Any, int | None]]]:
        """The properties of some of the `x` that a clause matches: (name, type, value cut short, length) each.

        Which, is drawn by a hash of their numbers in the database, so that the same graph has the same sample.
        """
        share = _SAMPLED * 1.5 / max(min(count, SCANNED), 1)
        chosen = "" if share >= 1 else (
            "WITH x LIMIT $limit WITH x, toInteger(split(elementId(x), ':')[2]) AS n "
            "WHERE ((n % $prime) * 7919) % $prime < $least "
        )  # fmt: skip
        query = (
            f"{match} {chosen}WITH x LIMIT $most "
            "RETURN [p IN keys(x) WHERE NOT p STARTS WITH $own | [p, valueType(x[p]), "
            "CASE WHEN valueType(x[p]) STARTS WITH 'STRING' THEN left(x[p], $cut) "
            "WHEN valueType(x[p]) STARTS WITH 'LIST' THEN [v IN x[p][..5] | left(toStringOrNull(v), $cut)] "
            "ELSE toStringOrNull(x[p]) END, "
            "CASE WHEN valueType(x[p]) STARTS WITH 'STRING' THEN size(x[p]) END]]"
        )
        found = self._read(
            query, limit=SCANNED, prime=_PRIME, least=math.ceil(share * _PRIME), most=_SAMPLED, cut=_CUT,
            own=RELEASE_PREFIX,
        )  # fmt: skip
        return [[(name, kind, value, size) for name, kind, value, size in row[0]] for row in found]

    def _read(self, query: str, **parameters: object) -> list[list[Any]]:
        return self.connection.read(query, parameters)


def _not_ours(kind: str) -> str:
    """The clause on `r` that leaves out what `kgrec publish` wrote, for the types that it writes."""
    own = f"coalesce(toStringOrNull(r.version), '') STARTS WITH '{VERSION_PREFIX}'"
    return f"WHERE NOT {own} " if kind in RELEASE_TYPES else ""


def _sum_over(ends: Groups, place: int) -> dict[LabelSet, int]:
    summed: dict[LabelSet, int] = defaultdict(int)
    for labels, n in ends.items():
        summed[labels[place]] += n
    return summed


def _may_be_key(one: PropertyProfile) -> bool:
    return one.distinct > 0.9 and one.coverage > 0.5 and find_kind(one) in ("string", "int")  # noqa: PLR2004


def _key_order(one: PropertyProfile, is_constrained: bool) -> tuple[float, ...]:
    return -is_constrained, -round(one.coverage * one.distinct, 3), one.mean_length


def _summarise(rows: Iterable[Sequence[tuple[str, str, Any, int | None]]]) -> dict[str, PropertyProfile]:
    """Profiles of the properties of sampled nodes or relationships, by name."""
    values: dict[str, list[tuple[str, Any, int | None]]] = defaultdict(list)
    n_rows = 0
    for row in rows:
        n_rows += 1
        for name, kind, value, size in row:
            values[name].append((kind, value, size))
    return {name: _summarise_values(name, found, n_rows) for name, found in sorted(values.items())}


def _summarise_values(name: str, found: Sequence[tuple[str, Any, int | None]], n_rows: int) -> PropertyProfile:
    kinds: dict[Kind, int] = defaultdict(int)
    numbers = []
    for kind, value, _ in found:
        kinds[_to_kind(kind)] += 1
        if kind.startswith(("INTEGER", "FLOAT")) and value is not None and math.isfinite(float(value)):
            numbers.append(float(value))
    shown = [
        " | ".join(v for v in value if v is not None) if isinstance(value, list) else value for _, value, _ in found
    ]
    distinct = dict.fromkeys(zip(shown, (size for _, _, size in found), strict=True))
    sizes = [len(text or "") if size is None else size for text, (_, _, size) in zip(shown, found, strict=True)]
    return PropertyProfile(
        name=name,
        kinds=kinds,
        coverage=len(found) / n_rows,
        distinct=len(distinct) / len(found),
        mean_length=sum(sizes) / len(sizes),
        low=min(numbers, default=None),
        high=max(numbers, default=None),
        samples=tuple(dict.fromkeys(text for text, _ in distinct if text))[:_MOST_SAMPLES],
    )


def _to_kind(value_type: str) -> Kind:
    """The kind of a value from Cypher's valueType(), such as "LIST<STRING NOT NULL> NOT NULL"."""
    if value_type.startswith("LIST"):
        return "list" if "STRING" in value_type else "vector"
    first = value_type.removesuffix(" NOT NULL")
    known: dict[str, Kind] = {
        "STRING": "string",
        "INTEGER": "int",
        "FLOAT": "float",
        "BOOLEAN": "bool",
        "DATE": "time",
        "ZONED DATETIME": "time",
        "LOCAL DATETIME": "time",
        "POINT": "point",
    }
    return known.get(first, "other")
