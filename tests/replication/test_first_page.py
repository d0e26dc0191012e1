"""The generated parts of the first page: words follow from intervals, and figures from the tables."""

import json
import os
from typing import Any

import pytest

from ireasoner.reward_server.scoring_config import ROBUST
from replication.arms import ARMS
from replication.cost import core_minutes, core_minutes_of_run, hours
from replication.first_page import headline, meaning, parts, rows, sentences
from replication.forest import ROWS, sections
from replication.recorded import as_shown, is_recorded
from replication.results import OWN_SPLITS, passes, reference
from replication.table import corrected, summary, tables
from scripts import replication_docs


@pytest.fixture(scope="module")
def committed() -> str:
    """The committed tables, as they are shown, as JSON."""
    return json.dumps(replication_docs.tables_by_folder())


@pytest.fixture
def documents(committed: str) -> dict[str, Any]:
    """The committed tables; a test may change them."""
    found: dict[str, Any] = json.loads(committed)
    return found


def pair(document: Any, arm: str, other: str, split: str = "both") -> dict[str, Any]:
    [found] = [one["against"][other] for one in document["arms"] if one["arm"] == arm]
    figures: dict[str, Any] = found[split]["greedy"]
    return figures


@pytest.mark.parametrize(
    ("low", "high", "verb"),
    [(0.01, 0.2, "raises"), (-0.2, -0.01, "lowers"), (-0.01, 0.2, "does not measurably change")],
)
def test_the_words_follow_from_the_interval(
    documents: dict[str, Any], low: float, high: float, verb: str
) -> None:
    pair(documents["paper"], "full", "outcome-only").update(mean=(low + high) / 2, low=low, high=high)
    shown = f"{(low + high) / 2:+.3f} [{low:.3f}, {high:.3f}]"
    assert f"step agreement {verb} greedy accuracy: {shown}" in sentences(documents).splitlines()[1]
    of_study = pair(documents["estimators"], "full-moving-baseline", "outcome-only-moving-baseline")
    of_study.update(mean=(low + high) / 2, low=low, high=high)
    assert f"step agreement {verb} it: {shown}." in headline(documents)
    new = pair(documents["estimators"], "outcome-only-moving-baseline", "base", "held_out_combinations")
    new.update(mean=(low + high) / 2, low=low, high=high)
    assert f"that no training image has it {verb} it ({shown})." in headline(documents)


def test_the_gain_of_agreement_is_said_with_its_corrected_p_value_as_the_table_has_it(
    documents: dict[str, Any],
) -> None:
    of_all = len(corrected(documents["paper"]))
    base = next(line for line in rows(documents["paper"]).splitlines() if "`base`" in line)
    alone, together = base.split(" | ")[-3:-1]
    assert (
        f"(p {alone} alone, {together} corrected for {of_all} comparisons)"
        in sentences(documents).splitlines()[0]
    )
    assert f"| p for all {of_all} |" in rows(documents["paper"])
    pair(documents["paper"], "base", "outcome-only").update(p=None)
    assert "(too few seeds for a p-value)" in sentences(documents).splitlines()[0]


def test_too_few_seeds_for_an_interval_are_said(documents: dict[str, Any]) -> None:
    pair(documents["paper"], "full", "outcome-only").update(mean=0.1, low=None, high=None)
    assert "seems to raise greedy accuracy: +0.100 (too few seeds for an interval)" in sentences(documents)


def test_there_are_five_sentences_and_eight_rows(documents: dict[str, Any]) -> None:
    made = parts(documents)
    assert [line[0] for line in made["sentences"].splitlines()] == ["1", "2", "3", "4", "5"]
    assert len(made["rows"].splitlines()) == 2 + 8 == 2 + len(ROWS)
    assert "| 100% |" in next(line for line in made["rows"].splitlines() if "`true-answers`" in line)


def test_only_an_arm_with_todays_preset_is_called_our_preset(documents: dict[str, Any]) -> None:
    lines = [line.split(" | ") for line in rows(documents["paper"]).splitlines()[2:]]
    ours = [line[0].strip("| `") for line in lines if line[1] == "our preset"]
    assert ours == ["robust-without-distinct-exponent"]
    assert ARMS[ours[0]].scoring_config == ROBUST != ARMS["robust"].scoring_config


def test_the_meaning_of_an_arm_of_the_readers_own_is_its_recorded_one(documents: dict[str, Any]) -> None:
    [full] = [arm for arm in documents["paper"]["arms"] if arm["arm"] == "full"]
    full["meaning"] = "words of another time"
    assert "another time" not in rows(documents["paper"])
    assert meaning({"arm": "mine", "meaning": "my reward"}) == "my reward"


def test_the_forest_says_which_version_of_the_preset_an_arm_is(documents: dict[str, Any]) -> None:
    for section in sections(documents):
        for row in section.rows:
            if row.arm in ARMS and ARMS[row.arm].scoring_config == ROBUST:
                assert row.label == "robust, our preset"
            assert row.label != "robust"


def test_sentences_read_new_studies_where_they_are(documents: dict[str, Any]) -> None:
    found = {"mean": 0.012, "low": 0.002, "high": 0.022, "p": 0.02}
    baseline = "moving-baseline"
    names = [f"{arm}-{baseline}" for arm in ("full", "constant-step-agreement", "outcome-only")]
    for folder, arms in (("estimators", names), ("views", ["views-cross", "views-pooled", "outcome-only"])):
        metrics = {"sampled": found, "greedy": found}
        against = {name: dict.fromkeys((*OWN_SPLITS, "both"), metrics) for name in (*arms, "base")}
        documents[folder] = {"arms": [{"arm": arm, "against": against} for arm in (*arms, "base")]}
    said = sentences(documents).splitlines()
    shown = "+0.012 [0.002, 0.022]"
    assert f"It raises it on the usual questions ({shown}) and raises it on combinations" in said[0]
    assert f"it raises the accuracy of a sample ({shown}, p 0.060 corrected)" in said[1]
    assert f"alone, uncorrected, it raises it ({shown})" in said[1]
    assert f"whole majority raises it there ({shown}), and the two differ by {shown}." in said[1]
    assert (
        f"raise it over that: {shown}, of which {shown} is due to leaving out a view's own votes" in said[3]
    )


@pytest.mark.parametrize(
    ("low", "high", "sign", "holds"),
    [
        (0.01, 0.2, 1, "yes"),
        (-0.2, -0.01, 1, "opposite"),
        (-0.1, 0.2, 1, "undecided"),
        (-0.2, -0.01, -1, "yes"),
        (0.01, 0.2, -1, "opposite"),
        (None, None, 1, "too few seeds"),
    ],
)
def test_a_claim_holds_if_the_whole_interval_is_on_its_side(
    documents: dict[str, Any], low: float | None, high: float | None, sign: int, holds: str
) -> None:
    arm, other = ("full", "outcome-only") if sign == 1 else ("step-only", "full")
    tables_with_it = (
        document
        for document in (documents["paper"], documents["sums"])
        if any(one["arm"] == arm for one in document["arms"])
    )
    pair(next(tables_with_it), arm, other).update(mean=0.0, low=low, high=high)
    line = parts(documents)["claims"].splitlines()[3 if sign == 1 else 4]
    assert line.endswith(f"| {holds} |")


def test_a_comparison_that_a_table_lacks_is_named(documents: dict[str, Any]) -> None:
    arms = documents["paper"]["arms"]
    arms[:] = [arm for arm in arms if arm["arm"] != "full"]
    with pytest.raises(ValueError, match="the table of sums does not compare full with outcome-only"):
        sentences(documents)


def test_what_is_by_construction_is_not_said_to_be_found(documents: dict[str, Any]) -> None:
    said = sentences(documents).splitlines()[3]
    assert said.startswith("4. By construction, a vote over one prompt cannot find an error")
    assert "training on it raises greedy accuracy (+0.025 [0.009, 0.041])" in said


@pytest.mark.parametrize("truth", [0.0, -0.1, None])
def test_there_is_no_share_of_what_true_answers_do_not_gain(
    documents: dict[str, Any], truth: float | None
) -> None:
    arms = documents["paper"]["arms"]
    if truth is None:
        arms[:] = [arm for arm in arms if arm["arm"] != "true-answers"]
    else:
        pair(documents["paper"], "true-answers", "base")["mean"] = truth
    assert "%" not in rows(documents["paper"])


@pytest.mark.parametrize("recorded", [True, False])
def test_a_right_derivation_is_named_for_what_was_counted(documents: dict[str, Any], recorded: bool) -> None:
    if not recorded:
        del documents["sums"]["without"]
    for made in (summary(documents["sums"]), tables(documents["sums"])):
        assert ("all steps true" in made, "by a right derivation" in made) == (recorded, not recorded)


@pytest.mark.parametrize(("low", "passed"), [(0.1, True), (0.2, True), (0.09, False), (None, False)])
def test_the_gate_has_one_verdict(documents: dict[str, Any], low: float | None, passed: bool) -> None:
    assert passes(low) is passed
    documents["sums"]["gate"]["majority_less_greedy"].update(low=low)
    assert ("0.10: passed." in tables(documents["sums"])) is passed


def test_the_gain_of_each_seed_is_shown(documents: dict[str, Any]) -> None:
    [full] = [arm for arm in documents["paper"]["arms"] if arm["arm"] == "full"]
    full["against"]["base"]["by_seed"] = {"greedy": [0.1, -0.02]}
    assert "| +0.10 -0.02 |" in next(
        line for line in rows(documents["paper"]).splitlines() if "`full`" in line
    )


def test_core_minutes_count_the_cores_and_the_runs_that_shared_them() -> None:
    arm = {"seconds": {"training": 540.0, "evaluation": 60.0}}
    assert core_minutes(arm) == 2.5
    assert core_minutes({**arm, "core_minutes": 7.5}) == 7.5
    assert core_minutes_of_run(600.0, parallel=4) == pytest.approx(10 / 4 * (os.cpu_count() or 1), abs=0.01)
    assert hours(0, 2, 8) == "0.0"
    assert float(hours(175, 2, 8)) == pytest.approx(2 * float(hours(175, 4, 8)), abs=0.2)
    assert 5 <= float(hours(175, 2, 8)) <= 6, "as docs/replication.md says"
    assert float(hours(175, 2, 2)) == pytest.approx(1.5 * float(hours(175, 2, 8)), abs=0.1)


@pytest.mark.parametrize(
    ("arm", "names", "expected"),
    [
        ("full", ["base", "outcome-only", "full"], "outcome-only"),
        ("full-unscaled", ["outcome-only-moving", "outcome-only-unscaled"], "outcome-only-unscaled"),
        ("full-moving", ["outcome-only", "outcome-only-moving"], "outcome-only-moving"),
        ("full", ["outcome-only", "outcome-only-unscaled"], "outcome-only"),
        ("views-cross", ["outcome-only", "views-cross"], "outcome-only"),
        ("base", ["base", "outcome-only-early", "full-early"], "outcome-only-early"),
        ("outcome-only-unscaled", ["outcome-only-moving", "outcome-only-unscaled"], "outcome-only-moving"),
        ("outcome-only-early", ["base", "outcome-only-early"], "outcome-only"),
    ],
)
def test_an_arm_is_compared_with_agreement_on_answers_under_its_own_estimator(
    arm: str, names: list[str], expected: str
) -> None:
    assert reference(arm, names) == expected


def test_the_forest_has_every_table_whose_answers_were_kept(documents: dict[str, Any]) -> None:
    made = {section.title: section.rows for section in sections(documents)}
    assert next(iter(made)) == "paper"
    kept = {name for name, document in documents.items() if "without" not in document}
    assert {title.partition(",")[0] for title in made} == {
        name for name in kept if not name.startswith("atlas/")
    }
    assert {"estimators", "readings, avg@8", "views", "views/model-1", "views/model-2"} <= made.keys()
    assert {row.arm for row in made["paper"]} == {*ROWS} - {"outcome-only"}
    for rows_of_table in made.values():
        for row in rows_of_table:
            assert row.seeds == ("one model" if row.arm == "base" else str(len(row.by_seed)))
            assert row.found["low"] is not None


def test_recorded_intervals_are_only_widened() -> None:
    document = json.loads((replication_docs.FOLDER / "results.json").read_text(encoding="utf-8"))
    shown = as_shown(document)
    assert is_recorded(document)
    assert not any("p" in arm["test"]["greedy"] for arm in document["arms"])
    for was, now in zip(document["arms"], shown["arms"], strict=True):
        for name, pair_now in now["against"].items():
            old, new = was["against"][name]["both"]["greedy"], pair_now["both"]["greedy"]
            assert new["mean"] == old["mean"]
            assert new["high"] - new["low"] == pytest.approx(
                1.58 * (old["high"] - old["low"]), rel=0.02, abs=2e-4
            )


def test_a_table_is_corrected_for_all_its_comparisons() -> None:
    document = as_shown(json.loads((replication_docs.FOLDER / "results.json").read_text(encoding="utf-8")))
    found = corrected(document)
    assert len(found) == len(document["arms"]) - 1
    for name, p in found.items():
        assert p >= pair(document, name, "outcome-only")["p"]


def test_the_base_model_counts_where_every_arm_has_other_settings(documents: dict[str, Any]) -> None:
    document = documents["estimators"]
    assert len(corrected(document)) == len(document["arms"]) - 1
    assert corrected(document)["base"] >= pair(document, "base", "outcome-only-moving-baseline")["p"]
