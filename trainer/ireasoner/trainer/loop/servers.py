"""The reward server and the rollout servers of a run."""

import shlex
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Self
from urllib.parse import urlsplit

from peft import PeftModel
from rich.console import Console

from ireasoner.clients import NotReady, RewardClient
from ireasoner.trainer.loop.preflight import check_kinds, check_servers
from ireasoner.trainer.monitoring.server_wait import ServerWait
from ireasoner.trainer.rewards.group_scorer import GroupScorer
from ireasoner.trainer.rewards.needs import Needs
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.replicas import RolloutReplicas
from ireasoner.trainer.settings import RunSettings

_READY_DEADLINE_S = 600.0


class Servers:
    """Clients of a run's servers, which are closed with the block.

    Args:
        settings: The run.
        console: Shows for which server the run waits.
        is_alive: Whether the servers can still answer; false ends every wait at once.
    """

    def __init__(self, settings: RunSettings, console: Console, is_alive: Callable[[], bool]) -> None:
        self._settings = settings
        self._is_alive = is_alive
        self._closing = ExitStack()
        self._on_reward_wait = ServerWait(console, f"reward-server{_port_flag(settings.reward.url)}")
        rollout_server = shlex.join(["rollout-server", *settings.rollout_server_flags])
        self.rollouts = RolloutReplicas(
            [
                RolloutClient(
                    url,
                    timeout_s=settings.request_timeout_s,
                    retry_budget_s=settings.retry_budget_s,
                    on_wait=ServerWait(console, f"{rollout_server}{_port_flag(url)}"),
                    is_alive=is_alive,
                )
                for url in settings.rollout.url.split(",")
            ]
        )
        self.rewards = RewardClient(
            settings.reward.url,
            token=settings.reward.token(),
            timeout_s=settings.request_timeout_s,
            retry_budget_s=0,  # the scorer retries, and says so
        )
        self._closing.callback(self.rollouts.close)
        self._closing.callback(self.rewards.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._closing.close()

    def await_ready(self, policy: PeftModel) -> Needs:
        """Waits for the servers, and has both do for the run what they will have to do; see `check_servers`.

        Returns what the scoring config needs besides texts.

        Raises:
            SettingsError: An address is another server's, or a server refuses what the settings ask for.
            NotReady: The reward server was not ready in time, or `is_alive` is false.
            RolloutServerError: The rollout server was unreachable for longer than the budget.
        """
        check_kinds(self._settings)
        self._await_rewards()
        return check_servers(self._settings, self.rollouts, self.rewards, policy)

    def scorer(self) -> GroupScorer:
        """Scores groups on the reward server."""
        return GroupScorer(
            self.rewards,
            self._settings.reward,
            self._settings.seed,
            source=self._settings.source,
            retry_budget_s=self._settings.retry_budget_s,
            on_wait=self._on_reward_wait,
            is_alive=self._is_alive,
        )

    def _await_rewards(self) -> None:
        try:
            self.rewards.wait_until_ready(0, is_alive=self._is_alive)
        except NotReady:
            end_s = time.monotonic() + _READY_DEADLINE_S
            url = self._settings.reward.url

            def reported() -> bool:
                left_s = end_s - time.monotonic()
                self._on_reward_wait(f"waiting for the reward server at {url} for another {left_s:.0f} s")
                return self._is_alive()

            self.rewards.wait_until_ready(_READY_DEADLINE_S, is_alive=reported)


def _port_flag(url: str) -> str:
    port = urlsplit(url).port
    return f" --port {port}" if port else ""
