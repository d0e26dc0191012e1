"""What the ledger keeps of a scored request."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ireasoner.reward_server.ledger.insert import insert
from ireasoner.reward_server.ledger.record import texts, unpacked
from ireasoner.reward_server.ledger.schema import open_to_write
from ireasoner.reward_server.scoring_config import PAPER, ROBUST, ScoringConfig
from tests.reward_server.ledger_records import record, scored, sent

HOSTILE = {
    "script": "<script>alert(1)</script>",
    "sql": "'); DROP TABLE groups; --",
    "fts": '" OR NEAR(a b) * ^ : - {x} AND NOT',
    "long": "a" * 100_000,
    "right to left": "\u202eabc\u202c مرحبا",
    "zero width": "a\u200bb\u200d\ufeffc",
    "ansi": "\x1b[31mred\x1b[0m \x07",
    "nul": "before\x00after",
    "chinese": "红色的柱子是七",
    "astral": "🧮𝔸",
    "half of a pair": "a\ud800b",
    "quotes": "\"'`\\ %_ \n\t\r",
    "empty": "",
}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = open_to_write(tmp_path)
    connection.row_factory = sqlite3.Row
    yield connection
    connection.close()


def rows(ledger: sqlite3.Connection, table: str) -> list[dict[str, Any]]:
    return [dict(row) for row in ledger.execute(f"SELECT * FROM {table} ORDER BY 1")]


def found(ledger: sqlite3.Connection, text: str) -> list[int]:
    phrase = '"' + text.replace('"', '""') + '"'
    return [row[0] for row in ledger.execute("SELECT rowid FROM texts WHERE texts MATCH ?", (phrase,))]


def test_a_group_has_its_figures(ledger: sqlite3.Connection) -> None:
    [group_id] = insert(ledger, record(sent(["7", "7", "7", "9", None]), update=3))
    [row] = rows(ledger, "groups")
    expected = {
        "id": group_id,
        "name": "g",
        "at": 3,
        "endpoint": "solver",
        "rollouts": 5,
        "invalid": 1,
        "abstained": 0,
        "dominant_answer": "7",
        "dominant_share": 0.6,
        "reward": pytest.approx((3 * 0.6 + 0.2) / 5),
        "outcome": pytest.approx((3 * 0.6 + 0.2) / 10),
        "trajectory": None,
        "excess": pytest.approx((3 * 0.6 + 0.2) / 10),
        "spread": pytest.approx(0.6),
        "steps": 1.0,
        "words": (4 * 8 + 7) / 5,
        "flipped": None,
        "correct": None,
        "correct_share": None,
        "question_id": None,
    }
    assert {name: row[name] for name in expected} == expected


def test_the_document_is_what_was_sent_and_what_was_answered(ledger: sqlite3.Connection) -> None:
    group = sent(["7", "9"], question="How many?", labels=["7"])
    [group_id] = insert(ledger, record(group))
    [(document,)] = ledger.execute("SELECT document FROM documents WHERE group_id = ?", (group_id,))
    assert unpacked(document) == {"group": group, "scored": scored(group)}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_every_text_can_be_kept_and_found(ledger: sqlite3.Connection, text: str) -> None:
    group = sent([text, text, "7"], name=text or "g", question=text, labels=[text, "7"])
    hostile = record(group, source=text, request_id=text, experiment=text)
    [group_id] = insert(ledger, hostile)
    kept = text.replace("\ud800", "\ufffd")
    [row] = rows(ledger, "groups")
    assert (row["dominant_answer"], row["name"]) == (kept, kept or "g")
    assert rows(ledger, "runs")[0]["source"] == kept
    assert rows(ledger, "questions")[0]["question"] == kept
    assert group_id in found(ledger, f"to {kept[:50]}".replace("\0", " "))
    json.dumps(rows(ledger, "groups")[0]).encode()


def test_chinese_is_found_in_the_middle_of_a_sentence(ledger: sqlite3.Connection) -> None:
    ids = insert(ledger, record(sent(["7"], question="红色的柱子是多少"), sent(["8"], "other", question="x")))
    assert found(ledger, "的柱子") == ids[:1]


def test_a_run_is_found_by_its_mark(ledger: sqlite3.Connection) -> None:
    one = insert(ledger, record(sent(["7"]), source="one"))
    other = insert(ledger, record(sent(["7"]), source="other", sequence=2))
    assert [found(ledger, f"<{run['id']}>") for run in rows(ledger, "runs")] == [one, other]


@pytest.mark.parametrize(
    ("labels", "answers", "correct", "share"),
    [
        (["7"], ["7", "7", "9"], True, 2 / 3),
        (["9"], ["7", "7", "9"], False, 1 / 3),
        (["7.0"], ["7", "7", "9"], True, 2 / 3),
        (["$7$"], ["7", "7", "9"], True, 2 / 3),
        (["nine", "7"], ["7", "7", "9"], True, 1.0),
        (["7 "], ["7", "7", "9"], True, 2 / 3),
        (["x"], ["7", "7", "9"], False, 0.0),
        ([], ["7", "7", "9"], None, None),
        (["7"], [None, None], False, 0.0),
        (["1/2"], ["0.5", r"\frac{1}{2}", "2"], True, 2 / 3),
        (["(B)"], ["B", "B", "C"], True, 2 / 3),
        (["-5"], ["5", "5"], False, 0.0),
        (["50%"], ["0.5", "0.5"], False, 0.0),
        (["(" * 4_000], ["7", "7"], False, 0.0),
    ],
)
def test_labels_mark_right_answers(
    ledger: sqlite3.Connection,
    labels: list[str],
    answers: list[str | None],
    correct: bool | None,
    share: float | None,
) -> None:
    insert(ledger, record(sent(answers, labels=labels)))
    [row] = rows(ledger, "groups")
    assert (row["correct"], row["correct_share"]) == (correct, pytest.approx(share))


@pytest.mark.parametrize("endpoint", ["solver", "proposer"])
@pytest.mark.parametrize(
    ("answers", "invalid", "correct"),
    [(["7", "7", "9"], 0, None), (["9", "9", "9"], 0, None), ([None, None, None], 3, False)],
)
def test_a_group_kept_without_clusters_is_neither_right_nor_wrong(
    ledger: sqlite3.Connection, endpoint: str, answers: list[str | None], invalid: int, correct: bool | None
) -> None:
    """A group without any answer has no clusters to keep: that one is known to be wrong."""
    group = sent(answers, labels=["7"])
    left_out = ("clusters", "rollouts") if endpoint == "proposer" else ("clusters",)
    answered = {name: value for name, value in scored(group).items() if name not in left_out}
    insert(ledger, record(groups=[{"group": group, "scored": answered}], endpoint=endpoint))
    [row] = rows(ledger, "groups")
    assert (row["invalid"], row["correct"]) == (invalid, correct)
    [known] = ledger.execute("SELECT correct_known FROM points WHERE unit = 'run'").fetchone()
    assert known == (correct is not None)


@pytest.mark.parametrize(
    ("before", "after", "flipped"),
    [
        (["7", "7"], ["7", "9", "7"], 0),
        (["7", "7"], ["9", "9"], 1),
        (["7", "7"], [None, None], None),
        ([None], ["7"], None),
    ],
)
def test_a_flip_is_a_changed_dominant_answer_of_the_same_question(
    ledger: sqlite3.Connection, before: list[str], after: list[str], flipped: int | None
) -> None:
    insert(ledger, record(sent(before, question="q"), sent(["1"], "other", question="other")))
    insert(ledger, record(sent(after, question="q"), sequence=2))
    assert rows(ledger, "groups")[-1]["flipped"] == flipped


@pytest.mark.parametrize(
    "apart",
    [{"question": "other"}, {"image": "b" * 64}, {"question": None, "image": None}],
    ids=["question", "image", "neither"],
)
def test_no_flip_between_different_questions(ledger: sqlite3.Connection, apart: dict[str, Any]) -> None:
    context = {"question": "q", "image": "a" * 64}
    insert(ledger, record(sent(["7"], **context)))
    insert(ledger, record(sent(["9"], **{**context, **apart}), sequence=2))
    assert rows(ledger, "groups")[-1]["flipped"] is None


def test_no_flip_between_runs_nor_for_an_image_without_a_question(ledger: sqlite3.Connection) -> None:
    insert(ledger, record(sent(["7"], question="q"), sent(["7"], "i", image="a" * 64), source="one"))
    insert(ledger, record(sent(["9"], question="q"), source="other", sequence=2))
    insert(ledger, record(sent(["9"], "i", image="a" * 64), source="one", sequence=3))
    assert [row["flipped"] for row in rows(ledger, "groups")] == [None] * 4


def test_a_group_keeps_its_config_whatever_others_have_the_same_fingerprint(
    ledger: sqlite3.Connection,
) -> None:
    """Imported groups may lack a fingerprint."""
    configs = [PAPER, ROBUST, PAPER.model_copy(update={"alpha": 0.5}), PAPER]
    for number, config in enumerate(configs, start=1):
        insert(ledger, record(sent(["7"]), sequence=number, fingerprint="", config_label="-", config=config))
    insert(ledger, record(sent(["7"]), sequence=5, fingerprint="", config_label="-", embedder="minilm"))
    found = ledger.execute(
        "SELECT config, embedder FROM groups JOIN scorings ON scorings.id = scoring_id ORDER BY groups.id"
    ).fetchall()
    assert [ScoringConfig.model_validate_json(row[0]) for row in found] == [*configs, PAPER]
    assert [row[1] for row in found] == ["compass"] * 4 + ["minilm"]
    assert len(rows(ledger, "scorings")) == 4


def test_a_record_that_is_sent_again_is_kept_once(ledger: sqlite3.Connection) -> None:
    assert len(insert(ledger, record(sent(["7"]), sequence=5))) == 1
    for sequence in (5, 4):
        assert insert(ledger, record(sent(["7"]), sequence=sequence)) == []
    assert len(insert(ledger, record(sent(["7"]), sequence=6))) == 1
    assert len(insert(ledger, record(sent(["7"]), feed="another", sequence=1))) == 1
    assert len(rows(ledger, "groups")) == 3
    assert rows(ledger, "points")[0]["groups"] == 3


def test_rewards_that_differ_in_their_last_bits_have_no_spread(ledger: sqlite3.Connection) -> None:
    group = sent(["7", "7", "7"])
    answered = scored(group)
    answered["rollouts"][1]["reward"] = 1 - 2**-52
    insert(ledger, record(groups=[{"group": group, "scored": answered}]))
    assert rows(ledger, "groups")[0]["spread"] == 0
    assert rows(ledger, "points")[0]["flat"] == 1


def test_points_add_up_the_groups_of_an_update_or_a_minute(ledger: sqlite3.Connection) -> None:
    groups = [sent(["7", "7"], "a", labels=["7"]), sent([None], "b"), sent(["7", "9", None], "c")]
    insert(ledger, record(*groups, update=4))
    insert(ledger, record(groups[0], update=4, sequence=2, received_s=1_800_000_090.0))
    insert(ledger, record(groups[0], update=5, sequence=3))
    insert(ledger, record(groups[0], sequence=4))
    insert(ledger, record(groups[0], endpoint="proposer", sequence=5))
    points = {(each["endpoint"], each["unit"], each["at"]): each for each in rows(ledger, "points")}
    assert sorted(points) == [
        ("proposer", "minute", 30_000_000),
        ("proposer", "run", 0),
        ("solver", "minute", 30_000_000),
        ("solver", "run", 0),
        ("solver", "update", 4),
        ("solver", "update", 5),
    ]
    summed = points["solver", "update", 4]
    kept = [row for row in rows(ledger, "groups") if row["at"] == 4]
    for name in ("reward", "outcome", "words", "steps", "dominant_share", "rollouts", "invalid", "abstained"):
        assert summed[name] == pytest.approx(sum(row[name] for row in kept))
    assert (summed["groups"], summed["flat"], summed["answered"], summed["correct"]) == (4, 3, 3, 2)
    assert points["solver", "run", 0]["groups"] == 6
    assert (summed["correct_known"], summed["first_s"], summed["last_s"]) == (2, 1_800_000_000, 1_800_000_090)


def test_a_group_of_the_proposer_counts_its_invalid_rollouts(ledger: sqlite3.Connection) -> None:
    group = sent(["7", "7", None, "9"])
    answered = {name: value for name, value in scored(group).items() if name != "rollouts"}
    insert(ledger, record(groups=[{"group": group, "scored": answered}], endpoint="proposer"))
    [row] = rows(ledger, "groups")
    assert (row["rollouts"], row["invalid"], row["steps"], row["reward"]) == (4, 1, None, None)
    assert found(ledger, "leads to 9") == [row["id"]]


def test_only_the_first_million_characters_of_a_group_are_indexed() -> None:
    group = sent(["7"])
    group["rollouts"][0]["steps"] = ["a" * 3 * 2**20]
    assert len(texts(group, scored(group)).steps) == 2**20
