"""Training: from a heterograph to a model; every choice is made on held-out likes."""
