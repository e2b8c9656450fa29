"""`POST /recommend/batch`: one request a line in, one answer a line out."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from fastapi import APIRouter, Request
from starlette.responses import Response

from kgrec.errors import KgrecError
from kgrec.messages import RecommendBody
from kgrec.service import answering
from kgrec.service.caller import Caller, Scope, find_caller, request_id
from kgrec.service.deployment import Served
from kgrec.service.line_stream import Line, LineResponse
from kgrec.service.openapi import describe_lines
from kgrec.service.problems import Problem
from kgrec.service.route_tools import PROBLEMS
from kgrec.service.service_state import Service
from kgrec.service.settings import LimitSettings

Asked = tuple[RecommendBody, Served]


def batch_routes(service: Service) -> APIRouter:
    """The route, for one process.

    All batches share one thread, a block of lines each by turns, so that other requests are answered meanwhile.
    """
    router = APIRouter(responses=PROBLEMS)
    thread, limits = ThreadPoolExecutor(1, thread_name_prefix="kgrec-batch"), service.settings.limits

    async def answer(lines: Sequence[Line], caller: Caller) -> list[Line]:
        loop = asyncio.get_running_loop()
        asked = [
            each if isinstance(each, Problem) else await _choose(service, each)
            for each in await loop.run_in_executor(thread, read_lines, lines, limits)
        ]
        return await loop.run_in_executor(thread, answer_lines, asked, caller)

    @router.post("/recommend/batch", response_class=Response, openapi_extra=describe_lines())
    async def recommend_batch(request: Request) -> Response:
        """Recommends items to many users: a RecommendBody a line, and for each a RecommendAnswer or a problem a line.

        The answers come in the order of the lines, while others are still sent. A wrong line gets a problem in its
        place. Empty lines are left out. Read while you send, or send at most 256 lines at a time.
        """
        caller = find_caller(request, Scope.READ)
        request.scope["state"]["kind"] = "batch"
        return LineResponse(lambda lines: answer(lines, caller), limits, request_id(request))

    return router


def read_lines(lines: Sequence[Line], limits: LimitSettings) -> list[RecommendBody | Problem]:
    """Reads the body in each line; a wrong one gives its problem."""
    return [line if isinstance(line, Problem) else _read(line, limits) for line in lines]


def _read(line: bytes, limits: LimitSettings) -> RecommendBody | Problem:
    try:
        body = answering.read_body(RecommendBody, line)
        answering.check_limits(body, limits)
    except Problem as problem:
        return problem
    return body


async def _choose(service: Service, body: RecommendBody) -> Asked | Problem:
    try:
        return body, await service.find_served(body.version, body.user or body.session)
    except Problem as problem:
        return problem


def answer_lines(asked: Sequence[Asked | Problem], caller: Caller) -> list[Line]:
    """Answers requests: those of a version in one block."""
    answers: list[Line] = [each if isinstance(each, Problem) else b"" for each in asked]
    by_version: dict[int, list[tuple[int, Asked]]] = {}
    for place, each in enumerate(asked):
        if not isinstance(each, Problem):
            by_version.setdefault(id(each[1]), []).append((place, each))
    for block in by_version.values():
        served = block[0][1][1]
        found = answering.answer_block(served, [(body, caller.tenant) for _, (body, _) in block])
        for (place, _), answer in zip(block, found, strict=True):
            if isinstance(answer, answering.Listed):
                answers[place] = answer.content
            else:
                answers[place] = Problem.of(answer) if isinstance(answer, KgrecError) else answer
    return answers
