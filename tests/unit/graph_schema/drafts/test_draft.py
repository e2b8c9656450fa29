"""Drafts of schemas from profiles, and schemas written as TOML."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_schema import Attribute, CatalogueError, CatalogueSchema, EdgeType, Interaction, NodeType
from graph_schema.drafts.draft import draft_schema
from graph_schema.drafts.profile import GraphProfile, NodeProfile, PropertyProfile, RelationshipProfile
from graph_schema.schema_toml import to_toml
from graph_schema.schema_types import SourceTable, is_label, is_name

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
    called=st.lists(names.filter(lambda name: name not in ("source", "target")), min_size=6, max_size=6, unique=True),
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
    assert schema.interaction == Interaction(edge="kaufte", weight="menge", at="am", repeats="sum")
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


def test_the_kind_that_says_most_is_chosen_and_the_others_are_other_feedback():
    more = (
        link("Kunde", "MERKTE", "Artikel", 3000, properties=[prop("am", "time", samples=())]),
        link("Kunde", "VIEWED", "Artikel", 90_000, properties=[prop("am", "time", samples=())]),
        link("Artikel", "DISLIKED_BY", "Kunde", 500),
    )
    draft = draft_schema(replace(SHOP, relationships=(*SHOP.relationships, *more)))
    schema = CatalogueSchema.parse(draft.toml)
    assert schema.interaction.edge == "kaufte"
    assert schema.interaction.other_feedback == {"merkte": 0.5, "viewed": 0.2, "disliked_by": -1.0}
    assert set(schema.graph_edges) == {"von"}
    assert (schema.edges["disliked_by"].source, schema.edges["disliked_by"].reverse) == ("kunde", True)
    assert draft.guesses[0].sure == "likely"  # because there are other interactions


def test_a_handful_of_the_strongest_kind_is_too_few_to_learn_from():
    viewed = link("Kunde", "VIEWED", "Artikel", 90_000, properties=[prop("am", "time", samples=())])
    few = replace(SHOP.relationships[1], count=100)
    schema = draft_schema(replace(SHOP, relationships=(SHOP.relationships[0], few, viewed))).schema
    assert schema.interaction.edge == "viewed" and schema.interaction.other_feedback == {"kaufte": 1.0}


def test_what_users_did_to_make_an_item_is_knowledge_and_no_feedback():
    nodes = dict([label("Person", 100), label("Movie", 50, TITLE)])
    links = (
        link("Person", "REVIEWED", "Movie", 900, properties=[prop("rating", "int", low=1, high=5)]),
        link("Person", "DIRECTED", "Movie", 60, per=(2, 1)),
    )
    schema = draft_schema(GraphProfile("p", "n", nodes, links)).schema
    assert (schema.interaction.edge, schema.interaction.other_feedback) == ("reviewed", {})
    assert set(schema.graph_edges) == {"directed"}


def test_other_interactions_are_comments_that_can_take_the_place_of_the_one_chosen():
    more = (
        link("Kunde", "VIEWED", "Artikel", 9000, properties=[prop("am", "time", samples=())]),
        link("Kunde", "LIKES", "Marke", 700, properties=[prop("am", "time", samples=())]),
    )
    more = (more[0], replace(more[1], example="Anna -> Acme, am 2024-01-02"))
    draft = draft_schema(replace(SHOP, relationships=(*SHOP.relationships, *more)))
    start = draft.toml.index("# --- Instead of the interaction above")
    assert "(:Kunde)-[:LIKES]->(:Marke): 700, score" in draft.toml[start:] and "Anna -> Acme" in draft.toml[start:]
    blocks = draft.toml[start:].split("# [interaction]")[1:]
    assert len(blocks) == 2
    before = draft.toml[: draft.toml.index("\n[interaction]")]
    edges = set()
    for block in blocks:
        lines = [line[2:] for line in block.splitlines() if line.startswith("# ") and " = " in line]
        edges.add(CatalogueSchema.parse("\n".join([before, "[interaction]", *lines])).interaction.edge)
    assert edges == {"viewed", "likes"}
    chosen = {one.about: one.choice for one in draft.alternatives if one.is_chosen}
    assert chosen == {"users": "Kunde", "items": "Artikel", "interaction": "(:Kunde)-[:KAUFTE]->(:Artikel)"}
    [likes] = [one for one in draft.alternatives if "LIKES" in one.choice]
    assert (likes.about, likes.count, likes.example) == ("interaction", 700, "Anna -> Acme, am 2024-01-02")


NORTHWIND = GraphProfile(
    "bolt://x",
    "northwind",
    dict(
        [
            label("Customer", 90, prop("companyName", unique=True), prop("contactName", unique=True),
                  prop("contactTitle")),
            label("Order", 800, prop("orderDate", "time", samples=()), prop("shippedDate", "time", samples=())),
            label("Product", 77, prop("productName", unique=True), prop("discontinued", "bool")),
            label("Category", 8, prop("categoryName", unique=True)),
            label("Shipper", 3, prop("companyName", unique=True)),
        ]
    ),
    (
        link("Customer", "PURCHASED", "Order", 800, per=(9, 1)),
        link("Order", "ORDERS", "Product", 2100, per=(3, 27),
             properties=[prop("quantity", "int", low=1, high=130), prop("unitPrice", "float")]),
        link("Order", "SHIPPED_BY", "Shipper", 800, per=(1, 260)),
        link("Product", "PART_OF", "Category", 77, per=(1, 9)),
        replace(
            link("Customer", "PURCHASED_ORDERS", "Product", 2100, per=(23, 27),
                 properties=[prop("shippedDate", "time", samples=()), prop("orderDate", "time", samples=()),
                             prop("quantity", "int", low=1, high=130), prop("unitPrice", "float")]),
            path=("PURCHASED", "ORDERS"), via=("Order",), example="Alfreds Futterkiste -> Chai, quantity 10",
        ),
    ),
)  # fmt: skip


def test_interactions_over_a_path_are_drafted_and_its_middle_is_left_out():
    draft = draft_schema(NORTHWIND)
    schema = CatalogueSchema.parse(draft.toml)
    edge = schema.edges[schema.interaction.edge]
    assert (schema.user_type, schema.item_type, edge.path) == ("customer", "product", ("PURCHASED", "ORDERS"))
    assert (schema.interaction.weight, schema.interaction.at) == ("quantity", "orderDate")
    assert (schema.interaction.positive, schema.interaction.repeats) == (None, "sum")
    assert set(schema.nodes) == {"customer", "product", "category"}
    assert set(schema.graph_edges) == {"part_of"}
    left_out = "\n".join(draft.left_out)
    assert ":Order: it stands between users and items" in left_out and "(:Order)-[:SHIPPED_BY]->(:Shipper)" in left_out
    assert draft.guesses[0].choice == "(:Customer)-[:PURCHASED]->(:Order)-[:ORDERS]->(:Product)"
    assert schema.nodes["customer"].name == "companyName" and schema.nodes["product"].name == "productName"
    assert schema.nodes["product"].available == {"discontinued": False}


def test_a_path_through_tables_keeps_its_columns():
    [*_, path] = NORTHWIND.relationships
    bought = replace(
        path, type="order_lines", path=("orders", "order_lines"), join=("order_id",), via=("orders",),
        start_column="customer", end_column="product",
    )  # fmt: skip
    nodes = {name: NORTHWIND.nodes[name] for name in ("Customer", "Product")}
    profile = GraphProfile(
        "p", "n", nodes, (bought,), is_tables=True, tables={"orders": SourceTable(file=("o.txt",), delimiter="::")}
    )
    schema = CatalogueSchema.parse(draft_schema(profile).toml)
    edge = schema.edges["order_lines"]
    assert (edge.path, edge.join, edge.table) == (("orders", "order_lines"), ("order_id",), None)
    assert (edge.source_column, edge.target_column) == ("customer", "product")
    assert schema.tables == {"orders": SourceTable(file=("o.txt",), delimiter="::")}


def test_a_path_over_the_items_is_no_other_interaction():
    over = replace(link("Kunde", "KAUFTE_VON", "Marke", 700), path=("KAUFTE", "VON"), via=("Artikel",))
    draft = draft_schema(replace(SHOP, relationships=(*SHOP.relationships, over)))
    assert set(draft.schema.edges) == {"kaufte", "von"} and len(draft.alternatives) == 3
    assert "KAUFTE_VON" not in draft.toml


def test_a_path_is_followed_from_users_to_items():
    [*others, path] = NORTHWIND.relationships
    turned = replace(
        path, start="Product", end="Customer", path=("<ORDERS", "<PURCHASED"), type="ORDERS_PURCHASED",
        n_starts=path.n_ends, n_ends=path.n_starts,
    )  # fmt: skip
    schema = draft_schema(replace(NORTHWIND, relationships=(*others, turned))).schema
    edge = schema.edges[schema.interaction.edge]
    assert (edge.source, edge.target, edge.path) == ("customer", "product", ("PURCHASED", "ORDERS"))
    assert not edge.reverse


def test_orders_are_no_users():
    nodes = {name: NORTHWIND.nodes[name] for name in ("Order", "Product", "Category")}
    links = tuple(one for one in NORTHWIND.relationships if {one.start, one.end} <= {*nodes})
    assert not draft_schema(replace(NORTHWIND, nodes=nodes, relationships=links)).is_complete


def test_tables_of_triples_lists_and_clicks_are_written_as_they_are_read():
    made = replace(
        link("movies", "directed_by", "entity", 40, per=(1, 4)), table="kg", where={"relation": "directed_by"},
        start_column="head", end_column="tail",
    )  # fmt: skip
    actors = replace(
        link("movies", "movies_actors", "actors", 90, per=(3, 3)), table="movies", split="|", start_column="moviesId",
        end_column="actor_ids",
    )  # fmt: skip
    shown = replace(
        link("user", "shown", "movies", properties=[prop("clicked", "bool", samples=("True", "False")),
                                                    prop("on", samples=("31.12.2024",))]),
        start_column="user", end_column="movie",
    )  # fmt: skip
    times = {**shown.properties, "on": replace(shown.properties["on"], time_format="%d.%m.%Y")}
    nodes = dict(
        [label("user", 100), label("movies", 50, TITLE, prop("actor_ids")), label("actors", 9), label("entity", 9)]
    )
    profile = GraphProfile("p", "n", nodes, (replace(shown, properties=times), made, actors), is_tables=True)
    schema = CatalogueSchema.parse(draft_schema(profile).toml)
    edges = schema.edges
    assert (edges["directed_by"].table, edges["directed_by"].where) == ("kg", {"relation": "directed_by"})
    assert (edges["movies_actors"].table, edges["movies_actors"].split) == ("movies", "|")
    assert schema.nodes["movies"].ignore == ("actor_ids",)
    assert edges["shown"].where == {"clicked": "True"} and edges["shown"].time_formats == {"on": "%d.%m.%Y"}
    assert schema.interaction == Interaction(edge="shown", at="on")


def test_a_link_that_most_items_share_is_told():
    one = replace(link("Artikel", "ZAHLT_MIT", "Zahlart", 50, per=(1, 25)), max_in=45)
    nodes = {**SHOP.nodes, **dict([label("Zahlart", 2, prop("name"))])}
    draft = draft_schema(replace(SHOP, nodes=nodes, relationships=(*SHOP.relationships, one)))
    [guess] = [guess for guess in draft.guesses if guess.choice == "has a hub"]
    assert "45 of 50 items" in guess.why
    genres = replace(prop("genres", "list"), commonest="Drama", common_share=0.7)
    draft = draft_schema(replace(SHOP, nodes={**SHOP.nodes, **dict([label("Artikel", 50, TITLE, genres)])}))
    assert any("35 of 50 items have 'Drama'" in guess.why for guess in draft.guesses)


def test_people_who_are_not_the_users_are_not_named():
    nodes = {**SHOP.nodes, **dict([label("Member", 30, prop("name", unique=True))])}
    links = (*SHOP.relationships, link("Member", "OWNS", "Marke", 30, per=(1, 6)))
    schema = draft_schema(replace(SHOP, nodes=nodes, relationships=links)).schema
    assert schema.nodes["member"].name is None and "name" not in schema.nodes["member"].columns


@pytest.mark.parametrize("knows", [False, True])
@pytest.mark.parametrize("is_tables", [False, True])
def test_users_alone_are_a_draft_with_items_to_fill_in(knows, is_tables):
    nodes = dict([label("User", 100, prop("name", unique=True))])
    links = (link("User", "KNOWS", "User"),) if knows else ()
    draft = draft_schema(GraphProfile("p", "n", nodes, links, is_tables=is_tables))
    assert not draft.is_complete and ("[nodes.user]" if not is_tables else "[nodes.User]") in draft.toml
    assert "# [nodes.item]" in draft.toml
    assert ("Add a table item.csv" if is_tables else "Add the items, nodes labelled Item") in draft.advice


@pytest.mark.parametrize("odd", ["9lives", "Kunde:in", "Büro/Möbel", "a`b", "123", "🦊"])
def test_any_label_is_drafted_under_a_name_that_files_can_have(odd):
    nodes = {**SHOP.nodes, **dict([label("Kunde", 100), label(odd, 5, prop(odd), prop("name", unique=True))])}
    links = (*SHOP.relationships, link("Artikel", odd, odd, 50, per=(1, 10)))
    schema = CatalogueSchema.parse(draft_schema(replace(SHOP, nodes=nodes, relationships=links)).toml)
    assert odd in {node.label for node in schema.nodes.values()}
    assert odd in {edge.type for edge in schema.edges.values()}
    assert all(map(is_name, (*schema.nodes, *schema.edges)))


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
        prop(" 9x"), prop("password"), PropertyProfile("mixed", {"string": 5, "int": 7}, 1.0, 0.5),
        prop("sizes", "vector"), prop("place", "other"),
    ]  # fmt: skip
    nodes = {**SHOP.nodes, **dict([label("Artikel", 50, TITLE, *odd), label("odd\n", 3), label("Config", 2)])}
    bought = replace(SHOP.relationships[1], properties={"source": prop("source"), "n": prop("n", "int")})
    draft = draft_schema(replace(SHOP, nodes=nodes, relationships=(SHOP.relationships[0], bought)))
    left_out = "\n".join(draft.left_out)
    for name in ("9x", "password", "mixed", "sizes", "place", "KAUFTE.source", ":odd", ":Config"):
        assert name in left_out
    assert "7 int, 5 string" in left_out
    assert 'add sizes = "vector" to its attributes' in left_out
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
    assert {edge.type for edge in schema.edges.values()} == {"BOUGHT", "OF", *([sample] if is_label(sample) else [])}


odd_names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12) | st.sampled_from(
    ["User", "Movie", "Order", "id", "name", "rating", "at", "source", "target", "in_stock", "quantity"]
)
profiled = st.builds(
    PropertyProfile,
    name=odd_names,
    kinds=st.dictionaries(
        st.sampled_from(["string", "int", "float", "bool", "time", "list", "point", "vector", "other"]),
        st.integers(0, 9), max_size=2,
    ),
    coverage=st.floats(0, 1),
    distinct=st.floats(0, 1),
    is_unique=st.none() | st.booleans(),
    mean_length=st.floats(0, 99),
    low=st.none() | st.floats(-9, 9),
    high=st.none() | st.floats(-9, 200),
    samples=st.lists(st.text(max_size=9), max_size=3).map(tuple),
    spread=st.lists(st.floats(-9, 200), max_size=5).map(sorted).map(tuple),
    separator=st.sampled_from(["", "|", ", ", "[]"]),
    commonest=st.text(max_size=5),
    common_share=st.floats(0, 1),
)  # fmt: skip
properties = st.lists(profiled, max_size=4).map(lambda found: {one.name: one for one in found})


@st.composite
def any_profile(draw):
    labels = draw(st.lists(odd_names, max_size=4, unique=True))
    is_tables = draw(st.booleans())
    nodes = {
        name: NodeProfile(name, draw(st.integers(0, 50)), draw(properties), from_edges=draw(st.booleans()))
        for name in labels
    }
    ends = st.sampled_from(labels) if labels else st.nothing()
    links = []
    for _ in range(draw(st.integers(0, 4)) if labels else 0):
        start, end, kind = draw(ends), draw(ends), draw(odd_names)
        path = draw(st.sampled_from([(), ("A", "<B"), (kind, "C")]))
        links.append(
            replace(
                link(start, kind, end, draw(st.integers(0, 90)), per=(draw(st.integers(1, 9)), 1)),
                properties=draw(properties),
                path=path,
                join=("x",) if path and is_tables else (),
                via=draw(st.lists(odd_names, max_size=1)) if path else (),
                split=draw(st.sampled_from(["", "|"])) if not path else "",
                start_column=draw(st.sampled_from(["s", "source", "u`"])) if is_tables else "",
                end_column=draw(st.sampled_from(["t", "target"])) if is_tables else "",
            )
        )
    return GraphProfile(draw(odd_names), draw(odd_names), nodes, tuple(links), is_tables=is_tables)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(any_profile())
def test_any_profile_is_a_draft_or_one_message(profile):
    try:
        draft = draft_schema(profile)
    except CatalogueError:
        return
    if draft.is_complete:
        assert CatalogueSchema.parse(draft.toml) == draft.schema
    assert CatalogueSchema.parse(to_toml(draft.schema)) == draft.schema


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


@pytest.mark.parametrize(("kind", "phrase"), [("FREUNDE", "friend"), ("amigos", "friend"), ("KONTAKTE", "contact")])
def test_friends_in_other_languages_are_friends_in_reasons(kind, phrase):
    friends = link("Kunde", kind, "Kunde", 90, per=(3, 3))
    edges = draft_schema(replace(SHOP, relationships=(*SHOP.relationships, friends))).schema.edges
    assert edges[kind.lower()].phrase == phrase


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


def test_ids_of_linked_nodes_are_no_attributes():
    ids = [prop("categoryID", "int"), prop("supplierId", "int"), prop("shelf_id", samples=("s1", "s2"))]
    _, product = label("Product", 77, prop("productName", unique=True), *ids)
    _, category = label("Category", 8, prop("categoryName", unique=True))
    nodes = {**NORTHWIND.nodes, "Product": product, "Category": category}
    item = draft_schema(replace(NORTHWIND, nodes=nodes)).schema.nodes["product"]
    assert {*item.attributes} == {"supplierId", "shelf_id"}  # nothing else says what they are


@pytest.mark.parametrize(
    ("middle", "first", "second", "weight"),
    [("Order", "PURCHASED", "ORDERS", 1.0), ("Order", "PLACED", "CONTAINS", 1.0), ("Vorgang", "HAT", "ENTHAELT", 0.5)],
)
def test_orders_beside_ratings_are_other_feedback_and_no_nodes(middle, first, second, weight):
    bought = [prop("am", "time", samples=()), prop("menge", "int", low=1)]
    steps = (
        link("Kunde", first, middle, 400, per=(4, 1)),
        link(middle, second, "Artikel", 1200, per=(3, 24), properties=bought[1:]),
        replace(
            link("Kunde", f"{first}_{second}", "Artikel", 1200, per=(12, 24), properties=bought),
            path=(first, second), via=(middle,),
        ),
    )  # fmt: skip
    rated = link("Kunde", "BEWERTET", "Artikel", 900, properties=[prop("sterne", "int", low=1, high=5)])
    nodes = {**SHOP.nodes, **dict([label(middle, 400, bought[0])])}
    schema = draft_schema(replace(SHOP, nodes=nodes, relationships=(SHOP.relationships[0], rated, *steps))).schema
    path = f"{first}_{second}".lower()
    assert (schema.interaction.edge, schema.interaction.weight) == ("bewertet", "sterne")
    assert schema.interaction.other_feedback == {path: weight} and schema.edges[path].path == (first, second)
    assert set(schema.nodes) == {"kunde", "artikel", "marke"} and set(schema.graph_edges) == {"von"}
    alone = draft_schema(replace(SHOP, nodes=nodes, relationships=(SHOP.relationships[0], *steps))).schema
    assert (alone.interaction.edge, alone.user_type, alone.item_type) == (path, "kunde", "artikel")


def test_what_the_names_of_users_and_where_they_live_say_is_no_feature():
    texts = ("Vorname", "Nachname", "Straße", "PLZ", "Wohnort", "Geschlecht")
    kunde = label("Kunde", 100, *(prop(name) for name in texts), prop("Geburtsdatum", "time", samples=()))
    draft = draft_schema(replace(SHOP, nodes={**SHOP.nodes, **dict([kunde])}))
    node = draft.schema.nodes["kunde"]
    assert (node.name, node.text, node.features) == (None, (), ("Wohnort",))
    assert set(node.attributes) == {"PLZ", "Wohnort", "Geschlecht", "Geburtsdatum"}
    assert node.attributes["Geschlecht"].sensitive and node.attributes["Geburtsdatum"].sensitive
    left_out = "\n".join(draft.left_out)
    assert all(f"Kunde.{name}" in left_out for name in ("Vorname", "Nachname", "Straße"))


def test_the_one_drafted_has_the_highest_score():
    more = link("Kunde", "VIEWED", "Artikel", 9000, properties=[prop("am", "time", samples=()), prop("mal", "int")])
    draft = draft_schema(replace(SHOP, relationships=(*SHOP.relationships, more)))
    assert draft.schema.interaction.edge == "kaufte"
    scores = {one.choice: one.score for one in draft.alternatives if one.about == "interaction"}
    assert max(scores, key=lambda one: scores[one]) == "(:Kunde)-[:KAUFTE]->(:Artikel)"


@pytest.mark.parametrize(
    ("user", "how"), [("Kunde", "the end of the draft says how"), ("Gast", "choose it: kgrec inspect --ask")]
)
def test_a_hint_at_another_interaction_can_be_followed(user, how):
    booked = link(user, "BOOKED", "Hotel", 700, properties=[prop("am", "time", samples=())])
    nodes = {**SHOP.nodes, **dict([label("Gast", 80), label("Hotel", 60, TITLE)])}  # guests have nothing to do with it
    draft = draft_schema(replace(SHOP, nodes=nodes, relationships=(*SHOP.relationships, booked)))
    [other] = [guess.why for guess in draft.guesses if guess.about == "other interaction"]
    assert other == f"700 of them; to train on it: {how}"
    rivals = draft.toml.partition("# --- Instead of the interaction above")[2]
    assert ('edge = "booked"' in rivals) is ("booked" in draft.schema.edges) is (user == "Kunde")


@pytest.mark.parametrize(
    ("more", "links", "why"),
    [
        ([], (), "nothing else describes items either: new ones cannot be placed"),
        ([prop("farbe")], (), "items are described by their attributes alone, and so are new ones"),
        ([], SHOP.relationships[:1], "items are described by their links alone, and so are new ones"),
    ],
)
def test_items_without_texts_are_told_with_what_describes_them(more, links, why):
    nodes = {**SHOP.nodes, **dict([label("Artikel", 50, *more)])}
    draft = draft_schema(replace(SHOP, nodes=nodes, relationships=(*links, SHOP.relationships[1])))
    [told] = [guess.why for guess in draft.guesses if guess.about == "text of items"]
    assert told == why
