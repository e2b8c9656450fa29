"""The client of a service that `kgrec serve` runs: `Client` and `AsyncClient`. Importing it is light."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kgrec.client.client_errors import ServiceError

try:
    from kgrec.client.clients import AsyncClient, Client
except ModuleNotFoundError as error:
    if error.name != "httpx":
        raise
    raise ModuleNotFoundError("kgrec.client needs httpx: pip install 'kgrec[client]'", name="httpx") from None

__all__ = ["AsyncClient", "Client", "ServiceError"]


def __getattr__(name: str) -> Any:
    if name != "ServiceError":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kgrec.client.client_errors import ServiceError

    return ServiceError
