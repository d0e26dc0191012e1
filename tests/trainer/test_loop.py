"""The loop on real parts: vLLM, the reward server, TRL, the tiny model and images of handwriting."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import PeftModel
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import TrainerCallback

from ireasoner.trainer.adapters.backbone import load_backbone, load_processor, placeholder_token_ids
from ireasoner.trainer.loop.train import train
from ireasoner.trainer.loop.trainer import ProposerSolverTrainer
from ireasoner.trainer.report import write_report
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.prompts import solver_messages, text_of
from ireasoner.trainer.run_folder.run_folder import RunFolder, read_lines
from ireasoner.trainer.settings import ROLES, RunSettings
from ireasoner.trainer.worlds.digit_grids.folders import write_unlabelled
from tests.conftest import MODEL
from tests.trainer.offline import token_logprobs

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

Snapshot = dict[str, torch.Tensor]


class Recorder(TrainerCallback):  # type: ignore[misc]
    """Keeps the adapters' weights before and after each update, and the inputs and loss of each micro-batch."""

    def __init__(self) -> None:
        self.weights: list[Snapshot] = []
        self.batches: list[tuple[int, dict[str, Any]]] = []
        self.losses: list[tuple[float, float, float]] = []

    def on_train_begin(self, *_: Any, **kwargs: Any) -> None:
        self.weights.append(snapshot(kwargs["model"]))

    def on_step_end(self, *_: Any, **kwargs: Any) -> None:
        self.weights.append(snapshot(kwargs["model"]))


def snapshot(model: PeftModel) -> Snapshot:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


class Recorded:
    """A short run and its recording: updates 0 and 2 train the Solver, 1 and 3 the Proposer."""

    def __init__(self, settings: RunSettings, run: RunFolder, recorder: Recorder) -> None:
        self.settings = settings
        self.run = run
        self.recorder = recorder
        self.metrics = list(read_lines(run.path / "metrics.jsonl"))
        self.groups = list(read_lines(run.path / "groups.jsonl"))


@pytest.fixture(scope="module")
def recorded(reward_url: str, rollout_url: str, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp("loop")
    write_unlabelled(folder / "images", 12, seed=3)
    settings = RunSettings(
        model=str(MODEL),
        images=folder / "images",
        run_folder=folder / "run",
        updates=4,
        proposer_every=1,
        group_size=4,
        groups_per_update=3,
        micro_batch_size=6,
        cpu_threads=1,
        lora={"dropout": 0.0},
        kl={"mode": "fixed", "beta": 0.04},
        reward={"url": reward_url},
        rollout={"url": rollout_url, "solver_max_tokens": 64, "proposer_max_tokens": 24},
        labels="ireasoner.trainer.worlds.digit_grids.labels:answer",
        grpo={"learning_rate": 3e-3, "log_completions": True, "num_completions_to_print": 1},
    )
    recorder = Recorder()
    original = ProposerSolverTrainer.policy_loss

    def compute_loss(self: ProposerSolverTrainer, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        if not inputs:  # nothing is left to train
            return original(self, model, inputs)
        kept = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in inputs.items()}
        recorder.batches.append((self.state.global_step, kept))
        loss = original(self, model, inputs)
        with torch.no_grad():
            metrics = {name: list(values) for name, values in self.metrics.items()}
            same = original(self, model, inputs)
            other = original(self, model, {**inputs, "pixel_values": inputs["pixel_values"].flip(0)})
            recorder.losses.append((loss.item(), same.item(), other.item()))
            self.metrics.clear()
            self.metrics.update(metrics)
        return loss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ProposerSolverTrainer, "policy_loss", compute_loss)
        run = train(settings, Console(quiet=True), callbacks=[recorder])
    return Recorded(settings, run, recorder)


def moved(before: Snapshot, after: Snapshot, belongs: Callable[[str], bool]) -> float:
    """The largest change of a parameter whose name `belongs`."""
    changes = [(after[name] - before[name]).abs().max().item() for name in before if belongs(name)]
    assert changes, "no such parameter"
    return max(changes)


@pytest.mark.parametrize(("update", "role"), [(0, "solver"), (1, "proposer"), (2, "solver"), (3, "proposer")])
def test_an_update_moves_the_adapter_of_its_role_and_nothing_else(
    recorded: Recorded, update: int, role: str
) -> None:
    before, after = recorded.recorder.weights[update], recorded.recorder.weights[update + 1]
    assert moved(before, after, lambda name: f".{role}." in name) > 1e-5
    assert moved(before, after, lambda name: f".{role}." not in name) == 0.0


def test_the_loss_sees_the_image(recorded: Recorded) -> None:
    assert recorded.recorder.losses
    for own, same, other in recorded.recorder.losses:
        assert own == same
        assert abs(own - other) > 1e-7


def test_what_is_trained_is_what_was_sampled(recorded: Recorded) -> None:
    """The batch holds the token ids of groups.jsonl, each with its end-of-sequence token."""
    tokenizer = load_processor(str(MODEL)).tokenizer
    for update in (0, 2):
        trained = []
        for step, batch in recorded.recorder.batches:
            if step == update:
                for ids, mask in zip(batch["completion_ids"], batch["completion_mask"], strict=True):
                    trained.append(tuple(ids[mask.bool()].tolist()))
        groups = [group for group in recorded.groups if group["update"] == update]
        sampled = [
            rollout
            for group in groups
            if group["has_spread"]
            for rollout, reward in zip(group["rollouts"], group["trained_on"], strict=True)
            if reward is not None
        ]
        assert sorted(trained) == sorted(tuple(rollout["token_ids"]) for rollout in sampled)
        ended = [rollout for rollout in sampled if rollout["finish_reason"] == "stop"]
        assert ended
        assert all(rollout["token_ids"][-1] == tokenizer.eos_token_id for rollout in ended)
        assert all(
            tokenizer.decode(rollout["token_ids"], skip_special_tokens=True) == rollout["text"]
            for rollout in sampled
        )


def test_image_placeholders_are_never_sampled(recorded: Recorded) -> None:
    forbidden = set(placeholder_token_ids(load_backbone(str(MODEL), "float32").config))
    assert forbidden
    for _, batch in recorded.recorder.batches:
        assert not forbidden & set(batch["completion_ids"].flatten().tolist())


def test_sampled_and_recomputed_log_probabilities_agree(recorded: Recorded) -> None:
    for line in recorded.metrics:
        assert line[f"{line['role']}/logprob_gap/mean"] < 1e-3


def test_reported_kl_is_the_kl_to_the_base_model(recorded: Recorded) -> None:
    """Recomputed from the checkpoint on disk and the recorded weights, one rollout at a time, without padding."""
    update = 2
    base = load_backbone(str(MODEL), "float32").eval()
    policy = load_backbone(str(MODEL), "float32").eval()
    merge_adapter(policy, recorded.recorder.weights[update], "solver", recorded.settings)
    total, tokens = 0.0, 0
    for step, batch in recorded.recorder.batches:
        if step != update:
            continue
        patches = batch["image_grid_thw"].prod(dim=-1).tolist()
        pixels = batch["pixel_values"].split(patches)
        for row in range(len(batch["completion_ids"])):
            prompt = batch["prompt_ids"][row][batch["prompt_mask"][row].bool()]
            completion = batch["completion_ids"][row][batch["completion_mask"][row].bool()]
            one = [
                token_logprobs(
                    m,
                    prompt,
                    completion,
                    pixel_values=pixels[row],
                    image_grid_thw=batch["image_grid_thw"][row][None],
                    mm_token_type_ids=(prompt == base.config.image_token_id).long()[None],
                )
                for m in (base, policy)
            ]
            difference = one[0] - one[1]
            total += (difference.exp() - difference - 1).sum().item()
            tokens += len(completion)
    reported = next(line for line in recorded.metrics if line["update"] == update + 1)["solver/kl"]
    assert total / tokens > 1e-7
    assert reported == pytest.approx(total / tokens, rel=0.02)


def merge_adapter(model: Any, weights: Snapshot, role: str, settings: RunSettings) -> None:
    """Adds scale B A of the recorded adapter to the base weights, by hand."""
    scale = settings.lora.alpha / settings.lora.r
    own = dict(model.named_parameters())
    for name, a in weights.items():
        if name.endswith(f"lora_A.{role}.weight"):
            b = weights[name.replace("lora_A", "lora_B")]
            target = name.removeprefix("base_model.model.").replace(f".lora_A.{role}", "")
            with torch.no_grad():
                own[target] += scale * b @ a


def test_the_run_folder_holds_everything(recorded: Recorded) -> None:
    path = recorded.run.path
    assert json.loads((path / "settings.json").read_text())["updates"] == 4
    assert [(line["update"], line["role"]) for line in recorded.metrics] == [
        (1, "solver"),
        (2, "proposer"),
        (3, "solver"),
        (4, "proposer"),
    ]
    assert all(math.isfinite(v) for line in recorded.metrics for v in line.values() if isinstance(v, float))
    assert len(recorded.groups) == 4 * recorded.settings.groups_per_update
    policies = {rollout["policy"] for g in recorded.groups if g["update"] == 2 for rollout in g["rollouts"]}
    assert [name.endswith("-solver-000001") for name in policies] == [True]
    assert all(group["sampling"]["temperature"] == 1.0 for group in recorded.groups)
    assert all(group["sampling"]["top_k"] == -1 for group in recorded.groups)
    for role in ROLES:
        assert (path / "final" / role / "adapter_model.safetensors").exists()
    assert list((path / "tensorboard").glob("events.*"))


LOGGED = {
    "solver": (
        "outcome", "trajectory", "progress", "invalid_rate", "abstain_rate", "steps", "shadow/pseudo_label_accuracy",
        "shadow/labelled_share", "shadow/rollout_accuracy", "shadow/pass_at_n",
    ),
    "proposer": (),
    "both": (
        "loss", "reward", "rewards/agreement/mean", "frac_reward_zero_std", "entropy", "kl", "kl_coefficient",
        "answer_entropy_nats", "dominant_share", "tie_rate", "proposer_reward",
        "proposals_without_question", "questions_distinct", "questions_near_duplicate",
        "completions/mean_length", "logprob_gap/mean", "logprob_gap/max", "staleness/mean", "staleness/max",
        "no_spread_rate", "no_reward_rate",
        "time_share/propose", "time_share/roll_out", "time_share/score", "time_share/train", "time_share/publish",
        "seconds/roll_out", "seconds/score", "seconds/publish", "step_time",
    ),
}  # fmt: skip


def test_every_metric_reaches_the_tracker(recorded: Recorded) -> None:
    """TensorBoard's file, read back, holds what docs/training.md lists, with the values of metrics.jsonl."""
    events = EventAccumulator(str(recorded.run.path / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    listed = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    by_update = {line["update"]: line for line in recorded.metrics}
    for role in ROLES:
        for name in (*LOGGED["both"], *LOGGED[role]):
            assert f"`{name}`" in listed, f"{name} is not in docs/training.md"
            scalars = events.Scalars(f"train/{role}/{name}")
            assert {scalar.step for scalar in scalars} == ({1, 3} if role == "solver" else {2, 4})
            for scalar in scalars:
                assert scalar.value == pytest.approx(
                    by_update[scalar.step][f"{role}/{name}"], rel=1e-5, abs=1e-8
                )


def test_time_shares_add_up_and_rollouts_are_of_the_newest_version(recorded: Recorded) -> None:
    for line in recorded.metrics:
        shares = {name: value for name, value in line.items() if "/time_share/" in name}
        assert len(shares) == 5
        assert sum(shares.values()) == pytest.approx(1.0)
        assert shares[f"{line['role']}/time_share/train"] > 0
        assert line[f"{line['role']}/staleness/max"] == 0


def test_groups_are_kept_as_tables(recorded: Recorded, tmp_path: Path) -> None:
    tables = sorted((recorded.run.checkpoints / "completions").glob("*.parquet"))
    assert len(tables) == 4
    table = Dataset.from_parquet(str(tables[0]), cache_dir=str(tmp_path)).to_dict()
    groups = [group for group in recorded.groups if group["update"] == 0]
    trained_on = [reward for group in groups for reward in group["trained_on"]]
    assert table["agreement"] == pytest.approx(trained_on, rel=1e-6, nan_ok=True)
    assert all(isinstance(advantage, float) for advantage in table["advantage"])
    texts = [rollout["text"] for group in groups for rollout in group["rollouts"]]
    assert table["completion"] == texts
    for group, prompt in zip(groups, table["prompt"][:: recorded.settings.group_size], strict=True):
        assert prompt == text_of(solver_messages(group["question"])), (
            "as text: trackers' tables hold nothing else"
        )


def test_rewards_are_the_reward_servers(recorded: Recorded) -> None:
    """The Solver is trained on outcome and trajectory with the scheduled weight; the Proposer on entropy."""
    for group in recorded.groups:
        if group["role"] == "solver":
            # lambda(t) is 0 up to t = 0.3, then linear to 0.7 at t = 1; of 4 updates, update 2 is at t = 2/3.
            step_weight = {0: 0.0, 2: 0.7 * (2 / 3 - 0.3) / 0.7}[group["update"]]
            for reward, rollout in zip(group["trained_on"], group["rollouts"], strict=True):
                mixed = (1 - step_weight) * rollout["outcome"] + step_weight * rollout["trajectory"]
                assert reward == pytest.approx(mixed, abs=1e-9)
        else:
            for reward, proposal in zip(group["trained_on"], group["proposals"], strict=True):
                if proposal["question"] is None:
                    assert reward == 0.0
                else:
                    entropy_nats = proposal["entropy_nats"]
                    assert reward == pytest.approx(math.exp(-((entropy_nats - 0.9) ** 2) / (2 * 0.35**2)))


def test_the_report_reads_what_the_loop_writes(recorded: Recorded) -> None:
    page = write_report(recorded.run.path).read_text(encoding="utf-8")
    assert "Nothing of this has been logged" not in page
    assert "not logged:" not in page
    assert "image not found" not in page
    assert page.count("<svg") == 12  # eleven over updates, and the time
    assert 'class="tag solver"' in page
    assert 'class="tag proposer"' in page


def test_a_server_that_lost_the_adapters_gets_them_back(
    reward_url: str, rollout_url: str, tmp_path: Path
) -> None:
    """As after a restart of the server: its adapters are gone, and the run continues with the same versions."""
    write_unlabelled(tmp_path / "images", 4, seed=3)
    lost: list[str] = []

    class Restart(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.lose_all()

        def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
            self.lose_all()

        def lose_all(self) -> None:
            client = RolloutClient(rollout_url, retry_budget_s=5)
            for name in client.models()[1:]:
                client.unload_adapter(name)
                lost.append(name)
            client.close()

    settings = RunSettings(
        model=str(MODEL),
        images=tmp_path / "images",
        run_folder=tmp_path / "run",
        updates=2,
        proposer_every=0,
        group_size=2,
        groups_per_update=1,
        cpu_threads=1,
        lora={"dropout": 0.0},
        reward={"url": reward_url, "control": "random"},  # so that every update has something to learn
        rollout={"url": rollout_url, "solver_max_tokens": 48, "proposer_max_tokens": 24},
    )
    run = train(settings, Console(quiet=True), callbacks=[Restart()])
    assert len(lost) == 7, "both adapters, both again, then the new Solver alone, then both"
    policies = [group["rollouts"][0]["policy"] for group in read_lines(run.path / "groups.jsonl")]
    assert [name[-6:] for name in policies] == ["000000", "000001"]
