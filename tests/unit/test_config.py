from pathlib import Path

import pytest
from pydantic import ValidationError

from kgrec.config import SplitConfig, TrainConfig
from kgrec.errors import RequestError


@pytest.mark.parametrize(
    ("setting", "where", "message"),
    [
        ({"support_sizes": (-1, 3)}, ("support_sizes", 0), "greater than or equal to 0"),
        ({"support_sizes": (3, 1)}, ("support_sizes",), "expected ascending numbers of likes, each once, got 3, 1"),
        ({"support_sizes": (0, 1, 1)}, ("support_sizes",), "ascending numbers of likes, each once, got 0, 1, 1"),
        ({"support_sizes": (0, 1.5)}, ("support_sizes", 1), "valid integer"),
        ({"cold_users": 1.5}, ("cold_users",), "less than 1"),
        ({"cold_items": 1}, ("cold_items",), "less than 1"),
        ({"warm": float("nan")}, ("warm",), "less than 1"),
        ({"warm": -0.1}, ("warm",), "greater than or equal to 0"),
        ({"least_likes": 0}, ("least_likes",), "greater than 0"),
    ],
)
def test_a_wrong_setting_of_a_split_is_one_clear_error(setting: dict, where: tuple, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SplitConfig(**setting)
    (error,) = caught.value.errors()
    assert error["loc"] == where
    assert message in error["msg"]


@pytest.mark.parametrize("sizes", [(), (0,), (0, 30, 60)])
def test_ascending_support_sizes_are_taken(sizes: tuple[int, ...]) -> None:
    assert SplitConfig(support_sizes=sizes).support_sizes == sizes


def test_a_config_file_with_a_wrong_split_is_named_with_the_setting(tmp_path: Path) -> None:
    file = tmp_path / "train.toml"
    file.write_text("[validation]\nsupport_sizes = [5, 3]\n")
    with pytest.raises(RequestError, match=r"train\.toml has a wrong setting: validation\.support_sizes: .*got 5, 3"):
        TrainConfig.from_toml(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("embeding_dim = 8", r"a wrong setting: embeding_dim is unknown: did you mean 'embedding_dim'\?"),
        ("[item_item]\nshrinkages = 1", r"item_item\.shrinkages is unknown: did you mean 'shrinkage'\?"),
        ("[head]\nxyz = 1", r"head\.xyz is unknown: expected one of: epochs, more_epochs, learning_rate"),
    ],
)
def test_an_unknown_setting_comes_with_a_near_one(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "train.toml"
    file.write_text(text)
    with pytest.raises(RequestError, match=message):
        TrainConfig.from_toml(file)
