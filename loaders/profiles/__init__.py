"""Profiles of folders, from which `kgrec inspect` drafts a schema."""
