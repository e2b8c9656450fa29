"""Drafts of schemas from profiles, and schemas written as TOML."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_schema import Attribute, CatalogueError, CatalogueSchema, EdgeType, Interaction, NodeType
from graph_schema.draft import draft_schema
from graph_schema.profile import GraphProfile, NodeProfile, PropertyProfile, RelationshipProfile, choose_labels
from graph_schema.schema_toml import to_toml
from graph_schema.schema_types import is_name

HOSTILE = """
name = "hostile names"
[nodes.item]
label = "Order"
key = "item id"
name = "a.b"
attributes = { "x-y" = "float", group = "bool", source = "int", N = "time", n = "int" }
[nodes."us er.x"]
label = "Üser - 2"
key = "é"
ignore = ["", "a\\"b\\\\", "\\u007f\\n\\t\\u0000", "# no comment", "'''", "[x]"]
[edges.rated]
source = "us er.x"
type = "RA TED"
target = "item"
phrase = "\\"quoted\\" \\\\ and\\nbroken"
reverse = true
source_column = "user id"
target_column = ""
attributes = { "is.it so" = "bool", at = "time" }
milliseconds = ["at"]
[interaction]
edge = "rated"
at = "at"
"""


def test_hostile_names_survive_toml():
    schema = CatalogueSchema.parse(HOSTILE)
    assert CatalogueSchema.parse(to_toml(schema)) == schema


@pytest.mark.parametrize("name", ["movielens-100k", "template"])
def test_known_catalogues_survive_toml(name):
    assert CatalogueSchema.parse(to_toml(CatalogueSchema.known(name))) == CatalogueSchema.known(name)


names = st.text(st.characters(categories=["L", "N"], include_characters="_-. "), min_size=1, max_size=8).filter(is_name)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
kinds = st.sampled_from(["string", "int", "float", "bool", "time"])


def test_strings_in_toml_may_hold_any_character():
    odd = "".join(map(chr, range(0x20))) + "\x7f\x85\u2028\u2029\"'\\#[]=\r\n😀"
    schema = CatalogueSchema.parse(HOSTILE)
    edge = schema.edges["rated"].model_copy(update={"phrase": odd, "ignore": (odd, *odd)})
    schema = schema.model_copy(update={"edges": {"rated": edge}})
    assert CatalogueSchema.parse(to_toml(schema)) == schema


@settings(max_examples=60, deadline=None)
@given(
    called=st.lists(names, min_size=6, max_size=6, unique=True),
    attributes=st.dictionaries(names.filter(lambda name: name not in ("source", "target")), kinds, max_size=4),
    odd=st.tuples(texts, texts, texts),
    positive=st.none() | st.floats(allow_nan=False),
    reverse=st.booleans(),
)
def test_any_schema_survives_toml(called, attributes, odd, positive, reverse):
    user, item, user_key, item_key, edge, weight = called
    schema = CatalogueSchema(
        name=user,
        nodes={
            user: NodeType(label=user, key=user_key, ignore=odd[:1], from_edges=reverse),
            item: NodeType(label=item, key=item_key, name=edge, text=(edge,), text_from=(edge,)),
        },
        edges={
            edge: EdgeType(
                source=user,
                type=edge,
                target=item,
                reverse=reverse,
                phrase=odd[1],
                source_column=f"{odd[2]}1",
                target_column=f"{odd[2]}2",
                attributes={**attributes, weight: "float"},
                ignore=odd,
            )
        },
        interaction=Interaction(edge=edge, weight=weight, positive=positive),
    )
    assert CatalogueSchema.parse(to_toml(schema)) == schema


# -- drafts ------------------------------------------------------------------------------------------------------------


def prop(name, kind="string", *, samples=("a b", "c d"), unique=False, coverage=1.0, length=12.0, low=None, high=None):
    numbers = kind in ("int", "float")
    return PropertyProfile(
        name, {kind: 100}, coverage, 1.0 if unique else 0.2, is_unique=unique, mean_length=length,
        low=low if low is not None else 0.0 if numbers else None,
        high=high if high is not None else 9.0 if numbers else None, samples=samples,
    )  # fmt: skip


def label(name, count, *properties):
    key = prop(f"{name.lower()}Id", unique=True, samples=("x1", "x2"))
    return name, NodeProfile(name, count, {one.name: one for one in (key, *properties)})


def link(start, kind, end, count=1000, *, per=(10, 10), properties=()):
    return RelationshipProfile(
        start, kind, end, count, count // per[0], count // per[1], per[0] * 2, per[1] * 2,
        {one.name: one for one in properties},
    )  # fmt: skip


TITLE = prop("title", samples=("The Long Night", "A Day"), unique=True)
SHOP = GraphProfile(
    place="bolt://x",
    name="shop",
    nodes=dict([label("Kunde", 100), label("Artikel", 50, TITLE), label("Marke", 5, prop("name", unique=True))]),
    relationships=(
        link("Artikel", "VON", "Marke", 50, per=(1, 10)),
        link("Kunde", "KAUFTE", "Artikel", properties=[prop("menge", "int"), prop("am", "time", samples=())]),
    ),
)


def test_a_shop_gets_a_complete_draft():
    draft = draft_schema(SHOP)
    schema = CatalogueSchema.parse(draft.toml)
    assert draft.is_complete and schema == draft.schema
    assert (schema.user_type, schema.item_type) == ("kunde", "artikel")
    assert schema.interaction == Interaction(edge="kaufte", weight="menge", at="am")
    assert schema.nodes["artikel"].text == ("title",)
    assert schema.edges["von"].phrase == "marke"
    assert schema.edges["kaufte"].reverse is False


def test_a_phrase_names_the_shared_node_in_both_directions():
    _, bought = SHOP.relationships
    made = link("Marke", "STELLT_HER", "Artikel", 50, per=(10, 1))
    schema = draft_schema(replace(SHOP, relationships=(made, bought))).schema
    assert schema is not None and schema.edges["stellt_her"].phrase == "marke"


def test_an_interaction_that_points_from_items_to_users_is_reversed():
    [*_, bought] = SHOP.relationships
    turned = replace(bought, start="Artikel", end="Kunde", type="GEKAUFT_VON")
    draft = draft_schema(replace(SHOP, relationships=(SHOP.relationships[0], turned)))
    edge = draft.schema.edges["gekauft_von"]
    assert (edge.source, edge.target, edge.reverse) == ("kunde", "artikel", True)
    assert edge.ends == ("artikel", "kunde")
    assert any(guess.choice == "reverse = true" for guess in draft.guesses)


def test_unknown_names_are_guessed_by_shape_and_marked_unsure():
    nodes = dict([label("Zorg", 100), label("Blip", 50, TITLE), label("Frob", 5)])
    links = (
        link("Blip", "XA", "Frob", 50, per=(1, 10)),
        link("Blip", "XB", "Zorg", properties=[prop("t", "time", samples=()), prop("q", "int")]),
    )
    draft = draft_schema(GraphProfile("p", "n", nodes, links))
    assert (draft.schema.user_type, draft.schema.item_type) == ("zorg", "blip")
    assert draft.guesses[0].sure != "sure"


def test_without_users_the_draft_is_incomplete_and_has_a_place_to_fill_in():
    nodes = dict([label("Movie", 100, TITLE), label("Person", 300, prop("name"))])
    draft = draft_schema(GraphProfile("p", "n", nodes, (link("Person", "ACTED_IN", "Movie", per=(3, 9)),)))
    assert not draft.is_complete
    assert draft.guesses[0].choice == "none found"
    assert "MATCH (i:`Movie` {`movieId`: row.item})" in draft.advice
    with pytest.raises(CatalogueError, match="interaction: Field required"):
        CatalogueSchema.parse(draft.toml)
    start = draft.toml.index("# [nodes.user]")  # the header before it stays a comment
    filled = draft.toml[:start] + "\n".join(
        line.removeprefix("# ") if not line.startswith("# ---") else line for line in draft.toml[start:].splitlines()
    )
    schema = CatalogueSchema.parse(filled)
    assert schema == draft.schema
    assert (schema.user_type, schema.item_type) == ("user", "movie")


def test_the_most_frequent_interaction_is_chosen_and_others_become_comments():
    more = (
        link("Kunde", "MERKTE", "Artikel", 3000, properties=[prop("am", "time", samples=())]),
        link("Kunde", "VIEWED", "Artikel", 90_000, properties=[prop("am", "time", samples=())]),
    )
    draft = draft_schema(replace(SHOP, relationships=(*SHOP.relationships, *more)))
    schema = CatalogueSchema.parse(draft.toml)
    assert schema.interaction.edge == "viewed"
    assert set(schema.edges) == {"von", "viewed"}
    assert "# [edges.kaufte]" in draft.toml
    others = [guess.choice for guess in draft.guesses if guess.about == "other interaction"]
    assert "(:Kunde)-[:KAUFTE]->(:Artikel)" in others
    assert draft.guesses[0].sure == "likely"  # because there are other interactions


def test_one_relationship_type_between_several_labels_is_several_edge_types():
    more = (link("Kunde", "VON", "Marke", 20, per=(1, 4)), link("Artikel", "VON", "Artikel", 20))
    schema = draft_schema(replace(SHOP, relationships=(*SHOP.relationships, *more))).schema
    found = {(edge.source, name, edge.target) for name, edge in schema.edges.items() if edge.type == "VON"}
    assert found == {
        ("artikel", "artikel_von_marke", "marke"),
        ("kunde", "kunde_von_marke", "marke"),
        ("artikel", "artikel_von_artikel", "artikel"),
    }


def test_unsupported_parts_are_left_out_and_reported():
    odd = [
        prop("9x"), prop("a`b"), prop("password"), PropertyProfile("mixed", {"string": 5, "int": 7}, 1.0, 0.5),
        prop("vector", "vector"), prop("place", "other"),
    ]  # fmt: skip
    nodes = {**SHOP.nodes, **dict([label("Artikel", 50, TITLE, *odd), label("9lives", 3), label("Config", 2)])}
    bought = replace(SHOP.relationships[1], properties={"source": prop("source"), "n": prop("n", "int")})
    draft = draft_schema(replace(SHOP, nodes=nodes, relationships=(SHOP.relationships[0], bought)))
    left_out = "\n".join(draft.left_out)
    for name in ("9x", "a`b", "password", "mixed", "vector", "place", "KAUFTE.source", ":9lives", ":Config"):
        assert name in left_out
    assert "7 int, 5 string" in left_out
    assert 'add vector = "vector" to its attributes' in left_out
    assert set(draft.schema.nodes["artikel"].columns) == {"artikelId", "title"}
    assert "# Left out:" in draft.toml


def test_an_imperfect_key_is_a_guess_that_lists_its_faults():
    nodes = {
        **SHOP.nodes,
        "Artikel": NodeProfile(
            "Artikel", 50, {"nr": PropertyProfile("nr", {"int": 45}, 0.9, 0.95, is_unique=False, n_duplicates=2)}
        ),
    }
    draft = draft_schema(replace(SHOP, nodes=nodes))
    [guess] = [guess for guess in draft.guesses if guess.about == "Artikel"]
    assert guess.choice == "key nr" and guess.sure == "a guess"
    assert "10.0% lack it and 2 repeat another's value" in guess.why


def test_nodes_without_any_property_are_left_out_with_their_links():
    nodes = {**SHOP.nodes, "Marke": NodeProfile("Marke", 5, {})}
    draft = draft_schema(replace(SHOP, nodes=nodes))
    assert set(draft.schema.nodes) == {"kunde", "artikel"}
    assert "no property that could be their key" in draft.left_out[0] and "VON" in draft.left_out[1]


def test_a_mostly_missing_weight_or_time_stays_an_attribute():
    bought = replace(SHOP.relationships[1], properties={"menge": prop("menge", "int", coverage=0.5)})
    draft = draft_schema(replace(SHOP, relationships=(SHOP.relationships[0], bought)))
    assert draft.schema.interaction == Interaction(edge="kaufte")
    assert draft.schema.edges["kaufte"].attributes == {"menge": "int"}
    assert any(guess.choice == "an attribute only" and "50%" in guess.why for guess in draft.guesses)


def test_names_cannot_break_out_of_comments():
    odd = prop("about", samples=("x\n[nodes.evil]\nlabel = 1", "\x00\x07\u2028y"), length=60)
    nodes = {**SHOP.nodes, **dict([label("Artikel", 50, TITLE, replace(odd, mean_length=3.0), prop("b\n[x]"))])}
    draft = draft_schema(replace(SHOP, nodes=nodes, place="x\n[nodes.evil2]", left_out=("a\nb = 1",)))
    assert set(CatalogueSchema.parse(draft.toml).nodes) == {"kunde", "artikel", "marke"}


@settings(max_examples=60, deadline=None)
@given(
    sample=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30),
    entity=names.filter(lambda name: name not in ("Kunde", "Artikel")),
    column=names.filter(lambda name: name not in ("source", "target")),
    place=st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
)
def test_any_draft_parses(sample, entity, column, place):
    user, item = "Kunde", "Artikel"
    nodes = dict([label(user, 100), label(item, 50, TITLE, prop(column, "int")), label(entity, 5, prop("x"))])
    links = (
        link(user, "BOUGHT", item, properties=[prop("at", "time", samples=(sample,)), prop(column, samples=(sample,))]),
        link(item, sample, entity, 50, per=(1, 10)),
        link(item, "OF", entity, 50, per=(1, 10), properties=[prop(sample)]),
    )
    draft = draft_schema(GraphProfile(place, sample, nodes, links, left_out=(sample,)))
    schema = CatalogueSchema.parse(draft.toml)
    assert schema == draft.schema
    assert {node.label for node in schema.nodes.values()} == {user, item, entity}
    assert {edge.type for edge in schema.edges.values()} == {"BOUGHT", "OF", *([sample] if is_name(sample) else [])}


def test_an_empty_graph_is_an_error_that_states_what_was_expected():
    with pytest.raises(CatalogueError, match="p has no nodes with labels"):
        draft_schema(GraphProfile("p", "n", {}, ()))


# -- attributes, and links of users -----------------------------------------------------------------------------------

SOCIAL = replace(
    SHOP,
    nodes={
        **SHOP.nodes,
        **dict(
            [
                label("Kunde", 100, prop("age", "int"), prop("country"), prop("nickname", unique=True)),
                label("Artikel", 50, TITLE, prop("genres", "list"), prop("preis", "float"), prop("views", "int")),
                label("Marke", 5, prop("name", unique=True), prop("country")),
                label("City", 7, prop("name", unique=True)),
                label("BookClub", 9, prop("name", unique=True)),
                label("Topic", 9, prop("name", unique=True)),
            ]
        ),
    },
    relationships=(
        *SHOP.relationships,
        link("Kunde", "IS_FRIEND_OF", "Kunde"),
        link("Kunde", "FOLLOWS", "Kunde"),
        link("Kunde", "COMES_FROM", "City", per=(1, 9)),
        link("BookClub", "HAS_MEMBER", "Kunde", per=(9, 2)),
        link("Kunde", "INTERESTED_IN", "Topic"),
        link("Artikel", "SEQUEL_OF", "Artikel", 9, per=(1, 1)),
        link("Kunde", "WISHES", "Artikel", 30),
    ),
)


def test_features_and_sensitive_attributes_are_drafted_with_remarks():
    draft = draft_schema(SOCIAL)
    schema = CatalogueSchema.parse(draft.toml)
    item, user, maker = (schema.nodes[name] for name in ("artikel", "kunde", "marke"))
    assert (item.features, item.attributes["views"]) == (("genres", "preis"), Attribute(type="int"))
    assert item.attributes["genres"].type == "list" and item.text == ("title",)
    assert (user.features, user.sensitive, maker.features) == (("country",), ("age",), ("country",))
    lines = {line.split(" = ")[0]: line for line in draft.toml.splitlines()}
    assert "feature = true" in lines["genres"] and "such as a b, c d" in lines["genres"]
    assert lines["views"].endswith("0 to 9; looks computed from interactions: not a feature")
    assert lines["age"].endswith("0 to 9; sensitive: not read by the model unless you add feature = true")
    assert "public" not in draft.toml


def test_links_of_users_have_phrases():
    edges = draft_schema(SOCIAL).schema.edges
    assert {name: edge.phrase for name, edge in edges.items() if edge.phrase} == {
        "is_friend_of": "friend",
        "follows": "followed user",
        "comes_from": "in {}",
        "has_member": "book club",
        "interested_in": "topic",
        "von": "marke",
    }
    assert (edges["is_friend_of"].source, edges["is_friend_of"].target) == ("kunde", "kunde")


def test_a_short_list_of_subjects_or_a_text_about_gender_is_no_text():
    texts = [prop("topics", samples=("war", "love")), prop("about", samples=("a b c d e f g h",), length=60)]
    views = prop("political_views", samples=("I think that all of it is right",), length=60, unique=True)
    nodes = {**SHOP.nodes, **dict([label("Artikel", 50, TITLE, *texts), label("Kunde", 100, views)])}
    schema = draft_schema(replace(SHOP, nodes=nodes)).schema
    assert schema.nodes["artikel"].text == ("title", "about") and schema.nodes["artikel"].features == ("topics",)
    assert schema.nodes["kunde"].text == () and schema.nodes["kunde"].sensitive == ("political_views",)


def test_users_under_several_columns_are_joined():
    def named(name):
        key = prop(f"{name}_id", unique=True, samples=("1", "2"))
        return name, NodeProfile(name, 40, {key.name: key}, label=name.title(), key=key.name, from_edges=True)

    bought = replace(SHOP.relationships[1], start_column="user", end_column="item", start="user")
    friends = replace(link("user1", "friends", "user2"), start_column="user1", end_column="user2")
    nodes = {"Artikel": SHOP.nodes["Artikel"], **dict([named("user"), named("user1"), named("user2")])}
    draft = draft_schema(GraphProfile("p", "n", nodes, (bought, friends), is_tables=True))
    edge = draft.schema.edges["friends"]
    assert (edge.source, edge.target, edge.phrase) == ("user", "user", "friend")
    assert (edge.source_column, edge.target_column) == ("user1", "user2")
    assert set(draft.schema.nodes) == {"user", "Artikel"}
    assert any(guess.choice == "links user to user" for guess in draft.guesses)


def test_people_who_are_linked_to_items_too_are_not_joined():
    sellers = replace(link("user2", "sold", "Artikel"), start_column="user2", end_column="item")
    friends = replace(link("user", "friends", "user2"), start_column="user", end_column="user2")
    key = prop("user_id", unique=True, samples=("1", "2"))
    people = {
        name: NodeProfile(name, 40, {"user_id": key}, label=name.title(), key="user_id", from_edges=True)
        for name in ("user", "user2")
    }
    bought = replace(SHOP.relationships[1], start_column="user", end_column="item", start="user")
    nodes = {"Artikel": SHOP.nodes["Artikel"], **people}
    draft = draft_schema(GraphProfile("p", "n", nodes, (bought, friends, sellers), is_tables=True))
    assert draft.schema.edges["friends"].target == "user2"


# -- labels ------------------------------------------------------------------------------------------------------------


def sets(**counts):
    return {frozenset(labels.split("_")): n for labels, n in counts.items()}


@pytest.mark.parametrize(
    ("label_sets", "kept", "chosen"),
    [
        (sets(Movie=5, User=9), (), ["Movie", "User"]),
        (sets(Movie_Entity=60, Actor_Entity=50, Entity=2), (), ["Actor", "Movie"]),
        (sets(Person=100, Person_Actor=50, Person_Director=30, Person_Actor_Director=10), (), ["Person"]),
        (sets(Product_Book=60, Product_Toy=50), (), ["Book", "Toy"]),
        (sets(Product_Book=60, Product_Toy=50), ["Product"], ["Product"]),
        (sets(Person_Customer=50, Person=50, Item=3), ["Customer", "Item"], ["Customer", "Item"]),
    ],
)
def test_a_node_is_in_one_node_type(label_sets, kept, chosen):
    found, guesses = choose_labels(label_sets, kept)
    assert found == chosen
    assert bool(guesses) == any(len(labels) > 1 for labels in label_sets)
    assert all(len(labels & set(found)) <= 1 for labels in label_sets)
