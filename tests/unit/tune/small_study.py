"""A small space over the shop, for studies in tests."""

from pathlib import Path

import optuna
from shop import CONFIG, WordEncoder, make_tables

from kgrec.config import PriorConfig, SplitConfig
from kgrec.training.dataset import CatalogueGraph, build_graph
from kgrec.tune.objective import fingerprint
from kgrec.tune.space import Setting
from kgrec.tune.study import open_study

BASE = CONFIG.model_copy(
    update={
        "seed": 3,
        "validation": SplitConfig(cold_users=0.3, least_likes=4, support_sizes=(0, 3)),
        "prior": PriorConfig(path_dim=4, links_dim=8, regularisation=1.0, regularisations=(), gates=()),
    }
)
SPACE = (
    Setting("item_item.few_dropout", 0.5, 0.95),
    Setting("backbone.alpha", 0.01, 1.0, log=True),
    Setting("backbone.epochs", 1, 6),
)
# Trials fail on a device that does not exist.
FAILING = (Setting("device", choices=("cpu", "nowhere")), *SPACE)


def make_graph(folder: Path) -> CatalogueGraph:
    """The shop, encoded by words."""
    return build_graph(make_tables(), WordEncoder(), folder)


def study_of(file: Path, graph: CatalogueGraph, space: tuple[Setting, ...] = SPACE) -> optuna.Study:
    return open_study(file, fingerprint(graph, BASE, space, 2), BASE, space)
