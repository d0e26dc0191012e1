"""`python -m scripts.graft_loop --model EYES --work FOLDER`: trains and evaluates a grafted model under each reward.

It starts both servers, makes the runs that the folder lacks, and resumes those that were interrupted. It writes
`graft_loop.json`, and the table of `graft.md` from it.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ireasoner.trainer.commands.service import LocalServer, free_ports
from ireasoner.trainer.settings import read_toml
from ireasoner.trainer.worlds.digit_grids.folders import write_held_out, write_unlabelled
from replication.generated_parts import filled_in
from replication.provenance import provenance
from scripts.graft_loop import ROOT
from scripts.graft_loop.arms import ARMS
from scripts.graft_loop.figures import read_evaluation, read_run, table

_CONFIG = ROOT / "configs" / "grafted.toml"
_START_S = 600.0
_UNLABELLED, _HELD_OUT = 400, 150


class Loop:
    """The runs of a grafted model.

    Args:
        model: Its folder.
        work: Folder of everything that is written.
        updates: Updates of each run.
        reward_url: Address of the reward server.
        rollout_url: Address of the rollout server.
    """

    def __init__(self, model: Path, work: Path, updates: int, reward_url: str, rollout_url: str) -> None:
        self._model = model
        self._work = work
        self._updates = updates
        self._reward_url = reward_url
        self._rollout_url = rollout_url

    def folder(self, arm: str, seed: int) -> Path:
        """The folder of a run."""
        return self._work / f"runs-{self._updates}" / f"{arm}-{seed}"

    def evaluate_base(self) -> Path:
        """Evaluates the base model, unless that is done; returns the file of the figures."""
        output = self._work / "base.json"
        if not output.exists():
            limit = read_toml(_CONFIG)["rollout"]["solver_max_tokens"]
            self._evaluate(output, "--model", self._model, "--max-tokens", limit)
        return output

    def run(self, arm: str, seed: int) -> None:
        """Trains and evaluates, as far as that is not done."""
        folder = self.folder(arm, seed)
        if not (folder / "final").exists():
            _call(
                "train", "--config", _CONFIG, "--model", self._model,
                "--images", self._work / "grids" / "unlabelled", "--run-folder", folder,
                "--seed", seed, "--updates", self._updates, "--grpo", "report_to=none",
                "--reward.url", self._reward_url, "--rollout.url", self._rollout_url, *ARMS[arm],
                *(["--resume"] if folder.exists() else []),
            )  # fmt: skip
        if not (folder / "figures.json").exists():
            self._evaluate(folder / "figures.json", "--run-folder", folder, "--as", "after")

    def _evaluate(self, output: Path, *flags: object) -> None:
        questions = self._work / "grids" / "held_out" / "questions.jsonl"
        given = ("--questions", questions, "--url", self._rollout_url, "--samples", 2)
        _call("evaluate", *given, *flags, "--output", output)


def _call(*words: object) -> None:
    """Runs a subcommand of `ireasoner`; its output is shown."""
    command = [sys.executable, "-m", "ireasoner.cli", *map(str, words)]
    print("graft_loop:", " ".join(command[2:]), flush=True)
    subprocess.run(command, check=True)


@contextmanager
def servers(model: Path, work: Path) -> Iterator[tuple[str, str]]:
    """Runs both servers while the block lasts; gives their addresses."""
    reward_port, rollout_port = free_ports(2)
    flags = ["--model", str(model), "--max-lora-rank", "16", "--dtype", "bfloat16"]
    with (
        LocalServer("reward_server", reward_port, log=work / "reward_server.log") as reward,
        LocalServer("rollout_server", rollout_port, flags, log=work / "rollout_server.log") as rollout,
    ):
        for server in (reward, rollout):
            server.wait_until_ready(_START_S)
        yield reward.url, rollout.url


def main(arguments: Sequence[str]) -> int:
    """Makes the runs and writes their figures."""
    parser = argparse.ArgumentParser(prog="python -m scripts.graft_loop", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder that ireasoner graft wrote")
    parser.add_argument(
        "--work", type=Path, required=True, help="folder of the runs of one model, continued if it exists"
    )
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), help="default: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1], help="default: 0 1")
    parser.add_argument("--updates", type=int, default=20, help="updates of each run (default: 20)")
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "docs",
        help="folder of graft_loop.json and graft.md (default: docs)",
    )
    given = parser.parse_args(arguments)
    given.work.mkdir(parents=True, exist_ok=True)
    mark = given.work / "model.txt"
    if mark.exists() and mark.read_text() != given.model.name:
        parser.error(f"--work {given.work} has the runs of another model: {mark.read_text()}")
    mark.write_text(given.model.name)
    grids = given.work / "grids"
    if not grids.exists():
        write_unlabelled(grids / "unlabelled", _UNLABELLED, seed=0)
        write_held_out(grids / "held_out", _HELD_OUT, seed=0)
    with servers(given.model, given.work) as (reward_url, rollout_url):
        loop = Loop(given.model, given.work, given.updates, reward_url, rollout_url)
        base = read_evaluation(loop.evaluate_base())
        for seed in given.seeds:
            for arm in given.arms:
                loop.run(arm, seed)
    write(found(given.work, given.model.name, base), given.out)
    return 0


def found(work: Path, model: str, base: dict[str, Any]) -> dict[str, Any]:
    """The figures of a model and of all evaluated runs of a folder, in the order of the arms."""
    runs = [
        read_run(arm, figures.parent)
        for arm in ARMS
        for figures in work.glob(f"runs-*/{arm}-[0-9]*/figures.json")
    ]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "model": model,
        **provenance(),
        "base": base,
        "runs": sorted(runs, key=lambda run: (list(ARMS).index(run["arm"]), run["updates"], run["seed"])),
    }


def write(document: dict[str, Any], out: Path) -> None:
    """Writes the figures, and the page's table."""
    (out / "graft_loop.json").write_text(json.dumps(document, indent=1) + "\n")
    page = out / "graft.md"
    page.write_text(filled_in(page.read_text(), {"rewards": table(document)}))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except subprocess.CalledProcessError as error:  # its output says why
        sys.exit(f"graft_loop: `ireasoner {error.cmd[3]}` ended with {error.returncode}")
