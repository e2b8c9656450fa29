"""A small catalogue with the ids of MovieLens that the examples of the service name: cartoons, and films of space."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

import kgrec
from kgrec.config import TrainConfig

CARTOONS = ("Toy Story", "Aladdin", "The Lion King", "Beauty and the Beast", "Fantasia", "Pinocchio")
SPACE = ("Star Wars", "Contact", "Apollo 13", "Alien", "Stargate", "Star Trek")
FILMS = dict(zip(("1", "95", "71", "588", "432", "404"), CARTOONS, strict=True)) | dict(
    zip(("50", "258", "28", "183", "62", "222"), SPACE, strict=True)
)
_CONFIG = {
    "embedding_dim": 8,
    "device": "cpu",
    "backbone": {"alphas": [], "regularisations": [], "epochs": 3},
    "item_item": {"regularisation": 1.0, "few_regularisation": 1.0},
    "prior": {
        "path_dim": 4, "links_dim": 4, "regularisation": 3.0, "regularisations": [], "gates": [], "hidden": 4,
        "steps": 3,
    },
    "head": {"epochs": 1, "batch_size": 16},
}  # fmt: skip


def train_films(folder: Path) -> Path:
    """A bundle of the catalogue, trained once in a run of tests; returns its folder within the given one."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))  # all processes of one run have the same
    trained = Path(tempfile.gettempdir()) / f"kgrec-films-{run}"
    with FileLock(f"{trained}.lock"):
        if not trained.exists():
            _train(trained)
            atexit.register(shutil.rmtree, trained, ignore_errors=True)
    return Path(shutil.copytree(trained, folder / "films"))


def _train(folder: Path) -> None:
    """Trains the catalogue; users with an odd number like cartoons, the others space."""
    rng = np.random.default_rng(5)
    ids, rows = list(FILMS), []
    for user in range(1, 61):
        mine = ids[:6] if user % 2 else ids[6:]
        rows += [(str(user), item, 5.0, 1_700_000_000 + place) for place, item in enumerate(rng.choice(mine, 4, False))]
    kinds = {item: "Animation" if item in ids[:6] else "Sci-Fi" for item in ids}
    trained = kgrec.train(
        interactions=pd.DataFrame(rows, columns=["user", "item", "rating", "timestamp"]),
        items=pd.DataFrame(
            {
                "item": ids,
                "title": list(FILMS.values()),
                "about": [
                    f"{name} is a film about {kinds[item].lower()} and much more." for item, name in FILMS.items()
                ],
            }
        ),
        links=pd.DataFrame(
            [(item, "genre", kind) for item, kind in kinds.items()], columns=["item", "relation", "target"]
        ),
        positive=4,
        config=TrainConfig.read(_CONFIG, "the test"),
        progress=False,
    )
    trained.save(folder)
