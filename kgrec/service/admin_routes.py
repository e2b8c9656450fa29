"""Routes about the service itself: health, readiness, metrics, status, and which bundle is served."""

import time
from collections.abc import Callable
from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from kgrec.errors import BundleError
from kgrec.messages import ShareBody, StatusAnswer
from kgrec.service import answering
from kgrec.service.caller import Caller, Scope, find_caller
from kgrec.service.problems import Problem
from kgrec.service.readiness import find_reasons
from kgrec.service.route_tools import PROBLEMS, as_json, describe_body
from kgrec.service.service_metrics import CONTENT_TYPE
from kgrec.service.service_state import Service
from kgrec.service.syncing import sync_now


def admin_routes(service: Service) -> APIRouter:
    """The routes, for one process."""
    router = APIRouter(responses=PROBLEMS)

    async def status(caller: Caller) -> Response:
        answer = await service.in_slow(service.describe)
        own: dict[str, object] = {"scope": caller.scope.name.lower(), "tenant": answering.view_of(caller) or None}
        if caller.tenant is not None:
            own |= service.hide_others(answer, caller.tenant)
        return as_json(answer.model_copy(update=own).model_dump_json().encode())

    async def act(request: Request, name: str, what: Callable[[], object]) -> Response:
        caller = find_caller(request, Scope.ADMIN)
        await service.in_writer(what)
        serving = service.deployment.serving
        about: dict[str, int | str] = {"version": serving.current, "previous": serving.previous}
        if name == "share":
            about = {"percent": round(100 * serving.share)}
        await service.in_slow(lambda: service.note_write(caller, name, about))
        return await status(caller)

    @router.get("/health")
    async def health() -> dict[str, str]:
        """Says that the process is alive; it needs no key, and nothing of the catalogue is in it."""
        return {"status": "alive"}

    @router.get("/ready")
    async def ready(request: Request) -> dict[str, str]:
        """Says whether the service can answer and keep writes, or why not."""
        find_caller(request, Scope.READ)
        reasons = find_reasons(await service.in_slow(service.read_state))
        if reasons:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE, "The service is not ready", got="; ".join(reasons),
                headers={"Retry-After": "5"},
            )  # fmt: skip
        return {"status": "ready"}

    @router.get("/metrics", response_class=Response)
    async def metrics(request: Request) -> Response:
        """The metrics, as Prometheus reads them."""
        find_caller(request, Scope.READ, whole=True)
        found = await service.in_slow(lambda: service.metrics.exposition(service.read_state()))
        return Response(found, headers={"Content-Type": CONTENT_TYPE})

    @router.get("/status", response_model=StatusAnswer)
    async def read_status(request: Request) -> Response:
        """The bundles served, the journal, how fresh they are, and what is wrong."""
        return await status(find_caller(request, Scope.READ))

    @router.post("/sync", response_model=StatusAnswer)
    async def sync(request: Request) -> Response:
        """Syncs the bundle with the store now."""
        if service.settings.store is None:
            find_caller(request, Scope.ADMIN)
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY, "There is no store to sync with", expected="a service with a store",
                to_do="start it with --store",
            )  # fmt: skip
        return await act(request, "sync", lambda: sync_now(service.deployment, int(time.time())))

    @router.post("/swap", response_model=StatusAnswer)
    async def swap(request: Request) -> Response:
        """Serves the bundle that is in its folder now. A damaged one is not taken, and the old one stays."""
        return await act(request, "swap", service.deployment.swap)

    @router.post("/rollback", response_model=StatusAnswer)
    async def roll_back(request: Request) -> Response:
        """Serves the version before the current one again, until another bundle comes."""

        def go_back() -> None:
            try:
                service.deployment.roll_back()
            except BundleError as error:
                raise Problem(
                    HTTPStatus.UNPROCESSABLE_ENTITY, "There is nothing to go back to", got=str(error)
                ) from error

        return await act(request, "rollback", go_back)

    @router.post("/share", response_model=StatusAnswer, openapi_extra=describe_body(ShareBody))
    async def set_share(request: Request) -> Response:
        """Sets the share of users whom the candidate answers."""
        find_caller(request, Scope.ADMIN)
        body = answering.read_body(ShareBody, await request.body())
        return await act(request, "share", lambda: service.deployment.set_share(body.share))

    return router
