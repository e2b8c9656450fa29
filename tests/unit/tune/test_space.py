import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec.config import BackboneConfig, GateConfig, TrainConfig
from kgrec.errors import KgrecError
from kgrec.tune.space import (
    LEFT_OUT,
    SPACE,
    Setting,
    apply_params,
    find_field,
    nearest_params,
    read_setting,
    setting_names,
    to_toml,
)

DEFAULT = TrainConfig()


def ends(setting: Setting) -> tuple[object, ...]:
    whole = type(setting.near(DEFAULT)) is int
    return setting.choices or ((int(setting.low), int(setting.high)) if whole else (setting.low, setting.high))


@st.composite
def configs(draw: st.DrawFn) -> TrainConfig:
    """Random settings within their ranges, and an encoder with any name."""
    params = {one.name: draw(st.sampled_from(ends(one))) for one in SPACE if draw(st.booleans())}
    params |= {
        one.name: draw(st.floats(one.low, one.high))
        for one in SPACE
        if isinstance(one.near(DEFAULT), float) and draw(st.booleans())
    }
    encoder = draw(st.none() | st.text(st.characters(exclude_categories=["Cs"])))
    return apply_params(TrainConfig(encoder=encoder), params)  # type: ignore[arg-type]


def test_every_setting_is_tuned_or_left_out_with_a_reason() -> None:
    tuned = [setting.name for setting in SPACE]
    left_out = [name for name in setting_names() if any(f"{name}.".startswith(f"{one}.") for one in LEFT_OUT)]
    assert sorted(tuned + left_out) == sorted(setting_names()), "add a line to SPACE or LEFT_OUT in kgrec/tune/space.py"
    assert all(find_field(name) for name in LEFT_OUT)
    assert all(LEFT_OUT.values())


@pytest.mark.parametrize("name", ["gone", "head.gone", "embedding_dim.gone", "gone.epochs"])
def test_a_setting_that_the_config_lacks_is_an_error(name: str) -> None:
    with pytest.raises(KgrecError, match=rf"no setting '{name}'; expected one of .*head\.epochs"):
        apply_params(DEFAULT, {name: 1})


@pytest.mark.parametrize("setting", SPACE, ids=lambda setting: setting.name)
def test_both_ends_of_a_range_are_valid_and_the_default_lies_between(setting: Setting) -> None:
    for end in ends(setting):
        changed = apply_params(DEFAULT, {setting.name: end})  # type: ignore[dict-item]
        found = read_setting(changed, setting.name)
        assert (found[0] if isinstance(found, tuple) else found) == end
    if not setting.choices:
        values = read_setting(DEFAULT, setting.name)
        near = setting.near(DEFAULT)
        assert isinstance(near, int | float)
        assert setting.low <= near <= setting.high
        # the range is wide enough for the default
        for value in values if isinstance(values, tuple) else (values,):
            assert setting.low <= value <= setting.high


def test_params_replace_grids_by_one_value_of_three_digits() -> None:
    changed = apply_params(
        DEFAULT, {"backbone.alphas": 0.123456, "embedding_dim": 48, "item_item.user_exponent": 0.25049}
    )
    assert changed.backbone == DEFAULT.backbone.model_copy(update={"alphas": (0.123,)})
    assert (changed.embedding_dim, changed.item_item.user_exponent) == (48, 0.25)
    assert changed.head == DEFAULT.head


def test_the_nearest_point_is_the_middle_of_a_grid_within_the_range() -> None:
    config = TrainConfig(embedding_dim=70, backbone=BackboneConfig(alphas=(0.1, 0.4), epochs=100))
    space = (
        Setting("backbone.alphas", 0.01, 1, log=True),
        Setting("backbone.epochs", 4, 16),
        Setting("embedding_dim", 32, 160, step=16),
        Setting("head.epochs", choices=(2, 3)),
        Setting("head.batch_size", choices=(2, 4)),
    )
    assert nearest_params(config, space) == pytest.approx(
        {"backbone.alphas": 0.2, "backbone.epochs": 16, "embedding_dim": 64, "head.epochs": 3, "head.batch_size": 2}
    )


@settings(max_examples=30, deadline=None)
@given(configs())
def test_settings_written_as_toml_are_read_back(config: TrainConfig) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.toml"
        file.write_text(to_toml(config), encoding="utf-8", newline="")
        assert TrainConfig.from_toml(file) == config


def test_toml_has_only_what_differs_from_the_defaults() -> None:
    assert to_toml(DEFAULT) == ""
    changed = apply_params(TrainConfig(device="cpu"), {"head.learning_rate": 0.03, "backbone.alphas": 0.2})
    assert to_toml(changed) == 'device = "cpu"\n\n[backbone]\nalphas = [0.2]\n\n[head]\nlearning_rate = 0.03\n'
    assert to_toml(apply_params(DEFAULT, {"head.epochs": 5})) == "[head]\nepochs = 5\n"


def test_a_table_of_numbers_is_written_as_toml_too(tmp_path: Path) -> None:
    config = TrainConfig(gate=GateConfig(most_popular={1: 2.5, 10: 6.0}))
    file = tmp_path / "config.toml"
    file.write_text(to_toml(config), encoding="utf-8")
    assert TrainConfig.from_toml(file) == config
