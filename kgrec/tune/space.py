"""The tuned settings of the training, each with its range."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeGuard, get_args, get_origin

from optuna.trial import Trial
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from kgrec.config import TrainConfig
from kgrec.errors import KgrecError

Value = float | int | bool | str


@dataclass(frozen=True)
class Setting:
    """A tuned setting; its type is that of its field in `TrainConfig`.

    Attributes:
        name: its path in `TrainConfig`. A field with several values, from which training chooses on validation, gets a
            single one.
        low, high: the range, both included.
        log: whether the range is searched on a log scale.
        step: between whole numbers, from `low`.
        choices: the values, instead of a range.
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: int = 1
    choices: tuple[Value, ...] = ()

    def suggest(self, trial: Trial) -> Value:
        """Asks Optuna for a value."""
        if self.choices:
            chosen: Value = trial.suggest_categorical(self.name, self.choices)  # type: ignore[assignment]  # never None
            return chosen
        if _is_whole(find_field(self.name)):
            return trial.suggest_int(self.name, int(self.low), int(self.high), log=self.log, step=self.step)
        return trial.suggest_float(self.name, self.low, self.high, log=self.log)

    def near(self, config: TrainConfig) -> Value:
        """The value in the range nearest to that of a configuration, or to the middle of several values."""
        found = read_setting(config, self.name)
        values = list(found) if isinstance(found, tuple) else [found]
        if self.choices:
            return values[0] if values[0] in self.choices else self.choices[0]
        if self.log:
            middle = math.exp(sum(math.log(max(value, self.low)) for value in values) / len(values))
        else:
            middle = sum(values) / len(values)
        middle = min(max(middle, self.low), self.high)
        if not _is_whole(find_field(self.name)):
            return middle
        return int(self.low) + round((middle - self.low) / self.step) * self.step


# To tune one more setting, add a line; to leave a new one alone, add it to LEFT_OUT with the reason.
SPACE = (
    Setting("embedding_dim", 32, 160, step=16),
    Setting("backbone.alpha", 0.003, 1.0, log=True),
    Setting("backbone.regularisation", 0.0005, 0.08, log=True),
    Setting("backbone.epochs", 4, 16),
    Setting("item_item.user_exponent", 0.0, 0.8),
    Setting("item_item.regularisation", 0.3, 20, log=True),
    Setting("item_item.dropout", 0.1, 0.7),
    Setting("item_item.few_user_exponent", 0.0, 0.8),
    Setting("item_item.few_text_weight", 0.0, 1.0),
    Setting("item_item.few_regularisation", 0.5, 50, log=True),
    Setting("item_item.few_dropout", 0.7, 0.98),
    Setting("item_item.link_weight", 0.0, 1.0),
    Setting("item_item.text_weight", 0.0, 3.0),
    Setting("item_item.popularity_exponent", 0.0, 0.5),
    Setting("transition.decay", 0.4, 0.95),
    Setting("transition.backward", 0.0, 1.0),
    Setting("transition.half_life_days", 7, 1000, log=True),
    Setting("transition.popularity_exponent", 0.1, 0.6),
    Setting("transition.recency", 0.4, 0.95),
    Setting("content.link_weight", 0.0, 5.0),
    Setting("content.regularisation", 0.1, 10, log=True),
    Setting("prior.path_dim", 16, 128, step=16),
    Setting("prior.links_dim", 128, 1024, step=128),
    Setting("prior.half_weight", 3, 100, log=True),
    Setting("prior.regularisation", 1, 100, log=True),
    Setting("head.epochs", 2, 12),
    Setting("head.learning_rate", 0.002, 0.05, log=True),
    Setting("head.batch_size", 64, 512, log=True),
)
LEFT_OUT = {
    "seed": "chooses the splits, not the quality of the model",
    "encoder": "texts are encoded once, before the first trial",
    "encoder_pooling": "texts are encoded once, before the first trial",
    "encoder_prefix": "texts are encoded once, before the first trial",
    "encoder_backend": "changes only the time",
    "adapter": "texts are encoded once, before the first trial",
    "device": "changes only the time",
    "validation": "all trials must be measured on the same likes",
    "backbone.draft_dim": "width of draft vectors, which only choose settings, as tuning itself does",
    "backbone.more_epochs": "part of the final fit, which no trial makes",
    "backbone.alphas": "every training tries them next to the tuned value",
    "backbone.regularisations": "every training tries them next to the tuned value",
    "item_item.exact_items": "a bound on time",
    "item_item.nearest": "more is better, and slower",
    "item_item.kept": "more is better, and larger",
    "item_item.rank": "more is better, and larger",
    "item_item.shrinkage": "part of the item kNN, which matters little",
    "transition.reach": "pairs further apart weigh next to nothing",
    "transition.recent": "earlier likes weigh next to nothing",
    "transition.kept": "more is better, and larger",
    "sequence": "no trial trains it, as that would take most of the time",
    "content.kept": "more is better, and larger",
    "private": "a choice that reads likes is not private, and `tune` refuses it",
    "generator": "part of `kgrec train-generator`, which no trial runs",
    "gate.most_popular": "limits the popularity of a first list, not its quality",
    "prior.regularisations": "every training tries them next to the tuned value",
    "list_length": "the list length of the metrics",
    "content.nearest": "more is better, and slower",
    "head.more_epochs": "part of the final fit, which no trial makes",
    "prior.encoder": "docs/benchmarks.md compares them; message passing is slow",
    "prior.network": "part of message passing, which is off",
    "prior.gates": "searched for each channel inside every training",
    "prior.hidden": "slow, and no better on MovieLens",
    "prior.steps": "part of the hidden layer, which is off",
    "head.support_sizes": "sets which users count, not how well they are served",
}


def suggest_params(trial: Trial, space: Sequence[Setting]) -> dict[str, Value]:
    """A value for each setting of a space."""
    return {setting.name: setting.suggest(trial) for setting in space}


def nearest_params(config: TrainConfig, space: Sequence[Setting]) -> dict[str, Value]:
    """The point of a space that is nearest to a configuration."""
    return {setting.name: setting.near(config) for setting in space}


def apply_params(config: TrainConfig, params: Mapping[str, Value]) -> TrainConfig:
    """A configuration with other values; fractions are rounded to three digits for readability.

    Args:
        config: the other settings.
        params: setting -> value.
    """
    settings = config.model_dump()
    for name, value in params.items():
        field = find_field(name)
        *path, last = name.split(".")
        place = settings
        for part in path:
            place = place[part]
        rounded = float(f"{value:.3g}") if isinstance(value, float) else value
        place[last] = (rounded,) if get_origin(field.annotation) is tuple else rounded
    return TrainConfig.model_validate(settings)


def read_setting(config: TrainConfig, name: str) -> Any:
    """The value of a setting by its path."""
    find_field(name)
    found: Any = config
    for part in name.split("."):
        found = getattr(found, part)
    return found


def find_field(name: str) -> FieldInfo:
    """The field of `TrainConfig` that a setting's path leads to.

    Raises:
        KgrecError: there is none; it was renamed or removed, and the space is outdated.
    """
    model: object = TrainConfig
    field: FieldInfo | None = None
    for part in name.split("."):
        field = model.model_fields.get(part) if _is_model(model) else None
        if field is None:
            raise KgrecError(f"TrainConfig has no setting {name!r}; expected one of {', '.join(setting_names())}")
        model = field.annotation
    assert field is not None
    return field


def setting_names(model: type[BaseModel] = TrainConfig, prefix: str = "") -> list[str]:
    """The paths of all settings, those of nested tables included."""
    names: list[str] = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        names += setting_names(inner, f"{prefix}{name}.") if _is_model(inner) else [prefix + name]
    return names


def to_toml(config: TrainConfig) -> str:
    """The settings that differ from the defaults, as `TrainConfig.from_toml` reads them."""
    lines: list[str] = []

    def write(table: Mapping[str, Any], path: str) -> None:
        inner = {name: value for name, value in table.items() if isinstance(value, dict)}
        lines.extend(f"{name} = {_to_value(value)}" for name, value in table.items() if name not in inner)
        for name, value in inner.items():
            lines.extend(["", f"[{path}{name}]"])
            write(value, f"{path}{name}.")

    write(config.model_dump(exclude_defaults=True, exclude_none=True), "")
    return "".join(f"{line}\n" for line in lines).lstrip("\n")


def _to_value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_to_value, value))}]"
    # JSON and TOML share numbers, booleans and escapes, but TOML wants DEL escaped
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


def _is_whole(field: FieldInfo) -> bool:
    kind = field.annotation
    for wrapper in (tuple, Annotated):  # unwraps tuple[Annotated[float, ...], ...] to float
        kind = get_args(kind)[0] if get_origin(kind) is wrapper else kind
    return kind is int


def _is_model(found: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(found, type) and issubclass(found, BaseModel)
