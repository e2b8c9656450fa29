"""Reads what a Neo4j database looks like, for a draft of a schema: counts where that is cheap, samples elsewhere.

Nothing is written. Labels are counted over all nodes; relationships over all of a type up to `SCANNED`, beyond that
over the first of them; degrees come from the database's own counts; properties from a sample, cut short by the server;
a property that may be the key is counted in full, on up to `SCANNED` nodes.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from graph_schema.drafts.interaction_candidates import find_interactions
from graph_schema.drafts.profile import GraphProfile, Guess, NodeProfile, PropertyProfile, RelationshipProfile
from graph_schema.drafts.roles import find_kind
from kgrec.store.neo4j.connection import Address, Connection, quote
from kgrec.store.neo4j.graph_samples import read_example, sample_properties
from kgrec.store.neo4j.label_groups import (
    Group,
    LabelChoice,
    LabelCounts,
    LabelSet,
    choose_groups,
    count_labels,
    find_covering_group,
)
from kgrec.store.neo4j.layout import (
    META_LABEL,
    RELEASE_LABEL,
    RELEASE_TYPES,
    name_parts,
    to_steps,
    walk,
)
from kgrec.store.neo4j.path_candidates import PathCandidate, find_path_candidates
from kgrec.store.neo4j.property_profiles import SampledValue, summarise
from kgrec.store.neo4j.release import VERSION_PREFIX

SCANNED = 2_000_000  # relationships of one type whose ends' labels are read; nodes on which a key is counted
_PATHS_SCANNED = 500_000
_MOST_KEYS = 3  # properties per label that are counted in full, to see whether they are unique
_KEY_COVERAGE = 0.95  # of a key that nodes of several labels have in common

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
    nodes: dict[str, NodeProfile] = field(default_factory=dict)

    def run(self) -> GraphProfile:
        self.on_stage("counting labels")
        label_sets = self._read_label_sets()
        self.on_stage("counting relationships")
        ends = self._read_ends()
        choice = choose_groups(label_sets, self._find_kept(label_sets, ends))
        self.guesses += choice.guesses
        constrained = self._read_constrained()
        self.on_stage("looking at nodes")
        for group in choice.groups:
            own = {labels: n for labels, n in label_sets.items() if labels.intersection(group)}
            unique = set().union(*(constrained.get(label, set()) for label in frozenset.intersection(*own)))
            self.nodes[group[0]] = self._read_node(group, sum(own.values()), unique)
        self.on_stage("looking at relationships")
        relationships = []
        for kind, found in ends.items():
            relationships += self._read_relationships(kind, found, choice)
        paths = [self._read_path(one) for one in find_path_candidates(relationships)]
        address = Address.parse(self.connection.url)
        return GraphProfile(
            place=self.connection.url,
            name=address.database or "catalogue",
            nodes=self.nodes,
            relationships=(*relationships, *(one for one in paths if one.count)),
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

    def _read_ends(self) -> dict[str, Groups]:
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

    def _find_kept(self, label_sets: LabelCounts, ends: Mapping[str, Groups]) -> list[Group]:
        """The labels that the most likely interaction needs; no others matter as much."""
        counts = count_labels(label_sets)
        found_ends = {
            kind: tuple(find_covering_group(_sum_over(found, place), counts) for place in (0, 1))
            for kind, found in ends.items()
        }
        if all(len(labels) == 1 for labels in label_sets) and not any(
            group is not None and len(group) > 1 for both in found_ends.values() for group in both
        ):
            return []
        relationships, groups, nodes = [], {}, {}
        for kind, (start, end) in found_ends.items():
            if start is not None and end is not None:
                for group in (start, end):
                    groups["|".join(group)] = group
                    n_nodes = sum(n for labels, n in label_sets.items() if labels.intersection(group))
                    nodes["|".join(group)] = NodeProfile("|".join(group), n_nodes, {}, label=group[0])
                found = self._read_relationship(start, kind, end, sum(ends[kind].values()), is_whole=True)
                relationships.append(replace(found, start="|".join(start), end="|".join(end)))
        likely = find_interactions(GraphProfile("", "", nodes, tuple(relationships)))
        if not likely:
            return []
        kept = [groups[name] for name in (likely[0].user, likely[0].item)]
        if set(kept[0]) & set(kept[1]):
            return []
        return [group if self._have_common_key(group, label_sets) else group[:1] for group in kept]

    def _have_common_key(self, group: Group, label_sets: LabelCounts) -> bool:
        """Whether the nodes of several labels have one property that tells all of them apart."""
        if len(group) == 1:
            return True
        n_nodes = sum(n for labels, n in label_sets.items() if labels.intersection(group))
        properties = self._read_node(group, n_nodes, set()).properties.values()
        return any(one.is_unique and one.coverage >= _KEY_COVERAGE for one in properties)

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

    def _read_node(self, group: Group, count: int, constrained: set[str]) -> NodeProfile:
        properties = summarise(self._sample(f"MATCH (x:{_join(group)})", count))
        wanted = [
            name
            for name, one in sorted(properties.items(), key=lambda found: _key_order(found[1], found[0] in constrained))
            if name in constrained or _may_be_key(one)
        ]
        for name in wanted[:_MOST_KEYS]:
            properties[name] = self._count_values(group, properties[name], count, name in constrained)
        return NodeProfile(group[0], count, properties, label=group[0], labels=group if len(group) > 1 else ())

    def _count_values(self, group: Group, one: PropertyProfile, count: int, is_constrained: bool) -> PropertyProfile:
        """A property with its coverage and uniqueness counted over all nodes of the labels."""
        if count > SCANNED:
            return replace(one, is_constrained=is_constrained, is_unique=is_constrained or None)
        value = f"x.{quote(one.name)}"
        distinct = "0" if is_constrained else f"count(DISTINCT {value})"
        ((n, n_distinct),) = self._read(f"MATCH (x:{_join(group)}) RETURN count({value}), {distinct}")
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

    def _read_relationships(self, kind: str, ends: Groups, choice: LabelChoice) -> list[RelationshipProfile]:
        pairs: dict[tuple[Group, Group], int] = defaultdict(int)
        n_lost = 0
        for (starts, targets), n in ends.items():
            start, end = choice.find(starts), choice.find(targets)
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

    def _read_relationship(
        self, start: Group, kind: str, end: Group, count: int, *, is_whole: bool
    ) -> RelationshipProfile:
        """The relationships between two labels; `is_whole`: the type has no others, so that degrees need no walk."""
        a, b = _join(start), _join(end)
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
        example = self._read_example(start[0], f"(a:{a})-[r:{quote(kind)}]->(b:{b}) {ours}", end[0], "[r]")
        return RelationshipProfile(
            start[0], kind, end[0], count, out[0], into[0], out[1], into[1], summarise(rows), example=example
        )

    def _read_path(self, found: PathCandidate) -> RelationshipProfile:
        """The pairs of nodes that a path links, each counted once."""
        a, via, b = (_join(_labels_of(self.nodes[name])) for name in (found.start, found.via, found.end))
        last, middle, first = name_parts("r", len(found.path))
        start, end = to_steps(found.path)
        match = f"(a:{a}){walk([start], first)}({middle}:{via}){walk([end], last)}(b:{b})"
        parts = f"[{last}, {middle}, {first}]"
        share = max(found.count / _PATHS_SCANNED, 1.0)
        each = f"MATCH {match} WITH a, b LIMIT $limit"
        (out,) = self._read(
            f"{each} WITH a, count(DISTINCT b) AS d RETURN sum(d), count(d), coalesce(max(d), 0)", limit=_PATHS_SCANNED
        )
        (into,) = self._read(
            f"{each} WITH b, count(DISTINCT a) AS d RETURN count(d), coalesce(max(d), 0)", limit=_PATHS_SCANNED
        )
        rows = self._sample(f"MATCH {match} WITH {last} AS x, {parts} AS parts", found.count, "parts")
        return RelationshipProfile(
            found.start, "_".join(step.removeprefix("<") for step in found.path), found.end,
            count=round(out[0] * share), n_starts=out[1], n_ends=into[0], max_out=out[2], max_in=into[1],
            properties=summarise(rows), path=found.path, via=(found.via,),
            example=self._read_example(found.start, match, found.end, parts),
        )  # fmt: skip

    def _read_example(self, start: str, match: str, end: str, parts: str) -> str:
        """One of the relationships in words: the names of its ends, and its properties."""
        if start not in self.nodes or end not in self.nodes:
            return ""  # whose properties are not read yet
        return read_example(self.connection, match, (self.nodes[start], self.nodes[end]), parts)

    def _sample(self, match: str, count: int, parts: str = "") -> list[list[SampledValue]]:
        return sample_properties(self.connection, match, min(count, SCANNED), parts)

    def _read(self, query: str, **parameters: object) -> list[list[Any]]:
        return self.connection.read(query, parameters)


def _not_ours(kind: str) -> str:
    """The clause on `r` that leaves out what `kgrec publish` wrote, for the types that it writes."""
    own = f"coalesce(toStringOrNull(r.version), '') STARTS WITH '{VERSION_PREFIX}'"
    return f"WHERE NOT {own} " if kind in RELEASE_TYPES else ""


def _join(group: Group) -> str:
    """The label expression of a group."""
    return "|".join(map(quote, group))


def _labels_of(node: NodeProfile) -> Group:
    return node.labels or (node.label or node.name,)


def _sum_over(ends: Groups, place: int) -> dict[LabelSet, int]:
    summed: dict[LabelSet, int] = defaultdict(int)
    for labels, n in ends.items():
        summed[labels[place]] += n
    return summed


def _may_be_key(one: PropertyProfile) -> bool:
    return one.distinct > 0.9 and one.coverage > 0.5 and find_kind(one) in ("string", "int", "float")  # noqa: PLR2004


def _key_order(one: PropertyProfile, is_constrained: bool) -> tuple[float, ...]:
    return -is_constrained, -round(one.coverage * one.distinct, 3), find_kind(one) == "float", one.mean_length
