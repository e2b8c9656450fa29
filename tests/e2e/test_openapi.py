"""The OpenAPI document and the real service say the same: its examples are answered, and drawn requests conform."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from film_bundle import train_films
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks
from serving import Server, serve

from kgrec.service.caller import Scope

Document = dict[str, Any]
BATCH = "/recommend/batch"
LIMITS = {"failures_per_minute": 1_000_000, "requests_per_s": 1e6, "burst": 1_000_000}
STATUSES = {"401", "403", "413", "415", "422", "429", "503"}
ANY_HEALTH = list(HealthCheck)
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.ignored_auth,
]


@schemathesis.serializer("application/x-ndjson")
def write_lines(_: Any, value: Any) -> dict[str, bytes]:
    return {"data": value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("films")
    (folder / "report").mkdir()
    (folder / "report" / "report.html").write_text("<h1>Report</h1>", encoding="utf-8")
    with serve(train_films(folder), folder / "films.service", limits=LIMITS, report=str(folder / "report")) as running:
        yield running


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    return server.key()


@pytest.fixture(scope="module")
def document(server: Server, key: str) -> Document:
    found = httpx.get(f"{server.url}/openapi.json", headers={"Authorization": f"Bearer {key}"}, timeout=30)
    assert found.status_code == 200
    read: Document = found.json()
    return read


@pytest.fixture(scope="module")
def api(document: Document, server: Server) -> schemathesis.BaseSchema:
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=server.url)
    schema.config.generation.update(with_security_parameters=False)  # each request has the key
    return schema


def list_operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield method, path, operation


def test_every_operation_is_described(document: Document) -> None:
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert document["security"] == [{"key": []}]
    names = []
    for method, path, operation in list_operations(document):
        names.append(operation["operationId"])
        assert len(operation["summary"].split()) > 1, path
        if path == "/health":
            assert operation["security"] == []
            continue
        expected = STATUSES if method == "post" else STATUSES - {"413", "415", "422"}
        assert expected <= set(operation["responses"]), path
        for status, answer in operation["responses"].items():
            media = set(answer["content"])
            assert status == "200" or media == {"application/problem+json"}, (path, status)
            for content in answer["content"].values():
                assert content["schema"], (path, status)
    assert len(set(names)) == len(names)


def test_bodies_have_examples_and_references_lead_somewhere(document: Document) -> None:
    for _, path, operation in list_operations(document):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            assert content["examples"], path
    text = json.dumps(document)
    for part in text.split('"$ref": "#/components/schemas/')[1:]:
        assert part.split('"')[0] in document["components"]["schemas"]


def test_writes_take_an_idempotency_key_and_batches_are_lines(document: Document) -> None:
    writes = {path for _, path, operation in list_operations(document) if operation.get("parameters")}
    assert writes == {"/items", "/users", "/interactions", "/feedback"}
    for path in writes:
        (parameter,) = document["paths"][path]["post"]["parameters"]
        assert (parameter["name"], parameter["in"], parameter["required"]) == ("Idempotency-Key", "header", False)
    batch = document["paths"][BATCH]["post"]
    assert list(batch["requestBody"]["content"]) == ["application/x-ndjson"]
    assert list(batch["responses"]["200"]["content"]) == ["application/x-ndjson"]


def test_each_example_is_answered(server: Server, document: Document) -> None:
    n_sent = 0
    with server.client() as client:
        for method, path, operation in list_operations(document):
            if method == "get":
                assert client.get(path).status_code == 200, path
                continue
            for media, content in operation.get("requestBody", {}).get("content", {}).items():
                for example in content["examples"].values():
                    value = example["value"]
                    sent = value if isinstance(value, str) else json.dumps(value)
                    found = client.post(path, content=sent, headers={"Content-Type": media})
                    assert found.status_code == 200, (path, value, found.text)
                    n_sent += 1
                    if path == BATCH:
                        lines = [json.loads(line) for line in found.text.splitlines()]
                        assert len(lines) == sent.count("\n")
                        assert all(line["items"] for line in lines)
    assert n_sent >= 12


def test_nobody_reads_the_document_without_a_key(server: Server) -> None:
    assert httpx.get(f"{server.url}/openapi.json", timeout=30).status_code == 401
    with server.client(Scope.READ) as reader:
        assert reader.get("/openapi.json").status_code == 200


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_drawn_requests_conform(api: schemathesis.BaseSchema, key: str, mode: GenerationMode) -> None:
    failed, n_operations = [], 0
    for found in api.get_all_operations():
        operation = found.ok()
        if mode.is_negative and not (operation.body or operation.headers):
            continue  # nothing in it can be wrong
        n_operations += 1
        try:
            send_drawn(operation, mode, key)
        except FailureGroup as failures:
            failed.append(f"{operation.label}: {failures}")
    assert not failed, "\n".join(failed)
    assert n_operations >= (23 if mode.is_positive else 14)


def send_drawn(operation: schemathesis.APIOperation[Any, Any, Any, Any], mode: GenerationMode, key: str) -> None:
    """Sends requests that are drawn from the description of an operation, and checks the answers."""
    chosen = [check for check in CHECKS if operation.path != BATCH or check is not checks.negative_data_rejection]

    @settings(max_examples=12, derandomize=True, database=None, deadline=None, suppress_health_check=ANY_HEALTH)
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: schemathesis.Case) -> None:
        case.call_and_validate(headers={"Authorization": f"Bearer {key}"}, checks=chosen)

    send()
