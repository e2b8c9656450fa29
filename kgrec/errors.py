"""The errors that kgrec raises on purpose: each says what was got, what was expected and what to do."""

from graph_schema.base_errors import CatalogueError, KgrecError


class StoreError(KgrecError):
    """A graph store cannot be opened, is locked, half-written or holds another schema."""


class TextError(KgrecError):
    """A text encoder cannot be loaded or a text cannot be encoded."""


class BundleError(KgrecError):
    """A saved bundle is missing, truncated, foreign, newer than this kgrec or of another schema."""


class RequestError(KgrecError):
    """A recommendation was asked for in a way that cannot be answered (an unknown id, k <= 0, ...)."""


__all__ = ["BundleError", "CatalogueError", "KgrecError", "RequestError", "StoreError", "TextError"]
