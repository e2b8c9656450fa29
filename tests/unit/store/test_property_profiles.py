"""Profiles of the properties of sampled nodes."""

from graph_schema.drafts.attribute_draft import draft_attributes
from kgrec.store.neo4j.property_profiles import SampledValue, summarise


def test_lists_as_text_are_lists_and_their_entries_are_counted():
    values = ["Drama|Comedy", "Drama", "War|Drama", "Comedy|War"]
    found = summarise([[SampledValue("genres", "STRING NOT NULL", one, len(one))] for one in values])["genres"]
    assert (found.separator, found.commonest, found.common_share) == ("|", "Drama", 0.75)
    genres = draft_attributes([found], n_nodes=4, is_user=False)["genres"].attribute
    assert (genres.type, genres.feature) == ("list", True)


def test_plain_texts_have_no_separator():
    values = ["Red", "Red", "Blue"]
    found = summarise([[SampledValue("colour", "STRING NOT NULL", one, len(one))] for one in values])["colour"]
    assert (found.separator, found.commonest) == ("", "Red")
