"""The command `ireasoner demo`: the whole loop on one machine, from starting the servers to the report."""

import json
import signal
from contextlib import ExitStack
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from ireasoner.trainer.adapters.backbone import load_config, placeholder_token_ids
from ireasoner.trainer.commands.evaluate import evaluate_with_bar, line, table
from ireasoner.trainer.commands.service import Service, free_ports
from ireasoner.trainer.commands.settings import DemoSettings
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.evaluation.evaluation import Evaluation, paired_gain
from ireasoner.trainer.evaluation.questions import Question, read_questions
from ireasoner.trainer.images import ImageFolder
from ireasoner.trainer.loop.train import train
from ireasoner.trainer.report import write_report
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.settings import RolloutSettings, RunSettings, describe, read_toml
from ireasoner.trainer.worlds.digit_grids.folders import QUESTIONS_FILE, write_held_out, write_unlabelled

_GRIDS = 2000
_LABELS = "ireasoner.trainer.worlds.digit_grids.labels:answer"
_REWARD_DEADLINE_S = 180.0
_ROLLOUT_DEADLINE_S = 600.0


def demo(settings: DemoSettings, console: Console) -> Path:
    """Runs the demo; returns the run folder.

    Raises:
        TrainerError: Something that the user can act on; the services have stopped by then.
        RewardError: The reward server refused a request or became unreachable.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the services stop, too
    found = None if settings.images is None else ImageFolder.scan(settings.images)
    folder = _free_folder(settings.out)
    images, questions = _inputs(settings, folder / "inputs", console)
    reward_port, rollout_port = free_ports(2)
    run = _run_settings(settings, folder, images, reward_port, rollout_port)
    if found is not None:
        found.require(run.groups_per_update)  # before anything is started
    with ExitStack() as services:
        reward_server = services.enter_context(
            Service(
                "reward server",
                "ireasoner.reward_server",
                ["--port", str(reward_port), "--threads", "1"],
                log=folder / "logs" / "reward-server.log",
                ready_url=f"http://127.0.0.1:{reward_port}/readyz",
            )
        )
        rollout_server = services.enter_context(
            Service(
                "rollout server",
                "ireasoner.rollout_server",
                [
                    *("--model", settings.model),
                    *("--port", str(rollout_port)),
                    *("--max-lora-rank", str(run.lora.r)),
                    *_pixel_flags(run.rollout),
                ],
                log=folder / "logs" / "rollout-server.log",
                ready_url=f"http://127.0.0.1:{rollout_port}/readyz",
            )
        )
        _await(reward_server, _REWARD_DEADLINE_S, console)
        _await(rollout_server, _ROLLOUT_DEADLINE_S, console)
        before = _evaluate(settings, run, questions, None, console)
        if before is not None:
            console.print(f"before: {line(before)}", highlight=False, soft_wrap=True)
        train(run, console, is_alive=lambda: reward_server.is_alive() and rollout_server.is_alive())
        after = _evaluate(settings, run, questions, folder / "final" / "solver", console)
    if before is not None and after is not None:
        _write_evaluation(folder, before, after, console)
    console.print(f"report: {write_report(folder)}", highlight=False, soft_wrap=True)
    return folder


def _pixel_flags(rollout: RolloutSettings) -> list[str]:
    """The rollout server's flags for the run's bounds of an image."""
    bounds = {"--min-pixels": rollout.min_pixels, "--max-pixels": rollout.max_pixels}
    return [word for flag, pixels in bounds.items() if pixels for word in (flag, str(pixels))]


def _inputs(settings: DemoSettings, folder: Path, console: Console) -> tuple[Path, list[Question]]:
    """The images to train on and the questions to evaluate on; by default both are grids of digits."""
    images, questions_file = settings.images, settings.questions
    if images is None:
        images = folder / "unlabelled"
        console.print(f"writing {_GRIDS:,} grids of handwritten digits", highlight=False)
        write_unlabelled(images, _GRIDS, seed=0)
        if questions_file is None:
            write_held_out(folder / "held_out", settings.evaluation_questions, seed=0)
            questions_file = folder / "held_out" / QUESTIONS_FILE
    questions = read_questions(questions_file) if questions_file is not None else []
    return images, questions[: settings.evaluation_questions]


def _run_settings(
    settings: DemoSettings, folder: Path, images: Path, reward_port: int, rollout_port: int
) -> RunSettings:
    fields: dict[str, Any] = read_toml(settings.config)
    fields["reward"] = {
        **fields.get("reward", {}),
        "url": f"http://127.0.0.1:{reward_port}",
        "control": settings.control,
    }
    fields["rollout"] = {**fields.get("rollout", {}), "url": f"http://127.0.0.1:{rollout_port}"}
    for name in ("updates", "seed"):
        if getattr(settings, name) is not None:
            fields[name] = getattr(settings, name)
    if settings.images is None:
        fields.setdefault("labels", _LABELS)
    try:
        return RunSettings(**{**fields, "model": settings.model, "images": images, "run_folder": folder})
    except ValidationError as error:
        raise SettingsError(f"{settings.config}: {describe(error)}") from error


def _await(service: Service, deadline_s: float, console: Console) -> None:
    if not console.is_terminal:
        console.print(f"starting the {service.name} (log: {service.log})", highlight=False, soft_wrap=True)
    with console.status(f"starting the {service.name} (log: {service.log})") as status:
        service.wait_until_ready(
            deadline_s,
            lambda waited_s: status.update(
                f"starting the {service.name}: {waited_s:.0f} s (log: {service.log})"
            ),
        )
    console.print(f"the {service.name} is ready", highlight=False)


def _evaluate(
    settings: DemoSettings,
    run: RunSettings,
    questions: list[Question],
    adapter: Path | None,
    console: Console,
) -> Evaluation | None:
    """Evaluates the adapter, or the base model if it is None; None if there are no questions."""
    if not questions:
        return None
    client = RolloutClient(run.rollout.url, on_wait=console.print)
    try:
        if adapter is None:
            policy = client.models()[0]
        else:
            policy = "trained"
            client.load_adapter(policy, str(adapter.resolve()))
        return evaluate_with_bar(
            client,
            policy,
            questions,
            console,
            samples=settings.samples,
            max_tokens=run.rollout.solver_max_tokens,
            forbidden_token_ids=placeholder_token_ids(load_config(settings.model)),
            seed=run.seed,
        )
    finally:
        client.close()


def _write_evaluation(folder: Path, before: Evaluation, after: Evaluation, console: Console) -> None:
    gain = paired_gain(before, after)
    console.print(table([before, after]))
    console.print(f"gain in greedy accuracy, paired: {gain}", highlight=False)
    figures = {"before": before.as_dict(), "after": after.as_dict(), "gain": asdict(gain)}
    (folder / "evaluation.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _free_folder(wanted: Path) -> Path:
    """Makes `wanted`, or the first of `wanted-2`, `wanted-3`, ... that does not exist yet."""
    names = (wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}") for number in count(1))
    folder = next(path for path in names if not path.exists())
    folder.mkdir(parents=True)
    return folder
