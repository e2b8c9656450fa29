"""Checks that the packages of the extra kgrec[serve] are there."""

from importlib.util import find_spec

from kgrec.errors import RequestError

_PACKAGES = ("fastapi", "uvicorn", "argon2", "prometheus_client")


def check_extra() -> None:
    """Checks it.

    Raises:
        RequestError: one is missing.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise RequestError(
            f"the service needs {missing[0]}, which is not installed: `pip install -c constraints.txt '.[serve]'` in a "
            "copy of the repository, or `pip install 'kgrec[serve]'`"
        )
