"""Drafts of schemas: from the profile of a graph or a folder to a commented TOML file."""
