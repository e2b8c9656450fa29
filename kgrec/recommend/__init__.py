"""Recommendations for a known user, from likes or from a sentence, with reasons."""

from kgrec.recommend.answers import Explanation, Recommendation, Recommendations, Share
from kgrec.recommend.new_items import NewItem
from kgrec.recommend.new_users import NewUser
from kgrec.recommend.recommender import Recommender

__all__ = ["Explanation", "NewItem", "NewUser", "Recommendation", "Recommendations", "Recommender", "Share"]
