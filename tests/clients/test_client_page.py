"""docs/client.md and the client's README: their code runs as it is shown, and their table of errors is the code's."""

import re
from pathlib import Path
from typing import Any

import pytest

from ireasoner import clients
from ireasoner.clients import RewardError

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "client.md"
README = ROOT / "clients" / "README.md"


@pytest.mark.parametrize("page", [PAGE, README], ids=lambda page: page.name)
def test_the_code_runs_as_it_is_shown(
    page: Path, compass_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """All blocks in one namespace, at the address of this test's server; comments after `print` are its output."""
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    code = "".join(blocks).replace("http://127.0.0.1:8010", compass_url)
    assert compass_url in code
    defined: dict[str, Any] = {}
    exec(compile(code, str(page), "exec"), defined)
    printed = capsys.readouterr().out.splitlines()
    shown = re.findall(r"^ *print\(.*\)  # (.*)$", code, re.MULTILINE)
    assert shown
    assert [line for line in printed if line in shown] == shown


def test_the_table_of_errors_is_the_codes() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| .* \| (yes|no) \|$", PAGE.read_text(), re.MULTILINE))
    public = [getattr(clients, name) for name in clients.__all__]
    errors = [each for each in public if isinstance(each, type) and issubclass(each, RewardError)]
    raised = [each for each in errors if not each.__subclasses__()]
    assert rows == {each.__name__: "yes" if each.retryable else "no" for each in raised}


def test_the_readme_names_every_adapter() -> None:
    names = {name.lower().replace("-", "_") for name in re.findall(r"[\w-]+", README.read_text())}
    adapters = (ROOT / "clients" / "ireasoner" / "clients").glob("*_reward.py")
    for adapter in adapters:
        name = adapter.stem.removesuffix("_reward")
        assert {name, f"ms_{name}"} & names, adapter
