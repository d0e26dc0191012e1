"""The model card of a grafted checkpoint: what it is made of, what it sees, and how it was made."""

import shlex
from pathlib import Path

from ireasoner.trainer.adapters.backbone import is_hub_id
from ireasoner.trainer.commands.settings import GraftSettings
from ireasoner.trainer.graft.self_distillation import WarmStarted
from ireasoner.trainer.graft.tower import Reading


def graft_card(
    settings: GraftSettings, reading: Reading, warmed: WarmStarted | None, *, tower_trained: bool
) -> str:
    """The model card; it holds no path of this machine.

    Args:
        settings: The settings.
        reading: How well the vision tower reads.
        warmed: The warm start; None if there was none.
        tower_trained: Whether the tower was trained; else it came with the model.
    """
    on_hub = is_hub_id(settings.model)
    base = settings.model if on_hub else Path(settings.model).absolute().name
    lines = [
        "---",
        *([f"base_model: {base}"] if on_hub else []),
        "library_name: transformers",
        "pipeline_tag: image-text-to-text",
        "tags: [qwen2_5_vl, vision-language]",
        "---",
        f"# {settings.output.absolute().name}: {base} with eyes",
        "",
        f"The language model of {base} in the architecture of Qwen2.5-VL, made by `ireasoner graft`. For each cell of",
        "a 3 x 3 grid of handwritten digits, a vision tower of one layer gives the language model's own embedding of",
        "the digit. It sees nothing else: every image is scaled to 84 x 84 pixels, which are nine image tokens.",
        "",
        "| on handwriting that no training used | |",
        "|---|---|",
        f"| digits read correctly, of {reading.cells:,} | {reading.accuracy:.3f} |",
        *_warm_start(settings, warmed),
        "",
        "```bash",
        _command(settings, base, tower_trained=tower_trained),
        "```",
        "",
    ]
    return "\n".join(lines)


def _warm_start(settings: GraftSettings, warmed: WarmStarted | None) -> list[str]:
    if warmed is None:
        return ["", "There was no warm start: the language model has not learnt to use what it sees."]
    measured = {"before": warmed.before, "after": warmed.after}
    rows = [
        line
        for when, divergence in measured.items()
        if divergence is not None
        for line in (
            f"| divergence from the text twin {when} the warm start, nats per token | {divergence.own:.3f} |",
            f"| the same with the image of another grid | {divergence.other:.3f} |",
        )
    ]
    stopped = "" if warmed.after else f" It was stopped after {warmed.updates}, and not measured."
    return [
        *rows,
        "",
        f"The warm start: {_counted(settings.warm_start_updates, 'update')} of "
        f"{_counted(settings.prompts_per_update, 'prompt')}.{stopped}",
        "The model reasoned about grids in words, and was taught to say the same when it sees them: its language and",
        "its errors stay its own. Where the divergence fell below that of another grid's image, it learnt to see.",
    ]


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _command(settings: GraftSettings, base: str, *, tower_trained: bool) -> str:
    flags = {
        "--model": base,
        "--output": settings.output.name,
        **({"--tower-updates": settings.tower_updates} if tower_trained else {}),
        "--warm-start-updates": settings.warm_start_updates,
        "--prompts-per-update": settings.prompts_per_update,
        "--max-new-tokens": settings.max_new_tokens,
        "--seed": settings.seed,
    }
    return shlex.join(["ireasoner", "graft", *(str(word) for flag in flags.items() for word in flag)])
