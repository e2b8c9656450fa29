"""The errors a person can act on: each says what was got, what was expected and what to do."""


class KgrecError(Exception):
    """The base of all errors of kgrec; the command line prints them without a traceback."""


class CatalogueError(KgrecError):
    """A schema or the data of a catalogue is wrong."""
