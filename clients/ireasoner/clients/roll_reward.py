"""ROLL: `rewards.<domain>.worker_cls: ireasoner.clients.roll_reward.AgreementRewardWorker`.

Server and config are read from IREASONER_REWARD_URL and IREASONER_REWARD_CONFIG. In its default mode ROLL sends a
worker exactly the rows of one prompt; modes that split them are refused.
"""

from typing import Any

import torch
from roll.distributed.executor.worker import Worker
from roll.distributed.scheduler.decorator import Dispatch, register
from roll.distributed.scheduler.protocol import DataProto
from roll.models.model_providers import default_tokenizer_provider
from roll.utils.logging import get_logger

from ireasoner.clients.batches import gathered
from ireasoner.clients.framework_context import cells, read_context
from ireasoner.clients.reward_service import RewardService


class AgreementRewardWorker(Worker):  # type: ignore[misc]
    """Scores the rows of each prompt together. Raises RewardError."""

    def __init__(self, worker_config: Any) -> None:
        super().__init__(worker_config=worker_config)
        self.rank_info.dp_rank = self.rank_info.rank
        self.rank_info.dp_size = self.rank_info.world_size
        self.tokenizer = default_tokenizer_provider(model_args=self.worker_config.model_args)
        self._service = RewardService.configured(warn=get_logger().warning)

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)  # type: ignore[untyped-decorator]
    def initialize(self, pipeline_config: Any) -> None:
        """Called once by ROLL. Raises ValueError in modes that send a worker parts of groups."""
        if pipeline_config.is_num_return_sequences_expand or pipeline_config.generate_opt_level == 0:
            raise ValueError(
                "this worker would receive parts of groups: set is_num_return_sequences_expand to false (asynchronous "
                "pipelines set it to true) and generate_opt_level to 1"
            )
        self._service = self._service.called(getattr(pipeline_config, "exp_name", None))

    @register(dispatch_mode=Dispatch.DP_MP_COMPUTE, clear_cache=False)  # type: ignore[untyped-decorator]
    def compute_rewards(self, data: Any) -> Any:
        """Returns `scores` and `response_level_rewards`, shape (N,), and `token_level_rewards`, all 0, shape (N, T)."""
        responses, prompts = data.batch["responses"], data.batch["prompts"]
        texts = self.tokenizer.batch_decode(responses, skip_special_tokens=True)
        groups = gathered([tuple(row) for row in prompts.tolist()])
        scored = self._service.score(
            [[texts[index] for index in group] for group in groups],
            contexts=[read_context(self._context, data, group[0]) for group in groups],
        )
        rewards = torch.zeros(len(texts), dtype=torch.float32)
        for group, judged in zip(groups, scored, strict=True):
            for index, each in zip(group, judged, strict=True):
                rewards[index] = each.neutral
        return DataProto.from_dict(
            tensors={
                "token_level_rewards": torch.zeros_like(responses, dtype=torch.float32),
                "response_level_rewards": rewards,
                "scores": rewards.clone(),
            }
        )

    def _context(self, data: Any, row: int) -> dict[str, Any]:
        prompts = data.batch["prompts"][row : row + 1]
        return {
            "prompt": self.tokenizer.batch_decode(prompts, skip_special_tokens=True)[0],
            "labels": cells(data.non_tensor_batch, row),
            "update": data.meta_info.get("global_step"),
        }
