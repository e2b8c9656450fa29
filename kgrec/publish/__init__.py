"""Publishes a trained model into the user's Neo4j, for Cypher: vectors, neighbours, recommendations, segments."""

from kgrec.publish.publish_report import Coverage, PublishReport
from kgrec.publish.publishing import NEIGHBOURS, publish_bundle
from kgrec.publish.ranked_lists import find_neighbours, find_recommendations
from kgrec.publish.user_segments import Segment, find_segments

__all__ = [
    "NEIGHBOURS",
    "Coverage",
    "PublishReport",
    "Segment",
    "find_neighbours",
    "find_recommendations",
    "find_segments",
    "publish_bundle",
]
