"""What routes share: how a body is described in the OpenAPI, and how JSON is answered."""

from typing import Any

from pydantic import BaseModel
from starlette.responses import Response

from kgrec.messages import ProblemDocument
from kgrec.service.problems import MEDIA_TYPE

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}}
    for status, text in (
        (401, "No key, or a wrong one"),
        (403, "The key does not allow it"),
        (413, "The body is too long"),
        (415, "The body is not JSON"),
        (422, "The request cannot be answered"),
        (429, "Too many requests"),
        (503, "The service cannot answer now"),
    )
}
MODELS: list[type[BaseModel]] = [ProblemDocument]  # bodies and answers that the OpenAPI describes


def describe_body(model: type[BaseModel]) -> dict[str, Any]:
    """The body of a route, which reads it itself, for the OpenAPI."""
    if model not in MODELS:
        MODELS.append(model)
    content: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}
    examples = model.model_json_schema().get("examples", [])
    if examples:
        content["examples"] = {f"example {place}": {"value": example} for place, example in enumerate(examples, 1)}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def as_json(content: bytes, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(content, media_type="application/json", headers=headers)
