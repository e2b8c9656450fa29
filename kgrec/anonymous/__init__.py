"""Likes as a table for outsiders, in which every user has the same record as at least k - 1 others."""

from kgrec.anonymous.grouping import count_alike
from kgrec.anonymous.like_export import AnonymousLikes, export_anonymous

__all__ = ["AnonymousLikes", "count_alike", "export_anonymous"]
