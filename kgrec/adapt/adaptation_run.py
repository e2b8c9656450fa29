"""Adaptation, from a catalogue to an adapter: likes held out, weights tuned, the gain compared with a control."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from graph_schema import GraphTables
from kgrec.adapt.adaptation_report import AdaptationReport, Judgement
from kgrec.adapt.embedding import embed_texts, training_attention
from kgrec.adapt.held_out_items import hold_out, is_gain, measure_gain, quality, shuffle_items
from kgrec.adapt.text_graph import TextGraph, read_text_graph
from kgrec.adapt.training_state import Progress
from kgrec.adapt.tuning_loop import train
from kgrec.config import AdaptConfig, SplitConfig
from kgrec.errors import CatalogueError, TextError
from kgrec.language.adapter_folder import CHECKPOINTS, check_adapter_folder, remove_checkpoints, save_adapter
from kgrec.language.tuned_weights import tune_few
from kgrec.questions.slice_results import SliceResult
from kgrec.questions.slices import Slice
from kgrec.questions.splits import Likes, split_likes
from kgrec.text.adapter import ADAPTER_VERSION
from kgrec.text.language_model import LanguageModel, load_language_model
from kgrec.training.logging import OnMetric

FORMAT = "kgrec-adapter"
_SAME = 1e-5  # the largest change of a vector's entry when an adapter is saved and loaded
_PROBES = 8
_ENCODED_AT_ONCE = 1024


def adapt_catalogue(
    tables: GraphTables,
    config: AdaptConfig,
    out: Path,
    *,
    on_stage: Callable[[str], None] | None = None,
    on_step: Callable[[int, int], None] | None = None,
    on_metric: OnMetric | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> AdaptationReport:
    """Adapts a language model to a catalogue and writes the adapter.

    The test likes of `kgrec evaluate` with the same seed are left out, so that it can measure the adapter.

    Args:
        tables: the catalogue.
        config: the settings.
        out: the adapter's folder; an interrupted run there is resumed.
        on_stage: called with the name of each stage.
        on_step: called with (steps done, steps in total).
        on_metric: called with (name, value, step).
        clock: seconds.

    Raises:
        CatalogueError: there is nothing to learn from, or too few likes to validate on.
        TextError: the model cannot be loaded or tuned by this method, or the folder cannot be written.
    """
    check_adapter_folder(Path(out))
    if on_stage is not None:
        on_stage("reading texts, links and likes")
    graph, likes = read_text_graph(tables)
    split = split_likes(likes, SplitConfig(), np.random.default_rng(config.seed))
    seen, split_seed = (split.train, config.seed) if len(split.train) else (likes, None)
    return adapt_texts(
        graph, seen, config, out, split_seed=split_seed, on_stage=on_stage, on_step=on_step, on_metric=on_metric,
        clock=clock,
    )  # fmt: skip


def adapt_texts(
    graph: TextGraph,
    likes: Likes,
    config: AdaptConfig,
    out: Path,
    *,
    split_seed: int | None = None,
    on_stage: Callable[[str], None] | None = None,
    on_step: Callable[[int, int], None] | None = None,
    on_metric: OnMetric | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> AdaptationReport:
    """Adapts a language model to texts, links and likes; see `adapt_catalogue`."""
    say, started, out = on_stage or (lambda _: None), clock(), Path(out)
    check_adapter_folder(out)
    graph, rest, validation = hold_out(likes, graph, config.validation, config.most_items, config.seed)
    if validation is None:
        raise CatalogueError(
            f"too few likes of items with texts to validate an adapter on: {len(likes)} likes of "
            f"{len(np.unique(likes.items))} items; expected some users with likes of several items"
        )
    _check_objectives(graph, config)
    device = config.device or ("cuda" if torch.cuda.is_available() else "cpu")
    say("loading the language model")
    frozen = load_language_model(config.encoder, device=device)
    tokens = frozen.tokenize([graph.texts[place] for place in validation.texts])
    say("encoding the held-out items with the frozen model")
    before = encode(frozen, tokens)
    base = validation.ask(before, validation.judge)

    def ask(vectors: NDArray[np.float32], weight: float, question: Slice) -> SliceResult:
        parts = [vectors * np.float32((1 - weight) ** 0.5), before * np.float32(weight**0.5)]
        return validation.ask(np.hstack(parts) if weight else vectors, question)

    def run(
        name: str, learned: Likes, config: AdaptConfig, on_metric: OnMetric | None
    ) -> tuple[Any, Progress, NDArray[np.float32], float]:
        model = frozen if name == "likes" else load_language_model(config.encoder, device=device)
        tuned = tune_few(model, config)
        adapted = replace(model, network=tuned)
        fingerprint = _fingerprint(frozen, graph, learned, config)

        def validate(one: LanguageModel) -> float:
            return quality(ask(encode(one, tokens), config.ensemble_weights[0], validation.stop))

        with training_attention(model.network):
            progress = train(
                adapted, tuned, graph, learned, config, validate, out / CHECKPOINTS / f"{name}.safetensors",
                fingerprint=fingerprint, on_step=on_step, on_metric=on_metric,
            )  # fmt: skip
            if progress.best.step == 0:
                return tuned, progress, before, 0.0  # the frozen model alone
            after = encode(adapted, tokens)
        found = {config.ensemble_weights[0]: progress.best.quality}
        found |= {weight: quality(ask(after, weight, validation.stop)) for weight in config.ensemble_weights[1:]}
        return tuned, progress, after, max(found, key=lambda weight: found[weight])  # the first of equals

    say(f"tuning by {config.method}")
    tuned, progress, after, ensemble_weight = run("likes", rest, config, on_metric)
    judged = ask(after, ensemble_weight, validation.judge)
    control = None
    if config.objectives.of_likes and config.control_steps:
        say("control: training on shuffled likes")
        shuffled = shuffle_items(rest, np.random.default_rng([config.seed, 3]))
        # The control leaves out the links: they are not shuffled, and would help it.
        likes_alone = config.objectives.model_copy(update={"neighbours": 0.0, "relations": 0.0})
        steps = min(config.control_steps, config.steps)
        changed = config.model_copy(update={"objectives": likes_alone, "steps": steps})
        _, controlled, vectors, control_weight = run("shuffled", shuffled, changed, None)
        control = _judge(base, ask(vectors, control_weight, validation.judge), controlled.best.step)
    adapted = _judge(base, judged, progress.best.step)
    kept, reason = _decide(adapted, control)
    report = AdaptationReport(
        base=frozen.name,
        method=config.method,
        kept=kept,
        reason=reason,
        n_trained=sum(p.numel() for p in tuned.parameters() if p.requires_grad),
        n_weights=sum(p.numel() for p in tuned.parameters()),
        n_texts=len(graph.texts),
        n_likes=len(rest),
        n_links=graph.links.shape[1],
        n_items=int(validation.judge.candidates.sum()) if validation.judge.candidates is not None else 0,
        strength=progress.strength,
        ensemble_weight=ensemble_weight,
        moved=float((before * after).sum(axis=1).mean()),
        frozen=_judge(base, base, 0),
        adapted=adapted,
        control=control,
        scores=progress.scores,
        seconds=clock() - started,
        split_seed=split_seed,
    )
    say("writing the adapter")
    save_adapter(tuned if kept else None, _describe(frozen, config, report), out)
    if kept:
        _check_saved(replace(frozen, network=tuned), config, device, out, ensemble_weight, tokens[:_PROBES])
    remove_checkpoints(out)
    return report


@torch.inference_mode()
def encode(model: LanguageModel, tokens: Sequence[list[int]]) -> NDArray[np.float32]:
    """Encodes token lists without gradients: (n, dim) float32 unit rows."""
    order = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
    vectors = np.empty((len(tokens), model.dim), np.float32)
    for start in range(0, len(order), _ENCODED_AT_ONCE):
        rows = order[start : start + _ENCODED_AT_ONCE]
        vectors[rows] = embed_texts(model, [tokens[row] for row in rows]).float().cpu().numpy()
    return vectors


def _check_objectives(graph: TextGraph, config: AdaptConfig) -> None:
    objectives = config.objectives
    if objectives.of_likes or (objectives.of_graph and graph.links.shape[1]):
        return
    raise CatalogueError(
        f"nothing to learn from: objectives {objectives.model_dump()} in a catalogue with {graph.links.shape[1]} links "
        f"between texts that are not held out; expected a weight above 0 for likes or existing links: set co_likes, or "
        f"neighbours where there are links"
    )


def _judge(before: SliceResult, after: SliceResult, step: int) -> Judgement:
    gain, error = measure_gain(before, after)
    return Judgement(float(after.per_user("recall").mean()), float(after.per_user("ndcg").mean()), gain, error, step)


def _decide(adapted: Judgement, control: Judgement | None) -> tuple[bool, str]:
    if adapted.step == 0:
        return False, "no step improved validation"
    if not is_gain(adapted.gain, adapted.error):
        return False, f"{adapted.gain:+.1%} on held-out items is no clear gain (standard error {adapted.error:.1%})"
    if control is not None and is_gain(control.gain, control.error) and control.gain >= adapted.gain / 2:
        return False, f"shuffled likes gain {control.gain:+.1%} as well, so the gain does not come from the likes"
    return True, f"{adapted.gain:+.1%} on held-out items (standard error {adapted.error:.1%})"


def _describe(model: LanguageModel, config: AdaptConfig, report: AdaptationReport) -> dict[str, Any]:
    from importlib.metadata import version

    return {
        "format": FORMAT,
        "version": ADAPTER_VERSION,
        "kgrec": version("kgrec"),
        "base": model.name,
        "base_revision": model.base_revision,
        "pooling": model.pooling,
        "prefix": model.prefix,
        "ensemble_weight": report.ensemble_weight,
        "kept": report.kept,
        "config": config.model_dump(mode="json"),
        "report": asdict(report),
    }


def _fingerprint(model: LanguageModel, graph: TextGraph, likes: Likes, config: AdaptConfig) -> str:
    digest = hashlib.sha256(f"{model.revision} {config.model_dump_json(exclude={'device'})}".encode())
    digest.update(json.dumps(graph.texts).encode())
    for part in (graph.item_text, graph.links, graph.relation, likes.users, likes.items):
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def _check_saved(
    tuned: LanguageModel, config: AdaptConfig, device: str, out: Path, weight: float, tokens: list[list[int]]
) -> None:
    """Loads the written adapter and compares its vectors with those of the network in memory."""
    loaded = load_language_model(config.encoder, device=device, adapter=out)
    with torch.inference_mode():
        vectors = loaded.embed(tokens)[:, : tuned.dim]  # without the frozen model's half
        apart = float((vectors / (1 - weight) ** 0.5 - tuned.embed(tokens)).abs().max())
    if not apart <= _SAME:
        raise TextError(
            f"the adapter {out} gives other vectors when it is loaded than when it was trained, by {apart:.1e}; "
            f"expected {_SAME:.0e} at most: the disk or the memory is damaged, run it again"
        )
