"""Long batches as a row of small requests, so that neither side holds more than a part of one."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pydantic import TypeAdapter
from pydantic_core import to_json

from kgrec.client.calls import Call, Fields
from kgrec.messages import ProblemDocument, RecommendAnswer, RecommendBody

if TYPE_CHECKING:
    from kgrec.client.client_errors import ServiceError

_LINES = 256  # lines of one request: as many as the service keeps in memory
_BYTES = 2**20
_LINE: TypeAdapter[RecommendAnswer | ProblemDocument] = TypeAdapter(RecommendAnswer | ProblemDocument)


def make_batch_calls(
    bodies: Iterable[RecommendBody | Fields],
) -> Iterator[Call[list["RecommendAnswer | ServiceError"]]]:
    """Makes the requests of a batch.

    A request is sent whole before its answer is read, since httpx cannot do both at once. So it is small enough for
    the service to read it before anybody takes the answers.

    Args:
        bodies: the requests of single users; mappings are sent as they are, and the service checks them.

    Returns:
        One request for each 256 bodies, or for fewer where they are long.
    """
    lines: list[bytes] = []
    n_bytes = 0
    for body in bodies:
        line = body.model_dump_json(exclude_defaults=True).encode() if isinstance(body, RecommendBody) else _write(body)
        if lines and (len(lines) == _LINES or n_bytes + len(line) > _BYTES):
            yield _make_call(lines)
            lines, n_bytes = [], 0
        lines.append(line)
        n_bytes += len(line)
    if lines:
        yield _make_call(lines)


def _write(body: Fields) -> bytes:
    return to_json(dict(body), inf_nan_mode="constants")


def _make_call(lines: list[bytes]) -> Call[list["RecommendAnswer | ServiceError"]]:
    n_lines = len(lines)

    def read(content: bytes) -> list["RecommendAnswer | ServiceError"]:
        answers = [_read_line(line) for line in content.splitlines()]
        if len(answers) != n_lines:
            raise ValueError(f"{len(answers)} answers to {n_lines} lines")
        return answers

    return Call("/recommend/batch", read, b"\n".join([*lines, b""]), media_type="application/x-ndjson")


def _read_line(line: bytes) -> "RecommendAnswer | ServiceError":
    answer = _LINE.validate_json(line)
    if isinstance(answer, RecommendAnswer):
        return answer
    from kgrec.client.client_errors import ServiceError

    return ServiceError.of_problem(answer)
