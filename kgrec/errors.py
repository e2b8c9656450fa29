"""The errors that kgrec raises on purpose: each says what was got, what was expected and what to do."""

from graph_schema.base_errors import CatalogueError, KgrecError


class StoreError(KgrecError):
    """A graph store cannot be opened, is locked, half-written or holds another schema."""


class TextError(KgrecError):
    """A text encoder cannot be loaded or a text cannot be encoded."""


class BundleError(KgrecError):
    """A bundle is missing, damaged, written by another version of kgrec or of another schema."""


class RequestError(KgrecError):
    """A request or a setting is wrong: an unknown id, k below 1, a config that cannot be read."""


__all__ = ["BundleError", "CatalogueError", "KgrecError", "RequestError", "StoreError", "TextError"]
