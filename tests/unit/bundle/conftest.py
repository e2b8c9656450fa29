from pathlib import Path

import pytest
from shop import train_shop

from kgrec.bundle import save_bundle


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_bundle(train_shop(), tmp_path / "bundle")
    return tmp_path / "bundle"
