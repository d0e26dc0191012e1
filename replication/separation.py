"""The command `python -m replication.separation`: what each row's reward tells apart before anything is trained.

The base model answers questions of the validation, and its groups are scored under the scoring config of each row, at
the end of the schedule (progress 1). A reward can only teach what it ranks: a row whose reward does not rank sound
reasoning above luck is not going to teach it. Minutes, where a table takes hours.
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
from replication.command import CommandSettings, run_command
from replication.examination import Examiner
from replication.intervals import interval
from replication.reasoning import check
from replication.results import provenance
from replication.rows import ROWS, Row
from replication.settings import ReplicationSettings
from replication.table import cell, markdown_table

VALIDATION_SEED = 2
"""Seed of the pictures that rewards may be tuned on; the test's are others."""

_BOOTSTRAPS = 1000


class SeparationSettings(CommandSettings):
    """Score the base model's groups under every row's config, and write separation.json and separation.md."""

    model_config = SettingsConfigDict(cli_prog_name="python -m replication.separation")

    task: TaskName = "sums"
    """What is asked, of the tiny model that was taught it."""
    questions: int = Field(300, ge=1)
    """Groups: questions of the validation."""
    samples: int = Field(8, ge=2)
    """Rollouts in a group."""
    out: Path | None = None
    """Where results go (default: where the table of the task goes)."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """A group of the base model, with the truth about it.

    Attributes:
        texts: Its rollouts.
        right: Whether the answer of each is true.
        sound: Whether it is, with all steps true.
        orders: The order in which each adds the operands; empty where it adds nothing.
        answers: The answer of each, as it votes; None where there is none.
    """

    texts: list[str]
    right: list[bool]
    sound: list[bool]
    orders: list[tuple[int, ...]]
    answers: list[str | None]


def main(arguments: Sequence[str] | None = None) -> None:
    """Samples, scores and writes; exits with 1 where a server could not do its part."""
    run_command("separation", SeparationSettings, separate, arguments)


def separate(settings: SeparationSettings, console: Console) -> int:
    """Samples, scores and writes.

    Raises:
        TrainerError: Something that the user can act on.
        RewardError: The reward server refused, or went away.
    """
    from ireasoner.trainer.adapters.backbone import load_config, placeholder_token_ids
    from replication.servers import servers

    table = ReplicationSettings(task=settings.task)
    asked = TASKS[settings.task].world.evaluation_questions(
        settings.questions, VALIDATION_SEED, held_out=False
    )
    config = read_toml(table.config)
    with servers(
        table.model_folder,
        table.runs_folder / "logs",
        max_lora_rank=config["lora"]["r"],
        parallel=1,
        console=console,
    ) as (reward_url, rollout_url, _):
        client = RolloutClient(rollout_url)
        examiner = Examiner(
            client,
            max_tokens=config["rollout"]["solver_max_tokens"],
            forbidden_token_ids=placeholder_token_ids(load_config(str(table.model_folder))),
        )
        texts = examiner.sampled(client.models()[0], asked, settings.samples, seed=VALIDATION_SEED)
        client.close()
        groups = [judged(one, group) for one, group in zip(asked, texts, strict=True)]
        with RewardClient(reward_url) as rewards:
            rows = [_row(row, groups, rewards) for row in ROWS.values() if _has_a_reward_of_its_own(row)]
    document = {
        "task": settings.task,
        "questions": settings.questions,
        "samples": settings.samples,
        **provenance(),
        "lucky_share": _lucky_share(groups),
        "majorities": majorities(groups),
        "rows": rows,
    }
    out = settings.out or table.out_folder
    out.mkdir(parents=True, exist_ok=True)
    (out / "separation.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (out / "separation.md").write_text(_markdown(document), encoding="utf-8")
    console.print(f"results: {out}", highlight=False)
    return 0


def judged(asked: Asked, texts: list[str]) -> Sampled:
    """The truth about the rollouts of a group."""
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
    """Rank-biserial correlations inside groups, in [-1, 1], each with its interval over the groups that have both.

    right       right rollouts from wrong ones
    sound       right rollouts with all steps true from lucky ones
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
    """What tells groups whose majority is right from the others: the chance that a right one has more of it.

    size            rollouts in the majority
    orders          different orders of adding in the majority, among majorities of one size
    """
    sizes, orders, right = [], [], []
    for group in groups:
        counts = Counter(answer for answer in group.answers if answer is not None)
        if not counts:
            continue
        dominant = counts.most_common(1)[0][0]
        members = [place for place, answer in enumerate(group.answers) if answer == dominant]
        sizes.append(len(members))
        orders.append(len({group.orders[place] for place in members}))
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
    """The chance that, of two groups of one stratum, the right one has the higher value; with its interval."""

    def chance(places: "np.typing.NDArray[np.int64]") -> float:
        v, s, r = values[places], strata[places], right[places]
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


def _has_a_reward_of_its_own(row: Row) -> bool:
    return row.trained and row.variant is None and not row.trainer


def _row(row: Row, groups: Sequence[Sampled], client: RewardClient) -> dict[str, Any]:
    posted = [
        PostedGroup(
            id=str(number), rollouts=[Rollout(id=str(j), text=text) for j, text in enumerate(group.texts)]
        )
        for number, group in enumerate(groups)
    ]
    config = {"preset": row.preset, **row.overrides}
    scored = client.score("solver", posted, config=config, progress=1.0).groups
    rewards = [[rollout.reward for rollout in group.rollouts] for group in scored]
    return {"row": row.name, "meaning": row.meaning, **separation(groups, rewards)}


def _correlation(aucs: Sequence[float | None]) -> dict[str, Any] | None:
    known = [2 * auc - 1 for auc in aucs if auc is not None]
    return {**interval([known]).as_dict(), "groups": len(known)} if known else None


def _lucky_share(groups: Sequence[Sampled]) -> float:
    right, sound = (sum(sum(getattr(group, name)) for group in groups) for name in ("right", "sound"))
    return round(1 - sound / right, 4) if right else 0.0


def _markdown(document: Mapping[str, Any]) -> str:
    found = document["majorities"]
    body = [
        [row["row"], cell(row["right"], sign=True), cell(row["sound"], sign=True)] for row in document["rows"]
    ]
    parts = [
        f"# What rewards tell apart in the base model's groups: `{document['task']}`",
        f"Commit `{document['commit'][:12]}`. {document['questions']} groups of {document['samples']}, on questions of "
        "the validation, scored at progress 1. Rank correlation inside a group, with 95% intervals over groups.",
        f"Of the right rollouts {document['lucky_share']:.3f} are lucky: right with a step that is not true.",
        markdown_table(["row", "right from wrong", "sound from lucky"], body),
        f"The majority is right in {found['right_share']:.3f} of the groups. The chance that a right one has",
        f"- more rollouts than a wrong one: {cell(found['size'])}\n"
        f"- more orders of adding than a wrong one of its size: {cell(found['orders'])}",
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
