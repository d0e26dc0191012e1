"""Which steps count as templates."""

import pytest

from ireasoner.audit import templates
from ireasoner.audit.group import AuditedGroup
from ireasoner.audit.templates import template_share
from tests.audit.groups import group, rollout

APPLES = group("How many apples?", rollout("I count three red apples."), rollout("I count three apples."))
BARS = group("Which bar is tallest?", rollout("The blue bar reaches 12."), rollout("The blue bar is at 12."))
GENERIC = ("Look at the image carefully.", "Check the result.")


@pytest.mark.parametrize(
    ("groups", "share"),
    [
        ([], None),
        ([APPLES], None),  # nothing to compare with
        ([APPLES, APPLES], None),  # the same question is no other one
        ([APPLES, BARS], 0.0),
        (
            [
                group("a?", rollout(*GENERIC), rollout(*GENERIC)),
                group("b?", rollout(*GENERIC), rollout(*GENERIC)),
            ],
            1.0,
        ),
        (
            [
                group(
                    "a?", rollout("Look at it.", "Three red apples."), rollout("Look at it.", "Three apples.")
                ),
                group("b?", rollout("Look at it.", "The blue bar."), rollout("Look at it.", "A blue bar.")),
            ],
            0.5,
        ),
        # case and punctuation do not make a step another one
        (
            [
                group("a?", rollout("look AT it!"), rollout("Three.")),
                group("b?", rollout("Look at it"), rollout("4")),
            ],
            0.5,
        ),
        # word order does
        (
            [
                group("a?", rollout("one two three"), rollout("one two three")),
                group("b?", rollout("three two one"), rollout("three two one")),
            ],
            0.0,
        ),
        # one rollout with steps has nobody to agree with
        ([group("a?", rollout("x y")), BARS], 0.0),
        # a group whose question is not known is left out
        ([group(None, rollout(*GENERIC), rollout(*GENERIC)), group(None, rollout(*GENERIC))], None),
        # Chinese, whose words have no spaces
        (
            [
                group("苹果有多少？", rollout("图中有三个红苹果。"), rollout("图中有三个苹果。")),
                group("哪根柱子最高？", rollout("蓝色的柱子到十二。"), rollout("蓝色柱子在十二。")),
            ],
            0.0,
        ),
    ],
)
def test_the_share_of_templates(groups: list[AuditedGroup], share: float | None) -> None:
    assert template_share(groups) == share


def test_the_work_in_a_group_is_bounded() -> None:
    """What lies beyond the bounds changes nothing: more rollouts, more steps, and the rest of a long step."""
    long = "north " * templates.MAX_CHARACTERS
    inside = [
        rollout(*[f"step {index} {long}" for index in range(templates.MAX_STEPS)])
    ] * templates.MAX_ROLLOUTS
    beyond = rollout(*[f"step {index} {long} east" for index in range(500)], long)
    other = group("b?", *[rollout(f"step 1 {long}", "south")] * 4)
    longer = [rollout(*(f"{step.text} x" for step in each.steps), "y") for each in inside]
    bounded = template_share([group("a?", *inside), other])
    assert bounded == template_share([group("a?", *longer, *[beyond] * 99), other])
    assert bounded is not None
