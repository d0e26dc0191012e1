"""A child Python process that answers questions over its standard input and output.

Code that may crash, hang or run out of memory runs in one, so that the server survives it and starts another.
The child ends when its standard input does, and on Linux, whatever it is doing, when the thread of the server that
started it does; SIGINT and SIGTERM are the server's to handle.

Each question and each answer is a frame: two little-endian 32-bit lengths, a JSON header and a payload of raw
numbers. Answers come in the order of the questions. The header `{"error": "..."}` reports that a question failed;
the child keeps running. Nothing is pickled.
"""

import asyncio
import contextlib
import ctypes
import json
import logging
import os
import select
import signal
import struct
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

log = logging.getLogger(__name__)

Header = dict[str, Any]
Frame = tuple[Header, bytes]

STOP_DEADLINE_S = 5.0
_LENGTHS = struct.Struct("<II")
_PR_SET_PDEATHSIG = 1


class ChildDied(Exception):
    """The child ended before it had answered; `status` is how, as `subprocess` gives it, None if unknown."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


class ChildHung(ChildDied):
    """The child did not answer before the deadline and was killed."""


class ChildRefused(Exception):
    """The child answered with an error, and keeps running."""


class ChildProcess:
    """The server's side of one child process."""

    def __init__(self, name: str, process: Process) -> None:
        self.loaded: Header = {}
        self._name = f"the {name} {process.pid}"
        self._process = process
        self._asked: deque[asyncio.Future[Frame]] = deque()
        self._killed = False
        self._reading = asyncio.create_task(self._read_answers(), name=f"answers of {self._name}")

    @classmethod
    async def start(
        cls, name: str, module: str, load: Header, load_deadline_s: float, environment: Mapping[str, str]
    ) -> "ChildProcess":
        """Starts a child and has it load what it needs; see `spawn` and `load`."""
        child = await cls.spawn(name, module, environment)
        await child.load(load, load_deadline_s)
        return child

    @classmethod
    async def spawn(cls, name: str, module: str, environment: Mapping[str, str]) -> "ChildProcess":
        """Starts a child; `load` comes next.

        Args:
            name: What logs and errors call it.
            module: The module that it runs. It imports nothing from the current folder (`python -P`).
            environment: All of the child's environment variables.

        Raises:
            OSError: No process could be started.
        """
        command = (sys.executable, "-P", "-m", module)
        return cls(
            name, await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, env=environment)
        )

    async def load(self, header: Header, deadline_s: float) -> None:
        """Asks the first question, which has the child load what it needs; the header of the answer is `loaded`.

        A child that has not loaded within `deadline_s` seconds is stopped, and also if the caller is cancelled.

        Raises:
            ChildDied: The child ended or hung.
            ChildRefused: It could not load.
        """
        try:
            self.loaded, _ = await self.ask(header, deadline_s=deadline_s)
        except BaseException:
            self.kill()
            await self.stop()
            raise

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it can still answer."""
        return not self._killed and not self._reading.done()

    async def ask(self, header: Header, payload: bytes = b"", *, deadline_s: float) -> Frame:
        """The answer to one question.

        The deadline includes the time that the child spends on earlier questions. If the caller is cancelled, the
        answer is dropped when it comes.

        Raises:
            ChildHung: There was no answer within `deadline_s` seconds; the child was killed.
            ChildDied: The child ended before it had answered.
            ChildRefused: The answer is an error.
        """
        if not self.is_running:
            raise self._died()
        answered: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._asked.append(answered)
        assert self._process.stdin is not None
        self._process.stdin.write(_pack(header, payload))
        try:
            async with asyncio.timeout(deadline_s):
                answer, numbers = await answered
        except TimeoutError:
            log.error("%s did not answer within %g s and is killed", self._name, deadline_s)  # noqa: TRY400
            self.kill()
            raise ChildHung(f"{self._name} did not answer within {deadline_s:g} s and was killed") from None
        if "error" in answer:
            raise ChildRefused(answer["error"])
        return answer, numbers

    def kill(self) -> None:
        """Ends the process at once."""
        self._killed = True
        if self._process.returncode is None:
            self._process.kill()

    async def ended(self) -> str:
        """Waits until the process ends; returns how it ended."""
        await asyncio.wait([self._reading])
        return str(self._died())

    async def stop(self) -> None:
        """Lets the process end in order; kills it after STOP_DEADLINE_S."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        _, late = await asyncio.wait([self._reading], timeout=STOP_DEADLINE_S)
        if late:
            self.kill()
            await asyncio.wait(late, timeout=STOP_DEADLINE_S)

    async def _read_answers(self) -> None:
        try:
            while True:
                frame = await self._next_frame()
                answered = self._asked.popleft()
                if not answered.done():
                    answered.set_result(frame)
        except (asyncio.IncompleteReadError, ConnectionError):
            await self._reap()
        except (ValueError, IndexError):  # malformed, or no question is open
            log.exception("%s wrote something that is not an answer, and is killed", self._name)
            self.kill()
            await self._process.wait()
        finally:
            for waiting in self._asked:
                if not waiting.done():
                    waiting.set_exception(self._died())
            self._asked.clear()

    async def _next_frame(self) -> Frame:
        stream = self._process.stdout
        assert stream is not None
        header_bytes, payload_bytes = _LENGTHS.unpack(await stream.readexactly(_LENGTHS.size))
        header: Header = json.loads(await stream.readexactly(header_bytes))
        return header, await stream.readexactly(payload_bytes)

    async def _reap(self) -> None:
        """Waits for the end of a process that has closed its output.

        It is not killed at once: asyncio may not learn how a process ended that gets a signal while it ends.
        """
        try:
            async with asyncio.timeout(STOP_DEADLINE_S):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()

    def _died(self) -> ChildDied:
        status = self._process.returncode
        if status is None:
            how = "is ending"
        else:
            how = f"ended with {status}" if status >= 0 else f"got signal {-status}"
        return ChildDied(f"{self._name} {how}", status)


def serve(answer: Callable[[Header, bytes], Frame]) -> None:
    """The child's side: answers every question on standard input until that ends.

    Whatever `answer` raises is sent to the server as that question's error. What the process prints goes to
    standard error.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    questions = sys.stdin.buffer
    if sys.platform == "linux":  # a child that loads, hangs or is stopped does not look at its input
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if _has_ended(questions):  # the server died before the line above
            return
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            header, payload = _read(questions)
            try:
                answered = answer(header, payload)
            except Exception as error:  # noqa: BLE001 - sent to the server, which raises ChildRefused
                answered = {"error": f"{type(error).__name__}: {error}"}, b""
            answers.write(_pack(*answered))
            answers.flush()


def _has_ended(stream: BinaryIO) -> bool:
    """Whether the other end of a pipe is closed, even if not all of it was read."""
    poll = select.poll()
    poll.register(stream, 0)  # POLLHUP is reported without being asked for
    return bool(poll.poll(0))


def _pack(header: Header, payload: bytes) -> bytes:
    encoded = json.dumps(header, separators=(",", ":")).encode()
    return _LENGTHS.pack(len(encoded), len(payload)) + encoded + payload


def _read(stream: BinaryIO) -> Frame:
    """The next frame; raises EOFError if the server has closed the pipe."""
    header_bytes, payload_bytes = _LENGTHS.unpack(_exactly(stream, _LENGTHS.size))
    header: Header = json.loads(_exactly(stream, header_bytes))
    return header, _exactly(stream, payload_bytes)


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data
