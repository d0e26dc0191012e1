"""The command `python -m replication.separation`: what each arm's reward ranks, before anything is trained.

The base model answers validation questions, and each arm's scoring config scores these groups at the end of the
schedule (progress 1). A reward can only teach what it ranks: an arm whose reward does not rank sound reasoning above
luck cannot teach it. This takes minutes; a table takes hours.
"""

import json
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field
from pydantic_settings import SettingsConfigDict
from rich.console import Console

from ireasoner.clients import Group as PostedGroup
from ireasoner.clients import RewardClient, Rollout
from ireasoner.trainer.evaluation.questions import parse_answer
from ireasoner.trainer.rewards.shadow_labels import reward_auc
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.group import MIN_SPREAD
from ireasoner.trainer.settings import read_toml
from ireasoner.trainer.tiny_model.completion import parse_completion
from ireasoner.trainer.tiny_model.task import TASKS, TaskName
from ireasoner.trainer.worlds.world import Asked
from replication.arms import Arm
from replication.command import CommandSettings, run_command
from replication.evaluation import Evaluator
from replication.intervals import Estimate, across_questions
from replication.provenance import provenance
from replication.reasoning import check
from replication.settings import ReplicationSettings
from replication.studies import TABLE_AND_STUDIES
from replication.table import cell, markdown_table

VALIDATION_SEED = 2
"""Seed of the validation images, on which rewards may be tuned; the test images have another."""

_BOOTSTRAPS = 1000

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]


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
        sound: Whether each has the true answer and steps that are a right derivation of it.
        orders: The order in which each adds the operands; empty if it adds nothing.
        answers: The normalised answer of each, which votes; None if it has none.
        numbers: The numbers that the question adds up: groups with the same ones are drawn together.
    """

    texts: list[str]
    right: list[bool]
    sound: list[bool]
    orders: list[tuple[int, ...]]
    answers: list[str | None]
    numbers: Hashable


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
            arms = [
                _arm(arm, groups, client) for arm in TABLE_AND_STUDIES.values() if _is_a_scoring_config(arm)
            ]
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
    steps = [check(completion, asked) for completion in completions]
    return Sampled(
        texts,
        right,
        sound=[hit and one.sound for hit, one in zip(right, steps, strict=True)],
        orders=[completion.order for completion in completions],
        answers=[None if answer is None else question.vote(answer) for answer in answers],
        numbers=asked.numbers or asked.image.tobytes(),
    )


def separation(groups: Sequence[Sampled], rewards: Sequence[Sequence[float | None]]) -> dict[str, Any]:
    """Rank-biserial correlations of rewards within groups, in [-1, 1], with intervals over the questions.

    right       with being right: right rollouts above wrong ones
    sound       with being sound, among right rollouts: a right derivation above luck
    flat        the number of groups that have both kinds and equal rewards, and so rank nothing; they are left out

    Questions that add up the same numbers are drawn together.
    """
    right = [_Compared(group, values, group.right) for group, values in zip(groups, rewards, strict=True)]
    sound = [
        _Compared(
            group,
            [value for value, hit in zip(values, group.right, strict=True) if hit],
            [one for one, hit in zip(group.sound, group.right, strict=True) if hit],
        )
        for group, values in zip(groups, rewards, strict=True)
    ]
    return {
        "right": _correlation(right),
        "sound": _correlation(sound),
        "flat": {
            name: sum(one.auc is not None and not one.has_spread for one in compared)
            for name, compared in (("right", right), ("sound", sound))
        },
    }


@dataclass(frozen=True, slots=True)
class _Compared:
    """The rewards of some rollouts of a group, and a property of each."""

    group: Sampled
    rewards: Sequence[float | None]
    has_it: Sequence[bool]

    @property
    def auc(self) -> float | None:
        """Probability that a rollout with the property has a higher reward than one without; None if one is lacking."""
        return reward_auc(self.rewards, self.has_it)

    @property
    def has_spread(self) -> bool:
        """Whether the rewards differ."""
        known = [reward for reward in self.rewards if reward is not None]
        return bool(known) and max(known) - min(known) > MIN_SPREAD


def _correlation(compared: Sequence[_Compared]) -> dict[str, Any] | None:
    """The mean correlation over the groups that rank anything, or None.

    Its interval needs two sets of numbers, and is cut to [-1, 1].
    """
    known = [one for one in compared if one.auc is not None and one.has_spread]
    if not known:
        return None
    correlations = [2 * (one.auc or 0.0) - 1 for one in known]
    numbers = [one.group.numbers for one in known]
    several = len({*numbers}) > 1
    found = across_questions([correlations], numbers) if several else Estimate(float(np.mean(correlations)))
    figures = found.as_dict()
    for end in ("low", "high"):
        value = figures[end]
        if value is not None:
            figures[end] = min(1.0, max(-1.0, value))
    return {**figures, "groups": len(known)}


def majorities(groups: Sequence[Sampled]) -> dict[str, Any]:
    """Which groups have a right majority: the probability that a right majority has more of something than a wrong one.

    size            rollouts in the majority
    orders          different orders of adding in the majority, among majorities of equal size

    Of m tied answers each counts as the majority of 1/m of the group.
    """
    rows = [row for number, group in enumerate(groups) for row in _majorities(group, number)]
    size, order, truth, weight, of_group = map(np.array, zip(*rows, strict=True))
    numbers = {key: index for index, key in enumerate(dict.fromkeys(group.numbers for group in groups))}
    cluster = np.array([numbers[groups[number].numbers] for number in of_group])
    return {
        "right_share": float((truth * weight).sum() / weight.sum()),
        "size": _chance(size, np.zeros_like(size), truth, weight, cluster),
        "orders": _chance(order, size, truth, weight, cluster),
    }


def _majorities(group: Sampled, number: int) -> list[tuple[int, int, bool, float, int]]:
    """Size, orders, truth, weight and number of the group, of each of the tied dominant answers."""
    counts = Counter(answer for answer in group.answers if answer is not None)
    most = max(counts.values(), default=0)
    tied = [answer for answer, count in counts.items() if count == most]
    found = []
    for dominant in tied:
        members = [index for index, answer in enumerate(group.answers) if answer == dominant]
        orders = len({group.orders[index] for index in members})
        found.append((most, orders, group.right[members[0]], 1 / len(tied), number))
    return found


def _chance(
    values: Ints, strata: Ints, right: Bools, weight: Doubles, cluster: Ints
) -> dict[str, Any] | None:
    """Probability that a right majority has a higher value than a wrong one of its stratum, with its interval.

    The interval is a percentile bootstrap over the clusters.
    """
    comparable = (strata[right][:, None] == strata[~right][None, :]).astype(float)
    gaps = values[right][:, None] - values[~right][None, :]
    higher = ((gaps > 0) + 0.5 * (gaps == 0)) * comparable

    def chance(weights: Doubles) -> float:
        ours, theirs = weights[right], weights[~right]
        pairs = ours @ comparable @ theirs
        return float(ours @ higher @ theirs / pairs) if pairs else np.nan

    mean = chance(weight)
    if np.isnan(mean):
        return None
    rng = np.random.default_rng(0)
    count = int(cluster.max()) + 1
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=_BOOTSTRAPS)
    draws = [chance(weight * times[cluster]) for times in drawn]
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


def _lucky_share(groups: Sequence[Sampled]) -> float:
    right, sound = (sum(sum(getattr(group, name)) for group in groups) for name in ("right", "sound"))
    return round(1 - sound / right, 4) if right else 0.0


_KINDS = {"right": "right above wrong", "sound": "sound above lucky"}
RANKED = (
    *("outcome-only", "step-only", "full", "outcome-distinct"),
    *("robust-without-distinct-exponent", "step-only-group"),
)
"""The arms that the page about all tasks shows."""


def ranking(documents: Sequence[Mapping[str, Any]]) -> str:
    """The table of several tasks: what some rewards rank in the groups of each base model."""
    by_task = {document["task"]: document for document in documents}
    body = [
        [
            "right rollouts that are lucky",
            *(f"{document['lucky_share']:.3f}" for document in by_task.values()),
        ]
    ]
    for kind, said in _KINDS.items():
        for name in RANKED:
            cells = [
                cell(next((arm[kind] for arm in document["arms"] if arm["arm"] == name), None), sign=True)
                for document in by_task.values()
            ]
            if any(cells):
                body.append([f"*{said}*: {name}", *cells])
    return markdown_table(["", *(f"`{task}`" for task in by_task)], body)


def _ranked(arm: Mapping[str, Any], kind: str) -> tuple[str, str]:
    """A correlation, and how many groups it has and leaves out."""
    found = arm[kind]
    return cell(found, sign=True), "" if found is None else f"{found['groups']}, {arm['flat'][kind]}"


def markdown(document: Mapping[str, Any]) -> str:
    """The page of a task."""
    found = document["majorities"]
    body = [
        [arm["arm"], *(text for kind in _KINDS for text in _ranked(arm, kind))] for arm in document["arms"]
    ]
    parts = [
        f"# What rewards rank in the base model's groups: `{document['task']}`",
        f"Commit `{document['commit'][:12]}`. {document['questions']} groups of {document['samples']} on validation "
        "questions, scored at progress 1. Rank correlations within a group, with 95% intervals over groups.",
        f"{document['lucky_share']:.3f} of the right rollouts are lucky: right with a step that is not true.",
        "Groups whose rewards are all equal rank nothing (*flat*) and are left out.",
        markdown_table(
            ["arm", *(head for name in _KINDS.values() for head in (name, "groups, flat ones"))], body
        ),
        f"The majority is right in {found['right_share']:.3f} of the groups. The probability that a right majority has",
        f"- more rollouts than a wrong one: {cell(found['size'])}\n"
        f"- more orders of adding than a wrong one of equal size: {cell(found['orders'])}",
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
