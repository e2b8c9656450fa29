"""What is shown while something runs: bars where they can be drawn, lines elsewhere, the log where it is asked for."""

import io
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from rich.console import Console
from shop import train_shop

from kgrec.bundle import save_bundle
from kgrec.terminal import count_of, draws_bars, make_total_counter, print_table, show_progress, show_stages


def test_counts_agree_with_their_nouns() -> None:
    assert [count_of(n, "text") for n in (0, 1, 2000)] == ["0 texts", "1 text", "2,000 texts"]


def show_something(console: Console) -> None:
    with show_progress(console) as progress:
        begin, count = show_stages(progress), make_total_counter(progress, "encoding texts")
        begin("reading")
        count(1, 4)
        progress.refresh()
        begin("writing")
        progress.refresh()


def test_a_terminal_has_bars_and_no_lines(capsys: pytest.CaptureFixture[str]) -> None:
    file = io.StringIO()
    show_something(Console(file=file, force_terminal=True, width=80))
    for shown in ("reading", "encoding texts", "1/4", "writing"):
        assert shown in file.getvalue()
    assert capsys.readouterr().err == ""


def test_elsewhere_each_stage_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    file = io.StringIO()
    show_something(Console(file=file))
    assert (file.getvalue(), capsys.readouterr().err) == ("", "reading\nwriting\n")


def test_a_notebook_has_bars_where_rich_can_draw_them_and_lines_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    notebook = Console(force_jupyter=True)
    has_widgets = find_spec("ipywidgets") is not None
    assert draws_bars(notebook) == has_widgets
    if not has_widgets:
        show_something(notebook)
        assert capsys.readouterr().err == "reading\nwriting\n"


def test_names_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(":ticket: [bold]", ["name"], [[":ticket:"], ["[red]x[/red]"], [":heart:"]])
    shown = capsys.readouterr().out
    assert all(name in shown for name in (":ticket: [bold]", ":heart:", "[red]x[/red]"))
    file = io.StringIO()
    with show_progress(Console(file=file, force_terminal=True, width=80)) as progress:
        show_stages(progress)("reading :ticket: [red]")
        progress.refresh()
    assert "reading :ticket: [red]" in file.getvalue()


def run(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kgrec.cli", *map(str, args)], capture_output=True, text=True, check=True
    )


@pytest.mark.slow
def test_the_command_line_logs_to_stderr_where_it_is_asked_for(tmp_path: Path) -> None:
    save_bundle(train_shop(), tmp_path / "bundle")
    command = ("recommend", tmp_path / "bundle", "--like", "sku-00", "--format", "json")
    plain, verbose = run(*command), run("-vv", *command)
    assert json.loads(plain.stdout) == json.loads(verbose.stdout)
    assert "kgrec." not in plain.stderr
    assert verbose.stderr.count(f"kgrec.bundle.disk: reading the bundle {tmp_path / 'bundle'}") == 1
