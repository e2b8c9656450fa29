"""Runs a whole evaluation: split, train, tune the baselines, and measure everything once on the same test likes."""

import datetime
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch_geometric.data import HeteroData

from graph_schema import CatalogueSchema, GraphTables
from kgrec.config import SplitConfig, TrainConfig
from kgrec.errors import RequestError
from kgrec.evaluate import baselines as simple
from kgrec.evaluate.audit import audit_split
from kgrec.evaluate.baselines import Baselines, count_support
from kgrec.evaluate.dial import DialCurve, measure_dial
from kgrec.evaluate.diversity_curve import DiversityCurve, measure_diversity
from kgrec.evaluate.evaluation_report import About, Report, build_report
from kgrec.evaluate.linked_users import link_users
from kgrec.evaluate.user_groups import UserGroups, read_user_groups
from kgrec.evaluate.user_knowledge import LikesAlone, name_user_knowledge, title_cold_users
from kgrec.graph.hetero import sort_tables
from kgrec.graph.node_links import build_user_links
from kgrec.model.model import Model
from kgrec.questions.few_items import FewItems, find_skipped, show_few
from kgrec.questions.slice_results import SliceResult
from kgrec.questions.slices import Scorer, SkippedSlice, Slice, evaluate_slice, tail_slice
from kgrec.questions.splits import Likes, Split, read_likes, split_likes
from kgrec.training.choices import Choices
from kgrec.training.pipeline import fit_model, place_users

_BLOCK_SCORES = 2_000_000  # users x items scored at once


def evaluate_catalogue(
    data: HeteroData,
    schema: CatalogueSchema,
    config: TrainConfig,
    *,
    split: SplitConfig,
    seed: int,
    evaluated_at: datetime.datetime,
    k: int = 20,
    tables: GraphTables | None = None,
    on_stage: Callable[[str], None] | None = None,
) -> Report:
    """Holds out likes, trains on the rest, and measures the recommendations on the held-out likes.

    All settings, including those of the baselines, are chosen on likes held out of the training likes. The test likes
    are read once, after everything is fitted.

    Args:
        data: the heterograph, with text vectors as `x` and `has_text` masks.
        schema: the catalogue's schema.
        config: the settings of the training.
        split: how the test likes are held out; the validation likes of the baselines are held out the same way.
        seed: the seed of both splits and of the intervals; `config` holds the seed of the training.
        evaluated_at: the time shown in the report, UTC seconds.
        k: list length of the tables, at least 1.
        tables: the catalogue of the heterograph, without derived types, for the leak audit and the groups of users; the
            audit names attributes, not the links to their values that are derived from them. None: neither.
        on_stage: called with a line for each stage.

    Raises:
        CatalogueError: the catalogue has no likes.
        RequestError: k is less than 1, or there are too few likes to hold any out.
    """
    if k < 1:
        raise RequestError(f"expected k of at least 1, got {k}")
    report = on_stage or (lambda _: None)
    likes = read_likes(data, schema)
    test = split_likes(likes, split, np.random.default_rng(seed))
    if not test.slices:
        raise RequestError(
            f"nothing to evaluate: none of {len(likes):,} likes can be held out with a user and an item that other "
            f"likes have; expected more likes, or larger shares to hold out than {split}"
        )
    model, choices = fit_model(data, schema, test.train, config, on_stage)
    few_items = show_few(likes, test, np.random.default_rng([seed, 5]))
    asked = test.slices | {few.slice.name: few.slice for few in few_items}
    placed = place_users(model, data, schema, asked, test.train.to_matrix())
    few_items = tuple(replace(few, slice=placed.pop(few.slice.name)) for few in few_items)
    knowledge = None if model.user_prior is None else name_user_knowledge(data, schema)
    test = replace(test, slices=placed if knowledge is None else title_cold_users(placed, knowledge))
    report("tuning the baselines")
    baselines = tune_baselines(data, schema, test.train, split, seed)
    report("ranking for the test users")
    results = evaluate_scorers(test, model, baselines, k, few_items)
    audit, groups = None, tuple[UserGroups, ...]()
    if tables is not None:
        report("looking for leaks")
        tables = sort_tables(tables)
        groups = read_user_groups(tables)
        audit = audit_split(
            tables,
            data,
            likes,
            test,
            report_slices(test),
            results,
            lambda slice_name: (model, *baselines.scorers(slice_name)),
            np.random.default_rng([seed, 3]),
            now=evaluated_at,
            block_users=block_size(test),
        )
    about = About(
        catalogue=schema.name,
        counts=count_catalogue(data, schema, likes),
        split=describe_split(split, test),
        seed=seed,
        evaluated_at=int(evaluated_at.timestamp()),
        ours=model.name,
        chosen={model.name: describe_choices(choices), **baselines.chosen},
        skipped=baselines.skipped,
    )
    dial = measure_dials(test, model, k, np.random.default_rng([seed, 4]))
    diversity = measure_diversities(test, model, k, np.random.default_rng([seed, 6]))
    return build_report(
        results,
        about,
        popularity=test.train.counts,
        rng=np.random.default_rng([seed, 2]),
        audit=audit,
        dial=dial,
        diversity=diversity,
        skipped_slices=(*report_not_asked(test), *find_skipped(few_items)),
        groups=groups,
    )


def report_slices(split: Split) -> list[Slice]:
    """The slices of a report, in its order."""
    found = split.slices
    slices = [found[name] for name in ("cold_items", "cold_items_all", "overall") if name in found]
    if "warm" in found:
        names = ("warm_latest", "warm_random", "warm_date", "next", "next_session")
        parts = [found[name] for name in names if name in found]
        slices = [found["warm"], *parts, tail_slice(found["warm"], split.train.counts), *slices]
    return slices + [found[name] for name in found if name.removeprefix("cold_users_k").isdigit()]


def report_not_asked(split: Split) -> list[SkippedSlice]:
    """The slices of a report without users, and the reasons."""
    skipped_slices = [one for one in split.skipped_slices if not one.name.startswith("cold_users_cold_items")]
    if "warm" in split.slices:
        tail = tail_slice(split.slices["warm"], split.train.counts)
        if not tail.relevant.nnz:
            skipped_slices.append(
                SkippedSlice(tail.name, tail.title, "all relevant items are among the most popular ones")
            )
    return skipped_slices


def tune_baselines(data: HeteroData, schema: CatalogueSchema, likes: Likes, split: SplitConfig, seed: int) -> Baselines:
    """Fits the baselines to training likes, with settings chosen on a part of them held out for validation.

    Args:
        data: the heterograph, read for the items' text vectors and the users' links.
        schema: the catalogue's schema.
        likes: the training likes.
        split: how likes are held out for validation.
        seed: the seed of that split.
    """
    links = build_user_links(data, schema)
    return simple.tune_baselines(
        likes,
        split,
        seed,
        text_vectors=_text_vectors(data, schema),
        linked_users=link_users(links, schema.user_type, likes.to_matrix()),
    )


def evaluate_scorers(
    split: Split, model: Model, baselines: Baselines, k: int = 20, few_items: Sequence[FewItems] = ()
) -> list[SliceResult]:
    """Measures the model and the baselines on every slice; memory is a block of users times the items.

    Args:
        split: the split into training and test likes.
        model: the model, trained on the training likes.
        baselines: the baselines, fitted to the same likes.
        k: list length.
        few_items: more slices, in which the model places new items by their known likes, and the baselines are fitted
            again.
    """
    options: dict[str, Any] = {"block_users": block_size(split), "popularity": split.train.counts}
    results = [
        evaluate_slice(scorer, slice_, k, **options)
        for slice_ in report_slices(split)
        for scorer in (model, *_score_likes_alone(model, slice_), *baselines.scorers(slice_.name))
    ]
    for few in few_items:
        scorers = _show_likes(few, split.train.to_matrix(), model, baselines)
        results += [evaluate_slice(scorer, few.slice, k, **options) for scorer in scorers]
    return results


def _score_likes_alone(model: Model, slice_: Slice) -> list[Scorer]:
    """For cold users whom the model knows by more than likes: the model without that knowledge."""
    is_known = slice_.prior is not None and count_support(slice_.name) is not None
    return [LikesAlone(model)] if is_known else []


def _show_likes(few: FewItems, likes: csr_array, model: Model, baselines: Baselines) -> tuple[Scorer, ...]:
    """The model and the baselines with the known likes of cold items added to the training likes."""
    rows = np.flatnonzero(np.diff(few.shown.indptr))
    if not len(rows):
        return model, *baselines.scorers(few.slice.name)
    return model.with_likes(rows, few.shown[rows], likes), *baselines.refit(csr_array(likes + few.shown.T))


def measure_dials(split: Split, model: Model, k: int, rng: np.random.Generator) -> list[DialCurve]:
    """The metrics of known users along the tail dial, for warm items and for all items."""
    liked, block_users = split.train.to_matrix(), block_size(split)
    found = [measure_dial(model, liked, slice_, rng, k=k, block_users=block_users) for slice_ in _of_known_users(split)]
    return [curve for curve in found if curve is not None]


def measure_diversities(split: Split, model: Model, k: int, rng: np.random.Generator) -> list[DiversityCurve]:
    """The metrics of known users along the diversity dial, for warm items and for all items."""
    block_users = block_size(split)
    found = [measure_diversity(model, slice_, rng, k=k, block_users=block_users) for slice_ in _of_known_users(split)]
    return [curve for curve in found if curve is not None]


def _of_known_users(split: Split) -> list[Slice]:
    return [split.slices[name] for name in ("warm", "overall") if name in split.slices]


def block_size(split: Split) -> int:
    """The number of users to score at once."""
    return min(max(_BLOCK_SCORES // split.train.shape[1], 1), 512)


def count_catalogue(data: HeteroData, schema: CatalogueSchema, likes: Likes) -> dict[str, int]:
    """The numbers of users, items, likes, other nodes, links, and attributes that the model reads."""
    n_users, n_items = likes.shape
    n_others = sum(
        data[name].num_nodes
        for name, node in schema.nodes.items()
        if name not in (schema.user_type, schema.item_type) and not node.derived
    )
    n_links = sum(
        data[schema.edge_triple(name)].edge_index.shape[1]
        for name, edge in schema.graph_edges.items()
        if not edge.derived
    )
    found = {"users": n_users, "items": n_items, "likes": len(likes), "other nodes": n_others, "links": n_links}
    n_attributes = sum(node.derived for node in schema.nodes.values())
    return {**found, "attributes": n_attributes} if n_attributes else found


def describe_split(config: SplitConfig, split: Split) -> str:
    """How likes were held out, in words."""
    which = "half of them the latest of each user, half drawn at random" if split.by_time else "drawn at random"
    return (
        f"{config.cold_users:.0%} of users and {config.cold_items:.0%} of items held out whole, and "
        f"{config.warm:.0%} of the other likes, {which}; "
        f"{len(split.train):,} training likes. The model knows cold items by their texts and links alone. Settings "
        f"are chosen on likes held out of the training likes in the same way; the test likes are read once, at the end"
    )


def describe_choices(choices: Choices) -> str:
    """The settings that validation chose for the model, in words."""
    settings, prior = choices.vectors, choices.vectors.prior
    gates = ", ".join(f"{name} {gate:g}" for name, gate in prior.gates.items())
    layer = f" and a hidden layer, {prior.steps} steps" if prior.steps else ""
    parts = [
        f"backbone: alpha {settings.alpha:g}, regularisation {settings.regularisation:g}",
        f"prior: regularisation {prior.regularisation:g}{f', gates {gates}' if gates else ''}{layer}",
    ]
    users = [f"{verdict.title} {verdict.n_users:,}" for verdict in choices.verdicts]
    parts.append(f"validation users: {', '.join(users)}" if users else "no validation users: all settings are defaults")
    return f"{'; '.join(parts)} (by recall, NDCG and stratified recall on validation)"


def _text_vectors(data: HeteroData, schema: CatalogueSchema) -> NDArray[np.float32] | None:
    items = data[schema.item_type]
    if "x" not in items:
        return None
    vectors: NDArray[np.float32] = np.where(items.has_text.numpy()[:, None], items.x.numpy(), np.float32(0))
    return vectors
