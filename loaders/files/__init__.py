"""Reads files of any layout as raw rows of the types of a schema."""
