"""The default server as processes: what they import, and what they say if an extra is missing."""

import signal
from pathlib import Path

import pytest

from ireasoner.clients import Group, RewardClient, Rollout
from tests.reward_server.test_process import DEADLINE_S, server

AT_EXIT = """
import atexit, os, pathlib, sys

def record():
    pathlib.Path(os.environ["MODULES_FOLDER"], str(os.getpid())).write_text(" ".join(sys.modules))

atexit.register(record)
"""
"""A `sitecustomize` that records what a process has imported, as it ends."""
HEAVY = {"huggingface_hub", "safetensors", "scipy", "sentence_transformers", "torch", "transformers"}
STEPS = ["Row 2 reads 3, 1, 3.", "3 + 1 = 4.", "4 + 3 = 7."]


def test_neither_the_default_server_nor_its_worker_imports_torch(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(AT_EXIT)
    (recorded := tmp_path / "modules").mkdir()
    with server("--threads", "1", PYTHONPATH=str(tmp_path), MODULES_FOLDER=str(recorded)) as process:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("reward-server: listening on ").strip()
        with RewardClient(url) as client:
            client.wait_until_ready(DEADLINE_S, is_alive=lambda: process.poll() is None)
            group = Group("g", [Rollout(str(number), answer="7", steps=STEPS) for number in range(2)])
            [scored] = client.score("trajectory", [group]).groups
        assert [each.reward for each in scored.rollouts] == pytest.approx([1.0, 1.0], abs=1e-5)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, errors
    of_process = {file.name: set(file.read_text().split()) for file in recorded.iterdir()}
    assert len(of_process) == 2, "the server and its worker"
    assert sum("openvino" in modules for modules in of_process.values()) == 1
    for modules in of_process.values():
        assert not HEAVY & {name.split(".")[0] for name in modules}


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        (["--embedder", "any/model"], "--embedder any/model with --runtime auto and --device auto"),
        (["--runtime", "torch-fp32"], "--embedder minilm with --runtime torch-fp32 and --device auto"),
        (["--device", "cuda"], "--embedder minilm with --runtime auto and --device cuda"),
        (
            ["--embedder", "any/model", "--runtime", "openvino-fp32"],
            "--embedder any/model with --runtime openvino-fp32 and --device auto",
        ),
    ],
)
def test_a_missing_extra_ends_the_server_with_one_line_that_names_it(
    flags: list[str], wanted: str, tmp_path: Path
) -> None:
    hidden = "import sys\nsys.modules.update(dict.fromkeys(('torch', 'sentence_transformers')))\n"
    (tmp_path / "sitecustomize.py").write_text(hidden)
    with server(*flags, "--log-level", "error", PYTHONPATH=str(tmp_path)) as process:
        _, errors = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 1
    name = flags[1] if flags[0] == "--embedder" else "minilm"
    install = "pip install ./clients '.[reward-server,sentence-transformers]' (no module torch)"
    assert (
        errors.splitlines()[-1] == f"reward-server: {name}: ExtraMissing: {wanted} needs its extra: {install}"
    )
    assert "Traceback" not in errors
