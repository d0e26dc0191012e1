"""One run: an arm with a seed, trained, evaluated, and written to result.json."""

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ireasoner.clients import Group, RewardClient, Rollout
from ireasoner.reward_server.agreement.formulas import FORMULAS_VERSION
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.rewards.named_function import module_source
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.settings import RunSettings, read_toml
from ireasoner.trainer.tiny_model.task import TASKS
from ireasoner.trainer.worlds.world import Asked
from replication.arms import Arm
from replication.cost import core_minutes_of_run
from replication.evaluation import Evaluator, splits
from replication.kept import keep, read_kept
from replication.provenance import commit
from replication.released_code_settings import ReleasedCodeSettings
from replication.reward_signal import read_curves, read_signal
from replication.settings import FOLLOWED_QUESTIONS, TEST_SEED, Plan

RESULT = "result.json"
RECIPE = "recipe.txt"
"""Holds the recipe that began a run, so that no other recipe continues it."""
LOG = "log.txt"
"""The console output of a run."""


def recipe(arm: Arm, seed: int, plan: Plan) -> str:
    """Digest of what determines the result of a run: 16 hexadecimal digits.

    Of the code, it covers the version of the formulas and the module of an extra arm's reward. Of the scoring config,
    it covers the fields that differ from the paper's values, so that a new switch that is off changes no recipe. It
    covers the seed of the test images if it is not the usual one.
    """
    parts = {
        "arm": {name: value for name, value in asdict(arm).items() if name != "meaning"},
        "config": arm.scoring_config.model_dump(exclude_defaults=True),
        "formulas": FORMULAS_VERSION,
        "trainer": _shared_settings(plan),
        "seed": seed,
        "task": plan.task,
        "images": plan.images,
        "followed_questions": FOLLOWED_QUESTIONS,
        "questions": plan.questions,
        "samples": plan.samples,
        "model": hashlib.sha256((plan.model / "model.safetensors").read_bytes()).hexdigest(),
    }
    if plan.test_seed != TEST_SEED:
        parts["test_seed"] = plan.test_seed
    function = arm.trainer.get("reward", {}).get("function")
    if function is not None:
        parts["reward"] = module_source(function)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def read_result(arm: Arm, seed: int, plan: Plan) -> dict[str, Any] | None:
    """The result of a run, from its folder or from where it was kept; None if the run is not complete.

    What was kept of another recipe counts as missing.

    Raises:
        SettingsError: The folder holds the result of another recipe.
    """
    file = plan.folder(arm.name, seed) / RESULT
    is_kept = not file.exists()
    result: dict[str, Any] | None = (
        read_kept(arm.name, seed, plan) if is_kept else json.loads(file.read_text(encoding="utf-8"))
    )
    if result is None or result["recipe"] == recipe(arm, seed, plan):
        return result
    if is_kept:
        return None
    raise SettingsError(
        f"{file} was made by another recipe (another arm, reward, config, version of the formulas, model or "
        f"number of questions): remove {file.parent}, or choose another --runs"
    )


def complete_runs(wanted: Iterable[tuple[Arm, int]], plan: Plan) -> dict[str, dict[int, dict[str, Any]]]:
    """The results of the complete runs, by arm and seed, each of which is kept beside the table.

    Raises:
        SettingsError: A folder holds the result of another recipe.
    """
    runs: dict[str, dict[int, dict[str, Any]]] = {}
    for arm, seed in wanted:
        result = read_result(arm, seed, plan)
        if result is not None:
            keep(result, plan)
            runs.setdefault(arm.name, {})[seed] = result
    return runs


def begin(arm: Arm, seed: int, plan: Plan) -> str:
    """Prepares the folder of a run, new or interrupted, and returns the recipe.

    Raises:
        SettingsError: The folder holds a run that another recipe began.
    """
    refuse_other_recipe(arm, seed, plan)
    folder = plan.folder(arm.name, seed)
    wanted = recipe(arm, seed, plan)
    if not (folder / "run").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RECIPE).write_text(wanted, encoding="utf-8")
    return wanted


def refuse_other_recipe(arm: Arm, seed: int, plan: Plan) -> None:
    """Checks that the run may begin or continue.

    Raises:
        SettingsError: Its folder holds a run that another recipe began.
    """
    folder = plan.folder(arm.name, seed)
    file = folder / RECIPE
    if (folder / "run").exists() and not (
        file.exists() and file.read_text(encoding="utf-8") == recipe(arm, seed, plan)
    ):
        raise SettingsError(
            f"{folder} holds a run that another recipe began: remove it, or choose another --runs"
        )


def updates_done(arm: Arm, seed: int, plan: Plan) -> int:
    """Number of updates that the run has logged."""
    file = plan.folder(arm.name, seed) / "run" / "metrics.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def _shared_settings(plan: Plan) -> dict[str, Any]:
    """The trainer's settings that all runs share.

    Raises:
        SettingsError: The file sets `labels`, which the task sets.
    """
    settings = read_toml(plan.config)
    if "labels" in settings:
        raise SettingsError(f"{plan.config}: labels: the task sets its own; remove this setting")
    return {**settings, "labels": TASKS[plan.task].world.labels}


def run_settings(arm: Arm, seed: int, plan: Plan) -> RunSettings:
    """The trainer's settings for an arm; an interrupted run continues from its newest checkpoint."""
    folder = plan.folder(arm.name, seed) / "run"
    fields = _shared_settings(plan)
    for name, value in arm.trainer.items():
        before = fields.get(name)
        fields[name] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
    fields["reward"] = {
        **fields.get("reward", {}),
        "config": arm.preset,
        "overrides": dict(arm.overrides),
        "url": plan.reward_url,
    }
    fields["rollout"] = {**fields.get("rollout", {}), "url": plan.rollout_url}
    settings = ReleasedCodeSettings if "reference_defects" in fields else RunSettings
    return settings(
        **{
            **fields,
            "model": str(plan.model),
            "images": plan.images_folder,
            "run_folder": folder,
            "seed": seed,
            "resume": (folder / "settings.json").exists(),
        }
    )


def run(arm: Arm, seed: int, plan: Plan) -> None:
    """Trains the arm with this seed, evaluates the policy, and writes result.json.

    Raises:
        TrainerError: An error that the user can fix.
        RewardError: The reward server refused, or became unreachable.
    """
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    settings = run_settings(arm, seed, plan)
    folder = plan.folder(arm.name, seed)
    begun = begin(arm, seed, plan)
    log = folder / LOG
    logging.basicConfig(filename=log, format="%(levelname)s %(message)s")  # each run has its own process
    from replication.training import train_arm

    resumed = updates_done(arm, seed, plan) > 0
    started_s = time.monotonic()
    if arm.trained:
        train_arm(arm, settings, log)
    trained_s = time.monotonic()
    evaluated, seconds = _evaluate(arm, seed, plan, settings)
    result = {
        "arm": arm.name,
        "seed": seed,
        "recipe": begun,
        "fingerprint": fingerprint(arm, plan),
        "commit": commit(),
        "seconds": {"training": round(trained_s - started_s, 1), **seconds},
        **evaluated,
        "signal": read_signal(settings.run_folder) if arm.trained else {},
        "curves": read_curves(settings.run_folder) if arm.trained else {},
    }
    if not resumed:  # of a resumed run only the rest is known
        result["core_minutes"] = core_minutes_of_run(time.monotonic() - started_s, plan.parallel)
    _write(result, folder / RESULT)


def _write(result: dict[str, Any], file: Path) -> None:
    """Writes the file whole or not at all."""
    partial = file.with_name(f"{file.name}.partial")
    partial.write_text(json.dumps(result) + "\n", encoding="utf-8")
    partial.replace(file)


def _evaluate(
    arm: Arm, seed: int, plan: Plan, settings: RunSettings
) -> tuple[dict[str, Any], dict[str, float]]:
    """Evaluates the final policy on all splits, and each saved one on the followed questions.

    Returns:
        `evaluations` (the metrics of each split) and `learning` (greedy hits at each save); seconds of each.
    """
    from ireasoner.trainer.adapters.backbone import forbidden_for

    asked_by_split = splits(plan)
    followed = asked_by_split["test"][:FOLLOWED_QUESTIONS]
    started_s = time.monotonic()
    client = RolloutClient(plan.rollout_url, retry_budget_s=settings.retry_budget_s)
    evaluator = Evaluator(
        client,
        max_tokens=settings.rollout.solver_max_tokens,
        forbidden_token_ids=forbidden_for(str(plan.model)),
    )
    try:
        with _policy(client, arm, seed, settings) as policy:
            evaluations = {
                split: evaluator.evaluate(
                    policy, asked, samples=plan.samples, seed=(seed + 1) * 1_000_000
                ).as_dict()
                for split, asked in asked_by_split.items()
            }
        evaluated_s = time.monotonic()
        learning = _learning(evaluator, arm, seed, settings, followed)
    finally:
        client.close()
    learning["update"].append(settings.updates if arm.trained else 0)
    learning["greedy"].append(evaluations["test"]["greedy"][: len(followed)])
    seconds = {
        "evaluation": round(evaluated_s - started_s, 1),
        "learning": round(time.monotonic() - evaluated_s, 1),
    }
    return {"evaluations": evaluations, "learning": learning}, seconds


@contextmanager
def _policy(
    client: RolloutClient, arm: Arm, seed: int, settings: RunSettings, update: int | None = None
) -> Iterator[str]:
    """The name of the arm's policy on the server within the block: after `update`, or the final one."""
    if not arm.trained:
        yield client.models()[0]
        return
    name = f"{arm.name}-{seed}-{'final' if update is None else update}"
    part = "final" if update is None else f"checkpoints/checkpoint-{update}"
    client.load_adapter(name, str((settings.run_folder / part / "solver").resolve()))
    try:
        yield name
    finally:
        client.unload_adapter(name)


def _learning(
    evaluator: Evaluator, arm: Arm, seed: int, settings: RunSettings, asked: Sequence[Asked]
) -> dict[str, list[Any]]:
    """Greedy hits at each save before the end: `update` (U), and `greedy` (U, questions)."""
    saves = range(settings.save_every, settings.updates, settings.save_every) if arm.trained else ()
    greedy = []
    for update in saves:
        with _policy(evaluator.client, arm, seed, settings, update) as policy:
            greedy.append(evaluator.greedy_hits(policy, asked))
    return {"update": list(saves), "greedy": greedy}


def fingerprint(arm: Arm, plan: Plan) -> str:
    """The reward server's fingerprint of the arm's scoring config."""
    with RewardClient(plan.reward_url) as client:
        group = Group(id="0", rollouts=[Rollout(id="0", answer="1", steps=["1 + 0 = 1."])])
        return client.score("outcome", [group], config={"preset": arm.preset, **arm.overrides}).fingerprint
