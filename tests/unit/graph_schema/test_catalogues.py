import pytest

from graph_schema import CatalogueSchema
from graph_schema.catalogue_schema import CATALOGUES_DIR


@pytest.mark.parametrize("name", sorted(path.stem for path in CATALOGUES_DIR.glob("*.toml")))
def test_every_known_catalogue_parses(name):
    schema = CatalogueSchema.known(name)
    assert schema.edges[schema.interaction.edge].phrase is None
    assert all(edge.phrase for edge in schema.graph_edges.values())


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ('ignore = ["shelf"]', "ignore = []", True),
        ("[edges.rated]", '[edges.rated]\nignore = ["device"]', True),
        ('text = ["title", "blurb"]', 'text = ["title"]', False),
        ('stars = "float"', 'stars = "int"', False),
    ],
)
def test_columns_left_out_do_not_change_the_digest_and_columns_kept_do(before, after, same):
    template = (CATALOGUES_DIR / "template.toml").read_text(encoding="utf-8")
    assert before in template
    changed = CatalogueSchema.parse(template.replace(before, after, 1))
    assert (changed.digest == CatalogueSchema.parse(template).digest) is same
