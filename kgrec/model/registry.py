"""The components of a model, in the order in which they are fitted and stored: to add one, add its class here."""

from kgrec.model.backbone import Backbone
from kgrec.model.component import Component
from kgrec.model.content import Content
from kgrec.model.few_shot import FewShot
from kgrec.model.inputs import FitInputs
from kgrec.model.item_item import CoLikes, ItemItem, ItemItemFew
from kgrec.model.knowledge import Knowledge
from kgrec.model.linked_likes import LinkedLikes
from kgrec.model.popularity import Popularity
from kgrec.model.sentence import Sentence
from kgrec.model.sequence_encoder import SequenceEncoder
from kgrec.model.transitions import Transitions
from kgrec.model.user_prior import UserPrior

COMPONENTS: tuple[type[Component], ...] = (
    Backbone,
    FewShot,
    UserPrior,
    LinkedLikes,
    ItemItem,
    ItemItemFew,
    CoLikes,
    Transitions,
    Content,
    Knowledge,
    SequenceEncoder,
    Popularity,
    Sentence,
)

__all__ = ["COMPONENTS", "FitInputs"]
