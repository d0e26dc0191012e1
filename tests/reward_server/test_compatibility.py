"""Old clients keep working within one major version of the wire: the API is compared with a committed baseline.

A change that breaks them raises the first number of `wire.VERSION`; then write the baseline anew with
`python -m tests.reward_server.test_compatibility`.
"""

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ireasoner.reward_server.app import create_app
from ireasoner.reward_server.settings import RewardServerSettings

BASELINE = Path(__file__).with_name("openapi_baseline.json")
PROSE = frozenset({"title", "description", "summary", "operationId", "example", "examples", "default"})
"""Keys of a schema that say nothing about which values are valid."""

Document = dict[str, Any]


def document() -> Document:
    """The OpenAPI document of the app as it is."""
    found: Document = json.loads(json.dumps(create_app(RewardServerSettings()).openapi()))
    return found


def breaks(before: Document, after: Document) -> Iterator[str]:
    """What a client of `before` cannot rely on in `after`, one line each."""
    for path, operations in before["paths"].items():
        for method, operation in operations.items():
            name = f"{method.upper()} {path}"
            changed = after["paths"].get(path, {}).get(method)
            if changed is None:
                yield f"{name} is gone"
                continue
            yield from _parameter_breaks(name, _parameters(operation), _parameters(changed))
            for part in ("requestBody", "200"):
                if _content(operation, part) != _content(changed, part):
                    yield f"{name}: another {part}"
    old, new = before["components"]["schemas"], after["components"]["schemas"]
    for name in _reached(before, "requestBody"):
        yield from _schema_breaks(name, old[name], new.get(name), sent=True)
    for name in _reached(before, "200") | _reached(before, "problem"):
        yield from _schema_breaks(name, old[name], new.get(name), sent=False)


def _parameter_breaks(name: str, old: Document, new: Document) -> Iterator[str]:
    for key, parameter in old.items():
        if key not in new or _shape(new[key]) != _shape(parameter):
            yield f"{name}: the parameter {key} is gone or different"
    for key in new.keys() - old.keys():
        if new[key].get("required"):
            yield f"{name}: the parameter {key} is required"


def _schema_breaks(name: str, old: Document, new: Document | None, *, sent: bool) -> Iterator[str]:
    if new is None:
        yield f"{name} is gone"
        return
    required, required_before = set(new.get("required", ())), set(old.get("required", ()))
    for field in required - required_before if sent else required_before - required:
        yield f"{name}.{field} is {'required' if sent else 'optional'}"
    for field, shape in old.get("properties", {}).items():
        changed = new.get("properties", {}).get(field)
        if changed is None or _shape(changed) != _shape(shape):
            yield f"{name}.{field} is gone or different"


def _parameters(operation: Document) -> Document:
    return {each["name"]: each for each in operation.get("parameters", ())}


def _content(operation: Document, part: str) -> Any:
    if part == "requestBody":
        return _shape(operation.get("requestBody", {}).get("content"))
    if part == "200":
        return _shape(operation["responses"]["200"].get("content"))
    return [response.get("content") for status, response in operation["responses"].items() if status != "200"]


def _shape(schema: Any) -> Any:
    """A schema without its prose; a property may have any name."""
    if isinstance(schema, dict):
        return {
            key: {name: _shape(each) for name, each in value.items()}
            if key == "properties"
            else _shape(value)
            for key, value in schema.items()
            if key not in PROSE
        }
    return [_shape(each) for each in schema] if isinstance(schema, list) else schema


def _reached(whole: Document, part: str) -> set[str]:
    """The schemas that this part of any operation refers to, directly or not."""
    reached: set[str] = set()
    rest = [_content(operation, part) for each in whole["paths"].values() for operation in each.values()]
    while rest:
        found = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(rest))) - reached
        reached |= found
        rest = [whole["components"]["schemas"][name] for name in found]
    return reached


def test_no_change_breaks_clients_of_this_major_version() -> None:
    baseline, now = json.loads(BASELINE.read_text()), document()
    versions = [whole["info"]["version"].split(".")[0] for whole in (baseline, now)]
    if versions[0] != versions[1]:
        pytest.fail("the wire has a new major version: write its baseline, see this file's first lines")
    assert list(breaks(baseline, now)) == []


def _without(field: str, schema: str) -> Callable[[Document], Any]:
    return lambda whole: whole["components"]["schemas"][schema]["properties"].pop(field)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda whole: whole["paths"].pop("/score/solver"), "POST /score/solver is gone"),
        (_without("alpha", "ConfigOverrides"), "ConfigOverrides.alpha is gone or different"),
        (_without("reward", "ScoredRollout"), "ScoredRollout.reward is gone or different"),
        (_without("title", "Problem"), "Problem.title is gone or different"),
        (
            lambda whole: whole["components"]["schemas"]["Group"]["required"].append("weight"),
            "Group.weight is required",
        ),
        (
            lambda whole: whole["components"]["schemas"]["ScoredGroup"]["required"].remove("tie"),
            "ScoredGroup.tie is optional",
        ),
        (
            lambda whole: whole["paths"]["/cohort/remote"]["post"]["parameters"].pop(0),
            "POST /cohort/remote: the parameter answer is gone or different",
        ),
    ],
)
def test_a_break_is_found(change: Callable[[Document], Any], message: str) -> None:
    baseline, changed = json.loads(BASELINE.read_text()), document()
    change(changed)
    assert message in list(breaks(baseline, changed))


def test_additions_and_prose_break_nothing() -> None:
    now = document()
    changed = copy.deepcopy(now)
    schemas = changed["components"]["schemas"]
    schemas["ScoreRequest"]["properties"]["note"] = {"type": "string"}
    schemas["ScoredGroup"]["properties"]["note"] = {"type": "string", "description": "New."}
    schemas["ScoredGroup"]["required"].append("note")
    schemas["Step"]["properties"]["text"]["description"] = "Other words."
    changed["paths"]["/new"] = changed["paths"]["/livez"]
    assert list(breaks(now, changed)) == []


if __name__ == "__main__":
    BASELINE.write_text(json.dumps(_shape(document()), indent=1) + "\n")
