"""The tower learns to give the language model's own embeddings of digits."""

from pathlib import Path
from typing import Any

import torch

from ireasoner.trainer.adapters.backbone import load_backbone, load_processor
from ireasoner.trainer.graft.text_model import digit_token_ids
from ireasoner.trainer.graft.tower import digit_embeddings, read_held_out, train_tower
from ireasoner.trainer.worlds.digit_grids.digits import load_digits_part
from ireasoner.trainer.worlds.digit_grids.grid import random_grids

GRIDS = 20


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in model.state_dict().items()}


def test_a_few_updates_read_most_digits(grafted: tuple[Any, Any], seeing_folder: Path) -> None:
    chance = read_held_out(*grafted, grids=GRIDS)
    model, processor = load_backbone(str(seeing_folder), "auto"), load_processor(str(seeing_folder))
    learnt = read_held_out(model, processor, grids=GRIDS)
    assert chance.cells == learnt.cells == 9 * GRIDS
    assert chance.accuracy < 0.3 < 0.6 < learnt.accuracy


@torch.no_grad()
def test_an_image_token_is_the_embedding_of_its_cells_digit(seeing_folder: Path) -> None:
    """Cell by cell, row by row: most of the difference between digits is explained."""
    model, processor = load_backbone(str(seeing_folder), "auto"), load_processor(str(seeing_folder))
    [grid] = random_grids(load_digits_part("warm-start"), 1, seed=0)
    inputs = processor.image_processor([grid.image], return_tensors="pt")
    seen = model.model.visual(inputs["pixel_values"], grid_thw=inputs["image_grid_thw"]).pooler_output
    ids = torch.tensor(digit_token_ids(processor.tokenizer))
    said = model.get_input_embeddings()(ids)
    assert torch.equal(said, digit_embeddings(model, processor.tokenizer))
    right = torch.dist(seen, said[torch.tensor(grid.digits)])
    turned = torch.dist(seen, said[torch.tensor(grid.digits).reshape(3, 3).T.flatten()])
    assert right < turned
    assert right < torch.dist(said.mean(dim=0).expand(9, -1), said[torch.tensor(grid.digits)])


def test_only_the_tower_is_trained_and_a_seed_gives_the_same_one(grafted: tuple[Any, Any]) -> None:
    model, processor = grafted
    before = weights(model)
    done: list[int] = []

    def trained(seed: int) -> dict[str, torch.Tensor]:
        model.load_state_dict(before)
        train_tower(model, processor, 2, seed, lambda: done.append(1))
        return weights(model)

    first, again, other = trained(1), trained(1), trained(2)
    assert len(done) == 6
    for name, weight in first.items():
        assert torch.equal(weight, again[name]), name
        assert name.startswith("model.visual.") or torch.equal(weight, before[name]), name
    changed = "model.visual.patch_embed.proj.weight"
    assert not torch.equal(first[changed], before[changed])
    assert not torch.equal(first[changed], other[changed])


def test_a_tower_keeps_the_dtype_of_its_model(grafted: tuple[Any, Any]) -> None:
    model, processor = grafted
    model.to(torch.bfloat16)
    train_tower(model, processor, 1, seed=0)
    assert {weight.dtype for weight in model.state_dict().values()} == {torch.bfloat16}
