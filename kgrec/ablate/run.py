"""Ablates a catalogue: trains on less of it, or on its links shuffled, and asks every training the same questions."""

import datetime
import hashlib
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
from torch_geometric.data import HeteroData

from graph_schema import CatalogueSchema, GraphTables
from kgrec.ablate.comparison import LEVEL, METRICS, Comparison, Figures, compare
from kgrec.ablate.report import (
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
from kgrec.ablate.variants import Variant, leave_out, shuffle_links, without_texts
from kgrec.ablate.verdicts import LEAST_WHOLE, Verdict, judge
from kgrec.config import SplitConfig, TrainConfig
from kgrec.errors import RequestError
from kgrec.evaluate.run import count_catalogue, describe_split, report_slices
from kgrec.graph.hetero import sort_tables
from kgrec.questions.slices import evaluate_slice
from kgrec.questions.splits import Split, read_likes, split_likes
from kgrec.text.encoder import Encoder, OnTexts
from kgrec.training.dataset import build_graph
from kgrec.training.pipeline import fit_model

LEAST_USERS = 20  # a slice of fewer is not compared: intervals over so few users promise too much
TRAININGS_DIR = "trainings"
_UNSTEADY = 0.2  # share of a slice's value that two trainings of the same may differ by for it to count
_N_AGAIN = 2  # further trainings of the whole catalogue
_SEED_STEP = 1_000_003  # between the seeds of trainings of the same
_BLOCK_SCORES = 2_000_000  # users x items scored at once
_COUNTS = ("users", "n_found", "n_relevant", "item_found", "item_relevant", "item_shown")
_DIGITS = 6  # kept of a user's figures

OnTraining = Callable[[str, int, int, float | None], None]  # called with (what, trainings done, in all, seconds left)


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
    """Measures what a catalogue's relations, links and texts are good for, in every slice of an evaluation.

    For each split the model is trained on the whole catalogue, on the same without each relation, without links,
    without texts, without either, and with the links shuffled; all with one seed, and compared over the same users.
    The whole catalogue is trained on again with other seeds, so that the luck of a training is no finding; and without
    all relations at once that can go one by one, since of two that say the same only one can.

    Args:
        tables: the catalogue.
        config: of the trainings; its seed is the first split's too.
        encoder: of the texts.
        cache_dir: where vectors of texts seen before are kept.
        directory: where each training's figures are kept, as JSON; those of the same catalogue, settings and version
            that are there already are not trained again.
        ablated_at: what the report says.
        relations: the edge types to leave out; None: all but the interaction.
        split: how likes are held out; None: the defaults.
        n_splits: how many splits, each with a seed of its own.
        tolerance: a loss of less than this share of a slice's value is none.
        k: list length of the metrics.
        on_training: called with which training begins.
        on_stage: called with what is being done, a line each.
        on_texts: called with (texts encoded so far, texts to encode).

    Raises:
        CatalogueError: the catalogue has no likes.
        RequestError: there is nothing to leave out, no such relation, or there are too few likes to hold any out.
    """
    tables, schema, split = sort_tables(tables), tables.schema, split or SplitConfig()
    asked = _check_relations(schema, relations)
    linked = frozenset(name for name in schema.graph_edges if len(tables.edges[name]))
    data = build_graph(tables, encoder, cache_dir, on_texts=on_texts).data
    has_texts = any("x" in data[node_type] for node_type in data.node_types)
    controls = _list_controls(linked, has_texts=has_texts)
    if not controls:
        raise RequestError(
            f"nothing to ablate: {schema.name!r} has neither texts nor links beside {schema.interaction.edge!r}; "
            f"expected some of either"
        )
    likes = read_likes(data, schema)
    seeds = [config.seed + number for number in range(n_splits)]
    splits = [split_likes(likes, split, np.random.default_rng(seed)) for seed in seeds]
    sizes = _list_sizes(splits)
    compared = {name: size for name, size in sizes.items() if size.n_users >= LEAST_USERS}
    if not compared:
        raise RequestError(
            f"too few likes to compare anything: no slice of {len(likes):,} likes asks more than "
            f"{max((size.n_users for size in sizes.values()), default=0)} users; expected {LEAST_USERS} in one of them"
        )
    without = {name: Variant(frozenset([name])) for name in asked if name in linked}
    variants = {variant: f"without {name}" for name, variant in without.items()}
    variants |= {variant: CONTROL_TITLES[name] for name, variant in controls.items()}
    whole = {Variant(training=number): "the whole catalogue" for number in range(_N_AGAIN + 1)}
    directory.mkdir(parents=True, exist_ok=True)  # now, not when the first training is done
    fingerprint = _fingerprint(tables, config, split, encoder, k)
    run = _Run(tables, config, encoder, cache_dir, directory, k, fingerprint, on_texts, on_training, on_stage)
    # The whole catalogue first, then the variants of all of it: an interrupt then leaves the most useful part.
    planned = whole | dict(sorted(variants.items(), key=lambda pair: pair[0] not in controls.values()))
    measured = run.measure_all(planned, splits, seeds)
    rng_seed = [config.seed, 4]
    n_users = likes.shape[0]
    comparison = compare(measured, list(compared), list(variants), n_users, np.random.default_rng(rng_seed))
    telling = _select_telling(compared, comparison, k)
    can_go = frozenset(
        name
        for name, variant in without.items()
        if judge(list_changes(comparison, variant, telling), tolerance) == Verdict.DROP
    )
    together = None
    if len(can_go) > 1:
        all_gone = Variant(can_go)
        planned |= {all_gone: f"without {len(can_go)} relations"}
        measured = run.measure_all(planned, splits, seeds)
        together = all_gone, compare(measured, list(compared), [all_gone], n_users, np.random.default_rng(rng_seed))
    about = About(
        catalogue=schema.name,
        counts=count_catalogue(data, schema, likes),
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
    n_links = {name: len(tables.edges[name]) for name in asked}
    shown = {name: (size.title, size.n_users) for name, size in compared.items()}
    return build_ablation(about, shown, telling, comparison, controls, without, n_links, together)


def _check_relations(schema: CatalogueSchema, relations: Collection[str] | None) -> list[str]:
    unknown = [name for name in relations or () if name not in schema.graph_edges]
    if unknown:
        known = ", ".join(schema.graph_edges) or "none beside the interaction"
        raise RequestError(f"no relation {unknown[0]!r} in {schema.name!r}; expected some of: {known}")
    return [name for name in schema.graph_edges if relations is None or name in relations]


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
    """How much a slice asks, in the split where that is least."""

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


def _select_telling(sizes: Mapping[str, _Size], comparison: Comparison, k: int) -> dict[str, str]:
    """The slices, with their titles, that something can be told by; all of them where there are none.

    Where a training is a matter of luck nothing can be said of a relation, nor where a list holds most candidates.
    """
    telling = {}
    for name, size in sizes.items():
        whole = max(comparison.means[name, METRICS[0], Variant()], LEAST_WHOLE)
        if comparison.noise[name, METRICS[0]] <= _UNSTEADY * whole and size.n_candidates >= 2 * k:
            telling[name] = size.title
    return telling or {name: size.title for name, size in sizes.items()}


def _fingerprint(tables: GraphTables, config: TrainConfig, split: SplitConfig, encoder: Encoder, k: int) -> str:
    """A hash of everything that a training's figures depend on, but for its seed."""
    settings = [
        version("kgrec"), tables.schema.digest, config.model_dump_json(exclude={"seed"}), split.model_dump_json(),
        encoder.revision, k,
    ]  # fmt: skip
    digest = hashlib.sha256(json.dumps(settings).encode())
    for found in (tables.nodes, tables.edges):
        for name in sorted(found):
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, found[name].schema) as stream:
                stream.write_table(found[name].combine_chunks())
            digest.update(sink.getvalue())
    return digest.hexdigest()


@dataclass(frozen=True)
class _Run:
    """Trains on variants of one catalogue, and keeps what each training's users got."""

    tables: GraphTables
    config: TrainConfig
    encoder: Encoder
    cache_dir: Path
    directory: Path
    k: int
    fingerprint: str
    on_texts: OnTexts | None
    on_training: OnTraining | None
    on_stage: Callable[[str], None] | None

    def measure_all(
        self, variants: Mapping[Variant, str], splits: Sequence[Split], seeds: Sequence[int]
    ) -> list[dict[Variant, list[Figures]]]:
        """Measures each variant on each split; what was kept of an earlier run is read."""
        found: list[dict[Variant, list[Figures]]] = []
        missing: list[tuple[int, Variant]] = []
        for place, seed in enumerate(seeds):
            kept = {variant: self._read(variant, seed) for variant in variants}
            found.append({variant: figures for variant, figures in kept.items() if figures is not None})
            missing += [(place, variant) for variant in variants if kept[variant] is None]
        started = time.perf_counter()
        for done, (place, variant) in enumerate(missing):
            if self.on_training is not None:
                left_s = (time.perf_counter() - started) / done * (len(missing) - done) if done else None
                self.on_training(variants[variant], done, len(missing), left_s)
            found[place][variant] = self._measure(variant, variants[variant], splits[place], seeds[place])
        return found

    def _measure(self, variant: Variant, title: str, split: Split, seed: int) -> list[Figures]:
        started = time.perf_counter()
        config = self.config.model_copy(update={"seed": seed + _SEED_STEP * variant.training})
        data = self._build(variant, seed)
        model, _ = fit_model(
            data, self.tables.schema, split.train, config, self.on_stage, cache_dir=self.cache_dir
        )  # fmt: skip
        block_users = min(max(_BLOCK_SCORES // split.train.shape[1], 1), 512)
        figures = []
        for slice_ in report_slices(split):
            result = evaluate_slice(model, slice_, self.k, block_users=block_users)
            values = {metric: result.per_user(metric).round(_DIGITS) for metric in METRICS}
            asked = result.candidates
            figures.append(
                Figures(
                    slice_.name, slice_.title, result.users, values, result.hits[:, : self.k].sum(axis=1),
                    result.n_relevant, result.item_hits[asked], result.item_relevant[asked],
                    result.recommended[asked],
                )
            )  # fmt: skip
        self._write(variant, title, seed, figures, time.perf_counter() - started)
        return figures

    def _build(self, variant: Variant, seed: int) -> HeteroData:
        tables = leave_out(self.tables, variant.left_out)
        if variant.shuffled:
            tables = shuffle_links(tables, np.random.default_rng([seed, 3]))
        # Texts told from neighbours are told anew from these tables, so that nothing left out is left in them.
        data = build_graph(tables, self.encoder, self.cache_dir, on_texts=self.on_texts).data
        return data if variant.texts else without_texts(data)

    def _path(self, variant: Variant, seed: int) -> Path:
        return self.directory / TRAININGS_DIR / f"split-{seed}" / f"{variant.file_stem}.json"

    def _write(self, variant: Variant, title: str, seed: int, figures: Sequence[Figures], took_s: float) -> None:
        slices = [
            {"name": one.name, "title": one.title}
            | {name: getattr(one, name).tolist() for name in _COUNTS}
            | {metric: values.tolist() for metric, values in one.values.items()}
            for one in figures
        ]
        found = {"fingerprint": self.fingerprint, "what": title, "seed": seed, "took_s": round(took_s, 1)}
        path = self._path(variant, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(found | {"slices": slices}), encoding="utf-8")
        part.replace(path)

    def _read(self, variant: Variant, seed: int) -> list[Figures] | None:
        """What was kept; None where nothing was, or of another catalogue or other settings."""
        try:
            found = json.loads(self._path(variant, seed).read_text(encoding="utf-8"))
            if found["fingerprint"] != self.fingerprint:
                return None
            return [
                Figures(
                    name=one["name"],
                    title=one["title"],
                    values={metric: np.array(one[metric], np.float64) for metric in METRICS},
                    **{name: np.array(one[name], np.int64) for name in _COUNTS},
                )
                for one in found["slices"]
            ]
        except (OSError, ValueError, KeyError, TypeError):
            return None
