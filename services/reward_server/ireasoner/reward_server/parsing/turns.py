"""Where a completion ends and a second turn begins, which the policy wrote because nothing stopped it."""

import re

_CONTROL_TOKEN = re.compile(
    r"<\|(?:im_start|im_end|endoftext|end_of_text|eot_id|eom_id|start_header_id|begin_of_text|end|user|system|assistant)\|>"
    r"|<(?:start|end)_of_turn>|<end_of_utterance>|</s>\s*\Z|\[/?INST\]|<｜(?:User|Assistant|end▁of▁sentence)｜>"
)
# `Human: 5` is a row of a table or a label in the image, and no turn.
_SPEAKER = re.compile(
    r"""^[ \t]*(?:\#{1,6}[ \t]*)?[*_]{0,2}
    (?:human|user|assistant|usuario|utilisateur|benutzer|用户|人类|助手|ユーザー|사용자)
    [*_]{0,2}[ \t]*[:：][*_]{0,2}(?![ \t]*+[-+\d.,%$€]*+[ \t]*+$)""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)


def first_turn(text: str, first_end: int) -> str:
    """`text` up to where a second turn begins: a control token, or a line that names a speaker.

    A speaker counts only after `first_end`, the index at which the first thinking is closed (0 if none is), and
    after some text: thinking may quote a dialogue, and a chat template may leave its own `Assistant:` in front.
    """
    begin = len(text) - len(text.lstrip())
    ends = [
        match.start()
        for match in (_first(_CONTROL_TOKEN, text, begin), _first(_SPEAKER, text, first_end))
        if match is not None
    ]
    return text[: min(ends, default=len(text))]


def _first(pattern: re.Pattern[str], text: str, start: int) -> re.Match[str] | None:
    """The first match after `start` that has text before it."""
    return next((match for match in pattern.finditer(text, start) if text[: match.start()].strip()), None)
