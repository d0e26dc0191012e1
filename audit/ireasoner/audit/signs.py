"""The signs of an audit: the figure that each one watches, when it holds, and where its threshold comes from."""

import math
from dataclasses import dataclass

from ireasoner.audit.rules import Above, Below, Multiple, Rule
from ireasoner.audit.thresholds import Thresholds

ENTROPY = "answer_entropy_nats"
DOMINANT = "dominant_share"
DISTINCT = "questions_distinct_recent"
NEAR_DUPLICATE = "questions_near_duplicate_recent"
WORDS = "words"
STEPS = "steps"
LABELS = "pseudo_label_accuracy"
FLAT = "flat_share"
FLIPS = "flip_share"
INVALID = "invalid_share"
TEMPLATES = "template_share"
LENGTH_GAINS = "length_gain_share"

FIGURES = (
    ENTROPY,
    DOMINANT,
    LABELS,
    FLAT,
    FLIPS,
    INVALID,
    WORDS,
    STEPS,
    DISTINCT,
    NEAR_DUPLICATE,
    TEMPLATES,
    LENGTH_GAINS,
)
"""All figures of an audit, in the order in which they are shown."""

AVERAGED = (DISTINCT, NEAR_DUPLICATE, TEMPLATES, LENGTH_GAINS)
"""Figures that are taken over a window of updates, since an update may have only one question or group."""

_SHARPENS = "an intrinsic reward sharpens what the model believes, and rises then falls (arXiv 2603.08660); limit ours"


@dataclass(frozen=True, slots=True)
class Sign:
    """One sign.

    Attributes:
        name: What has happened, such as `entropy_fell`.
        figure: The figure that shows it.
        rule: When it holds.
        decides: Whether it alone makes a collapse likely; other signs are only shown.
        source: The paper or the reason that the threshold comes from.
    """

    name: str
    figure: str
    rule: Rule
    decides: bool = True
    source: str = ""


def signs(limits: Thresholds) -> tuple[Sign, ...]:
    """All signs, those that decide first."""
    return (*_deciding(limits), *_shown(limits))


def bounds(figure: str, first: float, limits: Thresholds) -> tuple[float | None, float | None]:
    """The least and the largest mean of a figure that is no sign, given its first one; None where any mean is none."""
    rules = [sign.rule for sign in signs(limits) if sign.figure == figure]
    found = [(rule.is_floor, rule.bound(first)) for rule in rules]
    floors = [bound for is_floor, bound in found if is_floor]
    ceilings = [bound for is_floor, bound in found if not is_floor and math.isfinite(bound)]
    return max(floors, default=None), min(ceilings, default=None)


def _deciding(limits: Thresholds) -> tuple[Sign, ...]:
    return (
        Sign("entropy_fell", ENTROPY, Below(limits.entropy_share), source=_SHARPENS),
        Sign("answers_all_agree", DOMINANT, Above(limits.dominant_share), source=_SHARPENS),
        Sign(
            "agreement_fell",
            DOMINANT,
            Below(limits.agreement_share),
            source="the policy is paid for agreement: if training lowers it, the updates do harm; limit from the "
            "arms of the replication on `sums`",
        ),
        Sign("length_fell", WORDS, Below(limits.length_share), source="reasoning is dropped; limit ours"),
        Sign(
            "length_grew",
            WORDS,
            Multiple(limits.length_factor),
            source="the inverse of 0.4; losses that favour long wrong answers make them grow (arXiv 2503.20783)",
        ),
        Sign(
            "questions_repeat",
            DISTINCT,
            Below(limits.distinct_share),
            source="the Proposer has found one question that pays; limit ours",
        ),
        Sign(
            "pseudo_labels_fell",
            LABELS,
            Below(limits.label_share),
            source="in iReasoner's runs they rise, from 0.76 to 0.93 (arXiv 2601.05877); limit from the arms of the "
            "replication on `sums`; needs labels",
        ),
    )


def _shown(limits: Thresholds) -> tuple[Sign, ...]:
    return (
        Sign(
            "groups_without_spread",
            FLAT,
            Above(limits.flat_share),
            decides=False,
            source="a group without spread has no advantage and trains nothing (arXiv 2503.14476 leaves them out)",
        ),
        Sign(
            "answers_flip",
            FLIPS,
            Above(limits.flip_share, limits.rise),
            decides=False,
            source="a pseudo-label that changes every other time is noise; limit ours",
        ),
        Sign(
            "questions_nearly_repeat",
            NEAR_DUPLICATE,
            Above(limits.near_duplicate_share, limits.rise),
            decides=False,
            source="near duplicates ask for no new skill; limit ours",
        ),
        Sign(
            "steps_are_templates",
            TEMPLATES,
            Above(limits.template_share, limits.rise),
            decides=False,
            source="a generic step agrees with every other one and is paid for it (docs/presets.md); limit ours",
        ),
        Sign(
            "length_is_paid",
            LENGTH_GAINS,
            Above(limits.length_gain_share, limits.rise),
            decides=False,
            source="the paper's step reward never charges for fewer steps (docs/presets.md); limit ours",
        ),
    )
