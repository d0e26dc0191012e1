"""The training loop has none of the released code's defects 1 to 7 and 14.

Each defect has one check. It must find nothing in our loop, and must report the defect where it is put back: by its
switch in `replication`, or by hand where no run has it (a resume that loses adapters, one rollout at a time).
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from transformers import TrainerCallback
from trl.trainer.utils import use_adapter

from ireasoner.trainer.adapters.publisher import AdapterPublisher
from ireasoner.trainer.errors import AdapterError, SettingsError
from ireasoner.trainer.loop.assembly import Assembly
from ireasoner.trainer.loop.collector import Collector
from ireasoner.trainer.loop.sampler import Policies
from ireasoner.trainer.loop.trainer import ProposerSolverTrainer
from ireasoner.trainer.rollouts.rollout import Rollout, RolloutRequest
from ireasoner.trainer.run_folder.run_folder import RunFolder, read_lines
from ireasoner.trainer.settings import Role, RunSettings, read_toml
from ireasoner.trainer.worlds.digit_grids.folders import write_unlabelled
from replication.released_code import main
from replication.released_code_loop import ReleasedCodeAssembly, train_with_defects
from replication.released_code_settings import ReferenceDefects, ReleasedCodeSettings
from tests.conftest import MODEL
from tests.trainer.offline import (
    Gradients,
    OfflineRewards,
    OfflineRollouts,
    Script,
    answers,
    backbone_of,
    disturb,
    offline_settings,
    offline_trainer,
    reasoning,
    token_logprobs,
)

pytestmark = pytest.mark.timeout(300)

SPREAD = (1, 2, 4, 9)
CONFIG = Path(__file__).resolve().parents[2] / "configs" / "reference-faithful.toml"


def settings_of(folder: Path, defects: dict[str, bool], **fields: Any) -> RunSettings:
    """Our own settings without defects, those of the released code with some."""
    if not defects:
        return offline_settings(folder, **fields)
    if defects.get("one_moving_baseline"):
        fields["advantage"] = "moving_baseline"
    return offline_settings(folder, ReleasedCodeSettings, reference_defects=defects, **fields)


def assembly_of(settings: RunSettings) -> type[Assembly]:
    return ReleasedCodeAssembly if isinstance(settings, ReleasedCodeSettings) else Assembly


class Ran:
    """A short run with some defects put back, and what it leaves."""

    def __init__(
        self,
        folder: Path,
        defects: dict[str, bool],
        script: Script,
        callbacks: Sequence[TrainerCallback] = (),
        **fields: Any,
    ) -> None:
        self.settings = settings_of(folder, defects, **fields)
        self.rollouts = OfflineRollouts(script)
        self.rewards = OfflineRewards()
        self.trainer = offline_trainer(
            self.settings, self.rollouts, callbacks, self.rewards, assembly=assembly_of(self.settings)
        )
        disturb(self.trainer.model)
        self.trainer.go()

    @property
    def metrics(self) -> list[dict[str, Any]]:
        return list(read_lines(self.settings.run_folder / "metrics.jsonl"))

    @property
    def sampled(self) -> list[Rollout]:
        """The rollouts of the last update."""
        return [rollout for group in self.trainer.groups for rollout in group.rollouts]


Check = Callable[[Path, dict[str, bool]], str | None]
"""Runs the loop with these defects put back; returns what is wrong, or None."""


def the_proposer_moves(folder: Path, defects: dict[str, bool]) -> str | None:
    """Defect 1."""
    weights: list[dict[str, torch.Tensor]] = []

    class Weights(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **kwargs: Any) -> None:
            weights.append(
                {n: p.detach().clone() for n, p in kwargs["model"].named_parameters() if ".proposer." in n}
            )

    def say(policy: str, request: int, member: int) -> str:
        """Four questions, of which the Solver's answers earn different rewards."""
        asked = f"<question>What is the sum of row {member + 1}?</question>"
        return asked if "proposer" in policy else reasoning((request + member) % 10)

    Ran(folder, defects, say, [Weights()], updates=2, proposer_every=1)
    [before, after] = weights
    moved = max((after[name] - before[name]).abs().max().item() for name in before)
    return None if moved > 1e-5 else f"an update of the Proposer moved it by {moved}"


def kl_is_to_the_base_model(folder: Path, defects: dict[str, bool]) -> str | None:
    """Defect 2: the logged KL equals the one computed by hand, one rollout at a time."""
    ran = Ran(folder, defects, answers(SPREAD))
    [group] = ran.trainer.groups
    inputs = ran.trainer.processing_class(images=[group.picture], text=["x"], return_tensors="pt")
    total, tokens = 0.0, 0
    for rollout in group.rollouts:
        prompt = torch.tensor(rollout.prompt_token_ids)
        with use_adapter(ran.trainer.model, None):
            reference = token_logprobs(
                ran.trainer.model.eval(),
                prompt,
                torch.tensor(rollout.token_ids),
                pixel_values=inputs["pixel_values"],
                image_grid_thw=inputs["image_grid_thw"],
                mm_token_type_ids=(prompt == ran.trainer.model.config.image_token_id).long()[None],
            )
        difference = reference - torch.tensor(rollout.logprobs)
        total += (difference.exp() - difference - 1).sum().item()
        tokens += len(rollout.token_ids)
    shown = ran.metrics[0]["solver/kl"]
    assert total / tokens > 1e-3
    return (
        None if shown == pytest.approx(total / tokens, rel=0.01) else f"KL is {total / tokens}, not {shown}"
    )


def the_loss_sees_the_image(folder: Path, defects: dict[str, bool]) -> str | None:
    """Defect 3."""
    ran = Ran(folder, defects, answers(SPREAD))
    [inputs] = ran.trainer.micro_batches
    own, other = (
        ran.trainer.policy_loss(ran.trainer.model, ran.trainer.compared({**inputs, "pixel_values": pixels}))
        for pixels in (inputs["pixel_values"], inputs["pixel_values"].flip(0))
    )
    return None if abs(own - other) > 1e-7 else "another image gives the same loss"


def a_resumed_run_goes_on_as_it_was(folder: Path, defects: dict[str, bool]) -> str | None:
    """Defect 4: a run stopped after its first update ends like one that was not, with lambda's schedule."""

    class Stop(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, _args: Any, _state: Any, control: Any, **_: Any) -> None:
            control.should_training_stop = True

    def run(name: str, callbacks: Sequence[TrainerCallback] = (), **fields: Any) -> ProposerSolverTrainer:
        settings = settings_of(folder / name, defects, updates=3, save_every=1, **fields)
        rollouts = OfflineRollouts(answers(SPREAD))
        trainer = offline_trainer(settings, rollouts, callbacks, assembly=assembly_of(settings))
        trainer.go()
        return trainer

    whole = run("whole")
    run("stopped", [Stop()])
    resumed = run("stopped", resume=True)
    pairs = zip(whole.model.named_parameters(), resumed.model.named_parameters(), strict=True)
    differing = [name for (name, one), (_, other) in pairs if not torch.equal(one, other)]
    clocks = [
        [line["solver/progress"] for line in read_lines(trainer.run.path / "metrics.jsonl")]
        for trainer in (whole, resumed)
    ]
    if differing:
        return f"{len(differing)} weights differ"
    return None if clocks == [[0.0, 0.5, 1.0]] * 2 else f"the lambda schedule was {clocks}"


def what_was_sampled_is_trained(folder: Path, defects: dict[str, bool]) -> str | None:
    """Defect 5: the same token ids, with the end of the sequence."""
    ran = Ran(folder, defects, answers(SPREAD))
    [inputs] = ran.trainer.micro_batches
    trained = [
        tuple(ids[mask.bool()].tolist())
        for ids, mask in zip(inputs["completion_ids"], inputs["completion_mask"], strict=True)
    ]
    sampled = [rollout.token_ids for rollout in ran.sampled]
    eos = ran.trainer.processing_class.tokenizer.eos_token_id
    assert all(ids[-1] == eos for ids in sampled)
    return None if trained == sampled else f"{sampled[0]} was trained as {trained[0]}"


def no_default_of_the_checkpoint_shapes_sampling(folder: Path, defects: dict[str, bool]) -> str | None:
    """Defect 5: `generation_config` of the published checkpoints has a top_k and a repetition penalty."""
    settings = settings_of(folder, defects)
    rollouts = OfflineRollouts(answers(SPREAD))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.trainer.offline.backbone_of", backbone_with_sampling_defaults)
        offline_trainer(settings, rollouts, assembly=assembly_of(settings)).go()
    asked = {(contract.top_k, contract.repetition_penalty) for contract in rollouts.contracts}
    return None if asked == {(-1, 1.0)} else f"top_k and repetition penalty were {asked}"


def backbone_with_sampling_defaults(model: str) -> Any:
    backbone = backbone_of(model)
    backbone.generation_config.top_k = 1
    backbone.generation_config.repetition_penalty = 1.05
    return backbone


def advantages_do_not_depend_on_order(folder: Path, defects: dict[str, bool]) -> str | None:
    """Defect 6."""
    by_answer = []
    for name, order in (("one", SPREAD), ("other", SPREAD[::-1])):
        ran = Ran(folder / name, defects, answers(order))
        [inputs] = ran.trainer.micro_batches
        by_answer.append(dict(zip(order, inputs["advantages"].tolist(), strict=True)))
    same = by_answer[0] == pytest.approx(by_answer[1], abs=1e-6)
    return None if same else f"the order of rollouts makes {by_answer[0]} of {by_answer[1]}"


def adapters_are_on_the_language_model(folder: Path, defects: dict[str, bool]) -> str | None:
    """Defect 7: in training, and in what is published."""
    ran = Ran(folder, defects, answers(SPREAD))
    trained = [name for name, p in ran.trainer.model.named_parameters() if "lora_" in name or p.requires_grad]
    outside = [name for name in trained if ".language_model." not in name]
    return f"{outside[0]} is trained" if outside else None


def a_group_is_one_request_and_an_update_one_step(folder: Path, defects: dict[str, bool]) -> str | None:
    """Defect 14: all groups are sampled together, posted together, and trained in one pass and one step."""
    gradients = Gradients()
    ran = Ran(folder, defects, answers(SPREAD, SPREAD), [gradients], groups_per_update=2)
    asked = [
        [request.count for request in requests]
        for policy, requests in ran.rollouts.calls
        if "solver" in policy
    ]
    seen = (asked, ran.rewards.posts, len(ran.trainer.micro_batches), len(gradients.updates))
    return None if seen == ([[4, 4]], [2], 1, 1) else f"requests, posts, passes and steps were {seen}"


SWITCHED: list[tuple[Check, str]] = [
    (the_proposer_moves, "frozen_proposer"),
    (kl_is_to_the_base_model, "kl_to_itself"),
    (the_loss_sees_the_image, "no_image_in_gradient"),
    (what_was_sampled_is_trained, "retokenised_completions"),
    (no_default_of_the_checkpoint_shapes_sampling, "checkpoint_sampling_defaults"),
    (advantages_do_not_depend_on_order, "one_moving_baseline"),
    (adapters_are_on_the_language_model, "adapters_on_vision_tower"),
]


@pytest.mark.parametrize(("check", "switch"), SWITCHED, ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.slow
def test_the_check_passes_our_loop_and_finds_the_defect_that_is_put_back(
    tmp_path: Path, check: Check, switch: str
) -> None:
    assert check(tmp_path / "ours", {}) is None
    fault = check(tmp_path / "put_back", {switch: True})
    assert fault is not None
    print(f"{switch}: {fault}")


def test_every_switch_has_a_check() -> None:
    assert {switch for _, switch in SWITCHED} == set(ReferenceDefects.model_fields)


@pytest.mark.slow
def test_a_resume_keeps_both_adapters_and_the_lambda_schedule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert a_resumed_run_goes_on_as_it_was(tmp_path / "ours", {}) is None
    monkeypatch.setattr(ProposerSolverTrainer, "read_weights", lambda *_, **__: None)
    assert "weights differ" in str(a_resumed_run_goes_on_as_it_was(tmp_path / "put_back", {}))


def test_a_lambda_schedule_that_restarts_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = ProposerSolverTrainer.go

    def start_again(self: ProposerSolverTrainer) -> None:
        if self.settings.resume:
            whole = RunSettings.progress_at
            monkeypatch.setattr(RunSettings, "progress_at", lambda one, update: whole(one, update - 1))
        go(self)

    monkeypatch.setattr(ProposerSolverTrainer, "go", start_again)
    assert "the lambda schedule" in str(a_resumed_run_goes_on_as_it_was(tmp_path, {}))


def test_rollouts_are_not_handled_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert a_group_is_one_request_and_an_update_one_step(tmp_path / "ours", {}) is None

    def one_at_a_time(
        self: Collector, role: Role, policies: Policies, requests: Sequence[RolloutRequest]
    ) -> list[list[Rollout]]:
        contract = self._contracts[role]
        return [self._sampler.sample(policies[role], [request], contract)[0] for request in requests]

    monkeypatch.setattr(Collector, "_sample", one_at_a_time)
    assert "[[4], [4]]" in str(a_group_is_one_request_and_an_update_one_step(tmp_path / "put_back", {}))


def test_a_vision_adapter_is_refused_unless_it_is_the_defect(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, {"adapters_on_vision_tower": True})
    rollouts: Any = OfflineRollouts(answers(SPREAD))
    trainer = offline_trainer(settings, rollouts, assembly=ReleasedCodeAssembly)
    trainer.publisher = AdapterPublisher(rollouts, tmp_path / "adapters")
    with pytest.raises(AdapterError, match="outside the language model"):
        trainer.publish("solver")


def test_an_order_dependent_baseline_is_restored_after_a_resume(tmp_path: Path) -> None:
    """Defects are part of the experiment: a run with them resumes as exactly as one without."""
    assert a_resumed_run_goes_on_as_it_was(tmp_path, {"one_moving_baseline": True}) is None


@pytest.mark.vllm
@pytest.mark.timeout(600)
@pytest.mark.slow
def test_a_run_with_every_defect_says_so(reward_url: str, rollout_url: str, tmp_path: Path) -> None:
    said = StringIO()
    switches = dict.fromkeys(ReferenceDefects.model_fields, True)
    settings = settings_of(
        tmp_path,
        switches,
        updates=2,
        proposer_every=1,
        reward={"url": reward_url},
        rollout={"url": rollout_url, "solver_max_tokens": 48, "proposer_max_tokens": 24},
    )
    run = train_with_defects(settings, Console(file=said, width=500))
    assert f"WRONG ON PURPOSE: this run puts back {', '.join(switches)}" in said.getvalue()
    for line in read_lines(run.path / "metrics.jsonl"):
        assert line[f"{line['role']}/reference_defects"] == len(switches)


def test_the_committed_config_puts_every_defect_back() -> None:
    settings = ReleasedCodeSettings(images="i", run_folder="r", **read_toml(CONFIG))
    assert settings.reference_defects.put_back == list(ReferenceDefects.model_fields)


def test_an_order_dependent_baseline_needs_the_moving_baseline(
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = ["--model", "m", "--images", "i", "--run-folder", "r", "--reference-defects.one-moving-baseline"]
    with pytest.raises(SystemExit) as ended:
        main(flags)
    assert ended.value.code == 2
    assert 'needs advantage = "moving_baseline"' in " ".join(capsys.readouterr().err.split())


def test_an_ablation_runs_in_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    settings = settings_of(tmp_path, {"kl_to_itself": True})
    with pytest.raises(SettingsError, match="runs in one process"):
        train_with_defects(settings, Console(quiet=True))


def test_defects_that_differ_are_another_experiment(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, {"kl_to_itself": True})
    RunFolder(settings)
    with pytest.raises(SettingsError, match="reference_defects"):
        RunFolder(settings_of(tmp_path, {"frozen_proposer": True}, resume=True))


def test_the_command_describes_each_defect() -> None:
    """In a process of its own, where nothing has prepared the imports of torch."""
    command = [sys.executable, "-P", "-m", "replication.released_code", "--help"]
    environment = {**os.environ, "PYTHONPATH": str(CONFIG.parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    for name in ReferenceDefects.model_fields:
        assert f"--reference-defects.{name.replace('_', '-')}" in done.stdout


@pytest.mark.slow
def test_the_command_reports_an_error_of_the_loop(tmp_path: Path) -> None:
    flags = [
        "--model",
        str(tmp_path),
        "--images",
        str(tmp_path / "none"),
        "--run-folder",
        str(tmp_path / "run"),
    ]
    command = [sys.executable, "-P", "-m", "replication.released_code", *flags]
    environment = {**os.environ, "PYTHONPATH": str(CONFIG.parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=250, check=False)
    assert done.returncode == 2, done.stderr
    assert "images: there is no folder or file" in done.stderr


def test_the_committed_config_can_be_planned_with_adapters_on_both_towers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(MODEL / "config.json", tmp_path)
    write_unlabelled(tmp_path / "images", 1, seed=3)
    given = [
        "--model",
        str(tmp_path),
        "--images",
        str(tmp_path / "images"),
        "--run-folder",
        str(tmp_path / "run"),
    ]
    trained = []
    for tower in (
        "--reference-defects.adapters-on-vision-tower",
        "--no-reference-defects.adapters-on-vision-tower",
    ):
        main(["--config", str(CONFIG), *given, "--dry-run", tower])
        shown = " ".join(capsys.readouterr().out.split())
        assert "total memory, estimated" in shown
        assert "GiB on each, estimated" in shown
        [count] = re.findall(r"parameters of an adapter \W*([\d,]+)", shown)
        trained.append(int(count.replace(",", "")))
    assert trained[0] > trained[1]
    assert not (tmp_path / "run").exists()
