"""Reads the OpenAPI document of the API as a person does: operation by operation, each field with its type and meaning.

docs/reference/rest.md and the page at `/docs` are made of it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Schema = Mapping[str, Any]

_REF: Final = "#/components/schemas/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A parameter, or a field of a body or an answer.

    Attributes:
        name: With those of the objects around it, as in `state.reason` and `devices[].name`.
        type: In words, with its bounds.
        meaning: May be empty.
    """

    name: str
    type: str
    required: bool
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A method of a path.

    Attributes:
        answer: Fields of what a success answers, and `answers` how it is described, by status.
        errors: The statuses of errors.
    """

    method: str
    path: str
    tag: str
    description: str
    signed_in: bool
    parameters: tuple[Field, ...]
    body: tuple[Field, ...]
    answers: Mapping[str, str]
    answer: tuple[Field, ...]
    errors: tuple[str, ...]

    @property
    def name(self) -> str:
        """Method and path."""
        return f"{self.method} {self.path}"


def operations(document: Schema) -> Iterator[Operation]:
    """Yield the operations of an OpenAPI document, in its order."""
    schemas = document.get("components", {}).get("schemas", {})
    for path, methods in document["paths"].items():
        for method, said in methods.items():
            successes = {status: said for status, said in said["responses"].items() if status.startswith("2")}
            first = next(iter(successes.values()))
            yield Operation(
                method=method.upper(),
                path=path,
                tag=said["tags"][0],
                description=said["description"],
                signed_in="security" in said,
                parameters=tuple(_parameter(parameter, schemas) for parameter in said.get("parameters", ())),
                body=tuple(_fields(_schema_of(said.get("requestBody", {})), schemas)),
                answers={status: _kind(success) for status, success in successes.items()},
                answer=tuple(_fields(_schema_of(first), schemas)),
                errors=tuple(sorted(status for status in said["responses"] if status[0] in "45")),
            )


def _parameter(said: Schema, schemas: Mapping[str, Schema]) -> Field:
    schema = said["schema"]
    return Field(
        name=said["name"],
        type=f"{type_of(schema, schemas)}, in the {said['in']}",
        required=said.get("required", False),
        meaning=_meaning(said) or _meaning(schema),
    )


def _schema_of(said: Schema) -> Schema:
    return next((content.get("schema", {}) for content in said.get("content", {}).values()), {})


def _kind(success: Schema) -> str:
    kinds = [kind for kind, content in success.get("content", {}).items() if content.get("schema")]
    return kinds[0] if kinds else "nothing"


def _fields(schema: Schema, schemas: Mapping[str, Schema], prefix: str = "") -> Iterator[Field]:
    choices = [_target(choice, schemas) for choice in schema.get("anyOf", (schema,))]
    schema = next((choice for choice in choices if "properties" in choice), {})
    required = schema.get("required", ())
    for name, said in schema.get("properties", {}).items():
        yield Field(
            name=prefix + name,
            type=type_of(said, schemas),
            required=name in required,
            meaning=_meaning(said),
        )
        for inner, step in _inside(said, schemas):
            yield from _fields(inner, schemas, f"{prefix}{name}{step}.")


def _meaning(schema: Schema) -> str:
    """Return what is said of a value; of one that may be null, what is said of the other."""
    said = (choice.get("description", "") for choice in (schema, *schema.get("anyOf", ())))
    return next((" ".join(text.split()) for text in said if text), "")


def _inside(schema: Schema, schemas: Mapping[str, Schema]) -> Iterator[tuple[Schema, str]]:
    """Yield the objects that a schema holds, and how their fields are told from its own."""
    for choice in schema.get("anyOf", (schema,)):
        target = _target(choice, schemas)
        if target.get("type") == "array":
            inner = _target(target.get("items", {}), schemas)
            if "properties" in inner:
                yield inner, "[]"
        elif "properties" in target:
            yield target, ""
        elif isinstance(of := target.get("additionalProperties"), Mapping) and "$ref" in of:
            yield _target(of, schemas), "{}"


def _target(schema: Schema, schemas: Mapping[str, Schema]) -> Schema:
    return schemas[schema["$ref"].removeprefix(_REF)] if "$ref" in schema else schema


def type_of(schema: Schema, schemas: Mapping[str, Schema]) -> str:
    """Return the type of a value in words, with its bounds."""
    schema = _target(schema, schemas)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(type_of(choice, schemas) for choice in schema["anyOf"]))
    if "const" in schema or "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    match schema.get("type", "anything"):
        case "array":
            of = type_of(schema["items"], schemas) if schema.get("items") else "anything"
            words = f"list of {of}{_bounds(schema, 'Items', 'items')}"
        case "string":
            words = schema.get("format", "text") + _bounds(schema, "Length", "characters")
        case "integer" | "number" as kind:
            low, high = schema.get("minimum"), schema.get("maximum", schema.get("exclusiveMaximum"))
            words = {"integer": "whole number", "number": "number"}[kind]
            words += (f" from {low}" if low is not None else "") + (f" to {high}" if high is not None else "")
        case kind:
            words = "true or false" if kind == "boolean" else str(kind)
    return words


def _bounds(schema: Schema, of: str, what: str) -> str:
    most = schema.get(f"max{of}")
    return "" if most is None else f" (at most {most} {what})"
