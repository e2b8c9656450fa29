"""How reasons name what two items share over a link: "director", "genre", "supplier"."""

from graph_schema.drafts.name_words import SMALL_LINK_WORDS, is_entity_name, split_words

# who does what the name of a relation says -> the words for doing it
_DOERS = {
    "actor": "act acts acted acting actor actors actress actresses cast starred starring stars",
    "director": "direct directs directed directing director directors",
    "writer": "write writes wrote written writing writer writers screenwriter",
    "author": "author authors authored",
    "producer": "produce produces produced producing producer producers",
    "composer": "compose composes composed composing composer composers",
    "performer": "perform performs performed performing performer performers",
    "singer": "sing sings sang sung singing singer singers",
    "editor": "edit edits edited editing editor editors",
    "illustrator": "illustrate illustrates illustrated illustrator illustrators",
    "translator": "translate translates translated translator translators",
    "narrator": "narrate narrates narrated narrator narrators",
    "creator": "create creates created creating creator creators",
    "designer": "design designs designed designer designers",
    "developer": "develop develops developed developing developer developers",
    "painter": "paint paints painted painter painters",
    "teacher": "teach teaches taught teaching teacher teachers instructor",
    "host": "host hosts hosted hosting",
    "maker": "make makes made making maker makers manufacture manufactures manufactured manufacturer",
    "publisher": "publish publishes published publishing publisher publishers",
    "supplier": "supply supplies supplied supplying supplier suppliers",
    "distributor": "distribute distributes distributed distributor distributors",
    "seller": "sell sells sold selling seller sellers",
    "owner": "own owns owned owner owners",
}
_DOER_OF = {word: noun for noun, words in _DOERS.items() for word in words.split()}
# labels that say nothing of what a node is to an item
_GENERAL = frozenset(
    ["node", "entity", "entities", "thing", "object", "resource", "concept", "value", "element", "record"]
)
_PEOPLE = ("person", "people", "human", "individual", "agent", "crew", "staff", "persona", "personne", "contact")
_ORGANISATIONS = ("compan", "organi", "firm", "business", "institution", "enterprise")
_LINKING = frozenset(["has", "have", "is", "was", "are", "belongs", "belong", "part"])


def find_doer(words: list[str]) -> str | None:
    """Who does what a relation is called by: "actor" of "ACTED_IN"; None: its words name nobody."""
    return next((_DOER_OF[word] for word in words if word in _DOER_OF), None)


def phrase_link(kind: str, label: str, *, is_only: bool) -> str | None:
    """How a reason names the node that two items share; None: by the words of the relation.

    A label that says what the node is to the items is the name. Of a person or the like it is who does what the
    relation is called by: people who acted in films are actors.

    Args:
        kind: the name of the relation.
        label: the label of the nodes at its other end.
        is_only: no other relation leads to such nodes.
    """
    words, own = split_words(kind), split_words(label)
    last = own[-1] if own else ""
    doer = find_doer(words)
    if not last or last in _GENERAL or last.startswith(_PEOPLE):
        return doer or _find_entity(words)
    if doer is not None and (not is_only or last.startswith(_ORGANISATIONS)):
        return doer
    return " ".join(own) if is_only else None


def _find_entity(words: list[str]) -> str | None:
    """The usual word for an entity that is all a relation is called by, as "genre" of HAS_GENRE."""
    kept = [word for word in words if word not in SMALL_LINK_WORDS | _LINKING]
    return kept[0] if len(kept) == 1 and is_entity_name(kept) else None
