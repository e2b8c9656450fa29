"""Who calls: what the API key of a request allows."""

from dataclasses import dataclass
from enum import IntEnum
from http import HTTPStatus

from starlette.requests import Request

from kgrec.service.problems import Problem


class Scope(IntEnum):
    """What a key allows; each has what those below it allow."""

    READ = 1
    WRITE = 2
    ADMIN = 3


@dataclass(frozen=True)
class Tenant:
    """The part of the catalogue that a key sees: the items linked to one node.

    Attributes:
        kind: an edge type of items, a node type or an attribute of categories.
        node: the id of the linked node, or the value.
    """

    kind: str
    node: str


@dataclass(frozen=True)
class Caller:
    """The owner of a key.

    Attributes:
        key: the id of the key; it is no secret.
        name: what the key was named when it was made.
        scope: what it allows.
        tenant: the items that exist for it; None: all.
    """

    key: str
    name: str
    scope: Scope
    tenant: Tenant | None = None


def find_caller(request: Request, scope: Scope, *, whole: bool = False) -> Caller:
    """The caller of a request, as `Access` found it.

    Args:
        request: the request.
        scope: what it needs.
        whole: whether the answer is about the whole catalogue, which keys of a tenant do not see.

    Raises:
        Problem: 403 where the key does not allow it.
    """
    caller: Caller = request.scope["state"]["caller"]
    if whole and caller.tenant is not None:
        raise Problem(
            HTTPStatus.FORBIDDEN, "This key does not allow it", got="a key of a tenant",
            expected="a key for the whole catalogue",
        )  # fmt: skip
    if caller.scope < scope:
        raise Problem(
            HTTPStatus.FORBIDDEN,
            "This key does not allow it",
            got=f"a key with the scope {caller.scope.name.lower()}",
            expected=f"the scope {scope.name.lower()}",
            to_do="use another key, or ask an admin for one",
        )
    return caller


def request_id(request: Request) -> str | None:
    """The id of a request, as `Observed` made it."""
    found: str | None = request.scope.get("state", {}).get("request_id")
    return found
