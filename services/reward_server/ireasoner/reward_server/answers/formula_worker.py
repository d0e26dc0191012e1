"""The formula worker: a child process that reads formulas and proves that two are the same.

    {"op": "load"}                              -> {}
    {"op": "read", "formulas": [LaTeX]}         -> {"key": ..., "form": ..., "cpu_s": ...}
    {"op": "compare", "formulas": [LaTeX] * 2}  -> {"same": true, false or null, "cpu_s": ...}

or `{"reason": why not, "cpu_s": ...}`. SymPy hangs on some formulas, so a process forked from this one does the work.
The kernel ends it, with SIGPROF, when a question takes more processor time than it may; another one is forked within
milliseconds.
"""

import contextlib
import gc
import json
import logging
import os
import resource
import signal
import socket
import time

from ireasoner.reward_server import child_process
from ireasoner.reward_server.child_process import Frame, Header

MAX_MEMORY_BYTES = 2 * 2**30
QUESTION_CPU_S = 0.5
"""Processor time that a question may take."""
MAX_CALCULATOR_DEATHS = 2
"""How often a question may end the forked process before it is given up; a single death may have another cause."""


class _Died(Exception):
    """The forked process ended before it had answered."""

    def __init__(self, by_signal: int) -> None:
        super().__init__(by_signal)
        self.by_signal = by_signal


class _Calculator:
    """A forked process that answers one question after the other."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            ours.close()
            _calculate(theirs)
        theirs.close()
        self._socket = ours
        self._questions, self._answers = ours.makefile("w"), ours.makefile("r")

    def ask(self, question: Header) -> Header:
        """The answer to a question. Raises _Died."""
        try:
            print(json.dumps(question), file=self._questions, flush=True)
            line = self._answers.readline()
        except ConnectionError:
            line = ""
        if not line:
            status = self.stop()
            raise _Died(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)
        answered: Header = json.loads(line)
        return answered

    def stop(self) -> int:
        """Lets the process end; returns how it ended, as `os.waitpid` does."""
        with contextlib.suppress(OSError):  # it has ended already
            self._socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):  # a question that it did not take is flushed
            self._questions.close()
        self._answers.close()
        self._socket.close()
        return os.waitpid(self._pid, 0)[1]


def _calculate(questions: socket.socket) -> None:
    """Answers questions until the worker ends, in the forked process."""
    silence = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(silence, number)
    os.closerange(3, questions.fileno())  # the server must see the worker's end, whatever this process does
    os.closerange(questions.fileno() + 1, 1024)
    status = 1
    try:
        with questions.makefile("r") as lines, questions.makefile("w") as answers:
            for line in lines:
                started_s = time.process_time()
                signal.setitimer(signal.ITIMER_PROF, QUESTION_CPU_S)
                answered = _answered(json.loads(line))
                signal.setitimer(signal.ITIMER_PROF, 0)
                answered["cpu_s"] = time.process_time() - started_s
                print(json.dumps(answered), file=answers, flush=True)
        status = 0
    finally:
        os._exit(status)


def _answered(question: Header) -> Header:
    from ireasoner.reward_server.answers import comparison
    from ireasoner.reward_server.answers.expression import NotRead
    from ireasoner.reward_server.answers.normal_form import TooLarge

    try:
        if question["op"] == "compare":
            return {"same": comparison.are_same(*question["formulas"])}
        reading = comparison.read(*question["formulas"])
    except MemoryError:  # earlier questions may have taken the memory: a new process tries again
        raise
    except NotRead as error:
        return {"reason": str(error)}
    except TooLarge:
        return {"reason": "it is too large to write out"}
    except Exception as error:  # noqa: BLE001 - whatever the libraries raise is the answer to this question
        return {"reason": type(error).__name__}
    return {"key": reading.key, "form": reading.form}


class FormulaWorker:
    """The worker's side of the questions."""

    def __init__(self) -> None:
        self._calculator: _Calculator | None = None

    def answer(self, header: Header, payload: bytes) -> Frame:
        """The answer to one question."""
        if header["op"] == "load":
            _load()
            return {}, b""
        for _ in range(MAX_CALCULATOR_DEATHS):
            if self._calculator is None:
                self._calculator = _Calculator()
            try:
                return self._calculator.ask(header), b""
            except _Died as error:
                self._calculator = None
                if error.by_signal == signal.SIGPROF:
                    return {
                        "reason": f"not decided within {QUESTION_CPU_S:g} s",
                        "cpu_s": QUESTION_CPU_S,
                    }, b""
        return {"reason": "calculating ended the process", "cpu_s": QUESTION_CPU_S}, b""

    def stop(self) -> None:
        """Ends the forked process, if there is one."""
        if self._calculator is not None:
            self._calculator.stop()


def _load() -> None:
    """Loads the libraries, which load much at their first use; that must not count as any question's time."""
    for pair in (("x+1", "1+x"), (r"\sin 2x", r"2\sin x\cos x"), (r"\sqrt{8}", r"2\sqrt{2}")):
        for formula in pair:
            _answered({"op": "read", "formulas": [formula]})
        _answered({"op": "compare", "formulas": pair})
    gc.collect()
    gc.freeze()  # a forked process copies what it touches, and a collection touches all


if __name__ == "__main__":
    logging.disable()
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    worker = FormulaWorker()
    child_process.serve(worker.answer)
    worker.stop()
