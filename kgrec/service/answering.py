"""Turns bodies into answers: checks what a request costs, restricts it to the tenant's items, and asks the state."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
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
_MOST_PLAIN = 500  # ids in a request that is answered in the event loop
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
        if name == "k" and value > limits.k:
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
    """The part of the catalogue that a caller sees: callers with the same one get the same answers."""
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
    others = (body.text, body.links, body.attributes, body.at_most, body.explain, body.pitch, body.diversity, body.tail)
    return not any(others) and body.k + len(body.candidates or ()) + len(body.likes or ()) <= _MOST_PLAIN


def to_arguments(body: RecommendBody, served: Served, tenant: Tenant | None) -> tuple[dict[str, Any], list[str]]:
    """The arguments of `Recommender.recommend`, and ids that the tenant does not have."""
    arguments = {name: getattr(body, name) for name in (*_USER_FIELDS, *_LIST_FIELDS)}
    return (arguments, []) if tenant is None else served.views.find(tenant).restrict(arguments)


@dataclass(frozen=True)
class Listed:
    """A list as it is answered.

    Attributes:
        content: `RecommendAnswer` as JSON.
        rows: (k,) int64, the rows of its items.
    """

    content: bytes
    rows: NDArray[np.int64]


def recommend(body: RecommendBody, served: Served, caller: Caller) -> Listed:
    """Answers one request."""
    arguments, unknown = to_arguments(body, served, caller.tenant)
    return to_listed(served.recommender.recommend(**arguments), served, unknown)


def answer_block(
    served: Served, asked: Sequence[tuple[RecommendBody, Tenant | None]]
) -> list[Listed | KgrecError | Problem]:
    """Answers requests, plain ones together: for each its list or its error."""
    read: list[tuple[dict[str, Any], list[str]] | KgrecError | Problem] = []
    for body, tenant in asked:
        try:
            read.append(to_arguments(body, served, tenant))
        except (KgrecError, Problem) as error:
            read.append(error)
    found = iter(served.recommender.recommend_batch([one[0] for one in read if isinstance(one, tuple)]))
    answers: list[Listed | KgrecError | Problem] = []
    for one in read:
        if not isinstance(one, tuple):
            answers.append(one)
            continue
        answer = next(found)
        answers.append(to_listed(answer, served, one[1]) if isinstance(answer, Recommendations) else answer)
    return answers


def similar(body: SimilarBody, served: Served, caller: Caller) -> Listed:
    """Finds similar items."""
    candidates = body.candidates
    if caller.tenant is not None:
        view = served.views.find(caller.tenant)
        view.check(body.item)
        candidates = [id_ for id_ in candidates if view.has(id_)] if candidates is not None else view.ids
    found = served.recommender.similar(body.item, body.k, by=body.by, candidates=candidates, explain=body.explain)
    return to_listed(found, served)


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


def to_listed(found: Recommendations, served: Served, unknown: Iterable[str] = ()) -> Listed:
    """A list as it is answered."""
    rows = served.recommender.bundle.items.rows(found.ids)
    items = [
        {
            "item": each.item, "rank": each.rank, "score": each.score, "title": each.title,
            "reason": each.reason, "pitch": each.pitch,
        }
        for each in found.items
    ]  # fmt: skip
    content = to_json(
        {
            "items": items, "unknown": [*found.unknown, *unknown], "notes": found.notes,
            "version": served.version, "seq": served.seq,
        }
    )  # fmt: skip
    return Listed(content, rows)


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
