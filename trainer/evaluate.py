"""The command `ireasoner evaluate`: accuracy on labelled questions, through a running server."""

import json

from rich.console import Console
from rich.table import Table
from transformers import AutoConfig

from trainer.evaluate_settings import EvaluateSettings
from trainer.evaluation import Evaluation, evaluate
from trainer.policy import placeholder_token_ids
from trainer.progress import progress_bar
from trainer.questions import Question, read_questions
from trainer.rollout_client import RolloutClient


def evaluate_policy(settings: EvaluateSettings, console: Console) -> Evaluation:
    """Evaluates, prints a table and writes the JSON file if one is asked for.

    Raises:
        TrainerError: Bad questions, or the server refused or stayed away.
    """
    questions = read_questions(settings.questions)[: settings.limit]
    forbidden = placeholder_token_ids(AutoConfig.from_pretrained(settings.model)) if settings.model else ()
    client = RolloutClient(settings.url, retry_budget_s=settings.retry_budget_s, on_wait=console.print)
    try:
        evaluation = evaluate_with_bar(
            client,
            settings.policy or client.models()[0],
            questions,
            console,
            samples=settings.samples,
            max_tokens=settings.max_tokens,
            forbidden_token_ids=forbidden,
            seed=settings.seed,
        )
    finally:
        client.close()
    console.print(table([evaluation]))
    if settings.output is not None:
        settings.output.write_text(json.dumps(evaluation.as_dict(), indent=2) + "\n", encoding="utf-8")
    return evaluation


def evaluate_with_bar(
    client: RolloutClient,
    policy: str,
    questions: list[Question],
    console: Console,
    *,
    samples: int,
    max_tokens: int,
    forbidden_token_ids: tuple[int, ...],
    seed: int,
) -> Evaluation:
    """`evaluate` with a progress bar."""
    with progress_bar(console) as bar:
        task = bar.add_task(f"evaluate {policy.rsplit('/', 1)[-1]}", total=len(questions))
        return evaluate(
            client,
            policy,
            questions,
            samples=samples,
            max_tokens=max_tokens,
            forbidden_token_ids=forbidden_token_ids,
            seed=seed,
            on_progress=lambda done: bar.advance(task, done),
        )


def table(evaluations: list[Evaluation]) -> Table:
    """The figures of several evaluations side by side, with 95% intervals."""
    rows = Table("policy", "greedy", "sampled", "maj@N", "pass@N", "format")
    for evaluation in evaluations:
        rows.add_row(
            evaluation.policy.rsplit("/", 1)[-1],
            str(evaluation.greedy),
            str(evaluation.sampled),
            str(evaluation.majority),
            str(evaluation.passed),
            f"{evaluation.format_rate:.3f}",
        )
    return rows
