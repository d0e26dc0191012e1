"""Bodies within the limits that cost as much as possible, and bodies beyond them."""

import json
from collections.abc import Callable, Mapping
from typing import Any

Json = dict[str, Any]
Build = Callable[[], Json | bytes]

ROBUST = {"preset": "robust", "max_steps": 64}
LONG = {"preset": "paper", "max_steps": 64}
NUMBERED = "<think>" + "\n".join(f"Step {s}: e" for s in range(1, 65)) + "</think><answer>7</answer>"
"""A rollout of 64 short steps."""
WIDE = "<think>Step 1: " + "east " * 39_000 + "</think><answer>7</answer>"
"""A rollout of one long step."""


def as_bytes(body: Json | bytes) -> bytes:
    """A body as compact JSON."""
    return body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()


def groups(*several: Json, config: Json = ROBUST) -> Json:
    """A request."""
    return {"groups": list(several), "config": config}


def parsed(count: int, steps: list[Any], name: str = "g") -> Json:
    """A group of equal rollouts, sent as answer and steps."""
    return {"id": name, "rollouts": [{"id": str(r), "answer": "7", "steps": steps} for r in range(count)]}


def raw(count: int, text: str, name: str = "g") -> Json:
    """A group of equal rollouts, sent as text."""
    return {"id": name, "rollouts": [{"id": str(r), "text": text} for r in range(count)]}


def mixed(count: int, length: int, texts: int) -> Json:
    """A group of rollouts whose steps are `texts` different ones, in an order of each rollout's own."""
    words = ("east", "north", "west", "south")
    known = [" ".join(words[number // 4**digit % 4] for digit in range(7)) for number in range(texts)]
    rollouts = [
        {
            "id": str(r),
            "answer": "7",
            "steps": [known[(r * 31 + s * (r % 7 + 1)) % texts] for s in range(length)],
        }
        for r in range(count)
    ]
    return {"id": "g", "rollouts": rollouts}


def apart(count: int) -> Json:
    """A group of rollouts with answers of their own."""
    rollouts = [{"id": str(r), "answer": str(r), "steps": ["east"] * 16} for r in range(count)]
    return {"id": "g", "rollouts": rollouts}


ALLOWED: Mapping[str, tuple[str, Build]] = {
    "equal steps": ("/score/solver", lambda: groups(parsed(1024, ["east"] * 64))),
    "mixed steps, aligned": ("/score/solver", lambda: groups(mixed(1024, 64, 12_000))),
    "mixed steps, by index": ("/score/trajectory", lambda: groups(mixed(1024, 64, 12_000), config=LONG)),
    "many groups": (
        "/score/solver",
        lambda: groups(*(parsed(1024, ["east"] * 14, str(g)) for g in range(16))),
    ),
    "a million steps": ("/score/solver", lambda: groups(*(raw(1024, NUMBERED, str(g)) for g in range(16)))),
    "long texts": ("/score/solver", lambda: groups(raw(160, WIDE))),
    "other answers": ("/score/solver", lambda: groups(apart(1024))),
    "small groups": (
        "/score/solver",
        lambda: groups(*(parsed(16, ["east"] * 14, str(g)) for g in range(1024))),
    ),
}
"""Route and body of requests that a server answers, or refuses for want of memory."""

REFUSED: Mapping[str, tuple[str, Build]] = {
    "lists": ("/configs/x", lambda: b"{" + b"[]," * 10_000_000),
    "lists, scored": ("/score/solver", lambda: b'{"groups":[' + b"[]," * 10_000_000),
    "short texts": ("/score/solver", lambda: b'{"groups":[' + b'"ab",' * 6_000_000),
    "unknown fields": ("/score/solver", lambda: {"groups": [], **{str(n): 1 for n in range(2_000_000)}}),
    "few unknown fields": ("/score/solver", lambda: {"groups": [], **{str(n): 1 for n in range(50_000)}}),
    "faulty rollouts": (
        "/score/solver",
        lambda: groups(*({"id": str(g), "rollouts": [{"id": r} for r in range(1024)]} for g in range(16))),
    ),
    "faulty steps": ("/score/solver", lambda: groups(parsed(1024, [7] * 250))),
    "deep": (
        "/verify",
        lambda: b'{"response":{},"responses_create_params":{},"x":' + b"[" * 900 + b"]" * 900 + b"}",
    ),
}
"""Route and body of requests that a server refuses."""
