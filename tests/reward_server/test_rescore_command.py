"""`ireasoner rescore`: stored groups scored anew, and the comparison that it leaves."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ireasoner.reward_server.commands import rescore
from ireasoner.reward_server.commands.command import PARTLY
from ireasoner.reward_server.commands.rescorer import Rescorer
from ireasoner.reward_server.errors import MalformedRequest
from ireasoner.reward_server.ledger import comparison, schema
from ireasoner.reward_server.ledger.insert import insert
from ireasoner.reward_server.ledger.lock import Lock
from ireasoner.reward_server.ledger.stored_groups import stored_groups
from tests.reward_server.ledger_records import record, sent

Command = Callable[..., int]

GROUPS: tuple[tuple[list[str | None], str, int, str], ...] = (
    (["1/2", "0.5", "8", "9"], "a", 0, "solver"),  # equal by value, different as text
    (["7", "7", "8", None], "a", 1, "solver"),
    (["7", "7", "7", "7"], "b", 0, "solver"),
    (["7", "8", "8", "8"], "b", 3, "outcome"),
    (["7", "8", "8", "8"], "b", 4, "proposer"),
)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A ledger with groups of two experiments."""
    folder = tmp_path / "ledger"
    connection = schema.open_to_write(folder)
    for sequence, (answers, experiment, update, endpoint) in enumerate(GROUPS, start=1):
        group = sent(answers, f"g{sequence}")
        group["rollouts"] = [{**each, "steps": ["north", "east north"]} for each in group["rollouts"]]
        insert(
            connection,
            record(
                group,
                sequence=sequence,
                experiment=experiment,
                source="run",
                update=update,
                endpoint=endpoint,
            ),
        )
    connection.close()
    return folder


@pytest.fixture
def rescored(ledger: Path, compass: Path) -> Command:
    """Runs the command with these words and the compass; returns its exit status."""

    def run(*words: object, of: Path = ledger) -> int:
        embedder = ("--embedder", "token-mean", "--token-mean-checkpoint", str(compass))
        with pytest.raises(SystemExit) as ended:
            rescore.main(["--ledger", str(of), *embedder, *map(str, words)])
        assert isinstance(ended.value.code, int)
        return ended.value.code

    return run


def test_a_comparison_holds_what_changed_most_changed_first(
    ledger: Path, rescored: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rescored("--config", "robust", "--against", "paper", "--name", "mine") == 0
    found = comparison.read(ledger, "mine")
    assert (found.config, found.against, found.groups, found.done) == ("robust", "paper", 5, 5)
    rows = comparison.compared(ledger, "mine")
    assert [each.change for each in rows] == sorted((each.change for each in rows), reverse=True)
    assert found.summary["changed_groups"] == sum(each.change > 0 for each in rows)
    [halves] = [each for each in rows if each.group_id == 1]
    assert halves.change > 0, "1/2 and 0.5 are one answer for robust"
    assert found.summary["rollouts"] == sum(len(each.after) for each in rows) == 17
    shown = capsys.readouterr().out
    assert f"mine in {ledger}: robust against paper" in shown
    assert "5 of 5 groups" in shown
    assert "correlation of rewards" in shown


def test_the_same_config_changes_nothing(ledger: Path, rescored: Command) -> None:
    assert rescored("--config", "paper", "--against", "paper") == 0
    summary = comparison.read(ledger, "paper-against-paper").summary
    assert summary["correlation"] == pytest.approx(1.0)
    assert {name: value for name, value in summary.items() if name not in ("correlation", "rollouts")} == {
        "changed_rewards": 0,
        "changed_groups": 0,
        "rank_flips": 0,
        "groups_with_flips": 0,
        "changed_dominant_answers": 0,
        "failed": 0,
    }


def test_stored_rewards_are_the_default_and_another_embedder_is_pointed_out(
    ledger: Path, rescored: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rescored("--config", "paper") == 0
    rows = {each.group_id: each for each in comparison.compared(ledger, "paper-against-stored")}
    assert rows[2].before == [0.5, 0.5, 0.25, 0.0]
    assert rows[5].before == [0.125], "a group for the Proposer has one reward"
    assert len(rows[5].after) == 1
    assert "another embedder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "groups"),
    [
        (("--experiment", "a"), {1, 2}),
        (("--run", "run"), {1, 2, 3, 4, 5}),
        (("--run", "none"), set()),
        (("--endpoint", "outcome"), {4}),
        (("--update-from", 1), {2, 4, 5}),
        (("--update-from", 1, "--update-until", 3, "--experiment", "b"), {4}),
    ],
)
def test_filters_choose_the_groups(
    words: tuple[object, ...], groups: set[int], ledger: Path, rescored: Command
) -> None:
    assert rescored("--config", "robust", "--name", "some", *words) == 0
    assert {each.group_id for each in comparison.compared(ledger, "some")} == groups
    assert comparison.read(ledger, "some").groups == len(groups)


def test_what_was_compared_is_not_scored_again_and_new_groups_are_added(
    ledger: Path, rescored: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[list[int]] = []
    scores = Rescorer.scored
    pages = stored_groups

    async def counted(self: Any, groups: Any, config: Any) -> Any:
        scored.append([group.id for group in groups])
        return await scores(self, groups, config)

    def dying(connection: Any, ids: Any) -> Iterator[Any]:
        for each in ids[:3]:
            yield from pages(connection, [each])
        raise KeyboardInterrupt

    monkeypatch.setattr(Rescorer, "scored", counted)
    with monkeypatch.context() as patch:
        patch.setattr(rescore, "stored_groups", dying)
        assert rescored("--config", "robust") == 130
    begun = comparison.read(ledger, "robust-against-stored")
    assert (begun.done, begun.groups) == (3, 5)
    assert rescored("--config", "robust") == 0
    assert scored == [[1], [2], [3], [4, 5]]
    connection = schema.open_to_write(ledger)
    insert(connection, record(sent(["7", "8"]), sequence=9))
    connection.close()
    assert rescored("--config", "robust") == 0
    assert scored[-1] == [6]
    assert comparison.read(ledger, "robust-against-stored").done == 6


def test_a_comparison_of_something_else_is_not_continued(
    ledger: Path, rescored: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rescored("--config", "robust", "--name", "x") == 0
    before = comparison.compared(ledger, "x")
    for words in (("--config", "paper"), ("--config", "robust", "--experiment", "a")):
        assert rescored(*words, "--name", "x") == 2
        assert "choose another --name" in capsys.readouterr().err
    assert comparison.compared(ledger, "x") == before


def test_it_works_beside_a_server_that_records_and_leaves_the_ledger_alone(
    ledger: Path, rescored: Command
) -> None:
    connection = schema.open_to_write(ledger)
    connection.execute("BEGIN IMMEDIATE")
    insert(connection, record(sent(["7"]), sequence=9))
    before = (ledger / schema.FILE).read_bytes()
    with Lock(ledger):
        assert rescored("--config", "robust") == 0
    assert (ledger / schema.FILE).read_bytes() == before
    connection.execute("ROLLBACK")
    connection.close()


def test_a_group_that_cannot_be_scored_is_counted(
    ledger: Path, rescored: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scorer = Rescorer._request

    async def refusing(self: Any, groups: Any, config: Any) -> Any:
        if any(group.id == 2 for group in groups):
            raise MalformedRequest("too odd")
        return await scorer(self, groups, config)

    monkeypatch.setattr(Rescorer, "_request", refusing)
    assert rescored("--config", "robust") == 1
    assert comparison.read(ledger, "robust-against-stored").summary["failed"] == 1
    assert {each.group_id for each in comparison.compared(ledger, "robust-against-stored")} == {1, 3, 4, 5}
    assert "could not be scored       1" in capsys.readouterr().out


def test_a_group_that_others_judge_is_not_scored_without_them(ledger: Path, rescored: Command) -> None:
    pair = [sent(["7", "8"], "one", voters="two"), sent(["8", "8"], "two", voters="one")]
    connection = schema.open_to_write(ledger)
    insert(connection, record(*pair, sequence=6, source="judged", config_label="co-rewarding"))
    insert(connection, record(sent(["7", "7"], "alone"), sequence=7, source="judged"))
    connection.close()
    assert rescored("--config", "robust", "--run", "judged") == PARTLY
    found = comparison.read(ledger, "robust-against-stored")
    assert (found.done, found.groups, found.summary["failed"]) == (3, 3, 2)
    assert [each.group_id for each in comparison.compared(ledger, "robust-against-stored")] == [8]


def test_several_ledgers_get_a_comparison_each(ledger: Path, rescored: Command, tmp_path: Path) -> None:
    other = tmp_path / "other"
    connection = schema.open_to_write(other)
    insert(connection, record(sent(["7", "8"])))
    connection.close()
    assert rescored("--config", "robust", of=tmp_path) == 0
    assert comparison.read(other, "robust-against-stored").groups == 1
    assert comparison.read(ledger, "robust-against-stored").groups == 5


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--config", "none"), "there is no config 'none'"),
        (("--config", "robust", "--against", "{"), "--against: not JSON"),
        (("--config", '{"alhpa": 1}'), "--config: alhpa"),
        (("--config", "robust", "--name", "../x"), "not a name for a comparison"),
        (("--config", "robust", "--name", ""), "not a name for a comparison"),
        (("--config", "robust", "--embeder", "x"), "did you mean --embedder?"),
        ((), "config is required"),
    ],
)
def test_a_wrong_flag_ends_with_2(
    words: tuple[str, ...], reason: str, rescored: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rescored(*words) == 2
    assert reason in capsys.readouterr().err


def test_a_folder_without_a_ledger_and_an_unknown_embedder_are_refused(
    ledger: Path, rescored: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rescored("--config", "robust", of=tmp_path / "none") == 2
    assert "holds no ledger" in capsys.readouterr().err
    assert rescored("--config", "robust", "--token-mean-checkpoint", tmp_path / "gone") == 2
    assert "token-mean-checkpoint" in capsys.readouterr().err
