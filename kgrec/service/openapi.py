"""The OpenAPI document: bodies that routes read themselves, lines of a batch, problems and the key."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import kgrec
from kgrec.messages import ProblemDocument, RecommendAnswer, RecommendBody
from kgrec.service import problems
from kgrec.service.line_stream import MEDIA_TYPE
from kgrec.service.route_tools import MODELS

Part = dict[str, Any]
_ABOUT = """Recommendations from a knowledge graph.

Each request but GET /health needs an API key: `Authorization: Bearer KEY`. Keys have a scope: read, write, which has
read, or admin, which has both. Ids are in bodies only. An error is a problem document (RFC 9457). Each answer has the
header `X-Request-ID`."""
_KEY = {"type": "http", "scheme": "bearer", "description": "An API key, as `kgrec keys create` prints it."}
_OPEN = frozenset(["/health"])
_WRITES = frozenset(["/items", "/users", "/interactions", "/feedback"])
_TEXTS = {"/metrics": "text/plain", "/report": "text/html"}
_ABOUT_BODIES = frozenset(["408", "413", "415", "422"])
_IDEMPOTENCY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Any text that is new for each write. Where an answer got lost, send the write again with the same "
    "one: it is done once. Kept for a day.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
}
_REPLAYED = {"description": "true: an earlier request with this key did it.", "schema": {"type": "string"}}
_RETRY_AFTER = {"description": "Seconds to wait.", "schema": {"type": "integer"}}


def describe(app: FastAPI) -> None:
    """Makes GET /openapi.json answer with the whole document; call it after all routes are added."""

    def openapi() -> Part:
        if app.openapi_schema is None:
            app.openapi_schema = make_document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def describe_lines() -> Part:
    """The body and the answer of a batch, for `openapi_extra`."""
    examples = RecommendBody.model_json_schema()["examples"]
    lines = "".join(f"{RecommendBody(**each).model_dump_json(exclude_defaults=True)}\n" for each in examples)
    sent = {"schema": _lines_of(RecommendBody), "examples": {"two users": {"value": lines}}}
    body = {"description": "One JSON object a line, in UTF-8.", "required": True, "content": {MEDIA_TYPE: sent}}
    answer = {
        "description": "For each line a RecommendAnswer or a ProblemDocument, in the order of the lines.",
        "content": {MEDIA_TYPE: {"schema": _lines_of(RecommendAnswer, ProblemDocument)}},
    }
    return {"requestBody": body, "responses": {"200": answer}}


def _lines_of(*models: type[BaseModel]) -> Part:
    each = [{"$ref": f"#/components/schemas/{model.__name__}"} for model in models]
    return {"type": "string", "x-each-line": each[0] if len(each) == 1 else {"oneOf": each}}


def make_document(app: FastAPI) -> Part:
    """The OpenAPI document of an application."""
    document = get_openapi(
        title="kgrec", version=kgrec.__version__, summary="Recommendations from a knowledge graph", description=_ABOUT,
        routes=app.routes,
    )  # fmt: skip
    components: Part = document.setdefault("components", {})
    models: set[type[BaseModel]] = {RecommendBody, RecommendAnswer, ProblemDocument, *MODELS}
    _, read = models_json_schema(
        [(model, "validation") for model in sorted(models, key=lambda model: model.__name__)],
        ref_template="#/components/schemas/{model}",
    )
    components["schemas"] = read["$defs"] | components.get("schemas", {})
    components["securitySchemes"] = {"key": _KEY}
    document["security"] = [{"key": []}]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _complete(path, method, operation)
    return document


def _complete(path: str, method: str, operation: Part) -> None:
    text: str = operation.get("description", path)
    operation["summary"] = text.split("\n", maxsplit=1)[0].split(". ", maxsplit=1)[0].rstrip(".")
    operation["operationId"] = f"{method}_{path.strip('/')}".replace("/", "_")
    answers: Part = operation["responses"]
    if path in _OPEN:
        operation["security"] = []
        operation["responses"] = {"200": answers["200"]}
        return
    if method == "post":
        answers.setdefault("408", _problem("The body is too slow"))
    else:
        operation["responses"] = answers = {
            status: each for status, each in answers.items() if status not in _ABOUT_BODIES
        }
    if path in _TEXTS:
        answers["200"] = {"description": "A text", "content": {_TEXTS[path]: {"schema": {"type": "string"}}}}
    if path == "/report":
        answers["404"] = _problem("There is no report")
    if path in _WRITES:
        operation.setdefault("parameters", []).append(_IDEMPOTENCY)
        answers["200"]["headers"] = {"Idempotency-Replayed": _REPLAYED}
    for status in ("429", "503"):
        answers[status] = {**answers[status], "headers": {"Retry-After": _RETRY_AFTER}}


def _problem(description: str) -> Part:
    schema = {"$ref": f"#/components/schemas/{ProblemDocument.__name__}"}
    return {"description": description, "content": {problems.MEDIA_TYPE: {"schema": schema}}}
