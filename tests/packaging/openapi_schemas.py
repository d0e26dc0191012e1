"""Schemas of an OpenAPI document without references and compositions: the alternatives that each allows."""

import json
from collections.abc import Collection, Iterable, Mapping
from itertools import product
from typing import Any

Json = Mapping[str, Any]

PROSE = frozenset({"title", "description", "example", "examples", "deprecated", "default", "$comment"})
"""Keys that say nothing about which values are valid; a default belongs to the field."""
COMPOSITIONS = ("$ref", "allOf", "anyOf", "oneOf")
LARGEST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
SMALLEST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
SCHEMAS = ("items", "additionalProperties")
FIELDS = ("properties", "patternProperties")
KNOWN = frozenset(
    {
        *PROSE,
        *COMPOSITIONS,
        *LARGEST,
        *SMALLEST,
        *SCHEMAS,
        *FIELDS,
        "type",
        "enum",
        "const",
        "required",
        "pattern",
        "format",
        "multipleOf",
        "uniqueItems",
    }
)
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
_ANYTHING = "anything"


def check_known(place: str, found: Iterable[str], known: Collection[str]) -> None:
    """Raises ValueError if a part of a document has a key that is not known."""
    if unknown := sorted(set(found) - set(known)):
        raise ValueError(f"{place}: cannot compare {', '.join(unknown)}")


def alternatives(document: Json, schema: Json | bool) -> list[Json]:
    """The schemas, without references and compositions and each of one type, of which a value has to match one."""
    if isinstance(schema, bool):
        return [{}] if schema else []
    check_known("a schema", schema, KNOWN)
    own = {key: value for key, value in schema.items() if key not in PROSE and key not in COMPOSITIONS}
    types = own.pop("type", None)
    parts: list[list[Json]] = [[own] if types is None else [{**own, "type": each} for each in _listed(types)]]
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        parts.append(alternatives(document, document["components"]["schemas"][name]))
    parts += [alternatives(document, each) for each in schema.get("allOf", ())]
    for key in ("anyOf", "oneOf"):
        if key in schema:
            parts.append([one for each in schema[key] for one in alternatives(document, each)])
    merged = (_all_of(chosen) for chosen in product(*parts))
    return [each for each in merged if each is not None]


def allowed(schemas: Iterable[Json]) -> set[str]:
    """The types and the values that one of several alternatives allows."""
    found: set[str] = set()
    for each in schemas:
        if "enum" in each:
            found |= {_written(value) for value in each["enum"]}
        else:
            found.add(each.get("type", _ANYTHING))
    return found


def is_allowed(kind: str, kinds: Collection[str]) -> bool:
    """Whether a type or value is among these types and values, or is of one of the types."""
    if kind in kinds or _ANYTHING in kinds:
        return True
    of_type = {"integer": "number"}.get(kind)
    if kind[:1] == "=":
        of_type = _type_of(json.loads(kind[1:]))
    return of_type is not None and is_allowed(of_type, kinds)


def _written(value: Any) -> str:
    """A value, in a form that no type has."""
    return f"={json.dumps(value, sort_keys=True)}"


def _type_of(value: Any) -> str:
    return "null" if value is None else _TYPES[type(value)]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _all_of(schemas: Iterable[Json]) -> Json | None:
    """One schema that allows what all of these do; None if that is nothing."""
    merged: dict[str, Any] = {}
    for schema in schemas:
        each = dict(schema)
        if "const" in each:
            each["enum"] = [each.pop("const")]
        for key, value in each.items():
            merged[key] = _both(key, merged[key], value) if key in merged else value
    if merged.get("type", "") is None or merged.get("enum", [None]) == []:
        return None
    return merged


def _both(key: str, one: Any, other: Any) -> Any:
    """The value of a keyword that allows what both values do."""
    if one == other:
        return one
    if key == "type":
        return "integer" if {one, other} == {"integer", "number"} else None
    if key == "enum":
        return [value for value in one if value in other]
    if key == "required":
        return sorted({*one, *other})
    if key in LARGEST or key in SMALLEST:
        return (max if key in LARGEST else min)(one, other)
    if key in FIELDS:
        shared = {name: {"allOf": [one[name], other[name]]} for name in one.keys() & other.keys()}
        return {**one, **other, **shared}
    if key in SCHEMAS:
        return False if False in (one, other) else {"allOf": [one, other]}
    raise ValueError(f"cannot compare two values of {key}: {one!r} and {other!r}")
