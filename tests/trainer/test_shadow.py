"""Shadow labels: their metrics, their sources, and that no reward depends on them."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from ireasoner.clients import RewardClient
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.evaluation.questions import Question
from ireasoner.trainer.loop.train import train
from ireasoner.trainer.rewards.shadow_labels import ShadowLabels, from_questions, load_labels, reward_auc
from ireasoner.trainer.rollouts.group import Group
from ireasoner.trainer.run_folder.run_folder import read_lines
from ireasoner.trainer.settings import ROLES, RunSettings
from ireasoner.trainer.worlds.digit_grids.folders import write_unlabelled
from tests.conftest import MODEL

IMAGE = Path("/images/a.png")


def group(question: str | None, answers: Sequence[str | None], dominant: str | None) -> Group:
    one = Group(IMAGE, Image.new("RGB", (28, 28)))
    one.question = question
    one.record = {"dominant_answer": dominant, "rollouts": [{"answer": answer} for answer in answers]}
    return one


@pytest.mark.parametrize(
    ("several", "voters", "right"),
    [
        (False, None, True),
        (False, {"dominant_answer": "8"}, False),
        (False, {"dominant_answer": None}, False),
        (True, None, None),
    ],
)
def test_the_pseudo_label_is_the_one_that_pays(several: bool, voters: Any, right: bool | None) -> None:
    """The group's own dominant answer is right, but voters or other views may say otherwise."""
    one = group("known", ["7", "7"], "7")
    one.has_several_labels = several
    if voters is not None:
        one.record["voters"] = voters
    [record], figures = ShadowLabels(labels).measure([one], [[1.0, 1.0]])
    assert record["shadow"]["pseudo_label_right"] is right
    assert figures.get("shadow/pseudo_label_accuracy") == (None if right is None else float(right))


def labels(_: Path, text: str) -> Question | None:
    return Question(IMAGE, text, "7") if text == "known" else None


@pytest.mark.parametrize(
    ("rewards", "right", "auc"),
    [
        ([1.0, 0.5, 0.2], [True, False, False], 1.0),
        ([0.2, 0.5, 0.5], [True, False, False], 0.0),
        ([0.5, 0.5], [True, False], 0.5),
        ([0.9, 0.5, 0.5, 0.1], [True, True, False, False], 0.875),
        ([0.9, None], [True, False], None),
        ([0.9, 0.1], [True, True], None),
        ([0.9, 0.1], [False, False], None),
    ],
)
def test_auc_measures_how_well_rewards_rank_right_above_wrong(
    rewards: list[float | None], right: list[bool], auc: float | None
) -> None:
    assert reward_auc(rewards, right) == auc


def test_only_groups_with_a_known_answer_are_measured() -> None:
    groups = [
        group("known", ["7", "7", "8", None], "7"),
        group("known", ["8", "8", "7", "9"], "8"),
        group("known", [None, None, None, None], None),
        group("unknown", ["7", "7", "7", "7"], "7"),
    ]
    rewards: list[list[float | None]] = [
        [0.8, 0.8, 0.3, 0.0],
        [0.7, 0.7, 0.3, 0.3],
        [0.0] * 4,
        [1.0] * 4,
    ]
    records, figures = ShadowLabels(labels).measure(groups, rewards)
    assert figures == {
        "shadow/labelled_share": 3 / 4,
        "shadow/pseudo_label_accuracy": pytest.approx(1 / 3),
        "shadow/rollout_accuracy": pytest.approx((2 / 4 + 1 / 4) / 3),
        "shadow/pass_at_n": pytest.approx(2 / 3),
        "shadow/reward_auc": pytest.approx((1.0 + 0.5 / 3) / 2),
    }
    assert records[0] == {
        "shadow": {
            "truth": "7",
            "pseudo_label_right": True,
            "right": [True, True, False, False],
            "reward_auc": 1.0,
        }
    }
    assert [bool(record) for record in records] == [True, True, True, False]


def test_without_labels_nothing_is_measured() -> None:
    assert ShadowLabels(None).measure([group("known", ["7"], "7")], [[1.0]]) == ([{}], {})


def test_a_datasets_labels_apply_to_its_own_words_about_its_own_image(tmp_path: Path) -> None:
    Image.new("RGB", (28, 28)).save(tmp_path / "a.png")
    row = {"image": "a.png", "question": "How many dogs?", "answer": "100", "matching": "relaxed"}
    (tmp_path / "questions.jsonl").write_text(json.dumps(row))
    known = load_labels(str(tmp_path / "questions.jsonl"))
    assert known is not None
    found = known(tmp_path / "." / "a.png", "How  many dogs?")
    assert found is not None
    assert found.is_right("104")
    assert known(tmp_path / "a.png", "How many cats?") is None
    assert known(tmp_path / "b.png", "How many dogs?") is None
    assert from_questions([])(tmp_path / "a.png", "How many dogs?") is None


@pytest.mark.parametrize(
    "source",
    ["nowhere.jsonl", "no.such.module:answer", "ireasoner.trainer.rewards.shadow_labels:no_such_name", ""],
)
def test_missing_labels_are_refused(source: str) -> None:
    with pytest.raises(SettingsError, match=r"labels: .* is not a file and not module:function"):
        load_labels(source)


def test_the_answers_that_a_ledger_shows() -> None:
    """Read once, although the metrics need them too; a choice is right as letter and as text."""
    read: list[str] = []

    def labels(image: Path, text: str) -> Question | None:
        read.append(text)
        return (
            Question(image, text, "b", matching="choice", choices=("a cat", "a dog"))
            if text == "known"
            else None
        )

    shadow = ShadowLabels(labels)
    assert shadow.answers(IMAGE, "known") == ["B", "a dog"]
    assert shadow.answers(IMAGE, "unknown") is None
    shadow.measure([group("known", ["B"], "B")], [[1.0]])
    assert read == ["known", "unknown"]
    assert ShadowLabels(None).answers(IMAGE, "known") is None


@pytest.mark.parametrize(
    ("fields", "spellings"),
    [
        ({"answer": "7"}, ["7"]),
        ({"answer": "7", "matching": "relaxed"}, ["7"]),
        ({"answer": "a dog", "matching": "choice", "choices": ("a cat", "a dog")}, ["B", "a dog"]),
        ({"answer": "(A)", "matching": "choice", "choices": ("a cat", "a dog")}, ["A", "a cat"]),
        ({"answer": "C", "matching": "choice"}, ["C"]),
        ({"answer": "a bird", "matching": "choice", "choices": ("a cat", "a dog")}, ["a bird"]),
    ],
)
def test_the_spellings_of_a_true_answer(fields: dict[str, Any], spellings: list[str]) -> None:
    assert Question(IMAGE, "known", **fields).spellings == spellings


@pytest.mark.vllm
@pytest.mark.timeout(600)
@pytest.mark.slow
def test_labels_change_neither_requests_nor_training(
    reward_url: str, pinned_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same run with and without labels: equal rollouts, rewards, and adapters equal to the bit.

    The reward server gets the labels, for its ledger.
    """
    write_unlabelled(tmp_path / "images", 4, seed=5)
    posted: list[Any] = []
    sent: list[Any] = []
    score = RewardClient.score

    def record(self: RewardClient, endpoint: Any, groups: Any, **options: Any) -> Any:
        # Ids are new in each call.
        posted.append((endpoint, [replace(group, id="", labels=None) for group in groups], options))
        sent.extend(group.labels for group in groups)
        return score(self, endpoint, groups, **options)

    monkeypatch.setattr(RewardClient, "score", record)

    def run(name: str, source: str | None) -> dict[str, Any]:
        posted.clear()
        sent.clear()
        settings = RunSettings(
            model=str(MODEL),
            images=tmp_path / "images",
            run_folder=tmp_path / name,
            labels=source,
            updates=2,
            proposer_every=1,
            group_size=3,
            groups_per_update=2,
            cpu_threads=1,
            lora={"dropout": 0.0},
            reward={"url": reward_url, "source": "run"},
            rollout={"url": pinned_url, "solver_max_tokens": 64, "proposer_max_tokens": 24},
            grpo={"learning_rate": 3e-3},
        )
        folder = train(settings, Console(quiet=True)).path
        groups = list(read_lines(folder / "groups.jsonl"))
        return {
            "posted": list(posted),
            "labels": [each for each in sent if each is not None],
            "trained_on": [group["trained_on"] for group in groups],
            "weights": [(folder / "final" / r / "adapter_model.safetensors").read_bytes() for r in ROLES],
            "shadow": [group["shadow"] for group in groups if "shadow" in group],
            "metrics": list(read_lines(folder / "metrics.jsonl")),
        }

    without = run("without", None)
    labelled = run("labelled", "ireasoner.trainer.worlds.digit_grids.labels:answer")
    for same in ("posted", "trained_on", "weights"):
        assert labelled[same] == without[same]
    assert without["labels"] == without["shadow"] == []
    assert len(labelled["labels"]) >= len(labelled["shadow"])
    assert not any("shadow" in name for line in without["metrics"] for name in line)
    assert len(labelled["shadow"]) > 0
    assert [len(one["right"]) for one in labelled["shadow"]] == [3] * len(labelled["shadow"])
    assert labelled["metrics"][0]["solver/shadow/labelled_share"] > 0
