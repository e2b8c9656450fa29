"""kgrec: recommendations from a knowledge graph that are good from the first click."""

from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from graph_schema import CatalogueSchema, GraphTables
    from kgrec.config import TrainConfig
    from kgrec.errors import BundleError, CatalogueError, KgrecError, RequestError, StoreError, TextError
    from kgrec.recommend import NewItem, Recommender

__version__ = version("kgrec")
__all__ = [
    "BundleError",
    "CatalogueError",
    "KgrecError",
    "NewItem",
    "Recommender",
    "RequestError",
    "StoreError",
    "TextError",
    "TrainConfig",
    "__version__",
    "cache_dir",
    "train",
]
_ERRORS = ("BundleError", "CatalogueError", "KgrecError", "RequestError", "StoreError", "TextError")
_MODULES = {
    "NewItem": "kgrec.recommend",
    "Recommender": "kgrec.recommend",
    "TrainConfig": "kgrec.config",
    **dict.fromkeys(_ERRORS, "kgrec.errors"),
}


def cache_dir() -> Path:
    """The user's cache folder: text vectors and downloaded catalogues."""
    from platformdirs import user_cache_path

    return user_cache_path("kgrec", appauthor=False)


def train(
    tables: "GraphTables",
    schema: "CatalogueSchema | None" = None,
    config: "TrainConfig | None" = None,
    *,
    on_stage: "Callable[[str], None] | None" = None,
    on_metric: "Callable[[str, float, int], None] | None" = None,
    on_texts: "Callable[[int, int], None] | None" = None,
) -> "Recommender":
    """Trains a recommender on a catalogue.

    Args:
        tables: the catalogue.
        schema: the schema that the tables must have; None: theirs.
        config: the settings; None: the defaults.
        on_stage: called with what is being done, a line each.
        on_metric: called with (name, value, step): losses, the quality of everything tried, what each stage took.
        on_texts: called with (texts encoded so far, texts to encode).

    Raises:
        CatalogueError: the tables have another schema, or no likes.
        TextError: the text encoder cannot be loaded.
    """
    import time

    from kgrec.config import TrainConfig
    from kgrec.errors import CatalogueError
    from kgrec.recommend import Recommender
    from kgrec.text.encoder import load_config_encoder
    from kgrec.training.train import train_bundle

    if schema is not None and schema.digest != tables.schema.digest:
        raise CatalogueError(f"the tables have the schema {tables.schema.name!r}, expected {schema.name!r} as given")
    config = config or TrainConfig()
    encoder = load_config_encoder(config)
    bundle = train_bundle(
        tables,
        config,
        encoder,
        cache_dir(),
        trained_at=int(time.time()),
        on_stage=on_stage,
        on_metric=on_metric,
        on_texts=on_texts,
    )
    return Recommender(bundle, encoder)


def __getattr__(name: str) -> Any:
    """Imports a name's module when the name is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module 'kgrec' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
