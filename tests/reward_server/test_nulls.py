"""Null is accepted where the OpenAPI document declares it, and only there."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from jsonschema_rs import Draft202012Validator

from ireasoner.reward_server.app import create_app
from ireasoner.reward_server.settings import RewardServerSettings

Json = dict[str, Any]
Path = tuple[str | int, ...]

DOCUMENT: Json = json.loads(json.dumps(create_app(RewardServerSettings()).openapi()))
TEXT = "<think>Step 1: east</think><answer>7</answer>"
ROLLOUTS: list[Json] = [
    {"id": "text", "text": TEXT},
    {"id": "whole", "text": TEXT, "answer": None, "steps": None, "finish_reason": "stop"},
    {"id": "parsed", "answer": "7", "steps": ["east", "north"]},
    {"id": "no steps", "answer": "7"},
    {"id": "no answer", "steps": ["east"], "text": None},
]


def resolved(schema: Json) -> Json:
    """A schema, or the one that it refers to."""
    while "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def admits(schema: Json, value: Any) -> bool:
    """Whether a value follows a schema of the document."""
    return Draft202012Validator({**schema, "components": DOCUMENT["components"]}).is_valid(value)


def bodies() -> Iterator[tuple[str, str, Json, Any]]:
    """Method and route of an endpoint of every request schema, the schema, and valid bodies."""
    seen = []
    for route, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if content is None or content["schema"] in seen:
                continue
            seen.append(content["schema"])
            yield method, route, content["schema"], content["example"]
            if route.startswith("/score/"):
                config = {name: field["default"] for name, field in _fields("ConfigOverrides").items()}
                group = {"id": "g", "rollouts": ROLLOUTS}
                yield method, route, content["schema"], {"groups": [group], "config": config}


def _fields(schema: str) -> Json:
    fields: Json = DOCUMENT["components"]["schemas"][schema]["properties"]
    return fields


def positions(schema: Json, value: Any, path: Path = ()) -> Iterator[Path]:
    """Where a value could be null: itself, its declared and its present fields, its elements, and theirs."""
    yield path
    schemas = [resolved(each) for each in (schema, *resolved(schema).get("anyOf", ()))]
    if isinstance(value, dict):
        declared: Json = {name: part for each in schemas for name, part in each.get("properties", {}).items()}
        for name in {**declared, **value}:
            yield from positions(declared.get(name, {}), value.get(name), (*path, name))
    if isinstance(value, list):
        items: Json = next((each["items"] for each in schemas if "items" in each), {})
        for index, element in enumerate(value):
            yield from positions(items, element, (*path, index))


def with_null(body: Any, path: Path) -> Any:
    """A body with null at a position."""
    if not path:
        return None
    changed = copy.deepcopy(body)
    part = changed
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = None
    return changed


@pytest.mark.parametrize(
    ("method", "route", "schema", "body"),
    bodies(),
    ids=[f"{method} {route} {len(json.dumps(body))}" for method, route, _, body in bodies()],
)
def test_null_is_accepted_exactly_where_it_is_declared(
    compass_http: httpx.Client, method: str, route: str, schema: Json, body: Any
) -> None:
    assert admits(schema, body)
    url = route.replace("{name}", "nulls")
    if url.startswith(("/cohort/", "/verify")):
        url += "?group_size=1"
    wrong = []
    for path in positions(schema, body):
        changed = with_null(body, path)
        response = compass_http.request(
            method, url, content=json.dumps(changed), headers={"content-type": "application/json"}
        )
        assert response.status_code in (200, 422), response.text
        if admits(schema, changed) != (response.status_code == 200):
            wrong.append((path, response.text))
    assert wrong == []


def test_no_url_and_no_header_can_be_null() -> None:
    """They are texts: `?group_size=null` is not the absence of a number."""
    parameters = [
        (route, each["name"], each["schema"])
        for route, operations in DOCUMENT["paths"].items()
        for operation in operations.values()
        for each in operation.get("parameters", ())
    ]
    assert len(parameters) > 10
    assert [(route, name) for route, name, schema in parameters if admits(schema, None)] == []
