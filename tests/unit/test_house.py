"""What holds for the package as a whole."""

import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from shop import train_shop

import kgrec
from kgrec.bundle import save_bundle

ROOT = Path(__file__).parents[2]
HEAVY = (
    "torch",
    "torch_geometric",
    "optuna",
    "sentence_transformers",
    "transformers",
    "peft",
    "openvino",
    "ladybug",
    "matplotlib",
    "sklearn",
    "scipy",
    "scipy.stats",
    "networkx",
    "neo4j",
    "pandas",
)


@pytest.mark.parametrize(
    ("module", "needed"), [("kgrec", set()), ("kgrec.cli", set()), ("kgrec.recommend", {"torch", "scipy"})]
)
def test_importing_is_light(module: str, needed: set[str]) -> None:
    found = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; print(*(name for name in {HEAVY} if name in sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(found.stdout.split()) == needed


def test_a_cold_recommend_imports_only_what_it_computes_with(tmp_path: Path) -> None:
    save_bundle(train_shop(), tmp_path / "bundle")
    code = f"""
import sys
from kgrec.cli import app
app(["recommend", {str(tmp_path / "bundle")!r}, "--like", "sku-00", "-k", "2"], standalone_mode=False)
names = {(*HEAVY, "pyarrow.csv", "pyarrow.dataset", "rich.progress", "torch._dynamo")}
print(*(name for name in names if name in sys.modules), file=sys.stderr)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.count("sku-") == 3
    assert set(ran.stderr.splitlines()[-1].split()) == {"torch", "scipy"}


def test_the_version_is_stated_once() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert kgrec.__version__ == version("kgrec") == pyproject["project"]["version"]


def test_the_changelog_tells_of_this_version() -> None:
    assert f"\n## [{kgrec.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
