"""The CI jobs: their commands exist, and they cover every supported system."""

import re
from pathlib import Path
from typing import Any

import typer
import yaml

from kgrec.cli import app

ROOT = Path(__file__).parents[1]
JOBS = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
BOOKSHOP = ROOT / ".github" / "bookshop.py"


def steps_of(job: str) -> list[dict[str, Any]]:
    return JOBS[job]["steps"]


def targets_of(job: str) -> list[str]:
    """The Makefile's targets that a job asks for."""
    runs = [re.sub(r"\$\{\{.*?\}\}", "", step.get("run", "")) for step in steps_of(job)]
    return [word for run in runs if run.startswith("make ") for word in run.split()[1:] if "=" not in word]


def test_jobs_call_targets_of_the_makefile() -> None:
    assert {job: targets_of(job) for job in JOBS} == {
        "lint": ["lint", "audit", "docs"], "test": ["test"], "test-fast": ["test-fast"],
    }  # fmt: skip
    for job in JOBS:
        for target in targets_of(job):
            assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target


def test_variables_that_jobs_set_exist_in_the_makefile() -> None:
    (line,) = [step["run"] for step in steps_of("test-fast") if step.get("run", "").startswith("make ")]
    names = re.findall(r"(\w+)=", line)
    assert names == ["PYTHON", "BIN"]
    for name in names:
        assert re.search(rf"^{name} *[?:]=", MAKEFILE, re.MULTILINE), name


def test_the_makefile_installs_by_the_constraints() -> None:
    assert re.search(r"pip install .*-c constraints\.txt", MAKEFILE)
    assert (ROOT / "constraints.txt").is_file()


def test_every_system_is_covered_with_the_oldest_python() -> None:
    systems = {JOBS[job]["runs-on"] for job in JOBS} | set(JOBS["test-fast"]["strategy"]["matrix"]["os"])
    assert {"ubuntu-latest", "macos-latest", "windows-latest"} <= systems
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (oldest,) = re.findall(r'requires-python = ">=([\d.]+)"', pyproject)
    for job in JOBS:
        (python,) = [step["with"]["python-version"] for step in steps_of(job) if "setup-python" in step.get("uses", "")]
        assert python == oldest


def test_files_that_jobs_run_exist() -> None:
    runs = [step["run"] for job in JOBS for step in steps_of(job) if ".py" in step.get("run", "")]
    assert runs
    for line in runs:
        (script,) = re.findall(r"[\w./-]+\.py", line.partition("python ")[2])
        assert (ROOT / script).is_file()


def test_the_bookshops_commands_exist() -> None:
    source = BOOKSHOP.read_text(encoding="utf-8")
    commands = set(re.findall(r'^    \("(\w+)", ', source, re.MULTILINE))
    assert {"load", "train", "recommend", "encode"} == commands
    assert commands <= set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
