"""What changed between two OpenAPI documents of one service, and which of it breaks those who use it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]
METHODS = ("get", "put", "post", "delete", "patch")
LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")


@dataclass(frozen=True)
class Change:
    """One difference: where, what, and whether it breaks clients of the older document."""

    place: str
    what: str
    breaks: bool = True


def changes(old: Json, new: Json) -> list[Change]:
    """All differences but those in prose."""
    return [*_Comparison(old, new).operations()]


class _Comparison:
    def __init__(self, old: Json, new: Json) -> None:
        self._old = old
        self._new = new
        self._compared: set[tuple[str, str, bool]] = set()

    def operations(self) -> Iterator[Change]:
        for path in {**self._old["paths"], **self._new["paths"]}:
            for method in METHODS:
                old, new = (
                    document["paths"].get(path, {}).get(method) for document in (self._old, self._new)
                )
                place = f"{method.upper()} {path}"
                if old and not new:
                    yield Change(place, "is gone")
                elif new and not old:
                    yield Change(place, "is new", breaks=False)
                elif old and new:
                    yield from self._operation(place, old, new)

    def _operation(self, place: str, old: Json, new: Json) -> Iterator[Change]:
        yield from self._parameters(place, old, new)
        bodies = [each.get("requestBody") or {} for each in (old, new)]
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
                before, after = ((each or {}).get("content", {}) for each in answers)
                yield from self._contents(f"{place} {status}", before, after, is_request=False)

    def _parameters(self, place: str, old: Json, new: Json) -> Iterator[Change]:
        known = [
            {(each["in"], each["name"]): each for each in operation.get("parameters", [])}
            for operation in (old, new)
        ]
        for key in {**known[0], **known[1]}:
            before, after = known[0].get(key), known[1].get(key)
            where = f"{place} {key[0]} {key[1]}"
            if after is None:
                yield Change(where, "is gone")
            elif before is None:
                yield Change(where, "is new", breaks=after.get("required", False))
            else:
                if after.get("required") and not before.get("required"):
                    yield Change(where, "became required")
                yield from self._schemas(where, before.get("schema", {}), after.get("schema", {}), True)

    def _contents(self, place: str, old: Json, new: Json, is_request: bool) -> Iterator[Change]:
        for kind in {**old, **new}:
            if kind not in new:
                yield Change(place, f"{kind} is gone")
            elif kind not in old:
                yield Change(place, f"{kind} is new", breaks=False)
            else:
                before, after = (each[kind].get("schema", {}) for each in (old, new))
                yield from self._schemas(place, before, after, is_request)

    def _schemas(self, place: str, old: Json, new: Json, is_request: bool) -> Iterator[Change]:
        """Differences of what is sent (a request) or received (a response)."""
        key = (str(old.get("$ref")), str(new.get("$ref")), is_request)
        if "$ref" in old and "$ref" in new:
            if key in self._compared:
                return
            self._compared.add(key)
        old, new = _resolved(self._old, old), _resolved(self._new, new)
        lost, won = (
            _kinds(self._old, old) - _kinds(self._new, new),
            _kinds(self._new, new) - _kinds(self._old, old),
        )
        if lost:
            yield Change(place, f"is no longer {', '.join(sorted(lost))}", breaks=is_request)
        if won:
            yield Change(place, f"can be {', '.join(sorted(won))}", breaks=not is_request)
        yield from self._bounds(place, old, new, is_request)
        yield from self._fields(place, old, new, is_request)
        yield from self._schemas_of_items(place, old, new, is_request)

    def _schemas_of_items(self, place: str, old: Json, new: Json, is_request: bool) -> Iterator[Change]:
        if "items" in old and "items" in new:
            yield from self._schemas(f"{place}[]", old["items"], new["items"], is_request)
        if "additionalProperties" in old and "additionalProperties" in new:
            one, other = (each["additionalProperties"] for each in (old, new))
            if isinstance(one, Mapping) and isinstance(other, Mapping):
                yield from self._schemas(f"{place}.*", one, other, is_request)
        if _is_closed(old) != _is_closed(new):
            what = "takes no other fields" if _is_closed(new) else "takes other fields"
            yield Change(place, what, breaks=is_request and _is_closed(new))
        before, after = (
            _alternatives(document, schema) for document, schema in ((self._old, old), (self._new, new))
        )
        for kind in sorted(before.keys() & after.keys()):
            yield from self._schemas(place, before[kind], after[kind], is_request)

    def _bounds(self, place: str, old: Json, new: Json, is_request: bool) -> Iterator[Change]:
        for name in (*LOWER, *UPPER, "pattern"):
            before, after = old.get(name), new.get(name)
            if before == after:
                continue
            narrower = after is not None and (
                before is None or name == "pattern" or (after > before) == (name in LOWER)
            )
            yield Change(place, f"{name} is {after}, was {before}", breaks=is_request and narrower)

    def _fields(self, place: str, old: Json, new: Json, is_request: bool) -> Iterator[Change]:
        before, after = old.get("properties", {}), new.get("properties", {})
        needed = [set(each.get("required", ())) for each in (old, new)]
        for name in {**before, **after}:
            where = f"{place}.{name}"
            if name not in after:
                yield Change(where, "is gone")
            elif name not in before:
                yield Change(where, "is new", breaks=is_request and name in needed[1])
            else:
                if name in needed[1] - needed[0]:
                    yield Change(where, "became required", breaks=is_request)
                if name in needed[0] - needed[1]:
                    yield Change(where, "became optional", breaks=not is_request)
                yield from self._schemas(where, before[name], after[name], is_request)


def _resolved(document: Json, schema: Json) -> Json:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


def _is_closed(schema: Json) -> bool:
    return schema.get("additionalProperties") is False


def _alternatives(document: Json, schema: Json) -> dict[str, Json]:
    """The alternatives of a schema, by type and by their position among those of one type."""
    found: dict[str, Json] = {}
    count: Counter[str] = Counter()
    for each in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        kind = str(_resolved(document, each).get("type"))
        found[f"{kind} {count[kind]}"] = each
        count[kind] += 1
    return found


def _kinds(document: Json, schema: Json) -> set[str]:
    """The types and the values that a schema allows; empty if it allows everything."""
    schema = _resolved(document, schema)
    several = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    if several:
        return set().union(*(_kinds(document, each) for each in several))
    if "enum" in schema or "const" in schema:
        return {repr(each) for each in schema.get("enum", [schema.get("const")])}
    kind = schema.get("type")
    return set(kind) if isinstance(kind, list) else {kind} if kind else set()
