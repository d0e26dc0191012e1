"""The slow teacher: a moving average of the Solver's adapter, whose answers judge the Solver's."""

import math
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, set_peft_model_state_dict
from safetensors.torch import load_file

from ireasoner.trainer.adapters.backbone import role_parameters
from ireasoner.trainer.settings import AdapterName, TeacherSettings

TEACHER: AdapterName = "teacher"


class SlowTeacher:
    """A third adapter of the policy, which no gradient moves (Co-rewarding-II, arXiv 2508.00410).

    It starts as the Solver. After each update that moved the Solver, `teacher <- w teacher + (1 - w) solver`, for A and
    B of each layer apart, not for their product. The authors average the whole model and use it as KL reference too;
    ours stays the base model.

    Args:
        policy: The policy, with the Solver's adapter.
        lora: The shape of the adapters.
        settings: How w changes.
    """

    def __init__(self, policy: PeftModel, lora: LoraConfig, settings: TeacherSettings) -> None:
        policy.add_adapter(TEACHER, lora)
        self._policy = policy
        self._settings = settings
        solver = role_parameters(policy, "solver")
        self._pairs = [
            (parameter, solver[name.replace(f".{TEACHER}.", ".solver.")])
            for name, parameter in role_parameters(policy, TEACHER).items()
        ]
        for parameter in self.parameters:
            parameter.requires_grad_(False)
        self._mix(0.0)

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """Its weights."""
        return [own for own, _ in self._pairs]

    def move(self, progress: float) -> float:
        """Moves the teacher towards the Solver, at progress t in [0, 1] of the run; returns w."""
        weight = decay(self._settings, progress)
        self._mix(weight)
        return weight

    def read(self, checkpoint: Path) -> None:
        """Continues from a checkpoint, whatever else reads it: DeepSpeed leaves frozen weights out."""
        weights = load_file(checkpoint / TEACHER / "adapter_model.safetensors")
        set_peft_model_state_dict(self._policy, weights, adapter_name=TEACHER)

    def _mix(self, weight: float) -> None:
        with torch.no_grad():
            for own, solver in self._pairs:
                own.mul_(weight).add_(solver, alpha=1 - weight)


def decay(settings: TeacherSettings, progress: float) -> float:
    """w: from its start to its end along half a cosine.

    The paper's text has 0.99 and 0.9999, its equation 11 as printed goes from 0.9901 to 1, and the authors' script ends
    at 0.99999.
    """
    start, end = settings.decay_start, settings.decay_end
    return end - (end - start) / 2 * (1 + math.cos(math.pi * progress))
