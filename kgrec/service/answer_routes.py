"""Routes that answer: recommend, similar, explain."""

from fastapi import APIRouter, Request, Response

from kgrec.messages import ExplainAnswer, ExplainBody, RecommendAnswer, RecommendBody, SimilarBody
from kgrec.service import answering
from kgrec.service.caller import Scope, find_caller
from kgrec.service.route_tools import PROBLEMS, as_json, describe_body
from kgrec.service.service_state import Service
from kgrec.service.together import Together


def answer_routes(service: Service) -> APIRouter:
    """The routes, for one process."""
    router, together, limits = APIRouter(responses=PROBLEMS), Together(), service.settings.limits

    @router.post("/recommend", response_model=RecommendAnswer, openapi_extra=describe_body(RecommendBody))
    async def recommend(request: Request) -> Response:
        """Recommends items to one user: known by id, likes, a sentence, links and attributes, or several of these."""
        caller, content = find_caller(request, Scope.READ), await request.body()
        body = answering.read_body(RecommendBody, content)
        answering.check_limits(body, limits)
        served = await service.find_served(body.version, body.user or body.session)
        view, kind = answering.view_of(caller), answering.describe_kind(body)
        kept = served.answers.find(view, content)
        if kept is not None:
            listed = kept
        elif answering.is_plain(body):
            listed = await together.answer(body, served, caller.tenant)
        else:
            listed = await service.in_slow(lambda: answering.recommend(body, served, caller))
        served.answers.keep(view, content, listed)
        service.note_answer(request, kind, listed.rows, served, cached=kept is not None)
        return as_json(listed.content)

    @router.post("/similar", response_model=RecommendAnswer, openapi_extra=describe_body(SimilarBody))
    async def similar(request: Request) -> Response:
        """Finds items similar to one: by who likes them, their texts and their links."""
        caller = find_caller(request, Scope.READ)
        body = answering.read_body(SimilarBody, await request.body())
        answering.check_limits(body, limits)
        served = await service.find_served(body.version)
        listed = await service.in_slow(lambda: answering.similar(body, served, caller))
        service.note_answer(request, "similar", listed.rows, served, cached=False)
        return as_json(listed.content)

    @router.post("/explain", response_model=ExplainAnswer, openapi_extra=describe_body(ExplainBody))
    async def explain(request: Request) -> Response:
        """Explains a score: what each like, the sentence, the profile and the average user add."""
        caller = find_caller(request, Scope.READ)
        body = answering.read_body(ExplainBody, await request.body())
        answering.check_limits(body, limits)
        served = await service.find_served(body.version, body.user or body.session)
        answer = await service.in_slow(lambda: answering.explain(body, served, caller))
        return as_json(answer)

    return router
