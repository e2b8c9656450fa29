import pytest

from graph_schema import CatalogueSchema
from graph_schema.catalogue import CATALOGUES_DIR


@pytest.mark.parametrize("name", sorted(path.stem for path in CATALOGUES_DIR.glob("*.toml")))
def test_every_known_catalogue_parses(name):
    schema = CatalogueSchema.known(name)
    assert schema.edges[schema.interaction.edge].phrase is None
    assert all(edge.phrase for edge in schema.graph_edges.values())
