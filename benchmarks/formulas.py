"""The time that the formulas of one group take: 32 distinct ones, of the kinds that models write."""

import asyncio
import time

from ireasoner.reward_server.answers.comparer import ExpressionComparer

FORMULAS = (
    *(rf"(x-{a})^2+(y+{b})^2={r}" for a in (1, 2, 3) for b in (2, 4) for r in (4, 9)),
    *(r"x^2+y^2-2x+4y+1=0", r"x^2+y^2-4x+8y=-16", r"9x^2+4y^2=36", r"\frac{x^2}{4}+\frac{y^2}{9}=1"),
    *(r"2x+4y-3=0", r"y=-\frac{1}{2}x+\frac{3}{4}", r"y=x^2-4x+5", r"y=(x-2)^2+1"),
    *(r"\sin 2x", r"2\sin x\cos x", r"\frac{1}{1+\tan^2 x}", r"\cos^2 x"),
    *(r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}", r"\sqrt{5+2\sqrt{6}}", r"\sqrt{2}+\sqrt{3}"),
    *(r"3\ln 2", r"\ln 8", r"1<x\le 3", r"3\ge x>1"),
)


def seconds() -> float:
    """The time for all FORMULAS in one group, when none of them is known yet and the worker runs."""
    return asyncio.run(_seconds())


async def _seconds() -> float:
    comparer = ExpressionComparer()
    try:
        await comparer.equal(["x+1", "1+x"])
        started_s = time.perf_counter()
        await comparer.equal(FORMULAS)
        return time.perf_counter() - started_s
    finally:
        await comparer.stop()
