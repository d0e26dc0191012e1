"""A token sees its own experiment's part of the ledger; what belongs to another is as if it did not exist."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from ireasoner.reward_server.api.tokens import OPERATOR
from ireasoner.reward_server.ledger import images, schema
from ireasoner.reward_server.ledger.comparison_file import ComparisonFile, Plan
from ireasoner.reward_server.ledger.group_change import GroupChange
from tests.reward_server.ledger_reading import keep, reader, tokens
from tests.reward_server.ledger_records import record, sent

Json = dict[str, Any]

OURS, THEIRS = "ours", "theirs"
SECRET = "the moon is made of glass"
PICTURES = {OURS: "red", THEIRS: "blue", "both": "white"}


def picture(colour: str) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(written, "PNG")
    return written.getvalue()


def sha256(colour: str) -> str:
    return hashlib.sha256(picture(colour)).hexdigest()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of two experiments: each has a run of the same name, a question of its own and one that both ask."""
    folder = tmp_path_factory.mktemp("ledger")
    sequence = 0
    for update in range(3):
        for experiment in (OURS, THEIRS):
            sequence += 1
            own = sent(
                ["1", "2", "2"],
                name="own",
                question=f"{experiment}: {SECRET if experiment == THEIRS else ''}",
            )
            own["image"] = sha256(PICTURES[experiment])
            both = sent(
                ["1", "1"], name="both", question="Who asks?", image=sha256(PICTURES["both"]), labels=["1"]
            )
            keep(
                folder,
                [record(own, both, sequence=sequence, experiment=experiment, source="run", update=update)],
            )
    connection = schema.open_to_write(folder)
    for name, colour in PICTURES.items():
        data = picture(colour)
        images.store(folder, sha256(colour), data)
        for experiment in (OURS, THEIRS) if name == "both" else (name,):
            row = (sha256(colour), experiment, len(data), 0.0)
            connection.execute(
                "INSERT INTO images (sha256, experiment, bytes, put_s) VALUES (?, ?, ?, ?)", row
            )
    runs = {row[1]: row[0] for row in connection.execute("SELECT id, experiment FROM runs")}
    connection.execute("INSERT INTO evictions VALUES (?, 5, 13, 1.0)", (runs[OURS],))
    connection.execute("INSERT INTO evictions VALUES (?, 7, 20, 1.0)", (runs[THEIRS],))
    connection.execute("INSERT INTO evictions VALUES (0, 100, 300, 1.0)")
    groups = connection.execute(
        "SELECT groups.id, experiment FROM groups JOIN runs ON runs.id = run_id"
    ).fetchall()
    connection.close()
    change = GroupChange([0.25, 0.5], [0.5, 0.25], "1", "2")
    for name, experiments in (("theirs", {THEIRS}), ("all", {OURS, THEIRS})):
        with ComparisonFile(folder, name, Plan("robust", None, {})) as file:
            file.expect(len(groups))
            file.add([(row, experiment, change) for row, experiment in groups if experiment in experiments])
    return folder


@pytest.fixture(scope="module")
def tokens_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tokens") / "tokens"


@pytest.fixture(scope="module")
def callers(folder: Path, tokens_file: Path) -> dict[str, TestClient]:
    """A client with the token of each experiment, of an operator, and of an experiment without groups."""
    headers = tokens(tokens_file, [OURS, THEIRS, OPERATOR, "idle"])
    clients = {}
    for name, header in headers.items():
        clients[name] = reader(folder, tokens_file=tokens_file)
        clients[name].headers.update(header)
    return clients


@pytest.fixture(scope="module")
def theirs(callers: dict[str, TestClient]) -> Json:
    """Ids that the other experiment has."""
    groups = callers[THEIRS].get("/ledger/groups").json()["groups"]
    assert len(groups) == 6
    own = next(group for group in groups if group["name"] == "own")
    return {
        "comparison": "theirs",
        "run": own["run"],
        "group": own["id"],
        "question": own["question_id"],
        "image": own["image"],
    }


FOREIGN = {
    "/ledger/runs/{run}/timeline": ("GET", "/ledger/runs/{run}/timeline", None),
    "/ledger/runs/{run}/audit": ("GET", "/ledger/runs/{run}/audit", None),
    "/ledger/events": ("GET", "/ledger/events?run={run}", None),
    "/ledger/groups": ("GET", "/ledger/groups?run={run}", None),
    "/ledger/groups.jsonl": ("GET", "/ledger/groups.jsonl?run={run}", None),
    "/ledger/groups/{group}": ("GET", "/ledger/groups/{group}", None),
    "/ledger/groups/{group}/neighbours": ("GET", "/ledger/groups/{group}/neighbours", None),
    "/ledger/images/{sha256}": ("GET", "/ledger/images/{image}", None),
    "/ledger/compare": ("POST", "/ledger/compare", {"group": "{group}", "configs": ["paper", "robust"]}),
    "/ledger/comparisons/{name}": ("GET", "/ledger/comparisons/{comparison}", None),
}
"""A request for something of another experiment, for each route that takes a name of something."""
MORE_FOREIGN = [
    ("GET", "/ledger/groups?question={question}", None),
    ("GET", "/ledger/groups?question={question}&run={run}", None),
    ("GET", "/ledger/groups.jsonl?question={question}", None),
]
NAMELESS = {"/ledger/runs", "/ledger/cosines", "/ledger/comparisons"}
NOTHING = {"comparison": "nothing", "run": "0-77", "group": "0-888", "question": "0-9999", "image": "0" * 64}


def filled(text: str, ids: Json) -> str:
    for name, value in ids.items():
        text = text.replace("{" + name + "}", value)
    return text


def asked(http: TestClient, method: str, path: str, body: Json | None, ids: Json) -> tuple[int, str]:
    """The status and the text of an answer, without its request's id and the ids that were asked for."""
    content = None if body is None else filled(json.dumps(body), ids)
    answer = http.request(
        method, filled(path, ids), content=content, headers={"content-type": "application/json"}
    )
    text = answer.text.replace(answer.headers["x-request-id"], "ID")
    for value in ids.values():
        text = text.replace(value, "NAME")
    return answer.status_code, text


def test_every_route_that_takes_a_name_is_asked_for_one_of_another(callers: dict[str, TestClient]) -> None:
    described: dict[str, Any] = callers[OURS].app.openapi()["paths"]  # type: ignore[attr-defined]
    paths = {
        path
        for path, methods in described.items()
        if path.startswith("/ledger/") and methods.keys() - {"put"}
    }
    assert paths == FOREIGN.keys() | NAMELESS


@pytest.mark.parametrize("request_", [*FOREIGN.values(), *MORE_FOREIGN], ids=lambda each: each[1])
def test_what_another_experiment_has_is_answered_like_what_nobody_has(
    callers: dict[str, TestClient], theirs: Json, request_: tuple[str, str, Json | None]
) -> None:
    method, path, body = request_
    for caller in (OURS, "idle"):
        foreign = asked(callers[caller], method, path, body, theirs)
        assert foreign[0] == 404
        assert "no_such_record" in foreign[1]
        assert foreign == asked(callers[caller], method, path, body, NOTHING)


@pytest.mark.parametrize("request_", [*FOREIGN.values(), *MORE_FOREIGN], ids=lambda each: each[1])
def test_without_a_token_nothing_is_answered(
    folder: Path, tokens_file: Path, theirs: Json, request_: tuple[str, str, Json | None]
) -> None:
    status, _ = asked(reader(folder, tokens_file=tokens_file), *request_, theirs)
    assert status == 401


@pytest.mark.parametrize("caller", [THEIRS, OPERATOR])
@pytest.mark.parametrize("name", ["run", "audit", "group", "question", "image", "comparison"])
def test_those_who_may_see_it_do(
    callers: dict[str, TestClient], theirs: Json, caller: str, name: str
) -> None:
    path = {
        "run": "/ledger/runs/{run}/timeline",
        "audit": "/ledger/runs/{run}/audit",
        "comparison": "/ledger/comparisons/{comparison}",
        "group": "/ledger/groups/{group}",
        "question": "/ledger/groups?question={question}",
        "image": "/ledger/images/{image}",
    }[name]
    assert callers[caller].get(filled(path, theirs)).status_code == 200


def test_runs_and_counts_are_those_of_the_experiment(callers: dict[str, TestClient]) -> None:
    answer = callers[OURS].get("/ledger/runs").json()
    assert [run["experiment"] for run in answer["runs"]] == [OURS]
    assert answer["runs"][0]["evicted_groups"] == 5
    assert answer["ledger"] == {
        "groups": 6 - 5,
        "rollouts": 15 - 13,
        "bytes": None,
        "max_bytes": None,
        "dropped": {},
        "evicted_groups": 5,
        "is_recording": False,
        "problem": None,
    }
    assert callers["idle"].get("/ledger/runs").json()["runs"] == []
    assert callers["idle"].get("/ledger/runs").json()["ledger"]["evicted_groups"] == 0


@pytest.mark.parametrize("has_tokens", [True, False])
def test_an_operator_and_a_server_without_tokens_show_all(
    callers: dict[str, TestClient], folder: Path, has_tokens: bool
) -> None:
    http = callers[OPERATOR] if has_tokens else reader(folder)
    answer = http.get("/ledger/runs").json()
    assert {run["experiment"] for run in answer["runs"]} == {OURS, THEIRS}
    assert answer["ledger"]["evicted_groups"] == 5 + 7 + 100
    assert answer["ledger"]["bytes"] > 0
    assert len(http.get("/ledger/groups").json()["groups"]) == 12


QUERIES: list[Json] = [
    {},
    {"q": SECRET},
    {"q": "glass"},
    {"q": "gl"},
    {"q": THEIRS},
    {"q": "Who asks"},
    {"q": "<2>"},
    {"image": sha256(PICTURES[THEIRS])},
    {"image": sha256(PICTURES["both"])},
    {"flag": "right"},
    {"sort": "reward"},
    {"sort": "words", "order": "asc", "endpoint": "solver"},
    {"update_from": 1},
    {"max_dominant_share": 1},
]


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_no_list_and_no_export_has_a_group_of_another(callers: dict[str, TestClient], query: Json) -> None:
    listed = callers[OURS].get("/ledger/groups", params=query).json()
    assert {group["experiment"] for group in listed["groups"]} <= {OURS}
    assert (listed["next"], listed["is_complete"]) == (None, True)
    exported = callers[OURS].get("/ledger/groups.jsonl", params=query).text
    assert [json.loads(line)["id"] for line in exported.splitlines()] == [
        group["id"] for group in listed["groups"]
    ]
    assert SECRET not in exported
    known = callers[OPERATOR].get("/ledger/groups", params=query).json()["groups"]
    assert listed["groups"] == [group for group in known if group["experiment"] == OURS]


@pytest.mark.parametrize("query", [{"q": SECRET}, {"q": "gl"}, {"image": sha256(PICTURES[THEIRS])}], ids=str)
def test_the_queries_do_find_it_for_those_who_may_see_it(callers: dict[str, TestClient], query: Json) -> None:
    assert len(callers[THEIRS].get("/ledger/groups", params=query).json()["groups"]) == 3


def test_a_cursor_of_another_token_is_refused(callers: dict[str, TestClient]) -> None:
    cursor = callers[THEIRS].get("/ledger/groups?limit=1").json()["next"]
    assert callers[THEIRS].get(f"/ledger/groups?cursor={cursor}").status_code == 200
    for caller in (OURS, OPERATOR):
        assert callers[caller].get(f"/ledger/groups?cursor={cursor}").status_code == 422


def test_neighbours_are_of_the_same_run(callers: dict[str, TestClient]) -> None:
    for group in callers[OURS].get("/ledger/groups").json()["groups"]:
        beside = callers[OURS].get(f"/ledger/groups/{group['id']}/neighbours").json()
        found = [*beside["same_question"], *beside["same_image"]]
        assert len(beside["same_question"]) == 2
        assert {each["experiment"] for each in found} == {OURS}
        whole = callers[OURS].get(f"/ledger/groups/{group['id']}").json()
        for name in ("newer", "older"):
            if whole[name] is not None:
                assert callers[OURS].get(f"/ledger/groups/{whole[name]}").status_code == 200


def test_an_image_that_both_put_is_shown_to_both(callers: dict[str, TestClient]) -> None:
    for caller, status in ((OURS, 200), (THEIRS, 200), ("idle", 404)):
        assert callers[caller].get(f"/ledger/images/{sha256('white')}").status_code == status


def test_a_known_hash_shows_no_image_of_another_even_as_not_modified(
    callers: dict[str, TestClient], theirs: Json
) -> None:
    known = {"if-none-match": f'"{theirs["image"]}"'}
    assert callers[THEIRS].get(f"/ledger/images/{theirs['image']}", headers=known).status_code == 304
    assert callers[OURS].get(f"/ledger/images/{theirs['image']}", headers=known).status_code == 404


def test_a_comparison_shows_the_groups_of_the_experiment_alone(callers: dict[str, TestClient]) -> None:
    listed = {name: http.get("/ledger/comparisons").json()["comparisons"] for name, http in callers.items()}
    assert {name: {each["name"] for each in found} for name, found in listed.items()} == {
        OURS: {"all"},
        THEIRS: {"all", "theirs"},
        OPERATOR: {"all", "theirs"},
        "idle": set(),
    }
    [ours] = listed[OURS]
    assert (ours["groups"], ours["done"], ours["summary"]["rank_flips"]) == (6, 6, 6)
    page = callers[OURS].get("/ledger/comparisons/all?limit=4").json()
    rest = callers[OURS].get("/ledger/comparisons/all", params={"limit": 4, "cursor": page["next"]}).json()
    rows = page["rows"] + rest["rows"]
    assert rest["next"] is None
    assert {row["group"]["experiment"] for row in rows} == {OURS}
    assert len({row["group"]["id"] for row in rows}) == 6
    assert len(callers[OPERATOR].get("/ledger/comparisons/all").json()["rows"]) == 12
    other = callers[THEIRS].get("/ledger/comparisons/all", params={"limit": 4, "cursor": page["next"]})
    assert other.status_code == 422
