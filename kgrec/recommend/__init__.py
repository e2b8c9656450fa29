"""Recommendations: for known users, for likes of anybody, from a sentence, with reasons."""

from kgrec.recommend.answers import Explanation, Recommendation, Recommendations, Share
from kgrec.recommend.new_items import NewItem
from kgrec.recommend.recommender import Recommender

__all__ = ["Explanation", "NewItem", "Recommendation", "Recommendations", "Recommender", "Share"]
