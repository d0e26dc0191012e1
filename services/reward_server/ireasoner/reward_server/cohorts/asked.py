"""What the rollouts of a cohort answer, for the ledger alone: kept while one of its callers waits."""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydantic import JsonValue

from ireasoner.reward_server.wire import MAX_LABEL_CHARACTERS, MAX_QUESTION_CHARACTERS


@dataclass(frozen=True, slots=True)
class Asked:
    """The question of a cohort, and its right answer where the framework sent one."""

    question: str | None = None
    labels: list[str] | None = None


UNKNOWN = Asked()


@dataclass(slots=True)
class AskedQuestions:
    """The question of every cohort with a caller, by the cohort's key."""

    _known: dict[Hashable, Asked] = field(default_factory=dict)
    _callers: dict[Hashable, int] = field(default_factory=dict)

    @contextmanager
    def visit(self, key: Hashable, asked: Asked) -> Iterator[None]:
        """Keeps a cohort's question within the block."""
        self._known[key] = asked
        self._callers[key] = self._callers.get(key, 0) + 1
        try:
            yield
        finally:
            self._callers[key] -= 1
            if not self._callers[key]:
                del self._known[key], self._callers[key]

    def of(self, key: Hashable) -> Asked:
        """The question of a cohort; nothing is known of one without callers."""
        return self._known.get(key, UNKNOWN)


def asked(prompt: JsonValue, *labels: JsonValue) -> Asked:
    """What a framework's prompt and labels ask, in as many characters as the wire takes."""
    right = [str(label)[:MAX_LABEL_CHARACTERS] for label in labels if isinstance(label, str | int | float)]
    question = prompt_text(prompt)
    return Asked(question[:MAX_QUESTION_CHARACTERS] or None, right or None)


def prompt_text(prompt: JsonValue) -> str:
    """The text of a prompt: itself, or those of a chat's user."""
    if isinstance(prompt, str):
        return prompt
    messages = [each for each in prompt if isinstance(each, dict)] if isinstance(prompt, list) else []
    users = [each for each in messages if each.get("role") == "user"]
    return "\n".join(text for each in users or messages for text in _content_texts(each.get("content")))


def _content_texts(content: JsonValue) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, dict) and isinstance(text := part.get("text"), str):
                yield text
