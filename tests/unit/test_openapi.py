"""The API's description is valid OpenAPI, and describes the route table: all of it and nothing else."""

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.documentation import read_description
from gateway.routes import ROUTES, Route

OWN_PATHS = {"/health-check", "/openapi.json", "/docs"}
"""Answered by the gateway itself."""
NEVER_KEYED = {"token", "timestamp", "nonce", "signature", "echostr"}
"""Answers to these are not shared, so the route table does not know of them."""
DESCRIPTION = read_description()
PATHS: dict[str, Any] = DESCRIPTION["paths"]


def test_the_description_is_valid() -> None:
    assert list(OpenAPIV31SpecValidator(DESCRIPTION).iter_errors()) == []


def test_every_route_is_described_and_nothing_else() -> None:
    assert set(PATHS) - OWN_PATHS == {route.path for route in ROUTES}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_a_route_is_described_as_it_is(route: Route) -> None:
    described = PATHS[route.path]
    operations = _operations(described)
    assert {name.upper() for name in operations} == set(route.methods) - {"HEAD"}
    servers = [server["url"].rstrip("/") for server in described.get("servers", DESCRIPTION["servers"])]
    assert servers == list(route.prefixes)
    if "get" in operations:
        named = [*_parameters(described), *_parameters(operations["get"])]
        asked = {parameter["name"] for parameter in named if parameter["in"] == "query"}
        assert asked - NEVER_KEYED == route.parameters


def test_every_operation_has_a_name_of_its_own_and_a_place() -> None:
    operations = [operation for path in PATHS.values() for operation in _operations(path).values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    known = {tag["name"] for tag in DESCRIPTION["tags"]}
    assert {tag for operation in operations for tag in operation["tags"]} == known
    assert all(operation["summary"] for operation in operations)


def test_every_example_is_what_its_schema_says() -> None:
    seen = 0
    for schema in _schemas(DESCRIPTION):
        for example in schema["examples"]:
            whole = {**schema, "components": DESCRIPTION["components"]}
            Draft202012Validator(whole).validate(example)
            seen += 1
    assert seen > 15


def _operations(path: dict[str, Any]) -> dict[str, Any]:
    return {name: told for name, told in path.items() if name not in {"servers", "parameters"}}


def _parameters(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for parameter in operation.get("parameters", ()):
        name = parameter.get("$ref", "").removeprefix("#/components/parameters/")
        yield DESCRIPTION["components"]["parameters"][name] if name else parameter


def _schemas(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "examples" in node:
            yield node
        for inner in node.values():
            yield from _schemas(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _schemas(inner)
