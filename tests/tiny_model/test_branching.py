"""In a row of branches each completion has the logits of a separate forward pass."""

import torch

from ireasoner.trainer.tiny_model.branching import IGNORED, Branch, Trunk
from ireasoner.trainer.tiny_model.model import build_model, build_processor
from ireasoner.trainer.tiny_model.warm_start import Prompts
from ireasoner.trainer.worlds.digit_grids.digits import load_digits_part
from ireasoner.trainer.worlds.digit_grids.grid import random_grids
from ireasoner.trainer.worlds.digit_grids.question import QUESTIONS

TEXTS = [question.text for question in QUESTIONS]

TOLERANCE = 1e-4
"""For logits in float32, since rows and single sequences sum in different orders."""


def test_a_branch_has_the_logits_of_its_prompt_and_completion_alone() -> None:
    torch.set_num_threads(1)
    processor = build_processor()
    model = build_model(processor, seed=0).eval()
    prompts = Prompts(processor, TEXTS)
    grid = next(random_grids(load_digits_part("warm-start"), 1, seed=0))
    image = processor.image_processor([grid.image], return_tensors="pt")
    placeholder = model.config.image_token_id

    def alone(ids: list[int]) -> torch.Tensor:
        tokens = torch.tensor([ids])
        output = model(input_ids=tokens, mm_token_type_ids=(tokens == placeholder).int(), **image)
        logits: torch.Tensor = output.logits[0]
        return logits

    branches = [
        Branch(prompts.solver[TEXTS[0]], prompts.tokens("<think>\nStep 1: Row 1 reads 1, 2, 3.\n")),
        Branch(prompts.proposer, prompts.tokens("<question>What")),
        Branch(prompts.solver[TEXTS[-1]], prompts.tokens("<answer>12</answer>")),
    ]
    longest = torch.tensor([max(prompts.all, key=len)])
    positions, _ = model.model.get_rope_index(
        longest, mm_token_type_ids=(longest == placeholder).int(), image_grid_thw=image["image_grid_thw"]
    )
    rows = Trunk(prompts.all, positions[:, 0]).rows([branches, branches[:1]], pad=0)
    with torch.inference_mode():
        seen = model.model.visual(image["pixel_values"], grid_thw=image["image_grid_thw"]).pooler_output
        embedded = model.get_input_embeddings()(rows.input_ids)
        embedded[rows.input_ids == placeholder] = seen.repeat(2, 1)
        hidden = model.model.language_model(
            inputs_embeds=embedded,
            position_ids=rows.positions,
            attention_mask={"full_attention": rows.visible},
            use_cache=False,
        ).last_hidden_state
        for row, in_row in enumerate([branches, branches[:1]]):
            learnt = rows.labels[row] != IGNORED
            expected = [
                alone(branch.prompt + branch.completion)[len(branch.prompt) - 1 : -1] for branch in in_row
            ]
            assert torch.allclose(model.lm_head(hidden[row, learnt]), torch.cat(expected), atol=TOLERANCE)
            completions = [token for branch in in_row for token in branch.completion]
            assert rows.labels[row, learnt].tolist() == completions


def test_the_trunk_is_shared_by_all_of_the_solvers_prompts() -> None:
    prompts = Prompts(build_processor(), TEXTS)
    trunk = Trunk(prompts.all, torch.zeros(3, max(map(len, prompts.all)), dtype=torch.long)).ids
    assert sum(prompt[: len(trunk)] == trunk for prompt in prompts.all) > 1
    assert len(prompts.solver) == len(TEXTS)
