from graph_schema import CatalogueSchema
from kgrec.store.ladybug_layout import lay_out

SCHEMA = CatalogueSchema.parse(
    """
    name = "names"
    [nodes.item]
    label = "Order"
    key = "item id"
    attributes = { _id = "int", Id = "float", id = "bool", rowid = "time" }
    [nodes.user]
    label = "_kgrec"
    key = "key"
    [edges.bought]
    source = "user"
    type = "ORDER"
    target = "item"
    attributes = { from = "int", to = "string" }
    [edges.knows]
    source = "user"
    type = "LINK"
    target = "user"
    [edges.goes_with]
    source = "item"
    type = "Link"
    target = "item"
    [interaction]
    edge = "bought"
    """
)


def test_names_are_quoted_and_never_clash() -> None:
    layout = lay_out(SCHEMA, taken=["kgrec"])
    assert layout.statements == (
        "CREATE NODE TABLE `Order` (`item id` STRING, `id` INT64, `Id_2` DOUBLE, `id_3` BOOL, `rowid_2` INT64, "
        "PRIMARY KEY (`item id`))",
        "CREATE NODE TABLE `kgrec_2` (`key` STRING, PRIMARY KEY (`key`))",
        "CREATE REL TABLE `ORDER_2` (FROM `kgrec_2` TO `Order`, `from_2` INT64, `to_2` STRING)",
        "CREATE REL TABLE `knows` (FROM `kgrec_2` TO `kgrec_2`)",
        "CREATE REL TABLE `goes_with` (FROM `Order` TO `Order`)",
    )


def test_rows_are_looked_up_by_their_keys() -> None:
    layout = lay_out(SCHEMA)
    assert layout.nodes["item"].find == "MATCH (x:`Order` {`item id`: c0})"
    assert layout.edges["bought"].find == (
        "MATCH (a:`kgrec` {`key`: c0}) MATCH (b:`Order` {`item id`: c1}) MATCH (a)-[x:`ORDER_2`]->(b)"
    )
    assert layout.edges["bought"].columns == ("a.`key`", "b.`item id`", "x.`from_2`", "x.`to_2`")
