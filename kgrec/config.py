"""The training configuration: frozen, each default stated once; a TOML file may set any of it."""

import tomllib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from graph_schema.catalogue_schema import describe_problem
from kgrec.errors import RequestError


def read_toml(path: Path) -> dict[str, Any]:
    """Reads a TOML file.

    Raises:
        RequestError: the file is missing, or is not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RequestError(f"cannot read the config {path}: {error}; expected a TOML file in UTF-8") from error


class Settings(BaseModel):
    """Settings: frozen, and a name that no field has is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def from_toml(cls, path: Path) -> Self:
        """Reads a configuration from a TOML file; settings that it does not name keep their defaults.

        Raises:
            RequestError: the file is missing, is not TOML, or names an unknown or wrong setting.
        """
        return cls.read(read_toml(path), f"the config {path}")

    @classmethod
    def read(cls, values: Mapping[str, Any], what: str) -> Self:
        """Reads settings; those that are not named keep their defaults.

        Args:
            values: name -> value.
            what: where they come from, for messages.

        Raises:
            RequestError: a setting is unknown or wrong.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise RequestError(f"{what} has a wrong setting: {describe_problem(error.errors()[0], cls)}") from error


class SplitConfig(Settings):
    """How likes are held out, to validate or to test.

    Attributes:
        cold_users: share of users held out whole.
        cold_items: share of items held out whole.
        warm: share of the other likes held out: the latest where likes have times, else random ones.
        support_sizes: numbers of likes that cold users show, ascending; each is a slice.
        least_likes: cold users with fewer likes of warm items are left out, unless all have fewer.
    """

    cold_users: float = Field(0.1, ge=0, lt=1)
    cold_items: float = Field(0.1, ge=0, lt=1)
    warm: float = Field(0.2, ge=0, lt=1)
    support_sizes: tuple[NonNegativeInt, ...] = (0, 1, 3, 5, 10)
    least_likes: PositiveInt = 15

    @field_validator("support_sizes")
    @classmethod
    def _check_ascending(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if any(size >= following for size, following in pairwise(sizes)):
            raise ValueError(f"expected ascending numbers of likes, each once, got {', '.join(map(str, sizes))}")
        return sizes


class BackboneConfig(Settings):
    """Implicit ALS (Hu et al. 2008, as revisited by Rendle et al. 2022).

    Attributes:
        alpha: weight of the unobserved pairs.
        regularisation: multiplied by (n + alpha N) for a row with n likes among N items or users.
        alphas: other values of alpha to try on validation; empty: alpha stays.
        regularisations: other values of the regularisation to try on validation; empty: it stays.
        epochs: alternations between users and items.
        draft_dim: width of the vectors while alpha and regularisation are chosen.
        more_epochs: alternations of a refit, on all likes or with another setting.
    """

    alpha: PositiveFloat = 0.1
    regularisation: PositiveFloat = 0.01
    alphas: tuple[PositiveFloat, ...] = (0.03, 0.3)
    regularisations: tuple[PositiveFloat, ...] = (0.003, 0.03)
    epochs: PositiveInt = 8
    draft_dim: PositiveInt = 32
    more_epochs: PositiveInt = 3


class ItemItemConfig(Settings):
    """Item-item ridge with the graph in its Gram matrix (Steck 2019, 2020), once for many likes and once for few.

    Weights and regularisations are in mean diagonals of the likes' Gram matrix, so that they mean the same in any
    catalogue.

    Attributes:
        exact_items: the largest number of liked items to solve exactly, in n_items^3. With more, each item is solved on
            its nearest items.
        nearest: the number of nearest items, half as many for few likes; at most an eighth of the number of users, but
            at least a quarter of this setting. All their weights are kept.
        kept: the number of largest weights kept per item, of the exact solution and of the item kNN.
        rank: the rank of the remaining weights; half as large where items are solved on their nearest items.
        user_exponent: for many likes: a user with n likes weighs n^-user_exponent.
        regularisation: the ridge for many likes.
        dropout: for many likes: the share of a user's likes that are expected to be missing.
        few_regularisation: the ridge for few likes.
        few_dropout: as dropout, for few likes.
        few_user_exponent: as user_exponent, for few likes.
        few_text_weight: as text_weight, for few likes.
        link_weight: the weight of shared links in the Gram matrix; 0 ignores links.
        text_weight: the weight of similar texts in the Gram matrix, for many likes; 0 ignores texts.
        popularity_exponent: for many likes: an item's weights are divided by its number of likes to this power.
        shrinkage: the shrinkage of the item kNN, in mean diagonals.
    """

    exact_items: int = Field(5_000, ge=0)
    nearest: PositiveInt = 200
    kept: PositiveInt = 50
    rank: int = Field(128, ge=0)
    user_exponent: float = 0.4
    regularisation: PositiveFloat = 2.5
    dropout: float = Field(0.4, ge=0, lt=1)
    few_regularisation: PositiveFloat = 5.0
    few_dropout: float = Field(0.9, ge=0, lt=1)
    few_user_exponent: float = 0.0
    few_text_weight: float = Field(0.3, ge=0)
    link_weight: float = Field(0.3, ge=0)
    text_weight: float = Field(1.0, ge=0)
    popularity_exponent: float = 0.1
    shrinkage: float = Field(10.0, ge=0)


class TransitionConfig(Settings):
    """What follows what in the order of likes; read where likes have times.

    Attributes:
        reach: the most places between two likes of a pair.
        decay: a pair d places apart weighs decay^(d - 1).
        backward: the weight of a pair in the order against time.
        half_life_days: a pair whose likes are this far apart in time weighs half.
        popularity_exponent: rows and columns are divided by the items' number of likes to this power.
        recency: the like at place p from the last weighs recency^(p - 1).
        recent: the number of last likes that count.
        kept: the most weights per item.
    """

    reach: PositiveInt = 10
    decay: float = Field(0.7, gt=0, le=1)
    backward: float = Field(0.3, ge=0, le=1)
    half_life_days: PositiveFloat = 180.0
    popularity_exponent: float = Field(0.35, ge=0)
    recency: float = Field(0.65, gt=0, le=1)
    recent: PositiveInt = 30
    kept: PositiveInt = 100


class SequenceConfig(Settings):
    """The sequence encoder, a small causal transformer over item vectors (Kang and McAuley 2018).

    Attributes:
        layers: the number of layers; 0 leaves the encoder out.
        dim: the width of the states and of the item vectors.
        heads: the number of attention heads; `dim` must be a multiple of twice as many.
        longest: the number of last likes of a user that are read.
        dropout: share of the states' entries left out in a step.
        learning_rate: the learning rate of AdamW after a warm-up; it falls along a cosine.
        weight_decay: the weight decay of AdamW.
        epochs: the most passes over the sequences.
        most_read: the most likes to read in all passes; a catalogue with more of them gets fewer passes, at least two.
        patience: validations without a better score before training stops.
        budget_s: the most seconds of training; 0: no limit.
        batch_items: the number of likes per step.
        negatives: the number of items drawn per step, beside those of the batch.
    """

    layers: int = Field(2, ge=0)
    dim: PositiveInt = 64
    heads: PositiveInt = 2
    longest: PositiveInt = 100
    dropout: float = Field(0.4, ge=0, lt=1)
    learning_rate: PositiveFloat = 0.004
    weight_decay: float = Field(0.2, ge=0)
    epochs: PositiveInt = 20
    most_read: PositiveInt = 10_000_000
    patience: PositiveInt = 20
    budget_s: float = Field(0.0, ge=0)
    batch_items: PositiveInt = 1024
    negatives: PositiveInt = 512

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        if self.dim % (2 * self.heads):
            raise ValueError(f"expected `dim` to be a multiple of 2 * `heads`, got {self.dim} and {self.heads}")
        return self


class GeneratorConfig(Settings):
    """How a generator, which writes the next item of a sequence, is made and trained.

    Attributes:
        seed: of the ids, the first weights and the order of training.
        levels: the number of codes of a semantic id, without the collision token.
        codes: the most codes of a level; None: 256, fewer for fewer than 2,048 items.
        width: the width of states.
        layers: of the transformer that reads items.
        heads: of its attention.
        head_layers: of the head that writes tokens.
        most_items: the longest sequence; of longer ones a window is trained on, and the last items are read.
        dropout: the share of values set to 0 while training.
        forget_items: the share of a sequence's items that training does not show.
        forget_tokens: the share of items that training shows by their vectors alone, as if their codes were new.
        batch_positions: the most items of a batch, padding included.
        learning_rate: the learning rate of AdamW after a warm-up; it falls along a cosine.
        weight_decay: the weight decay of AdamW.
        epochs: the largest number of passes over the sequences; validation may stop earlier.
        seconds: the longest training, validation included; the learning rate falls as time runs out.
        validate_every: epochs between two validations.
        validation_users: the most users that validation asks.
        patience: validations without a better score before training stops.
        beams: the number of prefixes that decoding keeps.
    """

    seed: NonNegativeInt = 0
    levels: PositiveInt = 4
    codes: int | None = Field(None, ge=2)
    width: PositiveInt = 128
    layers: PositiveInt = 2
    heads: PositiveInt = 4
    head_layers: PositiveInt = 2
    most_items: PositiveInt = 50
    dropout: float = Field(0.2, ge=0, lt=1)
    forget_items: float = Field(0.1, ge=0, lt=1)
    forget_tokens: float = Field(0.1, ge=0, lt=1)
    batch_positions: PositiveInt = 512
    learning_rate: PositiveFloat = 1e-3
    weight_decay: float = Field(0.05, ge=0)
    epochs: PositiveInt = 12
    seconds: PositiveFloat = 1500.0
    validate_every: PositiveInt = 2
    validation_users: PositiveInt = 2000
    patience: PositiveInt = 5
    beams: PositiveInt = 20

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} with {self.heads} heads; expected a multiple of {2 * self.heads}")
        return self


class ContentConfig(Settings):
    """Kernel ridge from texts and links straight to the likes, for items without likes.

    Attributes:
        link_weight: the weight of the links' cosine in the kernel.
        regularisation: the ridge, in diagonals of the kernel.
        nearest: the number of liked items that an item is solved on.
        kept: the number of largest weights kept per item.
    """

    link_weight: float = Field(1.0, ge=0)
    regularisation: PositiveFloat = 1.0
    nearest: PositiveInt = 100
    kept: PositiveInt = 100


class GateConfig(Settings):
    """How many popular items a list may have.

    Attributes:
        most_popular: number of likes -> how many of the first 10 items may be among the 20 most liked, on average over
            users. Small catalogues scale it.
    """

    most_popular: dict[int, float] = {1: 3.0, 3: 4.0}


class NetworkConfig(Settings):
    """Message passing over texts and links, trained end to end towards the backbone's vectors, or through the likes.

    Attributes:
        layers: the number of layers; with two, messages reach the other items of a node.
        hidden: the width of the states.
        heads: the number of attention heads ("hgt"); must divide `hidden`.
        steps: the largest number of gradient steps, each over the whole graph; held-out items stop training early.
        learning_rate: the learning rate of AdamW.
        weight_decay: the weight decay of AdamW.
        dropout: share of the states' entries left out in a step.
        hide: share of the items hidden in a step, whose vectors are predicted.
        readout_regularisation: the ridge that reads the states during training.
        residual_learning_rate: the learning rate of the items' free residuals ("elsa").
    """

    layers: PositiveInt = 2
    hidden: PositiveInt = 128
    heads: PositiveInt = 2
    steps: PositiveInt = 60
    learning_rate: PositiveFloat = 0.001
    weight_decay: float = Field(0.01, ge=0)
    dropout: float = Field(0.3, ge=0, lt=1)
    hide: float = Field(0.3, gt=0, lt=1)
    readout_regularisation: PositiveFloat = 10.0
    residual_learning_rate: PositiveFloat = 0.03

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        if self.hidden % self.heads:
            raise ValueError(f"expected `hidden` to be a multiple of `heads`, got {self.hidden} and {self.heads}")
        return self


class PriorConfig(Settings):
    """From an item's texts and links to the backbone's vector space.

    Attributes:
        encoder: "paths" propagates once, in closed form; "sage", "hgt" and "lightgcn" are message passing trained end
            to end towards the backbone's vectors, "elsa" through the likes, in a linear autoencoder over users. A ridge
            from their item states is the last step of each.
        network: settings of the encoders that are trained end to end.
        path_dim: the width of the mean text of each relation path's ends, after reduction.
        links_dim: the width of the idf-weighted (relation, entity) incidence, after reduction.
        half_weight: an item with n likes weighs n / (n + half_weight) as a training row.
        regularisation: the ridge.
        regularisations: other values of the ridge to try on validation.
        gates: scales other than 1 to try for each kind of channel; 0 leaves the channel out.
        hidden: width of the network's hidden layer; 0 leaves the ridge alone, which did as well on MovieLens.
        steps: gradient steps of the hidden layer; validation decides whether it is kept.
    """

    encoder: Literal["paths", "sage", "hgt", "lightgcn", "elsa"] = "paths"
    network: NetworkConfig = NetworkConfig()
    path_dim: PositiveInt = 64
    links_dim: PositiveInt = 512
    half_weight: PositiveFloat = 20.0
    regularisation: PositiveFloat = 10.0
    regularisations: tuple[PositiveFloat, ...] = (3.0, 30.0)
    gates: tuple[float, ...] = (0.5, 2.0)
    hidden: int = Field(0, ge=0)
    steps: PositiveInt = 60

    @model_validator(mode="after")
    def _check_hidden(self) -> Self:
        if self.hidden and self.encoder != "paths":
            raise ValueError(f'expected `hidden` to be 0 unless `encoder` is "paths", got {self.hidden}')
        return self


class HeadConfig(Settings):
    """The few-shot head: episodes that look like a new user.

    Attributes:
        epochs: passes over the training users.
        more_epochs: passes of the refit on all likes.
        learning_rate: the learning rate of Adam.
        batch_size: users per step.
        support_sizes: numbers of likes that an episode's user shows, drawn uniformly.
    """

    epochs: PositiveInt = 3
    more_epochs: PositiveInt = 1
    learning_rate: PositiveFloat = 0.01
    batch_size: PositiveInt = 256
    support_sizes: tuple[int, ...] = (0, 1, 1, 2, 3, 3, 4, 5, 5, 7, 10, 10, 15, 20)


class ObjectiveWeights(Settings):
    """The weights of the objectives of adaptation; 0 leaves an objective out.

    Attributes:
        neighbours: a node's text is nearest to the texts of its neighbours in the graph; needs no likes.
        relations: from two texts, which relation links them; needs no likes.
        co_likes: texts of items that the same people like are near each other.
        autoencoder: likes are predicted from the other liked items in proportion to their texts' cosines, the linear
            autoencoder of beeFormer (Vančura et al. 2024).
        distillation: texts are as near to each other as the backbone's item vectors.
    """

    neighbours: float = Field(0.0, ge=0)
    relations: float = Field(0.0, ge=0)
    co_likes: float = Field(1.0, ge=0)
    autoencoder: float = Field(0.0, ge=0)
    distillation: float = Field(0.0, ge=0)

    @property
    def of_likes(self) -> bool:
        """Whether anything is learned from likes."""
        return bool(self.co_likes or self.autoencoder or self.distillation)

    @property
    def of_graph(self) -> bool:
        """Whether anything is learned from links."""
        return bool(self.neighbours or self.relations)


class AdaptConfig(Settings):
    """The settings of adapting a language model.

    Attributes:
        seed: the random seed.
        encoder: folder or hub name of the language model; None is the default one.
        device: "cpu", "cuda", or None for CUDA where available.
        method: what is tuned: "lora" (Hu et al. 2022), "adalora" (Zhang et al. 2023), "prefix" (Li and Liang 2021) or
            "ia3" (Liu et al. 2022).
        ensemble_weights: weights of the frozen model to choose from on validation. Frozen and adapted vectors are
            concatenated, so that the cosine of two texts is the weighted mean of both models' cosines; this is better
            on new items, at twice the work and width. 0 is the adapted model alone. Validation during training uses
            the first.
        layers: the number of last layers that are tuned; 0: all. Fewer take less time.
        rank: the rank of LoRA's updates; AdaLoRA starts with half as much more and ends there.
        prefix_tokens: the length of a tuned prefix.
        objectives: the weights of the objectives.
        temperature: of the softmax over the texts of a batch; raised where the frozen model predicts likes or links
            worse than chance.
        batch_size: the largest number of texts per step.
        batch_tokens: the largest number of tokens per step; about .6 MB each with the default encoder.
        text_tokens: the number of tokens read of a text during training.
        steps: the largest number of gradient steps; validation may stop earlier.
        learning_rate: the learning rate of Adam after a warm-up; it falls to a twentieth along a cosine.
        validate_every: steps between two validations.
        patience: validations without a better score before training stops.
        strengths: shares of the weight change to choose from on validation after the last step, since models between
            the frozen and the tuned one can be better than both (Wortsman et al. 2022). A prefix has no shares.
        control_steps: the steps of the control, the same training on shuffled likes; 0 leaves it out.
        validation: the share of items whose likes are held out, half to stop by, half to decide by.
        most_items: the number of items, warm and cold, that validation samples.
    """

    seed: int = Field(0, ge=0)
    encoder: str | None = None
    device: str | None = None
    method: Literal["lora", "adalora", "prefix", "ia3"] = "lora"
    ensemble_weights: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = Field((0.5, 0.4, 0.3, 0.2), min_length=1)
    layers: int = Field(3, ge=0)
    rank: PositiveInt = 32
    prefix_tokens: PositiveInt = 8
    objectives: ObjectiveWeights = ObjectiveWeights()
    temperature: PositiveFloat = 0.07
    batch_size: int = Field(384, ge=4)
    batch_tokens: PositiveInt = 6144
    text_tokens: PositiveInt = 64
    steps: PositiveInt = 1000
    learning_rate: PositiveFloat = 2e-3
    validate_every: PositiveInt = 100
    patience: PositiveInt = 3
    strengths: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (1.0, 0.75, 0.5)
    control_steps: int = Field(50, ge=0)
    validation: float = Field(0.1, gt=0, lt=0.5)
    most_items: PositiveInt = 10_000


class PrivateConfig(Settings):
    """A training under differential privacy at the level of a user; see `kgrec.private.noisy_sums`.

    The limits do not depend on the data; they did well on MovieLens, whose users have many likes.

    Attributes:
        epsilon: the privacy budget, above 0. By what one user adds, no outcome becomes likelier or unlikelier by more
            than a factor e^epsilon, up to delta. 1 is strict, 8 is loose.
        delta: the probability by which the budget may be exceeded; less than one over the number of users.
        most_likes: the most likes of a user that count. More of them say more of users with many likes, and take more
            noise.
        least_items: the least number of items whose pairs are counted; they are the most liked ones by noisy counts.
        most_items: the largest number of them. The other items are known by their texts and links alone.
        counts_share: the share of the budget (of its mu^2) for the items' counts; the pairs of items have the rest.
        keep_users: whether the bundle keeps the users' ids and their own likes, to answer them by their ids. Without
            them all of the bundle is private. With them only the item side is.
    """

    epsilon: float = Field(gt=0, allow_inf_nan=False)
    delta: float = Field(1e-6, gt=0, lt=1)
    most_likes: PositiveInt = 50
    least_items: PositiveInt = 200
    most_items: PositiveInt = 1000
    counts_share: float = Field(0.2, gt=0, lt=1)
    keep_users: bool = False


class TrainConfig(Settings):
    """The settings of a training.

    Attributes:
        seed: the random seed.
        encoder: folder or hub name of the language model that encodes texts; None is the default one.
        encoder_pooling: "mean", "last" or "cls": the tokens that make a text's vector; None: as its folder states.
        encoder_prefix: put before each text, as an instruction; None: as its folder states.
        encoder_backend: "torch", or "openvino" from the extra `kgrec[openvino]`.
        adapter: a folder that `kgrec adapt` wrote for the encoder.
        device: "cpu", "cuda", or None for CUDA where available.
        embedding_dim: width of the vectors of users and items.
        list_length: the length of the lists that validation scores.
        validation: how likes are held out to choose settings.
        backbone: implicit ALS.
        item_item: item-item ridge and item kNN.
        transition: what follows what.
        sequence: the sequence encoder.
        generator: read by `kgrec.train_generator`, not by `kgrec.train`.
        content: scores of items without likes.
        gate: the limit on popular items.
        prior: item vectors from texts and links.
        head: the few-shot head.
        private: trains under differential privacy; None: without.
    """

    seed: int = Field(0, ge=0)
    encoder: str | None = None
    encoder_pooling: Literal["mean", "last", "cls"] | None = None
    encoder_prefix: str | None = None
    encoder_backend: Literal["torch", "openvino"] = "torch"
    adapter: str | None = None
    device: str | None = None
    embedding_dim: PositiveInt = 64
    list_length: PositiveInt = 20
    validation: SplitConfig = SplitConfig(warm=0.1)  # fewer than to test: what is chosen is for all likes
    backbone: BackboneConfig = BackboneConfig()
    item_item: ItemItemConfig = ItemItemConfig()
    transition: TransitionConfig = TransitionConfig()
    sequence: SequenceConfig = SequenceConfig()
    generator: GeneratorConfig = GeneratorConfig()
    content: ContentConfig = ContentConfig()
    gate: GateConfig = GateConfig()
    prior: PriorConfig = PriorConfig()
    head: HeadConfig = HeadConfig()
    private: PrivateConfig | None = None
