"""The command `ireasoner demo`: the whole loop on one machine, from starting the servers to the report."""

import signal
from contextlib import ExitStack
from itertools import count
from math import gcd
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError
from rich.console import Console

from ireasoner.compat.flags import describe
from ireasoner.trainer.adapters.backbone import forbidden_token_ids
from ireasoner.trainer.commands.evaluate import evaluate_with_bar, line, table, without_control_tokens
from ireasoner.trainer.commands.service import LocalServer, Service, free_ports
from ireasoner.trainer.commands.settings import DemoSettings
from ireasoner.trainer.errors import ServiceError, SettingsError
from ireasoner.trainer.evaluation import Side
from ireasoner.trainer.evaluation.evaluation import Evaluation, paired_gain
from ireasoner.trainer.evaluation.evaluation_file import answers_to, write_side
from ireasoner.trainer.evaluation.questions import BadLine, Question, scan_questions
from ireasoner.trainer.images import open_images
from ireasoner.trainer.loop.preflight import check_files, check_model, policy_shape, supported_config
from ireasoner.trainer.loop.train import refuse_unsupported, train
from ireasoner.trainer.output_path import require_folder
from ireasoner.trainer.report import write_report
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.settings import RunSettings, read_toml
from ireasoner.trainer.worlds.digit_grids.folders import QUESTIONS_FILE, write_held_out, write_unlabelled

_GRIDS = 2000
_GROUP_SIZE = RunSettings.model_fields["group_size"].default
_LABELS = "ireasoner.trainer.worlds.digit_grids.labels:answer"
_REWARD_DEADLINE_S = 180.0
_ROLLOUT_DEADLINE_S = 600.0


def main(settings: DemoSettings, console: Console) -> Path:
    """Runs the demo; returns the run folder.

    Raises:
        TrainerError: Something that the user can act on; the services have stopped by then.
        RewardError: The reward server refused a request or became unreachable.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the services stop, too
    require_folder("out", settings.out)
    found = None if settings.images is None else open_images(settings.images, settings.data)
    reward_port, rollout_port = free_ports(2)
    run = _run_settings(settings, _free_folder(settings.out), reward_port, rollout_port)
    if found is not None:
        found.require(run.groups_per_update)
    refuse_unsupported(run)
    config = supported_config(run.model, console)
    policy_shape(run, config)
    check_files(run)
    tokenizer = check_model(run).tokenizer
    forbidden = forbidden_token_ids(config, tokenizer)
    given = _questions(
        settings, settings.questions, tokenizer
    )  # all of it before anything is written or started
    folder = run.run_folder
    folder.mkdir(parents=True)
    ledger = folder / "ledger"
    with ExitStack() as services:
        reward_server = services.enter_context(_reward_server(run, ledger))
        rollout_server = services.enter_context(_rollout_server(run, rollout_port))
        written = _write_inputs(settings, run, console)  # while the servers start
        questions, bad = given if written is None else _questions(settings, written, tokenizer)
        reward_server = _ready_reward_server(services, run, ledger, reward_server, console)
        _await(rollout_server, _ROLLOUT_DEADLINE_S, console)
        before = _evaluate(settings, run, "before", questions, bad, forbidden, console)
        if before is not None:
            console.print(f"before: {line(before)}", highlight=False, soft_wrap=True)
        train(run, console, is_alive=lambda: reward_server.is_alive() and rollout_server.is_alive())
        after = _evaluate(settings, run, "after", questions, bad, forbidden, console)
    if before is not None and after is not None:
        console.print(table([before, after]))
        gain = paired_gain(before.correct, after.correct)
        console.print(f"gain in greedy accuracy, paired: {gain}", highlight=False)
    console.print(f"report: {write_report(folder)}", highlight=False, soft_wrap=True)
    if any(ledger.glob("*.sqlite")):
        console.print(f"every group again: ireasoner explore {ledger}", highlight=False, soft_wrap=True)
    return folder


def _reward_server(run: RunSettings, ledger: Path | None) -> Service:
    """The reward server of a run; it keeps the run's groups in a ledger, if there is one."""
    port = urlsplit(run.reward.url).port
    assert port is not None
    flags = ["--threads", "1", *(["--ledger", str(ledger)] if ledger is not None else [])]
    return LocalServer("reward_server", port, flags, log=run.run_folder / "logs" / "reward-server.log")


def _rollout_server(run: RunSettings, port: int) -> Service:
    log = run.run_folder / "logs" / "rollout-server.log"
    return LocalServer("rollout_server", port, run.rollout_server_flags, log=log)


def _ready_reward_server(
    services: ExitStack, run: RunSettings, ledger: Path, started: Service, console: Console
) -> Service:
    """The started reward server once it is ready, or one without a ledger if that one cannot keep it in `ledger`."""
    try:
        _await(started, _REWARD_DEADLINE_S, console)
    except ServiceError as error:
        if str(ledger) not in str(error):
            raise
        console.print(f"going on without a ledger: {error}", highlight=False, soft_wrap=True)
        unrecorded = services.enter_context(_reward_server(run, None))
        _await(unrecorded, _REWARD_DEADLINE_S, console)
        return unrecorded
    console.print(f"every group as it is scored: {run.reward.url}/explore", highlight=False)
    return started


def _write_inputs(settings: DemoSettings, run: RunSettings, console: Console) -> Path | None:
    """Writes the images to train on, unless they are given; returns the file of questions, unless it is given."""
    if settings.images is not None:
        return None
    console.print(f"writing {_GRIDS:,} grids of handwritten digits", highlight=False)
    write_unlabelled(run.images, _GRIDS, seed=0)
    if settings.questions is not None:
        return None
    held_out = run.images.with_name("held_out")
    write_held_out(held_out, settings.evaluation_questions, seed=0)
    return held_out / QUESTIONS_FILE


def _questions(
    settings: DemoSettings, file: Path | None, tokenizer: Any
) -> tuple[list[Question], list[BadLine]]:
    """The questions to evaluate on, and bad lines; none without a file."""
    if file is None:
        return [], []
    questions, bad = scan_questions(file, limit=settings.evaluation_questions)
    usable, refused = without_control_tokens(questions, tokenizer)
    return usable, [*bad, *refused]


def _run_settings(settings: DemoSettings, folder: Path, reward_port: int, rollout_port: int) -> RunSettings:
    images = settings.images or folder / "inputs" / "unlabelled"
    fields: dict[str, Any] = read_toml(settings.config)
    fields["reward"] = {
        **fields.get("reward", {}),
        "url": f"http://127.0.0.1:{reward_port}",
        "control": settings.control,
    }
    fields["rollout"] = {**fields.get("rollout", {}), "url": f"http://127.0.0.1:{rollout_port}"}
    for name in ("updates", "groups_per_update", "seed"):
        if getattr(settings, name) is not None:
            fields[name] = getattr(settings, name)
    _divide(fields, settings.groups_per_update)
    if settings.images is None:
        fields.setdefault("labels", _LABELS)
    else:
        fields["data"] = settings.data
    try:
        return RunSettings(**{**fields, "model": settings.model, "images": images, "run_folder": folder})
    except ValidationError as error:
        raise SettingsError(f"{settings.config}: {describe(error, RunSettings)}") from error


def _divide(fields: dict[str, Any], groups_per_update: int | None) -> None:
    """Makes the config's micro-batch divide an update of so many groups; a wrong value stays what it is."""
    whole, group_size = fields.get("micro_batch_size"), fields.get("group_size", _GROUP_SIZE)
    if (
        groups_per_update is not None
        and type(whole) is type(group_size) is int
        and min(whole, group_size) > 0
    ):
        fields["micro_batch_size"] = gcd(whole, groups_per_update * group_size)


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
    side: Side,
    questions: list[Question],
    bad: list[BadLine],
    forbidden: tuple[int, ...],
    console: Console,
) -> Evaluation | None:
    """Evaluates the base model before, and the trained Solver after training; None if there are no questions."""
    if not questions:
        return None
    client = RolloutClient(run.rollout.url, on_wait=console.print)
    with ExitStack() as ending:
        ending.callback(client.close)
        policy = client.models()[0]
        if side == "after":
            policy = "trained"
            client.load_adapter(policy, str((run.run_folder / "final" / "solver").resolve()))
        answers = ending.enter_context(answers_to(run.run_folder / f"evaluation-{side}.jsonl"))
        evaluation = evaluate_with_bar(
            client,
            policy,
            questions,
            console,
            samples=settings.samples,
            max_tokens=run.rollout.solver_max_tokens,
            forbidden_token_ids=forbidden,
            seed=run.seed,
            bad=bad,
            files=[answers],
        )
    write_side(run.run_folder, side, evaluation)
    return evaluation


def _free_folder(wanted: Path) -> Path:
    """`wanted`, or the first of `wanted-2`, `wanted-3`, ... that does not exist yet."""
    names = (wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}") for number in count(1))
    return next(path for path in names if not path.exists())
