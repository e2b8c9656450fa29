"""Small generators for tests."""

import numpy as np
from numpy.typing import NDArray

from kgrec.config import GeneratorConfig
from kgrec.generate.generator import Generator
from kgrec.generate.generator_training import train_generator
from kgrec.generate.item_sequences import ItemSequences
from kgrec.generate.semantic_ids import SemanticIds, fit_semantic_ids

TINY = GeneratorConfig(width=16, heads=2, layers=1, head_layers=1, levels=2, epochs=1, most_items=6, batch_positions=64)


def draw_vectors(n_items: int, dim: int = 4, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(n_items, dim)).astype(np.float32)


def make_generator(n_items: int = 30, *, seed: int = 0, config: GeneratorConfig = TINY) -> Generator:
    """A generator after one epoch on random sequences."""
    rng = np.random.default_rng(seed)
    content = draw_vectors(n_items, seed=seed)
    sequences = ItemSequences.of([rng.integers(0, n_items, rng.integers(1, 5)).tolist() for _ in range(12)])
    return train_generator(content, sequences, config)


def make_ids(n_items: int, *, n_codes: int = 3, levels: int = 2, seed: int = 0) -> SemanticIds:
    return fit_semantic_ids(draw_vectors(n_items, seed=seed), levels=levels, n_codes=n_codes, seed=seed)
