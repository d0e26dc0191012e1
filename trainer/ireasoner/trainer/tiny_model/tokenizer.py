"""A tiny model's tokenizer: bytes, the numbers 0 to 99, and the words of its world."""

from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING

from ireasoner.trainer.rollouts.prompts import PROPOSER_INSTRUCTIONS, solver_messages
from ireasoner.trainer.tiny_model.worked_answer import proposal
from ireasoner.trainer.worlds.world import World

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
PAD, EOS = "<|endoftext|>", "<|im_end|>"

_PIECES = r"</?\p{L}+>[ \n]?|\p{N}{1,2}| ?[^\p{N}\s<]+[ \n]?|<|\s"
"""A tag, up to two digits, or a word with adjacent blanks; a number below 100 is always one token."""

_MAX_LENGTH_TOKENS = 1024


def build_tokenizer(chat_template: str, world: World) -> "PreTrainedTokenizerFast":
    """A byte-level tokenizer with a token for each piece of the world's texts; other text is tokenised as bytes.

    The vocabulary has no merge rules: a piece is either one token or its bytes. So every build gives the same one.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: index for index, token in enumerate(_vocabulary(world))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    _set_pieces(tokenizer)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=[token for token in SPECIAL_TOKENS if token not in (EOS, PAD)],
        clean_up_tokenization_spaces=False,
        model_max_length=_MAX_LENGTH_TOKENS,
        padding_side="left",
        chat_template=chat_template,
    )


def _set_pieces(tokenizer: "Tokenizer") -> None:
    from tokenizers import Regex, pre_tokenizers

    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def _vocabulary(world: World) -> list[str]:
    from tokenizers import Tokenizer, models, pre_tokenizers

    splitter = Tokenizer(models.BPE())
    _set_pieces(splitter)
    pieces = {
        piece for text in set(_texts(world)) for piece, _ in splitter.pre_tokenizer.pre_tokenize_str(text)
    }
    numbers = {str(number) for number in range(100)} | {f"{a}{b}" for a, b in product(range(10), repeat=2)}
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    return alphabet + sorted((pieces | numbers) - set(alphabet))


def _texts(world: World) -> Iterator[str]:
    """Texts with every word that is ever taught or asked."""
    yield from ("system\n", "user\n", "assistant\n", PROPOSER_INSTRUCTIONS)
    yield "Step 2: 1 + 2 = 3.\n</think>\n<answer>3</answer>"
    for text in world.question_texts:
        yield solver_messages(text)[0]["content"][1]["text"]
        yield proposal(text)
    yield from world.texts()
