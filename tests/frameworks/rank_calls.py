"""Calls TRL's reward functions on two real ranks, without TRL, and writes what each rank got.

python -m tests.frameworks.rank_calls URL FOLDER               one batch per kind and case
python -m tests.frameworks.rank_calls URL FOLDER EXPERIMENT    an experiment that runs beside another one
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from accelerate import PartialState, debug_launcher

from ireasoner.clients.trl_reward import AsyncGroupReward, GroupReward
from tests.frameworks.rollouts import GROUP_SIZE, GROUPS

KINDS = {"sync": GroupReward, "async": AsyncGroupReward}
CASES = ("split", "refused", "unreachable", "given up", "unreadable")
NOBODY = "http://127.0.0.1:9"
CUT = GROUP_SIZE - 1
"""Rows of the first rank, so that a group is split."""

EXPERIMENTS = 2
BATCHES = 4
OWN_CONFIG = "mine"
MEETING_DEADLINE_S = 180.0


def call(url: str, folder: str, kind: str, case: str) -> None:
    """One batch, of which each rank has a part."""
    rank = PartialState(cpu=True).process_index
    os.environ["IREASONER_REWARD_RETRY_BUDGET_S"] = "0.2"
    reward: Any = KINDS[kind](
        GROUP_SIZE,
        NOBODY if rank == 0 and case in ("unreachable", "given up") else url,
        config="nowhere" if case == "refused" else None,
        give_up="none" if case == "given up" else None,
    )
    prompts, completions = rows_of(rank)
    if case == "unreadable" and rank == 1:
        completions[0] = [7]

    try:
        [got] = asyncio.run(rewards(prompts, completions, reward))
    except Exception as error:  # noqa: BLE001  the test looks at it
        got = f"{type(error).__name__}: {error}"
    Path(folder, f"{kind} {case} {rank}").write_text(json.dumps(got))


def rows_of(rank: int) -> tuple[list[str], list[Any]]:
    """The prompts and completions of a rank."""
    mine = slice(0, CUT) if rank == 0 else slice(CUT, None)
    prompts = [prompt for prompt, texts in GROUPS.items() for _ in texts]
    return prompts[mine], [text for texts in GROUPS.values() for text in texts][mine]


async def rewards(prompts: list[str], completions: list[Any], *functions: Any) -> list[Any]:
    """What each reward function returns; asynchronous ones run at once, as in TRL."""
    given = [function(prompts, completions) for function in functions]
    waiting = [each for each in given if not isinstance(each, list)]
    return [*await asyncio.gather(*waiting)] if waiting else given


def experiment(url: str, folder: str, name: str) -> None:
    """Batches of one experiment, each beside the same batch of the other; its config has the name of the other's.

    The last kind is two reward functions of one training, with two configs.
    """
    rank = PartialState(cpu=True).process_index
    kinds: dict[str, list[Any]] = {
        "sync": [GroupReward(GROUP_SIZE, url, OWN_CONFIG)],
        "async": [AsyncGroupReward(GROUP_SIZE, url, OWN_CONFIG)],
        "two": [AsyncGroupReward(GROUP_SIZE, url, config) for config in (OWN_CONFIG, "paper")],
    }
    got: dict[str, list[Any]] = {kind: [] for kind in kinds}
    for kind, functions in kinds.items():
        for batch in range(BATCHES):
            meet(Path(folder), f"{kind} {batch}", f"{name} {rank}")
            got[kind].append(asyncio.run(rewards(*rows_of(rank), *functions)))
    Path(folder, f"{name} {rank}.json").write_text(json.dumps(got))


def meet(folder: Path, where: str, who: str) -> None:
    """Waits until every rank of every experiment is there."""
    (folder / f"{where} by {who}").touch()
    end_s = time.monotonic() + MEETING_DEADLINE_S
    while len(list(folder.glob(f"{where} by *"))) < 2 * EXPERIMENTS:
        if time.monotonic() > end_s:
            raise TimeoutError(f"{who} met nobody at {where}")
        time.sleep(0.001)


if __name__ == "__main__":
    if len(sys.argv) > 3:
        debug_launcher(experiment, tuple(sys.argv[1:]), num_processes=2)
        sys.exit()
    for a_kind in KINDS:
        for a_case in CASES:
            debug_launcher(call, (*sys.argv[1:], a_kind, a_case), num_processes=2)
