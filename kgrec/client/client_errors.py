"""The error of the client: a problem document of the service, or no answer at all."""

from http import HTTPStatus

from pydantic import ValidationError

from kgrec.errors import KgrecError
from kgrec.messages import ProblemDocument

_LONGEST = 300  # characters of an answer that is no problem document


class ServiceError(KgrecError):
    """The service did not do what it was asked to.

    Attributes:
        status: the HTTP status; None: no answer arrived.
        title: what kind of error it is.
        detail: what happened, in a sentence.
        got: what was got.
        expected: what was expected.
        to_do: what to do.
        instance: the id of the request, which the log of the service has.
    """

    def __init__(
        self,
        title: str,
        *,
        status: int | None = None,
        detail: str = "",
        got: str | None = None,
        expected: str | None = None,
        to_do: str | None = None,
        instance: str | None = None,
    ) -> None:
        said = title if not detail or detail == title else f"{title}: {detail}"
        super().__init__(said if status is None else f"{said} ({status})")
        self.title, self.status, self.detail = title, status, detail
        self.got, self.expected, self.to_do, self.instance = got, expected, to_do, instance

    @classmethod
    def of_problem(cls, problem: ProblemDocument) -> "ServiceError":
        """The error of a problem document."""
        return cls(
            problem.title,
            status=problem.status,
            detail=problem.detail,
            got=problem.got,
            expected=problem.expected,
            to_do=problem.to_do,
            instance=problem.instance,
        )

    @classmethod
    def of_answer(cls, status: int, content: bytes) -> "ServiceError":
        """The error of an answer; one that is no problem document comes from a proxy or from another service."""
        try:
            return cls.of_problem(ProblemDocument.model_validate_json(content))
        except ValidationError:
            known = {int(one): one.phrase for one in HTTPStatus}
            said = content[:_LONGEST].decode(errors="replace").strip()
            return cls(known.get(status, "The service did not answer"), status=status, detail=said)
