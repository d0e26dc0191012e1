"""A whole run with real servers: two updates of each role, killed and resumed, published with the canary, exported."""

import io
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from ireasoner.trainer.commands.dry_run import show_plan
from ireasoner.trainer.commands.export import export
from ireasoner.trainer.commands.service import LocalServer, free_ports
from ireasoner.trainer.commands.settings import ExportSettings
from ireasoner.trainer.settings import ROLES
from scripts.rehearsal.page import ALL_AT_ONCE
from scripts.rehearsal.peak_memory import PeakMemory
from scripts.rehearsal.photos import write_photos
from scripts.rehearsal.size import Size
from scripts.rehearsal.training import Training, run_fields

_GIB = 2**30


class Rehearsal:
    """Runs the parts in their order, and keeps what they took.

    Args:
        size: How large it is.
        model: Folder of the checkpoint.
        folder: Folder for everything that is written.
        reward_url: A reward server that runs already; by default one is started.

    Attributes:
        seconds: Of each part, by its name.
    """

    def __init__(self, size: Size, model: Path, folder: Path, reward_url: str | None = None) -> None:
        self._size = size
        self._model = model
        self._folder = folder
        self._reward_url = reward_url
        self._memory = PeakMemory()
        self.seconds: dict[str, float] = {}

    def run(self) -> dict[str, Any]:
        """What was measured.

        Raises:
            RuntimeError, ServiceError: A part failed; the message has the end of its log.
        """
        size, folder = self._size, self._folder
        with self._timed("photos"):
            images = write_photos(size.megapixels, folder / "images")
        with ExitStack() as stack:
            stack.enter_context(self._memory.sampled())
            self._memory.watch(ALL_AT_ONCE, os.getpid)
            with self._timed("start of the servers"):
                reward_url = self._reward_url or stack.enter_context(self._reward_server())
                rollout_url = stack.enter_context(self._rollout_server())
            fields = run_fields(size, self._model, images, folder / "run", reward_url, rollout_url)
            training = Training(fields, folder / "trainer.log", size.deadline_s)
            stack.callback(training.stop)
            self._memory.watch("trainer", lambda: training.pid)
            with self._timed("dry run"):
                needed = show_plan(training.settings, Console(file=io.StringIO()))
            codes = self._train(training)
        with self._timed("export"):
            exported = self._exported(training)
        peaks = self._memory.peaks
        return {
            "estimate_gib": needed.total_gib,
            "peak_gib": {name: peak.resident / _GIB for name, peak in peaks.items()},
            "peak_anonymous_gib": {name: peak.anonymous / _GIB for name, peak in peaks.items()},
            "exit_codes": codes,
            "updates": [_update(line) for line in training.metrics()],
            "bytes": {**exported, "checkpoint": _bytes(training.newest_checkpoint())},
            "seconds": self.seconds,
        }

    def _train(self, training: Training) -> dict[str, int]:
        """Ends the run in the middle of updates, each time resumes it, and waits for its end; returns exit codes."""
        codes = {}
        flags: list[str] = []
        for update, number in enumerate(self._size.kills, start=1):
            with self._timed(f"training until {number.name}"):
                training.start(*flags)
                codes[number.name] = training.end_after(update, number, self._size.kill_after_s)
            flags = ["--resume"]
        with self._timed("training to the end"):
            training.start(*flags)
            training.finish()
        return codes

    def _exported(self, training: Training) -> dict[str, int]:
        """Exports the Solver as an adapter, and merged if the size says so; returns bytes by name."""
        run, sizes = training.settings.run_folder, {}
        for name, merged in (("adapter", False), ("merged", True)):
            if self._size.merged or not merged:
                output = self._folder / name
                export(ExportSettings(run_folder=run, output=output, merged=merged))
                sizes[name] = _bytes(output)
        return sizes

    @contextmanager
    def _reward_server(self) -> Iterator[str]:
        [port] = free_ports(1)
        with self._running(LocalServer("reward_server", port, log=self._folder / "reward.log")) as url:
            yield url

    @contextmanager
    def _rollout_server(self) -> Iterator[str]:
        size = self._size
        [port] = free_ports(1)
        flags = {
            "--model": self._model,
            "--dtype": "bfloat16",
            "--max-model-len": size.context_tokens,
            "--max-pixels": size.max_pixels,
            "--num-gpu-blocks-override": size.key_value_blocks,
            "--max-num-seqs": 2 * size.group_size,
            "--max-loras": 2,
            "--startup-deadline-s": size.deadline_s,
        }
        server = LocalServer(
            "rollout_server",
            port,
            [str(word) for flag in flags.items() for word in flag],
            log=self._folder / "rollout.log",
            environment={"OMP_NUM_THREADS": str(size.threads)},
        )
        with self._running(server) as url:
            yield url

    @contextmanager
    def _running(self, server: LocalServer) -> Iterator[str]:
        with server:
            self._memory.watch(server.name, lambda: server.pid)
            server.wait_until_ready(self._size.deadline_s)
            yield server.url

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        started_s = time.perf_counter()
        yield
        self.seconds[part] = time.perf_counter() - started_s
        print(f"rehearsal: {part}: {self.seconds[part]:.0f} s", flush=True)


def _update(line: dict[str, Any]) -> dict[str, Any]:
    """What an update's line of the metrics says about the size."""
    role = line["role"]
    assert role in ROLES
    names = {
        "rollouts_trained": "rollouts_trained",
        "step_s": "step_time",
        "publish_s": "seconds/publish",
        "tokens": "completions/mean_length",
        "canary_gap_nats": "canary_gap",
        "logprob_gap_nats": "logprob_gap/mean",
        "largest_logprob_gap_nats": "logprob_gap/max",
        "entropy_nats": "entropy",
        "grad_norm": "grad_norm",
    }
    return {"update": line["update"], "role": role} | {
        name: line.get(f"{role}/{metric}") for name, metric in names.items()
    }


def _bytes(folder: Path | None) -> int:
    """The size of the files in a folder."""
    return 0 if folder is None else sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
