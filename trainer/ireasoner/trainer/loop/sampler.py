"""Samples from the policies of a run, whatever the rollout server has lost."""

from collections.abc import Mapping, Sequence

from ireasoner.trainer.adapters.publisher import AdapterPublisher
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.replicas import RolloutReplicas
from ireasoner.trainer.rollouts.rollout import Rollout, RolloutRequest, SamplingContract
from ireasoner.trainer.settings import AdapterName

Policies = Mapping[AdapterName, str]
"""The name under which each adapter is served."""


class Sampler:
    """Samples rollouts, and gives a restarted rollout server its adapters back.

    Args:
        rollouts: The rollout server.
        publisher: Publishes the adapters again if the server has lost them.
    """

    def __init__(self, rollouts: RolloutClient | RolloutReplicas, publisher: AdapterPublisher) -> None:
        self._rollouts = rollouts
        self._publisher = publisher

    def sample(
        self, policy: str, requests: Sequence[RolloutRequest], contract: SamplingContract
    ) -> list[list[Rollout]]:
        """The rollouts of each request, in order, of the policy that is served under a name.

        Raises:
            RolloutServerError: The server refused, or was unreachable for longer than the budget.
        """
        if not requests:
            return []
        return self._publisher.restored(lambda: self._rollouts.sample(policy, requests, contract))

    def base_model(self) -> str:
        """The name under which the base model is served. Raises as `RolloutClient.base_model` does."""
        return self._rollouts.base_model()
