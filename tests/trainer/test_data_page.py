"""The commands of docs/data.md are ones, and its tables name every setting."""

import re
import shlex
from pathlib import Path

import pytest

from ireasoner.compat.flags import read_flags
from ireasoner.trainer.commands.settings import EvaluateSettings
from ireasoner.trainer.data.address import ARCHIVES, TABLES
from ireasoner.trainer.evaluation.columns import QuestionColumns
from ireasoner.trainer.settings import ImageDataSettings, RunSettings, read_config

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_is_one(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    program, command, *flags = words
    assert program == "ireasoner"
    if command == "train":
        read_flags(RunSettings, flags, **read_config(flags))
    else:
        assert command == "evaluate"
        read_flags(EvaluateSettings, flags)


def test_every_setting_and_form_is_on_the_page() -> None:
    for name in ImageDataSettings.model_fields:
        assert f"`data.{name}`" in PAGE
    for name in QuestionColumns.model_fields:
        assert f"`--columns.{name}`" in PAGE
    for suffix in (".tar", ".tar.gz", ".zip"):
        assert suffix in ARCHIVES
        assert suffix in PAGE
    assert {".jsonl", ".parquet", ".csv"} <= TABLES.keys()
