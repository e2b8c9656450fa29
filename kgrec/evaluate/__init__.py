"""Evaluation: slices, metrics, baselines, intervals and the report."""
