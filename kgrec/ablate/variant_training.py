"""Trains on variants of a catalogue, and keeps the figures on disk."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
from torch_geometric.data import HeteroData

from graph_schema import CatalogueSchema, GraphTables
from kgrec.ablate.comparison import METRICS, Figures
from kgrec.ablate.parts import name_texts
from kgrec.ablate.variants import Variant, leave_out, shuffle_links, without_texts
from kgrec.config import SplitConfig, TrainConfig
from kgrec.evaluate.evaluation import report_slices
from kgrec.questions.slices import evaluate_slice
from kgrec.questions.splits import Split
from kgrec.text.encoder import Encoder, OnTexts
from kgrec.training.dataset import build_graph
from kgrec.training.pipeline import fit_model, place_users

TRAININGS_DIR = "trainings"
_SEED_STEP = 1_000_003  # between the seeds of repeated trainings
_BLOCK_SCORES = 2_000_000  # users x items scored at once
_COUNTS = ("users", "n_found", "n_relevant", "item_found", "item_relevant", "item_shown")
_DIGITS = 6  # of a user's figures to keep

OnTraining = Callable[[str, int, int, float | None], None]  # (title, trainings done, trainings in total, seconds left)


def fingerprint_study(tables: GraphTables, config: TrainConfig, split: SplitConfig, encoder: Encoder, k: int) -> str:
    """A hash of everything that the figures of a training depend on, except its seed."""
    settings = [
        version("kgrec"), tables.schema.model_dump_json(), config.model_dump_json(exclude={"seed"}),
        split.model_dump_json(), encoder.revision, k,
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
class VariantTrainings:
    """Trains on variants of one catalogue and keeps the figures of each training on disk.

    Attributes:
        tables: the catalogue, sorted, without derived types.
        config: the settings of the trainings.
        encoder: encodes the texts.
        cache_dir: where text vectors are cached.
        directory: the folder for the figures.
        k: list length of the metrics.
        fingerprint: the hash of the catalogue and all settings, from `fingerprint_study`.
        on_texts, on_training, on_stage: as in `kgrec.ablate.ablation_study.ablate_catalogue`.
    """

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
        """Measures each variant on each split, except those whose figures are kept from an earlier run.

        Args:
            variants: variant to train on -> its title.
            splits: at least one split.
            seeds: one for each split.

        Returns:
            For each split, the figures of each variant on each slice.
        """
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
        data, schema = self._build(variant, seed)
        model, _ = fit_model(data, schema, split.train, config, self.on_stage)
        slices = place_users(model, data, schema, split.slices, split.train.to_matrix())
        split = replace(split, slices=slices)
        block_users = min(max(_BLOCK_SCORES // split.train.shape[1], 1), 512)
        figures = []
        for slice_ in report_slices(split):
            result = evaluate_slice(model, slice_, self.k, block_users=block_users)
            values = {metric: result.per_user(metric).round(_DIGITS) for metric in METRICS}
            candidates = result.candidates
            figures.append(
                Figures(
                    slice_.name, slice_.title, result.users, values, result.hits[:, : self.k].sum(axis=1),
                    result.n_relevant, result.item_hits[candidates], result.item_relevant[candidates],
                    result.recommended[candidates],
                )
            )  # fmt: skip
        self._write(variant, title, seed, figures, time.perf_counter() - started)
        return figures

    def _build(self, variant: Variant, seed: int) -> tuple[HeteroData, CatalogueSchema]:
        tables = leave_out(self.tables, variant.left_out)
        if variant.shuffled:
            tables = shuffle_links(tables, np.random.default_rng([seed, 3]))
        # build_graph makes the texts of neighbours from these tables, so they do not mention what is left out.
        graph = build_graph(tables, self.encoder, self.cache_dir, on_texts=self.on_texts)
        silent = [one for one in tables.schema.nodes if not variant.texts or name_texts(one) in variant.left_out]
        return without_texts(graph.data, silent), graph.schema

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
        """The figures on disk; None if there are none, or if catalogue or settings differ."""
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
