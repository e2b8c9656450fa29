"""Routes for keys and the audit log."""

import time
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from pydantic import ConfigDict, Field, model_validator

from kgrec.messages import Answer, Body, Id, Whole
from kgrec.service import answering
from kgrec.service.audit_log import AuditLine, verify
from kgrec.service.caller import Caller, Scope, Tenant, find_caller
from kgrec.service.keys import KeyEntry
from kgrec.service.problems import Problem
from kgrec.service.route_tools import PROBLEMS, as_json, describe_body
from kgrec.service.service_state import Service
from kgrec.service.tenants import check_tenant, read_tenant

ScopeName = Literal["read", "write", "admin"]


class KeyPart(Body):
    """A key to make.

    Attributes:
        name: what to call it, for people.
        scope: what it allows.
        tenant: such as "shop=s-7": only items linked to this node exist for the key; null: all.
    """

    name: Annotated[str, Field(min_length=1, max_length=200)]
    scope: ScopeName = "read"
    tenant: Annotated[str, Field(max_length=1000)] | None = None


class KeysBody(Body):
    """Makes a key, or revokes one by its id."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"create": {"name": "web shop", "scope": "read"}}]})

    create: KeyPart | None = None
    revoke: Id | None = None

    @model_validator(mode="after")
    def _check_one(self) -> "KeysBody":
        if (self.create is None) == (self.revoke is None):
            raise ValueError("expected either create or revoke")
        return self


class KeyStatus(Answer):
    """A key without its secret. Times are UTC seconds; `revoked_at` is null for a valid key."""

    id: str
    name: str
    scope: ScopeName
    tenant: str | None = None
    created_at: int
    revoked_at: int | None = None


class KeysAnswer(Answer):
    """All keys, the oldest first; and the key that was just made, which is shown this once.

    `n_items` is the number of items that exist for it now, where it is a tenant's; 0: none has the tenant's link.
    """

    keys: list[KeyStatus]
    created: str | None = None
    n_items: int | None = None


class AuditBody(Body):
    """Asks for the last lines of the audit log."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"last": 20}]})

    last: Annotated[Whole, Field(ge=1, le=1000)] = 50


class AuditAnswer(Answer):
    """The last lines of the audit log, the latest last; `broken` is the first line that was changed, if one was."""

    lines: list[AuditLine]
    broken: int | None = None


def key_routes(service: Service) -> APIRouter:
    """The routes, for one process."""
    router = APIRouter(responses=PROBLEMS)

    def describe(created: str | None = None, n_items: int | None = None) -> KeysAnswer:
        entries = [_to_status(entry) for entry in service.keys.list()]
        return KeysAnswer(keys=entries, created=created, n_items=n_items)

    def change(caller: Caller, body: KeysBody) -> KeysAnswer:
        now = int(time.time())
        if body.create is not None:
            tenant = None if body.create.tenant is None else read_tenant(body.create.tenant)
            n_items = None if tenant is None else _check_tenant(service, tenant)
            scope = Scope[body.create.scope.upper()]
            created = service.keys.create(body.create.name, scope, tenant, now)
            service.note_write(caller, "create key", {"key": created.split("_")[1], "scope": body.create.scope})
            return describe(created, n_items)
        assert body.revoke is not None
        if not service.keys.revoke(body.revoke, now):
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "There is no such key",
                got=body.revoke,
                expected="the id of a valid key: the eight digits after kgrec_",
                to_do="GET /keys lists them",
            )
        service.note_write(caller, "revoke key", {"key": body.revoke})
        return describe()

    @router.get("/keys", response_model=KeysAnswer)
    async def list_keys(request: Request) -> Response:
        """The keys, without their secrets."""
        find_caller(request, Scope.ADMIN)
        answer = await service.in_slow(describe)
        return as_json(answer.model_dump_json().encode())

    @router.post("/keys", response_model=KeysAnswer, openapi_extra=describe_body(KeysBody))
    async def change_keys(request: Request) -> Response:
        """Makes a key, which is shown this once, or revokes one, which counts within a second."""
        caller = find_caller(request, Scope.ADMIN)
        body = answering.read_body(KeysBody, await request.body())
        answer = await service.in_slow(lambda: change(caller, body))
        return as_json(answer.model_dump_json().encode())

    @router.post("/audit", response_model=AuditAnswer, openapi_extra=describe_body(AuditBody))
    async def read_audit(request: Request) -> Response:
        """The last lines of the audit log, and whether its chain is whole."""
        find_caller(request, Scope.ADMIN)
        body = answering.read_body(AuditBody, await request.body())
        audit = service.audit
        answer = await service.in_slow(lambda: AuditAnswer(lines=audit.read_last(body.last), broken=verify(audit.path)))
        return as_json(answer.model_dump_json().encode())

    return router


def _check_tenant(service: Service, tenant: Tenant) -> int | None:
    """How many items exist for a tenant; None: there is no bundle yet to count them in."""
    current = service.deployment.current
    return None if current is None else check_tenant(current.recommender.bundle, tenant)


def _to_status(entry: KeyEntry) -> KeyStatus:
    caller = entry.caller
    return KeyStatus(
        id=caller.key,
        name=caller.name,
        scope=caller.scope.name.lower(),
        tenant=None if caller.tenant is None else f"{caller.tenant.kind}={caller.tenant.node}",
        created_at=entry.created_at,
        revoked_at=entry.revoked_at,
    )
