"""Turns bodies into answers: checks what a request costs, restricts it to the tenant's items, and asks the state."""

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from kgrec.errors import KgrecError
from kgrec.graph.paths import ReasonPath
from kgrec.messages import Body, ExplainBody, RecommendBody, SimilarBody, UserPart
from kgrec.recommend import Explanation, Recommendations
from kgrec.service.caller import Caller, Tenant
from kgrec.service.deployment import Served
from kgrec.service.problems import Problem
from kgrec.service.settings import LimitSettings

Read = TypeVar("Read", bound=BaseModel)
_MOST_ERRORS = 3  # in a message
_USER_FIELDS = tuple(UserPart.model_fields)
_LIST_FIELDS = tuple(name for name in RecommendBody.model_fields if name not in ("session", "version", *_USER_FIELDS))


def read_body(model: type[Read], body: bytes) -> Read:
    """Reads a body.

    Raises:
        Problem: 422 where it is not what the model says, and where.
    """
    try:
        return model.model_validate_json(body or b"null")
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        places = [f"{'.'.join(map(str, each['loc'])) or 'the body'}: {each['msg']}" for each in found[:_MOST_ERRORS]]
        more = f", and {len(found) - _MOST_ERRORS} more" if len(found) > _MOST_ERRORS else ""
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, "The body is not as expected", got="; ".join(places) + more,
            expected=f"a JSON object as {model.__name__} in /openapi.json",
        ) from error  # fmt: skip


def check_limits(body: Body, limits: LimitSettings) -> None:
    """Checks what a request may cost.

    Raises:
        Problem: 422 where it asks for more.
    """
    for name, value in body:
        if name in ("k", "most") and value > limits.k:
            _refuse(name, f"{value:,}", limits.k)
        elif isinstance(value, str) and len(value) > limits.text:
            _refuse(name, f"{len(value):,} characters", limits.text)
        elif isinstance(value, list | dict) and len(value) > limits.ids:
            _refuse(name, f"{len(value):,} entries", limits.ids)
        if isinstance(value, list):
            for part in value:
                if isinstance(part, Body):
                    check_limits(part, limits)


def _refuse(name: str, got: str, most: int) -> None:
    raise Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY, "The request asks for too much", got=f"{name} with {got}",
        expected=f"at most {most:,}", to_do="ask for less, or split the request",
    )  # fmt: skip


def view_of(caller: Caller) -> str:
    """What tells callers apart that get different answers to the same request."""
    return "" if caller.tenant is None else f"{caller.tenant.kind}={caller.tenant.node}"


def describe_kind(body: UserPart) -> str:
    """What a user is described by, for metrics."""
    if body.text is not None:
        return "text"
    if body.user is not None:
        return "user"
    if body.likes or body.sequence:
        return "likes"
    return "profile" if body.links or body.attributes else "nothing"


def is_plain(body: RecommendBody) -> bool:
    """Whether a request is cheap, and can be answered together with others."""
    others = (body.text, body.links, body.attributes, body.at_most, body.candidates)
    return not (any(others) or body.explain or body.pitch or body.diversity or body.tail)


def to_arguments(body: RecommendBody, served: Served, tenant: Tenant | None) -> tuple[dict[str, Any], list[str]]:
    """The arguments of `Recommender.recommend`, and ids that the tenant does not have."""
    arguments = {name: getattr(body, name) for name in (*_USER_FIELDS, *_LIST_FIELDS)}
    return (arguments, []) if tenant is None else served.views.find(tenant).restrict(arguments)


def recommend(body: RecommendBody, served: Served, caller: Caller) -> bytes:
    """Answers one request, as JSON."""
    arguments, unknown = to_arguments(body, served, caller.tenant)
    return dump_list(served.recommender.recommend(**arguments), served, unknown)


def answer_block(
    served: Served, asked: Sequence[tuple[RecommendBody, Tenant | None]]
) -> list[bytes | KgrecError | Problem]:
    """Answers plain requests together: for each the answer as JSON, or its error."""
    answers: list[bytes | KgrecError | Problem] = []
    for body, tenant in asked:
        try:
            arguments, unknown = to_arguments(body, served, tenant)
            answers.append(dump_list(served.recommender.recommend(**arguments), served, unknown))
        except (KgrecError, Problem) as error:
            answers.append(error)
    return answers


def similar(body: SimilarBody, served: Served, caller: Caller) -> bytes:
    """Finds similar items, as JSON."""
    candidates = body.candidates
    if caller.tenant is not None:
        view = served.views.find(caller.tenant)
        view.check(body.item)
        candidates = [id_ for id_ in candidates if view.has(id_)] if candidates is not None else view.ids
    found = served.recommender.similar(body.item, body.k, by=body.by, candidates=candidates, explain=body.explain)
    return dump_list(found, served)


def explain(body: ExplainBody, served: Served, caller: Caller) -> bytes:
    """Explains a score, as JSON."""
    arguments = {name: getattr(body, name) for name in (*_USER_FIELDS, "item")}
    if caller.tenant is not None:
        view = served.views.find(caller.tenant)
        view.check(body.item)
        arguments, _ = view.restrict(arguments | {"candidates": None})
        for name in ("candidates", "exclude"):
            arguments.pop(name, None)
    return dump_explanation(served.recommender.explain(**arguments), served)


def dump_list(found: Recommendations, served: Served, unknown: Iterable[str] = ()) -> bytes:
    """A list as `RecommendAnswer`, as JSON."""
    items = [
        {
            "item": each.item, "rank": each.rank, "score": each.score, "title": each.title,
            "reason": each.reason, "pitch": each.pitch,
        }
        for each in found.items
    ]  # fmt: skip
    return to_json(
        {
            "items": items, "unknown": [*found.unknown, *unknown], "notes": found.notes,
            "version": served.version, "seq": served.seq,
        }
    )  # fmt: skip


def dump_explanation(found: Explanation, served: Served) -> bytes:
    """An explanation as `ExplainAnswer`, as JSON."""
    shares = [
        {
            "source": share.source, "value": share.value, "item": share.item, "title": share.title,
            "paths": [path.sentence(share.title) for path in share.paths],
            "steps": [_list_steps(path) for path in share.paths],
        }
        for share in found.shares
    ]  # fmt: skip
    return to_json(
        {
            "item": found.item, "title": found.title, "score": found.score, "reason": found.reason, "shares": shares,
            "unknown": found.unknown, "version": served.version, "seq": served.seq,
        }
    )  # fmt: skip


def _list_steps(path: ReasonPath) -> list[dict[str, str | None]]:
    nodes = [path.start, *(step.node for step in path.steps)]
    edges = [*(step.phrase for step in path.steps), None]
    return [
        {"id": node.id, "type": node.node_type, "name": node.name, "edge": edge}
        for node, edge in zip(nodes, edges, strict=True)
    ]
