"""The OpenAPI document is complete, bounds what requests may say, and is what the pages are made from."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from rest_pages import LACKS, all_operations

from qiskit_runtime_server import Settings, create_app

DOCUMENT: Mapping[str, Any] = create_app(settings=Settings(_env_file=None)).openapi()
OPERATIONS = [
    (f"{method.upper()} {path}", said) for path, of in DOCUMENT["paths"].items() for method, said in of.items()
]
WITHOUT_TOKEN = {
    "/health",
    "/identity/token",
    "/qiskit-runtime-server-",
    "/api/v1/qiskit-runtime-server-",
    "/api/v1/versions",
}
OURS = ("admin/", "health", "chaos", "executors", "caller", "drawing", "outcomes")
every = pytest.mark.parametrize(("name", "said"), OPERATIONS, ids=[name for name, _ in OPERATIONS])

each = pytest.mark.parametrize("said", [said for _, said in OPERATIONS], ids=[name for name, _ in OPERATIONS])


def target(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" in schema:
        return target(DOCUMENT["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]])
    return schema


def unbounded(schema: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield the places of a schema at which a request may say as much as it likes."""
    schema = target(schema)
    for part in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from unbounded(part, where)
    if "enum" in schema or "const" in schema or "format" in schema:
        return
    match schema.get("type"):
        case "string" if "maxLength" not in schema:
            yield where
        case "array":
            if "maxItems" not in schema:
                yield where
            yield from unbounded(schema["items"], f"{where}[]")
        case "integer" if not {"maximum", "exclusiveMaximum"} & schema.keys():
            yield where
        case "object":
            for key, value in schema.get("properties", {}).items():
                yield from unbounded(value, f"{where}.{key}")


@each
def test_whatever_a_request_says_is_bounded(said: Mapping[str, Any]) -> None:
    found = [
        where
        for parameter in said.get("parameters", ())
        for where in unbounded(parameter["schema"], f"{parameter['in']} {parameter['name']}")
    ]
    for content in said.get("requestBody", {}).get("content", {}).values():
        found += unbounded(content["schema"], "body")
    assert found == []


def test_the_walk_finds_what_has_no_bound() -> None:
    texts = {"type": "array", "items": {"type": "string"}}
    assert list(unbounded({"anyOf": [texts, {"type": "null"}]}, "q")) == ["q", "q[]"]
    body = {"type": "object", "properties": {"number": {"type": "integer"}, "name": {"type": "string", "maxLength": 9}}}
    assert list(unbounded(body, "body")) == ["body.number"]


@each
def test_every_operation_says_what_it_answers(said: Mapping[str, Any]) -> None:
    assert said["description"].endswith((".", ".\n"))
    assert said["tags"]
    successes = {status: answer for status, answer in said["responses"].items() if status.startswith("2")}
    assert successes
    for status, answer in successes.items():
        described = [content["schema"] for content in answer.get("content", {}).values()]
        assert described == [] if status == "204" else all(described) and described
    errors = {status: answer for status, answer in said["responses"].items() if not status.startswith("2")}
    assert {"400", "503", "default"} <= errors.keys()
    assert "422" not in errors
    assert all(target(answer["content"]["application/json"]["schema"]) for answer in errors.values())


@every
def test_every_operation_with_a_body_describes_it(name: str, said: Mapping[str, Any]) -> None:
    method, path = name.split()
    without = ("/cancel", "/search")
    assert ("requestBody" in said) is (method in {"POST", "PUT", "PATCH"} and not path.endswith(without))


@every
def test_every_operation_says_who_may_call_it(name: str, said: Mapping[str, Any]) -> None:
    path = name.split()[1]
    schemes = {scheme for either in said.get("security", ()) for scheme in either}
    if path.startswith(tuple(WITHOUT_TOKEN)):
        assert schemes == set()
    else:
        assert schemes == {"AccessToken", "AccountToken"}
        assert "401" in said["responses"]


def test_every_field_of_an_answer_has_a_type() -> None:
    untyped = [
        f"{operation.name}: {field.name}"
        for operation in all_operations()
        for field in (*operation.answer, *operation.body)
        if field.type == "anything" and not field.name.endswith("params")
    ]
    assert untyped == []


def test_each_path_that_ibm_has_is_compared_with_it() -> None:
    parts = ("admin/", "class/", "health", "chaos", "executors", "caller", "drawing", "outcomes")
    ours = {name for name, _ in OPERATIONS if any(f"/{part}" in name for part in parts)}
    assert LACKS.keys() == {name for name, _ in OPERATIONS} - ours
