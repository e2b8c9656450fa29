"""Text: the encoder, its cache, and the text of each node."""
