"""The benchmark of other embedding servers: what counts, what is left out, and what its table says."""

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from pathlib import Path
from typing import ClassVar

import numpy as np
import psutil
import pytest

from benchmarks import comparison, peer_processes, peer_servers, peers
from benchmarks.capacity import NotMeasured, default_runtime, served
from benchmarks.comparison import Turns, compare, processor
from benchmarks.peer import Embeddings, PeerUnavailable, reason
from benchmarks.peer_environment import PeerEnvironment, disk_bytes
from benchmarks.peer_processes import OurEmbeddings
from benchmarks.peer_servers import REQUESTS, HttpPeer, running, threads_elsewhere, vllm
from benchmarks.peers import PART, Race, Work, table
from benchmarks.runtimes import minilm
from benchmarks.served import CORES, SERVER_CORE, on_core
from tests.rollout_server.running import free_port

WORK = Work([], ["one", "two", "three"])
ROWS = np.eye(3, 4, dtype=np.float32)


@pytest.fixture(autouse=True)
def _no_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "calibration_gflops", lambda: 1.0)


class FakePeer:
    """Answers with fixed rows, or fails from a call on; counts its calls."""

    def __init__(
        self, name: str, rows: Embeddings = ROWS, fails_at: int = 99, log: list[str] | None = None
    ) -> None:
        self.name = name
        self.note = f"note of {name}"
        self._rows = rows
        self._fails_at = fails_at
        self._log = [] if log is None else log

    def itself(self) -> "FakePeer":
        return self

    def embed(self, texts: Sequence[str]) -> Embeddings:
        self._log.append(self.name)
        if self._log.count(self.name) >= self._fails_at:
            raise PeerUnavailable(f"{self.name} has ended")
        return self._rows[: len(texts)]


def race_of(*others: FakePeer, log: list[str] | None = None) -> Race:
    """A race that all have entered, against a server with the runtimes of a processor with bfloat16."""
    log = [] if log is None else log

    def scored(runtime: str, work: Work) -> float:
        log.append(runtime)
        return 6.0

    race = Race(
        {runtime: partial(scored, runtime) for runtime in ("openvino-bf16", "openvino-fp32")},
        FakePeer("exact"),
    )
    for other in others:
        race.enter(ExitStack(), other.name, partial(peers.at_hand, partial(FakePeer.itself, other)))
    return race


def test_every_other_turn_runs_backwards_after_a_warm_up() -> None:
    log: list[str] = []
    race = race_of(FakePeer("a", log=log), FakePeer("b", log=log), log=log)
    race.warm_up(WORK)
    race.run(WORK, backwards=False)
    race.run(WORK, backwards=True)
    order = ["openvino-bf16", "openvino-fp32", "a", "b"]
    assert log == [*order, *order, *reversed(order)]


def test_each_server_of_ours_stands_beside_each_peer_and_the_default_has_the_goals() -> None:
    race = race_of(*(FakePeer(name) for name in ("vLLM 9, float32", "infinity 8, torch", "fastembed 7")))
    race.warm_up(WORK)
    race.run(WORK, backwards=False)
    rows = list(race.comparisons())
    assert [(row.name.split(": ")[0], row.name.split("against ")[1], row.goal) for row in rows] == [
        ("openvino-bf16", "vLLM 9, float32", 1.8),
        ("openvino-bf16", "infinity 8, torch", 4.0),
        ("openvino-bf16", "fastembed 7", None),
        ("openvino-fp32", "vLLM 9, float32", None),
        ("openvino-fp32", "infinity 8, torch", None),
        ("openvino-fp32", "fastembed 7", None),
    ]
    assert all(row.other and row.ratio == row.ours / row.other for row in rows)
    assert rows[0].note == "note of vLLM 9, float32"


def shortened() -> Embeddings:
    return 0.9 * ROWS


def turned() -> Embeddings:
    return ROWS[::-1]


def one_is_missing() -> Embeddings:
    return ROWS * np.array([[1], [1], [0]], np.float32)


def not_a_number() -> Embeddings:
    return np.full_like(ROWS, np.nan)


@pytest.mark.parametrize("rows", [shortened, turned, one_is_missing, not_a_number])
def test_a_peer_that_embeds_otherwise_is_out(rows: Callable[[], Embeddings]) -> None:
    race = race_of(FakePeer("right"), FakePeer("wrong", rows()))
    race.warm_up(WORK)
    race.run(WORK, backwards=False)
    other = {row.name.split("against ")[1]: row for row in race.comparisons()}
    assert other["right"].ratio is not None
    assert (other["wrong"].other, other["wrong"].ratio, other["wrong"].goal) == (None, None, None)
    assert other["wrong"].note.startswith("not measured: its embeddings differ from ours")


def test_embeddings_that_are_rounded_are_the_same() -> None:
    rounded = ROWS + np.float32(0.01) * (1 - ROWS)
    rounded /= np.linalg.norm(rounded, axis=1, keepdims=True)
    race = race_of(FakePeer("bfloat16", rounded))
    race.warm_up(WORK)
    race.run(WORK, backwards=False)
    assert all(row.ratio is not None for row in race.comparisons())


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_peer_that_ends_is_out_and_the_others_go_on(call: int) -> None:
    log: list[str] = []
    race = race_of(FakePeer("mortal", fails_at=call), FakePeer("other", log=log))
    race.warm_up(WORK)
    race.run(WORK, backwards=False)
    race.run(WORK, backwards=True)
    other = {row.name.split("against ")[1]: row for row in race.comparisons()}
    assert other["mortal"].note == "not measured: mortal has ended"
    assert other["other"].ratio is not None
    assert len(log) == 3


def test_a_peer_that_does_not_start_is_a_row_that_says_so() -> None:
    race = race_of()
    with ExitStack() as stack:
        race.enter(stack, "infinity, torch", partial(peers.unavailable, PeerUnavailable("no environment")))
    race.warm_up(WORK)
    race.run(WORK, backwards=False)
    rows = [replace(row, part=PART) for row in race.comparisons()]
    assert {row.note for row in rows} == {"not measured: no environment"}
    assert "| openvino-bf16 | 6 | infinity, torch |  |  | not measured: no environment |" in table(rows)


def test_the_work_is_the_distinct_steps_of_dominant_rollouts() -> None:
    work = Work.of(7, 3)
    assert len(work.texts) == len(set(work.texts))
    others = {
        step
        for group in work.groups
        for each in group
        if each.answer != group[0].answer
        for step in each.steps
    }
    assert others.isdisjoint(work.texts)
    assert {step for group in work.groups for each in group for step in each.steps} == others | set(
        work.texts
    )
    assert Work.of(8, 3).texts[0] not in work.texts


class Embedding(BaseHTTPRequestHandler):
    """Answers with one row for each text, last first: its length and its first byte."""

    status: ClassVar[int] = 200
    received: ClassVar[list[list[str]]] = []

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.received.append(sent["input"])
        rows = [np.array([len(text), ord(text[0])], np.float32).tobytes() for text in sent["input"]]
        data = [{"index": i, "embedding": base64.b64encode(row).decode()} for i, row in enumerate(rows)]
        answer = json.dumps({"data": data[::-1]}).encode()
        self.send_response(self.status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_request(self, *_: object) -> None:
        """Prints nothing."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    """The address of an endpoint for embeddings."""
    Embedding.status = 200
    Embedding.received = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Embedding)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("count", [1, 2, REQUESTS, REQUESTS + 1, 4 * REQUESTS - 1])
def test_an_http_peer_answers_in_order_from_a_few_requests(endpoint: str, count: int) -> None:
    texts = [chr(97 + i) * (i + 1) for i in range(count)]
    rows = HttpPeer("fake", endpoint).embed(texts)
    assert rows.tolist() == [[len(text), ord(text[0])] for text in texts]
    assert len(Embedding.received) <= REQUESTS
    assert sorted(chain.from_iterable(Embedding.received)) == sorted(texts)


@pytest.mark.parametrize("status", [400, 413, 500, 503])
def test_an_http_peer_that_refuses_is_unavailable(endpoint: str, status: int) -> None:
    Embedding.status = status
    with pytest.raises(PeerUnavailable, match=f"fake answered {status}"):
        HttpPeer("fake", endpoint).embed(["a"])


def test_an_http_peer_that_has_ended_is_unavailable() -> None:
    with pytest.raises(PeerUnavailable, match="fake did not answer"):
        HttpPeer("fake", f"http://127.0.0.1:{free_port()}").embed(["a"])


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; print('no model', file=sys.stderr); sys.exit(3)", "fake ended with 3: no model"),
        ("raise ValueError('no such flag')", "fake ended with 1: ValueError: no such flag"),
        ("", "fake ended with 0: it printed nothing"),
    ],
)
def test_a_server_that_does_not_start_says_why(code: str, said: str) -> None:
    health = f"http://127.0.0.1:{free_port()}/health"
    with (
        pytest.raises(PeerUnavailable) as caught,
        running("fake", [sys.executable, "-c", code], {}, health),
    ):
        pytest.fail("it was entered")
    assert str(caught.value) == said


def test_a_server_that_is_never_ready_is_ended() -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    health = f"http://127.0.0.1:{free_port()}/health"
    with (
        pytest.raises(PeerUnavailable, match=r"fake is not ready after 0\.1 s"),
        running("fake", command, {}, health, deadline_s=0.1),
    ):
        pytest.fail("it was entered")


ROAMING = """
import os, sys, threading
started = threading.Event()
def roam():
    os.sched_setaffinity(0, range(os.cpu_count()))
    started.set()
    threading.Event().wait()
for _ in range(int(sys.argv[1])):
    threading.Thread(target=roam, daemon=True).start()
    started.wait()
    started.clear()
print(flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(len(CORES) == 1, reason="needs two cores")
@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_peer_whose_threads_leave_its_core_is_out(endpoint: str, count: int) -> None:
    command = [sys.executable, "-c", ROAMING, str(count)]
    with on_core(SERVER_CORE):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        assert threads_elsewhere(process.pid, SERVER_CORE) == count
        peer = HttpPeer("fake", endpoint, process.pid)
        if count:
            with pytest.raises(
                PeerUnavailable, match=f"fake has {count} threads that may run on other cores"
            ):
                peer.embed(["a"])
        else:
            assert len(peer.embed(["a"])) == 1
        process.kill()


def test_a_server_ends_with_its_block() -> None:
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    url = f"http://127.0.0.1:{port}"
    with running("fake", command, {}, url):
        assert HttpPeer("fake", url).name == "fake"
    with pytest.raises(PeerUnavailable, match="did not answer"):
        HttpPeer("fake", url).embed(["a"])


@pytest.mark.parametrize(
    ("log", "shown"),
    [
        ("", "it printed nothing"),
        ("\n \n", "it printed nothing"),
        ("a\nb \n\n", "b"),
        ("x" * 300, "x" * 200),
        ("ValueError: no such dtype\nRuntimeError: the engine failed\nExiting.", "ValueError: no such dtype"),
        ("loading\n(Engine) ERROR OSError: no such file\nexit", "(Engine) ERROR OSError: no such file"),
        ("ERROR:    Application startup failed.", "ERROR:    Application startup failed."),
        ("Errors: none\nbye", "bye"),
    ],
)
def test_the_reason_in_a_log_is_its_first_error(log: str, shown: str) -> None:
    assert reason(log) == shown


def test_the_table_says_that_nothing_was_measured() -> None:
    unrelated = replace(compare("other", "s", 1.0), part="start")
    assert "not measured yet" in table([])
    assert "not measured yet" in table([unrelated])


def test_the_table_shows_the_date_and_the_processor() -> None:
    row = compare(f"openvino-fp32{peers.BESIDE}vLLM 9", "steps/s", 150.0, 75.0, 1.8, note="")
    shown = table([replace(row, part=PART, measured="2027-01-31", processor="Fast (AVX2)")])
    assert shown.splitlines()[2] == "| openvino-fp32 | 150 | vLLM 9 | 75 | 2.00 |  |"
    assert shown.splitlines()[-1] == "_Measured on 2027-01-31 on one core of: Fast (AVX2)._"


@pytest.mark.parametrize(
    ("turns", "median"),
    [([(1, 2)], (1, 2)), ([(1, 1), (4, 1), (2, 1)], (2, 1)), ([(9, 9), (3, 1), (2, 4)], (9, 9))],
)
def test_the_turn_with_the_median_ratio_is_kept(
    turns: list[tuple[float, float]], median: tuple[float, float]
) -> None:
    kept = Turns()
    for turn in turns:
        kept.add(*turn)
    assert kept.median == median


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        ("fpu avx2 fma", "Chip 1 (AVX2)"),
        ("avx2 avx512f avx512_vnni", "Chip 1 (AVX-512 with VNNI)"),
        ("avx2 avx512f avx512_vnni avx512_bf16 amx_bf16", "Chip 1 (AMX)"),
        ("sse2", "Chip 1"),
    ],
)
def test_a_processor_is_named_with_its_newest_instructions(tmp_path: Path, flags: str, shown: str) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nmodel name\t: Chip 1\nflags\t\t: {flags}\n\n")
    assert processor(tmp_path / "cpuinfo") == shown
    assert processor(tmp_path / "none") == "unknown"


def test_the_scorer_s_speed_is_that_of_the_default_runtime() -> None:
    exact = compare(f"{served('openvino-fp32')} forward pass", "steps/s", 150.0, 160.0)
    half = compare(f"{served('openvino-bf16')} forward pass", "steps/s", 300.0, 310.0)
    assert default_runtime([exact]) == ("openvino-fp32", exact)
    assert default_runtime([exact, half]) == ("openvino-bf16", half)
    with pytest.raises(NotMeasured):
        default_runtime([replace(half, name="another")])


def test_a_file_with_two_names_takes_its_space_once(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(bytes(range(256)) * 4096)
    once = disk_bytes(tmp_path)
    (tmp_path / "two").hardlink_to(tmp_path / "one")
    assert disk_bytes(tmp_path) == once >= 2**20


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_vllm_embeds_as_we_do() -> None:
    """The peer that runs in our own environment."""
    race = Race({}, OurEmbeddings("openvino-fp32", minilm("openvino-fp32")))
    with ExitStack() as stack:
        race.enter(stack, "vLLM", partial(vllm, "float32"))
        race.warm_up(Work.of(1, 2))
    assert race.out == {}


WORKER = """
import sys
print(flush=True)
sys.stdin.readline()
"""


def test_a_runtime_that_ends_between_two_texts_is_out_and_ends_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "worker.py").write_text(WORKER)
    monkeypatch.setattr(peer_processes, "WORKER", tmp_path / "worker.py")
    environment = PeerEnvironment(Path(sys.executable), tmp_path, {"fastembed": "7"}, 1)
    with peer_processes.fastembed(environment) as peer:
        with pytest.raises(PeerUnavailable, match="fastembed 7, onnxruntime, float32 ended with 0"):
            peer.embed(["a"])
        with pytest.raises(PeerUnavailable, match="ended with 0"):
            peer.embed(["a" * 100_000])


def test_a_runtime_that_never_answers_is_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "worker.py").write_text("import time\nprint(flush=True)\ntime.sleep(60)\n")
    monkeypatch.setattr(peer_processes, "WORKER", tmp_path / "worker.py")
    environment = PeerEnvironment(Path(sys.executable), tmp_path, {"fastembed": "7"}, 1)
    with peer_processes.fastembed(environment) as peer:
        monkeypatch.setattr(peer_processes, "ANSWER_DEADLINE_S", 0.1)
        with pytest.raises(PeerUnavailable, match=r"did not answer within 0\.1 s"):
            peer.embed(["a"])


def test_an_interrupted_start_leaves_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    started: list[int] = []

    def interrupted(process: subprocess.Popen[bytes], *_: object) -> None:
        started.append(process.pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(peer_servers, "_wait", interrupted)
    with pytest.raises(KeyboardInterrupt), running("fake", command, {}, "http://127.0.0.1:1/health"):
        pytest.fail("it was entered")
    assert not psutil.pid_exists(started[0])
