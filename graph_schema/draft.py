"""From a profile to a schema: a commented TOML file for people to correct, and the guesses behind it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from graph_schema.attribute_draft import draft_attributes
from graph_schema.base_errors import CatalogueError
from graph_schema.catalogue_schema import CatalogueSchema
from graph_schema.interaction_candidates import (
    LIKELY_SCORE,
    Candidate,
    find_interactions,
    find_item_label,
    is_user_label,
)
from graph_schema.interaction_draft import draft_interaction
from graph_schema.missing_interaction import add_placeholder, advise_graph, advise_tables
from graph_schema.name_words import is_called, is_sensitive_name, split_words
from graph_schema.profile import GraphProfile, Guess, PropertyProfile, RelationshipProfile, Sureness
from graph_schema.roles import find_kind, find_name, find_texts, find_type, find_unit, is_category, is_list
from graph_schema.schema_toml import TomlPath, to_one_line, wrap_comment, write_schema
from graph_schema.schema_types import SOURCE, TARGET, EdgeType, NodeType
from graph_schema.type_names import name_edges, name_nodes, to_name
from graph_schema.usable_parts import describe_relationship, find_connected, find_usable, find_usable_properties
from graph_schema.user_links import join_users, phrase_user_link

_WHOLE = 0.9995  # a coverage that is shown as 100%


@dataclass(frozen=True)
class Draft:
    """A schema drafted from a profile.

    Attributes:
        toml: the schema as a commented TOML file.
        schema: the same; where it is not complete, with placeholders for what is missing.
        guesses: what was concluded, the most important first.
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


def draft_schema(profile: GraphProfile) -> Draft:
    """Drafts a schema.

    Raises:
        CatalogueError: the profile has nothing that could be a catalogue.
    """
    if not any(node.count for node in profile.nodes.values()):
        reasons = f" ({'; '.join(profile.left_out)})" if profile.left_out else ""
        raise CatalogueError(
            f"{profile.place} has no {'tables with rows' if profile.is_tables else 'nodes with labels'}{reasons}; "
            "expected items, what they are linked to, and who interacted with them"
        )
    joined = join_users(profile)
    usable = find_usable(joined)
    return _Drafting(usable.profile, usable.keys, list(joined.guesses), list(usable.left_out)).run()


@dataclass
class _Drafting:
    """What is gathered while a draft is made."""

    profile: GraphProfile
    keys: Mapping[str, tuple[str, Sureness, str]]  # label -> its key, how sure, why
    guesses: list[Guess]
    left_out: list[str]
    comments: dict[TomlPath, str] = field(default_factory=dict)
    asides: set[TomlPath] = field(default_factory=set)  # tables that are written as comments

    def run(self) -> Draft:
        candidates = find_interactions(self.profile)
        chosen = candidates[0] if candidates else None
        item = chosen.item if chosen else find_item_label(self.profile)
        if item is None:
            raise CatalogueError(
                f"{self.profile.place} has nothing that a schema can hold: {'; '.join(self.left_out)}; correct that "
                "first"
            )
        labels, unlinked = find_connected(self.profile, item, chosen.user if chosen else None)
        self.left_out += unlinked
        types = name_nodes(self.profile, labels)
        nodes = {types[label]: self._draft_node(label, types[label], chosen, item) for label in labels}
        names, guesses = name_edges(self.profile, labels, taken=nodes)
        self.guesses += guesses
        edges = {name: self._draft_edge(found, name, types, nodes, chosen) for found, name in names.items()}
        self._note_rivals(candidates, names)
        if chosen is None:
            return self._finish_without(item, types, nodes, edges)
        edge = next(name for found, name in names.items() if found is chosen.relationship)
        interaction, guesses, comments = draft_interaction(
            chosen, edge, edges[edge].attributes, has_rivals=len(candidates) > 1, is_tables=self.profile.is_tables
        )
        self.guesses[:0] = guesses
        self.comments |= comments
        schema = CatalogueSchema(name=to_name(self.profile.name), nodes=nodes, edges=edges, interaction=interaction)
        return self._finish(schema, is_complete=True)

    def _note_rivals(self, candidates: list[Candidate], names: Mapping[RelationshipProfile, str]) -> None:
        """Notes other possible interactions; those of the same users and items become comments."""
        for other in candidates[1:]:
            arrow = describe_relationship(other.relationship)
            if {other.user, other.item} == {candidates[0].user, candidates[0].item}:
                self.asides.add(("edges", names[other.relationship]))
                self.left_out.append(f"{arrow} is written as a comment: like the interaction, it says who chose what")
            self.guesses.append(
                Guess(
                    "other interaction",
                    arrow,
                    "likely" if other.score >= LIKELY_SCORE else "a guess",
                    f"{other.relationship.count:,} of them; to train on it, name it under [interaction]",
                )
            )

    # -- nodes and edges -----------------------------------------------------------------------------------------------

    def _draft_node(self, label: str, name: str, chosen: Candidate | None, item: str) -> NodeType:
        node = self.profile.nodes[label]
        key, sure, why = self.keys[label]
        is_user = chosen is not None and label == chosen.user
        role = "the users" if is_user else "the items" if label == item else ""
        usable, left_out = find_usable_properties(label, node.properties, needed={key})
        self.left_out += left_out
        # what is sensitive is neither the name nor a text of users
        described = {one: found for one, found in usable.items() if not (is_user and is_sensitive_name(one))}
        shown = replace(node, properties=described)
        title = find_name(shown, key)
        texts = [
            text
            for text in find_texts(shown, key, title)
            if text == title or not (is_list(usable[text]) or is_category(usable[text]))
        ]
        if is_user:  # a user's name says nothing about taste
            texts = [text for text in texts if not is_called(text)]
        others = [one for one in usable.values() if one.name not in {key, title, *texts}]
        drafted = draft_attributes(others, n_nodes=node.count, is_user=is_user)
        path = ("nodes", name)
        rows = f"{node.count:,} {'rows' if self.profile.is_tables else 'nodes'}"
        if node.from_edges:
            rows = f"{node.count:,} named by edges, no table of their own"
            if len(node.properties) > 1:
                rows = f"{node.count:,} rows, and any that only edges name"
        self.comments[path] = ", ".join(part for part in (role, rows) if part)
        self.comments[*path, "key"] = f"{sure}: {why}"
        self._comment_attributes(path, {one: found.remark for one, found in drafted.items()}, usable)
        parts = [f"key {key}" if key != title else f"key and name {key}"]
        parts += [f"name {title}"] if title and title != key and title not in texts else []
        parts += [f"text {', '.join(texts)}"] if texts else []
        self.guesses.append(Guess(label, "; ".join(parts), sure, why))
        if label == item and not texts and title is None:
            why = "items are described by their links alone, and so are new ones"
            self.guesses.append(Guess("text of items", "none", "likely", why))
        declared = {key, title, *texts, *drafted}
        return NodeType(
            label=node.label or label,
            key=key,
            name=title,
            text=tuple(texts),
            from_edges=node.from_edges,
            attributes={one: found.attribute for one, found in drafted.items()},
            milliseconds=self._find_milliseconds(drafted, usable),
            ignore=self._find_ignored([*node.properties, *node.ignore], declared),
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
        usable, left_out = find_usable_properties(found.type, found.properties, ends={SOURCE, TARGET})
        self.left_out += left_out
        attributes = {one.name: kind for one in usable.values() if (kind := find_type(one)) is not None}
        self.comments[path] = f"{found.count:,} {'rows' if self.profile.is_tables else 'relationships'}"
        self._comment_attributes(path, dict.fromkeys(attributes, ""), usable)
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
            type=to_name("_".join(split_words(found.type)).upper()) if is_tables else found.type,
            target=types[target],
            reverse=reverse and not is_tables,
            phrase=None if is_chosen else self._find_phrase(found, chosen),
            attributes=attributes,
            milliseconds=self._find_milliseconds(attributes, usable),
            source_column=columns[0],
            target_column=columns[1],
            ignore=self._find_ignored([*found.properties, *found.ignore], set(attributes)),
        )

    def _find_phrase(self, found: RelationshipProfile, chosen: Candidate | None) -> str | None:
        """The name of what nodes share, where one relationship leads there; None: people read the type's own name."""
        ends = {found.start, found.end}
        users = {chosen.user} if chosen else {name for name in ends if is_user_label(self.profile.nodes[name])}
        is_parallel = sum({one.start, one.end} == ends for one in self.profile.relationships) > 1
        if found.start == found.end:
            return phrase_user_link(self.profile, found, found.start) if ends <= users else None
        if is_parallel or split_words(found.type)[-1:] == ["by"] or (chosen and ends == {chosen.user, chosen.item}):
            return None
        if ends & users:
            return phrase_user_link(self.profile, found, min(ends & users))
        node = self.profile.nodes[found.start if chosen and found.end == chosen.item else found.end]
        return " ".join(split_words(node.label or node.name))

    def _comment_attributes(
        self, path: TomlPath, remarks: Mapping[str, str], properties: Mapping[str, PropertyProfile]
    ) -> None:
        for name, remark in remarks.items():
            one = properties[name]
            coverage = "" if one.coverage > _WHOLE else f"{one.coverage:.0%} have it"
            unit = find_unit(one)
            if unit in ("seconds", "milliseconds"):
                values = f"epoch {unit}"
            elif one.low is not None and one.high is not None:
                values = f"{one.low:g} to {one.high:g}"
            elif one.samples:
                values = "such as " + ", ".join(to_one_line(value, 20) for value in one.samples[:3])
            else:
                values = ""
            parts = [coverage, values, remark]
            self.comments[*path, "attributes", name] = "; ".join(part for part in parts if part)

    def _find_milliseconds(
        self, attributes: Iterable[str], properties: Mapping[str, PropertyProfile]
    ) -> tuple[str, ...]:
        if not self.profile.is_tables:
            return ()  # a graph's times are read in any unit
        return tuple(name for name in attributes if find_unit(properties[name]) == "milliseconds")

    def _find_ignored(self, columns: Collection[str], declared: Collection[str | None]) -> tuple[str, ...]:
        """The columns of a table that are not declared; a graph may have any other properties."""
        return tuple(name for name in columns if name not in declared) if self.profile.is_tables else ()

    # -- the end -------------------------------------------------------------------------------------------------------

    def _finish_without(
        self, item: str, types: Mapping[str, str], nodes: dict[str, NodeType], edges: dict[str, EdgeType]
    ) -> Draft:
        """Finishes a draft that has no interaction: with a place to fill in, and how to add the data."""
        is_tables = self.profile.is_tables
        user = next((types[label] for label in types if is_user_label(self.profile.nodes[label])), None)
        added = add_placeholder(nodes, edges, user, types[item], is_tables=is_tables)
        self.comments |= added.comments
        self.asides |= added.asides
        schema = CatalogueSchema(
            name=to_name(self.profile.name), nodes=added.nodes, edges=added.edges, interaction=added.interaction
        )
        why = "no relationship looks like people who choose items"
        self.guesses[:0] = [
            Guess("interaction", "none found", "likely", why),
            Guess("item", item, "a guess", "its name, text and links"),
        ]
        key = self.profile.nodes[item].properties[self.keys[item][0]]
        advice = advise_tables(schema) if is_tables else advise_graph(schema, is_item_key_int=find_kind(key) == "int")
        return self._finish(schema, is_complete=False, advice=advice)

    def _finish(self, schema: CatalogueSchema, *, is_complete: bool, advice: str = "") -> Draft:
        place = to_one_line(self.profile.place, 80)
        head = [
            f"Drafted by `kgrec inspect` from {place}: read it through, and correct it by hand.",
            "Text behind a '#' is a comment; what it says about values comes from a sample.",
        ]
        if not is_complete:
            head = [
                f"NOT COMPLETE. Drafted by `kgrec inspect` from {place}.",
                "The data have no interactions, and kgrec learns from interactions. Add them as described here, then",
                "remove the '# ' in front of the tables below that are comments.",
                "",
                *advice.splitlines(),
            ]
        foot = ["", *(wrap_comment(f"Left out: {sentence}") for sentence in self.left_out)] if self.left_out else []
        text = "\n".join(
            [
                *(f"# {line}".rstrip() for line in head),
                "",
                write_schema(schema, self.comments, self.asides).rstrip(),
                *foot,
                "",
            ]
        )
        # the draft must be readable, and so must the file that people get by removing the comment signs
        CatalogueSchema.parse(write_schema(schema, self.comments, ()), origin="the draft")
        if is_complete:
            schema = CatalogueSchema.parse(text, origin="the draft")
        return Draft(text, schema, tuple(self.guesses), tuple(self.left_out), is_complete, advice)
