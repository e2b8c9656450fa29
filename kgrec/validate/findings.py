"""The checks, their findings, and how bad a finding is."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from graph_schema import CatalogueSchema
from kgrec.store.contract import NodeRef


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Check:
    """What one kind of finding means.

    Attributes:
        title: what the check looks for.
        effect: what it does to recommendations.
        advice: what to do.
        error_from: the share from which a finding is an error; None: it never is.
        warning_from: likewise, a warning; a finding that is neither is a note.
    """

    title: str
    effect: str
    advice: str
    error_from: float | None = None
    warning_from: float | None = None

    def severity(self, share: float) -> Severity:
        """How bad it is where it concerns a share of what was looked at."""
        if self.error_from is not None and share >= self.error_from:
            return Severity.ERROR
        return Severity.WARNING if self.warning_from is not None and share >= self.warning_from else Severity.NOTE


CHECKS: Mapping[str, Check] = {
    "missing_key": Check(
        "nodes without the key",
        "They have no id: kgrec leaves them and their edges out.",
        "Give each its key, or delete them; a uniqueness constraint keeps them findable.",
        error_from=0,
    ),
    "duplicate_key": Check(
        "nodes with a key that another node has",
        "One of each is kept. It gets the interactions of all of them; the texts of the others are lost.",
        "Merge them, then add a uniqueness constraint on the key.",
        error_from=0,
    ),
    "unfit_value": Check(
        "values that do not fit their declared type",
        "The value is left out and counts as missing. For a key, or an interaction's weight or time, so is its row.",
        "Correct the values, or declare the attribute's true type in the schema.",
        error_from=0.01,
        warning_from=0,
    ),
    "missing_value": Check(
        "interactions without their weight or time",
        "They are left out: without a weight they cannot count as a like, without a time they cannot be split by it.",
        "Fill the value in, or take weight or at out of [interaction] in the schema.",
        error_from=0.01,
        warning_from=0,
    ),
    "lost_edges": Check(
        "edges with an end that is not among the nodes",
        "They are left out, and the node at their other end loses what they say about it.",
        "Correct the nodes at their ends first: most belong to nodes that other findings list.",
        error_from=0.01,
        warning_from=0,
    ),
    "rejected_rows": Check(
        "rows that the last load left out, or kept without some of their values",
        "They are not in the store, and nothing is learned from them.",
        "The reject file has each with its reason: correct the files and load again.",
        error_from=0.1,
        warning_from=0,
    ),
    "no_likes": Check(
        "interactions of which none counts as a like",
        "There is nothing to learn from, and training refuses such a catalogue.",
        "Lower positive under [interaction], or name the weight's true attribute.",
        error_from=0,
    ),
    "all_likes": Check(
        "interactions of which each counts as a like",
        "What people gave the lowest grade counts as much as what they gave the highest.",
        "Set positive under [interaction] to the lowest grade that is a like; no new load is needed.",
        warning_from=0,
    ),
    "liked_zeros": Check(
        "interactions with a weight of 0 or less that count as likes",
        "What was returned, not clicked or not rated is recommended.",
        "Take positive out of [interaction], or raise it above 0; no new load is needed.",
        warning_from=0,
    ),
    "zeros": Check(
        "interactions with a weight of 0 or less",
        "They are no likes, as it should be of what was shown and not clicked, or bought and returned.",
        'Nothing, if so. Where purchases and returns are to be added up, set repeats = "sum" under [interaction] and '
        "load again. Where 0 or -1 means that nothing is known, leave these rows out.",
    ),
    "contradictions": Check(
        "pairs that are liked and disliked",
        "The interaction counts, and the other feedback speaks against it.",
        "Find out which came last, and delete the other.",
        warning_from=0,
    ),
    "items_without_text": Check(
        "items without text",
        "A new item without text cannot be placed by what it is about, and no sentence finds it.",
        "Fill in the text, or name further text columns of the item in the schema.",
        warning_from=0.05,
    ),
    "items_without_links": Check(
        "items without links to entities and without attributes that are features",
        "The graph says nothing about them. With few interactions they rest on their text alone, and reasons for them "
        "can name only likes.",
        "Link them to what they have in common with others (makers, people, categories), or give them attributes.",
        warning_from=0.05,
    ),
    "users_without_interactions": Check(
        "users without interactions",
        "Until they have a first like, they are known by their links, attributes and texts; with none of these they "
        "get popular items.",
        "Nothing, if they are new. If they should have some, look for interactions on another label or key.",
        warning_from=0.5,
    ),
    "items_without_interactions": Check(
        "items without interactions",
        "They are recommended by their text, links and attributes alone; with none they are never recommended.",
        "Nothing, if they are new and have any of these. Delete items that are no longer offered.",
        warning_from=0.5,
    ),
    "interactions_in_future": Check(
        "interactions in the future",
        "A split by time takes them for the latest likes and tests on them, and true new likes look old by comparison.",
        "Correct the clock, the time zone or the unit that they were written with.",
        warning_from=0,
    ),
    "interactions_before_1990": Check(
        "interactions before 1990",
        "Most often a default (epoch 0) or another unit; a split by time takes them for the oldest likes.",
        "Write the true time, or delete them.",
        warning_from=0,
    ),
    "interactions_far_off": Check(
        "interactions far from all others in time",
        "Most often a default date, or an import from elsewhere; a split by time puts them together on one side.",
        "Check whether these times are right.",
        warning_from=0,
    ),
    "self_loops": Check(
        "nodes linked to themselves",
        "Such a link carries no information, and the node's own text counts twice among its neighbours'.",
        "Delete these relationships.",
        warning_from=0,
    ),
    "repeated_edges": Check(
        "pairs of nodes with more than one relationship of a type",
        "kgrec keeps one of each pair, the latest where they have times; counts made in the database differ.",
        "Write relationships by MERGE. Where repeats mean strength, say so by repeats under [interaction].",
        warning_from=0,
    ),
    "repeated_interactions": Check(
        "users with several interactions with one item",
        "They count as one, with the weight that repeats under [interaction] makes of them.",
        "Nothing, if that is intended.",
    ),
    "hubs": Check(
        "nodes linked to a large share of the items",
        "Sharing one means nothing: it makes unlike items look alike, and a reason that names it convinces nobody.",
        "If it is a default or a catch-all, delete it or split it. Otherwise leave it: kgrec weighs links by rarity.",
    ),
    "common_values": Check(
        "values that more than half of the items have",
        "Sharing one means nothing, so it weighs little; a reason rather names what fewer items have.",
        "If it is a default, delete it. Otherwise leave it.",
    ),
    "orphans": Check(
        "entities without any relationship",
        "None: no item is linked to them.",
        "Delete them, or find out which links were lost.",
    ),
    "disconnected_parts": Check(
        "nodes in parts of the graph that are not connected to the largest",
        "Likes in one part say nothing about items in another; only their texts can be compared.",
        "Check whether links between them were lost. Train separate catalogues separately.",
        warning_from=0.05,
    ),
    "user_hubs": Check(
        "nodes that more than half of the users, or over 10,000 nodes, are linked to",
        "Sharing one says little about taste, so it weighs little and is no reason.",
        "If it is a default, a bot or a catch-all, delete it or split it. Otherwise leave it.",
    ),
    "distinct_features": Check(
        "features whose values nearly all differ",
        "They teach nothing: no two nodes are alike by them, and each value costs memory.",
        "Take feature = true away, group the values, or name a free text under text.",
        warning_from=0,
    ),
    "features_in_future": Check(
        "features with times or years of the future",
        "Most often a default or a typing error; the model reads them like any other.",
        "Correct the values, or delete them. Leave them if they announce what is to come.",
        warning_from=0,
    ),
    "sensitive_features": Check(
        "sensitive attributes that are features",
        "The schema asks for it: what people are recommended depends on them.",
        "Nothing, if that is intended. Otherwise take feature = true away; reports still compare the groups.",
    ),
    "label_leakage": Check(
        "a relation or a feature of users that repeats the interaction",
        "It leaks the answer: likes held out for evaluation are still in the graph, so every figure is too good, "
        "and a new user lacks what the model learns from it.",
        "Leave it out of the schema (of a feature, take feature = true away), or make it part of the interaction.",
        error_from=0,
    ),
    "co_interaction_leakage": Check(
        "a relation between items that repeats which items are interacted with together",
        "It was most likely computed from the interactions (also bought, similar): likes held out for evaluation are "
        "in it, and new items have none.",
        "Leave it out of the schema, unless you know that it comes from elsewhere.",
        warning_from=0,
    ),
    "feature_leakage": Check(
        "a feature of items that repeats their popularity or their mean weight",
        "It was most likely computed from the interactions: likes held out for evaluation are in it, and new items "
        "have none.",
        "Take feature = true away, unless you know that the values come from elsewhere.",
        warning_from=0,
    ),
}  # fmt: skip
AT_LOADING = ("missing_key", "duplicate_key", "unfit_value", "missing_value", "lost_edges")


@dataclass(frozen=True)
class Example:
    """One of the things found.

    Attributes:
        nodes: the node, or the two ends of an edge; empty where a node has no id.
        about: what else identifies it: a name, a value, a time, a size.
    """

    nodes: tuple[NodeRef, ...]
    about: str | None = None


@dataclass(frozen=True)
class Finding:
    """What one check found in one node type or edge type.

    Attributes:
        check: its name in `CHECKS`.
        severity: how bad it is.
        type: the node type or edge type; None: the whole graph.
        message: what was found.
        count: how many.
        total: out of how many.
        of: what `total` counts.
        examples: at most three.
        query: the Cypher that lists them all; None where Cypher cannot express it.
    """

    check: str
    severity: Severity
    type: str | None
    message: str
    count: int
    total: int
    of: str
    examples: tuple[Example, ...]
    query: str | None

    @property
    def share(self) -> float:
        """`count` of `total`, 0 to 1."""
        return self.count / self.total if self.total else 0.0

    @property
    def effect(self) -> str:
        """What it does to recommendations."""
        return CHECKS[self.check].effect

    @property
    def advice(self) -> str:
        """What to do."""
        return CHECKS[self.check].advice


@dataclass(frozen=True)
class Validation:
    """All findings.

    Attributes:
        schema: the catalogue's.
        findings: the worst first, then in the order of `CHECKS`.
        passed: the checks that found nothing.
        skipped: check -> why it was not made.
        n_nodes: node type -> nodes that were checked.
        n_edges: edge type -> edges that were checked.
    """

    schema: CatalogueSchema
    findings: tuple[Finding, ...]
    passed: tuple[str, ...]
    skipped: Mapping[str, str]
    n_nodes: Mapping[str, int]
    n_edges: Mapping[str, int]

    def has(self, severity: Severity) -> bool:
        """Whether anything is at least that bad."""
        worse = list(Severity)[: list(Severity).index(severity) + 1]
        return any(found.severity in worse for found in self.findings)
