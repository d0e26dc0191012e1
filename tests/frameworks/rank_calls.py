"""Calls TRL's reward functions on two real ranks, without TRL, and writes what each rank got.

python -m tests.frameworks.rank_calls URL FOLDER
"""

import asyncio
import json
import os
import sys
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


def call(url: str, folder: str, kind: str, case: str) -> None:
    """One batch, of which each rank has a part."""
    rank = PartialState(cpu=True).process_index
    mine = slice(0, CUT) if rank == 0 else slice(CUT, None)
    os.environ["IREASONER_REWARD_RETRY_BUDGET_S"] = "0.2"
    reward: Any = KINDS[kind](
        GROUP_SIZE,
        NOBODY if rank == 0 and case in ("unreachable", "given up") else url,
        config="nowhere" if case == "refused" else None,
        give_up="none" if case == "given up" else None,
    )
    prompts = [prompt for prompt, texts in GROUPS.items() for _ in texts][mine]
    completions: list[Any] = [text for texts in GROUPS.values() for text in texts][mine]
    if case == "unreadable" and rank == 1:
        completions[0] = [7]

    async def rewards() -> Any:
        given = reward(prompts, completions)
        return given if isinstance(given, list) else await given

    try:
        got = asyncio.run(rewards())
    except Exception as error:  # noqa: BLE001  the test looks at it
        got = f"{type(error).__name__}: {error}"
    Path(folder, f"{kind} {case} {rank}").write_text(json.dumps(got))


if __name__ == "__main__":
    for a_kind in KINDS:
        for a_case in CASES:
            debug_launcher(call, (*sys.argv[1:], a_kind, a_case), num_processes=2)
