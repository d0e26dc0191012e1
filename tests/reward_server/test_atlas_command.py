"""`ireasoner atlas`: methods on labelled groups, what they lack, and mistakes in the input."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ireasoner.reward_server.commands import atlas
from ireasoner.reward_server.commands.atlas_groups import BATCH, batches, read_groups
from ireasoner.reward_server.commands.rescorer import Rescorer
from ireasoner.reward_server.errors import MalformedRequest
from ireasoner.reward_server.scoring_config import PRESETS
from tests.reward_server.methods import voting
from tests.reward_server.requests import Json

Command = Callable[..., int]

SIGNALS = ("self-certainty", "entropy-minimisation", "sequence-probability", "judge-bounded")


def labelled(answers: list[object], group_id: str, label: str = "7", **each: Any) -> Json:
    return {**voting(answers, group_id, **each), "labels": [label]}


def write(file: Path, groups: list[Json]) -> Path:
    file.write_text("".join(f"{json.dumps(group)}\n" for group in groups), encoding="utf-8")
    return file


@pytest.fixture
def compared(compass: Path) -> Command:
    """Runs the command with these words and the compass; returns its exit status."""

    def run(*words: object) -> int:
        embedder = ("--embedder", "token-mean", "--token-mean-checkpoint", str(compass))
        with pytest.raises(SystemExit) as ended:
            atlas.main([*map(str, words), *embedder])
        assert isinstance(ended.value.code, int)
        return ended.value.code

    return run


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    """Forty groups: the majority is right in thirty; certainty is high where an answer is right."""
    made = []
    for number in range(40):
        answers: list[object] = [7, 7, 8] if number < 30 else [8, 8, 7]
        signals = [{"self_certainty": 2.0 if answer == 7 else 1.0} for answer in answers]
        made.append(labelled(answers, f"g{number}", signals=signals))
    return write(tmp_path / "groups.jsonl", made)


def methods(shown: str) -> dict[str, Json]:
    return {method["name"]: method for method in json.loads(shown)["methods"]}


def test_each_method_is_measured_or_says_what_it_lacks(
    groups: Path, compared: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compared(groups, "--json") == 0
    shown = capsys.readouterr().out
    document, found = json.loads(shown), methods(shown)
    assert (document["groups"], document["rollouts"], document["accuracy"]) == (40, 120, round(70 / 120, 4))
    assert list(found) == list(PRESETS)
    for name in ("ttrl", "empo", "ttrl-strict"):
        assert (found[name]["label"]["mean"], found[name]["above"]["mean"]) == (0.75, 0.75)
        assert found[name]["label"]["low"] < 0.75 < found[name]["label"]["high"]
    certain = found["self-certainty"]
    assert (certain["label"]["mean"], certain["above"]["mean"]) == (1.0, 1.0)
    assert certain["difference"]["mean"] == 0.25
    assert certain["difference"]["p_holm"] < 0.05
    lacking = {
        "entropy-minimisation": "the signal 'mean_token_entropy' is missing",
        "sequence-probability": "the signal 'sum_logprob' is missing",
        "judge-bounded": "the signal 'judge' is missing",
        "co-rewarding": "voters",
        "views": "view",
    }
    for name, reason in lacking.items():
        assert found[name]["label"] == {"mean": None, "low": None, "high": None, "groups": 0}
        [(said, count)] = found[name]["abstained"].items()
        assert reason in said
        assert count == 120


def test_the_table_has_the_best_method_first_and_names_what_is_missing(
    groups: Path, compared: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plot = tmp_path / "atlas.svg"
    assert compared(groups, "--methods", "ttrl,self-certainty,judge-bounded", "--plot", plot) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "40 groups with labels; 0.583 of their 120 rollouts are right"
    assert [line.split()[0] for line in lines[3:5]] == ["self-certainty", "ttrl"]
    assert "1.000 [0.912, 1.000]" in lines[3]
    assert lines[-1].split(maxsplit=1) == ["judge-bounded", "the signal 'judge' is missing (120 rollouts)"]
    drawn = plot.read_text()
    assert drawn.count("<circle") == 4
    assert ">self-certainty</text>" in drawn
    assert "judge-bounded" not in drawn


def test_a_method_that_abstains_from_all_but_invalid_rollouts_is_not_scored(
    tmp_path: Path, compared: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "groups.jsonl", [labelled([7, 8, ")"], f"g{number}") for number in range(3)])
    assert compared(file, "--methods", "ttrl,views", "--json") == 0
    found = methods(capsys.readouterr().out)
    assert found["ttrl"]["label"]["groups"] == 3
    assert (found["views"]["label"]["groups"], found["views"]["label"]["mean"]) == (0, None)
    assert sum(found["views"]["abstained"].values()) == 6


def test_exported_groups_are_read(
    tmp_path: Path, groups: Path, compared: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [json.loads(line) for line in groups.read_text().splitlines()]
    exported = [{"id": f"0-{number}", "sent": sent, "scored": {}} for number, sent in enumerate(lines)]
    shown = []
    for file in (groups, write(tmp_path / "export.jsonl", exported)):
        assert compared(file, "--methods", "ttrl,empo", "--json") == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]


def test_an_own_config_is_compared_too(
    groups: Path, compared: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    configs = {"plain": "empo", "cubed": {"preset": "empo", "alpha": 3.0}}
    file = tmp_path / "configs.json"
    file.write_text(json.dumps(configs))
    for given in (json.dumps(configs), file):
        words = ("--methods", "ttrl", "--configs", given, "--against", "plain", "--json")
        assert compared(groups, *words) == 0
        found = methods(capsys.readouterr().out)
        assert list(found) == ["ttrl", "plain", "cubed"]
        assert found["cubed"]["config"] == {"preset": "empo", "alpha": 3.0}
        assert found["cubed"]["difference"]["mean"] == 0.0
        assert found["plain"]["difference"] is None


def test_votes_of_others_are_read_and_groups_without_labels_only_vote(
    tmp_path: Path, compared: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """The paraphrase has no labels, and knows better; two of three views are right where one errs."""
    made: list[Json] = []
    for number in range(BATCH):
        made.append(labelled([8, 8, 7], f"g{number}", voters=f"p{number}", view=["a", "a", "b"]))
    made += [voting([7, 7, 7], f"p{number}") for number in range(BATCH)]
    words = ("--methods", "ttrl,co-rewarding,views", "--json")
    assert compared(write(tmp_path / "groups.jsonl", made), *words) == 0
    found = methods(capsys.readouterr().out)
    assert found["ttrl"]["label"]["mean"] == 0.3333, "each view votes for itself, whoever else could judge"
    assert found["co-rewarding"]["label"]["mean"] == 1.0
    assert found["views"]["abstained"] == {}


def test_rollouts_that_only_vote_are_not_ranked(
    tmp_path: Path, compared: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    group = labelled([7, 7, 8, None], "g", rewarded=[False, None, None, None])
    assert compared(write(tmp_path / "groups.jsonl", [group]), "--methods", "ttrl", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["rollouts"], document["accuracy"]) == (3, round(1 / 3, 4))
    assert document["methods"][0]["above"]["mean"] == 1.0, "a rollout without an answer is wrong"


@pytest.mark.parametrize(
    ("label", "answers", "right"),
    [
        ("0.5", ["1/2", "50%", "2"], 1),  # by value, and a percentage is another answer
        ("1,000", ["1000", "1e3", "100"], 2),
        ("-3", ["3", "-3", "- 3"], 2),
        ("blue", ["Blue", "the blue", "red"], 1),
    ],
)
def test_labels_are_compared_by_value_for_every_method(
    label: str,
    answers: list[object],
    right: int,
    tmp_path: Path,
    compared: Command,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = write(tmp_path / "groups.jsonl", [labelled(answers, "g", label)])
    assert compared(file, "--methods", "ttrl,paper", "--json") == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == round(right / 3, 4)


def test_answers_can_be_read_elsewhere(
    tmp_path: Path, compared: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["so \\boxed{7}", "so \\boxed{7}", "so \\boxed{8}"]
    rollouts = [{"id": str(index), "text": text} for index, text in enumerate(texts)]
    file = write(tmp_path / "groups.jsonl", [{"id": "g", "rollouts": rollouts, "labels": ["7"]}])
    assert compared(file, "--methods", "ttrl") == 2
    assert "no rollout has an answer" in capsys.readouterr().err
    assert compared(file, "--methods", "ttrl", "--answer-from", "boxed", "--json") == 0
    assert methods(capsys.readouterr().out)["ttrl"]["label"]["mean"] == 1.0


def test_the_answers_of_an_evaluation_are_groups(tmp_path: Path) -> None:
    """Questions that could not be asked have none."""
    texts = ["<answer>7</answer>", "<answer>8</answer>"]
    answered = {
        "line": 1,
        "question": "How many?",
        "answer": "7",
        "labels": ["7", "seven"],
        "sampled": [{"text": text} for text in texts],
    }
    file = write(tmp_path / "answers.jsonl", [answered, {"line": 2, "error": "no image"}, answered])
    first, second = read_groups(file)
    assert (first.id, second.id) == ("line 1", "line 3")
    assert [rollout.text for rollout in first.rollouts] == texts
    assert first.labels == ["7", "seven"]


GOOD = json.dumps(labelled([7, 8], "g"))


@pytest.mark.parametrize(
    ("lines", "words", "reason"),
    [
        ([], (), "no group has labels"),
        ([json.dumps(voting([7, 8]))], (), 'no group has labels: add "labels": ["7"]'),
        ([GOOD, "{"], (), "line 2: not JSON"),
        ([GOOD, "7"], (), "line 2: not a JSON object"),
        ([GOOD, GOOD], (), "line 2: the id 'g' is used more than once"),
        (['{"id": "g"}'], (), "line 1: rollouts: Field required"),
        (['{"id": "g", "rollouts": []}'], (), "line 1: rollouts: List should have at least 1 item"),
        (
            [GOOD, '{"answer": "7", "sampled": [7]}'],
            (),
            "line 2: rollouts.0.text: Input should be a valid string",
        ),
        ([GOOD, '{"answer": "7", "sampled": 7}'], (), "line 2: id: Field required"),
        ([GOOD, '{"error": "no", "rollouts": []}'], (), "line 2: id: Field required"),
        ([GOOD, '{"role": "solver", "rollouts": []}'], (), "line 2: this is a groups.jsonl of a run folder"),
        ([GOOD.replace('"labels"', '"label"')], (), "line 1: label: Extra inputs are not permitted"),
        ([json.dumps(labelled([7, 8], "g", voters="x"))], ("--methods", "co-rewarding,ttrl"), "voters"),
        ([GOOD], ("--methods", "ttrll"), "there is no preset 'ttrll'; did you mean ttrl?"),
        ([GOOD], ("--against", "empo", "--methods", "ttrl"), "--against: 'empo' is not among the methods"),
        ([GOOD], ("--configs", "{"), "--configs: not JSON"),
        ([GOOD], ("--configs", '{"ttrl": {}}'), "--configs: ttrl is a preset"),
        ([GOOD], ("--configs", '{"x": {"alpha": -1}}'), "x: alpha: Input should be greater"),
        ([GOOD], ("--configs", '{"x": "nothing"}'), "nothing"),
        ([GOOD], ("--configs", "none.json"), "none.json: No such file or directory"),
        ([GOOD], ("--progress", "2"), "progress: Input should be less than or equal to 1"),
        ([GOOD], ("--plot", "none/plot.svg"), "none/plot.svg: No such file or directory"),
        ([GOOD], ("--method", "ttrl"), "did you mean --methods?"),
    ],
)
def test_a_wrong_input_ends_with_2_and_says_where(
    lines: list[str],
    words: tuple[str, ...],
    reason: str,
    tmp_path: Path,
    compared: Command,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "groups.jsonl"
    file.write_text("\n".join(lines))
    assert compared(file, *words) == 2
    said = capsys.readouterr()
    assert reason in said.err
    assert said.out == ""


def test_configs_that_are_no_text_end_with_2(
    groups: Path, compared: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "configs.json"
    file.write_bytes(b'{"x": "\xff"}')
    assert compared(groups, "--configs", file) == 2
    assert "--configs: not JSON" in capsys.readouterr().err


def test_a_picture_stays_if_the_scoring_fails(
    groups: Path, compared: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: object) -> None:
        raise MalformedRequest("no")

    monkeypatch.setattr(Rescorer, "request", refused)
    plot = tmp_path / "atlas.svg"
    plot.write_text("<svg></svg>")
    assert compared(groups, "--methods", "ttrl", "--plot", plot) == 2
    assert plot.read_text() == "<svg></svg>"


def test_a_refused_batch_is_scored_in_parts_and_names_the_group_that_is_refused(
    groups: Path, compared: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    score = Rescorer.request
    refuses: Callable[[list[str]], bool]

    async def request(self: Rescorer, endpoint: Any, sent: Any, *others: Any) -> list[Any]:
        if refuses([group.id for group in sent.groups]):
            raise MalformedRequest("too long")
        return await score(self, endpoint, sent, *others)

    monkeypatch.setattr(Rescorer, "request", request)
    refuses = lambda ids: len(ids) > 1  # noqa: E731
    assert compared(groups, "--methods", "ttrl", "--json") == 0
    assert methods(capsys.readouterr().out)["ttrl"]["label"]["mean"] == 0.75
    refuses = lambda ids: "g17" in ids  # noqa: E731
    assert compared(groups, "--methods", "ttrl") == 2
    assert "the group 'g17': " in capsys.readouterr().err


def test_a_missing_file_ends_with_2(
    tmp_path: Path, compared: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compared(tmp_path / "none.jsonl") == 2
    assert "none.jsonl: No such file or directory" in capsys.readouterr().err


@pytest.mark.parametrize("apart", [1, BATCH, 5 * BATCH])
def test_a_batch_holds_the_voters_of_its_groups(apart: int, tmp_path: Path) -> None:
    """Whichever of two groups comes first in the file, and however far away the other is."""
    count = 2 * apart
    made = [labelled([7], f"g{number}", voters=f"g{(number + apart) % count}") for number in range(count)]
    groups = read_groups(write(tmp_path / "groups.jsonl", made))
    found = list(batches(groups))
    assert sorted(group.id for batch in found for group in batch) == sorted(group.id for group in groups)
    assert max(map(len, found)) <= BATCH + 1
    for batch in found:
        ids = {group.id for group in batch}
        assert all(group.voters in ids for group in batch)
