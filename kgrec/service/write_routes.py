"""Routes that write: items, users, interactions, feedback. Each is in the journal before it is answered."""

import json
import time
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from kgrec.errors import RequestError
from kgrec.messages import FeedbackBody, InteractionsBody, ItemsBody, UsersBody, WriteAnswer
from kgrec.recommend import Recommender
from kgrec.service import answering
from kgrec.service.caller import Caller, Scope, find_caller
from kgrec.service.deployment import Act
from kgrec.service.forgetting import forget_users
from kgrec.service.idempotency import read_request_key
from kgrec.service.journal import Entry
from kgrec.service.problems import Problem
from kgrec.service.replay import dump, to_new_item, to_new_user, to_table, with_times
from kgrec.service.route_tools import PROBLEMS, as_json, describe_body
from kgrec.service.service_state import Service
from kgrec.service.tenant_views import TenantView
from kgrec.service.tenants import check_new_item

Unknown = dict[str, list[str]]


def write_routes(service: Service) -> APIRouter:
    """The routes, for one process."""
    router, limits = APIRouter(responses=PROBLEMS), service.settings.limits

    async def write(request: Request, content: bytes, caller: Caller, act: Act, name: str) -> Response:
        key, hashed = read_request_key(request, caller, content)
        await service.find_served()
        done = await service.in_writer(lambda: service.deployment.write(act, key, hashed))
        return await answer_write(caller, name, done)

    async def answer_write(caller: Caller, name: str, done: tuple[WriteAnswer | str, bool]) -> Response:
        answer, is_replayed = done
        if is_replayed or not isinstance(answer, WriteAnswer):
            return as_json(str(answer).encode(), {"Idempotency-Replayed": "true"})
        counts = answer.model_dump(include={"seq", "added", "changed", "removed", "forgotten"})
        await service.in_slow(lambda: service.note_write(caller, name, counts))
        return as_json(answer.model_dump_json().encode())

    @router.post("/items", response_model=WriteAnswer, openapi_extra=describe_body(ItemsBody))
    async def write_items(request: Request) -> Response:
        """Adds, changes and removes items: all of it, or nothing. The next answer has it."""
        caller, content = find_caller(request, Scope.WRITE), await request.body()
        body = answering.read_body(ItemsBody, content)
        answering.check_limits(body, limits)
        return await write(request, content, caller, change_items(body, caller), "items")

    @router.post("/users", response_model=WriteAnswer, openapi_extra=describe_body(UsersBody))
    async def write_users(request: Request) -> Response:
        """Adds and forgets users. A forgotten user leaves memory, journal, snapshots and caches; receipts prove it."""
        caller, content = find_caller(request, Scope.WRITE), await request.body()
        body = answering.read_body(UsersBody, content)
        answering.check_limits(body, limits)
        if not body.forget:
            return await write(request, content, caller, add_users(body, caller), "users")
        if caller.tenant is not None or body.add:
            raise Problem(
                HTTPStatus.FORBIDDEN if caller.tenant else HTTPStatus.UNPROCESSABLE_ENTITY,
                "Users cannot be forgotten so",
                got="a key of a tenant" if caller.tenant else "users to add and users to forget",
                expected="a key for the whole catalogue, and only users to forget",
            )
        await service.find_served()
        answer = await service.in_writer(lambda: forget_users(service.deployment, body.forget))
        for receipt in answer.receipts:
            about: dict[str, int | str] = {"user": receipt.user_hash, "left": sum(receipt.places.values())}
            await service.in_slow(partial(service.note_write, caller, "forget", about))
        return as_json(answer.model_dump_json().encode())

    @router.post("/interactions", response_model=WriteAnswer, openapi_extra=describe_body(InteractionsBody))
    async def write_interactions(request: Request) -> Response:
        """Adds interactions of known or new users; the next answer has them."""
        caller, content = find_caller(request, Scope.WRITE), await request.body()
        body = answering.read_body(InteractionsBody, content)
        answering.check_limits(body, limits)
        return await write(request, content, caller, add_interactions(body, caller), "interactions")

    @router.post("/feedback", response_model=WriteAnswer, openapi_extra=describe_body(FeedbackBody))
    async def write_feedback(request: Request) -> Response:
        """Keeps what was shown and clicked; it changes no answer."""
        caller, content = find_caller(request, Scope.WRITE), await request.body()
        body = answering.read_body(FeedbackBody, content)
        answering.check_limits(body, limits)
        now = int(time.time())
        events = [
            (now, event.user or "", json.dumps(event.model_dump(mode="json", exclude_none=True) | {"key": caller.key}))
            for event in body.events
        ]
        key, hashed = read_request_key(request, caller, content)
        done = await service.in_writer(lambda: service.deployment.keep_feedback(events, key, hashed))
        return await answer_write(caller, "feedback", done)

    return router


def change_items(body: ItemsBody, caller: Caller) -> Act:
    """How a recommender takes what a request says of items."""

    def act(recommender: Recommender) -> tuple[Sequence[Entry], WriteAnswer]:
        tenant, view = caller.tenant, _find_view(recommender, caller)
        if tenant is not None and view is not None:
            schema = recommender.bundle.schema
            if not all(check_new_item(tenant, schema, part) for part in (*body.add, *body.change)):
                raise RequestError(f"got an item without the link of this key; expected {tenant.kind}={tenant.node}")
            for item in (*body.remove, *(part.item for part in body.change)):
                view.check(item)
        unknown: Unknown = {}
        for change, given in ((recommender.change_items, body.change), (recommender.add_items, body.add)):
            if given:
                unknown |= {id_: list(ids) for id_, ids in change([to_new_item(part) for part in given]).items()}
        if body.remove:
            recommender.remove_items(body.remove)
        entries = [Entry("item", part.item, body=dump(part)) for part in (*body.change, *body.add)]
        entries += [Entry("removed", item) for item in body.remove]
        answer = WriteAnswer(
            seq=0, added=len(body.add), changed=len(body.change), removed=len(body.remove), unknown=unknown
        )
        return entries, answer

    return act


def add_users(body: UsersBody, caller: Caller) -> Act:
    """How a recommender takes the users of a request."""

    def act(recommender: Recommender) -> tuple[Sequence[Entry], WriteAnswer]:
        users, hidden, view = body.add, Unknown(), _find_view(recommender, caller)
        if view is not None:
            hidden = {part.user: [item for item in part.likes if not view.has(item)] for part in users}
            users = [
                part.model_copy(update={"likes": [i for i in part.likes if view.has(i)], "links": []}) for part in users
            ]
        unknown = {id_: list(ids) for id_, ids in recommender.add_users([to_new_user(part) for part in users]).items()}
        unknown |= {user: [*unknown.get(user, ()), *ids] for user, ids in hidden.items() if ids}
        entries = [Entry("user", part.user, body=dump(part)) for part in users]
        return entries, WriteAnswer(seq=0, added=len(users), unknown=unknown)

    return act


def add_interactions(body: InteractionsBody, caller: Caller) -> Act:
    """How a recommender takes the interactions of a request."""

    def act(recommender: Recommender) -> tuple[Sequence[Entry], WriteAnswer]:
        schema = recommender.bundle.schema
        given = with_times(body.interactions, int(time.time()))
        items, view = recommender.bundle.items, _find_view(recommender, caller)
        known = [each for each in given if (each.item in items if view is None else view.has(each.item))]
        missing = sorted({each.item for each in given} - {each.item for each in known})
        if known:
            recommender.add_interactions(to_table(known, schema))
        entries = [Entry("interaction", each.user, each.item, dump(each)) for each in known]
        return entries, WriteAnswer(seq=0, added=len(known), unknown={"items": missing} if missing else {})

    return act


def _find_view(recommender: Recommender, caller: Caller) -> TenantView | None:
    """What a tenant sees of the state that a write changes; None: the key sees all."""
    return None if caller.tenant is None else TenantView(recommender.bundle, caller.tenant)
