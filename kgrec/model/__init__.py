"""The model: backbone, prior, adaptation head, item-item ridge, and the gate that blends them."""
