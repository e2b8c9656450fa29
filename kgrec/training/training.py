"""Trains a model: settings are chosen on likes held out inside the training data, then all is fitted to everything."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import eye_array
from torch import Tensor
from torch_geometric.data import HeteroData

from graph_schema import CatalogueSchema
from kgrec.config import TrainConfig
from kgrec.graph.propagation import Channel, ItemLinks, build_item_links, propagate, unit_idf_weights
from kgrec.graph.split import Likes, split_likes
from kgrec.model.gate import Sample, fit_line, sample_slice, search_weights
from kgrec.model.head import Head, fit_head
from kgrec.model.ials import fit_ials, ials_ridge, solve_supports
from kgrec.model.item_item import fit_item_item, overlap_links, weigh_likes
from kgrec.model.model import (
    BACKBONE,
    COMPONENTS,
    FEW_SHOT,
    ITEM_ITEM,
    ITEM_ITEM_FEW,
    POPULARITY,
    TEXT,
    WITH_PRIOR,
    Gate,
    Model,
)
from kgrec.model.prior import (
    HiddenLayer,
    PriorSettings,
    RidgeProblem,
    build_prior,
    build_ridge_problem,
    fit_hidden_layer,
)

_FITTING = 0.9  # share of the items whose texts are farther from a sentence than what fits it
_ROOM_FOR_COLD = 0.01  # share of the quality over all items that may be given up to show cold ones
_ROOM_FOR_UNPOPULAR = 0.01  # share of the quality that may be given up to show less popular items
_AGAINST_POPULARITY = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)  # in standard deviations of the warm scores
_MANY_LIKES = 21  # supports from here on are gated as warm users are
_SHIFTS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)


@dataclass(frozen=True)
class Choices:
    """What validation chose, and what it saw; kept in the bundle.

    Attributes:
        alpha, regularisation: of the backbone.
        prior: of the prior.
        item_item_regularisation, few_dropout, graph_weight: of the item-item models; None where they are left out.
        quality: what was tried -> the geometric mean of NDCG@20 and Recall@20 on the slice that decided.
    """

    alpha: float
    regularisation: float
    prior: PriorSettings
    item_item_regularisation: float | None = None
    few_dropout: float | None = None
    graph_weight: float | None = None
    quality: dict[str, float] = field(default_factory=dict)


def fit_model(
    data: HeteroData,
    schema: CatalogueSchema,
    likes: Likes,
    config: TrainConfig,
    on_stage: Callable[[str], None] | None = None,
) -> tuple[Model, Choices]:
    """Trains a model on a heterograph's texts and links and on likes.

    Args:
        data: the heterograph; its interactions are not read, `likes` are.
        schema: the catalogue's schema.
        likes: what to learn from.
        config: the settings, and those to choose from.
        on_stage: told what is being done, a line each.

    Returns:
        The model and what was chosen on the way.
    """
    say = on_stage or (lambda _: None)
    device = config.device or ("cuda" if torch.cuda.is_available() else "cpu")
    links = build_item_links(data, schema)
    say("holding out likes for validation")
    split = split_likes(likes, config.validation, np.random.default_rng(config.seed))
    if not len(split.train):  # a handful of likes: nothing is left to validate on
        split = replace(split, train=likes, slices={})
    rng = np.random.default_rng([config.seed, 1])
    samples = {name: sample_slice(slice_, rng) for name, slice_ in split.slices.items()}
    run = _Run(data, schema, links, config, device)
    say("choosing the backbone")
    choices = run.choose_backbone(split.train, samples)
    say("choosing the prior")
    backbone = run.fit_backbone(split.train, choices)
    choices = run.choose_prior(backbone, samples, choices)
    say("choosing the item-item models")
    choices, matrices = run.choose_item_item(split.train, samples, choices)
    say("training the few-shot head on held-in likes")
    validated = run.assemble(split.train, backbone, choices, matrices)
    say("choosing the gate")
    gate = _choose_gate(validated, samples, choices.quality)
    say("fitting everything to all likes")
    full = run.fit_backbone(likes, choices)
    model = run.assemble(likes, full, choices, run.fit_item_items(likes, choices))
    return replace(model, gate=gate), choices


@dataclass(frozen=True)
class _Backbone:
    """iALS vectors and the channels that were propagated with them."""

    items: NDArray[np.float32]  # (n_items, dim)
    users: NDArray[np.float32]  # (n_users, dim)
    n_likes: NDArray[np.int64]  # (n_items,)
    weights: NDArray[np.float32]  # (n_items,)
    channels: list[Channel]
    problem: RidgeProblem


@dataclass(frozen=True)
class _Run:
    """What every stage of a training run reads."""

    data: HeteroData
    schema: CatalogueSchema
    links: ItemLinks
    config: TrainConfig
    device: str

    def fit_backbone(self, likes: Likes, choices: Choices) -> _Backbone:
        matrix, config = likes.to_matrix(), self.config
        found = fit_ials(
            matrix, dim=config.embedding_dim, alpha=choices.alpha, regularisation=choices.regularisation,
            epochs=config.backbone.epochs, seed=config.seed, device=self.device,
        )  # fmt: skip
        items, users = (part.cpu().numpy() for part in found)
        n_likes = np.bincount(likes.items, minlength=likes.shape[1])
        weights = (n_likes / (n_likes + config.prior.half_weight)).astype(np.float32)
        channels = propagate(
            self.data, self.schema, self.links, n_likes > 0, items, weights, config.prior, config.seed
        )  # fmt: skip
        return _Backbone(items, users, n_likes, weights, channels, build_ridge_problem(channels, items, weights))

    def choose_backbone(self, likes: Likes, samples: dict[str, Sample]) -> Choices:
        grid = [(a, r) for a in self.config.backbone.alphas for r in self.config.backbone.regularisations]
        sample, quality = samples.get("warm"), {}
        unset = PriorSettings(self.config.prior.regularisations[len(self.config.prior.regularisations) // 2], {})
        if sample is None or len(grid) == 1:
            return Choices(*grid[0], unset)
        matrix = likes.to_matrix()
        for alpha, regularisation in grid:
            items, _ = fit_ials(
                matrix, dim=self.config.embedding_dim, alpha=alpha, regularisation=regularisation,
                epochs=max(self.config.backbone.epochs // 2, 1), seed=self.config.seed, device=self.device,
            )  # fmt: skip
            items = items.cpu()
            users = solve_supports(sample.support, items, ials_ridge(sample.support, alpha, regularisation), alpha)
            quality[f"backbone alpha={alpha:g} regularisation={regularisation:g}"] = sample.quality(users @ items.T)
        best = max(quality.values())
        chosen = next(pair for pair, worth in zip(grid, quality.values(), strict=True) if worth == best)
        return Choices(*chosen, unset, quality=quality)

    def choose_prior(self, backbone: _Backbone, samples: dict[str, Sample], choices: Choices) -> Choices:
        sample = samples.get("cold_items") or samples.get("cold_users_cold_items_k10")
        kinds = sorted(set(backbone.problem.kinds.tolist()))
        settings = PriorSettings(choices.prior.regularisation, dict.fromkeys(kinds, 1.0))
        if sample is None or not kinds:
            return replace(choices, prior=settings)
        items = torch.from_numpy(backbone.items)
        ridge = ials_ridge(sample.support, choices.alpha, choices.regularisation)
        users = solve_supports(sample.support, items, ridge, choices.alpha)

        def worth(tried: PriorSettings) -> float:
            return sample.quality(users @ torch.from_numpy(backbone.problem.predict(tried)).T)

        best, quality = -1.0, dict(choices.quality)
        for regularisation in self.config.prior.regularisations:
            tried = replace(settings, regularisation=regularisation)
            found = quality[f"prior regularisation={regularisation:g}"] = worth(tried)
            if found > best:
                best, chosen = found, tried
        for kind in kinds:
            for gate in self.config.prior.gates:
                if gate == chosen.gates[kind]:
                    continue
                tried = replace(chosen, gates={**chosen.gates, kind: gate})
                found = quality[f"prior gate {kind}={gate:g}"] = worth(tried)
                if found > best * 1.002:
                    best, chosen = found, tried
        if self.config.prior.hidden:
            deeper = replace(chosen, steps=self.config.prior.steps)
            layer = self._fit_layer(backbone, deeper)
            assert layer is not None
            placed = backbone.problem.predict(deeper) + _apply(layer, backbone.problem, deeper)
            found = quality["prior with a hidden layer"] = sample.quality(users @ torch.from_numpy(placed).T)
            chosen = deeper if found > best * 1.002 else chosen
        return replace(choices, prior=chosen, quality=quality)

    def _fit_layer(self, backbone: _Backbone, settings: PriorSettings) -> HiddenLayer | None:
        if not settings.steps:
            return None
        gram = (backbone.users.T @ backbone.users / max(len(backbone.users), 1)).astype(np.float32)
        residuals = backbone.items - backbone.problem.predict(settings)
        return fit_hidden_layer(
            _gated(backbone.problem, settings), residuals, backbone.weights, gram,
            hidden=self.config.prior.hidden, steps=settings.steps, seed=self.config.seed,
        )  # fmt: skip

    def _overlap(self) -> NDArray[np.float64] | None:
        has_links = bool(self.links.idf.any())
        return overlap_links(unit_idf_weights(self.links.incidence, self.links.idf)) if has_links else None

    def choose_item_item(
        self, likes: Likes, samples: dict[str, Sample], choices: Choices
    ) -> tuple[Choices, dict[str, Tensor]]:
        config = self.config.item_item
        if likes.shape[1] > config.max_items:
            return choices, {}
        overlap, quality = self._overlap(), dict(choices.quality)
        gram = weigh_likes(likes.to_matrix(), config.user_exponent)
        warm = [samples[name] for name in ("warm",) if name in samples]
        few = [samples[name] for name in ("cold_users_k3", "cold_users_k5", "cold_users_k10") if name in samples]
        graph_weights = config.graph_weights if overlap is not None else (0.0,)
        best: dict[str, tuple[float, Tensor, tuple[float, float]]] = {}

        def try_one(component: str, asked: list[Sample], setting: float, graph_weight: float) -> None:
            matrix = torch.from_numpy(self._fit_item_item(component, gram, overlap, setting, graph_weight))
            found = [sample.quality(torch.from_numpy(sample.support @ matrix.numpy())) for sample in asked]
            worth = sum(found) / max(len(found), 1)
            quality[f"{component} {setting:g}, graph {graph_weight:g}"] = worth
            if component not in best or worth > best[component][0] * 1.001:
                best[component] = worth, matrix, (setting, graph_weight)

        for graph_weight in graph_weights:
            try_one(ITEM_ITEM, warm, config.regularisations[0], graph_weight)
        graph_weight = best[ITEM_ITEM][2][1]
        for regularisation in config.regularisations[1:]:
            try_one(ITEM_ITEM, warm, regularisation, graph_weight)
        for dropout in config.few_dropouts:
            try_one(ITEM_ITEM_FEW, few, dropout, graph_weight)
        chosen = replace(
            choices, item_item_regularisation=best[ITEM_ITEM][2][0], few_dropout=best[ITEM_ITEM_FEW][2][0],
            graph_weight=graph_weight, quality=quality,
        )  # fmt: skip
        return chosen, {component: matrix for component, (_, matrix, _) in best.items()}

    def fit_item_items(self, likes: Likes, choices: Choices) -> dict[str, Tensor]:
        regularisation, dropout, graph_weight = (
            choices.item_item_regularisation, choices.few_dropout, choices.graph_weight,
        )  # fmt: skip
        if regularisation is None or dropout is None or graph_weight is None:
            return {}
        overlap, gram = self._overlap(), weigh_likes(likes.to_matrix(), self.config.item_item.user_exponent)
        settings = {ITEM_ITEM: regularisation, ITEM_ITEM_FEW: dropout}
        return {
            component: torch.from_numpy(self._fit_item_item(component, gram, overlap, setting, graph_weight))
            for component, setting in settings.items()
        }

    def _fit_item_item(
        self,
        component: str,
        gram: NDArray[np.float64],
        overlap: NDArray[np.float64] | None,
        setting: float,
        graph: float,
    ) -> NDArray[np.float32]:
        config = self.config.item_item
        regularisation, dropout = (
            (setting, config.dropout) if component == ITEM_ITEM else (config.few_regularisation, setting)
        )
        return fit_item_item(gram, overlap, regularisation=regularisation, dropout=dropout, graph_weight=graph)

    def assemble(self, likes: Likes, backbone: _Backbone, choices: Choices, matrices: dict[str, Tensor]) -> Model:
        matrix, config, alpha = likes.to_matrix(), self.config, choices.alpha
        layer = self._fit_layer(backbone, choices.prior)
        prior = build_prior(backbone.channels, self.links, backbone.problem, choices.prior, layer)
        placed = backbone.problem.predict(choices.prior)
        if layer is not None:
            placed = placed + _apply(layer, backbone.problem, choices.prior)
        cold = torch.from_numpy(likes.cold_items)
        items = torch.where(cold[:, None], torch.from_numpy(placed), torch.from_numpy(backbone.items))  # (n_items, dim)
        popularity = torch.log1p(torch.from_numpy(backbone.n_likes.astype(np.float32)))
        head = fit_head(
            matrix,
            items,
            torch.from_numpy(backbone.users),
            popularity,
            config.head,
            seed=config.seed,
            device=self.device,
        )
        head = replace(head, vectors=items @ head.to_head)
        kept = torch.where(cold[:, None], 0.0, items)
        dim = config.embedding_dim
        plain = Head(
            items, kept.T @ kept, torch.zeros(dim), alpha,
            choices.regularisation * alpha * likes.shape[1], choices.regularisation, 0.0, 0.0, torch.eye(dim),
        )  # fmt: skip
        texts, n_items = self.data[self.schema.item_type], likes.shape[1]
        text = torch.zeros((n_items, 0))
        if "x" in texts:
            text = torch.where(texts.has_text[:, None], texts.x, 0.0)
        none = np.zeros((1, len(COMPONENTS)), np.float32)
        unset = Gate(np.zeros(1, np.int64), none, none, np.zeros(1, np.float32), none[0], none[0], 0.0)
        return Model(
            head, plain, matrices.get(ITEM_ITEM), matrices.get(ITEM_ITEM_FEW), popularity, cold, text, prior, unset
        )


def _gated(problem: RidgeProblem, settings: PriorSettings) -> NDArray[np.float32]:
    gates = np.array([settings.gates.get(kind, 1.0) for kind in problem.kinds], dtype=np.float32)
    return problem.features * gates


def _apply(layer: HiddenLayer, problem: RidgeProblem, settings: PriorSettings) -> NDArray[np.float32]:
    with torch.inference_mode():
        answer: NDArray[np.float32] = layer(torch.from_numpy(_gated(problem, settings))).numpy()
    return answer


def _choose_gate(model: Model, samples: dict[str, Sample], quality: dict[str, float]) -> Gate:
    """Chooses the weights of each support size on its slice; a size that nobody can be asked takes its neighbour's."""
    sizes = sorted(
        int(name.removeprefix("cold_users_k")) for name in samples if name.removeprefix("cold_users_k").isdigit()
    )
    asked = [(size, f"cold_users_k{size}", f"cold_users_cold_items_k{size}") for size in sizes]
    buckets: list[_Bucket] = []
    least: list[int] = []
    for place, (size, warm_name, cold_name) in enumerate(asked):
        least.append(_between(asked[place - 1][0], size) if place else 0)
        parts = _likes_parts(model, samples[warm_name])
        cold_parts = _likes_parts(model, samples[cold_name]) if cold_name in samples else None
        buckets.append(_choose_bucket(model, samples, parts, cold_parts, (warm_name, cold_name), quality))
    if not buckets:  # nobody to validate few likes on: the few-shot head alone, which needs the least
        weights = np.eye(len(COMPONENTS), dtype=np.float32)[0]
        least, buckets = [0], [_Bucket(weights, weights, 0.0, 0.0)]
    if "warm" in samples:
        least.append(max(_MANY_LIKES, least[-1] + 1))
        cold_parts = _likes_parts(model, samples["cold_items"]) if "cold_items" in samples else None
        parts = _likes_parts(model, samples["warm"])
        buckets.append(_choose_bucket(model, samples, parts, cold_parts, ("warm", "cold_items"), quality))
    sentence = buckets[0]
    names = ("cold_users_k1", "cold_users_cold_items_k1")
    said = {name: fitting for name in names if (fitting := _keep_fitting(model, samples.get(name))) is not None}
    if names[0] in said:
        parts = _sentence_parts(model, said[names[0]])
        cold_parts = _sentence_parts(model, said[names[1]]) if names[1] in said else None
        sentence = _choose_bucket(model, said, parts, cold_parts, names, quality, "sentence")
    shift = _choose_shift(model, buckets[-1], samples.get("overall"), quality)
    gate = Gate(
        np.array(least, np.int64),
        np.stack([bucket.warm for bucket in buckets]),
        np.stack([bucket.cold for bucket in buckets]),
        np.array([bucket.intercept + shift * bucket.spread for bucket in buckets], np.float32),
        sentence.warm,
        sentence.cold,
        sentence.intercept + shift * sentence.spread,
    )
    return gate


@dataclass(frozen=True)
class _Bucket:
    """Weights for one support size."""

    warm: NDArray[np.float32]
    cold: NDArray[np.float32]
    intercept: float  # brings cold scores to the level of the warm ones
    spread: float  # standard deviation of the warm scores over items


def _between(smaller: int, larger: int) -> int:
    """The first support size that is nearer to `larger`, by their ratio."""
    return int(np.ceil(np.sqrt(max(smaller, 0.5) * larger)))


def _likes_parts(model: Model, sample: Sample) -> list[Tensor | None]:
    """Each component's scores on a sample, known by likes."""
    return [None if name == TEXT else model.component_scores(name, sample.support) for name in COMPONENTS]


def _keep_fitting(model: Model, sample: Sample | None) -> Sample | None:
    """Makes a sample of one like each a question about words: the like's text is the sentence, and what is asked for
    are the user's other likes that fit it, those among the tenth of all items whose texts are nearest to it.
    """
    has_text = model.text.abs().sum(dim=1) > 0
    if sample is None or not has_text.any():
        return None
    shown = torch.from_numpy(sample.support.indices.astype(np.int64))
    nearness = model.text[shown] @ model.text.T  # (n_users, n_items)
    place = int(_FITTING * (int(has_text.sum()) - 1)) + 1  # `quantile` takes no more than 2^24 values
    least = nearness[:, has_text].kthvalue(place, dim=1, keepdim=True).values  # (n_users, 1)
    relevant = sample.relevant & (nearness >= least) & has_text & has_text[shown][:, None]
    kept = relevant.any(dim=1)
    if not kept.any():
        return None
    rows = np.flatnonzero(kept.numpy())
    n_relevant = relevant[kept].sum(dim=1).float()
    return Sample(sample.support[rows], relevant[kept], sample.masked[kept], n_relevant, sample.k)


def _sentence_parts(model: Model, sample: Sample) -> list[Tensor | None]:
    """Each component's scores for users of one like, of which only the item's text is known: a sentence's stand-in."""
    said = model.text[torch.from_numpy(sample.support.indices.astype(np.int64))]  # (n_users, text_dim)
    placed = np.stack([model.prior.place(one, np.zeros(0, np.int64)) for one in said.numpy()])
    parts: list[Tensor | None] = [None] * len(COMPONENTS)
    for name, head in ((FEW_SHOT, model.few_shot), (BACKBONE, model.backbone)):
        vectors = torch.from_numpy(placed) @ head.to_head  # (n_users, dim)
        one_each = eye_array(len(vectors), dtype=np.float32, format="csr")
        ridge = head.ridge(np.ones(len(vectors), np.int64))  # a sentence counts as a like
        users = solve_supports(one_each, vectors, ridge, head.alpha, head.centre, head.gram)
        often = float(head.popularity_weight(np.zeros(1, np.int64))[0])
        parts[COMPONENTS.index(name)] = users @ head.vectors.T + often * model.popularity
    parts[COMPONENTS.index(POPULARITY)] = model.popularity.expand(len(said), -1)
    parts[COMPONENTS.index(TEXT)] = said @ model.text.T
    return parts


def _choose_bucket(
    model: Model,
    samples: dict[str, Sample],
    parts: list[Tensor | None],
    cold_parts: list[Tensor | None] | None,
    names: tuple[str, str],
    quality: dict[str, float],
    title: str | None = None,
) -> _Bucket:
    """Weights for warm items; for cold ones what ranks them best among themselves, brought to the same scale."""
    title = title or names[0]
    placeable = [*WITH_PRIOR, TEXT]
    warm = cold = np.where([name == WITH_PRIOR[0] for name in COMPONENTS], np.float32(1), np.float32(0))
    sample = samples[names[0]]
    found, quality[f"gate {title}"] = search_weights(parts, sample.quality, impersonal=(COMPONENTS.index(POPULARITY),))
    warm = found if found.any() else warm
    if title not in ("sentence", "cold_users_k0"):
        warm = _curb_popularity(model, sample, parts, warm)
    if cold_parts is not None:
        own = [part if name in placeable else None for name, part in zip(COMPONENTS, cold_parts, strict=True)]
        found, quality[f"gate {title}, cold items"] = search_weights(own, samples[names[1]].quality)
        cold = found if found.any() else cold
    trained = ~model.cold
    blended, raw = _blend(parts, warm)[:, trained], _blend(parts, cold)[:, trained]
    slope, intercept = fit_line(raw, blended)
    slope = max(slope, 1e-6)
    return _Bucket(warm, (cold * slope).astype(np.float32), intercept, float(blended.std(dim=1, correction=0).mean()))


def _curb_popularity(
    model: Model, sample: Sample, parts: list[Tensor | None], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Weights with as much against popularity as costs at most 1% of the quality: it costs little, and what fewer
    people know comes into sight.
    """
    blended = _blend(parts, weights)
    unit = float(blended.std(dim=1, correction=0).mean()) / max(float(model.popularity.std(correction=0)), 1e-9)
    worth, chosen = sample.quality(blended), weights
    for step in _AGAINST_POPULARITY:
        tried = weights.copy()
        tried[COMPONENTS.index(POPULARITY)] -= step * unit
        if sample.quality(_blend(parts, tried)) >= (1 - _ROOM_FOR_UNPOPULAR) * worth:
            chosen = tried
    return chosen


def _blend(parts: list[Tensor | None], weights: NDArray[np.float32]) -> Tensor:
    found = [part * float(weight) for part, weight in zip(parts, weights, strict=True) if part is not None and weight]
    first = next(part for part in parts if part is not None)
    return torch.stack(found).sum(dim=0) if found else torch.zeros_like(first)


def _choose_shift(model: Model, bucket: _Bucket, sample: Sample | None, quality: dict[str, float]) -> float:
    """How far cold items are moved up or down in a common ranking, in standard deviations of the warm scores.

    Never down, and as far up as costs next to nothing over all items: an item that is never shown stays cold.
    """
    if sample is None:
        return 0.0
    parts = _likes_parts(model, sample)
    trained = ~model.cold
    warm, cold = _blend(parts, bucket.warm), _blend(parts, bucket.cold) + bucket.intercept
    found = {shift: sample.quality(torch.where(trained, warm, cold + shift * bucket.spread)) for shift in _SHIFTS}
    quality.update({f"cold items moved by {shift:+g}": worth for shift, worth in found.items()})
    return max(shift for shift, worth in found.items() if worth >= (1 - _ROOM_FOR_COLD) * max(found.values()))
