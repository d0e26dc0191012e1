"""Control tokens: what a tokenizer reads as a token of its own wherever it is written, `<|im_end|>` for example.

A chat template writes them, and a text inside a prompt must not: `<|im_end|>` would end the turn, and `<|image_pad|>`
would stand for an image that is not there. A server reads the text of a chat message as it reads the template, so such
a text cannot be escaped.
"""

from typing import Any


def control_tokens_in(text: str, tokenizer: Any) -> list[str]:
    """The control tokens that `tokenizer` finds in `text`, in order; none in a text that may be part of a prompt.

    Args:
        text: Text that a user or a policy wrote.
        tokenizer: A tokenizer of transformers; its added tokens are the control tokens, except for white space.
    """
    added = tokenizer.added_tokens_decoder
    token_ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    found = [added[token_id].content for token_id in token_ids if token_id in added]
    return [token for token in found if not token.isspace()]
