"""Runs an ablation: trains on parts of a catalogue, and with shuffled links, and compares over the same users."""

import datetime
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from graph_schema import CatalogueSchema, GraphTables
from kgrec.ablate.ablation_report import (
    CONTROL_TITLES,
    NEITHER,
    NO_LINKS,
    NO_TEXTS,
    SHUFFLED,
    Ablation,
    About,
    build_ablation,
    list_changes,
)
from kgrec.ablate.comparison import LEVEL, METRICS, Comparison, compare
from kgrec.ablate.parts import Part, list_parts
from kgrec.ablate.variant_training import OnTraining, VariantTrainings, fingerprint_study
from kgrec.ablate.variants import Variant
from kgrec.ablate.verdicts import LEAST_WHOLE, Verdict, judge
from kgrec.config import SplitConfig, TrainConfig
from kgrec.errors import RequestError
from kgrec.evaluate.evaluation import count_catalogue, describe_split, report_slices
from kgrec.evaluate.user_knowledge import name_user_knowledge, title_cold_users
from kgrec.graph.hetero import sort_tables
from kgrec.questions.splits import Split, read_likes, split_likes
from kgrec.text.encoder import Encoder, OnTexts
from kgrec.training.dataset import build_graph

LEAST_USERS = 20  # smaller slices are not compared: their intervals would be too optimistic
_UNSTEADY = 0.2  # repeated trainings differ by at most this share of the value of a decisive slice
_N_AGAIN = 2  # number of repeated trainings on the whole catalogue


def ablate_catalogue(
    tables: GraphTables,
    config: TrainConfig,
    encoder: Encoder,
    cache_dir: Path,
    *,
    directory: Path,
    ablated_at: datetime.datetime,
    relations: Collection[str] | None = None,
    split: SplitConfig | None = None,
    n_splits: int = 1,
    tolerance: float = 0.05,
    k: int = 20,
    on_training: OnTraining | None = None,
    on_stage: Callable[[str], None] | None = None,
    on_texts: OnTexts | None = None,
) -> Ablation:
    """Measures what the relations, attributes and texts of a catalogue contribute, in every slice of an evaluation.

    For each split the model is trained on the whole catalogue, then without each relation, without each attribute,
    without users' texts, without links and attributes, without texts, without either, and with the links and the values
    of attributes shuffled; all with one seed, and compared over the same users. Verdicts on what describes only users
    are on cold users with 0, 1 and 3 likes. Repeated trainings on the whole catalogue with other seeds measure the
    noise of training. The droppable parts are also left out together: of two redundant ones, only one can be dropped.

    Args:
        tables: the catalogue, without derived types.
        config: the settings of the trainings; its seed is also that of the first split.
        encoder: encodes the texts.
        cache_dir: where text vectors are cached.
        directory: keeps the figures of each training, as JSON. Trainings with the same catalogue, settings and version
            are not repeated.
        ablated_at: the time shown in the report, UTC seconds.
        relations: the parts to leave out one by one: edge types, attributes as "<node type>.<attribute>", or
            "<user type> texts"; None: all but the interaction.
        split: sets how likes are held out; None: the defaults.
        n_splits: the number of splits, each with its own seed; at least 1.
        tolerance: smaller losses do not count, as a share of a slice's value from 0 to 1.
        k: list length of the metrics, at least 1.
        on_training: called before each training with (title, trainings done, trainings in total, seconds left).
        on_stage: called with a line for each stage.
        on_texts: called with (texts encoded, texts in total).

    Raises:
        CatalogueError: the catalogue has no likes.
        RequestError: a number is out of range, there is no such relation, nothing to leave out, or too few likes.
    """
    if n_splits < 1 or k < 1 or not 0 <= tolerance <= 1:
        raise RequestError(
            f"expected at least 1 split, k of at least 1 and a tolerance from 0 to 1, "
            f"got {n_splits}, {k} and {tolerance}"
        )
    tables, schema, split = sort_tables(tables), tables.schema, split or SplitConfig()
    parts = list_parts(tables)
    chosen = _select_parts(schema, parts, relations)
    graph = build_graph(tables, encoder, cache_dir, on_texts=on_texts)
    data = graph.data
    linked = frozenset(part.name for part in parts.values() if part.size and part.unit != "texts")
    has_texts = any("x" in data[node_type] for node_type in data.node_types)
    controls = _list_controls(linked, has_texts=has_texts)
    if not controls:
        raise RequestError(
            f"nothing to ablate: {schema.name!r} has neither texts nor links besides {schema.interaction.edge!r}; "
            f"expected texts or links"
        )
    likes = read_likes(data, schema)
    seeds = [config.seed + number for number in range(n_splits)]
    knowledge = name_user_knowledge(data, graph.schema)
    splits = [split_likes(likes, split, np.random.default_rng(seed)) for seed in seeds]
    if knowledge is not None:
        splits = [replace(one, slices=title_cold_users(one.slices, knowledge)) for one in splits]
    sizes = _list_sizes(splits)
    compared = {name: size for name, size in sizes.items() if size.n_users >= LEAST_USERS}
    if not compared:
        raise RequestError(
            f"too few likes to compare anything: no slice of {len(likes):,} likes has more than "
            f"{max((size.n_users for size in sizes.values()), default=0)} users; expected {LEAST_USERS} in one of them"
        )
    without = {name: Variant(frozenset([name])) for name, part in chosen.items() if part.size}
    variants = {variant: f"without {parts[name].title}" for name, variant in without.items()}
    variants |= {variant: CONTROL_TITLES[name] for name, variant in controls.items()}
    whole = {Variant(training=number): "the whole catalogue" for number in range(_N_AGAIN + 1)}
    directory.mkdir(parents=True, exist_ok=True)  # fails before the first training, not after it
    fingerprint = fingerprint_study(tables, config, split, encoder, k)
    trainings = VariantTrainings(
        tables, config, encoder, cache_dir, directory, k, fingerprint, on_texts, on_training, on_stage
    )
    # The whole catalogue and the controls first: an interrupt then leaves the most useful part.
    planned = whole | dict(sorted(variants.items(), key=lambda pair: pair[0] not in controls.values()))
    measured = trainings.measure_all(planned, splits, seeds)
    rng_seed = [config.seed, 4]
    n_users = likes.shape[0]
    comparison = compare(measured, list(compared), list(variants), n_users, np.random.default_rng(rng_seed))
    decisive = _select_decisive(compared, comparison, k)
    can_go = frozenset(
        name
        for name, variant in without.items()
        if judge(list_changes(comparison, variant, parts[name].select_judged(decisive)), tolerance) == Verdict.DROP
    )
    together = None
    if len(can_go) > 1:
        all_gone = Variant(can_go)
        planned |= {all_gone: f"without {len(can_go)} of these"}
        measured = trainings.measure_all(planned, splits, seeds)
        together = all_gone, compare(measured, list(compared), [all_gone], n_users, np.random.default_rng(rng_seed))
    about = About(
        catalogue=schema.name,
        counts=count_catalogue(data, graph.schema, likes),
        split=describe_split(split, splits[0]),
        seeds=tuple(seeds),
        ablated_at=int(ablated_at.timestamp()),
        k=k,
        tolerance=tolerance,
        level=LEVEL,
        n_compared=comparison.n_compared,
        critical=comparison.critical,
        n_trainings=len(planned) * n_splits,
        too_small={size.title: size.n_users for name, size in sizes.items() if name not in compared},
    )
    shown = {name: (size.title, size.n_users) for name, size in compared.items()}
    return build_ablation(about, shown, decisive, comparison, controls, without, chosen, together)


def _select_parts(
    schema: CatalogueSchema, parts: Mapping[str, Part], relations: Collection[str] | None
) -> dict[str, Part]:
    unknown = [name for name in relations or () if name not in parts]
    if unknown:
        known = ", ".join(parts) or "none besides the interaction"
        raise RequestError(f"no relation {unknown[0]!r} in {schema.name!r}; expected some of: {known}")
    return {name: part for name, part in parts.items() if relations is None or name in relations}


def _list_controls(linked: frozenset[str], *, has_texts: bool) -> dict[str, Variant]:
    """The controls that differ from the whole catalogue and from each other."""
    controls = {NO_LINKS: Variant(linked)} if linked else {}
    if has_texts:
        controls[NO_TEXTS] = Variant(texts=False)
    if linked and has_texts:
        controls[NEITHER] = Variant(linked, texts=False)
    return controls | ({SHUFFLED: Variant(shuffled=True)} if linked else {})


@dataclass(frozen=True)
class _Size:
    """The users and candidates of a slice, in the split with the fewest."""

    title: str
    n_users: int
    n_candidates: int


def _list_sizes(splits: Sequence[Split]) -> dict[str, _Size]:
    found: dict[str, _Size] = {}
    for split in splits:
        for slice_ in report_slices(split):
            n_users = int(np.count_nonzero(np.diff(slice_.relevant.indptr)))
            n_candidates = slice_.n_items if slice_.candidates is None else int(slice_.candidates.sum())
            before = found.get(slice_.name, _Size(slice_.title, n_users, n_candidates))
            found[slice_.name] = _Size(
                slice_.title, min(n_users, before.n_users), min(n_candidates, before.n_candidates)
            )
    return found


def _select_decisive(sizes: Mapping[str, _Size], comparison: Comparison, k: int) -> dict[str, str]:
    """The slices that verdicts count, name -> title; all slices if none qualifies.

    A slice says nothing about a relation if repeated trainings differ much, or if a list holds most candidates.
    """
    decisive = {}
    for name, size in sizes.items():
        whole = max(comparison.means[name, METRICS[0], Variant()], LEAST_WHOLE)
        if comparison.noise[name, METRICS[0]] <= _UNSTEADY * whole and size.n_candidates >= 2 * k:
            decisive[name] = size.title
    return decisive or {name: size.title for name, size in sizes.items()}
