"""The workload of the benchmark: groups of rollouts with paraphrased reasoning."""

import random
from dataclasses import dataclass

GROUPS = 64
ROLLOUTS = 8
_OPENERS = (
    "Looking at the picture,",
    "Now",
    "From the chart I can tell that",
    "It seems that",
    "Going on from there,",
    "To be careful,",
    "As far as I can see,",
    "In the next place",
    "Checking once more,",
    "Since that is settled,",
    "Given this,",
    "Next",
)
_SUBJECTS = (
    "the red bar for {month}",
    "the blue line at {month}",
    "the number in the {ordinal} row",
    "the shape in the {ordinal} column",
    "the left edge of the triangle",
    "the slice for {month}",
    "the {ordinal} label on the axis",
    "the total of the {ordinal} row",
    "the angle at the {ordinal} corner",
    "the value printed below {month}",
)
_VERBS = (
    "reads as {number}",
    "comes to about {number}",
    "is {number} more than the one beside it",
    "is lower than {number}",
    "stands at {number}",
    "adds up to {number}",
    "must be equal to {number}",
    "differs from the {ordinal} by {number}",
)
_TAILS = (
    "so we carry it over into the sum that was asked for",
    "which I add to what was found before to get {number}",
    "and so the question comes down to comparing it with {month}",
    "which leaves {number} for the part that is still missing",
    "so the answer cannot be the one that stands in the {ordinal} place",
    "and twice that is {number} as the label on the right also says",
    "which fits the scale of the axis that goes up to {number}",
    "and nothing else in the picture has that colour or that size",
)
_MONTHS = ("January", "March", "April", "June", "August", "October", "December")
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "last")


@dataclass(frozen=True, slots=True)
class Sample:
    """One rollout: its steps, about 22 words each, and its answer."""

    steps: tuple[str, ...]
    answer: str

    @property
    def text(self) -> str:
        """The completion in the paper's form."""
        numbered = "\n".join(f"Step {number}: {step}" for number, step in enumerate(self.steps, start=1))
        return f"<think>{numbered}</think><answer>{self.answer}</answer>"


def groups(seed: int, count: int = GROUPS) -> list[list[Sample]]:
    """`count` groups of 8 rollouts with 3 to 6 steps; 5 to 8 rollouts of each give the dominant answer.

    The rollouts of a group say the same in other words, with errors, so that their steps agree in part. Equal seeds
    give equal groups. No step occurs twice in the groups of one seed.
    """
    random_state = random.Random(seed)
    said: set[str] = set()
    return [_group(random_state, said) for _ in range(count)]


def _group(random_state: random.Random, said: set[str]) -> list[Sample]:
    plan = [_facts(random_state) for _ in range(6)]
    answer = random_state.randint(10, 60)
    dominant = random_state.randint(5, ROLLOUTS)
    samples = []
    for index in range(ROLLOUTS):
        steps = tuple(_step(random_state, facts, said) for facts in plan[: random_state.randint(3, 6)])
        samples.append(Sample(steps, str(answer if index < dominant else answer + index)))
    return samples


@dataclass(frozen=True, slots=True)
class _Facts:
    subject: str
    verb: str
    tail: str
    names: dict[str, str]


def _names(random_state: random.Random) -> dict[str, str]:
    return {
        "month": random_state.choice(_MONTHS),
        "ordinal": random_state.choice(_ORDINALS),
        "number": str(random_state.randint(2, 90)),
    }


def _facts(random_state: random.Random) -> _Facts:
    return _Facts(
        random_state.choice(_SUBJECTS),
        random_state.choice(_VERBS),
        random_state.choice(_TAILS),
        _names(random_state),
    )


def _step(random_state: random.Random, facts: _Facts, said: set[str]) -> str:
    """The facts in other words; a third of their parts, numbers and names are replaced."""
    while True:
        fresh = _facts(random_state)
        parts = [
            random_state.choice(_OPENERS),
            *(
                getattr(fresh if random_state.random() < 0.33 else facts, part)
                for part in ("subject", "verb", "tail")
            ),
        ]
        names = {
            name: value if random_state.random() < 0.67 else fresh.names[name]
            for name, value in facts.names.items()
        }
        step = f"{' '.join(parts).format(**names)}."
        if step not in said:
            said.add(step)
            return step
