"""The command `ireasoner evaluate`: accuracy on labelled questions, through a running server."""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from secrets import token_hex
from typing import Any

from rich.console import Console
from rich.table import Table

from ireasoner.compat.spelling import did_you_mean
from ireasoner.trainer.adapters.backbone import forbidden_token_ids, load_config, load_processor
from ireasoner.trainer.commands.settings import EvaluateSettings
from ireasoner.trainer.errors import ImagesError, SettingsError
from ireasoner.trainer.evaluation.evaluation import Evaluation, Figures, evaluate
from ireasoner.trainer.evaluation.evaluation_file import (
    Answers,
    answers_path,
    answers_to,
    write_figures,
    write_side,
)
from ireasoner.trainer.evaluation.intervals import Interval
from ireasoner.trainer.evaluation.open_questions import open_questions
from ireasoner.trainer.evaluation.questions import BadLine, Question
from ireasoner.trainer.evaluation.replies import AnswerClient, Reply
from ireasoner.trainer.loop.preflight import say_where
from ireasoner.trainer.monitoring.progress import progress_bar
from ireasoner.trainer.output_path import require_file, require_folder
from ireasoner.trainer.rollouts.chat_client import ChatClient
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.control_tokens import control_tokens_in
from ireasoner.trainer.rollouts.server_kind import server_kind
from ireasoner.trainer.run_folder.run_folder import read_settings

_COLUMNS = ("greedy", "sampled", "maj@N", "pass@N", "format")
_SHOWN_FAULTS = 10
_DEFAULT_MAX_TOKENS = 256
_LIKE_CONTROL_TOKEN = re.compile(r"<\|\w+\|>")
"""What the control tokens of the Qwen models look like, for an evaluation that does not know the tokenizer."""


def main(settings: EvaluateSettings, console: Console) -> Evaluation:
    """Evaluates a policy, prints the figures, and writes them with every answer where the settings say.

    Raises:
        TrainerError: No question or base model can be read, or the server refused or stayed unreachable.
    """
    settings = _of_run(settings)
    if settings.output is not None:
        require_file("output", settings.output)
    kind = server_kind(settings.url)
    if kind == "reward server" or (kind == "neither" and settings.api == "vllm"):
        what = "a reward server" if kind == "reward server" else "some other server"
        raise SettingsError(f"url: {settings.url} is {what}, not a rollout server")
    questions, bad = open_questions(
        settings.questions, settings.matching, settings.limit, settings.columns, settings.data
    )
    if settings.model is not None:
        say_where(settings.model, console)
    tokenizer = load_processor(settings.model).tokenizer if settings.model else None
    questions, refused = without_control_tokens(questions, tokenizer)
    forbidden = forbidden_token_ids(load_config(settings.model), tokenizer) if settings.model else ()
    with ExitStack() as ending:
        client = (RolloutClient if settings.api == "vllm" else ChatClient)(
            settings.url,
            api_key=settings.api_key.get_secret_value() if settings.api_key else None,
            retry_budget_s=settings.retry_budget_s,
            on_wait=console.print,
        )
        ending.callback(client.close)
        policy = ending.enter_context(_policy(client, settings))
        files = [ending.enter_context(answers_to(path)) for path in _answer_files(settings)]
        evaluation = evaluate_with_bar(
            client,
            policy,
            questions,
            console,
            samples=settings.samples,
            max_tokens=settings.max_tokens or _DEFAULT_MAX_TOKENS,
            forbidden_token_ids=forbidden,
            seed=settings.seed,
            bad=[*bad, *refused],
            files=files,
        )
    console.print(table([evaluation]))
    if len(evaluation.by_kind) > 1:
        console.print(kinds_table(evaluation))
    _write(settings, evaluation, console)
    return evaluation


def _of_run(settings: EvaluateSettings) -> EvaluateSettings:
    """The settings with the base model and the length of completions of the run, where they are not given."""
    if settings.run_folder is None:
        return settings
    run = read_settings(settings.run_folder / "settings.json")
    require_folder("run_folder", settings.run_folder)
    ours = {"model": run["model"], "max_tokens": run["rollout"]["solver_max_tokens"]}
    return settings.model_copy(
        update={name: value for name, value in ours.items() if getattr(settings, name) is None}
    )


@contextmanager
def _policy(client: RolloutClient, settings: EvaluateSettings) -> Iterator[str]:
    """The served name of the policy; a run's trained Solver is loaded into the server while the block lasts.

    Raises:
        SettingsError: The run has no trained Solver, or the server does not serve the policy.
    """
    if settings.policy is not None:
        if settings.api == "vllm":
            served = client.models()
            if settings.policy not in served:
                meant = did_you_mean(settings.policy, served) or f"; it serves {', '.join(served)}"
                raise SettingsError(f"policy: {settings.url} does not serve {settings.policy!r}{meant}")
        yield settings.policy
    elif settings.as_ == "after":
        assert settings.run_folder is not None
        adapter = settings.run_folder / "final" / "solver"
        if not adapter.is_dir():
            raise SettingsError(
                f"run_folder: {settings.run_folder} has no final/solver: has the run ended? Export a checkpoint, serve "
                "it, and give its name with --policy"
            )
        # vLLM's prefix cache would serve the key-value blocks of other weights under a name that is used twice.
        name = f"trained-{token_hex(4)}"
        client.load_adapter(name, str(adapter.resolve()))
        try:
            yield name
        finally:
            client.unload_adapter(name)
    else:
        yield client.models()[0]


def without_control_tokens(
    questions: Sequence[Question], tokenizer: Any | None
) -> tuple[list[Question], list[BadLine]]:
    """The questions that can be a part of a prompt, and those that hold a control token of the policy's tokenizer."""
    usable, refused = [], []
    for question in questions:
        if tokenizer is None:
            found = _LIKE_CONTROL_TOKEN.findall(question.prompt)
        else:
            found = control_tokens_in(question.prompt, tokenizer)
        if found:
            reason = f"the question holds the control token {found[0]}"
            refused.append(BadLine(question.line, reason, question.unit))
        else:
            usable.append(question)
    if not usable:
        raise ImagesError(f"questions: none can be asked; {refused[0]}")
    return usable, refused


def _answer_files(settings: EvaluateSettings) -> list[Path]:
    files = [] if settings.output is None else [answers_path(settings.output)]
    if settings.run_folder is not None:
        files.append(settings.run_folder / f"evaluation-{settings.as_}.jsonl")
    return files


def _write(settings: EvaluateSettings, evaluation: Evaluation, console: Console) -> None:
    if settings.output is not None:
        write_figures(settings.output, evaluation)
    if settings.run_folder is None or settings.as_ is None:
        return
    content = write_side(settings.run_folder, settings.as_, evaluation)
    if content["gain"] is not None:
        gain = Interval(**content["gain"])
        console.print(f"gain in greedy accuracy, paired: {gain}", highlight=False)
    elif content["before"] and content["after"]:
        console.print(
            "no gain: the evaluations before and after were of other questions",
            style="yellow",
            highlight=False,
        )
    console.print(f"`ireasoner report {settings.run_folder}` shows it", highlight=False, soft_wrap=True)


def evaluate_with_bar(
    client: AnswerClient,
    policy: str,
    questions: Sequence[Question],
    console: Console,
    *,
    samples: int,
    max_tokens: int,
    forbidden_token_ids: tuple[int, ...],
    seed: int,
    bad: Sequence[BadLine] = (),
    files: Sequence[Answers] = (),
) -> Evaluation:
    """`evaluate` with a progress bar, which writes every answer and names what could not be asked.

    Args:
        bad: Lines of the file of questions that are none; they count as failed.
        files: The files of answers.
    """
    faults = list(bad)
    with progress_bar(console) as bar:
        task = bar.add_task(f"evaluate {policy.rsplit('/', 1)[-1]}", total=len(questions))

        def take(replies: Sequence[Reply]) -> None:
            for file in files:
                file.add(replies)
            faults.extend(
                BadLine(one.question.line, one.error, one.question.unit)
                for one in replies
                if one.error is not None
            )
            bar.advance(task, len(replies))

        for file in files:
            file.add_bad_lines(bad)
        evaluation = evaluate(
            client,
            policy,
            questions,
            samples=samples,
            max_tokens=max_tokens,
            forbidden_token_ids=forbidden_token_ids,
            seed=seed,
            on_replies=take,
        )
    _show_faults(faults, console)
    return replace(evaluation, failed=len(faults))


def _show_faults(faults: Sequence[BadLine], console: Console) -> None:
    if not faults:
        return
    lines = [f"{len(faults)} questions could not be asked:", *map(str, faults[:_SHOWN_FAULTS])]
    if len(faults) > _SHOWN_FAULTS:
        lines.append(f"and {len(faults) - _SHOWN_FAULTS} more")
    console.print("\n  ".join(lines), style="yellow", markup=False, highlight=False, soft_wrap=True)


def table(evaluations: list[Evaluation]) -> Table:
    """The figures of several evaluations side by side, with 95% intervals."""
    rows = Table("policy", *_COLUMNS)
    for evaluation in evaluations:
        rows.add_row(evaluation.policy.rsplit("/", 1)[-1], *_cells(evaluation))
    return rows


def line(evaluation: Evaluation) -> str:
    """The figures of one evaluation, with 95% intervals."""
    names = (name.replace("@N", f"@{evaluation.samples}") for name in _COLUMNS)
    return "  ".join(f"{name} {cell}" for name, cell in zip(names, _cells(evaluation), strict=True))


def kinds_table(evaluation: Evaluation) -> Table:
    """The figures of each kind of question, with 95% intervals."""
    rows = Table("kind", "n", *_COLUMNS)
    for kind, figures in evaluation.by_kind.items():
        rows.add_row(kind, str(figures.questions), *_cells(figures))
    return rows


def _cells(figures: Figures) -> list[str]:
    return list(
        map(str, (figures.greedy, figures.sampled, figures.majority, figures.passed, figures.format_rate))
    )
