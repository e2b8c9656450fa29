"""kgrec: recommendations from a knowledge graph that are good from the first click."""

import logging
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import pandas as pd
    import pyarrow as pa

    from graph_schema import CatalogueSchema, GraphTables
    from kgrec.bundle import Bundle
    from kgrec.config import GeneratorConfig, TrainConfig
    from kgrec.errors import BundleError, CatalogueError, KgrecError, RequestError, StoreError, TextError
    from kgrec.generate.catalogue_generator import CatalogueGenerator
    from kgrec.generate.title_generators import TitleRanker, TitleWriter, ZeroShot
    from kgrec.language import LocalLanguageModel
    from kgrec.recommend import NewItem, NewUser, Recommender

    __version__: str

__all__ = [
    "BundleError",
    "CatalogueError",
    "CatalogueGenerator",
    "GeneratorConfig",
    "KgrecError",
    "LocalLanguageModel",
    "NewItem",
    "NewUser",
    "Recommender",
    "RequestError",
    "StoreError",
    "TextError",
    "TitleRanker",
    "TitleWriter",
    "TrainConfig",
    "ZeroShot",
    "__version__",
    "cache_dir",
    "load_generator",
    "train",
    "train_generator",
]
_ERRORS = ("BundleError", "CatalogueError", "KgrecError", "RequestError", "StoreError", "TextError")
_MODULES = {
    "CatalogueGenerator": "kgrec.generate.catalogue_generator",
    "GeneratorConfig": "kgrec.config",
    "LocalLanguageModel": "kgrec.language",
    "NewItem": "kgrec.recommend",
    "NewUser": "kgrec.recommend",
    "Recommender": "kgrec.recommend",
    "TrainConfig": "kgrec.config",
    **dict.fromkeys(("TitleRanker", "TitleWriter", "ZeroShot"), "kgrec.generate.title_generators"),
    **dict.fromkeys(_ERRORS, "kgrec.errors"),
}
logging.getLogger("kgrec").addHandler(logging.NullHandler())


def cache_dir() -> Path:
    """Returns the user's cache folder, with text vectors and downloaded catalogues."""
    from platformdirs import user_cache_path

    return user_cache_path("kgrec", appauthor=False)


def train(
    tables: "GraphTables | pd.DataFrame | pa.Table | None" = None,
    schema: "CatalogueSchema | None" = None,
    config: "TrainConfig | None" = None,
    *,
    interactions: "pd.DataFrame | pa.Table | None" = None,
    items: "pd.DataFrame | pa.Table | None" = None,
    links: "pd.DataFrame | pa.Table | None" = None,
    users: "pd.DataFrame | pa.Table | None" = None,
    user_links: "pd.DataFrame | pa.Table | None" = None,
    features: "Collection[str]" = (),
    positive: float | None = None,
    rejects: "Path | str | None" = None,
    progress: bool | None = None,
    on_stage: "Callable[[str], None] | None" = None,
    on_metric: "Callable[[str, float, int], None] | None" = None,
    on_texts: "Callable[[int, int], None] | None" = None,
) -> "Recommender":
    """Trains a recommender on a catalogue.

    The catalogue is either `tables`, or DataFrames:

        kgrec.train(ratings, positive=4)
        kgrec.train(interactions=ratings, items=films, links=credits, positive=4)

    Rows of a DataFrame that cannot be used (no id, a rating that is not a number) are left out with a warning. Of an
    item or a user, a bad value (an infinite price) counts as missing.

    Args:
        tables: the catalogue; or the interactions, as a DataFrame.
        schema: the schema that `tables` must have; None: any.
        config: the settings; None: the defaults.
        interactions: a DataFrame or a pyarrow table with the columns `user` and `item`; optional `rating` or `weight`,
            and the time in `timestamp`, `at` or `datetime`; of several the first is read, and a warning names columns
            that are not. Ids are text or integers; times are datetimes, ISO 8601 text or epoch numbers.
        items: columns `item` and optional `title`. Numbers, booleans, times, lists of texts, and short texts that
            repeat are attributes; other texts are read by the text encoder; lists of numbers are vectors. Columns with
            ids, with codes, or named like a result of interactions ("average_rating") are not read: a warning names
            them.
        links: columns `item`, `relation` and `target`, such as (7, "genre", "Comedy"); optional `target_name` and
            `target_type`: relations with the same type share their targets, "item" is a link to another item.
        users: column `user` and optional `name`; other columns as in `items`, but only sentences are texts. Sensitive
            attributes such as gender and age are not read unless `features` names them.
        user_links: columns `user`, `relation` and `target`, such as ("ann", "lives_in", "Oslo"); optional `target_name`
            and `target_type` as in `links`: "user" is a link to another user, "item" to an item.
        features: columns of `items` or `users` to read as attributes although they are left out otherwise.
        positive: an interaction is a like when its rating is at least this; None: when its rating is above 0, and
            every interaction without a column of ratings.
        rejects: a CSV file for the rows of the DataFrames that are left out, with the reason; None writes none.
        progress: whether progress is shown; None: in a terminal or a notebook.
        on_stage: called with each stage as it begins.
        on_metric: called with (name, value, step): losses, validation scores, the seconds of each stage.
        on_texts: called with (texts encoded so far, texts in total).

    Raises:
        CatalogueError: the tables have another schema; a DataFrame lacks a column, has no rows or has an id twice; or
            there are no likes.
        RequestError: the arguments contradict each other; or the training is private (`config.private`), and an item
            or a setting comes from the likes.
        TextError: the text encoder cannot be loaded.
    """
    import time

    from kgrec.config import TrainConfig
    from kgrec.recommend import Recommender
    from kgrec.text.encoder import load_config_encoder
    from kgrec.training.train_arguments import read_catalogue, show_training
    from kgrec.training.train_bundle import train_bundle

    config = config or TrainConfig()
    catalogue = read_catalogue(
        tables, schema, interactions, items, links, users, user_links, features, positive, rejects,
        private=config.private is not None,
    )  # fmt: skip
    encoder = load_config_encoder(config)
    with show_training(progress, on_stage, on_texts) as (show_stage, show_texts):
        bundle = train_bundle(
            catalogue,
            config,
            encoder,
            cache_dir(),
            trained_at=int(time.time()),
            on_stage=show_stage,
            on_metric=on_metric,
            on_texts=show_texts,
        )
    return Recommender(bundle, encoder)


def train_generator(
    trained: "Recommender | Bundle",
    config: "GeneratorConfig | None" = None,
    *,
    device: str | None = None,
    on_step: "Callable[[int, int], None] | None" = None,
    on_metric: "Callable[[str, float, int], None] | None" = None,
) -> "CatalogueGenerator":
    """Trains a generator on the likes of a trained recommender: it writes what comes next in a user's likes.

    Items get semantic ids, which are codes by residual k-means over their texts, their links and what comes before and
    after them; a small transformer over the users' sequences learns to write the codes of the next item (TIGER, Rajput
    et al. 2023). The last like of up to `validation_users` users is held out, to stop by; `report` of the result has
    Recall@10 and NDCG@10 on these, beside what popularity and transitions reach.

        generator = kgrec.train_generator(recommender)
        recommender.generate("ann", generator=generator)

    Args:
        trained: the recommender, or its bundle; likes need times.
        config: the settings; None: those of `[generator]` in the recommender's training.
        device: the torch device; None: CUDA where there is one.
        on_step: called with (steps done, steps in total); training may stop earlier.
        on_metric: called with (name, value, step): "generator/loss", and "generator/ndcg" of validation.

    Raises:
        RequestError: likes have no times, there are none, a loss is not finite, or `config.seconds` is too short.
    """
    from kgrec.generate.catalogue_generator import train_on_bundle
    from kgrec.recommend import Recommender

    bundle = trained.bundle if isinstance(trained, Recommender) else trained
    return train_on_bundle(bundle, config, device=device, on_step=on_step, on_metric=on_metric)


def load_generator(path: "str | Path", *, beams: int = 20, device: str = "cpu") -> "CatalogueGenerator":
    """Reads a generator that `kgrec train-generator` or `CatalogueGenerator.save` wrote.

    Args:
        path: its folder.
        beams: the number of prefixes that are followed; more find likelier items and take longer.
        device: the torch device.

    Raises:
        BundleError: there is none, it is incomplete, damaged, or newer than this kgrec.
        RequestError: `beams` is less than 1.
    """
    from kgrec.generate.catalogue_generator import CatalogueGenerator

    return CatalogueGenerator.load(path, beams=beams, device=device)


def __getattr__(name: str) -> Any:
    """Imports what a name needs when the name is first used."""
    if name == "__version__":
        from importlib.metadata import version

        return version("kgrec")
    if name not in _MODULES:
        raise AttributeError(f"module 'kgrec' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
