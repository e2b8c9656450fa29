"""What the service and its client say to each other: the bodies of requests and the answers, as pydantic models.

Ids are texts, kept as they are. Times are ISO 8601 texts or UTC seconds. A field that no model names is an error.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Id = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\x00]*$")]  # databases take no NUL
Ids = list[Id]
Link = tuple[Id, Id]
Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]  # strict: neither true nor "1" is a number
Whole = Annotated[int, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Value = str | Flag | Whole | Finite | list[str | Whole | Finite]
When = Whole | str | None
Which = Literal["current", "candidate"]


class Body(BaseModel):
    """The body of a request."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """An answer: clients ignore fields that they do not know, so that a service may add some."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class UserPart(Body):
    """The user of a request: an id, likes, a sentence, links and attributes, or several of these.

    Attributes:
        user: id of a known user.
        likes: ids of items that the user likes, the latest last.
        sequence: instead of `likes`, pairs (item, time) in any order; a time is ISO 8601, UTC seconds or null.
        text: what the user wants, in words.
        links: pairs (edge type, id of the linked node).
        attributes: attribute -> value.
    """

    user: Id | None = None
    likes: Ids | None = None
    sequence: list[tuple[Id, When]] | None = None
    text: str | None = None
    links: list[Link] | None = None
    attributes: dict[str, Value] | None = None


class RecommendBody(UserPart):
    """Asks for recommendations; see `Recommender.recommend`.

    Attributes:
        k: the number of items.
        candidates: ids of the items that may be recommended; null: all.
        exclude: ids of items to leave out.
        filter_seen: whether to leave out what the user likes or has seen.
        tail: the tail dial, from -1, popular, to 1, little known.
        diversity: from 0, as the model ranks, to 1, a list of items that differ most.
        at_most: a kind of linked node -> the most items with the same one.
        explain: whether to give reasons.
        pitch: whether to give pitches: true (English), "en", "de" or "fr".
        session: any text that stays the same for a visitor without an id; it decides which version answers, and is
            not kept.
        version: which bundle answers; null: by the share of users.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"likes": ["1", "95", "71"], "k": 5, "explain": True}, {"user": "7", "k": 3}]}
    )

    k: Annotated[Whole, Field(ge=1)] = 10
    candidates: Ids | None = None
    exclude: Ids | None = None
    filter_seen: Flag = True
    tail: Annotated[Finite, Field(ge=-1, le=1)] = 0.0
    diversity: Annotated[Finite, Field(ge=0, le=1)] = 0.0
    at_most: dict[str, Whole] | None = None
    explain: Flag = False
    pitch: Flag | Literal["en", "de", "fr"] = False
    session: Annotated[str, Field(max_length=512)] | None = None
    version: Which | None = None


class SimilarBody(Body):
    """Asks for items similar to one; see `Recommender.similar`.

    Attributes:
        item: id of the item.
        k: the number of items.
        by: what to compare by alone; null: by all three.
        candidates: ids of the items that may be listed; null: all.
        explain: whether to give reasons.
        version: which bundle answers; null: the current one.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"item": "1", "k": 5}]})

    item: Id
    k: Annotated[Whole, Field(ge=1)] = 10
    by: Literal["likes", "text", "links"] | None = None
    candidates: Ids | None = None
    explain: Flag = False
    version: Which | None = None


class ExplainBody(UserPart):
    """Asks why an item has its score for a user; see `Recommender.explain`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"item": "588", "likes": ["1", "95"]}]})

    item: Id
    session: Annotated[str, Field(max_length=512)] | None = None
    version: Which | None = None


class SearchBody(Body):
    """Looks for items by name or id; typing errors are forgiven. Or says the names of items, by their ids.

    Attributes:
        text: what to look for; or
        items: ids of items whose names are wanted.
        link: an edge type of items: looks for the nodes that it leads to, such as makers, instead of items.
        k: the most to find.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "toy stroy", "k": 5}, {"items": ["1", "95"]}]})

    text: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    items: Annotated[Ids, Field(max_length=200)] | None = None
    link: Id | None = None
    k: Annotated[Whole, Field(ge=1, le=100)] = 10


class NeighbourhoodBody(Body):
    """Asks for what an item is linked to, and the items that share it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"item": "1"}]})

    item: Id
    most: Annotated[Whole, Field(ge=1, le=200)] = 40


class ItemPart(Body):
    """An item to add or to change; see `Recommender.add_item`. A changed item is described anew, whole.

    Attributes:
        item: its id.
        text: the content of the text fields that the schema names.
        name: the name to show to people.
        links: pairs (edge type, id of the linked node).
        attributes: attribute -> value.
        vectors: vector column -> the item's vector.
    """

    item: Id
    text: str | None = None
    name: Annotated[str, Field(max_length=2000)] | None = None
    links: list[Link] = []
    attributes: dict[str, Value] | None = None
    vectors: dict[str, list[Finite]] | None = None


class AudienceBody(Body):
    """Asks who would get an item: one of the catalogue, by id, or one that is only described. Nothing is added."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"item": "1", "k": 5}]})

    item: Id | ItemPart
    k: Annotated[Whole, Field(ge=1, le=1000)] = 10


class ItemsBody(Body):
    """Adds, changes and removes items: all of it, or nothing."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"add": [{"item": "new-1", "name": "Toys in Space", "text": "Toys in space."}]}]
        }
    )

    add: list[ItemPart] = []
    change: list[ItemPart] = []
    remove: Ids = []


class UserDescription(Body):
    """A user to add; see `Recommender.add_user`."""

    user: Id
    likes: Ids = []
    links: list[Link] = []
    attributes: dict[str, Value] | None = None
    text: str | None = None
    name: Annotated[str, Field(max_length=2000)] | None = None


class UsersBody(Body):
    """Adds and forgets users: all of it, or nothing."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"add": [{"user": "new-user", "likes": ["1", "95"]}]}]})

    add: list[UserDescription] = []
    forget: Ids = []


class Interaction(Body):
    """One interaction.

    Attributes:
        user: id of a known or a new user.
        item: id of the item.
        weight: the rating or strength, where the schema has one.
        at: when; null: now.
    """

    user: Id
    item: Id
    weight: Finite | None = None
    at: When = None


class InteractionsBody(Body):
    """Adds interactions: all of it, or nothing; items that the catalogue does not have are named in the answer."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"interactions": [{"user": "new-user", "item": "1", "weight": 5}]}]}
    )

    interactions: Annotated[list[Interaction], Field(min_length=1)]


class FeedbackEvent(Body):
    """What was shown to somebody, and what of it was clicked.

    Attributes:
        shown: ids of the items shown, in their order.
        clicked: ids of those that were clicked.
        user: id of the user, if there is one.
        request: the request id of the answer that was shown.
        at: when; null: now.
    """

    shown: Annotated[Ids, Field(min_length=1)]
    clicked: Ids = []
    user: Id | None = None
    request: Annotated[str, Field(max_length=100)] | None = None
    at: When = None


class FeedbackBody(Body):
    """Keeps what was shown and clicked; it changes no answer."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"events": [{"shown": ["1", "95"], "clicked": ["95"]}]}]})

    events: Annotated[list[FeedbackEvent], Field(min_length=1)]


class ShareBody(Body):
    """Sets the share of users whom the candidate answers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"share": 0.1}]})

    share: Annotated[Finite, Field(ge=0, le=1)]


class Recommended(Answer):
    """One item of a list; see `kgrec.recommend.Recommendation`."""

    item: str
    rank: int
    score: float
    title: str | None = None
    reason: str | None = None
    pitch: str | None = None


class RecommendAnswer(Answer):
    """A list of items, best first.

    Attributes:
        items: the items.
        unknown: ids of the request that the catalogue does not have.
        notes: sentences about the answer.
        version: the bundle that answered.
        seq: the last entry of the journal that it knows.
    """

    items: list[Recommended]
    unknown: list[str] = []
    notes: list[str] = []
    version: str = ""
    seq: int = 0


class PathStep(Answer):
    """A node on a path, and the edge to the next one."""

    id: str
    type: str
    name: str | None = None
    edge: str | None = None


class SharePart(Answer):
    """What one source adds to a score; see `kgrec.recommend.Share`.

    Attributes:
        source: "like", "sentence", "profile" or "everybody".
        value: what it adds.
        item: the liked item, for a like.
        title: its name.
        paths: paths in the graph from the item to the liked one, as sentences.
        steps: the same paths, node by node.
    """

    source: str
    value: float
    item: str | None = None
    title: str | None = None
    paths: list[str] = []
    steps: list[list[PathStep]] = []


class ExplainAnswer(Answer):
    """Why an item has its score; the shares add up to it."""

    item: str
    title: str | None = None
    score: float
    reason: str
    shares: list[SharePart]
    unknown: list[str] = []
    version: str = ""
    seq: int = 0


class Found(Answer):
    """An item, or a linked node, that a search found; `match` is from 0 to 100."""

    item: str
    title: str | None = None
    match: float


class SearchAnswer(Answer):
    """The items that a search found, best first."""

    items: list[Found]


class GraphNode(Answer):
    """A node of a neighbourhood; `n_items` items have the same edge to it, where it is no item."""

    id: str
    type: str
    name: str | None = None
    n_items: int | None = None


class GraphEdge(Answer):
    """An edge of a neighbourhood: places of its ends in the list of nodes, and what reasons call it."""

    source: int
    target: int
    type: str
    phrase: str = ""


class NeighbourhoodAnswer(Answer):
    """The graph around an item; its first node is the item. `left_out` counts neighbours that are not listed."""

    nodes: list[GraphNode]
    edges: list[GraphEdge]
    left_out: int = 0


class Listener(Answer):
    """A user who would get an item, and at which rank."""

    user: str
    name: str | None = None
    rank: int
    score: float


class AudienceAnswer(Answer):
    """Who would get an item.

    Attributes:
        users: the users by rank; empty where the key does not allow to see them.
        n_asked: how many users were asked, without those who have the item.
        n_within: how many would have it among their first 10.
        within: the same for further ranks: "10", "20", "50" and "100".
        similar: what the item is near to.
        notes: sentences about the answer.
    """

    users: list[Listener]
    n_asked: int
    n_within: int
    within: dict[str, int] = {}
    similar: list[Recommended] = []
    notes: list[str] = []


class Receipt(Answer):
    """The proof that a user is forgotten: how often each place still names the user, after it was looked through.

    Attributes:
        user_hash: a keyed hash of the id, which the audit log has, too.
        places: place -> the number of traces left: memory, journal, snapshots, caches, feedback.
        source_bundle: whether the bundle that was given to `kgrec serve` still has the user; the service does not
            write it. Sync it or train again.
    """

    user_hash: str
    places: dict[str, int]
    source_bundle: bool


class WriteAnswer(Answer):
    """What a write did.

    Attributes:
        seq: the last entry of the journal, which has the write.
        added: how many were added.
        changed: how many were changed.
        removed: how many were removed.
        forgotten: how many users were forgotten.
        unknown: id -> the linked or liked ids that the catalogue does not have; they have no effect.
        receipts: one for each forgotten user.
    """

    seq: int
    added: int = 0
    changed: int = 0
    removed: int = 0
    forgotten: int = 0
    unknown: dict[str, list[str]] = {}
    receipts: list[Receipt] = []


class VersionStatus(Answer):
    """A bundle that is served.

    Attributes:
        version: 12 hex digits of its hash.
        role: "current", "candidate" or "previous".
        name: the catalogue's name.
        trained_at: UTC seconds.
        synced_at: UTC seconds of the last sync; null: never.
        n_items: items served now, with those added.
        n_users: users served now, with those added.
    """

    version: str
    role: str
    name: str
    trained_at: int
    synced_at: int | None = None
    n_items: int = 0
    n_users: int = 0


class StatusAnswer(Answer):
    """The state of the service.

    Attributes:
        versions: the bundles served.
        share: the share of users whom the candidate answers.
        seq: the journal's last entry.
        journal_bytes: the journal's size.
        snapshot_seq: the last entry that the newest snapshot has.
        stale: reasons to train again, or why the last sync failed; empty: fresh.
        problems: what is wrong, such as a new bundle that is damaged; empty: nothing.
        started_at: UTC seconds.
        worker: the id of the process that answered.
        features: edge types, kinds for `at_most` and the like, for the page.
        scope: what the key of the request allows.
        tenant: the items that exist for this key, such as "shop=s-7"; null: all.
    """

    versions: list[VersionStatus]
    share: float = 0.0
    seq: int = 0
    journal_bytes: int = 0
    snapshot_seq: int = 0
    stale: list[str] = []
    problems: list[str] = []
    started_at: int = 0
    worker: int = 0
    features: dict[str, Any] = {}
    scope: str = "read"
    tenant: str | None = None


class ProblemDocument(Answer):
    """An error, as in RFC 9457, with what was got, what was expected and what to do."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str | None = None
    got: str | None = None
    expected: str | None = None
    to_do: str | None = None
