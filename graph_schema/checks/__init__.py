"""Checks of source rows: values become their declared types, bad rows go to a reject file."""
