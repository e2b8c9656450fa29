"""Writes HTML pages: their style, their plots and the JSON next to them."""

import io
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import jinja2
import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kgrec.errors import KgrecError

INK = "#00beef"  # placeholder for the page's text colour until the plot is in the page
SERIES = tuple(f"#00aa{number:02x}" for number in range(8))  # placeholders for the page's series colours
_TEMPLATE_FOLDERS = ("evaluate", "ablate")


def render_page(template: str, **values: object) -> str:
    """Renders a page that needs no other file.

    Args:
        template: the name of a template in kgrec/evaluate or kgrec/ablate that extends `page.html`.
        values: the values of the template's variables; text is escaped.
    """
    loaders = [jinja2.PackageLoader("kgrec", folder) for folder in _TEMPLATE_FOLDERS]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(values)


def write_page(directory: Path, name: str, page: str, data: bytes) -> Path:
    """Writes `<name>.html` and `<name>.json`, replacing files of these names.

    Args:
        directory: the folder to write to; created if missing.
        name: the name of both files, without their endings.
        page: the HTML.
        data: the same content as JSON.

    Returns:
        The path of the page.

    Raises:
        KgrecError: the directory cannot be written.
    """
    path = directory / f"{name}.html"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
        path.with_suffix(".json").write_bytes(data + b"\n")
    except OSError as error:
        raise KgrecError(f"cannot write the report: {error}; name a directory that can be written") from error
    return path


def format_time(seconds: int) -> str:
    """A time in UTC seconds as "2024-05-06 07:08 UTC"."""
    return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%d %H:%M} UTC"


def draw_svg(draw: Callable[[Axes], None]) -> Markup:
    """Draws a plot as an SVG element in the colours of the page, for light and dark.

    Args:
        draw: draws on the axes, in `INK` and the colours of `SERIES`. It writes numbers and fixed words only: names
            from a catalogue belong in the template, which escapes them.
    """
    with matplotlib.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "kgrec",
            "font.family": "sans-serif",
            "font.size": 9,
            "path.simplify": True,
        }
    ):
        figure = Figure(figsize=(3.9, 2.7), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.set_ylim(0, None)
        axes.grid(axis="y", color=INK, alpha=0.15, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(INK)
        axes.tick_params(colors=INK)
        axes.xaxis.label.set_color(INK)
        buffer = io.StringIO()
        metadata = dict.fromkeys(("Date", "Creator", "Type", "Format"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    svg = buffer.getvalue()[buffer.getvalue().index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="[a-z]+[a-zA-Z0-9]*_\d+"', "", svg)  # unused, and the same in every plot
    svg = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" role="img">', svg, count=1)
    svg = svg.replace("xlink:href", "href").replace(INK, "currentColor")
    for series, colour in enumerate(SERIES):
        svg = svg.replace(colour, f"var(--series-{series})")
    return Markup(svg)
