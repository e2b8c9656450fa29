"""The training configuration: frozen, each default stated once; a TOML file may set any of it."""

import tomllib
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from kgrec.errors import RequestError


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SplitConfig(_Frozen):
    """How likes are held out, to validate or to test.

    Attributes:
        cold_users: share of users held out whole.
        cold_items: share of items held out whole.
        warm: share of the other likes held out: the latest where likes have times, else random ones.
        support_sizes: how many likes a cold user shows, a slice each.
        least_likes: cold users with fewer likes of warm items are not asked, unless nobody has so many.
    """

    cold_users: float = Field(0.1, ge=0, lt=1)
    cold_items: float = Field(0.1, ge=0, lt=1)
    warm: float = Field(0.2, ge=0, lt=1)
    support_sizes: tuple[int, ...] = (0, 1, 3, 5, 10)
    least_likes: PositiveInt = 15


class BackboneConfig(_Frozen):
    """Implicit ALS (Hu et al. 2008, as revisited by Rendle et al. 2022).

    Attributes:
        alphas: weights of the unobserved pairs to choose from on validation.
        regularisations: factors of (n + alpha N) to choose from on validation.
        epochs: alternations between users and items.
    """

    alphas: tuple[PositiveFloat, ...] = (0.1, 0.3)
    regularisations: tuple[PositiveFloat, ...] = (0.003, 0.01)
    epochs: PositiveInt = 8


class ItemItemConfig(_Frozen):
    """Item-item ridge with the graph in its Gram matrix (Steck 2019, 2020), once for many likes and once for few.

    Attributes:
        max_items: above this many items it is left out: its matrices have n_items^2 entries.
        user_exponent: a user with n likes weighs n^-user_exponent.
        regularisations: for many likes, chosen on validation.
        dropout: for many likes: the share of likes that a user is expected not to have shown yet.
        few_regularisation: for few likes.
        few_dropouts: for few likes, chosen on validation.
        graph_weights: weight of the graph's overlap matrix in the Gram matrix, chosen on validation; 0 is no graph.
    """

    max_items: int = Field(10_000, ge=0)
    user_exponent: float = 0.4
    regularisations: tuple[PositiveFloat, ...] = (30.0, 100.0)
    dropout: float = Field(0.33, ge=0, lt=1)
    few_regularisation: PositiveFloat = 100.0
    few_dropouts: tuple[float, ...] = (0.9, 0.95)
    graph_weights: tuple[float, ...] = (0.0, 0.3)


class PriorConfig(_Frozen):
    """From an item's texts and links to the backbone's vector space.

    Attributes:
        path_dim: width kept of the mean text of each relation path's ends.
        links_dim: width kept of the idf-weighted (relation, entity) incidence.
        half_weight: an item with n likes weighs n / (n + half_weight) as a training row.
        regularisations: of the ridge, chosen on validation.
        gates: scales tried per channel on validation; 0 leaves a channel out.
        hidden: width of the network's hidden layer; 0 leaves the ridge alone, which did as well on MovieLens.
        steps: gradient steps of the hidden layer; validation says whether to keep it.
    """

    path_dim: PositiveInt = 64
    links_dim: PositiveInt = 512
    half_weight: PositiveFloat = 20.0
    regularisations: tuple[PositiveFloat, ...] = (3.0, 10.0, 30.0)
    gates: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0)
    hidden: int = Field(0, ge=0)
    steps: PositiveInt = 60


class HeadConfig(_Frozen):
    """The few-shot head: episodes that look like a new user.

    Attributes:
        epochs: passes over the training users.
        learning_rate: of Adam.
        batch_size: users in a step.
        support_sizes: how many likes an episode's user shows, drawn with equal chances.
    """

    epochs: PositiveInt = 6
    learning_rate: PositiveFloat = 0.01
    batch_size: PositiveInt = 256
    support_sizes: tuple[int, ...] = (0, 1, 1, 2, 3, 3, 4, 5, 5, 7, 10, 10, 15, 20)


class TrainConfig(_Frozen):
    """Everything that training may be told.

    Attributes:
        seed: of everything drawn at random.
        encoder: folder or hub name of the sentence encoder; None is the default one.
        device: "cpu", "cuda", or None for CUDA where it is there.
        embedding_dim: width of the vectors of users and items.
    """

    seed: int = Field(0, ge=0)
    encoder: str | None = None
    device: str | None = None
    embedding_dim: PositiveInt = 64
    validation: SplitConfig = SplitConfig()
    backbone: BackboneConfig = BackboneConfig()
    item_item: ItemItemConfig = ItemItemConfig()
    prior: PriorConfig = PriorConfig()
    head: HeadConfig = HeadConfig()

    @classmethod
    def from_toml(cls, path: Path) -> Self:
        """Reads a configuration from a TOML file; what it does not name keeps its default.

        Raises:
            RequestError: the file is missing, is not TOML, or names an unknown or wrong setting.
        """
        try:
            return cls.model_validate(tomllib.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise RequestError(f"cannot read the config {path}: {error}; expected a TOML file in UTF-8") from error
        except ValidationError as error:
            found = error.errors()[0]
            raise RequestError(
                f"the config {path} has a wrong setting {'.'.join(map(str, found['loc']))}: {found['msg']}; "
                f"expected settings of {', '.join(cls.model_fields)}"
            ) from error
