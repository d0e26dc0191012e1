"""The largest memory of each process of a rehearsal, with its children."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

_EVERY_S = 0.5
_FIELD = re.compile(r"^(RssAnon|RssFile|RssShmem):\s+(\d+) kB", re.MULTILINE)


@dataclass
class Peak:
    """The most memory that a process and its children held at a time, in bytes.

    Attributes:
        resident: All of it.
        anonymous: Without files that are mapped, such as weights that are read in place, which the system can drop.
    """

    resident: int = 0
    anonymous: int = 0


class PeakMemory:
    """Samples the memory of processes by name while the block lasts.

    Attributes:
        peaks: The peak of each name, over all processes that had it.
    """

    def __init__(self) -> None:
        self.peaks: dict[str, Peak] = {}
        self._pids: dict[str, Callable[[], int | None]] = {}
        self._ended = threading.Event()
        self._failure: Exception | None = None

    @contextmanager
    def sampled(self) -> Iterator["PeakMemory"]:
        """Samples every half second. A failure of the sampling is raised at the end of the block."""
        thread = threading.Thread(target=self._sample, name="memory")
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join()
        if self._failure is not None:
            raise self._failure

    def watch(self, name: str, pid: Callable[[], int | None]) -> None:
        """Samples the process whose id `pid` returns, if it runs."""
        self.peaks.setdefault(name, Peak())
        self._pids[name] = pid

    def _sample(self) -> None:
        try:
            while not self._ended.wait(_EVERY_S):
                self._sample_once()
        except Exception as error:  # noqa: BLE001 - raised in the thread that asked
            self._failure = error

    def _sample_once(self) -> None:
        for name, pid in list(self._pids.items()):
            found = pid()
            if found is not None:
                resident, anonymous = _held(found)
                peak = self.peaks[name]
                peak.resident = max(peak.resident, resident)
                peak.anonymous = max(peak.anonymous, anonymous)


def _held(pid: int) -> tuple[int, int]:
    """Resident and anonymous bytes of a process and its children; 0 if it has ended."""
    resident = anonymous = 0
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0, 0
    for process in processes:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:  # it has ended
            continue
        held = {name: int(kilobytes) * 1024 for name, kilobytes in _FIELD.findall(status)}
        resident += sum(held.values())
        anonymous += held.get("RssAnon", 0) + held.get("RssShmem", 0)
    return resident, anonymous
