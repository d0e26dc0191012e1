"""A reward server with tokens and a ledger, whose pages the tests of the explorer open."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from ireasoner.reward_server.api.tokens import OPERATOR, add_token
from ireasoner.reward_server.commands import rescore
from ireasoner.reward_server.settings import RewardServerSettings
from tests.reward_server.running import running

EXPERIMENTS = ("alpha", "beta", OPERATOR)
RECORD_DEADLINE_S = 30.0

Json = dict[str, Any]


@dataclass
class ExplorerServer:
    """The server's address, a token of each experiment, its ledger's folder, and the checkpoint of its embedder."""

    url: str
    tokens: dict[str, str]
    ledger: Path
    compass: Path

    def get(self, path: str, experiment: str, **query: Any) -> Json:
        """The JSON of an endpoint under `/ledger/`, as an experiment's token sees it."""
        headers = {"authorization": f"Bearer {self.tokens[experiment]}"}
        response = httpx.get(f"{self.url}/ledger/{path}", params=query, headers=headers, timeout=30)
        response.raise_for_status()
        found: Json = response.json()
        return found

    def score(
        self, experiment: str, groups: Sequence[Json], endpoint: str = "solver", **context: Any
    ) -> None:
        """Has groups scored, and waits until the ledger shows them."""
        headers = {"authorization": f"Bearer {self.tokens[experiment]}"}
        body = {"groups": list(groups), **context}
        response = httpx.post(f"{self.url}/score/{endpoint}", json=body, headers=headers, timeout=60)
        assert response.status_code == 200, response.text
        end_s = time.monotonic() + RECORD_DEADLINE_S
        while not self._shows(experiment, groups[-1]["id"], context.get("update")):
            assert time.monotonic() < end_s, "the groups were not recorded"
            time.sleep(0.05)

    def rescore(self, name: str, *words: str) -> None:
        """Scores the ledger's groups anew with `ireasoner rescore`, into the comparison `name`."""
        embedder = ("--embedder", "token-mean", "--token-mean-checkpoint", str(self.compass))
        flags = ("--ledger", str(self.ledger), "--name", name, *embedder, *words)
        with ThreadPoolExecutor(1) as thread:  # Playwright's event loop runs in this one
            ended = thread.submit(rescore.main, flags).exception()
        assert isinstance(ended, SystemExit)
        assert ended.code == 0

    def _shows(self, experiment: str, name: str, update: int | None) -> bool:
        """Whether the ledger has a group; its file may still be being created."""
        headers = {"authorization": f"Bearer {self.tokens[experiment]}"}
        response = httpx.get(f"{self.url}/ledger/groups?limit=200", headers=headers, timeout=30)
        groups = response.json()["groups"] if response.status_code == 200 else []
        return any((group["name"], group["update"]) == (name, update) for group in groups)

    def group_id(self, experiment: str, name: str) -> str:
        """The id of the newest group with this name."""
        groups = self.get("groups", experiment, limit=200)["groups"]
        return next(str(group["id"]) for group in groups if group["name"] == name)

    def run_id(self, experiment: str, source: str) -> str:
        """The id of a run."""
        return next(str(run["id"]) for run in self.get("runs", experiment)["runs"] if run["source"] == source)


def group(name: str, answers: str, words: str = "north south east", **context: Any) -> Json:
    """A group with one rollout per character of `answers`, each with one step per word.

    The words are points of the compass, which the server's embedder knows.
    """
    steps = words.split()
    rollouts = [
        {"id": str(index), "text": rollout_text(steps[index % len(steps) :] + steps, answer)}
        for index, answer in enumerate(answers)
    ]
    return {"id": name, "rollouts": rollouts, **context}


def rollout_text(steps: Sequence[str], answer: str) -> str:
    """A rollout as the policy writes it."""
    lines = "\n".join(f"Step {index}: {step}" for index, step in enumerate(steps, 1))
    return f"<think>\n{lines}\n</think>\n<answer>{answer}</answer>"


@contextmanager
def explorer_server(folder: Path, compass: Path) -> Iterator[ExplorerServer]:
    """Runs the server; its embedder knows the points of a compass."""
    tokens_file = folder / "tokens.txt"
    tokens = {experiment: add_token(tokens_file, experiment) for experiment in EXPERIMENTS}
    settings = RewardServerSettings(
        embedder="token-mean",
        token_mean_checkpoint=compass,
        tokens_file=tokens_file,
        ledger=folder / "ledger",
    )
    with running(settings) as url:
        yield ExplorerServer(url, tokens, folder / "ledger", compass)
