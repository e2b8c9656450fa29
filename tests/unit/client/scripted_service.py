"""A service that answers by a script: what it is to answer each request, and what it was asked."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import httpx

Step = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


class Script:
    """Gives its steps one after the other, the last one again and again."""

    def __init__(self, *steps: Step) -> None:
        self._steps: Sequence[Step] = steps
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        step = self._steps[min(len(self.asked), len(self._steps) - 1)]
        self.asked.append(request)
        if isinstance(step, Exception):
            raise step
        return step if isinstance(step, httpx.Response) else step(request)

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.content) if request.content else None for request in self.asked]

    @property
    def keys(self) -> list[str | None]:
        return [request.headers.get("Idempotency-Key") for request in self.asked]


def answer(**fields: Any) -> httpx.Response:
    return httpx.Response(200, json=fields)


def problem(status: int, title: str = "No", headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    document = {"title": title, "status": status, "detail": title, **fields}
    media = {"Content-Type": "application/problem+json"}
    return httpx.Response(status, content=json.dumps(document), headers=media | (headers or {}))
