"""The objective of tuning: the validation quality of a training, on several validation splits."""

import hashlib
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np

from kgrec import __version__
from kgrec.config import TrainConfig
from kgrec.errors import RequestError
from kgrec.questions.splits import Likes, read_likes, split_likes
from kgrec.training.dataset import CatalogueGraph
from kgrec.training.pipeline import choose_model
from kgrec.tune.space import Setting


def measure_split(graph: CatalogueGraph, likes: Likes, config: TrainConfig, seed: int) -> dict[str, float]:
    """Trains with one validation split, without the sequence encoder, and measures on its held-out likes.

    Args:
        graph: the catalogue.
        likes: all likes.
        config: the settings; `validation` sets how likes are held out.
        seed: the seed of the split and of the training.

    Returns:
        Validation slice -> the geometric mean of NDCG@20 and Recall@20 that the gate reached.
    """
    without_encoder = config.sequence.model_copy(update={"layers": 0})
    seeded = config.model_copy(update={"seed": seed, "sequence": without_encoder})
    _, choices = choose_model(graph.data, graph.schema, likes, seeded)
    return choices.slice_quality


def to_quality(slices: Mapping[str, float]) -> float:
    """The quality of a split: the mean over its slices."""
    return fmean(slices.values())


def read_tunable_likes(graph: CatalogueGraph, config: TrainConfig) -> Likes:
    """Reads the likes of a catalogue, and checks that some can be held out.

    Raises:
        CatalogueError: there are none.
        RequestError: there are too few to validate on.
    """
    likes = read_likes(graph.data, graph.schema)
    if not split_likes(likes, config.validation, np.random.default_rng(config.seed)).slices:
        raise RequestError(
            f"nothing to tune on: none of {len(likes):,} likes can be held out with a user and an item that other "
            f"likes have; expected more likes, or larger shares to hold out than {config.validation}"
        )
    return likes


def fingerprint(graph: CatalogueGraph, config: TrainConfig, space: Sequence[Setting], n_splits: int) -> dict[str, str]:
    """The parts that must be equal for qualities to be comparable, each with a hash or a plain value.

    Args:
        graph: the catalogue, its nodes, edges and texts.
        config: the settings to start from, including those that are not tuned.
        space: the tuned settings, with their ranges.
        n_splits: the number of splits behind a quality.
    """
    contents = hashlib.blake2b(digest_size=8)
    contents.update(f"{graph.encoder_name} {graph.encoder_revision}".encode())
    for name in sorted(graph.contents):
        contents.update(graph.contents[name].tobytes())
    for edge_type in sorted(graph.data.edge_types):
        contents.update(str(edge_type).encode())
        store = graph.data[edge_type]
        for key in sorted(store.keys()):
            contents.update(store[key].numpy().tobytes())
    settings = config.model_dump_json(exclude={"device"})
    return {
        "version of kgrec": __version__,
        "schema": f"{graph.schema.name} {_hash(graph.schema.model_dump_json())}",
        "catalogue": contents.hexdigest(),
        "config": _hash(settings),
        "space": _hash(repr(tuple(space))),
        "splits": str(n_splits),
    }


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
