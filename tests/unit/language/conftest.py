from pathlib import Path

import pytest
from tiny_language_model import fit_rule, save_model

from kgrec.language import LocalLanguageModel


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights."""
    return save_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> LocalLanguageModel:
    return LocalLanguageModel.load(tiny_folder, device="cpu", precision="fp32")


@pytest.fixture(scope="session")
def fitted(tiny_folder: Path) -> LocalLanguageModel:
    """The model fitted to the planted rule."""
    model = LocalLanguageModel.load(tiny_folder, device="cpu", precision="fp32")
    fit_rule(model)
    return model
