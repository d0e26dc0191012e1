"""The report of a run folder, from a synthetic run."""

import base64
import json
import re
import shutil
from dataclasses import asdict
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ireasoner.cli.__main__ import main
from ireasoner.trainer.errors import RunFolderError, SettingsError
from ireasoner.trainer.evaluation.intervals import Interval
from ireasoner.trainer.report import write_comparison, write_report
from ireasoner.trainer.report.metrics import Metrics
from ireasoner.trainer.report.timing import phases
from ireasoner.trainer.rollouts.group import Group
from ireasoner.trainer.run_folder.run_folder import CollapseMark
from ireasoner.trainer.settings import ROLES
from tests.trainer.synthetic_run import SyntheticRun

_VOID = frozenset({"meta", "img", "link", "br"})


class _Page(HTMLParser):
    """Text, tags and ids of a page; checks that every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.words.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)

    def values(self, attribute: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(attribute)) is not None]


def _read(path: Path) -> _Page:
    return _Page(path.read_text(encoding="utf-8"))


def _percent(share: float) -> str:
    """A share as a percentage with the digits that the terminal prints."""
    return f"{Decimal(f'{share:.3f}'):.1%}"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run, with an evaluation."""
    run = SyntheticRun(tmp_path_factory.mktemp("finished") / "grids-a", updates=48)
    run.write_updates(48)
    run.write_evaluation(before=0.4, after=0.65)
    return run.run.path


@pytest.fixture
def begun(tmp_path: Path) -> SyntheticRun:
    """A run that has written only its settings."""
    return SyntheticRun(tmp_path / "begun", updates=48)


def test_gives_accuracy_before_and_after_with_the_paired_interval(finished: Path) -> None:
    evaluation = json.loads((finished / "evaluation.json").read_text(encoding="utf-8"))
    text = _read(write_report(finished)).text
    before, after, gain = evaluation["before"]["greedy"], evaluation["after"]["greedy"], evaluation["gain"]
    assert f"{_percent(before['mean'])} → {_percent(after['mean'])}" in text
    low, mean, high = (f"{Decimal(f'{gain[name]:.3f}') * 100:+.1f}" for name in ("low", "mean", "high"))
    assert f"{mean} points 95% interval {low} to {high}" in text
    assert "Better: the whole interval" in text
    for name in ("sampled", "majority", "passed"):
        figures = evaluation["after"][name]
        mean, low, high = (_percent(figures[bound]) for bound in ("mean", "low", "high"))
        assert f"{mean} {low} to {high}" in text
    assert "maj@8" in text
    assert "pass@8" in text
    assert f"diagonal {_percent(evaluation['before']['by_kind']['diagonal']['greedy']['mean'])}" in text


def test_rounds_figures_as_the_terminal_does(begun: SyntheticRun) -> None:
    begun.write_evaluation(before=0.4, after=0.65)
    path = begun.run.path / "evaluation.json"
    evaluation = json.loads(path.read_text(encoding="utf-8"))
    greedy, gain = Interval(0.7975, 0.7225, 0.9625), Interval(0.2345, 0.1825, 0.2875)
    evaluation["after"]["greedy"], evaluation["gain"] = asdict(greedy), asdict(gain)
    path.write_text(json.dumps(evaluation), encoding="utf-8")
    text = _read(write_report(begun.run.path)).text
    assert str(greedy) == "0.797 [0.723, 0.963]"
    assert "79.7% 72.3% to 96.3%" in text
    mean, low, high = (f"{Decimal(figure) * 100:+.1f}" for figure in re.findall(r"[\d.]+", str(gain)))
    assert f"{mean} points 95% interval {low} to {high}" in text


def test_calls_a_gain_whose_interval_contains_zero_no_measurable_difference(begun: SyntheticRun) -> None:
    begun.write_updates(1)
    begun.write_evaluation(before=0.5, after=0.5)
    text = _read(write_report(begun.run.path)).text
    assert "No measurable difference" in text
    assert "Better" not in text


def test_is_one_file_with_every_plot_in_it(finished: Path) -> None:
    page = _read(write_report(finished))
    assert page.count("svg") == 13  # ten over updates, time, accuracy, accuracy by kind
    for title in ("Reward of the Solver", "Answer entropy", "KL coefficient", "Log-probability gap"):
        assert title in page.text
    assert "This run has logged none of these" not in page.text
    assert page.count("script") == page.count("link") == 0
    assert all(source.startswith("data:image/") for source in page.values("src"))
    assert all(target.startswith("#") for target in page.values("href") + page.values("xlink:href"))
    identifiers = page.values("id")
    assert len(identifiers) == len(set(identifiers))
    referred = {target[1:] for target in page.values("href") + page.values("xlink:href")}
    referred |= {found for clip in page.values("clip-path") for found in re.findall(r"url\(#(.*?)\)", clip)}
    assert referred <= set(identifiers)


def test_plots_take_their_colours_from_the_scheme(finished: Path) -> None:
    html = write_report(finished).read_text(encoding="utf-8")
    svg = html[html.index("<svg") : html.rindex("</svg>")]
    assert "stroke: var(--blue)" in svg
    assert not re.findall(r"(?:fill|stroke): #(?!ffffff)[0-9a-f]{6}", svg)


def test_shows_early_and_late_groups_with_image_steps_and_rewards(finished: Path) -> None:
    page = _read(write_report(finished))
    assert page.count("article") >= 6
    pictures = [source for source in page.values("src") if source.startswith("data:image/png;base64,")]
    assert len(pictures) == page.count("article")
    assert base64.b64decode(pictures[0].split(",")[1]).startswith(b"\x89PNG")
    groups = [
        json.loads(line) for line in (finished / "groups.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    tied = next(group for group in groups if group["role"] == "solver" and group["tie"])
    assert f"Solver tied update {tied['update'] + 1} {tied['question']}" in page.text
    assert "no answer, cut off at the token limit" in page.text
    assert "Proposals for this image" in page.text
    assert any("color-mix" in style and "--agree" in style for style in page.values("style"))


def test_counts_what_the_proposer_asks_early_and_late(finished: Path) -> None:
    page = _read(write_report(finished))
    groups = [
        json.loads(line) for line in (finished / "groups.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    late = [
        question
        for group in groups
        if group["update"] >= 36
        for question in (
            [group["question"]] if group["role"] == "solver" else [p["question"] for p in group["proposals"]]
        )
    ]
    corners = late.count("What is the sum of the corners?")
    assert (
        f"Late updates 37 to 48 {len(late)} proposals, {len({q for q in late if q})} distinct questions"
        in page.text
    )
    assert f"What is the sum of the corners? {corners} {_percent(corners / len(late))}" in page.text


@pytest.mark.parametrize("overlap", [False, True])
def test_phases_add_up_to_the_time_of_the_updates(tmp_path: Path, overlap: bool) -> None:
    run = SyntheticRun(tmp_path / "run", updates=12, overlap=overlap)
    run.write_updates(12)
    path = run.run.path / "metrics.jsonl"
    logged_s = dict.fromkeys(ROLES, 0.0)
    for line in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        role = line["role"]
        logged_s[role] += line[f"{role}/step_time"] + line[f"{role}/seconds/publish"]
    timed = phases(Metrics.read(path), overlap=overlap)
    for role in ROLES:
        assert sum(phase.seconds_by_role.get(role, 0.0) for phase in timed) == pytest.approx(logged_s[role])
    assert len({phase.colour for phase in timed}) == len(timed)
    text = _read(write_report(run.run.path)).text
    assert f"{sum(logged_s.values()) / 12:.2f} s per update" in text
    assert ("waiting for groups" in text) == overlap
    assert ("sampling rollouts" in text) != overlap


def test_counts_the_images_that_were_seen_not_those_in_the_folder(begun: SyntheticRun) -> None:
    groups = [begun.solver_group(0, 0.5) for _ in range(2)]
    for group in groups:
        begun.run.append_group({**group, "image": str(begun.images / "000.png")})
    assert len(list(begun.images.iterdir())) > 1
    assert "Images seen 1 from grids" in _read(write_report(begun.run.path)).text


def test_escapes_what_the_model_wrote(begun: SyntheticRun) -> None:
    evil = "</td><script>alert('x')</script><img src=http://example.invalid/a.png>"
    group = begun.solver_group(0, 0.5, question=evil)
    group["rollouts"][0].update(answer=evil, text=evil)
    group["rollouts"][0]["steps"] = [{"text": evil, "cosine": 0.9, "weight": 1.0}]
    group.update(dominant_answer=evil, image=str(begun.images / evil.replace("/", "_")))
    begun.run.append_group(group)
    proposals = begun.proposer_group(0, 0.5)
    proposals["proposals"][0].update(question=None, text=evil)
    begun.run.append_group(proposals)
    path = write_report(begun.run.path)
    page = _read(path)
    assert "<script" not in path.read_text(encoding="utf-8")
    assert page.text.count("alert('x')") >= 4
    assert all(source.startswith("data:") for source in page.values("src"))
    assert "image not found" in page.text


def test_shows_what_the_proposer_wrote_instead_of_a_question(begun: SyntheticRun) -> None:
    begun.write_updates(2)
    before = _read(write_report(begun.run.path)).text
    assert "a proposal without a question" in before
    unasked = Group(begun.images / "000.png", Image.new("RGB", (8, 8)))
    unasked.proposed_by, unasked.proposal = "proposer-000000", "I see <b>six</b> digits."
    asked = begun.solver_group(0, 0.5)
    common = {name: asked[name] for name in ("update", "role", "image", "progress")}
    changed: dict[str, Any] = {"question": None, "trained_on": [], "fingerprint": ""}
    begun.run.append_group({**common, **changed, **unasked.record_without_rollouts()})
    after = _read(write_report(begun.run.path)).text
    assert "I see <b>six</b> digits." in after
    assert "The proposal contains no question, so its group was left out" in after
    assert "1 proposals without a question" in after
    scored = re.compile(r"Groups (\d+) of \d+ rollouts")
    assert scored.findall(after) == scored.findall(before) != []


def test_describes_a_run_in_progress_without_an_evaluation(begun: SyntheticRun) -> None:
    begun.write_updates(3)
    with (begun.run.path / "groups.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"update": 3, "role": "sol')
    text = _read(write_report(begun.run.path)).text
    assert "3 of 48 updates have been logged: the run is still in progress" in text
    assert "No evaluation" in text
    assert "No update has trained the Proposer yet." in text
    assert "Not found in this half of the run" in text
    assert "not logged: Proposer" in text


def test_shows_true_answers_and_figures_of_a_run_with_labels(tmp_path: Path) -> None:
    run = SyntheticRun(tmp_path / "labelled", updates=2)
    settings = json.loads((run.run.path / "settings.json").read_text())
    (run.run.path / "settings.json").write_text(json.dumps({**settings, "labels": "questions.jsonl"}))
    run.run.append_group({**run.solver_group(0, 0.5), "shadow": {"truth": "4711"}})
    run.run.append_metrics({"update": 1, "role": "solver", "solver/shadow/pseudo_label_accuracy": 0.75})
    text = _read(write_report(run.run.path)).text
    assert "true answer 4711 (not used in training)" in text
    assert "Measured against labels dominant answer right 0.750" in text


def test_shows_signals_where_the_reward_reads_some(begun: SyntheticRun) -> None:
    """Their rewards are no shares: the plot of the reward is as high as they are."""
    assert "Signals" not in _read(write_report(begun.run.path)).text
    for update, certainty in ((1, 5.25), (2, 7.75)):
        logged = {"solver/signal/self_certainty": certainty, "solver/reward": certainty}
        begun.run.append_metrics({"update": update, "role": "solver", **logged})
    text = _read(write_report(begun.run.path)).text
    assert "Signals self-certainty 5.25 → 7.75" in text
    assert "not logged: token entropy" not in text
    assert "7.5" in text.partition("Reward of the Solver")[2].partition("Reward of the Proposer")[0]


def test_describes_a_run_that_has_logged_nothing(begun: SyntheticRun) -> None:
    page = _read(write_report(begun.run.path))
    assert "No update has been logged yet" in page.text
    assert "No question has been asked yet." in page.text
    assert "No group has been logged yet." in page.text
    assert page.count("svg") == 0


def test_says_that_a_proposer_is_not_trained(tmp_path: Path) -> None:
    run = SyntheticRun(tmp_path / "solver-only", updates=4, proposer_every=0)
    run.write_updates(4)
    text = _read(write_report(run.run.path)).text
    assert "No update has trained the Proposer, since proposer_every is 0." in text
    assert "still in progress" not in text


def test_marks_a_control_and_shows_what_it_trained_on(tmp_path: Path) -> None:
    run = SyntheticRun(tmp_path / "control", updates=4, control="random")
    run.write_updates(4)
    text = _read(write_report(run.run.path)).text
    assert "Control run. The policies were trained on random rewards" in text
    assert "trained on" in text


def test_warns_first_of_all_about_a_run_with_known_defects(finished: Path, begun: SyntheticRun) -> None:
    begun.write_updates(2)
    assert "nown to be wrong" not in _read(write_report(begun.run.path)).text
    path = begun.run.path / "settings.json"
    settings = json.loads(path.read_text())
    settings["reference_defects"] = {
        "frozen_proposer": True,
        "kl_to_itself": True,
        "no_image_in_gradient": False,
    }
    path.write_text(json.dumps(settings))
    page = _read(write_report(begun.run.path))
    assert "KNOWN WRONG: begun" in page.text
    notice = "Known to be wrong, on purpose. This run puts back frozen_proposer, kl_to_itself"
    assert page.text.index(notice) < page.text.index("Updates")
    assert "notice wrong" in page.values("class")
    both = _read(write_comparison(finished, begun.run.path)).text
    assert "B is known to be wrong, on purpose. It puts back frozen_proposer, kl_to_itself" in both
    assert "A is known to be wrong" not in both


def test_marks_the_onset_of_collapse(begun: SyntheticRun) -> None:
    begun.write_updates(2)
    mark = CollapseMark(update=31, signs={"dominant_share": "0.98 is above 0.97"}, checkpoint="checkpoint-30")
    (begun.run.path / "collapse.json").write_text(mark.model_dump_json())
    text = _read(write_report(begun.run.path)).text
    assert "Likely onset of collapse at update 31. dominant_share 0.98 is above 0.97." in text
    assert "checkpoint-30 is kept as checkpoints/before-collapse" in text
    (begun.run.path / "collapse.json").write_text("{}")
    with pytest.raises(RunFolderError, match="not a mark of collapse"):
        write_report(begun.run.path)


def test_warns_about_groups_that_were_scored_in_different_ways(begun: SyntheticRun) -> None:
    for fingerprint in ("aaaa1111", "bbbb2222"):
        begun.run.append_group({**begun.solver_group(0, 0.5), "fingerprint": fingerprint})
    text = _read(write_report(begun.run.path)).text
    assert "scored in 2 different ways" in text
    assert "aaaa1111" in text
    assert "bbbb2222" in text


def test_shows_settings_and_fingerprint(finished: Path) -> None:
    text = _read(write_report(finished)).text
    assert "grpo.learning_rate 0.001" in text
    assert "fingerprint 3f9c0a1be4d7 (192 groups)" in text


def test_names_the_line_that_cannot_be_read(begun: SyntheticRun) -> None:
    begun.write_updates(2)
    with (begun.run.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write("[1, 2]\n")
    with pytest.raises(RunFolderError, match=r"metrics\.jsonl, line 3: not a JSON object"):
        write_report(begun.run.path)


def test_refuses_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"contains no run: settings\.json is missing"):
        write_report(tmp_path)


def test_command_writes_to_the_given_output(finished: Path, tmp_path: Path) -> None:
    output = tmp_path / "elsewhere.html"
    main(["report", str(finished), "--output", str(output)])
    assert "grids-a" in _read(output).text


def test_command_prints_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(tmp_path)
    with pytest.raises(SystemExit):
        main(["report", str(tmp_path)])
    [line] = capsys.readouterr().err.splitlines()
    assert line == f"ireasoner report: {tmp_path} contains no run: settings.json is missing"


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a shorter control run, evaluated on the same questions as `finished`."""
    run = SyntheticRun(
        tmp_path_factory.mktemp("control") / "grids-b", updates=24, control="random", proposer_every=0, seed=1
    )
    run.write_updates(24)
    run.write_evaluation(before=0.4, after=0.42)
    return run.run.path


def test_shows_two_runs_side_by_side(control: Path, finished: Path) -> None:
    page = _read(write_comparison(control, finished))
    evaluations = [json.loads((f / "evaluation.json").read_text())["after"] for f in (control, finished)]
    gains = [float(b) - float(a) for a, b in zip(*(e["correct"] for e in evaluations), strict=True)]
    assert f"B minus A: {100 * sum(gains) / len(gains):+.1f} points".replace("-", "−") in page.text
    first, second = (evaluation["greedy"]["mean"] for evaluation in evaluations)
    assert f"{_percent(first)} and {_percent(second)}" in page.text
    assert "A is a control run." in page.text
    assert "reward.control random none" in page.text
    assert "updates 24 48" in page.text
    assert "grpo.learning_rate" not in page.text, "equal settings are left out"
    for title in ("Reward of the Solver: trajectory", "Answer entropy: Solver updates"):
        assert title in page.text
    assert "Proposer updates B" in page.text
    assert "not logged: A" in page.text
    assert page.count("article") >= 4
    identifiers = page.values("id")
    assert len(identifiers) == len(set(identifiers))


def test_runs_with_different_evaluation_questions_have_no_paired_interval(
    finished: Path, begun: SyntheticRun
) -> None:
    begun.write_updates(2)
    begun.write_evaluation(before=0.4, after=0.5, asked="other")
    text = _read(write_comparison(begun.run.path, finished)).text
    assert "The runs were evaluated on different questions" in text
    assert "95% interval" not in text


def test_names_the_function_whose_rewards_replaced_the_scores(begun: SyntheticRun, finished: Path) -> None:
    begun.write_updates(2)
    settings = json.loads((begun.run.path / "settings.json").read_text())
    settings["reward"]["function"] = "mine:short"
    (begun.run.path / "settings.json").write_text(json.dumps(settings))
    text = _read(write_report(begun.run.path)).text
    assert "trained on the rewards of mine:short , which replace" in text.replace("short,", "short ,")
    assert "trained on" in text
    assert "A has a reward of its own." in _read(write_comparison(begun.run.path, finished)).text


def test_two_runs_without_figures_can_be_compared(begun: SyntheticRun, tmp_path: Path) -> None:
    other = SyntheticRun(tmp_path / "other", updates=48)
    output = tmp_path / "both.html"
    main(["report", str(begun.run.path), str(other.run.path), "--output", str(output)])
    text = _read(output).text
    assert "not both runs were evaluated" in text
    assert "The two runs have the same settings." in text
    assert "Neither run has logged an update yet." in text
