"""What a running server records, and that its answers are the same with and without a ledger."""

import asyncio
import hashlib
import io
import json
import re
import shlex
import sqlite3
import struct
import subprocess
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from starlette.testclient import TestClient

from ireasoner.reward_server.__main__ import main
from ireasoner.reward_server.api.tokens import add_token
from ireasoner.reward_server.app import create_app
from ireasoner.reward_server.ledger import images
from ireasoner.reward_server.ledger.images import image_file
from ireasoner.reward_server.ledger.record import unpacked
from ireasoner.reward_server.ledger.schema import open_to_read
from ireasoner.reward_server.settings import RewardServerSettings, read_settings
from tests.reward_server.ledger_records import names, wait_until
from tests.reward_server.requests import Json, group, rollout, score
from tests.reward_server.running import running
from tests.reward_server.test_ledger_insert import HOSTILE

ENDPOINTS = ("outcome", "trajectory", "solver", "proposer")
TEXTS = [
    rollout("7", "east", "north"),
    rollout("7", "northeast", "north"),
    rollout("8", "west"),
    rollout("7", "nowhere"),
    rollout(None, "south"),
]
HEADERS = {"x-request-id": "the-same"}
CONTEXT = {"question": "Which way?", "image": "a" * 64, "labels": ["7"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ledger")


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tokens") / "tokens"


@pytest.fixture(scope="module")
def url(compass: Path, folder: Path) -> Iterator[str]:
    settings = RewardServerSettings(embedder="token-mean", token_mean_checkpoint=compass, ledger=folder)
    with running(settings) as address:
        yield address


@pytest.fixture(scope="module")
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=240) as client:
        yield client


def recorded(folder: Path, source: str, groups: int = 1) -> list[Json]:
    """The rows of a source's groups with their documents, once there are so many."""

    def found() -> list[Json]:
        with closing(open_to_read(folder)) as connection:
            connection.row_factory = sqlite3.Row
            rows = connection.execute(
                "SELECT groups.*, runs.*, document, question, image, config, config_label, fingerprint, embedder "
                "FROM groups JOIN runs ON runs.id = groups.run_id JOIN documents ON group_id = groups.id "
                "JOIN scorings ON scorings.id = scoring_id LEFT JOIN questions ON questions.id = question_id "
                "WHERE source = ? ORDER BY groups.id",
                (source,),
            ).fetchall()
        return [{**row, "document": unpacked(row["document"])} for row in rows]

    wait_until(lambda: len(found()) >= groups)
    assert len(found()) == groups
    return found()


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("detail", ["full", "rewards"])
@pytest.mark.parametrize("config", ["paper", "robust"])
def test_a_request_is_answered_as_without_a_ledger_and_kept_in_full(
    http: httpx.Client, compass_http: httpx.Client, folder: Path, endpoint: str, detail: str, config: str
) -> None:
    source = f"{endpoint} {detail} {config}"
    sent = {**group(TEXTS), **CONTEXT}
    body = {"groups": [sent], "config": config, "update": 3, "source": source}
    ours, plain = (
        client.post(f"/score/{endpoint}", json={**body, "detail": detail}, headers=HEADERS)
        for client in (http, compass_http)
    )
    full = compass_http.post(f"/score/{endpoint}", json=body, headers=HEADERS).json()
    assert (ours.status_code, ours.content) == (200, plain.content)
    [row] = recorded(folder, source)
    assert row["document"] == {"group": sent, "scored": full["groups"][0]}
    assert (row["experiment"], row["at"], row["endpoint"], row["request_id"]) == (
        "-",
        3,
        endpoint,
        "the-same",
    )
    assert (row["config_label"], row["fingerprint"]) == (config, full["fingerprint"])
    assert json.loads(row["config"])["alignment"] == ("monotonic" if config == "robust" else "index")
    assert (row["question"], row["image"], row["correct"]) == ("Which way?", "a" * 64, 1)
    if endpoint != "proposer":
        assert (row["abstained"], row["invalid"]) == (0 if endpoint == "outcome" else 1, 1)
        assert row["reward"] is not None


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(
    "context",
    [
        {"question": "?"},
        {"image": "0" * 64},
        {"labels": ["8"]},
        {"labels": []},
        {"update": 0},
        {"update": 2**53 - 1},
        {"source": "x"},
        {"record": False},
        {**CONTEXT, "update": 7, "source": "y"},
    ],
    ids=str,
)
def test_no_reward_depends_on_the_context(
    http: httpx.Client, compass_http: httpx.Client, endpoint: str, context: Json
) -> None:
    of_group = {name: value for name, value in context.items() if name in CONTEXT}
    of_request = {name: value for name, value in context.items() if name not in CONTEXT}
    for config in ("paper", "robust"):
        plain = score(compass_http, endpoint, group(TEXTS), config=config)
        for client in (http, compass_http):
            with_context = score(client, endpoint, {**group(TEXTS), **of_group}, config=config, **of_request)
            assert {**with_context, "request_id": ""} == {**plain, "request_id": ""}


def test_overrides_are_resolved(http: httpx.Client, folder: Path) -> None:
    config = {"preset": "robust", "alpha": 0.25}
    score(http, "solver", group(TEXTS), config=config, source="overrides", progress=0.5)
    [row] = recorded(folder, "overrides")
    assert (row["config_label"], row["progress"], json.loads(row["config"])["alpha"]) == (
        "robust+",
        0.5,
        0.25,
    )


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_texts_come_back_as_they_were_sent(http: httpx.Client, folder: Path, text: str) -> None:
    text = text.replace("\ud800", "") or "-"
    sent = {
        **group([rollout(text[:90_000], text[:90_000]), text]),
        "question": text[:65_536],
        "labels": [text[:4_096]],
    }
    source = f"hostile {text[:200]}"
    score(http, "solver", sent, source=source, detail="rewards")
    [row] = recorded(folder, source)
    assert row["document"]["group"] == sent


@pytest.mark.parametrize(
    "body", [{}, {"groups": []}, {"groups": [group(TEXTS)], "config": "none"}, {"groups": 1}], ids=str
)
def test_nothing_is_kept_of_a_refused_request(http: httpx.Client, folder: Path, body: Json) -> None:
    marker = f"after {body!s}"[:256]
    assert http.post("/score/solver", json={**body, "source": "refused"}).status_code == 422
    score(http, "solver", group(TEXTS), source=marker)
    recorded(folder, marker)
    recorded(folder, "refused", groups=0)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_nothing_is_kept_of_a_request_that_says_so_and_it_is_scored_all_the_same(
    http: httpx.Client, folder: Path, endpoint: str
) -> None:
    source, marker = (f"{each} {endpoint}" for each in ("unrecorded", "after"))
    kept = score(http, endpoint, group(TEXTS), source=marker, record=True)
    unkept = score(http, endpoint, group(TEXTS), source=source, record=False)
    assert {**unkept, "request_id": ""} == {**kept, "request_id": ""}
    score(http, endpoint, group(TEXTS), source=marker)
    recorded(folder, marker, groups=2)
    recorded(folder, source, groups=0)


OPENRLHF = (
    "cohort/openrlhf",
    lambda text: {"query": [f"Which way?{text}"], "prompts": ["Which way?"], "labels": ["7"]},
)
REMOTE = ("cohort/remote", lambda text: {"prompt": "Which way?", "response": text, "label": 7})
CHAT = (
    "cohort/remote",
    lambda text: {
        "prompt": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Which way?"}]},
        ],
        "response": text,
        "label": "7",
    },
)
VERIFY = (
    "verify",
    lambda text: {
        "responses_create_params": {"input": [{"role": "user", "content": "Which way?"}]},
        "response": {"output": [{"content": [{"type": "output_text", "text": text}]}]},
        "expected_answer": "7",
    },
)


@pytest.mark.parametrize(
    "protocol", [OPENRLHF, REMOTE, CHAT, VERIFY], ids=["openrlhf", "remote", "chat", "verify"]
)
def test_a_cohort_is_kept_as_one_group(
    url: str, folder: Path, protocol: tuple[str, Callable[[str], Json]], request: pytest.FixtureRequest
) -> None:
    path, body = protocol
    run = request.node.name
    texts = [rollout("7", "east"), rollout("7", "east", "north"), rollout("8", "west")]
    answers: list[int] = []

    def call(text: str) -> None:
        parameters: dict[str, Any] = {"group_size": 3, "run": run, "config": "robust", "progress": 0.5}
        answers.append(
            httpx.post(f"{url}/{path}", params=parameters, json=body(text), timeout=240).status_code
        )

    callers = [threading.Thread(target=call, args=[text]) for text in texts]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert answers == [200] * 3
    [row] = recorded(folder, run)
    assert (row["endpoint"], row["rollouts"], row["question"], row["correct"]) == (
        "solver",
        3,
        "Which way?",
        1,
    )
    assert (row["config_label"], row["progress"], row["dominant_answer"]) == ("robust", 0.5, "7")
    assert sorted(each["text"] for each in row["document"]["group"]["rollouts"]) == sorted(texts)
    assert all(each["steps"] for each in row["document"]["scored"]["rollouts"])
    assert row["document"]["scored"]["clusters"][0]["members"]


def test_a_request_whose_steps_do_not_fit_is_kept_without_them(
    compass: Path, compass_http: httpx.Client, tmp_path: Path
) -> None:
    """A caller that asks for rewards alone is never refused for the sake of the ledger."""
    sent = {**group([rollout("7", "east " * 2_000)] * 4), "labels": ["7"]}
    body = {"groups": [sent], "detail": "rewards"}
    size = len(json.dumps(body))
    settings = RewardServerSettings(
        embedder="token-mean", token_mean_checkpoint=compass, max_held_bytes=int(6.6 * size)
    )
    plain = compass_http.post("/score/outcome", json=body, headers=HEADERS)
    for ledger in (None, tmp_path / "ledger"):
        with running(settings.model_copy(update={"ledger": ledger})) as url:
            answer = httpx.post(f"{url}/score/outcome", json=body, headers=HEADERS)
            assert (answer.status_code, answer.content) == (200, plain.content)
            full = httpx.post(f"{url}/score/outcome", json={**body, "detail": "full"})
            assert full.status_code == 413
    with closing(open_to_read(tmp_path / "ledger")) as connection:
        [(document, *figures)] = connection.execute(
            "SELECT document, correct, correct_share, invalid FROM documents JOIN groups ON id = group_id"
        )
    assert unpacked(document)["scored"] == plain.json()["groups"][0]
    assert figures == [None, None, 0], "nobody knows which answers are right"


@pytest.fixture(scope="module")
def with_tokens(
    compass: Path, tokens: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path, dict[str, str]]]:
    """A server with two experiments and an operator: its address, its ledger and their tokens."""
    ledger = tmp_path_factory.mktemp("two experiments")
    known = {name: add_token(tokens, name) for name in ("one", "two", "operator")}
    settings = RewardServerSettings(
        embedder="token-mean", token_mean_checkpoint=compass, ledger=ledger, tokens_file=tokens
    )
    with running(settings) as address:
        yield address, ledger, known


def test_a_group_belongs_to_the_experiment_of_its_token(
    with_tokens: tuple[str, Path, dict[str, str]],
) -> None:
    url, ledger, known = with_tokens
    for name, token in known.items():
        answer = httpx.post(
            f"{url}/score/solver",
            json={"groups": [group(TEXTS, name)], "source": "the same"},
            headers={"authorization": f"Bearer {token}"},
        )
        assert answer.status_code == 200
    rows = recorded(ledger, "the same", groups=3)
    assert {row["experiment"]: row["name"] for row in rows} == {name: name for name in known}


def png(width: int = 2, height: int = 2, colour: int = 0) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (width, height), (colour, 0, 0)).save(data, "PNG")
    return data.getvalue()


def encoded(kind: str) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (4, 3)).save(data, kind)
    return data.getvalue()


def crafted_png(width: int, height: int, pixels: bytes, *texts: tuple[bytes, bytes]) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), *texts, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def put(http: httpx.Client, data: bytes, sha256: str | None = None) -> httpx.Response:
    return http.put(f"/ledger/images/{sha256 or hashlib.sha256(data).hexdigest()}", content=data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_an_image_is_kept_under_its_hash(http: httpx.Client, folder: Path, kind: str) -> None:
    data = encoded(kind)
    sha256 = hashlib.sha256(data).hexdigest()
    answers = [put(http, data) for _ in range(2)]
    assert [each.status_code for each in answers] == [200, 200]
    assert answers[0].json() == answers[1].json() == {"sha256": sha256, "bytes": len(data), "pixels": 12}
    file = image_file(folder, sha256)
    wait_until(file.exists)
    assert file.read_bytes() == data


REFUSED_IMAGES: dict[str, tuple[bytes, int, str]] = {
    "nothing": (b"", 422, "not one of"),
    "a page": (b"<html><script>alert(1)</script>", 422, "not one of"),
    "a vector image": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 422, "not one of"),
    "a program of PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 422, "not one of"),
    "half a PNG": (png(64, 64)[:-40], 422, "cannot be decoded"),
    "a PNG without pixels": (crafted_png(64, 64, b""), 422, "cannot be decoded"),
    "no width": (crafted_png(0, 9, b""), 422, "not one of"),
    "too many pixels": (crafted_png(4097, 4096, b""), 413, "pixels"),
    "far too many pixels": (crafted_png(2**31 - 1, 2**31 - 1, b""), 413, "pixels"),
    "texts that take more memory than pixels": (
        crafted_png(1, 1, zlib.compress(bytes(4)), *[(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**20)))] * 5),
        422,
        "not one of",
    ),
    "too many bytes": (png() + bytes(16 * 2**20), 413, "bytes"),
}


@pytest.mark.parametrize(("data", "status", "why"), REFUSED_IMAGES.values(), ids=REFUSED_IMAGES)
def test_what_is_not_an_image_of_bounded_size_is_refused(
    http: httpx.Client, folder: Path, data: bytes, status: int, why: str
) -> None:
    answer = put(http, data)
    assert (answer.status_code, why in answer.json()["detail"]) == (status, True), answer.text
    assert not image_file(folder, hashlib.sha256(data).hexdigest()).exists()


def test_a_small_file_of_many_pixels_takes_memory_that_is_counted(compass: Path, tmp_path: Path) -> None:
    bomb = crafted_png(4096, 4096, zlib.compress(bytes(4096 * (3 * 4096 + 1)), 9))
    assert len(bomb) < 60_000
    settings = RewardServerSettings(
        embedder="token-mean", token_mean_checkpoint=compass, ledger=tmp_path / "ledger"
    )
    for held, status in ((256 * 2**20, 200), (64 * 2**20, 413)):
        changed = settings.model_copy(update={"max_held_bytes": held})
        with running(changed) as url, httpx.Client(base_url=url, timeout=240) as client:
            assert put(client, bomb).status_code == status


@pytest.mark.parametrize(
    "data",
    [
        png(),
        png(64, 64)[:-40],
        b"no image",
        crafted_png(1, 1, zlib.compress(bytes(4)), *[(b"tEXt", b"k\0")] * 1_000),
    ],
    ids=["an image", "half an image", "no image", "many chunks"],
)
def test_the_event_loop_reads_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """Even the head of a small file can take a second to parse."""
    calls = []

    def counted(name: str) -> Callable[[bytes], Any]:
        read = getattr(images, name)

        def call(data: bytes) -> Any:
            calls.append((name, threading.current_thread().name.partition("_")[0]))
            return read(data)

        return call

    for name in ("digest", "pixels", "check_whole"):
        monkeypatch.setattr(images, name, counted(name))
    app = create_app(RewardServerSettings(ledger=tmp_path))
    TestClient(app).put(f"/ledger/images/{hashlib.sha256(data).hexdigest()}", content=data)
    asyncio.run(app.state.recorder.stop())
    assert calls == [(name, "images") for name in ("digest", "pixels", "check_whole")[: len(calls)]]
    assert len(calls) >= 2


@pytest.mark.parametrize(
    "sha256",
    ["0" * 64, "0" * 63, "A" * 64, "..%2f..%2fetc%2fpasswd", "%00", "x" * 3_000, "$" * 64],
)
def test_a_hash_that_is_not_the_images_is_refused(http: httpx.Client, sha256: str) -> None:
    answer = put(http, png(), sha256)
    assert answer.status_code in (404, 422)
    if answer.status_code == 422:
        assert "sha256" in str(answer.json()["errors"])


def test_an_image_belongs_to_each_experiment_that_put_it(
    with_tokens: tuple[str, Path, dict[str, str]],
) -> None:
    url, ledger, known = with_tokens
    with httpx.Client(base_url=url) as client:
        assert put(client, png()).status_code == 401
        answers = []
        for name in ("one", "two"):
            client.headers["authorization"] = f"Bearer {known[name]}"
            answers.append(put(client, png()))
    assert [each.status_code for each in answers] == [200, 200]
    assert answers[0].json() == answers[1].json(), "nobody learns that another experiment has it"

    def owners() -> list[str]:
        with closing(open_to_read(ledger)) as connection:
            return sorted(row[0] for row in connection.execute("SELECT experiment FROM images"))

    wait_until(lambda: owners() == ["one", "two"])


def test_without_a_ledger_there_is_nowhere_to_put_an_image(compass_http: httpx.Client) -> None:
    answer = put(compass_http, png())
    assert (answer.status_code, answer.json()["code"]) == (404, "no_ledger")


def test_a_server_does_not_start_on_a_ledger_in_use(
    folder: Path, http: httpx.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--port", "0", "--ledger", str(folder)]) == 2
    assert "records into" in capsys.readouterr().err
    assert main(["--ledger", str(folder), "--print-openapi"]) == 0


@pytest.mark.parametrize("size", ["0", "-1", "nan", "inf", "x"])
def test_a_size_that_is_none_is_refused(
    tmp_path: Path, size: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--ledger", str(tmp_path), "--ledger-max-gib", size]) == 2
    assert "ledger_max_gib" in capsys.readouterr().err


def test_the_metrics_show_what_is_recorded(http: httpx.Client, folder: Path) -> None:
    score(http, "solver", group(TEXTS), source="metrics")
    recorded(folder, "metrics")

    def value(name: str) -> float:
        lines = http.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    wait_until(lambda: value("reward_ledger_groups_total") == len(names(folder)))
    assert value("reward_ledger_up") == 1
    assert value("reward_ledger_dropped_groups_total") == 0
    assert 0 < value("reward_ledger_bytes") < value("reward_ledger_max_bytes")


def test_the_commands_of_the_page_work(url: str, folder: Path, tmp_path: Path) -> None:
    start, upload, explore = re.findall(r"```bash\n(.*?)```", Path("docs/ledger.md").read_text(), re.DOTALL)
    command, *flags = shlex.split(start)
    assert command == "reward-server"
    assert read_settings(flags).ledger == Path("runs/ledger")
    (tmp_path / "chart.png").write_bytes(png(3, 3))
    shell = upload.replace("http://127.0.0.1:8010", url)
    ended = subprocess.run(["bash", "-c", shell], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert json.loads(ended.stdout)["pixels"] == 9
    assert shlex.split(explore)[:2] == ["ireasoner", "explore"]
    wait_until(image_file(folder, hashlib.sha256(png(3, 3)).hexdigest()).exists)
