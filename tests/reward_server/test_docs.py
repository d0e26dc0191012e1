"""The generated documents are up to date, their examples are true, and the commands of the docs work."""

import html
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from ireasoner.reward_server.api import docs_page
from ireasoner.reward_server.api.admission import open_routes
from ireasoner.reward_server.api.examples import EXAMPLES, IMAGE
from ireasoner.reward_server.api.limits import Limits
from ireasoner.reward_server.embedding.worker_backend import PASS_TIMEOUT_S
from ireasoner.reward_server.engine import REDIS_TIMEOUT_S
from ireasoner.reward_server.errors import CallerGone, ServiceError
from ireasoner.reward_server.settings import RewardServerSettings
from tests.reward_server.running import running
from tests.rollout_server.running import free_port

PAGE = Path("docs/operators.md")
VARYING = {"request_id", "fingerprint", "age_s", "texts"}
WITHOUT_LEDGER = [name for name in EXAMPLES if " /ledger/" not in name]
"""The endpoints whose examples need no ledger; `test_ledger_docs` tries the others."""
COMMANDS = {"reward-server": "ireasoner.reward_server", "reward-score": "ireasoner.clients.score"}


def blocks() -> list[str]:
    return re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_generated_pages_are_up_to_date() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "scripts.server_docs", "--check"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert checked.returncode == 0, checked.stdout


@pytest.fixture(scope="module")
def responses(tmp_path_factory: pytest.TempPathFactory) -> dict[str, httpx.Response]:
    """The responses of a fresh server with the default embedder to all examples, sent in the order of the page."""
    with (
        running(
            RewardServerSettings(threads=1, cache_mib=0, ledger=tmp_path_factory.mktemp("ledger"))
        ) as url,
        httpx.Client(base_url=url, timeout=60) as http,
    ):
        return {name: send(http, request(name)) for name in WITHOUT_LEDGER}


def request(name: str) -> str:
    """The command that the page shows for an endpoint, such as "GET /metrics"."""
    method, path = name.split()
    return docs_page.request(method, path, operation(name))


def operation(name: str) -> dict[str, Any]:
    """The description of an endpoint, such as "GET /metrics", in the OpenAPI document."""
    method, path = name.split()
    described: dict[str, Any] = json.loads(Path("docs/openapi.json").read_text())["paths"][path]
    return cast(dict[str, Any], described[method.lower()])


@pytest.mark.xdist_group("examples of the docs")
@pytest.mark.parametrize("name", WITHOUT_LEDGER)
def test_every_example_gets_the_response_that_the_docs_show(
    responses: dict[str, httpx.Response], name: str
) -> None:
    """All fields except those in `VARYING`; numbers to two digits."""
    answered = responses[name]
    assert answered.status_code == 200, answered.text
    shown = operation(name)["responses"]["200"]["content"]
    if "text/plain" in shown:
        assert unvalued(shown["text/plain"]["example"]) <= unvalued(answered.text)
    else:
        expected = comparable(shown["application/json"]["example"], partial(pytest.approx, abs=0.01))
        assert comparable(answered.json()) == expected


def send(http: httpx.Client, command: str) -> httpx.Response:
    """Sends what a curl command of the page sends."""
    curl, *words = shlex.split(command)
    assert curl == "curl"
    options = {words[at]: words[at + 1] for at, word in enumerate(words) if word in ("-X", "-H", "-d", "-T")}
    [url] = [word for word in words if word not in {*options, *options.values()}]
    name, _, value = options.get("-H", "").partition(": ")
    return http.request(
        "PUT" if "-T" in options else options.get("-X", "POST" if "-d" in options else "GET"),
        url.removeprefix("http://127.0.0.1:8010"),
        content=IMAGE if "-T" in options else options.get("-d"),
        headers={name: value} if name else None,
    )


def unvalued(metrics: str) -> set[str]:
    """Lines of Prometheus' text format, without values."""
    return {line if line.startswith("#") else line.rpartition(" ")[0] for line in metrics.splitlines()}


def comparable(part: Any, number: Callable[[float], Any] = float, name: str = "") -> Any:
    """The field `name` of a response: types instead of values for `VARYING`, and `number(x)` for each float."""
    if name in VARYING:
        return type(part)
    if isinstance(part, dict):
        return {key: comparable(value, number, key) for key, value in part.items()}
    if isinstance(part, list):
        return [comparable(each, number) for each in part]
    return number(part) if isinstance(part, float) else part


def test_the_api_page_shows_a_request_and_a_response_of_every_endpoint() -> None:
    page = Path("docs/api.md").read_text()
    sections = re.split(r"^## (?=[A-Z]+ /)", page, flags=re.MULTILINE)[1:]
    assert {section.splitlines()[0] for section in sections} == set(EXAMPLES)
    for section in sections:
        assert re.search(r"^```bash\ncurl .*?^```$", section, re.MULTILINE | re.DOTALL), section
        assert re.search(r"^```(json|text)\n.+?^```$", section, re.MULTILINE | re.DOTALL), section


def test_the_docs_of_a_running_server_show_the_same_examples(compass_http: httpx.Client) -> None:
    page = Path("docs/api.md").read_text()
    found = re.findall(r"<pre>(.*?)</pre>", compass_http.get("/docs").text, re.DOTALL)
    address = str(compass_http.base_url).rstrip("/")
    shown = [
        html.unescape(re.sub("<.*?>", "", each)).replace(address, docs_page.DEFAULT_URL) for each in found
    ]
    assert len(shown) == 2 * len(EXAMPLES)
    assert [each for each in shown if each not in page] == []


def test_links_within_the_api_page_have_targets(compass_http: httpx.Client) -> None:
    page = compass_http.get("/docs").text
    assert set(re.findall(r"href='#(\w+)'", page)) <= set(re.findall(r"id=(\w+)", page))
    text = Path("docs/api.md").read_text()
    headings = {name.lower() for name in re.findall(r"^## (\w+)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#(\w+)\)", text)) <= headings


def test_the_operators_page_states_the_limits_of_a_request() -> None:
    page, limits = PAGE.read_text().replace("\n", " "), Limits()
    for stated in (
        f"{limits.max_groups:,} groups",
        f"{limits.max_rollouts:,} rollouts per group",
        f"{limits.max_request_rollouts:,} rollouts in all",
        f"{limits.max_steps} parsed steps",
        f"{limits.max_views} views per group",
        f"{limits.max_request_signals:,} signals in all",
        f"{limits.max_text_characters:,} characters per rollout",
        f"within {limits.body_timeout_s:g} s",
        f"for {limits.write_timeout_s:g} s",
        f"finish a forward pass within {PASS_TIMEOUT_S:g} s",
        f"at most {1000 * REDIS_TIMEOUT_S:g} ms for Redis",
    ):
        assert stated in page


def leaves(kind: type[ServiceError]) -> list[type[ServiceError]]:
    return [leaf for child in kind.__subclasses__() for leaf in leaves(child)] or [kind]


def test_the_api_page_describes_every_error_once() -> None:
    """Except that of a caller that has left, who receives nothing."""
    described = re.findall(
        r"^\| (\d{3}) \| `(\w+)` \| \S.* \| (yes|no) \|$", Path("docs/api.md").read_text(), re.MULTILINE
    )
    errors = [
        (str(each.status), each.code, "yes" if each.retryable else "no")
        for each in leaves(ServiceError)
        if each is not CallerGone
    ]
    assert sorted(described) == sorted(errors)


@pytest.mark.parametrize("block", blocks())
def test_every_command_of_the_operators_page_works(block: str, tmp_path: Path, compass: Path) -> None:
    """Unchanged, except for a free port and the embedder that starts fastest."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for name, module in COMMANDS.items():
        command = binaries / name
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        command.chmod(0o755)
    port = free_port()
    script = block.replace("8010", str(port)).replace(
        "reward-score -", f"reward-score - --url http://127.0.0.1:{port}"
    )
    environment = {
        **os.environ,
        "PATH": f"{binaries}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path.cwd()),
        "REWARD_EMBEDDER": "token-mean",
        "REWARD_TOKEN_MEAN_CHECKPOINT": str(compass),
        "REWARD_DRAIN_NOTICE_S": "0",
    }
    ended = subprocess.run(
        ["bash", "-m", "-euo", "pipefail", "-c", script],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout


def test_the_page_names_every_route_that_needs_no_token() -> None:
    routes = open_routes(RewardServerSettings(open_metrics=True))
    named = {route for route in routes if f"`{route}`" in docs_page.TOKENS}
    assert {"/", "/docs", "/explore", "/livez", "/metrics", "/openapi.json", "/readyz"} == named
    assert all(route.startswith("/explore/") for route in routes - named)
    assert "the files of the explorer's page" in docs_page.TOKENS
