"""Every attack by name, as a function that runs it and returns the answer it got."""

from collections.abc import Callable, Iterator
from functools import partial

import httpx

from tests.attack import bodies, sockets
from tests.attack.effect import Attack


def post(route: str, build: bodies.Build) -> Callable[[str], str]:
    """Builds a body; what it returns sends it, and returns the status."""
    body = bodies.as_bytes(build())
    method = "PUT" if route.startswith("/configs") else "POST"
    headers = {"content-type": "application/json"}

    def send(url: str) -> str:
        try:
            return str(
                httpx.request(method, f"{url}{route}", content=body, headers=headers, timeout=300).status_code
            )
        except httpx.WriteError:
            return "closed"

    return send


def at_once(run: Callable[[str], str]) -> Attack:
    """An attack without preparation."""
    return lambda: run


def long_ids(url: str, count: int, size: int) -> str:
    """Cohort calls that are complete at once, with long ids and long fields that the answer repeats."""
    statuses = set()
    with httpx.Client(base_url=url, timeout=60) as http:
        for number in range(count):
            body = {
                "responses_create_params": {"input": "q"},
                "response": {"output": []},
                "prompt_id": f"{number}".ljust(size, "p"),
                "extra": "x" * size,
            }
            statuses.add(http.post("/verify?group_size=1", json=body).status_code)
            statuses.add(
                http.post(
                    "/cohort/remote?group_size=1",
                    json={"prompt": "", "response": "", "group_id": f"{number}".ljust(size, "g")},
                ).status_code
            )
    return "/".join(map(str, sorted(statuses)))


def config_names(url: str, count: int) -> str:
    """Registers and uses configs until there are no more names."""
    with httpx.Client(base_url=url, timeout=60) as http:
        for number in range(count):
            name = f"{number}".ljust(64, "c")
            http.put(f"/configs/{name}", json={})
            body = {"groups": [{"id": "g", "rollouts": [{"id": "0", "text": ""}]}], "config": name}
            http.post("/score/outcome", json=body)
        return f"{len(http.get('/metrics').content) / 1e6:.2f} MB"


def of_bodies() -> Iterator[tuple[str, Attack]]:
    """Bodies within the limits, and beyond them."""
    for name, (route, build) in {**bodies.ALLOWED, **bodies.REFUSED}.items():
        yield name, partial(post, route, build)


def of_callers() -> Iterator[tuple[str, Attack]]:
    """Whatever is not one body."""
    yield "a header of 100 MB", at_once(lambda url: sockets.large_head(url, 100 * 2**20))
    yield "many headers", at_once(lambda url: sockets.many_headers(url, 50_000))
    yield "chunks of a byte", at_once(lambda url: sockets.tiny_chunks(url, 200_000))
    yield "chunks of a byte, nowhere", at_once(lambda url: sockets.tiny_chunks(url, 200_000, "/nowhere"))
    yield "pipelined requests", at_once(lambda url: sockets.pipelined(url, 5_000))
    yield "300 half heads", at_once(lambda url: sockets.idle(url, 300, b"GET /livez HTTP/1.1\r\nho"))
    yield "300 idle connections", at_once(lambda url: sockets.idle(url, 300, b""))
    yield (
        "metrics, 200 times",
        at_once(lambda url: sockets.flood(url, 200, lambda http: http.get("/metrics"))),
    )
    yield "long ids", at_once(lambda url: long_ids(url, 20, 4 * 2**20))
    yield "config names", at_once(lambda url: config_names(url, 300))
