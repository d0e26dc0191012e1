"""Which of a group's formulas are the same, calculated in a child process that can be killed."""

import logging
import os
from collections import Counter, OrderedDict
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, field

from ireasoner.reward_server.answers.fair_queue import FairQueue
from ireasoner.reward_server.answers.formula_worker import QUESTION_CPU_S
from ireasoner.reward_server.child_process import ChildDied, ChildHung, ChildProcess, ChildRefused, Header
from ireasoner.reward_server.errors import FormulasUnavailable

log = logging.getLogger(__name__)

GROUP_CPU_S = 2.0
"""Processor time that the questions about one group may take."""
STARVED_S = 20.0
"""Wall-clock time within which a process that gets any processor time at all has used up a question's share."""
START_DEADLINE_S = 30.0
MAX_WORKER_DEATHS = 2
"""How often the worker may end during a question before the question is given up."""
MAX_REMEMBERED = 16_384

_SAME_ORDER = {"PYTHONHASHSEED": "0"}
"""SymPy's methods, and the time they take, depend on the order of sets."""


@dataclass(frozen=True, slots=True)
class Question:
    """One formula to read, or two to compare."""

    op: str
    formulas: tuple[str, ...]


@dataclass
class Equal:
    """Which formulas of a group are the same.

    `classes` are the sets of equal formulas, each sorted; the formulas that are equal to no other are left out.
    `not_compared` lists the formulas that could not be compared, and why. `cpu_s` is the processor time of the group's
    questions, whenever they were asked.
    """

    classes: list[list[str]] = field(default_factory=list)
    not_compared: list[str] = field(default_factory=list)
    cpu_s: float = 0.0


class ExpressionComparer:
    """Compares formulas; its process starts with the first question.

    Each formula is read once, on its own. Only pairs whose readings agree are compared. What is known depends on the
    formulas alone: a question's limit is processor time, which the kernel enforces, so a busy machine changes nothing,
    and answers are remembered with the time that they took. Groups take turns, question by question.
    """

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        """How many questions the worker was asked, by `op`."""
        self._child: ChildProcess | None = None
        self._queue = FairQueue()
        self._known: OrderedDict[Question, Header] = OrderedDict()

    async def equal(
        self, formulas: Collection[str], settled: Collection[str] = (), used_s: float = 0.0
    ) -> Equal:
        """Compares formulas of one group, in LaTeX; `settled` are known to differ from each other.

        The group's other formulas took `used_s` seconds of processor time, which the result's `cpu_s` includes.

        Raises:
            FormulasUnavailable: The process does not start, or gets no processor time. Nothing is remembered.
        """
        group = _Group(self, frozenset(settled), used_s)
        with self._queue.visit(group, used_s):
            return await group.equal(sorted(set(formulas)))

    async def ask(self, question: Question, group: Hashable) -> Header:
        """The answer to a question of a group, which waits for its turn by processor time.

        Raises FormulasUnavailable.
        """
        async with self._queue.take(group):
            if (known := self._known.get(question)) is not None:
                self._known.move_to_end(question)
                return known
            self.asked[question.op] += 1
            self._known[question] = answered = await self._calculated(question)
            self._queue.charge(group, answered["cpu_s"])
            while len(self._known) > MAX_REMEMBERED:
                self._known.popitem(last=False)
            return answered

    async def stop(self) -> None:
        """Ends the process, if there is one."""
        if self._child is not None:
            await self._child.stop()

    async def _calculated(self, question: Question) -> Header:
        for _ in range(MAX_WORKER_DEATHS):
            child = await self._running()
            try:
                answered, _ = await child.ask(
                    {"op": question.op, "formulas": question.formulas}, deadline_s=STARVED_S
                )
            except ChildHung as error:
                reason = (
                    f"the formula worker got less than {QUESTION_CPU_S:g} s of a processor in {STARVED_S:g} s"
                )
                raise FormulasUnavailable(reason, retry_after_s=1) from error
            except ChildDied as error:
                log.warning("%s: %s", question, error)
            else:
                return answered
        return {"reason": "calculating ended the process", "cpu_s": QUESTION_CPU_S}

    async def _running(self) -> ChildProcess:
        if self._child is not None and self._child.is_running:
            return self._child
        try:
            self._child = await ChildProcess.start(
                "formula worker",
                "ireasoner.reward_server.answers.formula_worker",
                {"op": "load"},
                START_DEADLINE_S,
                {**os.environ, **_SAME_ORDER},
            )
        except (OSError, ChildDied, ChildRefused) as error:
            reason = f"the formula worker did not start: {error}"
            raise FormulasUnavailable(reason, retry_after_s=1) from error
        return self._child


class _Group:
    """The comparison of one group's formulas, within its share of processor time."""

    def __init__(self, comparer: ExpressionComparer, settled: frozenset[str], used_s: float) -> None:
        self._comparer = comparer
        self._settled = settled
        self._found = Equal(cpu_s=used_s)
        self._undecided: list[tuple[str, str]] = []
        self._left_out: Counter[str] = Counter()

    async def equal(self, formulas: Sequence[str]) -> Equal:
        buckets: dict[str, list[str]] = {}
        forms: dict[str, list[str]] = {}
        for formula in formulas:
            read = await self._asked(Question("read", (formula,)))
            if read is not None:
                same_form = forms.setdefault(read["form"] or f"of {formula}", [])
                same_form.append(formula)
                if same_form[0] == formula:
                    buckets.setdefault(read["key"], []).append(formula)
        classes = {written[0]: written for written in forms.values()}
        for bucket in buckets.values():
            await self._compare(bucket, classes)
        self._found.classes = sorted(sorted(each) for each in classes.values() if len(each) > 1)
        for one, other in self._undecided:
            if not any(one in each and other in each for each in self._found.classes):
                self._found.not_compared.append(f"{one} and {other}: not decided")
        for op, count in self._left_out.items():
            what = f"{count} formulas" if op == "read" else f"{count} pairs"
            self._found.not_compared.append(
                f"{what}: the group's {GROUP_CPU_S:g} s of processor time are used up"
            )
        return self._found

    async def _compare(self, bucket: Sequence[str], classes: dict[str, list[str]]) -> None:
        """Joins the classes of a bucket's formulas that are the same; the first formula of a class represents it."""
        for index, formula in enumerate(bucket):
            for earlier in bucket[:index]:
                if earlier not in classes or self._are_settled(classes[earlier], classes[formula]):
                    continue
                compared = await self._asked(Question("compare", (earlier, formula)))
                if compared is None:
                    continue
                if compared["same"]:
                    classes[earlier] += classes.pop(formula)
                    break
                if compared["same"] is None:
                    self._undecided.append((earlier, formula))

    def _are_settled(self, one: Sequence[str], other: Sequence[str]) -> bool:
        """Whether both hold a settled formula, which are known to differ."""
        return not (self._settled.isdisjoint(one) or self._settled.isdisjoint(other))

    async def _asked(self, question: Question) -> Header | None:
        """The answer to a question; None if there is none, which is reported."""
        if self._found.cpu_s + QUESTION_CPU_S > GROUP_CPU_S:
            self._left_out[question.op] += 1
            return None
        answered = await self._comparer.ask(question, self)
        self._found.cpu_s += answered["cpu_s"]
        if "reason" in answered:
            self._found.not_compared.append(f"{' and '.join(question.formulas)}: {answered['reason']}")
            return None
        return answered
