"""OpenRLHF: `--train.agent_func_path FILE`, where FILE is this file. Written for 0.11.

    python -c "import ireasoner.clients; print(ireasoner.clients.__path__[0] + '/openrlhf_reward.py')"

A group is all samples of a prompt that one engine has in flight: n_samples_per_prompt in training, another number in
evaluation. Set IREASONER_GROUP_SIZE to n_samples_per_prompt if one prompt can be in flight twice. Server and config
are read from IREASONER_REWARD_URL and IREASONER_REWARD_CONFIG.
"""

import os
from collections.abc import Sequence
from typing import Any

from openrlhf.utils.agent import SingleTurnAgentExecutor

from ireasoner.clients.connection import ToLogger
from ireasoner.clients.framework_context import Context, read_context
from ireasoner.clients.judged import Judged
from ireasoner.clients.reward_service import (
    GROUP_WAIT_S,
    GROUP_WAIT_VARIABLE,
    RewardService,
    environment_seconds,
)
from ireasoner.clients.sibling_groups import SiblingGroups


class AgentExecutor(SingleTurnAgentExecutor):  # type: ignore[misc]
    """Samples as OpenRLHF does, and scores the samples of each prompt together. Raises RewardError."""

    def __init__(self) -> None:
        super().__init__()
        self._service = RewardService.configured(warn=ToLogger("openrlhf"))
        size = os.environ.get("IREASONER_GROUP_SIZE")
        wait_s = environment_seconds(GROUP_WAIT_VARIABLE, GROUP_WAIT_S)
        self._groups = SiblingGroups(self._score, wait_s, int(size) if size else None)

    async def execute(self, prompt: str, label: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Returns one sample with its reward, score and the parts of the reward."""
        with self._groups.sampling((prompt, str(label))) as judge:
            output: dict[str, Any] = await super().execute(prompt, label, *args, **kwargs)
            tokenizer = kwargs["hf_tokenizer"] if "hf_tokenizer" in kwargs else args[2]
            start, end = output["action_ranges"][0]
            response = tokenizer.decode(output["observation_tokens"][start:end], skip_special_tokens=True)
            images = kwargs["images"] if "images" in kwargs else args[4:]
            context = read_context(lambda: {"prompt": prompt, "images": images, "labels": label})
            judged = await judge(response, context)
        output.update(reward=judged.neutral, scores=judged.neutral, extra_logs=dict(judged.metrics))
        return output

    async def _score(self, texts: Sequence[str], context: Context) -> list[Judged]:
        return (await self._service.score_async([texts], contexts=[context]))[0]
