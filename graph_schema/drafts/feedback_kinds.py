"""What a relationship of users with items says of their taste, by its name: bought says more than viewed."""

from dataclasses import dataclass

from graph_schema.drafts.name_words import LINKED_BY, SMALL_LINK_WORDS, begins_with, split_words
from graph_schema.drafts.profile import RelationshipProfile


@dataclass(frozen=True)
class FeedbackKind:
    """A kind of feedback.

    Attributes:
        strength: how much it says of taste: of several kinds the strongest is what kgrec learns to predict.
        weight: of one beside one of the strongest kind, as `Interaction.other_feedback` has it; below 0: it speaks
            against the item.
    """

    strength: int
    weight: float


UNKNOWN = FeedbackKind(3, 0.5)
_SAVED = FeedbackKind(2, 0.5)
_KINDS: tuple[tuple[str, FeedbackKind], ...] = (  # the first one counts that a word of the name begins with
    (
        """dislike disliked unlike unliked downvote hate hated reject rejected return returned returns refund refunded
        block blocked hid hide hidden unfollow unsubscribe uninterested banned complain zurückgegeben retourniert""",
        FeedbackKind(0, -1.0),
    ),
    ("skip skipped ignore ignored dismiss dismissed abandon abandoned cancel", FeedbackKind(0, -0.5)),
    (
        """rate rating review bewert vote star buy bought purchas order kauf gekauft bestell achet achat commande compr
        like love favo lieb upvote borrow rent ausgeliehen book buchung gebucht reserv enrol subscrib complet swap
        finish""",
        FeedbackKind(4, 1.0),
    ),
    (
        """watch listen play read gelesen gehört stream download consum attend took taken ate eat visit vist leyo leíd
        appl hear heard use used""",
        FeedbackKind(3, 0.7),
    ),
    ("save saved bookmark wish wunsch merk cart warenkorb basket added follow shortlist", _SAVED),
    (
        """view click seen saw show impress expos open brows gesehen swip display hover detail pageview page""",
        FeedbackKind(1, 0.2),
    ),
)


def find_kind_of_feedback(found: RelationshipProfile) -> FeedbackKind | None:
    """The kind of feedback that the name of a relationship, or of what it leads over, states; None: none is known."""
    words = [word for step in (found.type, *found.path, *found.via) for word in split_words(step)]
    if words[:1] == ["to"]:  # to_read
        return _SAVED
    return next((kind for known, kind in _KINDS if begins_with(words, tuple(known.split()))), None)


def is_against(found: RelationshipProfile) -> bool:
    """Whether a relationship's name says that users do not like the items, as "DISLIKED"."""
    kind = find_kind_of_feedback(found)
    return kind is not None and kind.weight < 0


def is_knowledge(found: RelationshipProfile) -> bool:
    """Whether a relationship's name states a fact about items, as "ACTED_IN" and "OWNED_BY" do, and no feedback."""
    words = split_words(found.type)
    is_link = begins_with(words, LINKED_BY) or bool(set(words) & SMALL_LINK_WORDS)
    return is_link and find_kind_of_feedback(found) is None
