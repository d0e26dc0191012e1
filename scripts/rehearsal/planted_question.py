"""Random weights that can ask: a few neurons of the first layer make a token follow another one.

A model with random weights never writes `<question>`, so nothing could be trained. Here each position of a question has
some tokens of which any may stand there, and each of them is followed by any of the next position. Every rollout thus
holds a question, rollouts differ, and a token's probability is about one in the number of its alternatives: log-
probabilities are as far from 0 as those of a text. After the question the model is left to its random weights.

The neurons are those of a gated MLP: one answers to the embedding of its token, and adds the embeddings of what
follows.
"""

from itertools import pairwise
from typing import Any

import torch

_WORDS, _ALTERNATIVES = 3, 4
"""Words of a question, and the tokens of each that any of them may be."""
_GAIN = 6.0
"""Activation of a neuron at its token, which is the square of this; at any other it is near 0."""
_STRENGTH = 1.35
"""What a neuron adds, per dimension; all layers with random weights add about 0.4.

With 0.9 a question broke off now and then, with 36 layers and an image before it.
"""

Chain = list[list[int]]
"""Ids of the tokens that may stand at each position, first the one that precedes the question."""


def question_chain(tokenizer: Any, prompt_end: str) -> Chain:
    """The positions of a question of some words, in tokens that do not repeat.

    Args:
        tokenizer: The policy's tokenizer.
        prompt_end: How a prompt ends.

    Raises:
        ValueError: The tokenizer cannot write the tags of a question in tokens that do not repeat.
    """
    taken = {tokenizer.encode(prompt_end, add_special_tokens=False)[-1]}
    chain = [sorted(taken)]
    opening, closing = (_distinct(tokenizer, tag, taken) for tag in ("<question>", "</question>"))
    words = _words(tokenizer, taken)
    return [*chain, *([token] for token in opening), *words, *([token] for token in closing)]


def plant(model: Any, chain: Chain) -> None:
    """Writes the neurons into the first layer, whose attention then adds nothing.

    Args:
        model: The model, with embeddings and layers that are filled.
        chain: What follows what.
    """
    first = model.get_decoder().layers[0]
    first.self_attn.o_proj.weight.zero_()  # so that a neuron sees the embedding of its token, and not the context
    layer = first.mlp
    embeddings = model.get_input_embeddings().weight
    width = embeddings.size(1)
    neuron = 0
    for tokens, following in pairwise(chain):
        after = _unit(embeddings[following].float()).sum(0) / len(following) ** 0.5
        for token in tokens:
            key = _unit(embeddings[token].float()) * _GAIN / width**0.5
            layer.gate_proj.weight[neuron] = key
            layer.up_proj.weight[neuron] = key
            layer.down_proj.weight[:, neuron] = after * width**0.5 * _STRENGTH / _GAIN**2
            neuron += 1


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(vectors, dim=-1)


def _words(tokenizer: Any, taken: set[int]) -> Chain:
    """The tokens of each position of a word: tokens of letters that no position has yet.

    Raises:
        ValueError: There are too few.
    """
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda each: each[1])
    found = [index for token, index in vocabulary if index not in taken and _is_word(token)]
    if len(found) < _WORDS * _ALTERNATIVES:
        raise ValueError(f"the tokenizer has {len(found)} tokens of letters")
    return [found[first::_WORDS][:_ALTERNATIVES] for first in range(_WORDS)]


def _is_word(token: str) -> bool:
    letters = token.strip("Ġ")
    return len(letters) > 2 and letters.isascii() and letters.isalpha()


def _distinct(tokenizer: Any, text: str, taken: set[int]) -> list[int]:
    """A text, with or without a line break after it, in tokens that no position has yet, the longest ones first."""
    vocabulary = tokenizer.get_vocab()
    found: list[int] = []
    while text:
        pieces = [text[:end] for end in range(len(text), 0, -1)]
        piece = next(
            (each for each in (*pieces, f"{text}Ċ") if vocabulary.get(each, -1) not in {-1, *taken}), None
        )
        if piece is None:
            raise ValueError(f"the tokenizer cannot write {text!r} in tokens that do not repeat")
        found.append(vocabulary[piece])
        taken.add(found[-1])
        text = text[len(piece) :]
    return found
