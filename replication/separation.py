"""The command `python -m replication.separation`: what each arm's reward ranks, before anything is trained.

The base model answers validation questions, and each arm's scoring config scores these groups at the end of the
schedule (progress 1). A reward can only teach what it ranks: an arm whose reward does not rank sound reasoning above
luck cannot teach it. This takes minutes; a table takes hours.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from pydantic_settings import SettingsConfigDict
from rich.console import Console

from ireasoner.clients import Group as PostedGroup
from ireasoner.clients import RewardClient, Rollout
from ireasoner.trainer.evaluation.questions import parse_answer
from ireasoner.trainer.rewards.shadow_labels import reward_auc
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.settings import read_toml
from ireasoner.trainer.tiny_model.completion import parse_completion
from ireasoner.trainer.tiny_model.task import TASKS, TaskName
from ireasoner.trainer.worlds.world import Asked
from replication.arms import ARMS, Arm
from replication.command import CommandSettings, run_command
from replication.evaluation import Evaluator
from replication.intervals import interval
from replication.provenance import provenance
from replication.reasoning import check
from replication.settings import ReplicationSettings
from replication.table import cell, markdown_table

VALIDATION_SEED = 2
"""Seed of the validation images, on which rewards may be tuned; the test images have another."""

_BOOTSTRAPS = 1000


class SeparationSettings(CommandSettings):
    """Score the base model's groups with every arm's config, and write separation.json and separation.md."""

    model_config = SettingsConfigDict(cli_prog_name="python -m replication.separation")

    task: TaskName = "sums"
    """The task; each has its own tiny model."""
    questions: int = Field(300, ge=1)
    """Number of validation questions, one group each."""
    samples: int = Field(8, ge=2)
    """Rollouts per group."""
    out: Path | None = None
    """Folder of the results (default: as for the task's table)."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """A group of the base model, checked against the truth.

    Attributes:
        texts: The rollouts.
        right: Whether each has the true answer.
        sound: Whether each has the true answer and all steps true.
        orders: The order in which each adds the operands; empty if it adds nothing.
        answers: The normalised answer of each, which votes; None if it has none.
    """

    texts: list[str]
    right: list[bool]
    sound: list[bool]
    orders: list[tuple[int, ...]]
    answers: list[str | None]


def main(arguments: Sequence[str] | None = None) -> None:
    """Samples, scores and writes; exits with 1 if a server fails."""
    run_command("replication.separation", SeparationSettings, separate, arguments)


def separate(settings: SeparationSettings, console: Console) -> int:
    """Samples, scores and writes.

    Raises:
        TrainerError: An error that the user can fix.
        RewardError: The reward server refused, or became unreachable.
    """
    from replication.servers import servers

    table = ReplicationSettings(task=settings.task)
    config = read_toml(table.config)
    with servers(
        table.model_folder,
        table.runs_folder / "logs",
        max_lora_rank=config["lora"]["r"],
        parallel=1,
        console=console,
    ) as (reward_url, rollout_url, _):
        groups = _sample(settings, table.model_folder, config["rollout"]["solver_max_tokens"], rollout_url)
        with RewardClient(reward_url) as client:
            arms = [_arm(arm, groups, client) for arm in ARMS.values() if _is_a_scoring_config(arm)]
    document = {
        "task": settings.task,
        "questions": settings.questions,
        "samples": settings.samples,
        **provenance(),
        "lucky_share": _lucky_share(groups),
        "majorities": majorities(groups),
        "arms": arms,
    }
    out = settings.out or table.out_folder
    out.mkdir(parents=True, exist_ok=True)
    (out / "separation.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (out / "separation.md").write_text(markdown(document), encoding="utf-8")
    console.print(f"results: {out}", highlight=False)
    return 0


def _sample(settings: SeparationSettings, model: Path, max_tokens: int, url: str) -> list[Sampled]:
    """One group of the base model for each validation question."""
    from ireasoner.trainer.adapters.backbone import forbidden_for

    asked = TASKS[settings.task].world.evaluation_questions(
        settings.questions, VALIDATION_SEED, held_out=False
    )
    client = RolloutClient(url)
    evaluator = Evaluator(client, max_tokens, forbidden_for(str(model)))
    texts = evaluator.sampled(client.models()[0], asked, settings.samples, seed=VALIDATION_SEED)
    client.close()
    return [judged(one, group) for one, group in zip(asked, texts, strict=True)]


def judged(asked: Asked, texts: list[str]) -> Sampled:
    """Checks the rollouts of a group against the truth."""
    question = asked.labelled
    completions = [parse_completion(text) for text in texts]
    answers = [parse_answer(text) for text in texts]
    right = [answer is not None and question.is_right(answer) for answer in answers]
    steps = [check(completion, asked.openings) for completion in completions]
    return Sampled(
        texts,
        right,
        sound=[hit and one.all_true for hit, one in zip(right, steps, strict=True)],
        orders=[completion.order for completion in completions],
        answers=[None if answer is None else question.vote(answer) for answer in answers],
    )


def separation(groups: Sequence[Sampled], rewards: Sequence[Sequence[float | None]]) -> dict[str, Any]:
    """Rank-biserial correlations of rewards within groups, in [-1, 1], with intervals over the groups that have both.

    right       with being right: right rollouts above wrong ones
    sound       with being sound, among right rollouts: all steps true above lucky ones
    """
    right = [reward_auc(values, group.right) for group, values in zip(groups, rewards, strict=True)]
    sound = [
        reward_auc(
            [value for value, hit in zip(values, group.right, strict=True) if hit],
            [one for one, hit in zip(group.sound, group.right, strict=True) if hit],
        )
        for group, values in zip(groups, rewards, strict=True)
    ]
    return {"right": _correlation(right), "sound": _correlation(sound)}


def majorities(groups: Sequence[Sampled]) -> dict[str, Any]:
    """Which groups have a right majority: the probability that a right majority has more of something than a wrong one.

    size            rollouts in the majority
    orders          different orders of adding in the majority, among majorities of equal size
    """
    sizes, orders, right = [], [], []
    for group in groups:
        counts = Counter(answer for answer in group.answers if answer is not None)
        if not counts:
            continue
        dominant = counts.most_common(1)[0][0]
        members = [index for index, answer in enumerate(group.answers) if answer == dominant]
        sizes.append(len(members))
        orders.append(len({group.orders[index] for index in members}))
        right.append(group.right[members[0]])
    size, order, truth = np.array(sizes), np.array(orders), np.array(right)
    return {
        "right_share": float(truth.mean()),
        "size": _chance(size, np.zeros_like(size), truth),
        "orders": _chance(order, size, truth),
    }


def _chance(
    values: "np.typing.NDArray[np.int64]",
    strata: "np.typing.NDArray[np.int64]",
    right: "np.typing.NDArray[np.bool_]",
) -> dict[str, float] | None:
    """Probability that a right group has a higher value than a wrong one of its stratum, with its interval."""

    def chance(indices: "np.typing.NDArray[np.int64]") -> float:
        v, s, r = values[indices], strata[indices], right[indices]
        comparable = (s[r][:, None] == s[~r][None, :]).astype(float)
        gaps = v[r][:, None] - v[~r][None, :]
        pairs = comparable.sum()
        return float((((gaps > 0) + 0.5 * (gaps == 0)) * comparable).sum() / pairs) if pairs else np.nan

    mean = chance(np.arange(len(values)))
    if np.isnan(mean):
        return None
    rng = np.random.default_rng(0)
    draws = [chance(rng.integers(len(values), size=len(values))) for _ in range(_BOOTSTRAPS)]
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return {"mean": round(mean, 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def _is_a_scoring_config(arm: Arm) -> bool:
    return arm.trained and arm.variant is None and not arm.trainer


def _arm(arm: Arm, groups: Sequence[Sampled], client: RewardClient) -> dict[str, Any]:
    posted = [
        PostedGroup(
            id=str(number), rollouts=[Rollout(id=str(j), text=text) for j, text in enumerate(group.texts)]
        )
        for number, group in enumerate(groups)
    ]
    config = {"preset": arm.preset, **arm.overrides}
    scored = client.score("solver", posted, config=config, progress=1.0).groups
    rewards = [[rollout.reward for rollout in group.rollouts] for group in scored]
    return {"arm": arm.name, "meaning": arm.meaning, **separation(groups, rewards)}


def _correlation(aucs: Sequence[float | None]) -> dict[str, Any] | None:
    known = [2 * auc - 1 for auc in aucs if auc is not None]
    return {**interval([known]).as_dict(), "groups": len(known)} if known else None


def _lucky_share(groups: Sequence[Sampled]) -> float:
    right, sound = (sum(sum(getattr(group, name)) for group in groups) for name in ("right", "sound"))
    return round(1 - sound / right, 4) if right else 0.0


def markdown(document: Mapping[str, Any]) -> str:
    found = document["majorities"]
    body = [
        [arm["arm"], cell(arm["right"], sign=True), cell(arm["sound"], sign=True)] for arm in document["arms"]
    ]
    parts = [
        f"# What rewards rank in the base model's groups: `{document['task']}`",
        f"Commit `{document['commit'][:12]}`. {document['questions']} groups of {document['samples']} on validation "
        "questions, scored at progress 1. Rank correlations within a group, with 95% intervals over groups.",
        f"{document['lucky_share']:.3f} of the right rollouts are lucky: right with a step that is not true.",
        markdown_table(["arm", "right above wrong", "sound above lucky"], body),
        f"The majority is right in {found['right_share']:.3f} of the groups. The probability that a right majority has",
        f"- more rollouts than a wrong one: {cell(found['size'])}\n"
        f"- more orders of adding than a wrong one of equal size: {cell(found['orders'])}",
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
