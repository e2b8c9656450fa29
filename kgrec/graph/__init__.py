"""The heterograph, what is propagated over it, splits, and paths behind a reason."""
