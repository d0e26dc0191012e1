"""The wheels hold what an installed command needs, and run in any current folder."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ireasoner.clients import RewardClient
from tests.packaging.conftest import ROOT, Environment
from tests.rollout_server.running import free_port

pytestmark = pytest.mark.xdist_group("wheels")  # built once

PARTS = ("audit", "cli", "compat", "reward_server", "rollout_server", "trainer")
COMMANDS = {
    "reward-server": "reward-server",
    "rollout-server": "rollout-server",
    "ireasoner train": "trainer",
    "ireasoner demo": "reward-server,trainer,cpu",
    "ireasoner evaluate": "trainer",
    "ireasoner report": "trainer",
    "ireasoner export": "trainer",
    "ireasoner graft": "trainer",
    "ireasoner atlas": "reward-server",
    "ireasoner audit": "reward-server",
    "ireasoner import": "reward-server",
    "ireasoner rescore": "reward-server",
}
"""Each command, with the extra that it needs."""


def names(wheel: Path) -> set[str]:
    """The files of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def metadata(wheel: Path) -> list[str]:
    """The lines of a wheel's metadata, less its long description."""
    with zipfile.ZipFile(wheel) as archive:
        [file] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return archive.read(file).decode().split("\n\n")[0].splitlines()


def test_each_part_is_typed_and_none_owns_the_namespace(wheels: dict[str, Path]) -> None:
    assert set(wheels) == {"ireasoner", "ireasoner_client"}
    assert not names(wheels["ireasoner"]) & names(wheels["ireasoner_client"])
    for name, parts in (("ireasoner", PARTS), ("ireasoner_client", ("clients",))):
        files = {file for file in names(wheels[name]) if ".dist-info/" not in file}
        assert {file.split("/")[0] for file in files} == {"ireasoner"}
        assert {file.split("/")[1] for file in files} == set(parts)
        assert {f"ireasoner/{part}/py.typed" for part in parts} <= files


def test_every_file_of_the_sources_is_in_a_wheel(wheels: dict[str, Path]) -> None:
    built = names(wheels["ireasoner"]) | names(wheels["ireasoner_client"])
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*/ireasoner/*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    ).stdout.split()
    assert {file[file.index("ireasoner/") :] for file in tracked if (ROOT / file).exists()} <= built


def test_the_client_needs_httpx_alone_and_no_wheel_refers_to_a_file(wheels: dict[str, Path]) -> None:
    client = metadata(wheels["ireasoner_client"])
    assert [line for line in client if line.startswith("Requires-Dist")] == [
        "Requires-Dist: httpcore<2,>=1",  # httpx brings it
        "Requires-Dist: httpx<1,>=0.28",
    ]
    assert [line for line in client if line.startswith("Requires-Python")] == ["Requires-Python: >=3.11"]
    whole = metadata(wheels["ireasoner"])
    assert any(line.startswith("Requires-Dist: ireasoner-client==") for line in whole)
    assert not [line for line in [*client, *whole] if line.startswith("Requires-Dist") and " @ " in line]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_without_its_extra_names_it(
    without_extras: Environment, hostile_folder: Path, command: str
) -> None:
    name, *words = command.split()
    ended = without_extras.run(without_extras.command(name), *words, "--help", cwd=hostile_folder, expected=1)
    [line] = ended.stderr.splitlines()
    assert line.startswith(f"{command} needs its extra: pip install ./clients '.[{COMMANDS[command]}]'")


def test_the_dispatcher_and_the_client_need_no_extra(
    without_extras: Environment, hostile_folder: Path
) -> None:
    shown = without_extras.run(without_extras.command("ireasoner"), "--help", cwd=hostile_folder).stdout
    assert {command.split()[1] for command in COMMANDS if command.startswith("ireasoner ")} <= set(
        re.findall(r"^  (\w+)", shown, re.MULTILINE)
    )
    shown = without_extras.run(without_extras.command("reward-score"), "--help", cwd=hostile_folder).stdout
    assert "--url" in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_its_help_in_any_folder(
    with_extras: Environment, hostile_folder: Path, command: str
) -> None:
    name, *words = command.split()
    shown = with_extras.run(with_extras.command(name), *words, "--help", cwd=hostile_folder).stdout
    assert shown.lower().startswith("usage:")


def test_the_checkout_stays_out(with_extras: Environment, tmp_path: Path) -> None:
    program = "import ireasoner.clients, ireasoner.trainer, sys; print(*ireasoner.__path__, sep='\\n')"
    shown = with_extras.run(with_extras.python, "-c", program, cwd=tmp_path).stdout
    assert all(line.startswith(str(with_extras.folder)) for line in shown.split())


def test_type_checkers_see_the_types(with_extras: Environment, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "from ireasoner.clients import RewardClient\n"
        "from ireasoner.reward_server.agreement.votes import Vote\n"
        "reveal_type(RewardClient('http://127.0.0.1').score)\n"
        "RewardClient(5)\n"
    )
    mypy = [sys.executable, "-m", "mypy", "--strict", "--python-executable", with_extras.python, "script.py"]
    shown = with_extras.run(*mypy, cwd=tmp_path, expected=1, deadline_s=240).stdout
    assert "ScoreResponse" in shown
    assert "script.py:4: error: Argument 1" in shown
    assert "Found 1 error" in shown


def test_the_reward_server_scores_with_its_worker_in_any_folder(
    with_extras: Environment, hostile_folder: Path
) -> None:
    """With the default embedder, whose worker is a process of its own, and formulas, which have one too."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [with_extras.command("reward-server"), "--port", str(port), "--threads", "1"],
        cwd=hostile_folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        with RewardClient(url) as client:
            client.wait_until_ready(deadline_s=180)
        groups = hostile_folder / "groups.jsonl"
        texts = [f"<think>\nStep 1: {step}\n</think>\n<answer>{answer}</answer>" for step, answer in STEPS]
        rollouts = [{"id": str(index), "text": text} for index, text in enumerate(texts)]
        groups.write_text(json.dumps({"id": "q", "rollouts": rollouts}) + "\n")
        shown = with_extras.run(
            with_extras.command("reward-score"),
            str(groups),
            "--url",
            url,
            "--config",
            "robust",
            cwd=hostile_folder,
            deadline_s=240,
        ).stdout
        [group] = [json.loads(line) for line in shown.splitlines()]
        assert group["dominant_share"] == pytest.approx(2 / 3), group
    finally:
        server.terminate()
        log, _ = server.communicate(timeout=240)
    assert "current folder" not in log


@pytest.mark.vllm
@pytest.mark.timeout(600)
@pytest.mark.slow
def test_the_demo_runs_from_the_wheel_in_any_folder(with_extras: Environment, hostile_folder: Path) -> None:
    """With the real vLLM, and the model and the config that the wheel holds."""
    sizes = ("--updates", "2", "--evaluation-questions", "4", "--samples", "2")
    demo = with_extras.command("ireasoner")
    shown = with_extras.run(demo, "demo", *sizes, "--out", "run", cwd=hostile_folder, deadline_s=540).stdout
    run = hostile_folder / "run"
    assert (run / "report.html").is_file(), shown
    model = Path(json.loads((run / "settings.json").read_text())["model"])
    assert model.is_relative_to(with_extras.folder)


STEPS = (
    ("The area is a square plus one.", r"\frac{1}{2}x^2+1"),
    ("One more than a half of x squared.", r"1+\frac{x^2}{2}"),
    ("I count seven.", "7"),
)
