"""The settings of a generator, `[generator]` in a training configuration."""

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator


class GeneratorConfig(BaseModel):
    """How a generator is made and trained.

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

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    epochs: PositiveInt = 60
    seconds: PositiveFloat = 1500.0
    validate_every: PositiveInt = 2
    validation_users: PositiveInt = 2000
    patience: PositiveInt = 5
    beams: PositiveInt = 20

    @model_validator(mode="after")
    def _check_heads(self) -> "GeneratorConfig":
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} with {self.heads} heads; expected a multiple of {2 * self.heads}")
        return self
