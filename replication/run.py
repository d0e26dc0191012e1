"""One run: a row with a seed, trained, examined, and written down as result.json."""

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from ireasoner.clients import Group, RewardClient, Rollout
from ireasoner.reward_server.agreement.formulas import FORMULAS_VERSION
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.rewards.named_function import module_source
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.settings import RunSettings, read_toml
from ireasoner.trainer.tiny_model.task import TASKS
from ireasoner.trainer.worlds.world import Asked
from replication.examination import Examiner, examinations
from replication.released_code_settings import ReleasedCodeSettings
from replication.results import commit
from replication.reward_signal import read_curves, read_signal
from replication.rows import Row
from replication.settings import FOLLOWED_QUESTIONS, Plan

RESULT = "result.json"
RECIPE = "recipe.txt"
"""Which recipe began a run, so that no other goes on with it."""
LOG = "log.txt"
"""What a run says."""


def recipe(row: Row, seed: int, plan: Plan) -> str:
    """Digest of what shapes the result of a run: 16 hexadecimal digits.

    Of the code it has the formulas' version and the module of an extra row's reward. Of the scoring config it has what
    differs from the paper's values, so that a switch that is new, and off, changes no recipe.
    """
    parts = {
        "row": {name: value for name, value in asdict(row).items() if name != "meaning"},
        "config": row.scoring_config.model_dump(exclude_defaults=True),
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
    if row.variant is not None and ":" in row.variant:
        parts["reward"] = module_source(row.variant)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def read_result(row: Row, seed: int, plan: Plan) -> dict[str, Any] | None:
    """What a run came to; None where it is not complete.

    Raises:
        SettingsError: The folder holds the result of another recipe.
    """
    file = plan.folder(row.name, seed) / RESULT
    if not file.exists():
        return None
    result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if result["recipe"] != recipe(row, seed, plan):
        raise SettingsError(
            f"{file} was made by another recipe (row, its reward, config, formulas, model or numbers): remove "
            f"{file.parent}, or name another --runs"
        )
    return result


def begin(row: Row, seed: int, plan: Plan) -> str:
    """Makes the folder of a run, or finds it as this recipe left it; returns the recipe.

    Raises:
        SettingsError: It holds a run that another recipe began.
    """
    refuse_other_recipe(row, seed, plan)
    folder = plan.folder(row.name, seed)
    wanted = recipe(row, seed, plan)
    if not (folder / "run").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RECIPE).write_text(wanted, encoding="utf-8")
    return wanted


def refuse_other_recipe(row: Row, seed: int, plan: Plan) -> None:
    """Looks whether the run may begin, or go on.

    Raises:
        SettingsError: Its folder holds a run that another recipe began.
    """
    folder = plan.folder(row.name, seed)
    file = folder / RECIPE
    if (folder / "run").exists() and not (
        file.exists() and file.read_text(encoding="utf-8") == recipe(row, seed, plan)
    ):
        raise SettingsError(
            f"{folder} holds a run that another recipe began: remove it, or name another --runs"
        )


def updates_done(row: Row, seed: int, plan: Plan) -> int:
    """Updates that the run has logged."""
    file = plan.folder(row.name, seed) / "run" / "metrics.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def _shared_settings(plan: Plan) -> dict[str, Any]:
    """The trainer's settings that all runs share.

    Raises:
        SettingsError: The file names labels, which are the task's.
    """
    settings = read_toml(plan.config)
    if "labels" in settings:
        raise SettingsError(f"{plan.config}: labels: the task has its own; leave them out")
    return {**settings, "labels": TASKS[plan.task].world.labels}


def run_settings(row: Row, seed: int, plan: Plan) -> RunSettings:
    """The trainer's settings for a row; a run that was cut off goes on from its newest checkpoint."""
    folder = plan.folder(row.name, seed) / "run"
    fields = _shared_settings(plan)
    for name, value in row.trainer.items():
        before = fields.get(name)
        fields[name] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
    fields["reward"] = {
        **fields.get("reward", {}),
        "config": row.preset,
        "overrides": dict(row.overrides),
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


def run(row: Row, seed: int, plan: Plan) -> None:
    """Trains the row with this seed, examines what came of it, and writes result.json.

    Raises:
        TrainerError: Something that the user can act on.
        RewardError: The reward server refused, or went away.
    """
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    settings = run_settings(row, seed, plan)
    folder = plan.folder(row.name, seed)
    begun = begin(row, seed, plan)
    log = folder / LOG
    logging.basicConfig(filename=log, format="%(levelname)s %(message)s")  # a run has a process of its own
    from ireasoner.trainer.adapters.backbone import load_config, placeholder_token_ids
    from replication.training import train_row

    exams = examinations(plan)
    started_s = time.monotonic()
    if row.trained:
        train_row(row, settings, log)
    trained_s = time.monotonic()
    client = RolloutClient(plan.rollout_url, retry_budget_s=settings.retry_budget_s)
    examiner = Examiner(
        client,
        max_tokens=settings.rollout.solver_max_tokens,
        forbidden_token_ids=placeholder_token_ids(load_config(str(plan.model))),
    )
    try:
        with _policy(client, row, seed, settings) as policy:
            answered = {
                exam: examiner.examine(
                    policy, asked, samples=plan.samples, seed=(seed + 1) * 1_000_000
                ).as_dict()
                for exam, asked in exams.items()
            }
        examined_s = time.monotonic()
        followed = exams["test"][:FOLLOWED_QUESTIONS]
        learning = _learning(examiner, row, seed, settings, followed)
        learning["update"].append(settings.updates if row.trained else 0)
        learning["greedy"].append(answered["test"]["greedy"][: len(followed)])
    finally:
        client.close()
    result = {
        "row": row.name,
        "seed": seed,
        "recipe": begun,
        "fingerprint": fingerprint(row, plan),
        "commit": commit(),
        "seconds": {
            "training": round(trained_s - started_s, 1),
            "examination": round(examined_s - trained_s, 1),
            "learning": round(time.monotonic() - examined_s, 1),
        },
        "examinations": answered,
        "learning": learning,
        "signal": read_signal(settings.run_folder) if row.trained else {},
        "curves": read_curves(settings.run_folder) if row.trained else {},
    }
    partial = folder / f"{RESULT}.partial"
    partial.write_text(json.dumps(result) + "\n", encoding="utf-8")
    partial.replace(folder / RESULT)


@contextmanager
def _policy(
    client: RolloutClient, row: Row, seed: int, settings: RunSettings, update: int | None = None
) -> Iterator[str]:
    """The name of the row's policy on the server, after so many updates (default: all), while the block lasts."""
    if not row.trained:
        yield client.models()[0]
        return
    name = f"{row.name}-{seed}-{'final' if update is None else update}"
    part = "final" if update is None else f"checkpoints/checkpoint-{update}"
    client.load_adapter(name, str((settings.run_folder / part / "solver").resolve()))
    try:
        yield name
    finally:
        client.unload_adapter(name)


def _learning(
    examiner: Examiner, row: Row, seed: int, settings: RunSettings, asked: Sequence[Asked]
) -> dict[str, list[Any]]:
    """Greedy hits at each save before the end: `update` (U), and `greedy` (U, questions)."""
    saves = range(settings.save_every, settings.updates, settings.save_every) if row.trained else ()
    greedy = []
    for update in saves:
        with _policy(examiner.client, row, seed, settings, update) as policy:
            greedy.append(examiner.greedy_hits(policy, asked))
    return {"update": list(saves), "greedy": greedy}


def fingerprint(row: Row, plan: Plan) -> str:
    """What the reward server calls the row's scoring config with its parser and embedder."""
    with RewardClient(plan.reward_url) as client:
        group = Group(id="0", rollouts=[Rollout(id="0", answer="1", steps=["1 + 0 = 1."])])
        return client.score("outcome", [group], config={"preset": row.preset, **row.overrides}).fingerprint
