"""Several rollout servers as one: requests are distributed, adapters go to all of them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from ireasoner.trainer.errors import RolloutServerError
from ireasoner.trainer.rollouts.busy_clock import BusyClock
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.rollout import Rollout, RolloutRequest, SamplingContract


class RolloutReplicas:
    """Rollout servers of one base model that see the same adapters folder, with the interface of `RolloutClient`.

    An adapter counts as served only if every replica serves it. A replica that is unreachable for longer than the
    budget ends the run, as a single server would.

    Attributes:
        sampling: The time in which any of them had rollouts to sample.
    """

    def __init__(self, members: Sequence[RolloutClient]) -> None:
        self.members = tuple(members)
        self.base_url = ", ".join(member.base_url for member in members)
        self.sampling = BusyClock()
        self._pool = ThreadPoolExecutor(len(members), thread_name_prefix="replica")

    def close(self) -> None:
        """Closes the connections to all replicas."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for member in self.members:
            member.close()

    def stop_retrying(self) -> None:
        """From now on, tries each request to a replica once."""
        for member in self.members:
            member.stop_retrying()

    def models(self) -> list[str]:
        """The names that every replica serves. Raises as `RolloutClient.models` does."""
        served = list(self._pool.map(RolloutClient.models, self.members))
        return [name for name in served[0] if all(name in names for names in served[1:])]

    def base_model(self) -> str:
        """The name under which all replicas serve the base model.

        Raises:
            RolloutServerError: They use several names, or as in `RolloutClient.base_model`.
        """
        names = sorted(set(self._pool.map(RolloutClient.base_model, self.members)))
        if len(names) > 1:
            raise RolloutServerError(
                f"{self.base_url} serve the base model as {' and '.join(names)}: start all with one --served-model-name"
            )
        return names[0]

    def context_tokens(self) -> int | None:
        """The shortest context of a replica, in tokens. Raises as `RolloutClient.context_tokens` does."""
        lengths = self._pool.map(RolloutClient.context_tokens, self.members)
        return min((length for length in lengths if length is not None), default=None)

    def load_adapter(self, name: str, path: str) -> None:
        """Loads the adapter on every replica. Raises as `RolloutClient.load_adapter` does."""
        list(self._pool.map(lambda member: member.load_adapter(name, path), self.members))

    def unload_adapter(self, name: str) -> None:
        """Unloads the adapter on every replica. Raises as `RolloutClient.unload_adapter` does."""
        list(self._pool.map(lambda member: member.unload_adapter(name), self.members))

    def sample(
        self, policy: str, requests: Sequence[RolloutRequest], contract: SamplingContract
    ) -> list[list[Rollout]]:
        """Samples each request from one replica, in turns; returns one list per request, in order.

        Raises as `RolloutClient.sample` does.
        """
        count = len(self.members)
        parts = [(member, requests[first::count]) for first, member in enumerate(self.members)]
        with self.sampling.working():
            sampled = list(
                self._pool.map(
                    lambda part: part[0].sample(policy, part[1], contract) if part[1] else [], parts
                )
            )
        return [sampled[index % count][index // count] for index in range(len(requests))]
