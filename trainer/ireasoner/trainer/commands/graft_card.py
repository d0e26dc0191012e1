"""The model card of a grafted checkpoint: what it is made of, what it sees, and how it was made."""

import shlex

from ireasoner.trainer.commands.model_card import base_model
from ireasoner.trainer.commands.settings import GraftSettings
from ireasoner.trainer.graft.self_distillation import PROMPTS_PER_UPDATE, WarmStarted
from ireasoner.trainer.graft.tower import Reading


def graft_card(settings: GraftSettings, reading: Reading, warmed: WarmStarted | None) -> str:
    """The model card; it holds no path of this machine.

    Args:
        settings: The settings.
        reading: How well the vision tower reads.
        warmed: The warm start; None if there was none.
    """
    base = base_model(settings.model)
    lines = [
        "---",
        *([f"base_model: {base}"] if base == settings.model else []),
        "library_name: transformers",
        "pipeline_tag: image-text-to-text",
        "tags: [qwen2_5_vl, vision-language]",
        "---",
        f"# {settings.output.absolute().name}: {base} with eyes",
        "",
        f"The language model {base} in the architecture of Qwen2.5-VL, made by `ireasoner graft`. For each cell of",
        "a 3 x 3 grid of handwritten digits, a vision tower of one layer gives the language model's own embedding of",
        "the digit. It sees nothing else: every image is scaled to 84 x 84 pixels, which are nine image tokens.",
        "",
        "| on handwriting that no training used | |",
        "|---|---|",
        f"| digits read correctly, of {reading.cells:,} | {reading.accuracy:.3f} |",
        *_warm_start(settings, warmed),
        "",
        "```bash",
        _command(settings, base),
        "```",
        "",
    ]
    return "\n".join(lines)


def _warm_start(settings: GraftSettings, warmed: WarmStarted | None) -> list[str]:
    if warmed is None:
        return ["", "There was no warm start: the language model has not learnt to use what it sees."]
    return [
        f"| divergence of image from words before the warm start, nats per token | {warmed.before:.3f} |",
        f"| the same after it | {warmed.after:.3f} |",
        "",
        f"Updates of the warm start: {settings.warm_start_updates}, of {PROMPTS_PER_UPDATE} prompts each. The model",
        "reasoned about grids in words, and learnt to say the same when it sees them: its language and its errors",
        "are its own.",
    ]


def _command(settings: GraftSettings, base: str) -> str:
    flags = {
        "--model": base,
        "--output": settings.output.name,
        "--tower-updates": settings.tower_updates,
        "--warm-start-updates": settings.warm_start_updates,
        "--max-new-tokens": settings.max_new_tokens,
        "--seed": settings.seed,
    }
    return shlex.join(["ireasoner", "graft", *(str(word) for flag in flags.items() for word in flag)])
