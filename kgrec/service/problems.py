"""Errors as problem documents (RFC 9457): what was got, what was expected and what to do."""

from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import Response

from kgrec.errors import KgrecError, RequestError, TextError
from kgrec.messages import ProblemDocument

MEDIA_TYPE = "application/problem+json"
_LONGEST = 500  # characters of what was got


class Problem(Exception):  # noqa: N818 -- as RFC 9457 calls it
    """An error that the service answers.

    Args:
        status: the HTTP status.
        title: what kind of error it is, the same for all of its kind.
        got: what was got.
        expected: what was expected.
        to_do: what to do.
        headers: headers of the answer, such as Retry-After.
    """

    def __init__(
        self,
        status: int,
        title: str,
        *,
        got: str | None = None,
        expected: str | None = None,
        to_do: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(title)
        self.status, self.title, self.headers = status, title, dict(headers or {})
        self.got = None if got is None else got[:_LONGEST]
        self.expected, self.to_do = expected, to_do

    @classmethod
    def of(cls, error: KgrecError) -> "Problem":
        """The problem of an error of kgrec: what the request got wrong is 422, the rest 503."""
        if isinstance(error, RequestError):
            return cls(HTTPStatus.UNPROCESSABLE_ENTITY, "The request cannot be answered", got=str(error))
        title = "Texts cannot be read now" if isinstance(error, TextError) else "The service cannot answer now"
        return cls(HTTPStatus.SERVICE_UNAVAILABLE, title, got=str(error))

    def document(self, request: str | None = None) -> ProblemDocument:
        """The document, with the id of the request."""
        parts = [f"got {self.got}" if self.got and (self.expected or self.to_do) else self.got]
        parts += [f"expected {self.expected}" if self.expected else None, self.to_do]
        detail = "; ".join(part for part in parts if part)
        return ProblemDocument(
            title=self.title,
            status=self.status,
            detail=detail or self.title,
            instance=request,
            got=self.got,
            expected=self.expected,
            to_do=self.to_do,
        )

    def response(self, request: str | None = None) -> Response:
        """The response, with the id of the request."""
        content = self.document(request).model_dump_json(exclude_none=True)
        return Response(content, self.status, self.headers, MEDIA_TYPE)
