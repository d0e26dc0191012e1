"""The notebook of the ledger's page runs, and the numbers that the page states are those of the code."""

import re
from pathlib import Path

import pytest

from ireasoner.reward_server.ledger import search
from ireasoner.reward_server.settings import RewardServerSettings
from tests.reward_server.ledger_reading import keep
from tests.reward_server.ledger_records import record, sent
from tests.reward_server.running import running

PAGE = Path("docs/ledger.md").read_text(encoding="utf-8")


def test_the_notebook_shows_the_wrong_groups(
    compass: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    groups = [sent(["7", "7", "8"], name=str(index), labels=["8"]) for index in range(60)]
    keep(tmp_path, [record(*groups, update=3)])
    [notebook] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    settings = RewardServerSettings(embedder="token-mean", token_mean_checkpoint=compass)
    with running(settings, ledger_folders=[tmp_path]) as url:
        known: dict[str, object] = {}
        exec(notebook.replace("http://127.0.0.1:8010", url), known)
    assert len(known["groups"]) == 60  # type: ignore[arg-type]
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("[(3, ")
    assert len(printed) == 1 + 3


def test_the_page_states_the_bound_of_a_search() -> None:
    assert f"the newest {search.WINDOW:,} groups" in PAGE
