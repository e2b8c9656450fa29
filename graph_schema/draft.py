"""From a profile to a schema: a TOML file with comments, to be mended by hand, and what was guessed in it."""

import json
import re
import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from graph_schema.catalogue import SOURCE, TARGET, CatalogueSchema, EdgeType, Interaction, NodeType, is_name
from graph_schema.errors import CatalogueError
from graph_schema.profile import GraphProfile, Guess, PropertyProfile, RelationshipProfile, Sureness
from graph_schema.roles import (
    LEAST_COVERAGE,
    Candidate,
    find_interactions,
    find_item_label,
    find_key,
    find_kind,
    find_name,
    find_positive,
    find_texts,
    find_time,
    find_type,
    find_unit,
    find_weight,
    is_called,
    is_personal,
    is_user_label,
    is_weight_name,
    split_words,
)

WIDTH = 120
_COMMENT_AT = 40
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SURE_SCORE, _LIKELY_SCORE = 8, 5
_USER, _USER_LABEL, _USER_KEY, _EDGE, _EDGE_TYPE = "user", "User", "user_id", "interacted", "INTERACTED"

Path = tuple[str, ...]  # of a table or a key in a TOML file: ("nodes", "film", "key")


@dataclass(frozen=True)
class Draft:
    """A schema that was concluded from a profile.

    Attributes:
        toml: the schema as a commented TOML file.
        schema: the same; with stand-ins for what is missing when it is not complete.
        guesses: what was concluded, the weightiest first.
        left_out: what is in the data and not in the schema, a sentence each.
        is_complete: there is an interaction to learn from; else the TOML has a place to fill in.
        advice: how to add what is missing; empty when it is complete.
    """

    toml: str
    schema: CatalogueSchema
    guesses: tuple[Guess, ...]
    left_out: tuple[str, ...]
    is_complete: bool
    advice: str = ""


def to_toml(schema: CatalogueSchema) -> str:
    """The schema as a TOML file that `CatalogueSchema.parse` reads back the same."""
    return _write(schema, {}, ())


def draft_schema(profile: GraphProfile) -> Draft:
    """Drafts a schema.

    Raises:
        CatalogueError: there is nothing in the profile that could be a catalogue.
    """
    if not any(node.count for node in profile.nodes.values()):
        said = f" ({'; '.join(profile.left_out)})" if profile.left_out else ""
        raise CatalogueError(
            f"{profile.place} has no {'tables with rows' if profile.is_tables else 'nodes with labels'}{said}; "
            "expected items, what they are linked to, and who interacted with them"
        )
    return _Drafting(profile).run()


@dataclass
class _Drafting:
    """What is gathered while a draft is made."""

    profile: GraphProfile
    guesses: list[Guess] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    comments: dict[Path, str] = field(default_factory=dict)
    asides: set[Path] = field(default_factory=set)  # tables that are written as comments
    keys: dict[str, tuple[str, Sureness, str]] = field(default_factory=dict)  # label -> its key, how sure, why

    def run(self) -> Draft:
        self.left_out += self.profile.left_out
        self._drop_unusable()
        candidates = find_interactions(self.profile)
        chosen = candidates[0] if candidates else None
        item = chosen.item if chosen else find_item_label(self.profile)
        if item is None:
            raise CatalogueError(
                f"{self.profile.place} has nothing that a schema could hold: {'; '.join(self.left_out)}; mend that"
            )
        kept = self._find_connected(item, chosen)
        rivals = [c for c in candidates[1:] if chosen and {c.user, c.item} == {chosen.user, chosen.item}]
        types = self._name_nodes(kept)
        nodes = {types[label]: self._draft_node(label, types[label], chosen, item) for label in kept}
        edges: dict[str, EdgeType] = {}
        names = self._name_edges(kept, taken=set(nodes))
        for found, name in names.items():
            edges[name] = self._draft_edge(found, name, types, nodes, chosen)
            if any(found is rival.relationship for rival in rivals):
                self.asides.add(("edges", name))
                self.left_out.append(
                    f"{_arrow(found)} is written as a comment: it tells who chose what as the interaction does"
                )
        for other in candidates[1:]:
            self.guesses.append(
                Guess(
                    "other interaction",
                    _arrow(other.relationship),
                    "likely" if other.score >= _LIKELY_SCORE else "a guess",
                    f"{other.relationship.count:,} of them; to train on it, name it under [interaction]",
                )
            )
        if chosen is None:
            return self._finish_without(item, types, nodes, edges)
        edge = next(name for found, name in names.items() if found is chosen.relationship)
        interaction = self._draft_interaction(chosen, edge, edges[edge], has_rivals=len(candidates) > 1)
        schema = CatalogueSchema(name=_to_name(self.profile.name), nodes=nodes, edges=edges, interaction=interaction)
        return self._finish(schema, is_complete=True)

    # -- what can be held ----------------------------------------------------------------------------------------------

    def _drop_unusable(self) -> None:
        """Leaves out what a schema cannot name, and nodes that nothing tells apart, with their relationships."""
        is_tables = self.profile.is_tables
        nodes = {}
        for name, node in self.profile.nodes.items():
            usable = {key: one for key, one in node.properties.items() if is_name(key)}
            found = find_key(replace(node, properties=usable))
            if not (is_name(name) and is_name(node.label or name)):
                self.left_out.append(f"{_place(name, is_tables)}: a schema cannot hold that name ({node.count:,} rows)")
            elif found is None:
                advice = "" if is_tables else f"; one is added by MATCH (n:`{name}`) SET n.id = randomUUID()"
                self.left_out.append(
                    f"{_place(name, is_tables)}: its {node.count:,} nodes have no property to know them by{advice}"
                )
            else:
                nodes[name] = node
                self.keys[name] = found
        relationships = []
        for found_edge in self.profile.relationships:
            if found_edge.start not in nodes or found_edge.end not in nodes:
                self.left_out.append(f"{_arrow(found_edge)}: one of its ends is left out ({found_edge.count:,})")
            elif not is_name(found_edge.type):
                self.left_out.append(f"{_arrow(found_edge)}: a schema cannot hold that name ({found_edge.count:,})")
            else:
                relationships.append(found_edge)
        self.guesses += self.profile.guesses
        self.profile = GraphProfile(
            self.profile.place, self.profile.name, nodes, tuple(relationships), is_tables=is_tables
        )

    def _find_connected(self, item: str, chosen: Candidate | None) -> list[str]:
        """The labels that are linked to items or users, however far; the user first, then the item, then by count."""
        reached = {item, *([chosen.user] if chosen else [])}
        grown = True
        while grown:
            ends = [{found.start, found.end} for found in self.profile.relationships]
            more = set().union(*(pair for pair in ends if pair & reached)) - reached
            reached |= more
            grown = bool(more)
        for name, node in self.profile.nodes.items():
            if name not in reached:
                self.left_out.append(
                    f"{_place(name, self.profile.is_tables)}: nothing links it to {item} ({node.count:,} rows)"
                )
        first = [chosen.user, item] if chosen else [item]
        rest = sorted(reached - set(first), key=lambda name: (-self.profile.nodes[name].count, name))
        return [*first, *rest]

    # -- names ---------------------------------------------------------------------------------------------------------

    def _name_nodes(self, labels: Sequence[str]) -> dict[str, str]:
        if self.profile.is_tables:
            return {label: label for label in labels}
        types: dict[str, str] = {}
        for label in labels:
            types[label] = _distinct(_snake(label), types.values())
        return types

    def _name_edges(self, labels: Sequence[str], taken: set[str]) -> dict[RelationshipProfile, str]:
        found = [one for one in self.profile.relationships if one.start in labels and one.end in labels]
        if self.profile.is_tables:
            return {one: one.type for one in found}
        names: dict[RelationshipProfile, str] = {}
        types = [_snake(one.type) for one in found]
        for one, name in zip(found, types, strict=True):
            whole = f"{_snake(one.start)}_{name}_{_snake(one.end)}" if types.count(name) > 1 else name
            names[one] = _distinct(whole, {*taken, *names.values()})
        for kind in dict.fromkeys(one.type for one in found):
            shared = [one for one in found if one.type == kind]
            if len(shared) > 1:
                ends = ", ".join(f"{one.start} to {one.end} ({one.count:,})" for one in shared)
                self.guesses.append(
                    Guess(f":{kind}", f"{len(shared)} edge types", "sure", f"it is between several labels: {ends}")
                )
        return names

    # -- nodes and edges -----------------------------------------------------------------------------------------------

    def _draft_node(self, label: str, name: str, chosen: Candidate | None, item: str) -> NodeType:
        node = self.profile.nodes[label]
        key, sure, why = self.keys[label]
        is_user = chosen is not None and label == chosen.user
        role = "the users" if is_user else "the items" if label == item else ""
        usable = self._take_properties(f"{label}", ("nodes", name), node.properties, {key})
        shown = replace(node, properties=usable)
        title = find_name(shown, key)
        # what a user is called says nothing of taste
        texts = [text for text in find_texts(shown, key, title) if not (is_user and is_called(text))]
        attributes = {
            one.name: kind
            for one in usable.values()
            if one.name not in {key, title, *texts} and (kind := find_type(one)) is not None
        }
        path = ("nodes", name)
        rows = f"{node.count:,} {'rows' if self.profile.is_tables else 'nodes'}"
        if node.from_edges:
            rows = f"{node.count:,} named by edges, no table of their own"
        self.comments[path] = ", ".join(part for part in (role, rows) if part)
        self.comments[*path, "key"] = f"{sure}: {why}"
        self._comment_attributes(path, attributes, usable)
        parts = [f"key {key}" if key != title else f"key and name {key}"]
        parts += [f"name {title}"] if title and title != key and title not in texts else []
        parts += [f"text {', '.join(texts)}"] if texts else []
        self.guesses.append(Guess(label, "; ".join(parts), sure, why))
        if label == item and not texts and title is None:
            self.guesses.append(
                Guess(
                    "text of items",
                    "none",
                    "likely",
                    "they are told by what they are linked to; new items by that only",
                )
            )
        declared = {key, title, *texts, *attributes}
        return NodeType(
            label=node.label or label,
            key=key,
            name=title,
            text=tuple(texts),
            from_edges=node.from_edges,
            attributes=attributes,
            milliseconds=self._find_milliseconds(attributes, usable),
            ignore=self._find_ignored(node.properties, node.ignore, declared),
        )

    def _draft_edge(
        self,
        found: RelationshipProfile,
        name: str,
        types: Mapping[str, str],
        nodes: Mapping[str, NodeType],
        chosen: Candidate | None,
    ) -> EdgeType:
        is_chosen = chosen is not None and found is chosen.relationship
        reverse = chosen is not None and is_chosen and chosen.reverse
        path = ("edges", name)
        usable = self._take_properties(found.type, path, found.properties, set(), ends={SOURCE, TARGET})
        attributes = {one.name: kind for one in usable.values() if (kind := find_type(one)) is not None}
        self.comments[path] = f"{found.count:,} {'rows' if self.profile.is_tables else 'relationships'}"
        self._comment_attributes(path, attributes, usable)
        source, target = (found.end, found.start) if reverse else (found.start, found.end)
        columns: tuple[str | None, str | None] = (None, None)
        is_tables = self.profile.is_tables
        if is_tables:
            columns = (found.end_column, found.start_column) if reverse else (found.start_column, found.end_column)
            keys = nodes[types[source]].key, nodes[types[target]].key
            there = {*columns, *found.properties, *found.ignore}
            if columns == (SOURCE, TARGET) or (columns == keys and len(set(keys)) > 1 and not there & {SOURCE, TARGET}):
                columns = (None, None)
        return EdgeType(
            source=types[source],
            type=_to_name("_".join(split_words(found.type)).upper()) if is_tables else found.type,
            target=types[target],
            reverse=reverse and not is_tables,
            phrase=None if is_chosen else self._find_phrase(found, chosen.item if chosen else None),
            attributes=attributes,
            milliseconds=self._find_milliseconds(attributes, usable),
            source_column=columns[0],
            target_column=columns[1],
            ignore=self._find_ignored(found.properties, found.ignore, set(attributes)),
        )

    def _find_phrase(self, found: RelationshipProfile, item: str | None) -> str | None:
        """The name of what items share where one relationship leads there; else people read the type's own name."""
        beside = [one for one in self.profile.relationships if {one.start, one.end} == {found.start, found.end}]
        words = split_words(found.type)
        if len(beside) > 1 or found.start == found.end or words[-1:] == ["by"]:
            return None
        if is_user_label(self.profile.nodes[found.start]):
            return None
        node = self.profile.nodes[found.start if found.end == item else found.end]
        return " ".join(split_words(node.label or node.name))

    def _take_properties(
        self,
        owner: str,
        path: Path,
        properties: Mapping[str, PropertyProfile],
        needed: Collection[str],
        ends: Collection[str] = (),
    ) -> dict[str, PropertyProfile]:
        """The properties that a schema can hold; says of the others why not."""
        taken = {}
        for name, one in properties.items():
            kind = find_kind(one)
            if name in needed:
                reason = ""
            elif not is_name(name):
                reason = "a schema cannot hold that name"
            elif name in ends:
                reason = "a schema keeps 'source' and 'target' for the ends of edges"
            elif is_personal(name):
                reason = "it tells who a person is, or lets one in, and nothing of taste"
            elif kind is None and not one.kinds:
                reason = "it has no values"
            elif kind is None:
                counts = ", ".join(
                    f"{n:,} {of}" for of, n in sorted(one.kinds.items(), key=lambda found: -found[1]) if n
                )
                reason = f"its values are of several types ({counts} among those looked at)"
            elif kind == "vector":
                hint = (
                    ""
                    if ends
                    else f': if they are vectors of one width, add {_clean(name)} = "vector" to its attributes'
                )
                reason = f"it holds lists of numbers{hint}"
            elif kind == "other":
                reason = "a schema has no type for points, durations, times of day or what is nested"
            else:
                reason = ""
            if reason:
                self.left_out.append(f"{owner}.{_clean(name)}: {reason}")
            else:
                taken[name] = one
        return taken

    def _comment_attributes(
        self, path: Path, attributes: Mapping[str, str], properties: Mapping[str, PropertyProfile]
    ) -> None:
        for name in attributes:
            one = properties[name]
            some = "" if one.coverage > 0.9995 else f"{one.coverage:.0%} have it; "  # noqa: PLR2004
            unit = find_unit(one)
            if unit in ("seconds", "milliseconds"):
                told = f"epoch {unit}"
            elif one.low is not None and one.high is not None:
                told = f"{one.low:g} to {one.high:g}"
            else:
                told = "such as " + ", ".join(_clean(value, 20) for value in one.samples[:3]) if one.samples else ""
            self.comments[*path, "attributes", name] = (some + told).removesuffix("; ")

    def _find_milliseconds(
        self, attributes: Mapping[str, str], properties: Mapping[str, PropertyProfile]
    ) -> tuple[str, ...]:
        if not self.profile.is_tables:
            return ()  # a graph's times are read in any unit
        return tuple(name for name in attributes if find_unit(properties[name]) == "milliseconds")

    def _find_ignored(
        self, properties: Mapping[str, PropertyProfile], unnamed: Sequence[str], declared: Collection[str | None]
    ) -> tuple[str, ...]:
        """The columns of a table that are not declared; in a graph nobody asks what else there is."""
        if not self.profile.is_tables:
            return ()
        return tuple(name for name in (*properties, *unnamed) if name not in declared)

    # -- the interaction -----------------------------------------------------------------------------------------------

    def _draft_interaction(self, chosen: Candidate, edge: str, declared: EdgeType, *, has_rivals: bool) -> Interaction:
        found = chosen.relationship
        sure: Sureness = "likely" if chosen.score >= _LIKELY_SCORE else "a guess"
        if chosen.score >= _SURE_SCORE and not has_rivals:
            sure = "sure"
        why = "; ".join(chosen.reasons)
        guesses = [Guess("interaction", _arrow(found), sure, why)]
        self.comments["interaction", "edge"] = sure
        if chosen.reverse and not self.profile.is_tables:
            guesses.append(Guess("direction", "reverse = true", sure, f"it points from {chosen.item} to {chosen.user}"))
        guesses.append(Guess("user, item", f"{chosen.user}, {chosen.item}", sure, "who chooses, and what is chosen"))
        time = find_time(found)
        at = time[0] if time and declared.attributes.get(time[0]) == "time" else None
        weight = find_weight(found, at)
        if weight is not None and declared.attributes.get(weight) not in ("int", "float"):
            weight = None
        positive, reason = (None, "") if weight is None else find_positive(found.properties[weight])
        if weight is not None:
            named = is_weight_name(weight)
            guesses.append(Guess("weight", weight, "likely" if named else "a guess", "a number on every interaction"))
            self.comments["interaction", "weight"] = "likely" if named else "a guess"
            guesses.append(
                Guess(
                    "a like",
                    "every one" if positive is None else f"{weight} >= {positive:g}",
                    "a guess",
                    reason,
                )
            )
            if positive is not None:
                self.comments["interaction", "positive"] = f"a guess: {reason}"
        if at is not None and time is not None:
            written = {
                "time": "of the database's own type",
                "text": "ISO 8601",
                "seconds": "epoch seconds",
                "milliseconds": "epoch milliseconds",
            }[time[1]]
            sure_time: Sureness = "sure" if time[1] in ("time", "text") else "likely"
            guesses.append(Guess("time", at, sure_time, f"{written}; evaluation splits by it"))
            self.comments["interaction", "at"] = f"{sure_time}: {written}"
        self._say_partial(found, {weight, at})
        self.guesses[:0] = guesses
        return Interaction(edge=edge, weight=weight, at=at, positive=positive)

    def _say_partial(self, found: RelationshipProfile, used: Collection[str | None]) -> None:
        for one in found.properties.values():
            if one.name in used and one.coverage < 1:
                told = f"{1 - one.coverage:.1%} lack it: those interactions are rejected"
                self.guesses.append(Guess(one.name, "kept", "likely", told))
            elif one.name not in used and one.coverage < LEAST_COVERAGE and find_type(one) in ("time", "int", "float"):
                told = f"only {one.coverage:.0%} have it; as the weight or time it would cost the others"
                self.guesses.append(Guess(one.name, "an attribute only", "likely", told))

    # -- the end -------------------------------------------------------------------------------------------------------

    def _finish_without(
        self, item: str, types: Mapping[str, str], nodes: dict[str, NodeType], edges: dict[str, EdgeType]
    ) -> Draft:
        """A draft without an interaction: a place to fill in, and how to bring the data."""
        is_tables = self.profile.is_tables
        named = next((label for label in types if is_user_label(self.profile.nodes[label])), None)
        edge_name = _distinct(_EDGE, {*nodes, *edges})
        if named is None:
            user = _distinct(_USER, {*nodes, *edges, edge_name})
            label = _distinct(_USER_LABEL, [node.label for node in nodes.values()])
            nodes = {user: NodeType(label=label, key=_USER_KEY, from_edges=is_tables), **nodes}
            self.asides.add(("nodes", user))
            self.comments["nodes", user] = "to fill in: who chooses"
        else:
            user = types[named]
        edges[edge_name] = EdgeType(
            source=user, type=_EDGE_TYPE, target=types[item], attributes={"weight": "float", "at": "time"}
        )
        self.asides |= {("edges", edge_name), ("interaction",)}
        self.comments["edges", edge_name] = "to fill in: who chose what"
        interaction = Interaction(edge=edge_name, weight="weight", at="at")
        schema = CatalogueSchema(name=_to_name(self.profile.name), nodes=nodes, edges=edges, interaction=interaction)
        self.guesses[:0] = [
            Guess(
                "interaction",
                "none found",
                "likely",
                "nothing looks like people who choose items",
            ),
            Guess("item", item, "a guess", "its name, text and links"),
        ]
        advice = _advise_tables(schema) if is_tables else _advise_graph(schema, self._key_kind(item))
        return self._finish(schema, is_complete=False, advice=advice)

    def _key_kind(self, label: str) -> str:
        return str(find_kind(self.profile.nodes[label].properties[self.keys[label][0]]))

    def _finish(self, schema: CatalogueSchema, *, is_complete: bool, advice: str = "") -> Draft:
        head = [
            f"Drafted by `kgrec inspect` from {_clean(self.profile.place, 80)}: look it over, and mend it by hand.",
            "What is after '#' is a comment; what it says of values is from those that were looked at.",
        ]
        if not is_complete:
            head = [
                f"NOT COMPLETE. Drafted by `kgrec inspect` from {_clean(self.profile.place, 80)}.",
                "There are no interactions in the data, and kgrec learns from interactions. Add them as told here,",
                "take the '# ' away before the tables below that are comments, and the file is complete.",
                "",
                *advice.splitlines(),
            ]
        foot = ["", *(_wrap(f"Left out: {sentence}") for sentence in self.left_out)] if self.left_out else []
        text = "\n".join(
            [
                *(f"# {line}".rstrip() for line in head),
                "",
                _write(schema, self.comments, self.asides).rstrip(),
                *foot,
                "",
            ]
        )
        # what is written must be read back, and so must what it is once the comments are taken away
        CatalogueSchema.parse(_write(schema, self.comments, ()), origin="the draft")
        if is_complete:
            schema = CatalogueSchema.parse(text, origin="the draft")
        return Draft(text, schema, tuple(self.guesses), tuple(self.left_out), is_complete, advice)


def _advise_graph(schema: CatalogueSchema, item_key_kind: str) -> str:
    edge = schema.edges[schema.interaction.edge]
    user, item = schema.nodes[edge.source], schema.nodes[edge.target]
    item_id = "toInteger(row.item)" if item_key_kind == "int" else "row.item"
    return (
        "From a file interactions.csv with columns user, item, weight, at (ISO 8601) in the server's import folder:\n"
        "\n"
        f"  CREATE CONSTRAINT IF NOT EXISTS FOR (u:`{user.label}`) REQUIRE u.`{user.key}` IS UNIQUE;\n"
        "  LOAD CSV WITH HEADERS FROM 'file:///interactions.csv' AS row\n"
        "  CALL (row) {\n"
        f"    MATCH (i:`{item.label}` {{`{item.key}`: {item_id}}})\n"
        f"    MERGE (u:`{user.label}` {{`{user.key}`: row.user}})\n"
        f"    MERGE (u)-[r:`{edge.type}`]->(i)\n"
        "    SET r.weight = toFloat(row.weight), r.at = datetime(row.at)\n"
        "  } IN TRANSACTIONS OF 10000 ROWS;\n"
    )


def _advise_tables(schema: CatalogueSchema) -> str:
    chosen = schema.interaction.edge
    item = schema.nodes[schema.item_type]
    return (
        f"Add a table {chosen}.csv with the columns source (a user's id), target ({item.key} of {schema.item_type}),\n"
        "weight (a number) and at (epoch seconds or ISO 8601).\n"
    )


# -- TOML --------------------------------------------------------------------------------------------------------------


def _write(schema: CatalogueSchema, comments: Mapping[Path, str], asides: Collection[Path]) -> str:
    """Writes a schema; tables among `asides` become comments."""
    lines = [f"name = {_string(schema.name)}"]
    tables: list[tuple[Path, NodeType | EdgeType | Interaction]] = [
        *((("nodes", name), node) for name, node in schema.nodes.items()),
        *((("edges", name), edge) for name, edge in schema.edges.items()),
        (("interaction",), schema.interaction),
    ]
    rulers = {"nodes": "Nodes: what there is", "edges": "Edges: what is linked", "interaction": "The edge to predict"}
    for path, declared in tables:
        if comments and path[0] in rulers:
            lines += ["", f"# --- {rulers.pop(path[0])} ".ljust(WIDTH, "-")]
        written = _write_table(path, declared, comments)
        lines += ["", *(f"# {line}" for line in written)] if path in asides else ["", *written]
    return "\n".join(lines) + "\n"


def _write_table(path: Path, declared: NodeType | EdgeType | Interaction, comments: Mapping[Path, str]) -> list[str]:
    lines = _with_comment(f"[{'.'.join(map(_key, path))}]", comments.get(path))
    attributes: dict[str, object] = {}
    for name, value in declared.model_dump(exclude_defaults=True).items():
        if name == "attributes":
            attributes = value
            continue
        lines += _with_comment(f"{name} = {_value(value)}", comments.get((*path, name)))
    if attributes:
        inside = (*path, "attributes")
        lines.append(f"[{'.'.join(map(_key, inside))}]")
        for name, value in attributes.items():
            lines += _with_comment(f"{_key(name)} = {_value(value)}", comments.get((*inside, name)))
    return lines


def _with_comment(line: str, comment: str | None) -> list[str]:
    """The line with its comment behind it, or before it where that would be too long."""
    if not comment:
        return [line]
    comment = _clean(comment, 400)
    beside = f"{line.ljust(_COMMENT_AT)}  # {comment}"
    return [beside] if len(beside) <= WIDTH else [_wrap(comment), line]


def _wrap(text: str) -> str:
    return textwrap.fill(
        _clean(text, 2000), WIDTH - 2, initial_indent="# ", subsequent_indent="#   ", break_on_hyphens=False
    )


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _string(name)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value) if isinstance(value, int | float) else _string(str(value))


def _string(text: str) -> str:
    # JSON's escapes are TOML's; it leaves DEL alone, which TOML wants escaped
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _clean(text: str, most: int = 60) -> str:
    """Text as a comment may hold it: on one line, without control characters, not too long."""
    plain = "".join(char if char.isprintable() else " " for char in " ".join(text.split()))
    return plain if len(plain) <= most else plain[: most - 1] + "…"


# -- names -------------------------------------------------------------------------------------------------------------


def _snake(name: str) -> str:
    made = "_".join(split_words(name))
    return made if is_name(made) else name


def _to_name(text: str) -> str:
    made = re.sub(r"[^\w .-]+|^[\W\d_]+", "-", text).strip("-. ")
    return made if is_name(made) else "catalogue"


def _distinct(name: str, taken: Collection[str]) -> str:
    made, n = name, 1
    while made in taken:
        n += 1
        made = f"{name}_{n}"
    return made


def _arrow(found: RelationshipProfile) -> str:
    if found.start_column:
        return f"{found.type} ({found.start_column} to {found.end_column})"
    return f"(:{found.start})-[:{found.type}]->(:{found.end})"


def _place(name: str, is_tables: bool) -> str:
    return f"the table {name}" if is_tables else f":{name}"
