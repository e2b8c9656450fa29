"""Training: from a heterograph to a model, every choice made on likes held out of it."""
