"""What `changes` finds between two documents: each change of a schema as it is sent and as it is received."""

from typing import Any

import pytest

from tests.packaging.openapi_changes import changes

Doc = dict[str, Any]
TEXT, WHOLE, NUMBER, NULL = ({"type": each} for each in ("string", "integer", "number", "null"))


def one_of(*values: object) -> Doc:
    return {"enum": [*values]}


def fields(**properties: Doc) -> Doc:
    return {"type": "object", "properties": properties}


def document(sent: Any = None, received: Any = None, **rest: Any) -> Doc:
    """A document of one operation, which sends and receives these schemas."""
    operation: Doc = {"responses": {"200": {"description": "Words."}}}
    if sent is not None:
        operation["requestBody"] = {"content": {"application/json": {"schema": sent}}}
    if received is not None:
        operation["responses"]["200"]["content"] = {"application/json": {"schema": received}}
    schemas = rest.pop("schemas", {})
    schemes = rest.pop("schemes", {})
    whole = {key: rest.pop(key) for key in [*rest] if key == "of_all"}
    operation.update(rest)
    return {
        "paths": {"/": {"post": operation}},
        "components": {"schemas": schemas, "securitySchemes": schemes},
        **({"security": whole["of_all"]} if whole else {}),
    }


CASES: dict[str, tuple[Any, Any, bool, bool]] = {
    # old, new, breaks those who send it, breaks those who receive it
    "a format": (TEXT, {**TEXT, "format": "date-time"}, True, False),
    "no format": ({**TEXT, "format": "date-time"}, TEXT, False, True),
    "another format": ({**TEXT, "format": "date"}, {**TEXT, "format": "date-time"}, True, True),
    "bytes for text": (TEXT, {**TEXT, "format": "binary"}, True, False),
    "a pattern": (TEXT, {**TEXT, "pattern": "^a"}, True, False),
    "no pattern": ({**TEXT, "pattern": "^a"}, TEXT, False, False),
    "no equal items": ({"type": "array"}, {"type": "array", "uniqueItems": True}, True, False),
    "equal items": ({"type": "array", "uniqueItems": True}, {"type": "array"}, False, True),
    "a multiple": (WHOLE, {**WHOLE, "multipleOf": 2}, True, False),
    "whole numbers alone": (NUMBER, WHOLE, True, False),
    "any number": (WHOLE, NUMBER, False, True),
    "a type for anything": ({}, TEXT, True, False),
    "anything for a type": (TEXT, {}, False, True),
    "any text for two": (one_of("a", "b"), TEXT, False, True),
    "two texts for any": (TEXT, one_of("a", "b"), True, False),
    "texts for numbers": (one_of("a", "b"), NUMBER, True, True),
    "null for a value": (TEXT, {"anyOf": [TEXT, NULL]}, False, True),
    "no null": ({"anyOf": [TEXT, NULL]}, TEXT, True, False),
    "null as a second type": (TEXT, {"type": ["string", "null"]}, False, True),
    "a bound of one alternative": (
        {**TEXT, "maxLength": 5},
        {"anyOf": [{**TEXT, "maxLength": 2}, NULL]},
        True,
        True,
    ),
    "a bound beside the alternatives": (
        {"anyOf": [TEXT, NULL]},
        {"anyOf": [TEXT, NULL], "maxLength": 2},
        True,
        False,
    ),
    "one more of all": ({"allOf": [TEXT]}, {"allOf": [TEXT, {"maxLength": 2}]}, True, False),
    "one less of all": ({"allOf": [TEXT, {"maxLength": 2}]}, {"allOf": [TEXT]}, False, False),
    "a field of all": (
        {"allOf": [fields(a=TEXT), fields(b=TEXT)]},
        {"allOf": [fields(a=TEXT), fields(b=WHOLE)]},
        True,
        True,
    ),
    "a lost field of all": ({"allOf": [fields(a=TEXT), fields(b=TEXT)]}, fields(a=TEXT), True, True),
    "a field of both of all": (
        {"allOf": [fields(a=TEXT), fields(a={"maxLength": 9})]},
        {"allOf": [fields(a=TEXT), fields(a={"maxLength": 3})]},
        True,
        False,
    ),
    "a needed field of all": (
        {"allOf": [fields(a=TEXT)]},
        {"allOf": [fields(a=TEXT), {"required": ["a"]}]},
        True,
        False,
    ),
    "a narrower bound of all": (
        {"allOf": [{**WHOLE, "minimum": 1}, {"minimum": 2}]},
        {"allOf": [{**WHOLE, "minimum": 3}, {"minimum": 2}]},
        True,
        False,
    ),
    "fewer values of all": (
        {"allOf": [one_of("a", "b", "c")]},
        {"allOf": [one_of("a", "b", "c"), one_of("a", "b")]},
        True,
        False,
    ),
    "a default": (fields(a=TEXT), fields(a={**TEXT, "default": "x"}), True, True),
    "no default": (fields(a={**TEXT, "default": "x"}), fields(a=TEXT), True, True),
    "another default": (fields(a={**TEXT, "default": "x"}), fields(a={**TEXT, "default": "y"}), True, True),
    "a default beside a reference": (
        fields(a={"$ref": "#/components/schemas/Text", "default": "x"}),
        fields(a={"$ref": "#/components/schemas/Text", "default": "y"}),
        True,
        True,
    ),
    "the default of a field that is always there": (
        {**fields(a={**TEXT, "default": 1}), "required": ["a"]},
        {**fields(a={**TEXT, "default": 2}), "required": ["a"]},
        False,
        False,
    ),
    "a bound beside a reference": (
        fields(a={"$ref": "#/components/schemas/Text"}),
        fields(a={"$ref": "#/components/schemas/Text", "maxLength": 2}),
        True,
        False,
    ),
    "fields of one name": (
        {"type": "object", "patternProperties": {"^a": TEXT}},
        {"type": "object", "patternProperties": {"^a": WHOLE}},
        True,
        True,
    ),
    "no fields of one name": ({"type": "object", "patternProperties": {"^a": TEXT}}, fields(), True, True),
    "other fields of a type": (fields(), {**fields(), "additionalProperties": TEXT}, True, False),
    "other fields of any type": ({**fields(), "additionalProperties": TEXT}, fields(), False, True),
    "items of a type": ({"type": "array"}, {"type": "array", "items": TEXT}, True, False),
    "items of any type": ({"type": "array", "items": TEXT}, {"type": "array"}, False, True),
}
SAME: dict[str, tuple[Any, Any]] = {
    "a reference and what it means": ({"$ref": "#/components/schemas/Text"}, TEXT),
    "a composition of one": ({"allOf": [TEXT]}, TEXT),
    "a composition and its sum": (
        {"allOf": [fields(a=TEXT), {**fields(b=WHOLE), "required": ["b"]}]},
        {**fields(a=TEXT, b=WHOLE), "required": ["b"]},
    ),
    "two types and their alternatives": ({"type": ["string", "null"]}, {"anyOf": [TEXT, NULL]}),
    "a value and a list of one": ({"const": "a"}, one_of("a")),
    "null as a default and none": (fields(a={**TEXT, "default": None}), fields(a=TEXT)),
    "false and nothing": ({"type": "array", "uniqueItems": False}, {"type": "array"}),
    "other words": (
        {**TEXT, "title": "A", "description": "b", "examples": ["c"]},
        {**TEXT, "title": "D", "deprecated": True},
    ),
}
NAMED = {"Text": TEXT}


@pytest.mark.parametrize(("old", "new", "breaks", "_"), CASES.values(), ids=CASES)
def test_a_change_of_what_is_sent(old: Any, new: Any, breaks: bool, _: bool) -> None:
    found = changes(document(sent=old, schemas=NAMED), document(sent=new, schemas=NAMED))
    assert found
    assert any(each.breaks for each in found) == breaks, found


@pytest.mark.parametrize(("old", "new", "_", "breaks"), CASES.values(), ids=CASES)
def test_a_change_of_what_is_received(old: Any, new: Any, _: bool, breaks: bool) -> None:
    found = changes(document(received=old, schemas=NAMED), document(received=new, schemas=NAMED))
    assert found
    assert any(each.breaks for each in found) == breaks, found


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_the_same_in_another_form_is_no_change(one: Any, other: Any) -> None:
    for old, new in ((one, other), (other, one)):
        for place in ("sent", "received"):
            before, after = (document(**{place: each}, schemas=NAMED) for each in (old, new))
            assert changes(before, after) == []


def parameter(**schema: Any) -> list[Doc]:
    return [{"in": "query", "name": "a", "schema": {**TEXT, **schema}}]


@pytest.mark.parametrize(
    ("old", "new", "breaks"),
    [
        ({"default": "x"}, {"default": "y"}, True),
        ({}, {"default": "y"}, True),
        ({"default": "x"}, {}, True),
        ({"format": "date"}, {"format": "date-time"}, True),
        ({"format": "date"}, {}, False),
    ],
)
def test_a_change_of_a_parameter(old: Doc, new: Doc, breaks: bool) -> None:
    found = changes(document(parameters=parameter(**old)), document(parameters=parameter(**new)))
    assert found
    assert any(each.breaks for each in found) == breaks


SCHEMES = {
    "token": {"type": "http", "scheme": "bearer", "description": "A token."},
    "query": {"type": "apiKey", "in": "query", "name": "token"},
}
TOKEN: Doc = {"token": []}
QUERY: Doc = {"query": []}
NOBODY: Doc = {}


@pytest.mark.parametrize(
    ("old", "new", "breaks"),
    [
        ([NOBODY], [TOKEN], True),
        ([], [TOKEN], True),
        ([TOKEN, NOBODY], [TOKEN], True),
        ([TOKEN], [QUERY], True),
        ([TOKEN], [{"token": [], "query": []}], True),
        ([{"token": ["read"]}], [{"token": ["read", "write"]}], True),
        ([TOKEN], [TOKEN, NOBODY], False),
        ([TOKEN], [NOBODY], False),
        ([TOKEN], [], False),
        ([TOKEN], [TOKEN, QUERY], False),
        ([{"token": [], "query": []}], [TOKEN], False),
        ([{"token": ["read", "write"]}], [{"token": ["read"]}], False),
    ],
    ids=str,
)
def test_a_change_of_who_is_let_in(old: list[Doc], new: list[Doc], breaks: bool) -> None:
    for key in ("security", "of_all"):
        before, after = (document(schemes=SCHEMES, **{key: each}) for each in (old, new))
        found = changes(before, after)
        assert found
        assert any(each.breaks for each in found) == breaks, found


@pytest.mark.parametrize(
    ("schemes", "security", "breaks"),
    [
        ({"token": {"type": "http", "scheme": "basic"}}, [TOKEN], True),
        ({"token": {"type": "apiKey", "in": "header", "name": "authorization"}}, [TOKEN], True),
        ({"token": {"type": "http", "scheme": "bearer", "description": "Other words."}}, [TOKEN], None),
        ({"renamed": {"type": "http", "scheme": "bearer"}}, [{"renamed": []}], None),
    ],
    ids=str,
)
def test_a_change_of_a_scheme(schemes: Doc, security: list[Doc], breaks: bool | None) -> None:
    found = changes(document(schemes=SCHEMES, security=[TOKEN]), document(schemes=schemes, security=security))
    assert bool(found) == (breaks is not None)
    assert any(each.breaks for each in found) == bool(breaks)


@pytest.mark.parametrize(
    "changed",
    [
        document(sent={"not": TEXT}),
        document(sent=fields(a={"if": TEXT})),
        document(received={"type": "array", "prefixItems": [TEXT]}),
        document(parameters=[{"in": "query", "name": "a", "style": "deepObject"}]),
        document(callbacks={}),
        {"paths": {"/": {"parameters": []}}, "components": {}},
        document(sent={"allOf": [{**TEXT, "pattern": "a"}, {"pattern": "b"}]}),
    ],
    ids=range(7),
)
def test_what_cannot_be_compared_is_an_error(changed: Doc) -> None:
    with pytest.raises(ValueError, match="cannot compare"):
        changes(changed, changed)
