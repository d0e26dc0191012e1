"""What an update trains on, before TRL sees it: images, questions, rollouts and their rewards.

An update of the Solver asks the Proposer for a question about each image and samples a group of answers to it. An
update of the Proposer samples a group of questions about each image, has the Solver answer each of them, and rewards a
question by the entropy of its answers.
"""

import copy
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ireasoner.clients import ScoredGroup
from ireasoner.trainer.adapters.publisher import AdapterPublisher
from ireasoner.trainer.errors import PolicyMissingError, ProposerError, RolloutMismatchError
from ireasoner.trainer.images import read_image
from ireasoner.trainer.loop.image_order import ImageOrder
from ireasoner.trainer.monitoring.question_diversity import near_duplicate_share
from ireasoner.trainer.rewards.group_scorer import GroupScorer
from ireasoner.trainer.rewards.shadow_labels import ShadowLabels
from ireasoner.trainer.rewards.variant import RewardVariant, vary
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.group import Group
from ireasoner.trainer.rollouts.prompts import parse_question, proposer_messages, solver_messages
from ireasoner.trainer.rollouts.replicas import RolloutReplicas
from ireasoner.trainer.rollouts.rollout import Rollout, RolloutRequest, SamplingContract
from ireasoner.trainer.settings import Role, RunSettings

_SEEDS_PER_UPDATE = 1_000_000

Policies = Mapping[Role, str]
"""The name that each role's adapter is served under."""


@dataclass(slots=True)
class Collected:
    """The groups of one update, with their rewards.

    Attributes:
        update: Its number, from 0.
        role: Whose update it is.
        groups: In the order of the batch's rows.
        fingerprint: What they were scored by.
        metrics: What the update logs, by name; each a list, as TRL has it.
    """

    update: int
    role: Role
    groups: list[Group]
    fingerprint: str = ""
    metrics: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def metric(self, name: str, value: float) -> None:
        """Adds a figure of the update."""
        self.metrics[name].append(value)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Counts the seconds of a phase."""
        started_s = time.monotonic()
        yield
        self.metric(f"seconds/{phase}", time.monotonic() - started_s)


class Collector:
    """Collects the groups of an update; one at a time, in any thread.

    Args:
        settings: The run.
        images: Which images each update takes.
        processor: The policy's processor; what is used here is a copy of it, which no other thread touches.
        rollouts: The rollout server.
        publisher: What gives a server that was restarted its adapters again.
        scorer: The reward server.
        shadow: What measures groups against labels, where there are any.
        contracts: How each role is sampled.
        variant: What the Solver is trained on instead of its scores.
    """

    def __init__(
        self,
        settings: RunSettings,
        *,
        images: ImageOrder,
        processor: Any,
        rollouts: RolloutClient | RolloutReplicas,
        publisher: AdapterPublisher,
        scorer: GroupScorer,
        shadow: ShadowLabels,
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
        self._contracts = contracts
        self._variant = variant
        self._unasked_in_a_row = 0

    def collect(self, update: int, policies: Policies) -> Collected:
        """The groups of update number `update` (from 0), sampled from `policies` and scored.

        Raises:
            ProposerError: Too many proposals in a row hold no question.
            RolloutMismatchError: The rollout server saw another prompt than the trainer will.
            RolloutServerError: The rollout server refused, or stayed away past the budget.
            ScoringError: Too many groups in a row could not be judged, or the server scores otherwise than before.
            RewardError: The reward server refused, or stayed away past the budget.
        """
        paths = self._images.at(update)[: self._settings.groups_at(update)]
        groups = [Group(path, read_image(path)) for path in paths]
        collected = Collected(update, self._settings.role_at(update), groups)
        if collected.role == "solver":
            self._ask(collected, policies)
        with collected.timed("roll_out"):
            self._roll_out(collected, policies)
        with collected.timed("score"):
            if collected.role == "solver":
                self._score_solver(collected)
            else:
                self._score_proposer(collected, policies)
        collected.fingerprint = self._scorer.fingerprint
        return collected

    def _ask(self, collected: Collected, policies: Policies) -> None:
        """Puts a question of the Proposer into each group."""
        groups = collected.groups
        requests = [
            RolloutRequest(
                proposer_messages(), group.png, 1, self._seed(collected, i) + _SEEDS_PER_UPDATE // 2
            )
            for i, group in enumerate(groups)
        ]
        with collected.timed("propose"):
            proposals = self._sample("proposer", policies, requests)
        for group, [proposal] in zip(groups, proposals, strict=True):
            group.proposed_by = proposal.policy
            group.question = parse_question(proposal.text)
            group.messages = solver_messages(group.question or proposal.text)
            self._unasked_in_a_row = 0 if group.question is not None else self._unasked_in_a_row + 1
            if self._unasked_in_a_row > self._settings.rollout.unasked_in_a_row:
                raise ProposerError(
                    f"update {collected.update}: {self._unasked_in_a_row} proposals in a row hold no question; the "
                    f"last reads {proposal.text[:200]!r}"
                )
        asked = [group.question for group in groups if group.question is not None]
        _log_questions(collected, [group.question for group in groups], len(set(asked)))

    def _roll_out(self, collected: Collected, policies: Policies) -> None:
        requests = [
            RolloutRequest(group.messages, group.png, self._settings.group_size, self._seed(collected, i))
            for i, group in enumerate(collected.groups)
        ]
        sampled = self._sample(collected.role, policies, requests)
        self._check_prompts(collected.groups, sampled)
        for group, rollouts in zip(collected.groups, sampled, strict=True):
            group.rollouts = rollouts

    def _score_solver(self, collected: Collected) -> None:
        groups, update = collected.groups, collected.update
        progress = self._settings.progress_at(update)
        posted = [(str(i), group.rollouts) for i, group in enumerate(groups)]
        scored = self._scorer.score("solver", posted, progress)
        for i, (group, score) in enumerate(zip(groups, scored, strict=True)):
            group.record = group.solver_record(score)
            # A prompt without a question is no task: its rollouts have no reward, and so no advantage.
            asked = group.question is not None
            group.rewards = [
                self._scorer.of(rollout.reward, update, i, j) if asked else None
                for j, rollout in enumerate(score.rollouts)
            ]
        if self._variant is not None:
            vary(self._variant, groups, progress)
        collected.metric("progress", progress)
        _log_scores(collected, [score for group, score in zip(groups, scored, strict=True) if group.question])
        # The rewards are final by now: labels can be looked at.
        records, figures = self._shadow.measure(groups, [group.rewards for group in groups])
        for group, record in zip(groups, records, strict=True):
            group.record |= record
        for name, value in figures.items():
            collected.metric(name, value)

    def _score_proposer(self, collected: Collected, policies: Policies) -> None:
        """Rewards each proposal by the Solver's answers to it; equal questions share one group."""
        groups = collected.groups
        questions = [[parse_question(rollout.text) for rollout in group.rollouts] for group in groups]
        asked: dict[tuple[int, str], int] = {}
        for i, proposed in enumerate(questions):
            for question in proposed:
                if question is not None:
                    asked.setdefault((i, question), len(asked))
        requests = [
            RolloutRequest(
                solver_messages(question),
                groups[i].png,
                self._settings.group_size,
                self._seed(collected, k) + _SEEDS_PER_UPDATE // 2,
            )
            for (i, question), k in asked.items()
        ]
        answers = self._sample("solver", policies, requests)
        scored = (
            self._scorer.score("proposer", [(str(k), a) for k, a in enumerate(answers)], None)
            if answers
            else []
        )
        for i, group in enumerate(groups):
            proposals = []
            for j, (rollout, question) in enumerate(zip(group.rollouts, questions[i], strict=True)):
                reward: float | None
                entropy_nats: float | None
                if question is None:
                    # Not a question: the Proposer's own failure, worth nothing.
                    reward, entropy_nats = 0.0, None
                else:
                    score = scored[asked[i, question]]
                    reward, entropy_nats = score.proposer_reward, score.entropy_nats
                group.rewards.append(self._scorer.of(reward, collected.update, i, j))
                proposals.append(
                    {
                        "text": rollout.text,
                        "policy": rollout.policy,
                        "question": question,
                        "reward": reward,
                        "entropy_nats": entropy_nats,
                    }
                )
            group.record = {"policy": group.rollouts[0].policy, "proposals": proposals}
        _log_questions(collected, [question for proposed in questions for question in proposed], len(asked))
        _log_scores(collected, scored)

    def _sample(
        self, role: Role, policies: Policies, requests: Sequence[RolloutRequest]
    ) -> list[list[Rollout]]:
        """Samples from a role's policy; a server that has lost it since is given it again."""
        try:
            return self._rollouts.sample(policies[role], requests, self._contracts[role])
        except PolicyMissingError:
            self._publisher.restore()
            return self._rollouts.sample(policies[role], requests, self._contracts[role])

    def _check_prompts(self, groups: Sequence[Group], sampled: Sequence[Sequence[Rollout]]) -> None:
        """Refuses rollouts whose prompt the training forward pass would see differently."""
        texts = [
            self._processor.apply_chat_template(group.messages, tokenize=False, add_generation_prompt=True)
            for group in groups
        ]
        prompts = self._processor(images=[[group.picture] for group in groups], text=texts)["input_ids"]
        for group, rollouts, prompt in zip(groups, sampled, prompts, strict=True):
            if list(rollouts[0].prompt_token_ids) != list(prompt):
                raise RolloutMismatchError(
                    f"{group.path}: the rollout server saw a prompt of {len(rollouts[0].prompt_token_ids)} tokens, "
                    f"the processor makes {len(prompt)} others: do both load the same model?"
                )

    def _seed(self, collected: Collected, group: int) -> int:
        """Seed of the first rollout of a group: its own for each run seed, update and group."""
        run_seed = self._settings.seed * 1_000_003 + collected.update
        return int((run_seed * _SEEDS_PER_UPDATE + group * self._settings.group_size) % 2**62)


def _log_questions(collected: Collected, proposed: Sequence[str | None], distinct: int) -> None:
    asked = [question for question in proposed if question is not None]
    collected.metric("proposals_without_question", 1 - len(asked) / len(proposed))
    collected.metric("questions_distinct", distinct / len(proposed))
    collected.metric("questions_near_duplicate", near_duplicate_share(asked))


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
