"""The commands and examples of the README work as shown."""

import json
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import httpx
import pytest

from ireasoner.trainer.settings import RunSettings, read_toml

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.split("#")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.strip() and not block.startswith("curl")
]
MODULES = {
    "reward-server": ["ireasoner.reward_server"],
    "rollout-server": ["ireasoner.rollout_server"],
    "reward-score": ["ireasoner.clients.score"],
    "ireasoner": ["ireasoner.cli"],
}


def module_and_words(command: str) -> tuple[str, list[str]] | None:
    """The module that a command starts and the words after it; None for make and pip."""
    words = shlex.split(command)
    while re.fullmatch(r"[A-Z_]+=\S*", words[0]):  # a variable of the environment
        words = words[1:]
    if words[0].endswith("python") and words[1] == "-m":
        return words[2], words[3:]
    name = Path(words[0]).name
    return (MODULES[name][0], words[1:]) if name in MODULES else None


@cache
def help_of(module: str, *subcommand: str) -> str:
    """The help that a command prints."""
    return printed("-m", module, *subcommand, "--help")


def printed(*words: str) -> str:
    """What Python prints, run in the project's folder."""
    command = [sys.executable, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, cwd=ROOT).stdout


def test_the_readme_has_commands_of_every_kind() -> None:
    assert any(command.startswith("make ") for command in COMMANDS)
    modules = {found[0] for command in COMMANDS if (found := module_and_words(command))}
    assert modules >= {"ireasoner.reward_server", "ireasoner.rollout_server", "ireasoner.cli"}
    assert module_and_words("CUDA_VISIBLE_DEVICES=1 ireasoner train") == ("ireasoner.cli", ["train"])


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make ")])
def test_every_make_target_exists(command: str) -> None:
    target = shlex.split(command)[1]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", [c for c in COMMANDS if module_and_words(c)])
def test_every_flag_is_one(command: str) -> None:
    """The command's own help knows each flag that the README gives it."""
    found = module_and_words(command)
    assert found is not None
    module, words = found
    shown = help_of(module, *(words[:1] if module == "ireasoner.cli" else ()))
    passed_through = {"--max-model-len", "--lora-modules"}  # vLLM's
    for flag in {word for word in words if word.startswith("--")} - passed_through:
        assert flag in shown, f"{module} does not know {flag}"


def test_every_config_that_is_named_exists() -> None:
    names = set(re.findall(r"configs/[\w.]+\.toml", README))
    assert names
    for name in names:
        RunSettings(**{"model": "m", "images": "i", "run_folder": "r", **read_toml(ROOT / name)})


def test_the_request_gets_the_rewards_that_the_page_shows(reward_url: str) -> None:
    body = re.search(r"curl -sS http://127.0.0.1:8010(/\S+) .*? -d '(.*?)'\n```", README, re.DOTALL)
    assert body is not None
    response = httpx.post(f"{reward_url}{body[1]}", json=json.loads(body[2]), timeout=60)
    assert response.status_code == httpx.codes.OK, response.text
    [group] = response.json()["groups"]
    assert group["dominant_answer"] == "7"
    assert group["dominant_share"] == pytest.approx(2 / 3)
    rewards = [rollout["reward"] for rollout in group["rollouts"]]
    assert min(rewards[:2]) > rewards[2] > 0
    first, second, last = (f"{reward:.3f}" for reward in rewards)
    assert f"(here {first}, {second} and {last})" in README


def test_every_link_has_a_target() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_python_example_runs(reward_url: str) -> None:
    [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    shown = printed("-c", code.replace("http://127.0.0.1:8010", reward_url))
    assert f"# {shown.strip()}\n" in code
