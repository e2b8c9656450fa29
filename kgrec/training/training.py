"""Trains a model: settings are chosen on likes held out inside the training data, then all is fitted to everything."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array, eye_array, vstack
from torch import Tensor
from torch_geometric.data import HeteroData

from graph_schema import CatalogueSchema
from kgrec.config import TrainConfig
from kgrec.graph.few_items import FewItems, show_few
from kgrec.graph.propagation import Channel, ItemLinks, build_item_links, propagate, unit_idf_weights
from kgrec.graph.split import Likes, Split, split_likes
from kgrec.model.content import Content, fit_content
from kgrec.model.gate import Sample, climb, fit_line, sample_slice, search_weights, shorten
from kgrec.model.gnn import TrainedNetwork, train_network
from kgrec.model.head import Head, fit_head
from kgrec.model.ials import draw_towards, fit_ials, ials_ridge, solve_supports
from kgrec.model.item_item import ItemItem, ItemItemSettings, fit_item_item, fit_low_rank
from kgrec.model.model import (
    BACKBONE,
    COMPONENTS,
    CONTENT,
    FEW_SHOT,
    POPULARITY,
    TEXT,
    WITH_PRIOR,
    Gate,
    ItemHead,
    Model,
)
from kgrec.model.prior import (
    HiddenLayer,
    ItemEncoder,
    PriorSettings,
    RidgeProblem,
    build_prior,
    build_ridge_problem,
    fit_hidden_layer,
)
from kgrec.slices import Slice
from kgrec.training.logging import OnMetric

_GATE = "gate "  # begins the names of the qualities of whole slices
_FITTING = 0.9  # share of the items whose texts are farther from a sentence than what fits it
_ROOM_FOR_COLD = 0.01  # share of the quality over all items that may be given up to show cold ones
_ROOM_FOR_UNPOPULAR = 0.003  # share of the quality that may be given up to show less popular items
_AGAINST_POPULARITY = (
    0.05,
    0.1,
    0.15,
    0.2,
    0.25,
    0.3,
    0.4,
    0.5,
    0.6,
    0.8,
    1.0,
)  # in standard deviations of the warm scores
_ENOUGH_USERS = 100  # new ones, to choose weights on them alone
_LEAST_OF_VECTORS = 0.1  # of the part that counts most for cold items
_RESCALING_USERS = 64
_MOST_RESCALING = 4.0  # of cold items: more is no matter of more likes
_ROUNDING = 1e-5  # relative
_TINY = 1e-6
_OUT_OF_SIGHT = 10.0  # standard deviations of the warm scores
_STEADY_LENGTH = 20  # of the lists on which settings are chosen: the longer they are, the less is chance
_SHARES_OF_BACKBONE = (0.5, 1.0, 2.0)  # beside an item-item model, in standard deviations
_MANY_LIKES = 21  # supports from here on are gated as warm users are
_LIFT = 0.3  # of cold items where too few can be asked, likewise: an item that is never shown stays cold
_SHIFTS = (-1.0, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)  # in standard deviations of the warm scores
_SPREADS = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
_CLEARLY = 1.002  # times as good: what is less is noise
_FEW_LIKES = 3  # of an item, on which the strength of its prior is chosen
_ITEM_RIDGES = (0.1, 0.3, 1.0, 3.0)  # of an item's prior against its likes, times the backbone's for no like


@dataclass(frozen=True)
class Choices:
    """What validation chose, and what it saw; kept in the bundle.

    Attributes:
        alpha, regularisation: of the backbone.
        prior: of the prior.
        centred: whether items with likes are drawn towards their prior's vectors too, not to 0.
        item_ridge: how strongly an item's prior holds against its first likes, times the backbone's for no like.
        item_item, item_item_few: of the item-item models; None where they are left out.
        content_link_weight: of links beside texts in the content's kernel; None: no content.
        quality: what was tried -> the geometric mean of NDCG@20 and Recall@20 on the slice that decided.
    """

    alpha: float
    regularisation: float
    prior: PriorSettings
    centred: bool = False
    item_ridge: float = 1.0
    item_item: ItemItemSettings | None = None
    item_item_few: ItemItemSettings | None = None
    content_link_weight: float | None = None
    quality: dict[str, float] = field(default_factory=dict)

    @property
    def slice_quality(self) -> dict[str, float]:
        """The quality that the gate reached on each validation slice, by the slice's name."""
        return {name.removeprefix(_GATE): worth for name, worth in self.quality.items() if name.startswith(_GATE)}


def fit_model(
    data: HeteroData,
    schema: CatalogueSchema,
    likes: Likes,
    config: TrainConfig,
    on_stage: Callable[[str], None] | None = None,
    on_metric: OnMetric | None = None,
    validation: Mapping[str, Slice] | None = None,
    cache_dir: Path | None = None,
) -> tuple[Model, Choices]:
    """Trains a model on a heterograph's texts and links and on likes.

    Args:
        data: the heterograph; its interactions are not read, `likes` are.
        schema: the catalogue's schema.
        likes: what to learn from.
        config: the settings, and those to choose from.
        on_stage: told what is being done, a line each.
        on_metric: told (name, value, step): the loss of the head's epochs, the quality of everything tried.
        validation: the questions to choose by, where a validation part is given beside the likes, named as `Split`
            names them; then everything is fitted to all likes once. None: likes are held out, and put back at the end.
        cache_dir: where propagated features are kept; None: nowhere.

    Returns:
        The model and what was chosen on the way.
    """
    validated, choices = choose_model(data, schema, likes, config, on_stage, on_metric, validation, cache_dir)
    if validation is not None:
        return validated, choices
    if on_stage is not None:
        on_stage("fitting everything to all likes")
    run = _start(data, schema, config, cache_dir)
    full = run.fit_backbone(likes, choices, start=validated.backbone)
    item_item, few = (run.fit_item_item(likes, settings) for settings in (choices.item_item, choices.item_item_few))
    fitted = _Fitted(item_item, few, run.fit_content(likes, full, item_item, choices.content_link_weight))
    on_epoch = _loss_teller("loss/head, all likes", on_metric)
    model = run.assemble(likes, full, choices, fitted, on_epoch, start=validated.few_shot)
    rng = np.random.default_rng([config.seed, 2])
    return replace(model, gate=_rescale_gate(validated.gate, validated, model, likes.to_matrix(), rng)), choices


def choose_model(
    data: HeteroData,
    schema: CatalogueSchema,
    likes: Likes,
    config: TrainConfig,
    on_stage: Callable[[str], None] | None = None,
    on_metric: OnMetric | None = None,
    validation: Mapping[str, Slice] | None = None,
    cache_dir: Path | None = None,
) -> tuple[Model, Choices]:
    """Holds likes out for validation, trains on the rest and makes every choice; see `fit_model`.

    Returns:
        The model of the likes that were not held out, and what was chosen.
    """
    say = on_stage or (lambda _: None)
    if validation is None:
        say("holding out likes for validation")
        split = split_likes(likes, config.validation, np.random.default_rng(config.seed))
        if not len(split.train):  # a handful of likes: nothing is left to validate on
            split = replace(split, train=likes, slices={})
    else:
        no_item, no_user = np.zeros(likes.shape[1], np.bool_), np.zeros(likes.shape[0], np.bool_)
        split = Split(likes, dict(validation), no_item, no_user, by_time=False)
    rng = np.random.default_rng([config.seed, 1])
    samples = {name: sample_slice(slice_, rng, config.list_length) for name, slice_ in split.slices.items()}
    length = max(config.list_length, _STEADY_LENGTH)
    for_settings = {name: replace(sample, k=min(length, sample.relevant.shape[1])) for name, sample in samples.items()}
    run = _start(data, schema, config, cache_dir)
    say("choosing the backbone")
    choices = run.choose_backbone(split.train, for_settings)
    say("choosing the prior")
    backbone = run.fit_backbone(split.train, choices)
    choices = run.choose_prior(backbone, for_settings, choices)
    few_items = show_few(likes, split, rng, (_FEW_LIKES,))
    choices = run.choose_centres(split.train, backbone, for_settings, few_items, choices)
    say("choosing the item-item models")
    choices, item_item = run.choose_item_item(split.train, backbone, for_settings, choices)
    choices, item_item_few = run.choose_item_item_few(split.train, backbone, for_settings, choices)
    say("choosing the content model")
    choices, content = run.choose_content(split.train, backbone, item_item, for_settings, choices)
    say("training the few-shot head on held-in likes")
    on_epoch = _loss_teller("loss/head, validation", on_metric)
    model = run.assemble(split.train, backbone, choices, _Fitted(item_item, item_item_few, content), on_epoch)
    say("choosing the gate")
    gate = _choose_gate(model, samples, config.validation.support_sizes, choices.quality)
    if on_metric is not None:
        for step, (name, worth) in enumerate(choices.quality.items()):
            on_metric(f"validation/{name}", worth, step)
    return replace(model, gate=gate), choices


def _rescale_gate(gate: Gate, before: Model, after: Model, likes: csr_array, rng: np.random.Generator) -> Gate:
    """The gate for a model of more likes: each component counts as it did, whatever became of its scores' scale, and
    cold items keep their level beside the warm ones.
    """
    sizes, trained = np.diff(likes.indptr), ~before.cold & ~after.cold
    warm, cold, offsets = gate.warm.copy(), gate.cold.copy(), gate.cold_offset.copy()
    said = np.ones(len(COMPONENTS), np.float32)
    for bucket, least in enumerate(gate.least_likes.tolist()):
        users = np.flatnonzero(sizes >= max(least, 1))
        if not len(users):  # sizes that nobody has
            for weights in (warm, cold, offsets):
                weights[bucket] = weights[max(bucket - 1, 0)]
            continue
        support = likes[np.sort(rng.choice(users, min(len(users), _RESCALING_USERS), replace=False))]
        if bucket + 1 < len(gate.least_likes):  # as many likes as its users show
            place = np.arange(support.nnz) - np.repeat(support.indptr[:-1], np.diff(support.indptr))
            support.data[place >= least] = 0
            support.eliminate_zeros()
        parts = [
            [model.component_scores(name, support)[:, trained] for name in COMPONENTS] for model in (before, after)
        ]
        scales = np.array([[_deviation(part) for part in of_model] for of_model in parts], np.float32)
        ratios = np.where((scales > 0).all(axis=0), scales[0] / np.maximum(scales[1], 1e-12), 1).astype(np.float32)
        said = ratios if bucket <= 1 else said
        warm[bucket] *= ratios
        cold[bucket] *= ratios
        places = []
        for of_model, of_warm, of_cold in zip(parts, (gate.warm, warm), (gate.cold, cold), strict=True):
            blended, raw = (_blend(list(of_model), weights[bucket]) for weights in (of_warm, of_cold))
            places.append((float(raw.mean()), _deviation(raw), float(blended.mean()), _deviation(blended)))
        (mean, spread, level, unit), (mean_after, spread_after, level_after, unit_after) = places
        scale = unit_after / max(unit, 1e-9)
        factor = scale * (spread / spread_after if min(spread, spread_after) > 0 else 1)
        factor = float(np.clip(factor, 1 / _MOST_RESCALING, _MOST_RESCALING))
        cold[bucket] *= np.float32(factor)
        offsets[bucket] = level_after + scale * (gate.cold_offset[bucket] + mean - level) - factor * mean_after
    return replace(
        gate, warm=warm, cold=cold, cold_offset=offsets, sentence_warm=gate.sentence_warm * said,
        sentence_cold=gate.sentence_cold * said,
    )  # fmt: skip


def _loss_teller(name: str, on_metric: OnMetric | None) -> Callable[[int, float], None] | None:
    return None if on_metric is None else lambda epoch, loss: on_metric(name, loss, epoch)


def _start(data: HeteroData, schema: CatalogueSchema, config: TrainConfig, cache_dir: Path | None) -> "_Run":
    device = config.device or ("cuda" if torch.cuda.is_available() else "cpu")
    return _Run(data, schema, build_item_links(data, schema), config, device, cache_dir)


@dataclass(frozen=True)
class _Backbone:
    """iALS vectors, the channels that were propagated with them, and what the prior's ridge reads."""

    items: NDArray[np.float32]  # (n_items, dim)
    users: NDArray[np.float32]  # (n_users, dim)
    n_likes: NDArray[np.int64]  # (n_items,)
    weights: NDArray[np.float32]  # (n_items,)
    channels: list[Channel]
    network: TrainedNetwork | None  # whose channels the ridge reads; None: it reads `channels`
    problem: RidgeProblem


@dataclass(frozen=True)
class _Fitted:
    """The components in closed form beside the backbone."""

    item_item: ItemItem | None
    item_item_few: ItemItem | None
    content: Content | None


@dataclass(frozen=True)
class _Run:
    """What every stage of a training run reads."""

    data: HeteroData
    schema: CatalogueSchema
    links: ItemLinks
    config: TrainConfig
    device: str
    cache_dir: Path | None

    def fit_backbone(self, likes: Likes, choices: Choices, start: Head | None = None) -> _Backbone:
        matrix, config = likes.to_matrix(), self.config
        found = fit_ials(
            matrix, dim=config.embedding_dim, alpha=choices.alpha, regularisation=choices.regularisation,
            epochs=config.backbone.epochs if start is None else config.backbone.more_epochs, seed=config.seed,
            device=self.device, start=None if start is None else start.vectors,
        )  # fmt: skip
        items, users = (part.cpu().numpy() for part in found)
        n_likes = np.bincount(likes.items, minlength=likes.shape[1])
        weights = (n_likes / (n_likes + config.prior.half_weight)).astype(np.float32)
        channels = propagate(
            self.data, self.schema, self.links, n_likes > 0, items, weights, config.prior, config.seed, self.cache_dir
        )  # fmt: skip
        network = None
        if config.prior.encoder != "paths":
            network = train_network(
                config.prior.encoder, self.data, self.schema, self.links, items, weights, _user_gram(users),
                config.prior.network, seed=config.seed, device=self.device,
            )  # fmt: skip
        problem = build_ridge_problem(channels if network is None else network.channels, items, weights)
        return _Backbone(items, users, n_likes, weights, channels, network, problem)

    def choose_backbone(self, likes: Likes, samples: dict[str, Sample]) -> Choices:
        alphas, regularisations = self.config.backbone.alphas, self.config.backbone.regularisations
        middle = PriorSettings(self.config.prior.regularisations[len(self.config.prior.regularisations) // 2], {})
        chosen = Choices(alphas[len(alphas) // 2], regularisations[len(regularisations) // 2], middle)
        sample, quality = samples.get("warm"), chosen.quality
        if sample is None or len(alphas) == len(regularisations) == 1:
            return chosen
        matrix = likes.to_matrix()

        dim, epochs = min(self.config.backbone.draft_dim, self.config.embedding_dim), self.config.backbone.epochs
        start_from: Tensor | None = None  # vectors of other settings are most of the way

        def measure(settings: Mapping[str, float]) -> tuple[float, None]:
            nonlocal start_from
            alpha, regularisation = settings["alpha"], settings["regularisation"]
            items, _ = fit_ials(
                matrix, dim=dim, alpha=alpha, regularisation=regularisation,
                epochs=epochs if start_from is None else max(epochs // 2, 1), seed=self.config.seed,
                device=self.device, start=start_from,
            )  # fmt: skip
            items = start_from = items.cpu()
            users = solve_supports(sample.support, items, ials_ridge(sample.support, alpha, regularisation), alpha)
            found = sample.quality(users @ items.T)
            quality[f"backbone alpha={alpha:g} regularisation={regularisation:g}"] = found
            return found, None

        grid = {"regularisation": regularisations, "alpha": alphas}
        start = {"regularisation": chosen.regularisation, "alpha": chosen.alpha}
        found, _ = climb(start, grid, measure, together=True)
        return replace(chosen, regularisation=found["regularisation"], alpha=found["alpha"])

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
                if found > best * _CLEARLY:
                    best, chosen = found, tried
        if self.config.prior.hidden:
            deeper = replace(chosen, steps=self.config.prior.steps)
            layer = self._fit_layer(backbone, deeper)
            assert layer is not None
            placed = backbone.problem.predict(deeper) + _apply(layer, backbone.problem, deeper)
            found = quality["prior with a hidden layer"] = sample.quality(users @ torch.from_numpy(placed).T)
            chosen = deeper if found > best * _CLEARLY else chosen
        return replace(choices, prior=chosen, quality=quality)

    def _fit_layer(self, backbone: _Backbone, settings: PriorSettings) -> HiddenLayer | None:
        if not settings.steps:
            return None
        residuals = backbone.items - backbone.problem.predict(settings)
        return fit_hidden_layer(
            _gated(backbone.problem, settings), residuals, backbone.weights, _user_gram(backbone.users),
            hidden=self.config.prior.hidden, steps=settings.steps, seed=self.config.seed,
        )  # fmt: skip

    def choose_centres(
        self,
        likes: Likes,
        backbone: _Backbone,
        samples: dict[str, Sample],
        few_items: Sequence[FewItems],
        choices: Choices,
    ) -> Choices:
        placed, quality = self._place(backbone, choices), dict(choices.quality)
        if "warm" in samples:
            sample, worth = samples["warm"], {}
            for centred in (False, True):
                items = self._items(likes, backbone, replace(choices, centred=centred), placed)
                ridge = ials_ridge(sample.support, choices.alpha, choices.regularisation)
                users = solve_supports(sample.support, items, ridge, choices.alpha)
                worth[centred] = sample.quality(users @ items.T)
                quality[f"backbone, items {'' if centred else 'not '}drawn to their prior"] = worth[centred]
            choices = replace(choices, centred=worth[True] > worth[False])
        for few in few_items:
            items = self._items(likes, backbone, choices, placed)
            sample = sample_slice(few.slice, np.random.default_rng(self.config.seed), self.config.list_length)
            ridge = ials_ridge(sample.support, choices.alpha, choices.regularisation)
            users = solve_supports(sample.support, items, ridge, choices.alpha)
            rows, best = np.flatnonzero(np.diff(few.shown.indptr)), -1.0
            for factor in _ITEM_RIDGES:
                head = self._item_head(likes, replace(choices, item_ridge=factor), placed)
                tried = items.clone()
                tried[torch.from_numpy(rows)] = head.solve(few.shown[rows], torch.from_numpy(backbone.users), rows)
                found = quality[f"items of {few.n_shown} likes, prior x {factor:g}"] = sample.quality(users @ tried.T)
                if found > best:
                    best, choices = found, replace(choices, item_ridge=factor)
        return replace(choices, quality=quality)

    def _place(self, backbone: _Backbone, choices: Choices) -> NDArray[np.float32]:
        """The prior's vector of every item."""
        placed = backbone.problem.predict(choices.prior)
        layer = self._fit_layer(backbone, choices.prior)
        return placed if layer is None else placed + _apply(layer, backbone.problem, choices.prior)

    def _item_head(self, likes: Likes, choices: Choices, placed: NDArray[np.float32]) -> ItemHead:
        ridge = choices.item_ridge * choices.regularisation * choices.alpha * likes.shape[0]
        return ItemHead(ridge, torch.from_numpy(placed))

    def _items(self, likes: Likes, backbone: _Backbone, choices: Choices, placed: NDArray[np.float32]) -> Tensor:
        """(n_items, dim): the backbone's vectors, and of items that nobody has met the prior's."""
        items = torch.from_numpy(backbone.items)
        if choices.centred:
            rows = np.flatnonzero(backbone.n_likes)
            liked_by = csr_array(likes.to_matrix().T.tocsr()[rows])
            ridge = ials_ridge(liked_by, choices.alpha, choices.regularisation)
            users, start, centres = (torch.from_numpy(v) for v in (backbone.users, backbone.items[rows], placed[rows]))
            items = items.clone()
            items[torch.from_numpy(rows)] = draw_towards(liked_by, users, start, ridge, choices.alpha, centres)
        return torch.where(torch.from_numpy(likes.cold_items)[:, None], torch.from_numpy(placed), items)

    def _link_weights(self) -> csr_array | None:
        return unit_idf_weights(self.links.incidence, self.links.idf) if self.links.idf.any() else None

    def _texts(self) -> Tensor:
        """(n_items, text_dim) unit vectors, zeros for an item without a text."""
        texts = self.data[self.schema.item_type]
        if "x" not in texts:
            return torch.zeros((texts.num_nodes, 0))
        return torch.where(texts.has_text[:, None], texts.x, 0.0)

    def fit_item_item(self, likes: Likes, settings: ItemItemSettings | None) -> ItemItem | None:
        if settings is None:
            return None
        matrix, links, texts = likes.to_matrix(), self._link_weights(), self._texts().numpy()
        text = texts if texts.shape[1] else None
        if likes.shape[1] > self.config.item_item.max_items:
            rank, seed = self.config.item_item.rank, self.config.seed
            return fit_low_rank(matrix, links, text, settings, rank=rank, seed=seed)
        # Items without likes are not ranked by it, and time grows with the cube of the others.
        liked = np.flatnonzero(np.diff(matrix.tocsc().indptr))
        among = fit_item_item(
            matrix[:, liked], None if links is None else links[liked], None if text is None else text[liked], settings
        )
        whole = torch.zeros(likes.shape[1], likes.shape[1])
        whole[np.ix_(liked, liked)] = among.left
        return ItemItem(whole)

    def choose_item_item(
        self, likes: Likes, backbone: _Backbone, samples: dict[str, Sample], choices: Choices
    ) -> tuple[Choices, ItemItem | None]:
        config = self.config.item_item
        if not config.max_items:
            return choices, None
        asked = [samples[name] for name in ("warm",) if name in samples]
        grid = {
            "link_weight": config.link_weights if self.links.idf.any() else (0.0,),
            "text_weight": config.text_weights if self._texts().shape[1] else (0.0,),
            "regularisation": config.regularisations,
        }
        middle = {name: values[(len(values) - 1) // 2] for name, values in grid.items()}
        settings = ItemItemSettings(**middle, dropout=config.dropout, user_exponent=config.user_exponent)
        quality = dict(choices.quality)
        settings, fitted = self._choose_settings("item-item", likes, backbone, asked, settings, grid, choices, quality)
        return replace(choices, item_item=settings, quality=quality), fitted

    def choose_item_item_few(
        self, likes: Likes, backbone: _Backbone, samples: dict[str, Sample], choices: Choices
    ) -> tuple[Choices, ItemItem | None]:
        config, quality = self.config.item_item, dict(choices.quality)
        if choices.item_item is None:
            return choices, None
        settings = replace(choices.item_item, regularisation=config.few_regularisation, dropout=config.few_dropouts[0])
        asked = [samples[name] for name in ("cold_users_k3", "cold_users_k5", "cold_users_k10") if name in samples]
        grid = {"dropout": config.few_dropouts}
        settings, fitted = self._choose_settings(
            "item-item for few likes", likes, backbone, asked, settings, grid, choices, quality
        )
        return replace(choices, item_item_few=settings, quality=quality), fitted

    def _choose_settings(
        self,
        title: str,
        likes: Likes,
        backbone: _Backbone,
        asked: Sequence[Sample],
        settings: ItemItemSettings,
        grid: Mapping[str, Sequence[float]],
        choices: Choices,
        quality: dict[str, float],
    ) -> tuple[ItemItemSettings, ItemItem | None]:
        """Chooses what is best beside the backbone: what one of the two knows the other need not."""
        items = torch.from_numpy(backbone.items)
        beside = []
        for sample in asked:
            ridge = ials_ridge(sample.support, choices.alpha, choices.regularisation)
            scores = solve_supports(sample.support, items, ridge, choices.alpha) @ items.T
            beside.append(scores / max(_deviation(scores), 1e-9))

        def measure(tried: Mapping[str, float]) -> tuple[float, ItemItem | None]:
            model = self.fit_item_item(likes, replace(settings, **tried))
            assert model is not None
            worth = []
            for sample, other in zip(asked, beside, strict=True):
                scores = model.score(sample.support)
                scores /= max(_deviation(scores), 1e-9)
                worth.append(max(sample.quality(scores + share * other) for share in _SHARES_OF_BACKBONE))
            changed = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in tried.items())
            quality[f"{title}: {changed}"] = found = sum(worth) / max(len(worth), 1)
            return found, model

        start = {name: getattr(settings, name) for name in grid}
        found, fitted = climb(start, grid if asked else {}, measure)
        return replace(settings, **found), fitted

    def fit_content(
        self, likes: Likes, backbone: _Backbone, item_item: ItemItem | None, link_weight: float | None
    ) -> Content | None:
        if link_weight is None:
            return None
        config = self.config.content
        return fit_content(
            likes.to_matrix(), self._texts().numpy(), self.links, backbone.channels, likes.cold_items, item_item,
            link_weight=link_weight, regularisation=config.regularisation, max_items=config.max_items,
            n_landmarks=config.landmarks, seed=self.config.seed,
        )  # fmt: skip

    def choose_content(
        self,
        likes: Likes,
        backbone: _Backbone,
        item_item: ItemItem | None,
        samples: dict[str, Sample],
        choices: Choices,
    ) -> tuple[Choices, Content | None]:
        sample, quality = samples.get("cold_items"), dict(choices.quality)
        weights = self.config.content.link_weights if self.links.idf.any() else self.config.content.link_weights[:1]
        best, chosen, weight = 0.0, None, None
        for tried in weights if sample is not None else ():
            fitted = self.fit_content(likes, backbone, item_item, tried)
            if fitted is None:
                continue
            assert sample is not None
            scores = torch.zeros(sample.relevant.shape)
            scores[:, torch.from_numpy(likes.cold_items)] = fitted.score(sample.support)
            found = quality[f"content: link weight {tried:g}"] = sample.quality(scores)
            if chosen is None or found > best * _CLEARLY:
                best, chosen, weight = found, fitted, tried
        return replace(choices, content_link_weight=weight, quality=quality), chosen

    def assemble(
        self,
        likes: Likes,
        backbone: _Backbone,
        choices: Choices,
        fitted: _Fitted,
        on_epoch: Callable[[int, float], None] | None = None,
        start: Head | None = None,
    ) -> Model:
        matrix, config, alpha = likes.to_matrix(), self.config, choices.alpha
        if backbone.network is None:
            layer = self._fit_layer(backbone, choices.prior)
            prior: ItemEncoder = build_prior(backbone.channels, self.links, backbone.problem, choices.prior, layer)
        else:
            prior = backbone.network.to_encoder(self.links, backbone.problem, choices.prior)
        placed = self._place(backbone, choices)
        cold, items = torch.from_numpy(likes.cold_items), self._items(likes, backbone, choices, placed)
        popularity = torch.log1p(torch.from_numpy(backbone.n_likes.astype(np.float32)))
        head = fit_head(
            matrix,
            items,
            torch.from_numpy(backbone.users),
            popularity,
            config.head if start is None else config.head.model_copy(update={"epochs": config.head.more_epochs}),
            seed=config.seed,
            device=self.device,
            start=start,
            on_epoch=on_epoch,
        )
        head = replace(head, vectors=items @ head.to_head)
        kept = torch.where(cold[:, None], 0.0, items)
        dim = config.embedding_dim
        plain = Head(
            items, kept.T @ kept, torch.zeros(dim), alpha,
            choices.regularisation * alpha * likes.shape[1], choices.regularisation, 0.0, 0.0, torch.eye(dim),
        )  # fmt: skip
        none = np.zeros((1, len(COMPONENTS)), np.float32)
        unset = Gate(np.zeros(1, np.int64), none, none, np.zeros(1, np.float32), none[0], none[0], 0.0)
        return Model(
            head, plain, fitted.item_item, fitted.item_item_few, fitted.content, popularity, cold, self._texts(), prior,
            self._item_head(likes, choices, placed), unset,
        )  # fmt: skip


def _user_gram(users: NDArray[np.float32]) -> NDArray[np.float32]:
    """(dim, dim) float32, W'W / n_users."""
    return (users.T @ users / max(len(users), 1)).astype(np.float32)


def _gated(problem: RidgeProblem, settings: PriorSettings) -> NDArray[np.float32]:
    gates = np.array([settings.gates.get(kind, 1.0) for kind in problem.kinds], dtype=np.float32)
    return problem.features * gates


def _apply(layer: HiddenLayer, problem: RidgeProblem, settings: PriorSettings) -> NDArray[np.float32]:
    with torch.inference_mode():
        answer: NDArray[np.float32] = layer(torch.from_numpy(_gated(problem, settings))).numpy()
    return answer


def _choose_gate(model: Model, samples: dict[str, Sample], sizes: Sequence[int], quality: dict[str, float]) -> Gate:
    """Chooses the weights for each number of likes on the users who have about so many, new ones or known ones.

    From many likes to few: the search for each begins with what was chosen for the next more.
    """
    sizes = sorted(sizes) or [0]
    least = [_between(sizes[place - 1], size) if place else 0 for place, size in enumerate(sizes)]
    least.append(max(_MANY_LIKES, least[-1] + 1))
    buckets: list[_Bucket] = []
    n_unasked = 0  # sizes from the largest down that nobody has
    for start, end, size in reversed(list(zip(least, [*least[1:], None], [*sizes, None], strict=True))):
        warm, cold = (
            _join(samples.get(f"cold_users{which}_k{size}"), samples.get(known), start, end)
            for which, known in (("", "warm"), ("_cold_items", "cold_items"))
        )
        title = (
            f"{start} likes or more" if end is None else f"{start}{f' to {end - 1}' if end > start + 1 else ''} likes"
        )
        before = buckets[0] if buckets else _NO_BUCKET
        if warm is None:
            if buckets:
                buckets.insert(0, before)
            else:
                n_unasked += 1
            continue
        parts = _likes_parts(model, warm), None if cold is None else _likes_parts(model, cold)
        bucket = _choose_bucket(model, (warm, cold), parts, before, quality, title, curb=start > 0)
        asked = _join(None, samples.get("overall"), start, end)
        if start:
            bucket = _level_cold(model, bucket, asked, quality, title)
        else:  # Who says nothing is shown what is liked most: what nobody has met is not among it.
            bucket = replace(bucket, intercept=bucket.intercept - _OUT_OF_SIGHT * bucket.spread)
        buckets.insert(0, bucket)
    buckets += n_unasked * (buckets[-1:] or [_NO_BUCKET])
    sentence = buckets[min(1, len(buckets) - 1)]
    said, said_cold = (_keep_fitting(model, samples.get(f"cold_users{which}_k1")) for which in ("", "_cold_items"))
    if said is not None:
        parts = _sentence_parts(model, said), None if said_cold is None else _sentence_parts(model, said_cold)
        sentence = _choose_bucket(model, (said, said_cold), parts, _NO_BUCKET, quality, "sentence", curb=False)
    return Gate(
        np.array(least, np.int64),
        np.stack([bucket.warm for bucket in buckets]),
        np.stack([bucket.cold for bucket in buckets]),
        np.array([bucket.intercept for bucket in buckets], np.float32),
        sentence.warm,
        sentence.cold,
        sentence.intercept,
    )


_FEW_SHOT_ALONE = np.eye(len(COMPONENTS), dtype=np.float32)[COMPONENTS.index(FEW_SHOT)]  # it needs the least


@dataclass(frozen=True)
class _Bucket:
    """Weights for supports of some sizes."""

    warm: NDArray[np.float32]
    cold: NDArray[np.float32]
    intercept: float  # brings cold scores to where they are among the warm ones
    spread: float  # standard deviation of the warm scores over items
    warm_shares: NDArray[np.float64]  # the weights where each component has a standard deviation of 1
    cold_shares: NDArray[np.float64]


_NO_BUCKET = _Bucket(_FEW_SHOT_ALONE, _FEW_SHOT_ALONE, 0.0, 0.0, np.zeros(len(COMPONENTS)), np.zeros(len(COMPONENTS)))


def _join(new: Sample | None, known: Sample | None, least: int, end: int | None) -> Sample | None:
    """New users, and unless these are enough, known users with at least `least` likes and fewer than `end`."""
    if known is None or (new is not None and len(new.n_relevant) >= _ENOUGH_USERS):
        return new
    sizes = np.diff(known.support.indptr)
    rows = np.flatnonzero((sizes >= least) & (sizes < (np.inf if end is None else end)))
    if not len(rows):
        return new
    some = Sample(known.support[rows], known.relevant[rows], known.masked[rows], known.n_relevant[rows], known.k)
    if new is None:
        return some
    return Sample(
        csr_array(vstack([new.support, some.support], format="csr")),
        torch.cat([new.relevant, some.relevant]),
        torch.cat([new.masked, some.masked]),
        torch.cat([new.n_relevant, some.n_relevant]),
        known.k,
    )


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
    samples: tuple[Sample, Sample | None],
    parts: tuple[list[Tensor | None], list[Tensor | None] | None],
    before: _Bucket,
    quality: dict[str, float],
    title: str,
    *,
    curb: bool,
) -> _Bucket:
    """Weights for warm items; for cold ones what ranks them best among themselves, brought to the same scale."""
    placeable = [*WITH_PRIOR, CONTENT, TEXT]
    (of_warm, of_cold), (sample, cold_sample) = parts, samples
    warm, cold, cold_shares = before.warm, before.cold, before.cold_shares
    short, few = shorten(sample, of_warm)
    found, shares, worth = search_weights(
        few, short.quality, len(sample.n_relevant), before.warm_shares, impersonal=(COMPONENTS.index(POPULARITY),)
    )
    quality[f"{_GATE}{title}"] = worth
    warm = found if found.any() else warm
    if curb and len(sample.n_relevant) >= _ENOUGH_USERS:  # what fewer can bear is not known
        warm = _curb_popularity(sample, of_warm, warm)
    if of_cold is not None and cold_sample is not None:
        own = [part if name in placeable else None for name, part in zip(COMPONENTS, of_cold, strict=True)]
        short, few = shorten(cold_sample, own)
        found, cold_shares, worth = search_weights(few, short.quality, len(cold_sample.n_relevant), before.cold_shares)
        quality[f"{_GATE}{title}, cold items"] = worth
        cold = found if found.any() else cold
        vectors = few[COMPONENTS.index(BACKBONE)]
        if vectors is not None and not cold[[COMPONENTS.index(name) for name in WITH_PRIOR]].any():
            # Content never learns who likes a new item, vectors do: these always count for something.
            cold = cold.copy()
            cold[COMPONENTS.index(BACKBONE)] = _LEAST_OF_VECTORS * cold_shares.max() / max(_deviation(vectors), 1e-9)
    blended, raw = (_blend(of_warm, weights)[:, ~model.cold] for weights in (warm, cold))
    # Met items show the scale of what vectors say of cold ones; content says nothing of them, and has its part.
    slope, _ = fit_line(raw, blended)
    slope = max(slope * _share_of_vectors(cold, of_cold), _TINY)
    unit = _deviation(blended)
    intercept = float(blended.mean() - slope * raw.mean()) + _LIFT * unit
    return _Bucket(warm, (cold * slope).astype(np.float32), intercept, unit, shares, cold_shares)


def _share_of_vectors(cold: NDArray[np.float32], parts: list[Tensor | None] | None) -> float:
    """What part of the deviation of the cold items' scores is that of the components with a prior."""
    if parts is None:
        return 1.0
    own = {
        name: weight * _deviation(part)
        for name, weight, part in zip(COMPONENTS, cold, parts, strict=True)
        if part is not None
    }
    vectors, whole = (float(np.hypot.reduce([own.get(name, 0.0) for name in names])) for names in (WITH_PRIOR, own))
    return vectors / whole if vectors else 1.0


def _curb_popularity(sample: Sample, parts: list[Tensor | None], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights with as much against popularity as costs next to nothing: what fewer people know comes into sight."""
    blended, popularity = _blend(parts, weights), parts[COMPONENTS.index(POPULARITY)]
    assert popularity is not None
    unit = _deviation(blended) / max(_deviation(popularity), 1e-9)
    worth, chosen = sample.quality(blended), weights
    for step in _AGAINST_POPULARITY:
        tried = weights.copy()
        tried[COMPONENTS.index(POPULARITY)] -= step * unit
        if sample.quality(_blend(parts, tried)) >= (1 - _ROOM_FOR_UNPOPULAR) * worth:
            chosen = tried
    return chosen


def _deviation(scores: Tensor) -> float:
    """The standard deviation over items, the mean over users."""
    return float(scores.std(dim=1, correction=0).mean())


def _blend(parts: list[Tensor | None], weights: NDArray[np.float32]) -> Tensor:
    found = [part * float(weight) for part, weight in zip(parts, weights, strict=True) if part is not None and weight]
    first = next(part for part in parts if part is not None)
    return torch.stack(found).sum(dim=0) if found else torch.zeros_like(first)


def _level_cold(model: Model, bucket: _Bucket, sample: Sample | None, quality: dict[str, float], title: str) -> _Bucket:
    """Gives cold items the spread and the level in a common ranking that are best over all items.

    From there they go up as far as costs next to nothing: an item that is never shown stays cold.
    """
    if sample is None or len(sample.n_relevant) < _ENOUGH_USERS:  # what fewer can bear is not known
        return bucket
    parts = _likes_parts(model, sample)
    warm = _blend(parts, bucket.warm)

    def measure(spread: float, shift: float) -> float:
        placed = _place_cold(model, bucket, parts, spread, shift)
        return sample.quality(torch.where(model.cold, _blend(parts, placed.cold) + placed.intercept, warm))

    found = {(spread, shift): measure(spread, shift) for spread in _SPREADS for shift in _SHIFTS}
    best = max(found.values())
    spread, _ = max(found, key=lambda tried: found[tried])
    shift = max(shift for (of, shift), worth in found.items() if of == spread and worth >= (1 - _ROOM_FOR_COLD) * best)
    quality[f"cold items spread by {spread:g} and moved by {shift:+g}, {title}"] = found[spread, shift]
    return _place_cold(model, bucket, parts, spread, shift)


def _place_cold(model: Model, bucket: _Bucket, parts: list[Tensor | None], spread: float, shift: float) -> _Bucket:
    """Scales and moves the cold items' scores.

    Args:
        model: says which items are cold.
        bucket: the weights.
        parts: each component's scores for some users.
        spread: of the cold items' scores, in standard deviations of the warm ones.
        shift: of their mean from the warm ones' mean, likewise.
    """
    warm, cold = _blend(parts, bucket.warm)[:, ~model.cold], _blend(parts, bucket.cold)[:, model.cold]
    unit, own = _deviation(warm), _deviation(cold)
    if own <= _ROUNDING * float(cold.abs().mean()):  # cold items are all alike
        return bucket
    factor = spread * unit / own
    intercept = float(warm.mean()) + shift * unit - factor * float(cold.mean())
    return replace(bucket, cold=(bucket.cold * factor).astype(np.float32), intercept=intercept)
