"""The routes of the page: its files, and what it asks besides lists: searches, the graph, audiences, the report."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from http import HTTPStatus
from importlib.resources import files

import numpy as np
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray
from pydantic import BaseModel

from kgrec.errors import RequestError
from kgrec.messages import (
    AudienceAnswer,
    AudienceBody,
    Found,
    ItemPart,
    NeighbourhoodAnswer,
    NeighbourhoodBody,
    SearchAnswer,
    SearchBody,
)
from kgrec.recommend.links import find_far_end
from kgrec.service.answering import check_limits, read_body
from kgrec.service.audience import find_audience
from kgrec.service.caller import Caller, Scope, Tenant, find_caller
from kgrec.service.deployment import Served
from kgrec.service.item_search import NameSearch, mark_linked
from kgrec.service.neighbourhood import find_neighbourhood
from kgrec.service.problems import Problem
from kgrec.service.route_tools import PROBLEMS, as_json, describe_body
from kgrec.service.service_state import Service
from kgrec.service.tenants import check_new_item

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_REPORT = "report.html"  # in the folder that `kgrec evaluate` wrote


@dataclass(frozen=True)
class PageFile:
    """A file of the page.

    Attributes:
        content: its bytes.
        media_type: its type.
        etag: changes with the content.
    """

    content: bytes
    media_type: str
    etag: str

    def answer(self, request: Request) -> Response:
        """The file, or that it has not changed."""
        headers = {"ETag": self.etag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == self.etag:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(self.content, headers=headers, media_type=self.media_type)


def read_page() -> Mapping[str, PageFile]:
    """The files of the page, by name."""
    found = {}
    for file in files("kgrec.service").joinpath("page").iterdir():
        media_type = _TYPES.get(file.name.rsplit(".", 1)[-1])
        if media_type is not None:
            content = file.read_bytes()
            found[file.name] = PageFile(content, media_type, f'"{blake2b(content, digest_size=8).hexdigest()}"')
    return found


def page_routes(service: Service) -> APIRouter:
    """The routes of the page."""
    router, searches, limits = APIRouter(responses=PROBLEMS), NameSearch(), service.settings.limits
    page = read_page() if service.settings.page else {}

    @router.get("/", include_in_schema=False)
    async def show_page(request: Request) -> Response:
        return _find_file(page, "index.html").answer(request)

    @router.get("/page/{file}", include_in_schema=False)
    async def show_file(file: str, request: Request) -> Response:
        return _find_file(page, file).answer(request)

    @router.post("/search", response_model=SearchAnswer, openapi_extra=describe_body(SearchBody))
    async def search(request: Request) -> Response:
        """Looks for items, or for nodes that items are linked to, by name or id; typing errors are forgiven."""
        caller = find_caller(request, Scope.READ)
        body = read_body(SearchBody, await request.body())
        check_limits(body, limits)
        served = await service.find_served()
        found = await service.in_slow(lambda: find_names(searches, served, body, _allow(served, caller)))
        return _to_response(found)

    @router.post("/neighbourhood", response_model=NeighbourhoodAnswer, openapi_extra=describe_body(NeighbourhoodBody))
    async def neighbourhood(request: Request) -> Response:
        """Finds what an item is linked to, and the items that share it."""
        caller = find_caller(request, Scope.READ)
        body = read_body(NeighbourhoodBody, await request.body())
        served = await service.find_served()
        bundle, most = served.recommender.bundle, body.most
        found = await service.in_slow(lambda: find_neighbourhood(bundle, body.item, most, _allow(served, caller)))
        return _to_response(found)

    @router.post("/audience", response_model=AudienceAnswer, openapi_extra=describe_body(AudienceBody))
    async def audience(request: Request) -> Response:
        """Finds who would get an item, one of the catalogue or one that is only described; nothing is added."""
        caller = find_caller(request, Scope.READ)
        body = read_body(AudienceBody, await request.body())
        check_limits(body, limits)
        if isinstance(body.item, ItemPart):
            check_limits(body.item, limits)
        served = await service.find_served()
        return _to_response(await service.in_slow(lambda: _find_audience(served, body, caller)))

    @router.get("/report", response_class=Response)
    async def report(request: Request) -> Response:
        """The evaluation report, an HTML page."""
        find_caller(request, Scope.READ, whole=True)
        return Response(await service.in_slow(lambda: _read_report(service)), media_type="text/html")

    return router


def find_names(
    searches: NameSearch, served: Served, body: SearchBody, allowed: NDArray[np.bool_] | None
) -> SearchAnswer:
    """What a search finds in a state.

    Raises:
        RequestError: items have no such edge type, or it leads to users, or not one of `text` and `items` is given.
    """
    bundle = served.recommender.bundle
    if (body.text is None) == (body.items is None):
        raise RequestError("expected either a text to look for, or ids of items whose names are wanted")
    item_type = node_type = bundle.schema.item_type
    mask = allowed
    if body.link is not None:
        is_source, node_type = find_far_end(bundle.schema, body.link, item_type)
        if node_type == bundle.schema.user_type:
            raise RequestError(f"the edge type {body.link!r} leads to users, who cannot be searched")
        if allowed is not None and node_type != item_type:
            items, nodes = bundle.edges[body.link] if is_source else bundle.edges[body.link][::-1]
            # what another tenant's items are linked to has no name here
            mask = mark_linked(items, nodes, allowed, len(bundle.ids[node_type]))
    ids, names = bundle.ids[node_type].ids, bundle.names[node_type]
    if body.items is not None:
        rows = [row for row in map(bundle.ids[node_type].row, body.items) if row is not None]
        return SearchAnswer(
            items=[
                Found(item=ids[row], title=names[row], match=100.0) for row in rows if mask is None or bool(mask[row])
            ]
        )
    text = body.text or ""
    if body.link is None:
        found = searches.find_items(bundle, text, body.k, mask)
    else:
        found = searches.find(bundle, node_type, text, body.k, mask)
    return SearchAnswer(items=[Found(item=ids[each.row], title=names[each.row], match=each.match) for each in found])


def _find_audience(served: Served, body: AudienceBody, caller: Caller) -> AudienceAnswer:
    if caller.tenant is not None and isinstance(body.item, ItemPart):
        _check_tenant(served, caller.tenant, body.item)
    shows_users = caller.scope >= Scope.WRITE and caller.tenant is None
    return find_audience(served.recommender, body.item, body.k, allowed=_allow(served, caller), shows_users=shows_users)


def _check_tenant(served: Served, tenant: Tenant, item: ItemPart) -> None:
    """Checks that a described item would exist for a tenant."""
    if not check_new_item(tenant, served.recommender.bundle.schema, item):
        raise RequestError(
            f"item {item.item!r} is not linked to {tenant.kind}={tenant.node}; expected this link, since the key sees "
            "no other items"
        )


def _to_response(answer: BaseModel) -> Response:
    return as_json(answer.model_dump_json().encode())


def _allow(served: Served, caller: Caller) -> NDArray[np.bool_] | None:
    """The items that exist for a caller; None: all."""
    return None if caller.tenant is None else served.views.find(caller.tenant).mask


def _find_file(page: Mapping[str, PageFile], name: str) -> PageFile:
    if name not in page:
        raise Problem(HTTPStatus.NOT_FOUND, "There is no such file", expected="the page, at /")
    return page[name]


def _read_report(service: Service) -> bytes:
    folder = service.settings.report
    if folder is None:
        raise Problem(
            HTTPStatus.NOT_FOUND, "There is no evaluation report",
            to_do="write one with `kgrec evaluate --out FOLDER`, and start the service with --report FOLDER",
        )  # fmt: skip
    try:
        return (folder / _REPORT).read_bytes()
    except OSError as error:
        raise Problem(
            HTTPStatus.NOT_FOUND, "The evaluation report cannot be read", got=str(error.strerror),
            expected=f"a folder with {_REPORT}, as `kgrec evaluate` writes it",
        ) from error  # fmt: skip
