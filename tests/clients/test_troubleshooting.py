"""docs/troubleshooting.md quotes messages that the code really has."""

import ast
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from ireasoner.reward_server import errors

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
MESSAGES = [" ".join(block.split()) for block in re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)]
PARTS = ("cli", "clients", "compat", "services", "trainer")
OF_VLLM = ("lora/peft_helper.py", "renderers/params.py", "v1/worker/lora_model_runner_mixin.py")
"""The files of vLLM that hold the messages which users of `rollout-server` meet."""
VARIABLE = "…"


def files() -> Iterator[Path]:
    """The source files whose messages users see."""
    yield ROOT / "hatch_build.py"
    for part in PARTS:
        yield from (ROOT / part).rglob("*.py")
    vllm = importlib.util.find_spec("vllm")
    assert vllm is not None
    assert vllm.submodule_search_locations
    yield from (Path(vllm.submodule_search_locations[0]) / name for name in OF_VLLM)


def literals(file: Path) -> Iterator[str]:
    """The string literals of a Python file, adjacent ones joined, with `VARIABLE` for each value put in."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else VARIABLE for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.sub(r"%[dsg]", VARIABLE, node.value)


@cache
def all_messages() -> str:
    """Every literal on a line of its own."""
    python = (text for file in files() for text in literals(file))
    shell = re.sub(r"\$\{?\w+\}?", VARIABLE, (ROOT / "scripts" / "install").read_text())
    return "\n".join([*(" ".join(text.split()) for text in python), *shell.splitlines()])


def codes() -> set[tuple[int, str]]:
    """Status and code of every error of the reward server."""
    return {
        (each.status, each.code)
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.ServiceError) and hasattr(each, "code")
    }


@pytest.mark.parametrize("message", MESSAGES)
def test_a_quoted_message_is_in_the_code(message: str) -> None:
    of_server = re.match(r"(\d{3}) (\w+): (?:config: )?", message)
    if of_server is not None:
        assert (int(of_server[1]), of_server[2]) in codes()
        message = message[of_server.end() :]
    fixed = message.strip(f"{VARIABLE} ")
    assert len(fixed) > 10, "too short to be found by"
    assert fixed in all_messages()


def test_the_page_has_the_messages_that_users_meet_most() -> None:
    assert len(MESSAGES) >= 10
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    for section in sections:
        for part in ("```text\n", "**Why.**", "**What to do.**"):
            assert part in section, section.splitlines()[0]
