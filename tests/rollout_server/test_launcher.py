"""The launcher with a stand-in for vLLM: exit codes, signals, deadlines, and no process left behind."""

import json
import re
import shlex
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from ireasoner.rollout_server.engine import command
from ireasoner.rollout_server.launcher import LONGEST_SOCKET_BYTES, SOCKET_BYTES
from ireasoner.rollout_server.settings import read_settings
from tests.rollout_server.running import (
    GONE_DEADLINE_S,
    RunningServer,
    left_running,
    started_server,
)
from tests.traps import write_traps

Start = Callable[..., RunningServer]


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """The file in which the stand-in records how it was started."""
    return tmp_path / "record.json"


@pytest.fixture
def start(tmp_path: Path, record: Path) -> Iterator[Start]:
    """Starts launchers that find the stand-in instead of vLLM."""
    package = tmp_path / "stand_in" / "vllm" / "entrypoints" / "openai"
    package.mkdir(parents=True)
    for folder in (package, package.parent, package.parent.parent):
        (folder / "__init__.py").touch()
    shutil.copy(Path(__file__).with_name("stand_in_vllm.py"), package / "api_server.py")
    env = {"PYTHONPATH": str(tmp_path / "stand_in"), "STAND_IN_RECORD": str(record)}
    with ExitStack() as stack:

        def start_one(
            *flags: str,
            model: str = "a/model",
            cwd: Path | None = None,
            program: Sequence[str] = ("-m", "ireasoner.rollout_server"),
            **extra: str,
        ) -> RunningServer:
            log = tmp_path / "log.txt"
            return stack.enter_context(
                started_server(model, log, *flags, env={**env, **extra}, cwd=cwd, program=program)
            )

        yield start_one


def recorded(record: Path) -> dict[str, Any]:
    written: dict[str, Any] = json.loads(record.read_text())
    return written


def test_unknown_flags_follow_ours_unchanged(start: Start, record: Path) -> None:
    server = start(
        "--dtype", "bfloat16", "--limit-mm-per-prompt", '{"image": 2}', "--max-loras", "3", "-tp=2"
    )
    server.wait_until_ready()
    argv = recorded(record)["argv"]
    assert argv[-5:] == ["--dtype", "bfloat16", "--limit-mm-per-prompt", '{"image": 2}', "-tp=2"]
    assert argv[argv.index("--max-loras") + 1] == "3"
    assert "--enable-lora" in argv


def test_the_commands_of_the_page_are_understood() -> None:
    page = (Path(__file__).parents[2] / "docs" / "rollout_server.md").read_text(encoding="utf-8")
    [block] = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    lines = [shlex.split(line) for line in block.splitlines()]
    assert {words[0] for words in lines} == {"rollout-server"}
    tiny, large = (read_settings(words[1:]) for words in lines)
    assert (tiny.max_lora_rank, large.startup_deadline_s, large.max_pixels) == (8, 3600, 1003520)
    assert list(large.vllm_flags) == ["--max-model-len", "8192"]
    argv = command(large)
    assert argv[-2:] == ["--max-model-len", "8192"]
    assert {"--enable-lora", "--generation-config", "--logprobs-mode"} <= set(argv)


@pytest.mark.parametrize(
    ("flags", "bounds"),
    [
        ((), None),
        (("--max-pixels", "1003520"), {"max_pixels": 1003520}),
        (("--min-pixels", "784", "--max-pixels", "3136"), {"min_pixels": 784, "max_pixels": 3136}),
    ],
)
def test_the_bounds_of_an_image_reach_vllms_processor(
    flags: Sequence[str], bounds: dict[str, int] | None
) -> None:
    argv = command(read_settings(["--model", "a/model", *flags]))
    assert ("--mm-processor-kwargs" in argv) == (bounds is not None)
    if bounds is not None:
        assert json.loads(argv[argv.index("--mm-processor-kwargs") + 1]) == bounds


def test_the_environment_is_quiet_and_keeps_what_the_user_set(
    start: Start, record: Path, tmp_path: Path
) -> None:
    start(model=str(tmp_path), VLLM_CPU_KVCACHE_SPACE="7", OMP_NUM_THREADS="5").wait_until_ready()
    env = recorded(record)["environment"]
    assert env["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"
    assert (env["VLLM_NO_USAGE_STATS"], env["DO_NOT_TRACK"], env["HF_HUB_OFFLINE"]) == ("1", "1", "1")
    assert (env["VLLM_CPU_KVCACHE_SPACE"], env["OMP_NUM_THREADS"]) == ("7", "5")


def test_no_process_imports_from_the_current_folder(start: Start, record: Path, tmp_path: Path) -> None:
    folder = tmp_path / "current"
    folder.mkdir()
    start(cwd=write_traps(folder)).wait_until_ready()
    written = recorded(record)
    for path in (written["path"], written["child_path"]):
        assert not {"", str(folder)} & set(path)


def test_a_hub_model_is_not_kept_offline(start: Start, record: Path) -> None:
    start().wait_until_ready()
    assert "HF_HUB_OFFLINE" not in recorded(record)["environment"]


def test_a_failed_start_exits_with_the_childs_code(start: Start) -> None:
    server = start("--exit-at-start", "7")
    assert server.process.wait(GONE_DEADLINE_S) == 7
    ended = "ended by itself with code 7 before it was ready"
    assert (
        f"{ended}; a/model is no folder here, so it was looked for on the model hub" in server.log.read_text()
    )


def test_a_failed_start_with_a_folder_says_nothing_of_the_hub(start: Start, tmp_path: Path) -> None:
    server = start("--exit-at-start", "7", model=str(tmp_path))
    assert server.process.wait(GONE_DEADLINE_S) == 7
    assert "before it was ready\n" in server.log.read_text()


@pytest.mark.parametrize(("child", "launcher"), [(5, 5), (0, 1)])
def test_an_unrequested_end_is_a_failure(start: Start, record: Path, child: int, launcher: int) -> None:
    server = start("--exit-when-ready", str(child))
    assert server.process.wait(GONE_DEADLINE_S) == launcher
    assert not left_running(recorded(record)["pids"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_forwarded_and_every_process_ends(
    start: Start, record: Path, number: signal.Signals
) -> None:
    server = start("--exit-on-sigterm", "9")
    server.wait_until_ready()
    sockets = Path(recorded(record)["environment"]["VLLM_RPC_BASE_PATH"])
    (sockets / "left").touch()
    assert server.stop(number) == 9
    assert not left_running(recorded(record)["pids"])
    assert not sockets.exists()


@pytest.mark.parametrize("surplus", [0, 1])
def test_sockets_have_paths_that_linux_takes(start: Start, record: Path, surplus: int) -> None:
    with TemporaryDirectory(dir="/tmp") as base:
        temporary = Path(base, "t" * (LONGEST_SOCKET_BYTES - SOCKET_BYTES + surplus - len(f"{base}/")))
        temporary.mkdir()
        start(TMPDIR=str(temporary)).wait_until_ready()
        sockets = Path(recorded(record)["environment"]["VLLM_RPC_BASE_PATH"])
        assert sockets.parent == (Path("/tmp") if surplus else temporary)


def test_a_signal_during_the_start_ends_it(start: Start, record: Path) -> None:
    server = start("--never-listen")
    deadline_s = time.monotonic() + GONE_DEADLINE_S
    while not record.exists() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert server.stop() == 0
    assert not left_running(recorded(record)["pids"])


def test_no_process_outlives_a_killed_launcher(start: Start, record: Path) -> None:
    server = start()
    server.wait_until_ready()
    below = [process.pid for process in server.processes()[1:]]
    assert set(recorded(record)["pids"]) < set(below)
    assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    assert not left_running(below)


def test_a_child_that_ignores_sigterm_is_killed(start: Start, record: Path) -> None:
    soon = (
        "from ireasoner.rollout_server import __main__, launcher\n"
        "launcher.SHUTDOWN_DEADLINE_S = 0.5\n"
        "__main__.main()\n"
    )
    server = start("--ignore-sigterm", program=("-c", soon))
    server.wait_until_ready()
    assert server.stop() == 128 + signal.SIGKILL
    assert not left_running(recorded(record)["pids"])


def test_a_start_that_takes_too_long_is_stopped(start: Start, record: Path) -> None:
    server = start("--never-listen", "--startup-deadline-s", "2")
    assert server.process.wait(GONE_DEADLINE_S) == 1
    shown = server.log.read_text()
    assert "not ready within 2 s" in shown
    assert "--startup-deadline-s" in shown
    assert not left_running(recorded(record)["pids"])


def test_a_port_in_use_is_reported_before_vllm_is_started(start: Start, record: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = start("--port", str(taken.getsockname()[1]))
        assert server.process.wait(GONE_DEADLINE_S) == 1
    assert "cannot listen on port" in server.log.read_text()
    assert "Address already in use; choose others with --host and --port" in server.log.read_text()
    assert not record.exists()


@pytest.mark.parametrize(
    ("flags", "extra", "message"),
    [
        (["--max-loras", "0"], {}, "max_loras: Input should be greater than or equal to 1, not '0'"),
        ([], {"ROLLOUT_VLLM_FLAGS": "--dtype"}, "ROLLOUT_VLLM_FLAGS: there is no such variable"),
        (
            [],
            {"ROLLOUT_MAX_LORA": "4"},
            "ROLLOUT_MAX_LORA: there is no such variable; did you mean ROLLOUT_MAX_LORA",
        ),
    ],
)
def test_a_wrong_option_is_refused_by_name(
    start: Start, flags: list[str], extra: dict[str, str], message: str
) -> None:
    server = start(*flags, **extra)
    assert server.process.wait(GONE_DEADLINE_S) == 2
    assert message in server.log.read_text()
