"""OpenRLHF: `--train.agent_func_path .../clients/openrlhf_reward.py`. Written for 0.11.

A group is what one engine samples of a prompt at once: n_samples_per_prompt in training, its own number in
evaluation. Set IREASONER_GROUP_SIZE to n_samples_per_prompt if one prompt can be in flight twice. The server
and its config are read from IREASONER_REWARD_URL and IREASONER_REWARD_CONFIG.
"""

import os
from collections.abc import Sequence
from typing import Any

from openrlhf.utils.agent import SingleTurnAgentExecutor

from ireasoner.clients.reward_service import Judged, RewardService
from ireasoner.clients.sibling_groups import SiblingGroups


class AgentExecutor(SingleTurnAgentExecutor):  # type: ignore[misc]
    """Samples as OpenRLHF does, and has each prompt's samples scored together. Raises a RewardError."""

    def __init__(self) -> None:
        super().__init__()
        self._service = RewardService.configured()
        size = os.environ.get("IREASONER_GROUP_SIZE")
        wait_s = float(os.environ.get("IREASONER_GROUP_WAIT_S", "3600"))
        self._groups = SiblingGroups(self._score, wait_s, int(size) if size else None)

    async def execute(self, prompt: str, label: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """One sample, with reward, score and the reward's parts."""
        with self._groups.sampling((prompt, str(label))) as judge:
            output: dict[str, Any] = await super().execute(prompt, label, *args, **kwargs)
            tokenizer = kwargs["hf_tokenizer"] if "hf_tokenizer" in kwargs else args[2]
            start, end = output["action_ranges"][0]
            response = tokenizer.decode(output["observation_tokens"][start:end], skip_special_tokens=True)
            judged = await judge(response)
        output.update(reward=judged.neutral, scores=judged.neutral, extra_logs=dict(judged.metrics))
        return output

    async def _score(self, texts: Sequence[str]) -> list[Judged]:
        return (await self._service.score_async([texts]))[0]
