"""What an update trains on, before TRL sees it: images, questions, rollouts and rewards.

A Solver update asks the Proposer for one question per image and samples a group of answers to it. A Proposer update
samples a group of questions per image, lets the Solver answer each, and rewards a question by the entropy of its
answers.
"""

import copy
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ireasoner.audit.questions import near_duplicate_share
from ireasoner.clients import ScoredGroup
from ireasoner.trainer.adapters.publisher import AdapterPublisher
from ireasoner.trainer.errors import (
    PolicyMissingError,
    ProposerError,
    RolloutMismatchError,
    ViewError,
)
from ireasoner.trainer.loop.image_groups import ImageGroups
from ireasoner.trainer.loop.role_schedule import groups_at, role_at
from ireasoner.trainer.rewards.group_scorer import GroupScorer, GroupToScore
from ireasoner.trainer.rewards.shadow_labels import ShadowLabels
from ireasoner.trainer.rewards.variant import RewardVariant, apply_variant
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.control_tokens import control_tokens_in
from ireasoner.trainer.rollouts.group import Group
from ireasoner.trainer.rollouts.prompt import Prompt
from ireasoner.trainer.rollouts.prompt_difference import prompt_difference
from ireasoner.trainer.rollouts.prompts import (
    parse_question,
    proposer_messages,
    rewording_messages,
    solver_messages,
)
from ireasoner.trainer.rollouts.replicas import RolloutReplicas
from ireasoner.trainer.rollouts.rollout import Rollout, RolloutRequest, SamplingContract
from ireasoner.trainer.settings import Role, RunSettings
from ireasoner.trainer.views import GroupViews, Seen
from ireasoner.trainer.views.view_scores import ViewScores

_SEEDS_PER_UPDATE = 1_000_000

Policies = Mapping[Role, str]
"""The name under which each role's adapter is served."""

Question = tuple[int, str]
"""A proposed question: the index of its group, and its text."""


@dataclass(slots=True)
class Collected:
    """The scored groups of one update.

    Attributes:
        update: Index of the update, from 0.
        role: The role that it trains.
        groups: The groups, in the order of the batch's rows.
        contract: How they were sampled.
        fingerprint: Fingerprint of the scoring.
        metrics: What the update logs, by name; each a list, as in TRL.
    """

    update: int
    role: Role
    groups: list[Group]
    contract: SamplingContract
    fingerprint: str = ""
    metrics: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def metric(self, name: str, value: float) -> None:
        """Adds one value to a metric of the update."""
        self.metrics[name].append(value)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Logs how many seconds the block takes."""
        started_s = time.monotonic()
        yield
        self.metric(f"seconds/{phase}", time.monotonic() - started_s)


class Collector:
    """Collects the groups of an update; one update at a time, in any thread.

    Args:
        settings: The run.
        images: The groups of each update, before their prompts.
        processor: The policy's processor; the collector works with a copy, which no other thread touches.
        rollouts: The rollout server.
        publisher: Gives a restarted rollout server its adapters back.
        scorer: The reward server.
        shadow: Measures groups against labels, if there are any.
        views: The views of the Solver's questions.
        contracts: How each role is sampled.
        variant: What the Solver is trained on instead of its scores.
    """

    def __init__(
        self,
        settings: RunSettings,
        *,
        images: ImageGroups,
        processor: Any,
        rollouts: RolloutClient | RolloutReplicas,
        publisher: AdapterPublisher,
        scorer: GroupScorer,
        shadow: ShadowLabels,
        views: GroupViews,
        contracts: Mapping[Role, SamplingContract],
        variant: RewardVariant | None = None,
    ) -> None:
        self._settings = settings
        self._images = images
        self._processor = copy.deepcopy(processor)
        self._rollouts = rollouts
        self._publisher = publisher
        self._scorer = scorer
        self._shadow = shadow
        self._views = views
        self._view_scores = ViewScores(scorer, settings.views.contrast_weight)
        self._contracts = contracts
        self._variant = variant
        self._consecutive_failed_proposals = 0

    def collect(self, update: int, policies: Policies) -> Collected:
        """Samples and scores the groups of update `update` (from 0).

        Args:
            update: Index of the update.
            policies: The policies to sample from.

        Raises:
            ImagesError: Too many consecutive images cannot be read any more.
            ProposerError: Too many consecutive proposals hold no question.
            RolloutMismatchError: The rollout server's prompt is not the trainer's.
            RolloutServerError: The rollout server refused, or was unreachable for longer than the budget.
            ViewError: A view, or its map of answers, failed.
            ScoringError: Too many consecutive groups could not be judged, or the server's scoring changed.
            RewardError: The reward server refused, or was unreachable for longer than the budget.
        """
        role = role_at(self._settings, update)
        planned = groups_at(self._settings, update)
        groups = self._images.at(update, planned)
        collected = Collected(update, role, groups, self._contracts[role])
        collected.metric("groups_left_out", planned - len(groups))
        if not groups:
            return collected
        if role == "solver":
            self._propose(collected, policies)
        seen = self._show(collected, policies)
        with collected.timed("roll_out"):
            self._roll_out(collected, policies)
        with collected.timed("score"):
            if role == "solver":
                self._view_scores.map_answers(groups, seen, update)
                self._score_solver(collected)
            else:
                self._score_proposer(collected, policies)
        collected.fingerprint = self._scorer.fingerprint
        return collected

    def _propose(self, collected: Collected, policies: Policies) -> None:
        """Gives each group a question of the Proposer."""
        requests = [
            RolloutRequest(proposer_messages(), group.png, 1, self._helper_seed(collected, index))
            for index, group in enumerate(collected.groups)
        ]
        with collected.timed("propose"):
            proposals = self._sample("proposer", policies, requests)
        for group, [proposal] in zip(collected.groups, proposals, strict=True):
            group.proposed_by = proposal.policy
            group.question = self._question(proposal)
            self._count_failed_proposals(collected.update, group.question, proposal)
        questions = [group.question for group in collected.groups]
        _log_questions(
            collected, questions, len({question for question in questions if question is not None})
        )

    def _question(self, proposal: Rollout) -> str | None:
        """The question in a proposal; None if there is none, or if its control tokens would alter the prompt."""
        question = parse_question(proposal.text)
        if question is not None and control_tokens_in(question, self._processor.tokenizer):
            return None
        return question

    def _count_failed_proposals(self, update: int, question: str | None, proposal: Rollout) -> None:
        failed = 0 if question is not None else self._consecutive_failed_proposals + 1
        self._consecutive_failed_proposals = failed
        if failed > self._settings.rollout.max_consecutive_failed_proposals:
            raise ProposerError(
                f"update {update}: {failed} consecutive proposals hold no question "
                f"(rollout.max_consecutive_failed_proposals); the last one is {proposal.text[:200]!r}"
            )

    def _show(self, collected: Collected, policies: Policies) -> list[list[Seen]]:
        """Gives each group its prompts; returns what those of the Solver show, by group."""
        groups, update = collected.groups, collected.update
        if collected.role == "proposer":
            for group in groups:
                size = self._settings.group_size
                group.prompts = [Prompt(proposer_messages(), group.picture, group.png, size)]
            return []
        words = self._reworded(collected, policies)
        seen = [self._views.show(group, words[index], update, index) for index, group in enumerate(groups)]
        for group in groups:
            self._refuse_control_tokens(group)
        shown = sum(map(len, seen))
        if shown:
            collected.metric("views_replaced", sum(map(self._views.replaced, groups)) / shown)
        return seen

    def _reworded(self, collected: Collected, policies: Policies) -> list[list[str | None]]:
        """Each group's question in other words, once per view that needs them; None where the Proposer gave none."""
        words: list[list[str | None]] = [[] for _ in collected.groups]
        asked = [(index, group) for index, group in enumerate(collected.groups) if group.question is not None]
        if not self._views.rewordings or not asked:
            return words
        requests = [
            RolloutRequest(
                rewording_messages(str(group.question)),
                group.png,
                self._views.rewordings,
                self._helper_seed(collected, index) + 1,
            )
            for index, group in asked
        ]
        with collected.timed("reword"):
            replies = self._sample("proposer", policies, requests)
        for (index, group), reworded in zip(asked, replies, strict=True):
            found = map(self._question, reworded)
            words[index] = [None if text == group.question else text for text in found]
        return words

    def _refuse_control_tokens(self, group: Group) -> None:
        """Refuses views whose question would alter the prompt; the group's own was checked when it was proposed."""
        for prompt in group.sampled_prompts:
            if prompt.question not in (None, group.question) and (
                tokens := control_tokens_in(str(prompt.question), self._processor.tokenizer)
            ):
                raise ViewError(f"the question of the view {prompt.view!r} holds control tokens: {tokens}")

    def _roll_out(self, collected: Collected, policies: Policies) -> None:
        groups = collected.groups
        asked = [
            (group, prompt, seed)
            for index, group in enumerate(groups)
            for prompt, seed in zip(group.sampled_prompts, self._seeds(collected, index), strict=True)
        ]
        requests = [prompt.request(seed) for _, prompt, seed in asked]
        sampled = self._sample(collected.role, policies, requests)
        self._check_prompts([(group, prompt) for group, prompt, _ in asked], sampled)
        replies = iter(sampled)
        for group in groups:
            group.rollouts = [rollout for _ in group.prompts for rollout in next(replies)]
            group.contrast = [] if group.contrast_prompt is None else next(replies)

    def _score_solver(self, collected: Collected) -> None:
        groups, update = collected.groups, collected.update
        progress = self._settings.progress_at(update)
        posted = [
            GroupToScore(
                group.rollouts,
                group.question,
                group.shown,
                self._shadow.answers(group.path, group.question),
                views=[prompt.view for prompt in group.prompt_of_rollout],
                answers_in_view=group.answers_in_view,
            )
            for group in groups
        ]
        scored = self._scorer.score("solver", posted, update, progress)
        scored = self._view_scores.judged(groups, scored, update)
        for index, (group, score) in enumerate(zip(groups, scored, strict=True)):
            group.record = group.solver_record(score)
            # Without a question there is no task: the rollouts have no reward, and so no advantage.
            group.rewards = [
                self._scorer.reward(rollout.reward, update, index, member) if group.question else None
                for member, rollout in enumerate(score.rollouts)
            ]
        if self._variant is not None:
            apply_variant(self._variant, groups, progress)
        collected.metric("progress", progress)
        _log_scores(collected, [score for group, score in zip(groups, scored, strict=True) if group.question])
        self._measure_against_labels(collected)

    def _measure_against_labels(self, collected: Collected) -> None:
        """Looks at labels; the rewards are final by now."""
        groups = collected.groups
        records, figures = self._shadow.measure(groups, [group.rewards for group in groups])
        for group, record in zip(groups, records, strict=True):
            group.record |= record
        for name, value in figures.items():
            collected.metric(name, value)

    def _score_proposer(self, collected: Collected, policies: Policies) -> None:
        """Rewards each proposal by the Solver's answers to it; equal questions of an image share one group."""
        questions = [[self._question(rollout) for rollout in group.rollouts] for group in collected.groups]
        distinct = dict.fromkeys(
            (index, question)
            for index, proposed in enumerate(questions)
            for question in proposed
            if question is not None
        )
        scores = self._scored_answers(collected, policies, list(distinct))
        for index, (group, proposed) in enumerate(zip(collected.groups, questions, strict=True)):
            proposals = []
            for member, (rollout, question) in enumerate(zip(group.rollouts, proposed, strict=True)):
                score = None if question is None else scores[index, question]
                # A proposal without a question is the Proposer's own failure: its reward is 0.
                reward = 0.0 if score is None else score.proposer_reward
                group.rewards.append(self._scorer.reward(reward, collected.update, index, member))
                proposals.append(
                    {
                        "text": rollout.text,
                        "policy": rollout.policy,
                        "question": question,
                        "reward": reward,
                        "entropy_nats": None if score is None else score.entropy_nats,
                    }
                )
            group.record = {"policy": group.rollouts[0].policy, "proposals": proposals}
        _log_questions(
            collected, [question for proposed in questions for question in proposed], len(distinct)
        )
        _log_scores(collected, list(scores.values()))

    def _scored_answers(
        self, collected: Collected, policies: Policies, questions: Sequence[Question]
    ) -> dict[Question, ScoredGroup]:
        """The Solver's answers to each question, scored for the Proposer."""
        if not questions:
            return {}
        requests = [
            RolloutRequest(
                solver_messages(text),
                collected.groups[group].png,
                self._settings.group_size,
                self._helper_seed(collected, index),
            )
            for index, (group, text) in enumerate(questions)
        ]
        answers = self._sample("solver", policies, requests)
        posted = [
            GroupToScore(
                rollouts,
                text,
                collected.groups[group].shown,
                self._shadow.answers(collected.groups[group].path, text),
            )
            for (group, text), rollouts in zip(questions, answers, strict=True)
        ]
        scored = self._scorer.score("proposer", posted, collected.update, None)
        return dict(zip(questions, scored, strict=True))

    def _sample(
        self, role: Role, policies: Policies, requests: Sequence[RolloutRequest]
    ) -> list[list[Rollout]]:
        """Samples from a role's policy; publishes the adapters again if the server has lost them."""
        try:
            return self._rollouts.sample(policies[role], requests, self._contracts[role])
        except PolicyMissingError:
            self._publisher.restore()
            return self._rollouts.sample(policies[role], requests, self._contracts[role])

    def _check_prompts(
        self, asked: Sequence[tuple[Group, Prompt]], sampled: Sequence[Sequence[Rollout]]
    ) -> None:
        """Refuses rollouts whose prompt differs from the one in the training forward pass."""
        texts = [
            self._processor.apply_chat_template(prompt.messages, tokenize=False, add_generation_prompt=True)
            for _, prompt in asked
        ]
        own = self._processor(images=[[prompt.picture] for _, prompt in asked], text=texts)["input_ids"]
        for (group, prompt), rollouts, ids in zip(asked, sampled, own, strict=True):
            difference = prompt_difference(rollouts[0].prompt_token_ids, ids, self._processor)
            if difference is not None:
                shown = "" if prompt.view is None else f" (view {prompt.view})"
                raise RolloutMismatchError(f"{group.path}{shown}: {difference}")

    def _seeds(self, collected: Collected, index: int) -> list[int]:
        """Seed of the first rollout of each prompt of a group; trained rollouts have consecutive seeds."""
        group, first = collected.groups[index], self._seed(collected, index)
        counts = [prompt.count for prompt in group.prompts]
        seeds = [first + sum(counts[:position]) for position in range(len(counts))]
        if group.contrast_prompt is not None:
            seeds.append(self._helper_seed(collected, index) + _SEEDS_PER_UPDATE // 4)
        return seeds

    def _seed(self, collected: Collected, group: int) -> int:
        """Seed of the first rollout of a group; unique per run seed, update and group."""
        run_seed = self._settings.seed * 1_000_003 + collected.update
        return int((run_seed * _SEEDS_PER_UPDATE + group * self._settings.group_size) % 2**62)

    def _helper_seed(self, collected: Collected, group: int) -> int:
        """Seed of rollouts of the role that is not trained, apart from those of the role that is."""
        return self._seed(collected, group) + _SEEDS_PER_UPDATE // 2


def _log_questions(collected: Collected, proposed: Sequence[str | None], distinct: int) -> None:
    questions = [question for question in proposed if question is not None]
    collected.metric("proposals_without_question", 1 - len(questions) / len(proposed))
    collected.metric("questions_distinct", distinct / len(proposed))
    collected.metric("questions_near_duplicate", near_duplicate_share(questions))


def _log_scores(collected: Collected, scored: Sequence[ScoredGroup]) -> None:
    values_by_name: dict[str, list[float | None]] = {
        "answer_entropy_nats": [group.entropy_nats for group in scored],
        "dominant_share": [group.dominant_share for group in scored],
        "proposer_reward": [group.proposer_reward for group in scored],
        "tie_rate": [float(group.tie) for group in scored if group.tie is not None],
        "outcome": [r.outcome for group in scored for r in group.rollouts],
        "trajectory": [r.trajectory for group in scored for r in group.rollouts],
        "steps": [float(len(r.steps)) for group in scored for r in group.rollouts if r.status == "ok"],
        "invalid_rate": [float(r.status == "invalid") for group in scored for r in group.rollouts],
        "abstain_rate": [float(r.status == "abstain") for group in scored for r in group.rollouts],
    }
    for name, values in values_by_name.items():
        known = [value for value in values if value is not None]
        if known:
            collected.metric(name, sum(known) / len(known))
