"""The application of one process: routes behind layers that observe, harden and check access."""

import gc
import logging
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from kgrec.errors import KgrecError
from kgrec.service.access import OPEN_PATHS, Access
from kgrec.service.admin_routes import admin_routes
from kgrec.service.answer_routes import answer_routes
from kgrec.service.audit_log import AuditLog, Pseudonyms
from kgrec.service.batch_route import batch_routes
from kgrec.service.caller import request_id
from kgrec.service.deployment import Deployment, open_journal
from kgrec.service.drain import ON_DRAIN
from kgrec.service.hardening import Hardened
from kgrec.service.keeper import Keeper
from kgrec.service.key_routes import key_routes
from kgrec.service.keys import KeyStore
from kgrec.service.observed import Observed, answer_failure
from kgrec.service.openapi import describe
from kgrec.service.page_routes import page_routes
from kgrec.service.problems import Problem
from kgrec.service.request_log import REQUESTS
from kgrec.service.service_metrics import VARIABLE, ServiceMetrics
from kgrec.service.service_state import Service
from kgrec.service.settings import ServeSettings
from kgrec.service.write_routes import write_routes

_log = logging.getLogger(__name__)


def make_app(settings: ServeSettings) -> ASGIApp:
    """The application; it reads the bundle when it starts.

    Raises:
        KgrecError: the service folder cannot be used.
    """
    service = open_service(settings)
    app = FastAPI(
        title="kgrec", version="1", docs_url=None, redoc_url=None, openapi_url="/openapi.json", lifespan=_live(service),
        redirect_slashes=False,
    )  # fmt: skip
    app.add_exception_handler(Exception, answer_failure)
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(KgrecError, _answer_error)
    app.add_exception_handler(HTTPException, _answer_http_error)
    routers = list_routers(service)
    for router in routers:
        app.include_router(router)
    describe(app)
    paths = [app.openapi_url or "", *(str(route.path) for router in routers for route in router.routes)]  # type: ignore
    open_paths = OPEN_PATHS if settings.page else ("/health",)
    inner = Access(app, service.keys, settings.limits, settings.workers, open_paths)
    hardened = Hardened(inner, settings.limits, settings.origins)
    outermost: ASGIApp = Observed(hardened, service.metrics, logging.getLogger(REQUESTS), paths)
    if settings.traces is not None:
        from kgrec.service.tracing import trace

        outermost = trace(outermost, settings.traces, paths)
    return outermost


def open_service(settings: ServeSettings) -> Service:
    """Opens the service folder."""
    journal = open_journal(settings)
    folder = settings.folder
    metrics = ServiceMetrics(Path(os.environ[VARIABLE]) if settings.workers > 1 else None)
    deployment = Deployment(settings, journal, Pseudonyms(folder))
    return Service(settings, deployment, KeyStore(folder / "keys.sqlite"), AuditLog(folder / "audit.jsonl"), metrics)


def list_routers(service: Service) -> Sequence[APIRouter]:
    """The routes of the service."""
    made = (answer_routes, batch_routes, write_routes, admin_routes, key_routes, page_routes)
    return [make(service) for make in made]


def _live(service: Service):  # type: ignore[no-untyped-def]
    """Reads the bundle at the start, and ends the work at the end."""

    @asynccontextmanager
    async def live(app: FastAPI) -> AsyncIterator[dict[str, object]]:
        deployment = service.deployment

        def note_catalogues() -> None:
            for served in deployment.served.values():
                service.metrics.note_catalogue(served.version, served.recommender.bundle.model.n_likes.numpy())

        def start() -> None:
            deployment.start()
            note_catalogues()

        await service.in_slow(start)
        gc.collect()
        gc.freeze()  # the bundle stays: collections need not look through it again and again
        gc.set_threshold(50_000)
        keeper = Keeper(deployment, note_catalogues)
        keeper.start()
        yield {ON_DRAIN: service.begin_draining}
        service.draining = True
        await service.in_slow(keeper.stop)
        deployment.journal.close()

    return live


async def _answer_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response(request_id(request))


async def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, KgrecError)
    return Problem.of(error).response(request_id(request))


async def _answer_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    expected = {404: "a route that /openapi.json lists", 405: "a method that /openapi.json lists"}
    problem = Problem(
        error.status_code, str(error.detail), expected=expected.get(error.status_code), headers=error.headers
    )
    return problem.response(request_id(request))
