"""The layouts that people get catalogues in, each made small, with planted taste."""

from trial_layouts import (
    awkward_layouts,
    book_layouts,
    film_layouts,
    graph_layouts,
    research_layouts,
    review_layouts,
    shop_layouts,
)
from trial_layouts.layout import GraphLayout, Layout

FOLDERS: tuple[Layout, ...] = (
    *film_layouts.LAYOUTS,
    *book_layouts.LAYOUTS,
    *review_layouts.LAYOUTS,
    *shop_layouts.LAYOUTS,
    *research_layouts.LAYOUTS,
    *awkward_layouts.LAYOUTS,
)
GRAPHS: tuple[GraphLayout, ...] = graph_layouts.LAYOUTS

__all__ = ["FOLDERS", "GRAPHS", "GraphLayout", "Layout"]
