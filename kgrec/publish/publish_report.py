"""What a publish did, with remarks in words."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from kgrec.publish.user_segments import Segment
from kgrec.store.neo4j.backend_queries import N_NEAREST
from kgrec.store.neo4j.release import Release, Version

ENOUGH = 0.95  # the least share of the first neighbours that the vector index has to find


@dataclass(frozen=True)
class Coverage:
    """How many nodes of one kind the bundle and the graph share.

    Attributes:
        n_both: nodes in both; these are published.
        n_not_in_graph: nodes missing from the graph: nothing is written for them, and no list contains them.
        n_not_in_bundle: nodes missing from the bundle: they came after the training.
        n_repeated: nodes of the graph that repeat another node's id; they are not changed.
        n_without_id: nodes of the graph without a key.
    """

    n_both: int
    n_not_in_graph: int
    n_not_in_bundle: int
    n_repeated: int
    n_without_id: int


@dataclass(frozen=True)
class PublishReport:
    """The result of a publish.

    Attributes:
        version: the version just written.
        release: the versions in the graph, and which one is live.
        items: the items.
        users: the users; None if nothing was asked for them.
        agreement: share of the first 10 of SIMILAR_TO that the vector index finds, over some items; nan: no neighbours.
        queries: name of a query for a backend -> its Cypher for this server; where the agreement is less than ENOUGH,
            there is none for the items' vector index.
        parameters: what type the parameters of the queries need, a sentence each.
        segments: the segments of users, the largest first; empty if not asked for.
    """

    version: Version
    release: Release
    items: Coverage
    users: Coverage | None
    agreement: float
    queries: Mapping[str, str]
    parameters: tuple[str, ...] = ()
    segments: tuple[Segment, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks about the result, a sentence each."""
        notes = []
        if not math.isnan(self.agreement):
            found = (
                f"asked for {N_NEAREST}, the vector index finds {self.agreement:.0%} of each item's first 10 of "
                "SIMILAR_TO"
            )
            short = f", less than {ENOUGH:.0%}: no query for it is printed; ask SIMILAR_TO, which has them all"
            notes.append(found + (short if self.agreement < ENOUGH else ""))
        for what, coverage in (("items", self.items), ("users", self.users)):
            if coverage is None:
                continue
            for n, text in (
                (coverage.n_not_in_graph, f"{what} of the bundle are not in the graph: nothing is published for them"),
                (coverage.n_not_in_bundle, f"{what} of the graph are not in the bundle: they came after the training"),
                (coverage.n_repeated, f"nodes repeat the key of another of the {what}: they are not changed"),
                (coverage.n_without_id, f"nodes labelled as {what} have no key that is a text or a number"),
            ):
                if n:
                    notes.append(f"{n:,} {text}")
        return tuple(notes)
