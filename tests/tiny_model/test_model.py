"""The tiny model copies weights and shared embeddings from another one."""

from pathlib import Path

import torch

from ireasoner.trainer.tiny_model.model import adopt, build_model, build_processor, load
from ireasoner.trainer.tiny_model.task import TASKS

DIGIT_GRIDS = Path(__file__).parents[2] / "models" / "digit-grids"


def test_it_copies_all_weights_and_the_embeddings_of_shared_tokens() -> None:
    other, its_processor = load(DIGIT_GRIDS)
    processor = build_processor(TASKS["scenes"])
    model = build_model(processor, seed=0)
    before = model.get_input_embeddings().weight.clone()
    adopt(model, processor, DIGIT_GRIDS)
    theirs = other.state_dict()
    embeddings = model.get_input_embeddings().weight
    for name, parameter in model.named_parameters():
        assert parameter is embeddings or torch.equal(parameter, theirs[name])
    ours_vocabulary, their_vocabulary = processor.tokenizer.get_vocab(), its_processor.tokenizer.get_vocab()
    for token in ("7", "row\u0120", "teal\u0120"):
        row = ours_vocabulary[token]
        if token in their_vocabulary:
            assert torch.equal(embeddings[row], other.get_input_embeddings().weight[their_vocabulary[token]])
        else:
            assert torch.equal(embeddings[row], before[row])
    assert ours_vocabulary.keys() & their_vocabulary.keys() >= {"7", "row\u0120"}
    assert "teal\u0120" not in their_vocabulary
