"""SkyRL: a generator that scores each prompt's trajectories together. Written for skyrl 0.3.

Return an AgreementGenerator from `get_generator` of your `BasePPOExp`. The environment's own reward is
replaced; use one that only ends the episode.
"""

from itertools import chain
from typing import Any

from skyrl.train.generators.skyrl_gym_generator import SkyRLGymGenerator

from ireasoner.clients.reward_service import RewardService, gathered, means
from ireasoner.clients.wire import Config


class AgreementGenerator(SkyRLGymGenerator):  # type: ignore[misc]
    """Samples as SkyRL does. Groups are trajectories of one `instance_id`.

    Args:
        reward_url: The reward server; see `RewardService.configured` for it and for `reward_config`.
        reward_config: A config's name, or overrides on one.
    """

    def __init__(
        self, *args: Any, reward_url: str | None = None, reward_config: Config | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._service = RewardService.configured(reward_url, reward_config)

    async def generate(self, input_batch: Any, disable_tqdm: bool = False) -> Any:
        """SkyRL's output with our rewards, in the shape in which it had them. Raises a RewardError.

        A reward a token stands at the last token; a response of no tokens has no place for one. Step-wise
        trajectories have several rows each: refused.
        """
        output = await super().generate(input_batch, disable_tqdm=disable_tqdm)
        identities = input_batch["trajectory_ids"]
        if len(output["rewards"]) != len(identities):
            raise ValueError("step_wise_trajectories is on: a row is not a trajectory, and cannot be scored")
        texts = [self.tokenizer.decode(tokens, skip_special_tokens=True) for tokens in output["response_ids"]]
        groups = gathered([identity.instance_id for identity in identities])
        scored = await self._service.score_async([[texts[index] for index in group] for group in groups])
        for group, judged in zip(groups, scored, strict=True):
            for index, each in zip(group, judged, strict=True):
                shape = output["rewards"][index]
                if isinstance(shape, list):
                    shape[:] = [*[0.0] * (len(shape) - 1), each.neutral][: len(shape)]
                else:
                    output["rewards"][index] = each.neutral
        charted = {f"agreement/{name}": value for name, value in means(chain.from_iterable(scored)).items()}
        output["rollout_metrics"] = {**(output.get("rollout_metrics") or {}), **charted}
        return output
