"""Tuning: settings of the training searched for on validation, with Optuna."""
