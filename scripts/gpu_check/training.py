"""One part of the check, in a process of its own: some updates of a policy by the real trainer.

`python -m scripts.gpu_check.training JOB`, with a job as JSON; the last line that it prints is the result.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from pydantic import BaseModel
from rich.console import Console
from transformers import AutoModelForImageTextToText, GenerationConfig, TrainerCallback

from ireasoner.trainer.adapters.backbone import load_backbone, load_config, load_processor
from ireasoner.trainer.commands.image_plan import image_plan
from ireasoner.trainer.commands.memory_plan import memory_plan
from ireasoner.trainer.images import ImageFolder
from ireasoner.trainer.loop.assembly import Assembly
from ireasoner.trainer.loop.role_schedule import groups_at
from ireasoner.trainer.rewards.group_scorer import GroupScorer
from ireasoner.trainer.rewards.shadow_labels import ShadowLabels
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.run_folder.run_folder import RunFolder, read_lines
from ireasoner.trainer.settings import RunSettings
from scripts.gpu_check.rollouts import DrawnRewards, PolicyRollouts

_GIB = 2**30


class Job(BaseModel):
    """What a part trains.

    Attributes:
        model: Folder of the model.
        random_weights: Whether the folder has no weights.
        images: Folder of images.
        run_folder: Folder of the run, which must be new.
        device: `cuda` or `cpu`.
        dtype: Precision of the backbone.
        updates: Updates; the last one is the Proposer's if there are two or more.
        group_size: Rollouts per group.
        groups: Groups per update.
        micro_batch: Rollouts per forward and backward pass.
        max_tokens: Most tokens of a rollout.
        scripted: Whether the texts are fixed, so that they do not depend on the device.
        optim: The optimizer. The step of SGD is in proportion to the gradient, so two devices can be compared.
        learning_rate: Its learning rate.
        server: Address of a rollout server; None: transformers samples, in this process.
    """

    model: Path
    images: Path
    run_folder: Path
    device: str
    dtype: str = "float32"
    random_weights: bool = False
    updates: int = 2
    group_size: int = 4
    groups: int = 2
    micro_batch: int = 4
    max_tokens: int = 128
    scripted: bool = True
    optim: str = "adamw_torch"
    learning_rate: float = 1e-5
    server: str | None = None


class Steps(TrainerCallback):  # type: ignore[misc]
    """Measures each update up to the optimizer's step, with its rollouts.

    Attributes:
        measured: Seconds and the peak of the GPU's memory, in GiB, of each; 0 GiB without a GPU. Rollouts that
            transformers samples do not count in the peak: `PolicyRollouts` resets it after them.
    """

    def __init__(self) -> None:
        self.measured: list[tuple[float, float]] = []
        self._started_s = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Begins an update."""
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        self._started_s = time.perf_counter()

    def on_optimizer_step(self, *_: Any, **__: Any) -> None:
        """Adds an update."""
        peak_gib = 0.0
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            peak_gib = torch.cuda.max_memory_allocated() / _GIB
        self.measured.append((time.perf_counter() - self._started_s, peak_gib))


def run_settings(job: Job) -> RunSettings:
    """The run of a job."""
    on_gpu = job.device == "cuda"
    return RunSettings(
        model=str(job.model),
        images=job.images,
        run_folder=job.run_folder,
        updates=job.updates,
        proposer_every=job.updates - 1,
        group_size=job.group_size,
        groups_per_update=job.groups,
        micro_batch_size=job.micro_batch,
        lora={"dropout": 0.0},
        kl={"mode": "fixed", "beta": 0.04},
        rollout={
            "url": job.server or "http://127.0.0.1:8020",
            "canary_every": int(job.server is not None),
            "solver_max_tokens": job.max_tokens,
            "proposer_max_tokens": job.max_tokens,
            "max_consecutive_failed_proposals": 1000,
        },
        grpo={
            "optim": job.optim,
            "learning_rate": job.learning_rate,
            "report_to": "none",
            "use_cpu": not on_gpu,
            "bf16": job.dtype == "bfloat16",
        },
    )


def backbone(job: Job) -> Any:
    """The job's base model."""
    if not job.random_weights:
        return load_backbone(str(job.model), job.dtype)
    with torch.device(job.device):
        made = AutoModelForImageTextToText.from_config(
            load_config(str(job.model)), dtype=getattr(torch, job.dtype)
        )
    made.generation_config = GenerationConfig.from_pretrained(job.model)
    return made


def say(role: str, member: int) -> str:
    """A text of about a hundred tokens, and a question."""
    if role == "proposer":
        return f"<question>What is the sum of row {1 + member % 3}?</question>"
    steps = "\n".join(f"Step {step}: Row {step} reads 3, 1, {member}." for step in range(1, 9))
    return f"<think>\n{steps}\n</think>\n<answer>{member}</answer>"


def train(job: Job) -> dict[str, Any]:
    """Trains, and returns what was measured."""
    torch.manual_seed(0)
    settings = run_settings(job)
    processor = load_processor(str(job.model))
    rollouts: Any = (
        PolicyRollouts(processor, say if job.scripted else None)
        if job.server is None
        else RolloutClient(job.server)
    )
    client: Any = DrawnRewards()
    run = RunFolder(settings)
    steps = Steps()
    trainer = Assembly(
        settings=settings,
        backbone=backbone(job),
        processor=processor,
        images=ImageFolder.scan(settings.images),
        rollouts=rollouts,
        scorer=GroupScorer(client, settings.reward, settings.seed),
        run=run,
        shadow=ShadowLabels(None),
    ).trainer([steps])
    rollouts.policy = trainer.model
    trainer.go()
    trainer.publisher.withdraw()
    torch.save(adapters(trainer.model), job.run_folder / "adapters.pt")
    logged = list(read_lines(job.run_folder / "metrics.jsonl"))
    result: dict[str, Any] = {
        "updates": [
            {
                "role": (role := line["role"]),
                "seconds": seconds - line[f"{role}/seconds/wait"],
                "peak_gib": peak_gib,
            }
            for line, (seconds, peak_gib) in zip(logged, steps.measured, strict=True)
        ],
        "estimate_gib": memory_plan(settings, image_plan(settings, Console(quiet=True)).lengths).total_gib,
        "logprob_gap_nats": max(line[f"{line['role']}/logprob_gap/mean"] for line in logged[: job.updates]),
    }
    if not job.scripted:
        result["tokens_per_s"] = _tokens_per_s(settings, logged)
    return result


def _tokens_per_s(settings: RunSettings, logged: Sequence[dict[str, Any]]) -> float:
    """Tokens of both roles' rollouts, over the seconds in which they were sampled."""
    tokens = seconds = 0.0
    for line in logged:
        role = line["role"]
        if f"{role}/completions/mean_length" in line:  # not if each group was left out
            groups = groups_at(settings, line["update"] - 1) - line[f"{role}/groups_left_out"]
            tokens += line[f"{role}/completions/mean_length"] * groups * settings.group_size
            seconds += line[f"{role}/seconds/roll_out"]
    return tokens / seconds if seconds else 0.0


def adapters(policy: PeftModel) -> dict[str, torch.Tensor]:
    """The weights of both adapters, on the CPU."""
    return {name: value.cpu() for name, value in policy.state_dict().items() if "lora_" in name}


if __name__ == "__main__":
    print(json.dumps(train(Job.model_validate_json(sys.argv[1]))))
