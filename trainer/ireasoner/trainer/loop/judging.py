"""Has the frozen base model judge each rollout of the Solver."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ireasoner.trainer.loop.sampler import Sampler
from ireasoner.trainer.loop.seeds import Seeds, Stream
from ireasoner.trainer.rewards.judge import TEMPERATURE, TOP_P, judge_messages, parse_score
from ireasoner.trainer.rollouts.control_tokens import control_tokens_in
from ireasoner.trainer.rollouts.group import Group
from ireasoner.trainer.rollouts.rollout import RolloutRequest, SamplingContract


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the judge said of one rollout.

    Attributes:
        score: In [0, 1]; None if the reply has none, or if the rollout could not be judged.
        reply: The whole reply; None if the rollout holds control tokens, which would end the judge's prompt.
    """

    score: float | None = None
    reply: str | None = None

    @property
    def record(self) -> dict[str, Any]:
        """Its entry in `groups.jsonl`."""
        return asdict(self)


class Judging:
    """Samples one judgement per rollout from the base model, which no update moves.

    Args:
        sampler: The rollout server.
        seeds: The seeds of the run.
        contract: How the Solver is sampled; the judge has its own temperature, nucleus and length.
        max_tokens: Maximum new tokens of a reply.
        tokenizer: The policy's tokenizer.
    """

    def __init__(
        self, sampler: Sampler, seeds: Seeds, contract: SamplingContract, max_tokens: int, tokenizer: Any
    ) -> None:
        self._sampler = sampler
        self._seeds = seeds
        self._contract = replace(contract, temperature=TEMPERATURE, top_p=TOP_P, max_tokens=max_tokens)
        self._tokenizer = tokenizer

    def of(self, groups: Sequence[Group], update: int) -> list[list[Judgement]]:
        """The judgement of each rollout of each group; empty for one that cannot be judged."""
        judged = [[Judgement() for _ in group.rollouts] for group in groups]
        indices, requests = [], []
        for index, group in enumerate(groups):
            shown = zip(group.rollouts, group.prompt_of_rollout, strict=True)
            for member, (rollout, prompt) in enumerate(shown):
                if control_tokens_in(rollout.text, self._tokenizer):
                    continue
                seed = self._seeds.first(update, index, Stream.JUDGE) + member
                messages = judge_messages(prompt.question or group.asked, rollout.text)
                indices.append((index, member))
                requests.append(RolloutRequest(messages, prompt.png, 1, seed))
        if requests:
            replies = self._sampler.sample(self._sampler.base_model(), requests, self._contract)
            for (index, member), [reply] in zip(indices, replies, strict=True):
                judged[index][member] = Judgement(parse_score(reply.text), reply.text)
        return judged
