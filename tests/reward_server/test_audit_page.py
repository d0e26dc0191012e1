"""docs/audit.md: its commands work, and its tables are those of the code and of the committed results."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ireasoner.audit.rules import Above, Below, Multiple
from ireasoner.audit.signs import DOMINANT, LABELS, LENGTH_GAINS, TEMPLATES, signs
from ireasoner.audit.thresholds import Thresholds
from ireasoner.cli.__main__ import main
from ireasoner.reward_server.commands.audit import AuditSettings
from ireasoner.reward_server.ledger import comparison, schema, whole_group
from ireasoner.reward_server.ledger.ledgers import Ledgers, RecordId, Viewer
from replication.arms import ARMS
from replication.audited_arms import audited_arms, broken, confusion
from tests.reward_server.ledger_reading import keep
from tests.reward_server.ledger_records import record, sent
from tests.reward_server.past_runs import run_line, scored_line, sent_line, write_lines, write_run

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "audit.md").read_text(encoding="utf-8")
COMMANDS = [
    line.split(" #")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]
ROWS = {row.split("|")[1].strip(" `"): row for row in PAGE.splitlines() if row.startswith("| `")}


def test_every_command_of_the_page_works(
    tmp_path: Path, compass: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IREASONER_RESCORE_EMBEDDER", "token-mean")
    monkeypatch.setenv("IREASONER_RESCORE_TOKEN_MEAN_CHECKPOINT", str(compass))
    write_run(Path("runs/demo"), [run_line(update, ["7", "7", "8"]) for update in range(12)])
    write_lines(Path("groups.jsonl"), [sent_line("a", ["7", "8"])])
    write_lines(Path("scores.jsonl"), [scored_line("a", ["7", "8"])])
    keep(Path("exporting"), [record(sent(["7", "8"]), source="exported")])
    whole = whole_group.whole(Ledgers([Path("exporting")]), Viewer(None), RecordId(0, 1))
    write_lines(Path("exported.jsonl"), [json.loads(json.dumps(whole))])
    imports = [command for command in COMMANDS if " import " in command]
    for command in (*imports, *(each for each in COMMANDS if each not in imports)):
        name, *words = shlex.split(command)
        assert name == "ireasoner"
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0, (command, capsys.readouterr().err)
    assert comparison.names(Path("ledger")) == ["robust-against-paper", "sharper"]
    assert (Path("ledger") / schema.FILE).exists()
    assert len(COMMANDS) == 8


def test_the_tables_list_every_sign_with_its_figure_its_threshold_and_its_flag() -> None:
    known = signs(Thresholds())
    assert {sign.name for sign in known} == {name for name in ROWS if name in {sign.name for sign in known}}
    for sign in known:
        match sign.rule:
            case Below(limit) | Multiple(limit) | Above(limit, _):
                pass
            case _:
                raise AssertionError(sign)
        row = ROWS[sign.name]
        assert f" {limit} " in row.replace("|", " "), sign.name
        assert f"`{sign.figure}`" in row
        flag = re.search(r"`--([a-z-]+)`", row)
        assert flag is not None
        assert getattr(Thresholds(), flag[1].replace("-", "_")) == limit
    deciding = PAGE[: PAGE.index("These are only shown")]
    assert {sign.name for sign in known if sign.decides} == {
        sign.name for sign in known if f"| `{sign.name}` |" in deciding
    }


def test_the_page_shows_the_audits_of_the_runs_that_were_made_again() -> None:
    found = json.loads((DOCS / "replication" / "audited_runs.json").read_text(encoding="utf-8"))
    assert {run["source"] for run in found["runs"]} <= set(ARMS)
    for run in found["runs"]:
        cells = [run["updates"]]
        for name in (DOMINANT, LABELS, TEMPLATES, LENGTH_GAINS):
            [figure] = [figure for figure in run["figures"] if figure["name"] == name]
            cells.append(f"{figure['first']:.2f} to {figure['now']:.2f}")
        row = f"| `{run['source']}` | {' | '.join(map(str, cells))} | {run['verdict']} |"
        assert row in PAGE


def test_every_threshold_is_a_flag() -> None:
    assert set(Thresholds.__dataclass_fields__) <= set(AuditSettings.model_fields)


def test_the_page_shows_what_audits_of_the_committed_results_find() -> None:
    arms = list(audited_arms())
    assert len(arms) == 51
    assert confusion(arms) in PAGE
    assert broken(arms) in PAGE
    missed = [arm for arm in arms if arm.broke and arm.unlabelled.verdict == "fine"]
    wrong = [arm for arm in arms if not arm.broke and arm.unlabelled.verdict != "fine"]
    assert (len(missed), len(wrong)) == (1, 0)
    assert "it found one of two arms that broke, and marked none that did not" in " ".join(PAGE.split())


def test_audit_and_import_load_neither_torch_nor_the_trainer(tmp_path: Path) -> None:
    write_run(tmp_path / "run", [run_line(update, ["7", "7", "8"]) for update in range(12)])
    program = (
        "import sys\n"
        "from ireasoner.cli.__main__ import main\n"
        "for words in (['import', 'run', '--ledger', 'ledger'], ['audit', 'ledger']):\n"
        "    try:\n"
        "        main(words)\n"
        "    except SystemExit as ended:\n"
        "        assert ended.code == 0\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'openvino', 'ireasoner.trainer'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
