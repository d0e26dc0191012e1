"""What needs a running server: events, cosines, comparing a group live, and groups as they are recorded."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ireasoner.reward_server.ledger import changes
from ireasoner.reward_server.server import Server
from ireasoner.reward_server.settings import RewardServerSettings
from tests.reward_server.ledger_reading import keep, tokens
from tests.reward_server.ledger_records import record, sent
from tests.reward_server.running import running

Json = dict[str, Any]
DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ledger")
    for sequence, experiment in enumerate(("ours", "theirs"), 1):
        group = sent(["1", "1", "2"], name="first")
        group["rollouts"][0]["steps"] = ["north", "north east"]
        keep(folder, [record(group, sequence=sequence, experiment=experiment, progress=1.0)])
    return folder


@pytest.fixture(scope="module")
def headers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, str]]]:
    file = tmp_path_factory.mktemp("tokens") / "tokens"
    return file, tokens(file, ["ours", "theirs", "operator"])


@pytest.fixture(scope="module")
def url(compass: Path, folder: Path, headers: tuple[Path, object]) -> Iterator[str]:
    settings = RewardServerSettings(
        embedder="token-mean", token_mean_checkpoint=compass, tokens_file=headers[0]
    )
    with running(settings, ledger_folders=[folder]) as address:
        yield address


@pytest.fixture(scope="module")
def callers(url: str, headers: tuple[Path, dict[str, dict[str, str]]]) -> Iterator[dict[str, httpx.Client]]:
    clients = {
        name: httpx.Client(base_url=url, headers=header, timeout=DEADLINE_S)
        for name, header in headers[1].items()
    }
    yield clients
    for client in clients.values():
        client.close()


class Listening:
    """A listener of `/ledger/events`, in a thread."""

    def __init__(self, http: httpx.Client, path: str = "/ledger/events") -> None:
        self.events: list[Json] = []
        self.comments = 0
        self.ended = threading.Event()
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._listen, args=(http, path))
        self._thread.start()
        wait_until(lambda: self.comments > 0)

    def _listen(self, http: httpx.Client, path: str) -> None:
        with http.stream("GET", path) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            for line in answer.iter_lines():
                if line.startswith(":"):
                    self.comments += 1
                elif line.startswith("data: "):
                    self.events.append(json.loads(line.removeprefix("data: ")))
                if self._leave.is_set():
                    break
        self.ended.set()

    def leave(self) -> None:
        self._leave.set()

    def join(self) -> None:
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()


def wait_until(holds: Any) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def add(folder: Path, sequence: int, experiment: str, groups: int = 1) -> None:
    new = [sent(["1"], name=f"{sequence}-{index}") for index in range(groups)]
    keep(folder, [record(*new, feed="new", sequence=sequence, experiment=experiment)])


def test_listeners_learn_of_new_groups_that_they_may_see(
    callers: dict[str, httpx.Client], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "QUIET_S", 0.1)
    listening = {
        "ours": Listening(callers["ours"]),
        "theirs": Listening(callers["theirs"]),
        "operator": Listening(callers["operator"]),
        "run": Listening(callers["operator"], "/ledger/events?run=0-2"),
    }
    wait_until(lambda: all(each.comments > 30 for each in listening.values()))  # several polls
    add(folder, 1, "ours", groups=3)
    wait_until(lambda: listening["operator"].events)
    add(folder, 2, "theirs")
    wait_until(lambda: len(listening["operator"].events) == 2)
    wait_until(lambda: listening["theirs"].events and listening["run"].events)
    ours, theirs = listening["operator"].events
    assert (ours["run"], ours["groups"]) == ("0-1", 3)
    assert (theirs["run"], theirs["groups"]) == ("0-2", 1)
    assert callers["ours"].get(f"/ledger/groups/{ours['last_group']}").json()["name"] == "1-2"
    assert listening["ours"].events == [ours]
    assert listening["theirs"].events == listening["run"].events == [theirs]
    for each in listening.values():
        each.leave()
        each.join()


def test_a_place_is_free_again_when_a_listener_has_left(
    callers: dict[str, httpx.Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "QUIET_S", 0.1)
    monkeypatch.setattr(changes, "MAX_LISTENERS", 2)

    def status() -> int:
        with callers["ours"].stream("GET", "/ledger/events") as answer:
            return answer.status_code

    wait_until(lambda: status() == 200)
    both = [Listening(callers["ours"]), Listening(callers["theirs"])]
    refused = callers["ours"].get("/ledger/events")
    assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")
    both[0].leave()
    both[0].join()
    wait_until(lambda: status() == 200)
    both[1].leave()
    both[1].join()


def test_a_shutdown_ends_listeners(compass: Path, folder: Path) -> None:
    settings = RewardServerSettings(
        port=0, embedder="token-mean", token_mean_checkpoint=compass, drain_notice_s=0, shutdown_timeout_s=60
    )
    server = Server(settings, ledger_folders=[folder])
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    host, port = server.servers[0].sockets[0].getsockname()
    with httpx.Client(base_url=f"http://{host}:{port}", timeout=DEADLINE_S) as http:
        listening = Listening(http)
        server.handle_exit(2, None)
        listening.join()
        thread.join(30)
    assert listening.ended.is_set()
    assert not thread.is_alive()


def test_cosines_are_those_of_the_embedder(callers: dict[str, httpx.Client]) -> None:
    answer = callers["ours"].post(
        "/ledger/cosines", json={"steps": ["north", "east", "north", "north east", ""]}
    )
    assert answer.status_code == 200, answer.text
    table = answer.json()["cosines"]
    assert table[0][:4] == [1.0, 0.0, 1.0, pytest.approx(0.707, abs=0.001)]
    assert [row[4] for row in table] == [None] * 5 == table[4]
    assert [[row[index] for row in table] for index in range(5)] == table


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"steps": []},
        {"steps": ["a"] * 513},
        {"steps": "a"},
        {"steps": [1]},
        {"steps": ["x" * 20_001]},
        {"steps": ["a"], "more": 1},
        {"steps": ["\ud800"]},
    ],
    ids=lambda body: str(body)[:40],
)
def test_steps_that_cannot_be_compared_are_refused(callers: dict[str, httpx.Client], body: Json) -> None:
    content = json.dumps(body)
    answer = callers["ours"].post(
        "/ledger/cosines", content=content, headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "malformed_request")


def test_cosines_are_counted_as_held_memory(compass: Path, folder: Path) -> None:
    settings = RewardServerSettings(
        embedder="token-mean", token_mean_checkpoint=compass, max_held_bytes=2**20
    )
    with running(settings, ledger_folders=[folder]) as address:
        few = httpx.post(f"{address}/ledger/cosines", json={"steps": ["north"] * 8})
        many = httpx.post(f"{address}/ledger/cosines", json={"steps": ["north"] * 512})
    assert few.status_code == 200
    assert (many.status_code, many.json()["code"]) == (413, "request_too_large")


def test_a_stored_group_is_scored_anew_under_two_configs(callers: dict[str, httpx.Client]) -> None:
    stored = callers["ours"].get("/ledger/groups/0-1").json()
    configs: list[object] = ["paper", {"preset": "paper", "alpha": 0.5}]
    answer = callers["ours"].post("/ledger/compare", json={"group": "0-1", "configs": configs}).json()
    assert answer["group"]["id"] == "0-1"
    assert [each["config_label"] for each in answer["scored"]] == ["paper", "paper+"]
    assert [each["config"]["alpha"] for each in answer["scored"]] == [0.7, 0.5]
    for config, each in zip(configs, answer["scored"], strict=True):
        request = {"groups": [stored["sent"]], "config": config, "progress": stored["progress"]}
        direct = callers["ours"].post(f"/score/{stored['endpoint']}", json=request).json()
        assert each["scored"] == direct["groups"][0]
        assert each["fingerprint"] == direct["fingerprint"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"group": "0-1", "configs": ["paper"]}, "malformed_request"),
        ({"group": "0-1", "configs": ["paper", "paper", "paper"]}, "malformed_request"),
        ({"group": "0-1", "configs": ["paper", "unknown"]}, "malformed_request"),
        ({"group": "0-1", "configs": ["paper", {"alpha": -1}]}, "malformed_request"),
        ({"group": "0-99", "configs": ["paper", "robust"]}, "no_such_record"),
        ({"group": "x", "configs": ["paper", "robust"]}, "no_such_record"),
        ({"group": "0-2", "configs": ["paper", "robust"]}, "no_such_record"),
    ],
    ids=str,
)
def test_a_comparison_that_cannot_be_made_is_refused(
    callers: dict[str, httpx.Client], body: Json, code: str
) -> None:
    assert callers["ours"].post("/ledger/compare", json=body).json()["code"] == code


def test_a_server_without_a_ledger_says_so(compass_http: httpx.Client) -> None:
    for path in ("runs", "groups", "groups.jsonl", "events", "groups/0-1", "runs/0-1/audit", "comparisons"):
        answer = compass_http.get(f"/ledger/{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "no_ledger"), path
    assert compass_http.post("/ledger/cosines", json={"steps": ["north"]}).status_code == 200


def test_what_a_server_records_it_shows(compass: Path, tmp_path: Path) -> None:
    settings = RewardServerSettings(
        embedder="token-mean", token_mean_checkpoint=compass, ledger=tmp_path / "ledger"
    )
    with running(settings) as address, httpx.Client(base_url=address, timeout=DEADLINE_S) as http:
        request = {"groups": [sent(["1", "1"], question="north?")], "update": 3, "source": "run"}
        assert http.post("/score/solver", json=request).status_code == 200
        wait_until(lambda: http.get("/ledger/runs").json()["runs"])
        answer = http.get("/ledger/runs").json()
        assert answer["ledger"]["is_recording"] is True
        assert answer["ledger"]["max_bytes"] > 0
        assert [run["last_update"] for run in answer["runs"]] == [3]
        assert http.get("/ledger/groups?q=north").json()["groups"][0]["question"] == "north?"
