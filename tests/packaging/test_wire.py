"""The wire changes only with its version: it is compared with the document that fixed its number.

`openapi-VERSION.json` is the wire of the newest release. Release 0.2.0 is the first with such a file: until it is out,
the file is the wire of 0.2.0. A release puts its own document in the older one's stead (docs/releasing.md).
"""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.packaging.conftest import ROOT
from tests.packaging.openapi_changes import changes

[FIXED_FILE] = Path(__file__).parent.glob("openapi-*.json")
FIXED = json.loads(FIXED_FILE.read_text())
NOW = json.loads((ROOT / "docs" / "openapi.json").read_text())


def version(document: Any) -> tuple[int, ...]:
    return tuple(int(part) for part in document["info"]["version"].split("."))


def test_an_incompatible_change_needs_a_new_major_version_and_any_other_a_new_minor_one() -> None:
    assert FIXED_FILE.stem == f"openapi-{FIXED['info']['version']}"
    found = changes(FIXED, NOW)
    breaking = [f"{each.place} {each.what}" for each in found if each.breaks]
    before, now = version(FIXED), version(NOW)
    if breaking:
        assert now[0] > before[0], f"the wire's VERSION needs a new first number: {breaking}"
    elif found:
        what = [f"{each.place} {each.what}" for each in found]
        assert now[:2] > before[:2], f"the wire's VERSION needs a new second number: {what}"
    assert now >= before


Doc = dict[str, Any]


def schema(document: Doc, name: str) -> Doc:
    found: Doc = document["components"]["schemas"][name]
    return found


def operation(document: Doc) -> Doc:
    found: Doc = document["paths"]["/score/solver"]["post"]
    return found


def sent(document: Doc) -> Doc:
    """The schema of a group in a request."""
    return schema(document, "Group")


def received(document: Doc) -> Doc:
    """The schema of a rollout in a response."""
    return schema(document, "ScoredRollout")


def with_field(name: str, needed: bool) -> Callable[[Doc], Any]:
    def change(document: Doc) -> None:
        sent(document)["properties"][name] = {"type": "string"}
        if needed:
            sent(document).setdefault("required", []).append(name)

    return change


BREAKING: dict[str, Callable[[Doc], Any]] = {
    "a path is gone": lambda doc: doc["paths"].pop("/score/solver"),
    "a method is gone": lambda doc: doc["paths"]["/configs/{name}"].pop("delete"),
    "an answer is gone": lambda doc: operation(doc)["responses"].pop("200"),
    "a field of a request is gone": lambda doc: sent(doc)["properties"].pop("question"),
    "a field of a response is gone": lambda doc: received(doc)["properties"].pop("reward"),
    "a request needs a new field": with_field("new", True),
    "a field of a request became required": lambda doc: sent(doc)["required"].append("question"),
    "a field of a response became optional": lambda doc: received(doc)["required"].remove("reward"),
    "a field of a response can be null": lambda doc: received(doc)["properties"].update(
        id={"anyOf": [{"type": "string"}, {"type": "null"}]}
    ),
    "a field of a response has another type": lambda doc: received(doc)["properties"].update(
        reward={"type": "string"}
    ),
    "a field of a request has another type": lambda doc: sent(doc)["properties"].update(
        id={"type": "integer"}
    ),
    "a response has a new value": lambda doc: received(doc)["properties"].update(
        status={"type": "string", "enum": ["ok", "invalid", "abstain", "new"]}
    ),
    "a request has a narrower bound": lambda doc: sent(doc)["properties"]["id"].update(maxLength=2),
    "an alternative of a request has a narrower bound": lambda doc: sent(doc)["properties"]["question"][
        "anyOf"
    ][0].update(maxLength=9),
    "a request has another pattern": lambda doc: sent(doc)["properties"]["image"]["anyOf"][0].update(
        pattern="^[0-9a-f]{128}$"
    ),
    "a request has a new bound": lambda doc: sent(doc)["properties"]["rollouts"].update(minItems=99),
    "a query parameter is gone": lambda doc: doc["paths"]["/cohort/remote"]["post"]["parameters"].pop(0),
    "a query parameter is needed": lambda doc: doc["paths"]["/cohort/remote"]["post"]["parameters"].append(
        {"in": "query", "name": "new", "required": True, "schema": {"type": "string"}}
    ),
}
HARMLESS: dict[str, Callable[[Doc], Any]] = {
    "a new path": lambda doc: doc["paths"].update({"/new": {"get": {"responses": {"200": {}}}}}),
    "a new method": lambda doc: doc["paths"]["/configs"].update(delete={"responses": {"200": {}}}),
    "a new error": lambda doc: operation(doc)["responses"].update({"418": {}}),
    "an error is gone": lambda doc: operation(doc)["responses"].pop("504"),
    "a new optional field of a request": with_field("new", False),
    "a new field of a response": lambda doc: received(doc)["properties"].update(new={"type": "number"}),
    "a request can leave a field out": lambda doc: sent(doc)["required"].remove("rollouts"),
    "a request can be null": lambda doc: sent(doc)["properties"].update(
        id={"anyOf": [{**sent(doc)["properties"]["id"]}, {"type": "null"}]}
    ),
    "a response has a value less": lambda doc: received(doc)["properties"].update(
        status={"type": "string", "enum": ["ok", "invalid"]}
    ),
    "a request has a wider bound": lambda doc: sent(doc)["properties"]["id"].pop("maxLength"),
    "a request takes any other field": lambda doc: sent(doc).pop("additionalProperties"),
    "a new optional query parameter": lambda doc: doc["paths"]["/cohort/remote"]["post"]["parameters"].append(
        {"in": "query", "name": "new", "required": False, "schema": {"type": "string"}}
    ),
}
PROSE: dict[str, Callable[[Doc], Any]] = {
    "nothing": lambda _: None,
    "a description": lambda doc: operation(doc).update(description="other words"),
    "a description of a field": lambda doc: sent(doc)["properties"]["id"].update(description="other words"),
    "the order of schemas": lambda doc: doc["components"].update(
        schemas=dict(reversed(doc["components"]["schemas"].items()))
    ),
    "an operation id": lambda doc: operation(doc).update(operationId="other"),
}


def changed(change: Callable[[Doc], Any]) -> Doc:
    document: Doc = copy.deepcopy(NOW)
    change(document)
    return document


@pytest.mark.parametrize("change", BREAKING.values(), ids=BREAKING)
def test_a_change_that_breaks_clients_is_seen(change: Callable[[Doc], Any]) -> None:
    assert any(each.breaks for each in changes(NOW, changed(change)))


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_an_addition_is_a_change_and_breaks_nobody(change: Callable[[Doc], Any]) -> None:
    found = changes(NOW, changed(change))
    assert found
    assert not [each for each in found if each.breaks]


def test_a_request_that_no_longer_takes_other_fields_breaks_clients() -> None:
    before = changed(lambda doc: sent(doc).pop("additionalProperties"))
    assert any(each.breaks for each in changes(before, NOW))


@pytest.mark.parametrize("index", [0, 1])
def test_each_of_two_alternatives_of_one_type_is_compared(index: int) -> None:
    def alternatives(document: Doc) -> None:
        sent(document)["properties"]["id"] = {"anyOf": [{"type": "string"}, {"type": "string"}]}

    before = changed(alternatives)
    after = copy.deepcopy(before)
    sent(after)["properties"]["id"]["anyOf"][index]["maxLength"] = 2
    assert any(each.breaks for each in changes(before, after))


@pytest.mark.parametrize("change", PROSE.values(), ids=PROSE)
def test_other_words_are_no_change(change: Callable[[Doc], Any]) -> None:
    assert changes(NOW, changed(change)) == []
