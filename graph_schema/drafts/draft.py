"""From a profile to a schema: a commented TOML file for people to correct, and the guesses behind it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from graph_schema.base_errors import CatalogueError
from graph_schema.catalogue_schema import CatalogueSchema
from graph_schema.drafts.alternatives import Alternative, list_alternatives
from graph_schema.drafts.edge_draft import Place, draft_edge
from graph_schema.drafts.interaction_candidates import (
    LIKELY_SCORE,
    Candidate,
    find_interactions,
    find_item_label,
    find_other_feedback,
    is_user_label,
    judge_all,
)
from graph_schema.drafts.interaction_draft import draft_interaction, keep_true_rows
from graph_schema.drafts.missing_interaction import add_placeholder, advise_graph, advise_tables
from graph_schema.drafts.name_words import split_id, split_words
from graph_schema.drafts.node_draft import Role, draft_node
from graph_schema.drafts.profile import GraphProfile, Guess, RelationshipProfile, Sureness
from graph_schema.drafts.roles import find_kind
from graph_schema.drafts.type_names import name_edges, name_nodes, to_distinct, to_name
from graph_schema.drafts.usable_parts import describe_relationship, find_connected, find_usable, leave_out_middles
from graph_schema.drafts.user_links import join_users
from graph_schema.schema_toml import TomlPath, to_one_line, wrap_comment, write_interaction, write_schema
from graph_schema.schema_types import EdgeType, Interaction, NodeType

Choose = Callable[[GraphProfile, Sequence[Candidate]], Candidate | None]
_MOST_RIVALS = 5  # other interactions that are written as comments


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
        alternatives: what the users, the items and the interaction may be.
    """

    toml: str
    schema: CatalogueSchema
    guesses: tuple[Guess, ...]
    left_out: tuple[str, ...]
    is_complete: bool
    advice: str = ""
    alternatives: tuple[Alternative, ...] = ()


def draft_schema(profile: GraphProfile, choose: Choose | None = None) -> Draft:
    """Drafts a schema.

    Args:
        profile: what the graph or folder looks like.
        choose: chooses the interaction among all relationships that could be one, the best first; None: the best that
            looks like one.

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
    if not usable.profile.nodes:
        raise CatalogueError(
            f"{profile.place} has nothing that a schema can hold: {'; '.join(usable.left_out)}; correct that first"
        )
    return _Drafting(usable.profile, usable.keys, list(joined.guesses), list(usable.left_out)).run(choose)


@dataclass
class _Drafting:
    """What is gathered while a draft is made."""

    profile: GraphProfile
    keys: Mapping[str, tuple[str, Sureness, str]]  # label -> its key, how sure, why
    guesses: list[Guess]
    left_out: list[str]
    comments: dict[TomlPath, str] = field(default_factory=dict)
    asides: set[TomlPath] = field(default_factory=set)  # tables that are written as comments
    names: dict[RelationshipProfile, str] = field(default_factory=dict)  # relationship -> edge type
    types: dict[str, str] = field(default_factory=dict)  # label -> node type
    nodes: dict[str, NodeType] = field(default_factory=dict)
    edges: dict[str, EdgeType] = field(default_factory=dict)

    def run(self, choose: Choose | None) -> Draft:
        candidates = find_interactions(self.profile)
        chosen = candidates[0] if candidates else None
        if choose is not None:
            others = [
                one for one in judge_all(self.profile) if one.relationship not in {c.relationship for c in candidates}
            ]
            chosen = choose(self.profile, [*candidates, *others])
        alternatives = list_alternatives(self.profile, candidates, chosen)
        rivals = [one for one in candidates if one is not chosen]
        feedback = find_other_feedback(self.profile, chosen) if chosen else {}
        self._keep_links(chosen, feedback, rivals)
        item = chosen.item if chosen else find_item_label(self.profile)
        user = chosen.user if chosen else self._find_user(item)
        self._draft_nodes(chosen, user, item)
        self._draft_edges(chosen, feedback, rivals, item or "")
        if chosen is None:
            return self._finish_without(item, user)
        interaction = self._draft_interaction(chosen, feedback, has_rivals=len(candidates) > 1)
        self.guesses += self._describe_items(chosen.user, chosen.item)
        for other in rivals:
            if other.relationship not in feedback:
                is_written = self._is_written(other) and other in rivals[:_MOST_RIVALS]
                how = "the end of the draft says how" if is_written else "choose it: kgrec inspect --ask"
                sure: Sureness = "likely" if other.score >= LIKELY_SCORE else "a guess"
                why = f"{other.relationship.count:,} of them; to train on it: {how}"
                self.guesses.append(Guess("other interaction", describe_relationship(other.relationship), sure, why))
        schema = self._build(interaction)
        return self._finish(schema, alternatives, foot=self._write_rivals(chosen, rivals))

    # -- the parts -----------------------------------------------------------------------------------------------------

    def _keep_links(
        self, chosen: Candidate | None, feedback: Mapping[RelationshipProfile, float], rivals: Sequence[Candidate]
    ) -> None:
        """Leaves out paths that are no edges of the schema, and what stands between users and items."""
        used = {*feedback, *([chosen.relationship] if chosen else [])}
        middles = {name for one in used for name in one.via}
        if chosen:
            middles -= {chosen.user, chosen.item}
        kept = {*used, *(one.relationship for one in rivals)}
        links = tuple(one for one in self.profile.relationships if not one.via or one in kept)
        self.profile = leave_out_middles(replace(self.profile, relationships=links), middles)
        self.left_out += self.profile.left_out

    def _find_user(self, item: str | None) -> str | None:
        return next((name for name, node in self.profile.nodes.items() if name != item and is_user_label(node)), None)

    def _draft_nodes(self, chosen: Candidate | None, user: str | None, item: str | None) -> None:
        first = [name for name in (user if chosen or item is None else None, item) if name is not None]
        links = tuple(one for one in self.profile.relationships if not one.via or self._is_used(one, chosen))
        labels, unlinked = find_connected(replace(self.profile, relationships=links), first)
        self.left_out += unlinked
        self.types = name_nodes(self.profile, labels)
        for label, name in self.types.items():
            node = self.profile.nodes[label]
            role: Role = "others"
            if label == item:
                role = "items"
            elif chosen is not None and label == user:
                role = "users"
            elif is_user_label(node):
                role = "people"
            linked = self._find_linked(label, links)
            drafted = draft_node(node, name, self.keys[label], role, linked, is_tables=self.profile.is_tables)
            taken = {label for one in self.nodes.values() for label in one.all_labels}
            title = to_distinct(drafted.node.label, taken)  # the tables movie and movies are both of Movie
            self.nodes[name] = drafted.node.model_copy(update={"label": title})
            self.comments |= drafted.comments
            self.guesses += drafted.guesses
            self.left_out += drafted.left_out

    def _find_linked(self, label: str, links: Sequence[RelationshipProfile]) -> set[str]:
        """The columns or properties of nodes with the ids of what they are linked to."""
        node = self.profile.nodes[label]
        near = {end for one in links if label in (one.start, one.end) for end in (one.start, one.end)} - {label}
        if self.profile.is_tables:
            table = node.table or label
            return {one.end_column for one in links if one.start == label and one.table == table and one.end in near}
        keys = {self.keys[end][0] for end in near if end in self.keys}
        ends = [split_words(self.profile.nodes[end].label or end) for end in near]
        named = {name for name in node.properties if split_id(name)[1] and split_id(name)[0] in ends}
        return {key for key in (keys | named) - {self.keys[label][0]} if split_id(key)[0]}

    @staticmethod
    def _is_used(found: RelationshipProfile, chosen: Candidate | None) -> bool:
        return chosen is not None and {found.start, found.end} == {chosen.user, chosen.item}

    def _draft_edges(
        self,
        chosen: Candidate | None,
        feedback: Mapping[RelationshipProfile, float],
        rivals: Sequence[Candidate],
        item: str,
    ) -> None:
        self.names, guesses = name_edges(self.profile, list(self.types), taken=self.nodes)
        self.guesses += guesses
        used = {*feedback, *([chosen.relationship] if chosen else [])}
        turned = {one.relationship for one in rivals if one.reverse and one.score >= LIKELY_SCORE}
        for found, name in self.names.items():
            place = Place(
                name, self.types, self.nodes, chosen.user if chosen else None, item, found in used, found in turned
            )
            drafted = draft_edge(self.profile, found, place)
            taken = {one.type for one in self.edges.values() if one.ends == drafted.edge.ends}
            kind = to_distinct(drafted.edge.type, taken)
            self.edges[name] = drafted.edge.model_copy(update={"type": kind})
            self.comments |= drafted.comments
            self.guesses += drafted.guesses
            self.left_out += drafted.left_out
            if found.via and found not in used:
                self.asides.add(("edges", name))

    def _draft_interaction(
        self, chosen: Candidate, feedback: Mapping[RelationshipProfile, float], *, has_rivals: bool
    ) -> Interaction:
        edge = self.names[chosen.relationship]
        others = {self.names[found]: weight for found, weight in feedback.items()}
        drafted = draft_interaction(
            chosen, edge, self.edges[edge].attributes, others, has_rivals=has_rivals, is_tables=self.profile.is_tables
        )
        self.guesses[:0] = drafted.guesses
        self.comments |= drafted.comments
        if drafted.interaction.weight is None and self.profile.is_tables:
            self.edges[edge], guess = keep_true_rows(chosen.relationship, self.edges[edge])
            self.guesses[len(drafted.guesses) : len(drafted.guesses)] = [guess] if guess else []
        return drafted.interaction

    def _describe_items(self, user: str, item: str) -> list[Guess]:
        """Tells of items without texts what describes them, if anything does."""
        node = self.nodes[self.types[item]]
        if node.text or node.name:
            return []
        ends = [{edge.source, edge.target} for edge in self.edges.values()]
        is_linked = any(self.types[item] in pair and self.types[user] not in pair for pair in ends)
        why = "nothing else describes items either: new ones cannot be placed"
        if is_linked or node.features or node.vectors:
            why = f"items are described by their {'links' if is_linked else 'attributes'} alone, and so are new ones"
        return [Guess("text of items", "none", "likely", why)]

    def _is_written(self, other: Candidate) -> bool:
        """Whether the draft has an edge type of another candidate, from its users to its items."""
        edge = self.edges.get(self.names.get(other.relationship, ""))
        return edge is not None and (edge.source, edge.target) == (
            self.types.get(other.user),
            self.types.get(other.item),
        )

    def _write_rivals(self, chosen: Candidate, rivals: Sequence[Candidate]) -> list[str]:
        """The other interactions as comments, each with what to write instead of the one chosen."""
        lines = []
        for other in rivals[:_MOST_RIVALS]:
            found = other.relationship
            about = f"{describe_relationship(found)}: {found.count:,}, score {other.score} (chosen: {chosen.score})"
            about += f"; {found.example}" if found.example else ""
            if not self._is_written(other):
                lines += ["", wrap_comment(f"{about}; the draft has no edge for it: choose it by kgrec inspect --ask")]
                continue
            name = self.names[found]
            is_aside = ("edges", name) in self.asides
            about += f"; take the '# ' away from [edges.{name}] too" if is_aside else ""
            lines += ["", wrap_comment(about)]
            feedback = {
                self.names[one]: weight
                for one, weight in find_other_feedback(self.profile, other).items()
                if one in self.names and ("edges", self.names[one]) not in self.asides
            }
            drafted = draft_interaction(
                other, name, self.edges[name].attributes, feedback, has_rivals=True, is_tables=self.profile.is_tables
            )
            lines += [f"# {line}" for line in write_interaction(drafted.interaction)]
        ruler = "# --- Instead of the interaction above: others that it may be, the best first "
        return ["", ruler.ljust(120, "-"), *lines] if lines else []

    # -- the end -------------------------------------------------------------------------------------------------------

    def _build(self, interaction: Interaction) -> CatalogueSchema:
        return CatalogueSchema(
            name=to_name(self.profile.name),
            nodes=self.nodes,
            edges=self.edges,
            interaction=interaction,
            tables={
                to_name(name, "table"): table
                for name, table in self.profile.tables.items()
                if to_name(name, "table") in self._list_read_tables()
            },
        )

    def _list_read_tables(self) -> set[str]:
        types: list[tuple[str, NodeType | EdgeType]] = [*self.nodes.items(), *self.edges.items()]
        steps = [step for edge in self.edges.values() for step in edge.path]
        return {*steps, *(declared.table or name for name, declared in types)}

    def _finish_without(self, item: str | None, user: str | None) -> Draft:
        """Finishes a draft that has no interaction: with a place to fill in, and how to add the data."""
        is_tables = self.profile.is_tables
        users = self.types.get(user) if user else None
        items = self.types[item] if item else None
        added = add_placeholder(self.nodes, self.edges, users, items, is_tables=is_tables)
        self.comments |= added.comments
        self.asides |= added.asides
        self.nodes, self.edges = added.nodes, added.edges
        schema = self._build(added.interaction)
        why = "no relationship looks like people who choose items"
        about_items = Guess("item", item, "a guess", "its name, text and links") if item else Guess(
            "item", "none found", "likely", "all there is looks like users"
        )  # fmt: skip
        self.guesses[:0] = [Guess("interaction", "none found", "likely", why), about_items]
        is_int = item is not None and find_kind(self.profile.nodes[item].properties[self.keys[item][0]]) == "int"
        advice = (
            advise_tables(schema, has_items=item is not None)
            if is_tables
            else advise_graph(schema, is_item_key_int=is_int, has_items=item is not None)
        )
        return self._finish(schema, (), advice=advice)

    def _finish(
        self,
        schema: CatalogueSchema,
        alternatives: tuple[Alternative, ...],
        *,
        foot: Sequence[str] = (),
        advice: str = "",
    ) -> Draft:
        is_complete = not advice
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
        left_out = ["", *(wrap_comment(f"Left out: {sentence}") for sentence in self.left_out)] if self.left_out else []
        text = "\n".join(
            [
                *(f"# {line}".rstrip() for line in head),
                "",
                write_schema(schema, self.comments, self.asides).rstrip(),
                *foot,
                *left_out,
                "",
            ]
        )
        # the draft must be readable, and so must the file that people get by removing the comment signs
        CatalogueSchema.parse(write_schema(schema, self.comments, ()), origin="the draft")
        if is_complete:
            schema = CatalogueSchema.parse(text, origin="the draft")
        return Draft(text, schema, tuple(self.guesses), tuple(self.left_out), is_complete, advice, alternatives)
