"""Differential privacy: what a private training reads of the likes, as noisy sums over users."""
