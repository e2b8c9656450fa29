"""Catalogues in a Neo4j database: the store, graphs that were there before, what kgrec writes back."""
