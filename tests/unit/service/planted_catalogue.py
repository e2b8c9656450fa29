"""A small catalogue without texts, trained once and saved: two kinds of items, each liked by half of the users."""

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pandas as pd

import kgrec
from kgrec.config import BackboneConfig, HeadConfig, PriorConfig, TrainConfig

N_USERS, N_ITEMS = 60, 30
CONFIG = TrainConfig(
    embedding_dim=8,
    device="cpu",
    backbone=BackboneConfig(alphas=(), regularisations=(), epochs=3),
    prior=PriorConfig(path_dim=4, links_dim=4, regularisations=(), gates=(), hidden=4, steps=3),
    head=HeadConfig(epochs=1, batch_size=16),
)


@cache
def train_planted(seed: int = 0) -> Path:
    """The folder of the bundle."""
    rng = np.random.default_rng(seed)
    likes = [
        (f"u{user}", f"i{item}")
        for user in range(N_USERS)
        for item in rng.choice(np.arange(user % 2, N_ITEMS, 2), 8, replace=False)
    ]
    interactions = pd.DataFrame(likes, columns=["user", "item"])
    links = pd.DataFrame(
        [(f"i{item}", "shop", f"s{item % 2}") for item in range(N_ITEMS)], columns=["item", "relation", "target"]
    )
    folder = Path(mkdtemp()) / f"planted-{seed}"
    kgrec.train(interactions=interactions, links=links, config=CONFIG, progress=False).save(folder)
    return folder
