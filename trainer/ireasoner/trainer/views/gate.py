"""The gate: whether votes over views of a question are truer than votes over the plain question, before any training.

Where they are not, training on views has no headroom.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ireasoner.trainer.evaluation.evaluation import majority_hit
from ireasoner.trainer.evaluation.questions import Question, parse_answer
from ireasoner.trainer.evaluation.replies import AnswerClient
from ireasoner.trainer.images import read_image
from ireasoner.trainer.rollouts.group import Group
from ireasoner.trainer.rollouts.rollout import SamplingContract
from ireasoner.trainer.views.group_views import GroupViews
from ireasoner.trainer.views.view import Seen, View

_CHUNK = 64


@dataclass(frozen=True, slots=True)
class Gate:
    """Accuracy of the most frequent answer to each question, in order; of tied answers, the share that is right counts.

    Attributes:
        plain_hits: All rollouts answer the plain question.
        pooled_hits: As many rollouts, in equal parts over the views.
        replaced_share: Share of the prompts whose view did not apply to the question.
    """

    plain_hits: tuple[float, ...]
    pooled_hits: tuple[float, ...]
    replaced_share: float


def measure_gate(
    client: AnswerClient,
    policy: str,
    questions: Sequence[Question],
    views: Sequence[View],
    *,
    samples: int,
    max_tokens: int,
    forbidden_token_ids: tuple[int, ...] = (),
    seed: int = 0,
) -> Gate:
    """Samples every question plainly and in the views, `samples` rollouts each at temperature 1.

    Args:
        client: The server.
        policy: Served name of the policy.
        questions: The labelled questions.
        views: The views; none may reword the question, which takes a Proposer.
        samples: Rollouts per question; a multiple of the number of views.
        max_tokens: Maximum number of new tokens per rollout.
        forbidden_token_ids: Tokens that are never sampled.
        seed: Seed of the rollouts and of the views.

    Raises:
        ValueError: `samples` is no multiple of the number of views, or a view rewords.
        UnreadableImageError: An image cannot be read.
        ViewError: A view failed.
        RolloutServerError: The server refused, or was unreachable for longer than the budget.
    """
    if samples % len(views) or any(view.rewords for view in views):
        raise ValueError(f"{samples} samples cannot be shared by {[view.name for view in views]}")
    contract = SamplingContract(max_tokens, forbidden_token_ids=forbidden_token_ids)
    hits: list[list[float]] = []
    replaced = 0
    for of_views in ((), tuple(views)):
        shown = GroupViews(of_views, None, seed=seed, group_size=samples, contrast_rollouts=1)
        asked = _Asked(client, policy, contract, shown, seed)
        hits.append(
            [hit for start in range(0, len(questions), _CHUNK) for hit in asked.hits(questions, start)]
        )
        replaced = asked.replaced
    plain, pooled = hits
    return Gate(
        plain_hits=tuple(plain),
        pooled_hits=tuple(pooled),
        replaced_share=replaced / (len(questions) * len(views)),
    )


@dataclass(slots=True)
class _Asked:
    """Asks questions in views, and counts the views that did not apply."""

    client: AnswerClient
    policy: str
    contract: SamplingContract
    views: GroupViews
    seed: int
    replaced: int = 0

    def hits(self, questions: Sequence[Question], start: int) -> list[float]:
        """The accuracy of the vote on each of the next questions from index `start`."""
        chosen = questions[start : start + _CHUNK]
        groups = [Group(question.image, read_image(question.image)) for question in chosen]
        seen: list[list[Seen]] = []
        requests = []
        for index, (group, question) in enumerate(zip(groups, chosen, strict=True), start):
            group.question = question.prompt
            seen.append(self.views.show(group, (), 0, index))
            self.replaced += self.views.replaced(group)
            size = sum(prompt.count for prompt in group.prompts)
            requests += [
                prompt.request(self.seed + index * size + position * prompt.count)
                for position, prompt in enumerate(group.prompts)
            ]
        texts = iter(self.client.texts(self.policy, requests, self.contract))
        return [
            majority_hit(question, _answers([next(texts) for _ in group.prompts], shown))
            for question, group, shown in zip(chosen, groups, seen, strict=True)
        ]


def _answers(texts: Sequence[Sequence[str]], seen: Sequence[Seen]) -> list[str]:
    """The answers in the texts of a group's prompts, mapped back from what each prompt shows."""
    answers = []
    for index, of_prompt in enumerate(texts):
        for text in of_prompt:
            answer = parse_answer(text)
            if answer is not None and seen:
                answer = seen[index].plain_answer(answer)
            if answer is not None:
                answers.append(answer)
    return answers
