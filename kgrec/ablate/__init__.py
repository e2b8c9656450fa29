"""Ablation: does the graph help? Trainings without each relation, all links or all texts, and on a shuffled graph."""
