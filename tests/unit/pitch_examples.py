"""Facts of each kind, as a recommender finds them, for tests of pitches."""

from kgrec.pitch import Fact, Facts

ITEM, LIKE = "Aladdin", "Toy Story"
PEOPLE = Fact("people", like="Heat")
POPULAR = Fact("popular", count=1234)
OF_KIND = {
    "same": Fact("same", LIKE, "has_genre", "genre", True, "Animation"),
    "same, author": Fact("same", LIKE, "author_of", "author of", False, "Ann Lee"),
    "same, publisher": Fact("same", LIKE, "published_by", "published by", True, "Tor Books Inc."),
    "same, other": Fact("same", LIKE, "has_scent", "scent", True, "Rose"),
    "same, by": Fact("same", LIKE, "loved_by", "tuned by", True, "Bob"),
    "same, verb": Fact("same", LIKE, "belongs_to", "belongs to", True, "Club"),
    "same, unnamed": Fact("same", LIKE, "directed_by", "director"),
    "direct": Fact("direct", LIKE, "has_sequel", "sequel", False),
    "direct, back": Fact("direct", LIKE, "sequel_of", "sequel of", False),
    "direct, other": Fact("direct", LIKE, "spare_part_of", "spare part of", True),
    "direct, verb": Fact("direct", LIKE, "leads_to", "leads to", True),
    "direct, bought": Fact("direct", LIKE, "also_bought", "also bought", True),
    "direct, viewed": Fact("direct", LIKE, "also_viewed", "also viewed", False),
    "direct, similar": Fact("direct", LIKE, "similar", "similar", False),
    "direct, prequel": Fact("direct", LIKE, "prequel", "prequel", True),
    "same, bought": Fact("same", LIKE, "bought_together", "bought together", True, "Hercules", True),
    "same, viewed": Fact("same", LIKE, "also_viewed", "also viewed", True, "Hercules", True),
    "same, similar": Fact("same", LIKE, "similar_to", "similar to", True, "Hercules", True),
    "linked": Fact("linked", LIKE, node="Jafar Returns", is_title=True),
    "value": Fact("value", LIKE, node="from the 1990s"),
    "people": Fact("people", LIKE),
    "followed": Fact("followed", LIKE),
    "near": Fact("near", LIKE),
    "words": Fact("words"),
    "wished": Fact("wished", words="on your wish list"),
    "friends": Fact("friends", count=3, total=7, words="3 of your 7 friends like it"),
    "most_friends": Fact("most_friends", words="most of your friends like it"),
    "named_friends": Fact("named_friends", names=("Ann", "Bob"), words="Ann and Bob, your friends, like it"),
    "sharing": Fact("sharing", count=4, node="Oslo", words="liked by 4 people in Oslo"),
    "alike": Fact("alike"),
    "popular": POPULAR,
    "few": Fact("few"),
    "new": Fact("new"),
}


def facts_of(*facts: Fact, item: str = ITEM) -> Facts:
    return Facts(item, facts)
