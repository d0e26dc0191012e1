"""What changed between two OpenAPI documents of one service, and which of it breaks those who use it.

A part of a document that the comparison does not know is an error: it could hide a change.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

from tests.packaging.openapi_schemas import Json, allowed, alternatives, check_known, is_allowed

METHODS = ("get", "put", "post", "delete", "patch", "head", "options")
LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
FIXED = ("pattern", "format", "multipleOf", "uniqueItems")
"""Keywords of which any other value is another promise."""
PROMISED = ("format", "uniqueItems")
"""Of these, a reader of responses depends on them too."""
PROSE = frozenset({"description", "summary", "operationId", "tags", "deprecated", "externalDocs"})
OPERATION = PROSE | {"parameters", "requestBody", "responses", "security"}
PARAMETER = PROSE | {"name", "in", "required", "schema", "example", "examples"}
BODY = PROSE | {"content", "required"}
CONTENT = frozenset({"schema", "example", "examples"})
UNPROTECTED: tuple[Json, ...] = ({},)


@dataclass(frozen=True)
class Change:
    """One difference: where, what, and whether it breaks clients of the older document."""

    place: str
    what: str
    breaks: bool = True


def changes(old: Json, new: Json) -> list[Change]:
    """All differences but those in prose; raises ValueError for what it cannot compare."""
    return [*_Comparison(old, new).operations()]


class _Comparison:
    def __init__(self, old: Json, new: Json) -> None:
        self._old = old
        self._new = new
        self._compared: set[tuple[str, str, bool]] = set()

    def operations(self) -> Iterator[Change]:
        for path in {**self._old["paths"], **self._new["paths"]}:
            olds, news = (document["paths"].get(path, {}) for document in (self._old, self._new))
            check_known(path, {**olds, **news}, METHODS)
            for method in METHODS:
                old, new = olds.get(method), news.get(method)
                place = f"{method.upper()} {path}"
                if old and not new:
                    yield Change(place, "is gone")
                elif new and not old:
                    yield Change(place, "is new", breaks=False)
                elif old and new:
                    yield from self._operation(place, old, new)

    def _operation(self, place: str, old: Json, new: Json) -> Iterator[Change]:
        check_known(place, {**old, **new}, OPERATION)
        yield from self._security(place, old, new)
        yield from self._parameters(place, old, new)
        bodies = [each.get("requestBody") or {} for each in (old, new)]
        check_known(f"{place} body", {**bodies[0], **bodies[1]}, BODY)
        if bodies[1].get("required") and not bodies[0].get("required"):
            yield Change(place, "needs a body")
        before, after = (each.get("content", {}) for each in bodies)
        yield from self._contents(place, before, after, is_request=True)
        for status in {**old["responses"], **new["responses"]}:
            answers = [each["responses"].get(status) for each in (old, new)]
            if answers[1] is None:
                yield Change(f"{place} {status}", "is gone", breaks=status.startswith("2"))
            elif answers[0] is None:
                yield Change(f"{place} {status}", "is new", breaks=False)
            else:
                check_known(f"{place} {status}", {**answers[0], **answers[1]}, BODY)
                before, after = (each.get("content", {}) for each in answers)
                yield from self._contents(f"{place} {status}", before, after, is_request=False)

    def _security(self, place: str, old: Json, new: Json) -> Iterator[Change]:
        """Every way in which a caller could identify itself, or need not, has to remain enough."""
        before, after = _ways(self._old, old), _ways(self._new, new)
        for way in before.keys() - after.keys():
            is_enough = any(other <= way for other in after)
            yield Change(place, f"takes {before[way]} no longer", breaks=not is_enough)
        for way in after.keys() - before.keys():
            yield Change(place, f"takes {after[way]}", breaks=False)

    def _parameters(self, place: str, old: Json, new: Json) -> Iterator[Change]:
        known = [
            {(each["in"], each["name"]): each for each in operation.get("parameters", [])}
            for operation in (old, new)
        ]
        for key in {**known[0], **known[1]}:
            before, after = known[0].get(key), known[1].get(key)
            where = f"{place} {key[0]} {key[1]}"
            check_known(where, {**(before or {}), **(after or {})}, PARAMETER)
            if after is None:
                yield Change(where, "is gone")
            elif before is None:
                yield Change(where, "is new", breaks=after.get("required", False))
            else:
                if after.get("required") and not before.get("required"):
                    yield Change(where, "became required")
                schemas = before.get("schema", {}), after.get("schema", {})
                yield from self._default(where, *schemas, breaks=not before.get("required"))
                yield from self._schemas(where, *schemas, True)

    def _contents(self, place: str, old: Json, new: Json, is_request: bool) -> Iterator[Change]:
        for kind in {**old, **new}:
            if kind not in new:
                yield Change(place, f"{kind} is gone")
            elif kind not in old:
                yield Change(place, f"{kind} is new", breaks=False)
            else:
                check_known(place, {**old[kind], **new[kind]}, CONTENT)
                before, after = (each[kind].get("schema", {}) for each in (old, new))
                yield from self._schemas(place, before, after, is_request)

    def _schemas(self, place: str, old: Any, new: Any, is_request: bool) -> Iterator[Change]:
        """Differences of what is sent (a request) or received (a response)."""
        key = (json.dumps(old, sort_keys=True), json.dumps(new, sort_keys=True), is_request)
        if key in self._compared and ("$ref" in key[0] or old == new):
            return
        self._compared.add(key)
        olds, news = alternatives(self._old, old), alternatives(self._new, new)
        before, after = allowed(olds), allowed(news)
        if lost := {each for each in before if not is_allowed(each, after)}:
            yield Change(place, f"is no longer {', '.join(sorted(lost))}", breaks=is_request)
        if won := {each for each in after if not is_allowed(each, before)}:
            yield Change(place, f"can be {', '.join(sorted(won))}", breaks=not is_request)
        one, other = _by_type(olds), _by_type(news)
        for kind in sorted(one.keys() & other.keys()):
            yield from self._bounds(place, one[kind], other[kind], is_request)
            yield from self._fields(place, one[kind], other[kind], is_request)
            yield from self._rest(place, one[kind], other[kind], is_request)

    def _rest(self, place: str, old: Json, new: Json, is_request: bool) -> Iterator[Change]:
        """The items of a list, and the fields of an object that are not named."""
        if "items" in old or "items" in new:
            yield from self._schemas(f"{place}[]", old.get("items", {}), new.get("items", {}), is_request)
        one, other = (each.get("additionalProperties", True) for each in (old, new))
        if (one is False) != (other is False):
            what = "takes no other fields" if other is False else "takes other fields"
            yield Change(place, what, breaks=is_request and other is False)
        elif one is not other:
            before, after = ({} if each is True else each for each in (one, other))
            yield from self._schemas(f"{place}.*", before, after, is_request)

    def _bounds(self, place: str, old: Json, new: Json, is_request: bool) -> Iterator[Change]:
        for name in (*LOWER, *UPPER):
            before, after = old.get(name), new.get(name)
            if before != after:
                narrower = after is not None and (before is None or (after > before) == (name in LOWER))
                yield Change(place, f"{name} is {after}, was {before}", breaks=is_request and narrower)
        for name in FIXED:
            before, after = (each.get(name) or None for each in (old, new))
            if before != after:
                promised = after if is_request else (before if name in PROMISED else None)
                yield Change(place, f"{name} is {after}, was {before}", breaks=promised is not None)

    def _fields(self, place: str, old: Json, new: Json, is_request: bool) -> Iterator[Change]:
        needed = [set(each.get("required", ())) for each in (old, new)]
        for group in ("properties", "patternProperties"):
            before, after = old.get(group, {}), new.get(group, {})
            for name in {**before, **after}:
                where = f"{place}.{name}"
                if name not in after:
                    yield Change(where, "is gone")
                elif name not in before:
                    yield Change(where, "is new", breaks=is_request and name in needed[1])
                else:
                    breaks = name not in needed[0]
                    yield from self._default(where, before[name], after[name], breaks=breaks)
                    yield from self._schemas(where, before[name], after[name], is_request)
        for name in sorted(needed[1] - needed[0]):
            if name in old.get("properties", {}):
                yield Change(f"{place}.{name}", "became required", breaks=is_request)
        for name in sorted(needed[0] - needed[1]):
            if name in new.get("properties", {}):
                yield Change(f"{place}.{name}", "became optional", breaks=not is_request)

    def _default(self, place: str, old: Any, new: Any, *, breaks: bool) -> Iterator[Change]:
        """What is left out keeps its meaning; no default is null."""
        before, after = (each.get("default") if isinstance(each, Mapping) else None for each in (old, new))
        if before != after:
            yield Change(place, f"is {after!r} if it is left out, was {before!r}", breaks=breaks)


def _ways(document: Json, operation: Json) -> dict[Set[str], str]:
    """The ways to be let in, each by what a caller has to send, with the name of each; the empty one needs nothing."""
    schemes = document.get("components", {}).get("securitySchemes", {})
    needed = operation.get("security", document.get("security")) or UNPROTECTED
    ways: dict[Set[str], str] = {}
    for way in needed:
        sent = set()
        for name, scopes in way.items():
            scheme = {key: value for key, value in schemes[name].items() if key not in PROSE}
            written = json.dumps(scheme, sort_keys=True)
            sent |= {written, *(f"{written} {scope}" for scope in scopes)}
        ways[frozenset(sent)] = " and ".join(way) or "callers without a token"
    return ways


def _by_type(schemas: list[Json]) -> dict[str, Json]:
    """Alternatives by type, and by their position among those of one type."""
    found: dict[str, Json] = {}
    count: Counter[str] = Counter()
    for each in schemas:
        kind = str(each.get("type"))
        found[f"{kind} {count[kind]}"] = each
        count[kind] += 1
    return found
