"""The errors a person can act on: each says what was got, what was expected and what to do."""


class KgrecError(Exception):
    """Base of every error that kgrec raises on purpose; the command line prints it without a traceback."""


class CatalogueError(KgrecError):
    """A catalogue's schema or its data is not as expected."""
