"""What an update trains on, before TRL sees it: images, questions, rollouts and rewards.

A Solver update asks the Proposer for one question per image and samples a group of answers to it; a proposal without
a question leaves its group out. A Proposer update samples a group of questions per image, lets the Solver answer each,
and rewards a question by the entropy of its answers.
"""

import copy
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from ireasoner.trainer.adapters.publisher import AdapterPublisher
from ireasoner.trainer.errors import RolloutMismatchError
from ireasoner.trainer.loop.collected import Collected, log_questions, log_scores, log_signals, log_voters
from ireasoner.trainer.loop.image_groups import ImageGroups
from ireasoner.trainer.loop.judging import Judging
from ireasoner.trainer.loop.proposal_scores import ProposalScores
from ireasoner.trainer.loop.proposals import Proposals
from ireasoner.trainer.loop.role_schedule import groups_at, role_at
from ireasoner.trainer.loop.sampler import Policies, Sampler
from ireasoner.trainer.loop.seeds import Seeds, Stream
from ireasoner.trainer.loop.shown_views import ShownViews
from ireasoner.trainer.loop.signal_pass import SignalPass
from ireasoner.trainer.loop.solver_inputs import GroupInputs, SolverInputs
from ireasoner.trainer.loop.voters import Voters
from ireasoner.trainer.rewards.group_scorer import GroupScorer, GroupToScore
from ireasoner.trainer.rewards.needs import NOTHING, Needs
from ireasoner.trainer.rewards.shadow_labels import ShadowLabels
from ireasoner.trainer.rewards.variant import RewardVariant, apply_variant
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.group import Group
from ireasoner.trainer.rollouts.prompt import Prompt
from ireasoner.trainer.rollouts.prompt_difference import prompt_difference
from ireasoner.trainer.rollouts.prompts import proposer_messages
from ireasoner.trainer.rollouts.replicas import RolloutReplicas
from ireasoner.trainer.rollouts.rollout import Rollout, RolloutRequest, SamplingContract
from ireasoner.trainer.settings import Role, RunSettings
from ireasoner.trainer.views import GroupViews, Seen
from ireasoner.trainer.views.view_scores import ViewScores


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
        needs: What the scoring config needs besides texts.
        signal_pass: Measures the distributions that tokens were sampled from; None if the config needs none.
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
        needs: Needs = NOTHING,
        signal_pass: SignalPass | None = None,
    ) -> None:
        self._settings = settings
        self._images = images
        self._processor = copy.deepcopy(processor)
        self._sampler = Sampler(rollouts, publisher)
        self._scorer = scorer
        self._shadow = shadow
        self._view_scores = ViewScores(scorer, settings.views.contrast_weight)
        self._contracts = contracts
        self._variant = variant
        self._seeds = Seeds(settings.seed, settings.group_size)
        self._proposals = Proposals(
            self._processor.tokenizer, settings.rollout.max_consecutive_failed_proposals
        )
        self._shown = ShownViews(views, self._processor.tokenizer, self._proposals.question)
        self._proposal_scores = ProposalScores(
            settings, self._sampler, self._seeds, contracts, self._proposals, scorer, shadow
        )
        tokenizer, solver = self._processor.tokenizer, contracts["solver"]
        self._inputs = SolverInputs(
            needs,
            signal_pass,
            Judging(self._sampler, self._seeds, solver, settings.rollout.judge_max_tokens, tokenizer)
            if needs.judge
            else None,
            Voters(settings, self._sampler, self._seeds, contracts, self._proposals.question)
            if needs.voters
            else None,
        )

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
        collected = Collected(update, role, self._images.at(update, planned), self._contracts[role])
        if role == "solver" and collected.recorded:
            self._propose(collected, policies)
            asked = [group for group in collected.recorded if group.question is not None]
            collected.groups = self._images.shared(asked)
        else:
            collected.recorded = collected.groups = self._images.shared(collected.recorded)
        groups = collected.groups
        collected.metric("groups_left_out", planned - len(groups))
        if not groups:
            return collected
        seen = self._show(collected, policies)
        with collected.timed("roll_out"):
            self._roll_out(collected, policies)
        if role == "solver":
            inputs = self._measure(collected, policies)
            with collected.timed("score"):
                self._view_scores.map_answers(groups, seen, update)
                self._score_solver(collected, inputs)
        else:
            with collected.timed("score"):
                self._proposal_scores.score(collected, policies)
        collected.fingerprint = self._scorer.fingerprint
        return collected

    def _propose(self, collected: Collected, policies: Policies) -> None:
        """Gives each group a question of the Proposer, if its proposal holds one."""
        requests = [
            RolloutRequest(
                proposer_messages(), group.png, 1, self._seeds.first(collected.update, index, Stream.HELPER)
            )
            for index, group in enumerate(collected.recorded)
        ]
        with collected.timed("propose"):
            proposals = self._sample("proposer", policies, requests)
        for group, [proposal] in zip(collected.recorded, proposals, strict=True):
            group.proposed_by = proposal.policy
            group.proposal = proposal.text
            group.question = self._proposals.question(proposal)
            group.record = group.record_without_rollouts()
            self._proposals.count(collected.update, group.question, proposal)
        questions = [group.question for group in collected.recorded]
        log_questions(collected, questions, len({question for question in questions if question is not None}))

    def _show(self, collected: Collected, policies: Policies) -> list[list[Seen]]:
        """Gives each group its prompts; returns what those of the Solver show, by group."""
        groups = collected.groups
        if collected.role == "proposer":
            for group in groups:
                size = self._settings.group_size
                group.prompts = [Prompt(proposer_messages(), group.picture, group.png, size)]
            return []
        with collected.timed("paraphrase") if self._shown.takes_time else nullcontext():
            seen = self._shown.show(
                groups,
                collected.update,
                lambda requests: self._sample("solver", policies, requests, self._contracts["proposer"]),
                [
                    self._seeds.first(collected.update, index, Stream.REWORDING)
                    for index in range(len(groups))
                ],
            )
        replaced = self._shown.replaced_share(groups)
        if replaced is not None:
            collected.metric("views_replaced", replaced)
        return seen

    def _roll_out(self, collected: Collected, policies: Policies) -> None:
        groups = collected.groups
        asked = [
            (group, prompt, seed)
            for index, group in enumerate(groups)
            for prompt, seed in zip(group.sampled_prompts, self._seeds_of(collected, index), strict=True)
        ]
        requests = [prompt.request(seed) for _, prompt, seed in asked]
        sampled = self._sample(collected.role, policies, requests)
        self._check_prompts([(group, prompt) for group, prompt, _ in asked], sampled)
        replies = iter(sampled)
        for group in groups:
            group.rollouts = [rollout for _ in group.prompts for rollout in next(replies)]
            group.contrast = [] if group.contrast_prompt is None else next(replies)

    def _measure(self, collected: Collected, policies: Policies) -> list[GroupInputs]:
        """What the scoring config needs of the Solver's groups besides texts."""
        with collected.timed("measure") if self._inputs.takes_time else nullcontext():
            return self._inputs.of(collected.groups, collected.update, policies)

    def _score_solver(self, collected: Collected, inputs: Sequence[GroupInputs]) -> None:
        groups, update = collected.groups, collected.update
        progress = self._settings.progress_at(update)
        posted = [
            measured.add_to(
                GroupToScore(
                    group.rollouts,
                    group.question,
                    group.shown,
                    self._shadow.answers(group.path, group.asked),
                    views=[prompt.view for prompt in group.prompt_of_rollout],
                    answers_in_view=group.answers_in_view,
                )
            )
            for group, measured in zip(groups, inputs, strict=True)
        ]
        scores = self._scorer.score("solver", posted, update, progress)
        scored = self._view_scores.judged(groups, scores[: len(groups)], update)
        voting = scores[len(groups) :]
        of_voters = iter(voting)
        for index, (group, score) in enumerate(zip(groups, scored, strict=True)):
            group.has_several_labels = self._inputs.needs.views
            group.record = group.solver_record(score)
            for rollout, own in zip(group.record["rollouts"], score.rollouts, strict=True):
                rollout["components"] = dict(own.components)
            inputs[index].record(group, of_voters)
            group.rewards = [
                self._scorer.reward(rollout.reward, update, index, member)
                for member, rollout in enumerate(score.rollouts)
            ]
        if self._variant is not None:
            apply_variant(self._variant, groups, progress)
        collected.metric("progress", progress)
        log_scores(collected, scored)
        log_signals(collected, [signals for each in inputs for signals in each.signals])
        log_voters(collected, voting)
        self._measure_against_labels(collected)

    def _measure_against_labels(self, collected: Collected) -> None:
        """Looks at labels; the rewards are final by now."""
        groups = collected.groups
        records, figures = self._shadow.measure(groups, [group.rewards for group in groups])
        for group, record in zip(groups, records, strict=True):
            group.record |= record
        for name, value in figures.items():
            collected.metric(name, value)

    def _sample(
        self,
        role: Role,
        policies: Policies,
        requests: Sequence[RolloutRequest],
        contract: SamplingContract | None = None,
    ) -> list[list[Rollout]]:
        """Samples from a role's policy, as its rollouts are sampled unless `contract` says otherwise."""
        return self._sampler.sample(policies[role], requests, contract or self._contracts[role])

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

    def _seeds_of(self, collected: Collected, index: int) -> list[int]:
        """Seed of the first rollout of each prompt of a group; trained rollouts have consecutive seeds."""
        group, first = collected.groups[index], self._seeds.first(collected.update, index)
        counts = [prompt.count for prompt in group.prompts]
        seeds = [first + sum(counts[:position]) for position in range(len(counts))]
        if group.contrast_prompt is not None:
            seeds.append(self._seeds.first(collected.update, index, Stream.CONTRAST))
        return seeds
