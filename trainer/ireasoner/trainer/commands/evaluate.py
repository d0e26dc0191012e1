"""The command `ireasoner evaluate`: accuracy on labelled questions, through a running server."""

import json

from rich.console import Console
from rich.table import Table

from ireasoner.trainer.adapters.backbone import load_config, placeholder_token_ids
from ireasoner.trainer.commands.settings import EvaluateSettings
from ireasoner.trainer.evaluation.evaluation import AnswerClient, Evaluation, Figures, evaluate
from ireasoner.trainer.evaluation.questions import Question, read_questions
from ireasoner.trainer.monitoring.progress import progress_bar
from ireasoner.trainer.rollouts.chat_client import ChatClient
from ireasoner.trainer.rollouts.client import RolloutClient

_COLUMNS = ("greedy", "sampled", "maj@N", "pass@N", "format")


def evaluate_policy(settings: EvaluateSettings, console: Console) -> Evaluation:
    """Evaluates a policy, prints the figures and, if `output` is set, writes them as JSON.

    Raises:
        TrainerError: A question or the base model cannot be read, or the server refused or stayed unreachable.
    """
    questions = read_questions(settings.questions, settings.matching)[: settings.limit]
    forbidden = placeholder_token_ids(load_config(settings.model)) if settings.model else ()
    client = (RolloutClient if settings.api == "vllm" else ChatClient)(
        settings.url,
        api_key=settings.api_key.get_secret_value() if settings.api_key else None,
        retry_budget_s=settings.retry_budget_s,
        on_wait=console.print,
    )
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
    if len(evaluation.by_kind) > 1:
        console.print(kinds_table(evaluation))
    if settings.output is not None:
        settings.output.parent.mkdir(parents=True, exist_ok=True)
        settings.output.write_text(json.dumps(evaluation.as_dict(), indent=2) + "\n", encoding="utf-8")
    return evaluation


def evaluate_with_bar(
    client: AnswerClient,
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
