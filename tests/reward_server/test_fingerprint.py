"""The fingerprint covers what scores mean: a change of meaning needs another version, which changes the fingerprint.

For each part with a version, `meanings.json` contains that version and a digest of the part's results for many inputs.
If a test here fails, raise the part's version and write the new digest into the file.
"""

import hashlib
import json
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
import pytest

from ireasoner.reward_server.agreement.formulas import FORMULAS_VERSION
from ireasoner.reward_server.answers.canonical import form_of
from ireasoner.reward_server.answers.equivalence import EQUIVALENCE_VERSION
from ireasoner.reward_server.parsing.rollout import PARSER_VERSION, parse_text, parsed_before
from ireasoner.reward_server.scoring import fingerprint
from ireasoner.reward_server.scoring_config import LATER_FIELDS, PAPER, ROBUST
from tests.reward_server import test_equivalence
from tests.reward_server.requests import group, rollout, score
from tests.reward_server.test_minilm import TEXTS

MEANINGS = json.loads(Path(__file__).with_name("meanings.json").read_text())
WRITTEN = [
    *TEXTS,
    "",
    "<answer>7",
    "<answer></answer>",
    "No tags. The sum is 3.5 cm. Answer: 7",
    "<think>1) read 2) add</think><answer>1,234.</answer>",
    "<think>**Step 1:** read\n- Step 2: add\n3.5 cm wide</think> so \\boxed{\\frac{1}{2}}",
    "<think><step>a</step><step n='2'>b <answer>1</answer></step></think><answer>-5</answer>",
    "I need to:\n1. look\n2. add\n\nThe row reads 2, e.g. in Fig. 3. So 7.\n\n$$\nx = 7\n$$\n**Final Answer**\n7",
    "### Step 1: Look\n\n- red\n\n### Step 2: Add\n\n3 + 4\n\nSo 7. \\boxed{3} and \\boxed{4}\nHuman: and?",
    "第一步：看图。有3只。\n第二步，数。所以答案是7。",
    "1. read\n2. So the final answer is <answer>7</answer>",
]
SWITCHES: list[dict[str, Any]] = [
    {"preset": "paper"},
    {"preset": "robust"},
    {"step_means": "leave_one_out"},
    {"centring": "group"},
    {"cosine_floor": 0.25},
    {"alignment": "monotonic"},
    {"alignment": "monotonic", "coverage": "union"},
    {"min_steps": 3},
    {"ties": "shared"},
    {"entropy_scale": "ln_n"},
    {"distinct_exponent": 1.0},
    {"min_dominant_share": 0.6},
]
GROUPS = [
    group(
        [
            rollout("7", "east east north", "north north east"),
            rollout("7", "east north", "north north north east", "east"),
            rollout("7", "east south", "northeast east"),
            rollout("8", "east"),
            rollout(None, "east"),
        ],
        "five",
    ),
    group([rollout(answer, "east", f"north {'east ' * n}") for n, answer in enumerate("7878")], "tied"),
    group([rollout("7", "south east", "north"), rollout("7", "east north", "west", "north")], "two"),
]
"""No two steps of an answer are equally close to a third, so no last bit decides."""


def digest(meaning: object) -> str:
    return hashlib.sha256(json.dumps(meaning).encode()).hexdigest()[:16]


def rounded(value: Any) -> Any:
    """`value` without the last bits, in which machines differ, and without `components`, which came with wire 2.2."""
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in sorted(value.items()) if name != "components"}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return f"{round(value, 8) + 0.0:.8f}" if isinstance(value, float) else value


def parser(http: httpx.Client) -> object:
    configs = [PAPER.model_copy(update={"answer_from": source}) for source in ("tag", "boxed", "any")]
    read = [parse_text(text, config) for text in WRITTEN for config in configs]
    return [*read, parsed_before(" 7. ", ["Step  one", "", "<step>two</step>"])]


def equivalence(http: httpx.Client) -> object:
    configs = [ROBUST, test_equivalence.FRACTION, test_equivalence.IGNORED]
    forms = [form_of(answer, config) for answer in test_equivalence.ANSWERS for config in configs]
    return [[form.key, form.rules, form.name, form.expression, form.settled] for form in forms]


def formulas(http: httpx.Client) -> object:
    asked = [("solver", switch) for switch in SWITCHES] + [("proposer", {"entropy_scale": "ln_n"})]
    return [rounded(score(http, endpoint, *GROUPS, config=switch)["groups"]) for endpoint, switch in asked]


PARTS = {
    "parser": (PARSER_VERSION, parser),
    "equivalence": (EQUIVALENCE_VERSION, equivalence),
    "formulas": (FORMULAS_VERSION, formulas),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_change_of_meaning_needs_another_version(compass_http: httpx.Client, part: str) -> None:
    version, meaning = PARTS[part]
    assert {"version": version, "digest": digest(meaning(compass_http))} == MEANINGS[part]


def test_another_version_gives_another_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    def both() -> tuple[str, str]:
        fingerprint.fingerprint.cache_clear()
        return fingerprint.fingerprint(PAPER, "weights"), fingerprint.fingerprint(ROBUST, "weights")

    seen = [both()]
    for name in ("PARSER_VERSION", "FORMULAS_VERSION"):
        monkeypatch.setattr(fingerprint, name, "another")
        seen.append(both())
    assert len(set(chain.from_iterable(seen))) == 6
    monkeypatch.setattr(fingerprint, "EQUIVALENCE_VERSION", "another")
    seen.append(both())
    monkeypatch.setattr(fingerprint, "version", lambda name: "0" if name == "sympy" else "1")
    seen.append(both())
    assert len({robust for _, robust in seen}) == 5
    assert len({paper for paper, _ in seen}) == 3, "comparing texts involves none of these versions"
    monkeypatch.undo()
    assert both() == seen[0]


def test_the_first_presets_keep_the_fingerprints_that_they_had_before_the_fields_of_wire_2_2(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fingerprint, "version", lambda _: "1")
    monkeypatch.setattr(fingerprint, "PARSER_VERSION", "3")
    fingerprint.fingerprint.cache_clear()
    # `robust` counted copies less then.
    first = (PAPER, ROBUST.model_copy(update={"distinct_exponent": 0.75}))
    before = [fingerprint.fingerprint(config, "weights") for config in first]
    fingerprint.fingerprint.cache_clear()
    assert before == ["898d8d7b19fca337", "95daaace5ef474a4"], "taken from the code of wire 2.1"


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": "majority"},
        {"votes": "cross"},
        {"label": "unique_mode"},
        {"entropy_low": 0.1},
        {"entropy_high": 0.9},
        {"hard_above": 0.85},
        {"judge": "bounded"},
        {"format_penalty": 0.5},
        {"signal": "judge"},
        {"signal_as": "minus"},
        {"proposer": "midpoint"},
        {"step_scope": "group"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_later_field_changes_the_fingerprint(
    change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PAPER.model_copy(update=change)
    seen = {fingerprint.fingerprint(each, "weights") for each in (PAPER, config)}
    monkeypatch.setattr(fingerprint, "METHODS_VERSION", "another")
    fingerprint.fingerprint.cache_clear()
    seen |= {fingerprint.fingerprint(each, "weights") for each in (PAPER, config)}
    fingerprint.fingerprint.cache_clear()
    assert len(seen) == 3, "PAPER has one fingerprint, the config one for each version"


def test_the_changes_of_later_fields_are_complete() -> None:
    [mark] = test_each_later_field_changes_the_fingerprint.pytestmark
    assert [next(iter(change)) for change in mark.args[1]] == list(LATER_FIELDS)
