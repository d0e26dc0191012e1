"""Reads a rollout's raw text: its answer, its steps and its number of words."""

from collections.abc import Sequence
from itertools import islice
from typing import Literal, NamedTuple

from ireasoner.reward_server.answers.normalise import normalise_answer
from ireasoner.reward_server.parsing.final_answer import FoundAnswer, find_answer
from ireasoner.reward_server.parsing.steps import fold, read_steps
from ireasoner.reward_server.parsing.tags import Tags, tags_named
from ireasoner.reward_server.parsing.turns import first_turn
from ireasoner.reward_server.scoring_config import PAPER, ScoringConfig
from ireasoner.reward_server.wire import FinishReason

PARSER_VERSION = "4"
"""Part of the fingerprint. Raise it with every change that can make any text read differently."""

Flaw = Literal["no_answer", "empty_answer", "answer_not_closed"]


class ParsedRollout(NamedTuple):
    """What a rollout says.

    `answer` is normalised; it is None exactly if there is a `flaw`. `written` is the answer as it was written,
    white space folded. `steps` are at most the config's `max_steps`. `words` is the number of whitespace-separated
    words before the answer and its introduction, tags included.
    """

    answer: str | None
    written: str | None
    flaw: Flaw | None
    steps: tuple[str, ...]
    words: int


def parse_text(
    text: str,
    config: ScoringConfig = PAPER,
    finish_reason: FinishReason | None = None,
    answer_in_view: str | None = None,
) -> ParsedRollout:
    """Reads raw text of the form `<think>numbered steps</think><answer>short answer</answer>`, in linear time.

    The answer is the first answer element after the thinking, or what `answer_from` names instead. Thinking without
    an opening tag starts with the text; thinking without a closing tag ends at the answer. What follows a second
    turn is not read. A rollout has a flaw if it has no answer, or one that is empty or was cut off;
    `finish_reason` says why the text ended (see `find_answer`). `answer_in_view` takes the place of an answer that the
    text has; a rollout without one stays without.
    """
    tags = tags_named(config.think_tag, config.answer_tag, config.step_tag)
    text = first_turn(text, tags.first_end(text))
    found = find_answer(text, tags.thinking_end(text), tags, config.answer_from, finish_reason)
    before = text if found is None else text[: found.start]
    steps = tuple(islice(read_steps(_thinking(before, tags), tags), config.max_steps))
    answer, written, flaw = _read_answer(found)
    if answer_in_view is not None and flaw is None:
        answer, written, flaw = _normalised(answer_in_view)
    return ParsedRollout(answer, written, flaw, steps, len(before.split()))


def follows_format(text: str, config: ScoringConfig, finish_reason: FinishReason | None = None) -> bool:
    """Whether a text is closed thinking followed by a whole answer; the thinking's opening tag may be in the prompt."""
    tags = tags_named(config.think_tag, config.answer_tag, config.step_tag)
    text = first_turn(text, tags.first_end(text))
    end = tags.thinking_end(text)
    found = find_answer(text, end, tags, config.answer_from, finish_reason)
    return found is not None and found.content is not None and found.start >= end > 0


def parsed_before(answer: str | None, steps: Sequence[str], config: ScoringConfig = PAPER) -> ParsedRollout:
    """A rollout that its sender parsed; its words are those of its steps."""
    tags = tags_named(config.think_tag, config.answer_tag, config.step_tag)
    kept = tuple(folded for step in steps if (folded := fold(step, tags)))
    words = sum(len(step.split()) for step in kept)
    return ParsedRollout(*_normalised(answer), kept[: config.max_steps], words)


def _read_answer(found: FoundAnswer | None) -> tuple[str | None, str | None, Flaw | None]:
    if found is not None and found.content is None:
        return None, None, "answer_not_closed"
    return _normalised(None if found is None else found.content)


def _normalised(answer: str | None) -> tuple[str | None, str | None, Flaw | None]:
    if answer is None:
        return None, None, "no_answer"
    normal = normalise_answer(answer)
    return (normal, " ".join(answer.split()), None) if normal else (None, None, "empty_answer")


def _thinking(before: str, tags: Tags) -> str:
    opening = tags.think_open.search(before)
    closings = list(tags.think_close.finditer(before, opening.end() if opening else 0))
    thinking = before[opening.end() if opening else 0 : closings[-1].start() if closings else len(before)]
    if "<" not in thinking:
        return thinking
    return tags.think_close.sub("\n\n", tags.think_open.sub("\n\n", thinking))  # tags of nested thinking
