"""Ablation: does the graph help? Trains without each relation, all links or all texts, and on a shuffled graph."""
