"""Which labels become node types, from the labels of all nodes."""

import pytest

from kgrec.store.neo4j.label_groups import choose_groups, count_labels, find_covering_group


def sets(**counts):
    return {frozenset(labels.split("_")): n for labels, n in counts.items()}


@pytest.mark.parametrize(
    ("label_sets", "kept", "chosen"),
    [
        (sets(Movie=5, User=9), [], ["Movie", "User"]),
        (sets(Movie_Entity=60, Actor_Entity=50, Entity=2), [], ["Actor", "Movie"]),
        (sets(Person=100, Person_Actor=50, Person_Director=30, Person_Actor_Director=10), [], ["Person"]),
        (sets(Person_Actor=50, Person_Director=30, Person_Actor_Director=10), [], ["Person"]),
        (sets(Actor=50, Director=30, Actor_Director=10), [], ["Actor Director"]),
        (sets(Any_Actor=50, Any_Director=30, Any_Actor_Director=9, Any_Film=7), [], ["Actor Director", "Film"]),
        (sets(Featured_Film=5, Film=50, Featured_Star=5, Star=50), [], ["Film", "Star"]),
        (sets(Product_Book=60, Product_Toy=50), [], ["Book", "Toy"]),
        (sets(Product_Book=60, Product_Toy=50), [("Product",)], ["Product"]),
        (sets(Guest=60, Member=50, Item=4), [("Guest", "Member")], ["Guest Member", "Item"]),
        (sets(Person_Customer=50, Person=50, Item=3), [("Customer",), ("Item",)], ["Customer", "Item"]),
        (sets(Any_User=9, Any_Actor=5, Any_Actor_Director=2, Any_Director=4), [("User",)], ["Actor Director", "User"]),
    ],
)  # fmt: skip
def test_a_node_is_in_one_group(label_sets, kept, chosen):
    found = choose_groups(label_sets, kept)
    assert [" ".join(group) for group in found.groups] == chosen
    assert all(sum(bool(labels & set(group)) for group in found.groups) <= 1 for labels in label_sets)
    has_several = any(len(labels) > 1 for labels in label_sets) or any(len(group) > 1 for group in found.groups)
    assert bool(found.guesses) == has_several
    assert found.find(frozenset(["Nobody"])) is None


def test_what_is_left_out_is_told():
    found = choose_groups(sets(Person_Customer=50, Person=1234, Item=3), [("Customer",), ("Item",)])
    (guess,) = found.guesses
    assert (guess.about, guess.choice) == ("label Person", "not used")
    assert guess.why == "its nodes are covered by :Customer; 1,234 nodes have only :Person and are left out"
    (guess,) = choose_groups(sets(Person_Actor=5, Person=9, Person_Director=2, Person_Actor_Director=1)).guesses
    assert (guess.about, guess.choice) == ("label Person", "stands for :Actor, :Director")


@pytest.mark.parametrize(
    ("ends", "group"),
    [
        (sets(User=9), ("User",)),
        (sets(Person_Actor=99, Person=1), ("Actor",)),
        (sets(Person_Actor=90, Person=10), ("Person",)),
        (sets(Guest=60, Member=50), ("Guest", "Member")),
        (sets(A=1, B=1, C=1, D=1, E=1), None),
    ],
)
def test_an_end_is_covered_by_one_label_or_by_a_few(ends, group):
    counts = count_labels({**ends, frozenset(["Person", "Other"]): 50})
    assert find_covering_group(ends, counts) == group
