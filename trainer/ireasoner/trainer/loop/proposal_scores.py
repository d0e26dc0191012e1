"""The rewards of a Proposer update: each proposal's, from the Solver's answers to its question."""

from collections.abc import Mapping, Sequence

from ireasoner.clients import ScoredGroup
from ireasoner.trainer.loop.collected import Collected, log_questions, log_scores
from ireasoner.trainer.loop.proposals import Proposals
from ireasoner.trainer.loop.sampler import Policies, Sampler
from ireasoner.trainer.loop.seeds import Seeds, Stream
from ireasoner.trainer.rewards.group_scorer import GroupScorer, GroupToScore
from ireasoner.trainer.rewards.proposer_reward import proposal_rewards
from ireasoner.trainer.rewards.shadow_labels import ShadowLabels
from ireasoner.trainer.rollouts.prompts import solver_messages
from ireasoner.trainer.rollouts.rollout import RolloutRequest, SamplingContract
from ireasoner.trainer.settings import Role, RunSettings

Question = tuple[int, str]
"""A proposed question: the index of its group, and its text."""


class ProposalScores:
    """Rewards proposals.

    Args:
        settings: The run.
        sampler: The rollout server.
        seeds: The seeds of the run.
        contracts: How each role is sampled.
        proposals: Finds the questions.
        scorer: The reward server.
        shadow: Knows true answers, if there are any.
    """

    def __init__(
        self,
        settings: RunSettings,
        sampler: Sampler,
        seeds: Seeds,
        contracts: Mapping[Role, SamplingContract],
        proposals: Proposals,
        scorer: GroupScorer,
        shadow: ShadowLabels,
    ) -> None:
        self._settings = settings
        self._sampler = sampler
        self._seeds = seeds
        self._contracts = contracts
        self._proposals = proposals
        self._scorer = scorer
        self._shadow = shadow

    def score(self, collected: Collected, policies: Policies) -> None:
        """Gives the groups of an update their rewards and records; equal questions of an image share their answers.

        Raises:
            RolloutServerError: The rollout server refused, or was unreachable for longer than the budget.
            ScoringError, RewardError: As `GroupScorer.score`.
        """
        proposed = [
            (index, self._proposals.question(rollout))
            for index, group in enumerate(collected.groups)
            for rollout in group.rollouts
        ]
        asked = [(index, question) for index, question in proposed if question is not None]
        distinct = list(dict.fromkeys(asked))
        scores = self._scored_answers(collected, policies, distinct)
        questions = [question for _, question in proposed]
        of_proposal = [None if question is None else scores[index, question] for index, question in proposed]
        rewards = proposal_rewards(questions, of_proposal, self._settings.reward)
        scored = zip(questions, of_proposal, rewards, strict=True)
        for index, group in enumerate(collected.groups):
            proposals = []
            for member, rollout in enumerate(group.rollouts):
                question, score, reward = next(scored)
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
        log_questions(collected, questions, len(distinct))
        log_scores(collected, list(scores.values()))

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
                self._seeds.first(collected.update, index, Stream.HELPER),
            )
            for index, (group, text) in enumerate(questions)
        ]
        answers = self._sampler.sample(policies["solver"], requests, self._contracts["solver"])
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
