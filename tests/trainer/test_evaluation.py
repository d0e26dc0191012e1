"""Evaluation: reading questions, counting answers, and a real policy through both of a server's dialects."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from ireasoner.cli.__main__ import main
from ireasoner.trainer.errors import ImagesError
from ireasoner.trainer.evaluation.evaluation import evaluate, majority_hit
from ireasoner.trainer.evaluation.questions import Question, read_questions
from ireasoner.trainer.rollouts.rollout import RolloutRequest, SamplingContract
from ireasoner.trainer.worlds.digit_grids.folders import QUESTIONS_FILE, write_held_out
from tests.conftest import MODEL


def write(folder: Path, *rows: dict[str, Any]) -> Path:
    Image.new("RGB", (30, 30)).save(folder / "a.png")
    path = folder / "questions.jsonl"
    path.write_text("".join(json.dumps({"image": "a.png", **row}) + "\n" for row in rows))
    return path


class Scripted:
    """Answers each question with its scripted texts: the first one greedily, the others as samples."""

    def __init__(self, answers: dict[str, list[str]]) -> None:
        self._answers = answers

    def texts(
        self, policy: str, requests: Sequence[RolloutRequest], contract: SamplingContract
    ) -> list[list[str]]:
        found = []
        for request in requests:
            shown = str(request.messages)
            [answers] = [texts for question, texts in self._answers.items() if question in shown]
            found.append(answers[:1] if contract.temperature == 0 else answers[1 : 1 + request.count])
        return found


def test_each_line_has_its_own_matching_rule(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"question": "How many?", "answer": 100},
        {"question": "Which?", "answer": "B", "choices": ["dog", "cat"]},
        {"question": "Name?", "answer": "cat", "matching": "exact", "type": "name"},
    )
    number, which, name = read_questions(path, "relaxed")
    assert (number.matching, which.matching, name.matching) == ("relaxed", "choice", "exact")
    assert number.is_right("104")
    assert which.is_right("cat")
    assert which.prompt == "Which?\nA. dog\nB. cat"
    assert (number.kind, name.kind) == ("all", "name")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "?"}, "KeyError: 'answer'"),
        ({"question": "?", "answer": ["a", "b"]}, "answer must be a string or a number"),
        ({"question": "?", "answer": "A", "choices": "AB"}, "choices must be a list"),
        ({"question": "?", "answer": "A", "choices": ["one"]}, "must have 2 to 26 options, not 1"),
        ({"question": "?", "answer": "C", "choices": ["one", "two"]}, "names none of the options: 'C'"),
        ({"question": "?", "answer": "12", "matching": "choice"}, "names none of the options"),
        (
            {"question": "?", "answer": "A", "matching": "fuzzy"},
            "matching must be one of exact, relaxed, choice",
        ),
    ],
)
def test_a_bad_line_is_named(row: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = write(tmp_path, {"question": "good", "answer": "1"}, row)
    with pytest.raises(ImagesError, match="line 2: ") as caught:
        read_questions(path)
    assert message in str(caught.value)


def test_a_tie_counts_by_the_share_that_is_right_and_votes_are_by_option() -> None:
    plain = Question(Path("a.png"), "?", "7")
    assert majority_hit(plain, ["7", "7", "8"]) == 1.0
    assert majority_hit(plain, ["7", "8"]) == 0.5
    assert majority_hit(plain, []) == 0.0
    which = Question(Path("a.png"), "?", "B", matching="choice", choices=("dog", "cat"))
    assert majority_hit(which, ["B", "cat", "(A)"]) == 1.0


def test_figures_are_given_overall_and_by_kind(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"question": "first", "answer": "100", "type": "number"},
        {"question": "second", "answer": "2", "type": "number"},
        {"question": "third", "answer": "A", "choices": ["dog", "cat"], "type": "option"},
    )
    say = "<answer>{}</answer>".format
    client = Scripted(
        {
            "first": [say("101"), say("99"), say("98"), say("98"), "no answer"],
            "second": [say("3"), say("3"), say("2"), say("3"), say("3")],
            "third": [say("(A)"), say("dog"), say("A"), say("B"), say("A. dog")],
        }
    )
    found = evaluate(client, "policy", read_questions(path, "relaxed"), samples=4, max_tokens=8)
    assert found.correct == [True, False, True]
    assert found.greedy.mean == pytest.approx(2 / 3)
    assert found.sampled.mean == pytest.approx((3 / 4 + 1 / 4 + 3 / 4) / 3)
    assert found.majority.mean == pytest.approx(2 / 3)
    assert found.passed.mean == 1.0
    assert found.format_rate.mean == pytest.approx(11 / 12)
    assert {kind: figures.questions for kind, figures in found.by_kind.items()} == {"number": 2, "option": 1}
    assert found.by_kind["number"].greedy.mean == 0.5
    assert found.by_kind["number"].format_rate.mean == pytest.approx(7 / 8)
    assert found.greedy.low < found.greedy.mean < found.greedy.high
    assert found.by_kind["option"].sampled.mean == 0.75


def test_the_questions_have_a_digest(tmp_path: Path) -> None:
    rows = [{"question": "first", "answer": "1"}, {"question": "second", "answer": "2"}]
    client = Scripted({"first": ["1"] * 2, "second": ["2"] * 2})

    def digest(path: Path) -> str:
        return evaluate(client, "policy", read_questions(path), samples=1, max_tokens=8).asked

    here, there, other = (tmp_path / name for name in ("here", "there", "other"))
    for folder in (here, there, other):
        folder.mkdir()
    assert digest(write(here, *rows)) == digest(write(there, *rows))
    assert digest(write(other, rows[1], rows[0])) != digest(here / "questions.jsonl")


@pytest.mark.vllm
@pytest.mark.timeout(600)
def test_a_real_policy_has_the_same_accuracy_through_both_dialects(rollout_url: str, tmp_path: Path) -> None:
    """The greedy answers are the same through both, and the figures are plausible."""
    write_held_out(tmp_path, 12, seed=5)
    found = {}
    for api in ("vllm", "openai"):
        output = tmp_path / f"{api}.json"
        arguments = ["--url", rollout_url, "--questions", str(tmp_path / QUESTIONS_FILE), "--samples", "2"]
        main(
            [
                "evaluate",
                *arguments,
                "--api",
                api,
                "--model",
                str(MODEL),
                "--max-tokens",
                "96",
                "--output",
                str(output),
            ]
        )
        found[api] = json.loads(output.read_text())
    assert found["vllm"]["correct"] == found["openai"]["correct"]
    assert found["vllm"]["asked"] == found["openai"]["asked"]
    assert sum(figures["questions"] for figures in found["openai"]["by_kind"].values()) == 12
    assert found["vllm"]["format_rate"]["mean"] > 0.5
    assert 0 < found["vllm"]["greedy"]["mean"] < 1
    assert found["openai"]["sampled"]["mean"] <= found["openai"]["passed"]["mean"]


def test_only_openais_fields_are_sent_with_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(
            200, json={"model": "dated-name", "choices": [{"message": {"content": "<answer>7</answer>"}}]}
        )

    original = httpx.Client
    monkeypatch.setattr(
        httpx, "Client", lambda **kwargs: original(**kwargs, transport=httpx.MockTransport(answer))
    )
    monkeypatch.setenv("IREASONER_EVALUATE_API_KEY", "secret")
    path = write(tmp_path, {"question": "How many?", "answer": "7"})
    output = tmp_path / "figures.json"
    main(
        ["evaluate", "--questions", str(path), "--api", "openai", "--policy", "some-model", "--samples", "3",
         "--output", str(output)]
    )  # fmt: skip
    assert json.loads(output.read_text())["sampled"]["mean"] == 1.0
    assert len(sent) == 4
    bodies = [json.loads(request.content) for request in sent]
    known = {"model", "messages", "seed", "max_tokens", "temperature", "top_p"}
    assert all(body.keys() == known for body in bodies)
    assert sorted(body["seed"] for body in bodies if body["temperature"] == 1.0) == [0, 1, 2]
    assert {request.headers["authorization"] for request in sent} == {"Bearer secret"}
